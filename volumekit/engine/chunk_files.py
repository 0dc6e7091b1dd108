"""Chunks in files of their own, read whole, and those that nobody reads yet written plane by plane, by compiled code.

What comes out of the processor's own cache is written in half the time that it takes from main memory.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit import compiled
from volumekit.engine import changes
from volumekit.engine.array import LevelArray, Progress
from volumekit.engine.unread import Fill, Three, spans, stores_voxels, write_unread, writes_plainly
from volumekit.errors import VolumekitError
from volumekit.model.bbox import Bbox
from volumekit.model.grid import is_aligned
from volumekit.storage.files import AT_ONCE, Files, opened, write_all
from volumekit.storage.kvstore import FileStore, os_error

_PART = 1 << 19
"""Bytes of all chunks read before rows are put together: they stay in the processor's own cache."""

_OPEN_FILES = 4
"""A part of the files that the process may have open is for chunks: one of so many."""


class ChunkFiles:
    """Whole chunks of a level that nobody reads yet, filled plane by plane in their files.

    Parameters
    ----------
    array : LevelArray
        A level that `fills_files`.
    """

    def __init__(self, array: LevelArray) -> None:
        x, y, z, _ = array.level.chunk
        assert isinstance(array.store, FileStore)
        self._array, self._store, self._size = array, array.store, array.level.dtype.itemsize
        self._part = np.empty(x * y * z * self._size, np.uint8)

    @contextlib.contextmanager
    def box(self, low: Three, high: Three, *, progress: Progress) -> Iterator[Fill]:
        """Give what fills a box of whole chunks, one chunk thick along z; parameters and errors as for `write_unread`.

        Chunks are whole once all planes are filled. Nothing is left of them where that fails.
        """
        level, sizes = self._array.level, [b - a for a, b in zip(low, high, strict=True)]
        keys = list(self._array.keys_between((*low, 0), (*high, level.channels)))
        areas = [h * w for _, h in spans(sizes[1], level.chunk[1]) for _, w in spans(sizes[0], level.chunk[0])]
        chunks = [area * sizes[2] * level.channels * self._size for area in areas]
        files: list[Files] = []
        begun = False

        def fill(z: int, voxels: NDArray[Any]) -> None:
            nonlocal begun
            if not files:
                begun = True
                files.append(self._store.make(keys, chunks))
            self._fill(keys, files[0], sizes[2], z, voxels)

        try:
            try:
                yield fill
            finally:
                for made in files:
                    self._store.close(keys, made)
        except BaseException:
            self._remove(keys if begun else ())
            raise
        finally:
            changes.note(self._store.url)
        progress(sum(chunks))

    def _remove(self, keys: Sequence[str]) -> None:
        for key in keys:
            with contextlib.suppress(VolumekitError):  # what is being raised says more
                self._store.put(key, None)

    def _fill(self, keys: Sequence[str], files: Files, depth: int, z: int, voxels: NDArray[Any]) -> None:
        from volumekit.engine.compiled_files import write_parts

        x, y, _, _ = self._array.level.chunk
        if voxels.strides[0] != self._size:
            voxels = np.asfortranarray(voxels)
        (nx, ny, nz, nc), (_, *steps) = voxels.shape, voxels.strides
        shape, strides = (nx * self._size, ny, nz, nc), (steps[0], steps[1], steps[2])
        chunk = (x * self._size, y, depth)
        if not write_parts(files, voxels.ctypes.data, shape, strides, chunk, z, self._part.ctypes.data):
            self._fill_one_by_one(keys, files, depth, z, voxels)

    def _fill_one_by_one(self, keys: Sequence[str], files: Files, depth: int, z: int, voxels: NDArray[Any]) -> None:
        """Do the same in Python, which tells what is wrong."""
        x, y, _, _ = self._array.level.chunk
        cuts = ((a, b) for b in spans(voxels.shape[1], y) for a in spans(voxels.shape[0], x))
        for key, file, ((left, width), (top, height)) in zip(keys, files.tolist(), cuts, strict=True):
            for c in range(voxels.shape[3]):
                part = voxels[left : left + width, top : top + height, :, c].tobytes(order="F")
                start = (c * depth + z) * width * height * self._size
                try:
                    write_all(file, part, start)
                except OSError as error:
                    raise os_error(error, url=self._store.url, key=key) from error


def write_files(
    array: LevelArray, low: Three, high: Three, voxels: NDArray[Any], *, threads: int, progress: Progress
) -> None:
    """Do what `write_unread` does, with all channels, by compiled code if it can be: a row of chunks at a time.

    ``threads`` says how many do so at once.
    """
    x, y, z, _ = array.level.chunk
    thin = high[2] - low[2] <= z and is_aligned(array.level.bounds, array.level.chunk[:3], Bbox(low, high))
    if not (thin and fills_files(array, threads * -(-(high[0] - low[0]) // x))):
        write_unread(array, (*low, 0), (*high, array.level.channels), voxels, progress=progress)
        return
    chunks = ChunkFiles(array)
    for at, rows in spans(high[1] - low[1], y):
        start, stop = (low[0], low[1] + at, low[2]), (high[0], low[1] + at + rows, high[2])
        with chunks.box(start, stop, progress=progress) as fill:
            fill(0, voxels[:, at : at + rows])


def fills_files(array: LevelArray, files: int) -> bool:
    """Tell whether `ChunkFiles` can have so many files of a level open, and fill them."""
    possible = compiled.files_available() and isinstance(array.store, FileStore) and writes_plainly(array)
    alone = array.channel_cells == 1 and stores_voxels(array)
    return possible and alone and files <= _most_files() // _OPEN_FILES


def read_files(array: LevelArray, box: Bbox, out: NDArray[Any]) -> bool:
    """Read whole chunks in the calling thread, if they are nothing but voxels in files; tell whether that worked.

    Parameters
    ----------
    array : LevelArray
        The level.
    box : Bbox
        Within its bounds, half-open.
    out : numpy.ndarray
        (x, y, z, channel), of the box's shape and the level's data type. If it did not work, it may be filled in part.
    """
    level, store = array.level, array.store
    stored = array.fmt.name == "precomputed" and level.codec.name == "raw" and not (array.shared or level.spans)
    plain = isinstance(store, FileStore) and stored and array.channel_cells == 1 and array.keeps_names
    if not (plain and compiled.files_available() and sys.byteorder == "little" and out.strides[0] == out.itemsize):
        return False
    if out.dtype != level.dtype or not is_aligned(level.bounds, level.chunk[:3], box):
        return False
    assert isinstance(store, FileStore)
    x, y, z, _ = level.chunk
    (left, low, below), high = (int(n) for n in box.minpt), [int(n) for n in box.maxpt]
    for c, depth in spans(out.shape[2], z):
        for b, height in spans(out.shape[1], y):
            start = (left, low + b, below + c, 0)
            keys = array.keys_between(start, (high[0], low + b + height, below + c + depth, level.channels))
            if not _read_row(store, list(keys), out[:, b : b + height, c : c + depth], x):
                return False
    return True


def _read_row(store: FileStore, keys: Sequence[str], out: NDArray[Any], width: int) -> bool:
    """Read a row of chunks, some files at a time."""
    try:
        for n in range(0, len(keys), AT_ONCE):
            with opened([store.path(key) for key in keys[n : n + AT_ONCE]]) as files:
                if not _read_parts(files, out[n * width : (n + AT_ONCE) * width], width):
                    return False
    except OSError:  # which is told apart elsewhere
        return False
    return True


def _read_parts(files: Files, voxels: NDArray[Any], width: int) -> bool:
    from volumekit.engine.compiled_files import read_parts

    shape, strides = voxels.shape, voxels.strides
    plane = shape[0] * shape[1] * voxels.itemsize
    planes = max(1, _PART // plane)
    part = np.empty(planes * plane + 1, np.uint8)
    return read_parts(
        files,
        voxels.ctypes.data,
        (shape[0] * voxels.itemsize, shape[1], shape[2], shape[3]),
        (strides[1], strides[2], strides[3]),
        width * voxels.itemsize,
        planes,
        part.ctypes.data,
    )


def _most_files() -> int:
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 20 if most == resource.RLIM_INFINITY else most
