"""A level as an array that is read and written in global voxels."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from volumekit.codecs import get_codec
from volumekit.engine.drive import Unit, Waitable, overlap
from volumekit.engine.open import open_bridge, open_native
from volumekit.engine.options import IOOptions
from volumekit.engine.pieces import READ_BYTES, WRITE_BYTES, Point, pieces
from volumekit.engine.pool import pool
from volumekit.errors import MetadataError, MissingChunkError, OptionError, UnsupportedError, VolumekitError
from volumekit.formats.base import Format
from volumekit.model.bbox import Bbox
from volumekit.model.grid import cells_touching, is_aligned, iterate_cells
from volumekit.model.level import F_ORDER, Level
from volumekit.storage import forkguard, open_container
from volumekit.storage.base import Store
from volumekit.storage.suffix import SuffixStore
from volumekit.storage.translate import translate

Progress = Callable[[int], object]
"""Told how many bytes of voxels have been read or written since the last call."""

Domain = tuple[slice, ...]

IN_FLIGHT = max(2, (os.cpu_count() or 1) // 2)
"""Pieces under way at once: enough to keep all cores busy, few enough to bound memory."""

ONE: Point = (1, 1, 1, 1)


class LevelArray:
    """One level of a dataset as one array, axes (x, y, z, channel).

    Nobody above knows whether TensorStore reads it natively or through Python.

    Parameters
    ----------
    store : Store
        Where the dataset is.
    fmt : Format
        Its format.
    level : Level
        One of the format's levels.
    options : IOOptions
        How to read and write.

    Raises
    ------
    MetadataError, UnsupportedError
        If this level cannot be read.
    """

    def __init__(self, store: Store, fmt: Format, level: Level, options: IOOptions) -> None:
        if level.error is not None:
            kind = MetadataError if level.sharding is None else UnsupportedError
            raise kind(level.error, url=store.url, key=level.key)
        self.store, self.fmt, self.level, self.options = store, fmt, level, options
        self._order = "F" if level.order == F_ORDER else "C"
        self._dtype = level.dtype

    @functools.cached_property
    def objects(self) -> Store:
        """The store of this level's chunks, containers and compression suffixes resolved."""
        container = self.fmt.container(self.level)
        if container is not None:
            return open_container(self.store, container, executor=pool(self.options.threads))
        if not self.store.suffixed or not self.fmt.writable:
            return self.store
        return SuffixStore(
            self.store,
            compress=self.options.compress,
            level=self.options.compress_level,
            prefix=self.fmt.prefix(self.level) or "",
            executor=pool(self.options.threads),
            limit=_most_bytes(self.level),
        )

    @functools.cached_property
    def _native(self) -> ts.TensorStore | None:
        native = open_native(self.store, self.fmt, self.level, self.options)
        if native is None:
            get_codec(self.level.codec)
        return native

    @functools.cached_property
    def _bridge(self) -> ts.TensorStore:
        return open_bridge(self.objects, self.fmt, self.level, self.options)

    @functools.cached_property
    def _merging_bridge(self) -> ts.TensorStore:
        """The bridge for writing: a chunk that is written in part for the first time is filled, not missing."""
        return open_bridge(self.objects, self.fmt, self.level, replace(self.options, fill_missing=True))

    def _suffixes(self) -> bool:
        return isinstance(self.objects, SuffixStore) and bool(self.objects.seen - {""})

    def empty(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return an uninitialised array in the level's memory order."""
        try:
            return np.empty(shape, self._dtype, order="F" if self._order == "F" else "C")
        except (ValueError, MemoryError) as error:
            size = math.prod(shape) * self._dtype.itemsize / 2**30
            raise OptionError(f"a box of {shape} voxels takes {size:,.0f} GiB of memory; read it in parts") from error

    def read(
        self,
        low: Point,
        high: Point,
        step: Point = ONE,
        *,
        out: NDArray[Any] | None = None,
        progress: Progress | None = None,
    ) -> Unit[NDArray[Any]]:
        """Read a box inside the level's bounds.

        Parameters
        ----------
        low, high : tuple of int
            (x, y, z, channel), half-open.
        step : tuple of int
            Every how manieth voxel to read, from ``low`` on.
        out : numpy.ndarray, optional
            Array of the box's shape to read into, any strides.
        progress : callable, optional
            Told of bytes read.

        Returns
        -------
        Unit
            To be run by `engine.drive`; returns the array.

        Raises
        ------
        MissingChunkError, CorruptChunkError, PermissionDeniedError, StorageError
            Through the unit.
        """
        forkguard.check()
        if out is None:
            out = self.empty(tuple(-(-(b - a) // s) for a, b, s in zip(low, high, step, strict=True)))
        if out.nbytes <= READ_BYTES and step == ONE:
            yield from self._read_piece(_domain(low, high, step), out, progress)
        else:
            cut = self._cut(low, high, step, out, READ_BYTES)
            units = (self._read_piece(domain, view, progress) for domain, view in cut)
            yield from overlap(units, depth=IN_FLIGHT)
        return out

    def _cut(
        self, low: Point, high: Point, step: Point, array: NDArray[Any], size: int
    ) -> Iterator[tuple[Domain, NDArray[Any]]]:
        """Cut a box and the array that holds its voxels into pieces of whole chunks."""
        if array.nbytes <= size and step == ONE:
            yield _domain(low, high, step), array
            return
        for a, b in pieces(self.level, low, high, size=size):
            first = [-(-(p - o) // s) for p, o, s in zip(a, low, step, strict=True)]
            last = [-(-(p - o) // s) for p, o, s in zip(b, low, step, strict=True)]
            if all(n < m for n, m in zip(first, last, strict=True)):
                start = [o + n * s for o, n, s in zip(low, first, step, strict=True)]
                view = array[tuple(slice(n, m) for n, m in zip(first, last, strict=True))]
                yield _domain(start, b, step), view

    def _read_piece(self, domain: Domain, out: NDArray[Any], progress: Progress | None) -> Unit[None]:
        target = ts.array(out)
        try:
            yield from self._either(lambda store: target.write(store[domain].translate_to[0]))
        except Exception as error:
            raise self._named(error, domain) from error
        if progress is not None:
            progress(out.nbytes)

    def _either(self, start: Callable[[ts.TensorStore], Waitable]) -> Unit[Any]:
        """Read natively; where a chunk is missing, or has a suffix, through the bridge, which knows what that means."""
        if self._native is not None and not self._suffixes():
            try:
                future = start(self._native)
                yield future
                return future.result()
            except ValueError as error:
                if not isinstance(translate(error), MissingChunkError):
                    raise
        future = start(self._bridge)
        yield future
        return future.result()

    def _named(self, error: Exception, domain: Domain) -> BaseException:
        return translate(error, url=self.store.url, key=self.level.key, box=_box(domain))

    def write(
        self,
        low: Point,
        high: Point,
        array: NDArray[Any],
        step: Point = ONE,
        *,
        progress: Progress | None = None,
    ) -> Unit[None]:
        """Write a box inside the level's bounds; voxels around and between keep their values.

        Parameters
        ----------
        low, high : tuple of int
            (x, y, z, channel), half-open.
        step : tuple of int
            Every how manieth voxel to write, from ``low`` on.
        array : numpy.ndarray
            Of the box's shape and the level's data type, any strides (broadcast views included).
        progress : callable, optional
            Told of bytes written.

        Raises
        ------
        VolumekitError
            Through the unit; its ``landed`` and ``unknown`` say what is stored.
        """
        forkguard.check()
        box = Bbox(low[:3], high[:3])
        whole = is_aligned(self.level.bounds, self.level.chunk[:3], box)
        whole = whole and high[3] - low[3] == self.level.channels and step == ONE
        target = self._writable(self.keys(box), whole=whole)
        landed: list[Domain] = []
        failed: list[Domain] = []
        units = (
            self._write_piece(target, domain, view, (landed, failed), progress)
            for domain, view in self._cut(low, high, step, array, WRITE_BYTES)
        )
        try:
            yield from overlap(units, depth=IN_FLIGHT, finish=True)
        except VolumekitError as error:
            error.landed, error.unknown = tuple(map(_box, landed)), tuple(map(_box, failed))
            raise

    def _writable(self, keys: Iterator[str], *, whole: bool) -> ts.TensorStore:
        """Choose the way in: natively unless suffixes or a background other than zero are involved.

        Parameters
        ----------
        keys : iterator of str
            The chunks to be written.
        whole : bool
            Whether each is replaced as a whole. One that is not is merged with what is stored, which somebody may have
            compressed since the level was listed.
        """
        suffixes = self.objects if isinstance(self.objects, SuffixStore) else None
        if suffixes is not None and (self.options.compress or suffixes.variants() - {""}):
            return self._merging_bridge
        if self.options.background != 0 and (self.options.delete_black or not whole):
            return self._merging_bridge
        if self._native is None or (not whole and suffixes is not None and suffixes.has_variants(keys)):
            return self._merging_bridge
        return self._native

    def _write_piece(
        self,
        target: ts.TensorStore,
        domain: Domain,
        array: NDArray[Any],
        outcome: tuple[list[Domain], list[Domain]],
        progress: Progress | None,
    ) -> Unit[None]:
        try:
            yield target[domain].write(array)
        except Exception as error:
            outcome[1].append(domain)
            raise self._named(error, domain) from error
        outcome[0].append(domain)
        if progress is not None:
            progress(array.nbytes)

    def read_index(self, index: tuple[Any, ...]) -> Unit[NDArray[Any]]:
        """Read by an index with integer arrays, NumPy's rules; each chunk is fetched once.

        Parameters
        ----------
        index : tuple
            One entry per axis: int64 arrays or slices with explicit ends, inside the bounds.
        """
        forkguard.check()
        try:
            voxels: NDArray[Any] = yield from self._either(lambda store: store[index].read())
        except Exception as error:
            raise translate(error, url=self.store.url, key=self.level.key) from error
        return voxels

    def write_points(self, index: tuple[NDArray[np.int64], ...], values: NDArray[Any]) -> Unit[None]:
        """Write single voxels.

        Parameters
        ----------
        index : tuple of numpy.ndarray
            Four arrays (n,): x, y, z and channel. Where a voxel is named twice, the last one counts.
        values : numpy.ndarray
            (n,).
        """
        forkguard.check()
        points = np.stack(index, axis=1)[::-1]
        _, last = np.unique(points, axis=0, return_index=True)
        keep = len(points) - 1 - last
        target = self._writable(self._keys_of(points), whole=False)
        try:
            yield target.vindex[tuple(part[keep] for part in index)].write(values[keep])
        except Exception as error:
            problem = translate(error, url=self.store.url, key=self.level.key)
            if isinstance(problem, VolumekitError):
                problem.unknown = (Bbox.from_points(points[:, :3]),)
            raise problem from error

    def _keys_of(self, points: NDArray[np.int64]) -> Iterator[str]:
        """Yield the keys of the chunks that hold points, (n, 4), each once."""
        cells = (points - (*self.level.offset, 0)) // self.level.cell
        for x, y, z, c in np.unique(cells, axis=0).tolist():
            yield self.fmt.key(self.level, (x, y, z, c))

    @property
    def channel_cells(self) -> int:
        """How many chunks lie behind each other along the channel axis."""
        return -(-self.level.channels // self.level.chunk[3])

    def keys(self, box: Bbox) -> Iterator[str]:
        """Yield the keys of all chunks that touch a box: channel fastest, then x, y, z."""
        for x, y, z in iterate_cells(cells_touching(self.level.bounds, self.level.chunk[:3], box)):
            for channel in range(self.channel_cells):
                yield self.fmt.key(self.level, (x, y, z, channel))


def _most_bytes(level: Level) -> int:
    """Return more bytes than any encoding of a chunk takes, so that a decompression bomb is recognised."""
    return 2**16 + 4 * math.prod(level.cell) * max(8, level.dtype.itemsize)


def _domain(low: Sequence[int], high: Sequence[int], step: Sequence[int]) -> Domain:
    return tuple(slice(a, b, None if s == 1 else s) for a, b, s in zip(low, high, step, strict=True))


def _box(domain: Domain) -> Bbox:
    return Bbox([part.start for part in domain[:3]], [part.stop for part in domain[:3]])
