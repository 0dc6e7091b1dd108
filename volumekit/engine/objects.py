"""The objects of a level, without their voxels: which are there, and removing them."""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.engine import changes
from volumekit.engine.array import ONE, LevelArray
from volumekit.engine.chunks import Chunks, parts
from volumekit.engine.pool import pool
from volumekit.errors import OptionError
from volumekit.model.bbox import Bbox
from volumekit.model.grid import cells_touching, grid_shape
from volumekit.storage.base import Change, Future

IN_FLIGHT = 64
MOST_CHUNKS = 2**30
"""A report on more chunks than this is refused."""

LIST_FROM = 32
"""Number of chunks up to which each is asked for, whatever listing costs."""

PAGE = 1000
"""Objects that a remote storage lists per request; the pages come one after the other."""

SAMPLE = 8
"""Chunks that are looked for before a level is listed."""

NEAR = 10
"""Local files that are listed in the time it takes to look for one."""


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
    if array.shared:
        held = {key for keys in _members(array, array.keys(box)) for key in keys}
        answers: Iterable[bool] = map(held.__contains__, array.keys(box))
    elif prefix is not None and _lists(array, grid.size * array.channel_cells):
        answers = map(set(array.objects.list(prefix)).__contains__, array.keys(box))
    else:
        answers = _ask(array, array.keys(box))
    flat = np.fromiter(answers, bool, count=grid.size * array.channel_cells)
    whole = np.logical_and.reduce(flat.reshape(-1, array.channel_cells), axis=1)
    return np.asarray(whole).reshape(grid.shape, order="F")


def _lists(array: LevelArray, count: int) -> bool:
    """Tell whether listing a whole level is sooner done than asking for so many of its chunks.

    Many are asked for at a time, while the pages of a listing come one after the other. A level may hold fewer chunks
    than its grid has room for, never more.
    """
    if count < LIST_FROM or not array.objects.listable:
        return False
    room = math.prod(grid_shape(array.level.bounds, array.level.chunk[:3])) * array.channel_cells
    return room <= NEAR * count if array.objects.near else room / PAGE <= 1 + 2 * count / IN_FLIGHT


def _ask(array: LevelArray, keys: Iterable[str]) -> Iterator[bool]:
    """Ask for each chunk, some of them at a time."""
    waiting: deque[Future[Any]] = deque()
    for key in keys:
        waiting.append(array.objects.read(key, 0, 0))
        if len(waiting) >= IN_FLIGHT:
            yield waiting.popleft().result() is not None
    while waiting:
        yield waiting.popleft().result() is not None


def _members(array: LevelArray, keys: Iterable[str]) -> Iterator[Collection[str]]:
    """Yield what is stored in each object that any of these chunks lives in, some of them at a time."""
    waiting: deque[Future[Collection[str]]] = deque()
    for group in {array.objects.group(key): None for key in keys}:
        waiting.append(array.objects.keys_in(group))
        if len(waiting) >= IN_FLIGHT:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def any_present(array: LevelArray) -> bool:
    """Tell whether a level has any chunk; a few are looked for before all are listed."""
    prefix = array.fmt.prefix(array.level)
    if array.shared and not array.objects.listable:
        return any(_members(array, array.keys(array.level.bounds)))
    if not array.objects.listable or prefix is None:
        return any(_ask(array, array.keys(array.level.bounds)))
    if any(_ask(array, _sample(array))):
        return True
    return any(array.fmt.is_chunk(array.level, key) for key in array.objects.list(prefix))


def _sample(array: LevelArray) -> Iterator[str]:
    """Yield the keys of some chunks all over a level."""
    shape = grid_shape(array.level.bounds, array.level.chunk[:3])
    total = math.prod(shape)
    for n in range(min(SAMPLE, total)):
        at = total * n // min(SAMPLE, total)
        x, y, z = at % shape[0], at // shape[0] % shape[1], at // shape[0] // shape[1]
        yield array.fmt.key(array.level, (x, y, z, 0))


def clear(array: LevelArray) -> None:
    """Remove all chunks of a level, whatever grid and whatever shards they were stored on."""
    prefix = array.fmt.prefix(array.level)
    if prefix is None or not array.files.listable:
        delete(array, array.level.bounds)
        return
    stored = (key for key in list(array.files.list(prefix)) if array.fmt.is_chunk(array.level, key))
    _remove(array, (array.files.commit({key: None}) for key in stored))


def delete(array: LevelArray, box: Bbox) -> None:
    """Remove the chunks of a box that sits on the chunk grid; those of one object in one go.

    Further positions of fixed axes in a chunk stay: its voxels become the fill value, until all of it is.
    """
    gone = _emptied(array, box) if array.level.spans else ((key, None) for key in array.keys(box))
    executor = pool(array.options.threads)
    if not array.shared:
        _remove(array, (array.objects.update({key: change}, executor=executor) for key, change in gone))
        return
    groups: dict[str, dict[str, Change]] = {}
    for key, change in gone:
        groups.setdefault(array.objects.group(key), {})[key] = change
    _remove(array, (array.objects.update(changes, executor=executor) for changes in groups.values()))


def _emptied(array: LevelArray, box: Bbox) -> Iterator[tuple[str, Change]]:
    """Yield the keys of chunks that hold further positions of fixed axes, and how they change."""
    chunks = Chunks(array.objects.url, array.fmt, array.level, array.options)
    (x, y, z), (a, b, c) = box.minpt.tolist(), box.maxpt.tolist()
    for part in parts(array.level, (x, y, z, 0), (a, b, c, array.level.channels), ONE):
        yield chunks.key(part.cell), functools.partial(chunks.emptied, part.cell)


def _remove(array: LevelArray, work: Iterable[Future[Any]]) -> None:
    """Wait for what removes chunks, some of it at a time."""
    waiting: deque[Future[Any]] = deque()
    try:
        for future in work:
            waiting.append(future)
            if len(waiting) >= IN_FLIGHT:
                waiting.popleft().result()
        while waiting:
            waiting.popleft().result()
    finally:
        changes.note(array.store.url)
