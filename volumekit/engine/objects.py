"""The objects of a level, without their voxels: which are there, and removing them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.engine.array import LevelArray
from volumekit.errors import OptionError
from volumekit.model.bbox import Bbox
from volumekit.model.grid import cells_touching
from volumekit.storage.base import Future

IN_FLIGHT = 64
MOST_CHUNKS = 2**30
"""A report on more chunks than this is refused."""

LIST_FROM = 32
"""Number of chunks from which listing a folder is cheaper than asking for each."""


def present(array: LevelArray, box: Bbox) -> NDArray[np.bool_]:
    """Tell which chunks of a box are stored; no chunk is downloaded.

    Parameters
    ----------
    array : LevelArray
        The level.
    box : Bbox
        Voxels inside the bounds; every chunk it touches counts.

    Returns
    -------
    numpy.ndarray
        (x, y, z) grid of the chunks the box touches; where several channels are stored apart, whether all are there.

    Raises
    ------
    PermissionDeniedError, StorageError
        If that cannot be found out; never reported as missing.
    """
    ranges = cells_touching(array.level.bounds, array.level.chunk[:3], box)
    shape = [len(r) for r in ranges]
    if math.prod(shape) > MOST_CHUNKS:
        raise OptionError(f"a report on {math.prod(shape):,} chunks takes too much memory; choose a box")
    grid = np.zeros(shape, bool)
    prefix = array.fmt.prefix(array.level)
    if grid.size >= LIST_FROM and array.objects.listable and prefix is not None:
        stored = set(array.objects.list(prefix))
        answers: Iterable[bool] = (key in stored for key in array.keys(box))
    else:
        answers = _ask(array, box)
    flat = np.fromiter(answers, bool, count=grid.size * array.channel_cells)
    whole = np.logical_and.reduce(flat.reshape(-1, array.channel_cells), axis=1)
    return np.asarray(whole).reshape(grid.shape, order="F")


def _ask(array: LevelArray, box: Bbox) -> Iterator[bool]:
    """Ask for each chunk, some of them at a time."""
    waiting: deque[Future[Any]] = deque()
    for key in array.keys(box):
        waiting.append(array.objects.read(key, 0, 0))
        if len(waiting) >= IN_FLIGHT:
            yield waiting.popleft().result() is not None
    while waiting:
        yield waiting.popleft().result() is not None


def any_present(array: LevelArray) -> bool:
    """Tell whether a level has any chunk."""
    prefix = array.fmt.prefix(array.level)
    if array.objects.listable and prefix is not None:
        return any(array.fmt.is_chunk(array.level, key) for key in array.objects.list(prefix))
    return any(_ask(array, array.level.bounds))


def clear(array: LevelArray) -> None:
    """Remove all chunks of a level, whatever grid they were stored on."""
    prefix = array.fmt.prefix(array.level)
    if prefix is None or not array.objects.listable:
        delete(array, array.level.bounds)
        return
    stored = [key for key in array.objects.list(prefix) if array.fmt.is_chunk(array.level, key)]
    _remove(array, stored)


def delete(array: LevelArray, box: Bbox) -> None:
    """Remove the chunks of a box that sits on the chunk grid."""
    _remove(array, array.keys(box))


def _remove(array: LevelArray, keys: Iterable[str]) -> None:
    waiting: deque[Future[Any]] = deque()
    for key in keys:
        waiting.append(array.objects.commit({key: None}))
        if len(waiting) >= IN_FLIGHT:
            waiting.popleft().result()
    while waiting:
        waiting.popleft().result()
