"""Chunks of a level that nobody reads yet: written by the calling thread, under their own names from the beginning.

A level that is being built is no part of a dataset before its metadata say so, and a job's journal tells which of its
tasks are to be done again. So its chunks need no temporary names, which cost more than writing them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from numpy.typing import NDArray

from volumekit.engine import changes
from volumekit.engine.array import ONE, LevelArray, Progress
from volumekit.engine.chunks import Chunks, parts
from volumekit.engine.drive import run
from volumekit.engine.pieces import Point
from volumekit.model.bbox import Bbox
from volumekit.model.grid import is_aligned
from volumekit.storage import forkguard

Three = tuple[int, int, int]

_AS_KEYS = (2, 1, 0, 3)
"""The order of `LevelArray.keys_between`."""


def writes_plainly(array: LevelArray) -> bool:
    """Tell whether `write_unread` is any different from `LevelArray.write`: for raw chunks, each in a file."""
    return (
        array.objects.near
        and array.store.writable
        and not array.shared
        and not array.level.spans
        and not array.options.durable
        and array.level.codec.name == "raw"
    )


def write_unread(array: LevelArray, low: Point, high: Point, voxels: NDArray[Any], *, progress: Progress) -> None:
    """Write a box of whole chunks of a level that nobody reads yet; the bytes are those that `LevelArray.write` stores.

    Parameters
    ----------
    array : LevelArray
        The level; where it was cut off before, only by the same job.
    low, high : tuple of int
        (x, y, z, channel), half-open; on the chunk grid, or where the level ends.
    voxels : numpy.ndarray
        Of the box's shape and the level's data type, any strides.
    progress : callable
        Told of bytes written; may raise to end it.

    Raises
    ------
    PermissionDeniedError, NoSpaceError, StorageError
        If it cannot be written; some of its chunks then are, and one may be in part.
    """
    aligned = is_aligned(array.level.bounds, array.level.chunk[:3], Bbox(low[:3], high[:3]))
    if not (aligned and high[3] - low[3] == array.level.channels and writes_plainly(array)):
        run(array.write(low, high, voxels, progress=progress))
        return
    forkguard.check()
    chunks = Chunks(array.store.url, array.fmt, array.level, array.options)
    put, encode = array.objects.put, chunks.encode
    found = parts(array.level, low, high, ONE, order=_AS_KEYS)
    try:
        for key, part in zip(array.keys_between(low, high), found, strict=True):
            view = voxels[part.at]
            put(key, encode(part.cell, view))
            progress(view.nbytes)
    finally:
        changes.note(array.store.url)


Fill = Callable[[int, NDArray[Any]], None]
"""Fills planes of all chunks of a box, from so many planes above its lowest on, with voxels (x, y, z, channel)."""


def stores_voxels(array: LevelArray) -> bool:
    """Tell whether a file of a level that `writes_plainly` is nothing but the voxels of its chunk, x fastest."""
    as_is = array.fmt.name == "precomputed" and sys.byteorder == "little"
    return as_is and not array.options.delete_black and not array.options.compress


def spans(size: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield where pieces start, and their extents."""
    return ((at, min(step, size - at)) for at in range(0, size, step))
