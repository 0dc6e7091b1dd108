"""Chunks of a level that nobody reads yet: written by the calling thread, under their own names from the beginning.

A level that is being built is no part of a dataset before its metadata say so, and a job's journal tells which of its
tasks are to be done again. So its chunks need no temporary names, which cost more than writing them.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
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


class ChunkRows:
    """Whole chunks of a level that nobody reads yet, in memory as they are to be stored: filled plane by plane.

    What is filled while the processor's caches hold it is written later without being touched again.

    Parameters
    ----------
    array : LevelArray
        A level that `writes_plainly`, all of whose channels are in one chunk.
    voxels : int
        How many voxels a box has at most.
    """

    def __init__(self, array: LevelArray, voxels: int) -> None:
        self._array, self._memory = array, np.empty(voxels * array.level.channels, array.level.dtype)
        self._chunks = Chunks(array.store.url, array.fmt, array.level, array.options)
        self._as_is = stores_voxels(array)

    @contextlib.contextmanager
    def box(self, low: Three, high: Three, *, progress: Progress) -> Iterator[Fill]:
        """Give what fills a box of whole chunks, one chunk thick along z; they are written in the end.

        Parameters and errors as for `write_unread`; corners are (x, y, z).
        """
        self._begin(low, high)
        yield self._fill
        self._write(progress)

    def _begin(self, low: Three, high: Three) -> None:
        level = self._array.level
        self._ends = (*low, 0), (*high, level.channels)
        self._rows: list[tuple[slice, slice, NDArray[Any]]] = []
        used, (x, y, z) = 0, (b - a for a, b in zip(low, high, strict=True))
        for start, height in spans(y, level.chunk[1]):
            for first, count, width in _runs(x, level.chunk[0]):
                shape = (width, height, z, level.channels, count)
                run = self._memory[used : used + math.prod(shape)].reshape(shape, order="F")
                self._rows.append((slice(first, first + count * width), slice(start, start + height), run))
                used += run.size

    def _fill(self, z: int, voxels: NDArray[Any]) -> None:
        for x, y, row in self._rows:
            part = voxels[x, y]
            target = row[:, :, z : z + part.shape[2]].transpose(0, 4, 1, 2, 3)
            np.copyto(target, part.reshape(target.shape, order="F"))

    def _write(self, progress: Progress) -> None:
        forkguard.check()
        put = self._array.objects.put
        try:
            keys = self._array.keys_between(*self._ends)
            for key, chunk, stored in zip(keys, self._filled(), self._stored(), strict=True):
                put(key, stored)
                progress(chunk.nbytes)
        finally:
            changes.note(self._array.store.url)

    def _stored(self) -> Iterator[bytes | memoryview | None]:
        """Yield what is stored of the chunks, x fastest."""
        if self._as_is:
            yield from map(_bytes, self._filled())
            return
        found = parts(self._array.level, *self._ends, ONE, order=_AS_KEYS)
        for part, chunk in zip(found, self._filled(), strict=True):
            yield self._chunks.encode(part.cell, chunk)

    def _filled(self) -> Iterator[NDArray[Any]]:
        """Yield the chunks, x fastest: some of the runs of a row of chunks are narrower."""
        for _, _, row in self._rows:
            for n in range(row.shape[4]):
                yield row[..., n]


def _bytes(chunk: NDArray[Any]) -> memoryview:
    """Return the memory of a chunk whose voxels lie x fastest, without copying it."""
    return memoryview(chunk.T).cast("B")  # type: ignore[arg-type]


def spans(size: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield where pieces start, and their extents."""
    return ((at, min(step, size - at)) for at in range(0, size, step))


def _runs(size: int, step: int) -> Iterator[tuple[int, int, int]]:
    """Yield runs of equal pieces: where they start, how many there are, and their extent."""
    whole, rest = divmod(size, step)
    if whole:
        yield 0, whole, step
    if rest:
        yield whole * step, 1, rest
