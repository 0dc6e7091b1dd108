"""A level as an array that is read and written in global voxels."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal, TypeVar

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from volumekit.engine import changes
from volumekit.engine.chunks import Decoded, Look, empty, parts
from volumekit.engine.drive import Unit, Waitable, overlap
from volumekit.engine.pieces import FAR_CHUNKS, MOST_CHUNKS, READ_BYTES, WRITE_BYTES, Point, extent, far_window, pieces
from volumekit.engine.pool import pool
from volumekit.engine.watched import Watched
from volumekit.engine.ways import ORDERS, Domain, Ways, corners, to_box, to_domain
from volumekit.errors import OptionError, VolumekitError
from volumekit.model.bbox import Bbox
from volumekit.model.grid import is_aligned
from volumekit.storage import forkguard
from volumekit.storage.translate import is_beyond, raise_translated, translate

T = TypeVar("T")

Progress = Callable[[int], object]
"""Told how many bytes of voxels have been read or written since the last call."""

Outcome = tuple[list[Bbox], list[Bbox]]
"""Boxes that are stored for certain, and boxes of which that is not known."""

IN_FLIGHT = max(3, (os.cpu_count() or 1) // 2)
"""Pieces under way at once: enough to keep all cores busy, few enough to bound memory."""

WRITES = max(2, (os.cpu_count() or 1) // 4)
"""The same of writing, whose pieces are larger."""

QUICK_BYTES = 2 << 20
"""Voxels, in bytes, up to which what Python adds to a read counts."""

ONE: Point = (1, 1, 1, 1)


class LevelArray(Ways):
    """One level of a dataset as one array, axes (x, y, z, channel).

    Nobody above knows whether TensorStore reads it natively or through Python.
    """

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
        """Return an uninitialised array in the level's memory order, by default of its data type."""
        level = self.level if dtype is None else replace(self.level, dtype=dtype)
        try:
            return empty(shape, level)
        except (ValueError, MemoryError) as error:
            size = math.prod(shape) * level.dtype.itemsize / 2**30
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
            out = self.empty(extent(low, high, step))
        if self._reads_directly():
            yield from self._read_directly(low, high, step, out, progress)
        elif out.nbytes <= READ_BYTES and step == ONE:
            yield from self._read_piece(low, high, step, out, progress)
        else:
            cut = self._cut(low, high, step, out, READ_BYTES)
            units = (self._read_piece(a, b, step, view, progress) for a, b, view in cut)
            yield from overlap(units, depth=self._depth(out.nbytes))
        return out

    def read_now(self, low: Point, high: Point, step: Point = ONE) -> NDArray[Any] | None:
        """Read a small box in one go, if TensorStore reads it without further ado; None: `read` knows how it goes.

        A call costs a tenth of a millisecond less than `read`, which takes more steps in Python: that counts where
        chunks are near. What fails here once is no longer tried.

        Parameters
        ----------
        low, high, step
            As for `read`.
        """
        quick = self._quick
        if quick is None or step != ONE:
            return None
        (x, y, z, c), (p, q, r, d) = low, high
        native, order, most = quick
        if not 0 < (p - x) * (q - y) * (r - z) * (d - c) <= most or self._suffixes():
            return None
        forkguard.check()

        flat = self.level.channels == 1
        if flat and (c, d) != (0, 1):
            return None

        def start(store: ts.TensorStore) -> ts.Future[NDArray[Any]]:
            part = store[x:p, y:q, z:r] if flat else store[x:p, y:q, z:r, c:d]
            return part.read(order=order)

        try:
            if isinstance(native, Watched):
                voxels = native.read_now(self.keys_between(low, high), start)
            else:
                voxels = start(native).result()
            return voxels[..., np.newaxis] if flat and voxels is not None else voxels
        except (IndexError, VolumekitError):  # it reaches outside; a shard is damaged
            return None
        except ValueError:
            self._quick = None
            return None

    @functools.cached_property
    def _quick(self) -> tuple[ts.TensorStore | Watched, Literal["C", "F"], int] | None:
        """What TensorStore reads at once: where, in which memory order, how many voxels at most; None: nothing."""
        if not self.store.near:
            return None
        native = self._native or (None if self.options.lru_bytes else self._watched)
        if native is None or native.dtype.numpy_dtype != self.level.dtype:
            return None
        found = ORDERS.get(self.level.order)
        if self.level.channels == 1:
            native = native[:, :, :, 0]  # the fewer axes, the less there is to work out
        return None if found is None else (native, found, QUICK_BYTES // self.level.dtype.itemsize)

    def _depth(self, total: int) -> int:
        """Return how many pieces are read at once: those of a far store wait for the network most of the time."""
        if self.store.near:
            return IN_FLIGHT
        x, y, z, c = self.level.cell
        size = x * y * z * c * self.level.dtype.itemsize
        piece = max(1, min(MOST_CHUNKS, READ_BYTES // size))
        return max(IN_FLIGHT, min(1 + FAR_CHUNKS // piece, far_window(total) // (piece * size)))

    def _cut(
        self, low: Point, high: Point, step: Point, array: NDArray[Any], size: int, *, shards: bool = False
    ) -> Iterator[tuple[Point, Point, NDArray[Any]]]:
        """Cut a box and the array that holds its voxels into pieces of whole chunks, or shards."""
        if array.nbytes <= size and step == ONE:
            yield low, high, array
            return
        for a, b in pieces(self.level, low, high, size=size, shards=shards):
            first = [-(-(p - o) // s) for p, o, s in zip(a, low, step, strict=True)]
            last = [-(-(p - o) // s) for p, o, s in zip(b, low, step, strict=True)]
            if all(n < m for n, m in zip(first, last, strict=True)):
                x, y, z, c = (o + n * s for o, n, s in zip(low, first, step, strict=True))
                yield (x, y, z, c), b, array[tuple(slice(n, m) for n, m in zip(first, last, strict=True))]

    def _read_piece(
        self, low: Point, high: Point, step: Point, out: NDArray[Any], progress: Progress | None
    ) -> Unit[None]:
        """Read a piece natively; where a chunk is missing, or has a suffix, directly, which knows what that means."""
        domain = to_domain(low, high, step)

        def start(store: ts.TensorStore) -> Waitable:
            return ts.array(out).write(store[domain].translate_to[0])

        def start_native(store: ts.TensorStore) -> Waitable:
            order = self._staged(store)
            if order is None:
                return start(store)
            return pool(self.options.threads).submit(lambda: np.copyto(out, store[domain].read(order=order).result()))

        try:
            if self.options.lru_bytes:
                yield from self._either(start)
            elif self._suffixes() or not (yield from self._natively(start_native, low, high)):
                yield from self._read_directly(low, high, step, out, progress)
                return
        except Exception as error:
            self._fail(error, domain)
        if progress is not None:
            progress(out.nbytes)

    def _read_directly(
        self, low: Point, high: Point, step: Point, out: NDArray[Any], progress: Progress | None
    ) -> Unit[None]:
        try:
            yield from self._direct.read(low, high, step, out, progress)
        except Exception as error:
            self._fail(error, to_domain(low, high, step))

    def visit(
        self,
        box: tuple[Point, Point, Point],
        see: Callable[[Look], T],
        take: Callable[[tuple[slice, ...], T], object],
        *,
        whole: bool | None = None,
    ) -> Unit[None]:
        """Look at each chunk of a box inside the level's bounds, without decoding it if ``see`` does not ask for that.

        Parameters
        ----------
        box : tuple
            ``low``, ``high`` and ``step``, as for `read`.
        see : callable
            Called in several threads; again for a chunk of which a copy was damaged.
        take : callable
            Called with where a part is in the box's array and what ``see`` returned; in the thread that drives it.
        whole : bool, optional
            Only chunks that lie in the box as a whole, or only the others.

        Raises
        ------
        MissingChunkError, CorruptChunkError, PermissionDeniedError, StorageError
            Through the unit.
        """
        forkguard.check()
        try:
            if self._decodes:
                found = (part for part in parts(self.level, *box) if whole in (None, part.whole))
                size = math.prod(extent(*box)) * self.level.dtype.itemsize
                yield from self._direct.visit(found, see, take, size=size)
            elif not whole:
                yield from self._visit_pieces(box, see, take)
        except Exception as error:
            self._fail(error, to_domain(*box))

    def _visit_pieces(
        self,
        box: tuple[Point, Point, Point],
        see: Callable[[Look], T],
        take: Callable[[tuple[slice, ...], T], object],
    ) -> Unit[None]:
        """Look at voxels that TensorStore alone can decode."""
        low, high, step = box
        shape = tuple(-(-(b - a) // s) for a, b, s in zip(low, high, step, strict=True))
        for a, b, view in self._cut(
            low, high, step, np.broadcast_to(np.zeros((), self.level.dtype), shape), READ_BYTES
        ):
            voxels = self.empty(view.shape)
            yield from self._read_piece(a, b, step, voxels, None)
            first = [(p - o) // s for p, o, s in zip(a, low, step, strict=True)]
            take(tuple(slice(n, n + m) for n, m in zip(first, view.shape, strict=True)), see(Decoded(voxels)))

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
        whole = whole and high[3] - low[3] == self.level.channels and step == ONE and not self.level.spans
        target = self._writable(whole=whole)
        landed: list[Bbox] = []
        failed: list[Bbox] = []
        try:
            if target is None:
                yield from self._write_directly(low, high, step, array, (landed, failed), progress)
                return
            units = (
                self._write_piece(target, to_domain(a, b, step), view, (landed, failed), progress)
                for a, b, view in self._cut(low, high, step, array, WRITE_BYTES, shards=True)
            )
            yield from overlap(units, depth=WRITES, finish=True)
        except VolumekitError as error:
            error.landed, error.unknown = tuple(landed), tuple(failed)
            raise
        finally:
            changes.note(self.store.url)

    def _write_directly(
        self,
        low: Point,
        high: Point,
        step: Point,
        array: NDArray[Any],
        outcome: Outcome,
        progress: Progress | None,
    ) -> Unit[None]:
        try:
            yield from self._direct.write(low, high, step, array, outcome, progress)
        except Exception as error:
            self._fail(error, to_domain(low, high, step))

    def _write_piece(
        self,
        target: ts.TensorStore,
        domain: Domain,
        array: NDArray[Any],
        outcome: Outcome,
        progress: Progress | None,
    ) -> Unit[None]:
        try:
            yield target[domain].write(array)
        except Exception as error:
            if is_beyond(error):
                low, high, step = corners(domain)
                yield from self._write_directly(low, high, step, array, outcome, progress)
                return
            outcome[1].append(to_box(domain))
            self._fail(error, domain)
        outcome[0].append(to_box(domain))
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
            raise_translated(error, url=self.store.url, key=self.level.key, explain=self.store.explain)
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
        try:
            if self.shared or self.level.spans:
                yield from self._direct.write_points(np.stack(index, axis=1)[keep], values[keep])
            else:
                target = self._writable(whole=False) or self._merging_bridge
                yield target.vindex[tuple(part[keep] for part in index)].write(values[keep])
        except Exception as error:
            problem = translate(error, url=self.store.url, key=self.level.key)
            if isinstance(problem, VolumekitError):
                problem.unknown = (Bbox.from_points(points[:, :3]),)
            if problem is error:
                raise
            raise problem from error
        finally:
            changes.note(self.store.url)
