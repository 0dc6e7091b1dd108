"""A level as a dask array."""

from __future__ import annotations

import math
from concurrent.futures import wait
from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import dask.local
import dask.threaded
import numpy as np
from dask.array.core import normalize_chunks, slices_from_chunks
from dask.core import flatten
from dask.tokenize import tokenize
from dask.utils import parse_bytes
from numpy.typing import NDArray

from volumekit.engine.pool import pool
from volumekit.errors import OptionError
from volumekit.volume.zero_based import ZeroBased, spelled

MOST_BLOCKS = 1 << 20
"""Blocks along one axis; dask keeps a list of them."""

LEAST_BYTES = 16 << 20
"""An automatic block is at least this large, if the volume is."""

COPY_BYTES = 8 << 20
"""Voxels that one thread copies at a time."""

Blocks = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Window:
    """Which voxels of a level an array holds.

    Attributes
    ----------
    array : ZeroBased
        The level.
    places : tuple of range
        Positions along each axis of the level.
    kept : tuple of int
        Axes that the array has.
    """

    array: ZeroBased
    places: tuple[range, ...]
    kept: tuple[int, ...]

    @classmethod
    def whole(cls, array: ZeroBased) -> Window:
        """Return the window on all of a level."""
        return cls(array, tuple(map(range, array.shape)), tuple(range(array.ndim)))

    def cut(self, index: Any) -> Window | None:
        """Return the window after indexing, None unless that is by slices and integers."""
        parts = index if isinstance(index, tuple) else (index,)
        if not all(part is Ellipsis or type(part) in (slice, int) for part in parts):
            return None
        places, kept = list(self.places), list(self.kept)
        for axis, part in zip(self.kept, spelled(index, len(kept)), strict=True):
            found = places[axis][part]
            places[axis] = found if isinstance(found, range) else range(found, found + 1)
            if isinstance(part, int):
                kept.remove(axis)
        return Window(self.array, tuple(places), tuple(kept))

    def read(self, chunks: Blocks, order: str, **how: Any) -> NDArray[Any]:
        """Read block by block, each straight to its place in one new array."""
        out = np.empty([sum(sizes) for sizes in chunks], self.array.dtype, order="F" if order == "F" else "C")
        reads = [
            dask.delayed(self._read, pure=False)(place, out[(*place, ...)]) for place in slices_from_chunks(chunks)
        ]
        dask.compute(reads, **how)
        return out

    def _read(self, index: tuple[slice, ...], out: NDArray[Any]) -> None:
        part = self.cut(index)
        if part is not None:
            dropped = tuple(axis for axis in range(self.array.ndim) if axis not in self.kept)
            self.array.read_into(part.places, np.expand_dims(out, dropped))


class VolumeArray(da.Array):  # type: ignore[misc]
    """A dask array that is computed into the memory order of its blocks.

    dask itself collects blocks into C order; blocks in Fortran order, which is that of precomputed volumes, are
    then transposed on the way, which takes ten times as long as reading them. Threads of this process read a part of
    a volume straight into the result.
    """

    __slots__ = ()

    @classmethod
    def wrap(cls, array: da.Array, order: str, window: Window | None) -> VolumeArray:
        """Return an array as one that is computed into this memory order, ``"C"`` or ``"F"``."""
        return _wrap(array.dask, array.name, array.chunks, array.dtype, array._meta, order, window)

    def __getitem__(self, index: Any) -> Any:
        return self.wrap(super().__getitem__(index), self._order, self._window and self._window.cut(index))

    def __reduce__(self) -> Any:
        return _wrap, (self.dask, self.name, self.chunks, self.dtype, self._meta, self._order, self._window)

    def _rebuild(self, *args: Any, **how: Any) -> VolumeArray:
        return self.wrap(super()._rebuild(*args, **how), self._order, None)

    def compute(self, **how: Any) -> Any:
        """Return the voxels as a NumPy array; see `dask.array.Array.compute`."""
        get = dask.base.get_scheduler(get=how.get("get"), scheduler=how.get("scheduler"), collections=[self])
        if self._window is None or get not in (dask.threaded.get, dask.local.get_sync):
            return super().compute(**how)
        return self._window.read(self.chunks, self._order, **how)

    def __dask_postcompute__(self) -> Any:
        if any(math.isnan(n) for n in self.shape):
            return super().__dask_postcompute__()
        return _collect, (self.chunks, self._order)


def _wrap(dsk: Any, name: str, chunks: Blocks, dtype: Any, meta: Any, order: str, window: Window | None) -> VolumeArray:
    array = VolumeArray(dsk, name, chunks, dtype, meta)
    array._order, array._window = order, window
    return array


def _collect(blocks: Any, chunks: Blocks, order: str) -> NDArray[Any]:
    """Put computed blocks together; a copy even of a single one, which might belong to somebody."""
    parts = list(flatten(blocks, container=(list, tuple)))
    out = np.empty([sum(sizes) for sizes in chunks], parts[0].dtype, order="F" if order == "F" else "C")
    copies = []
    for part, place in zip(parts, slices_from_chunks(chunks), strict=True):
        for target, source in _cut(out[(*place, ...)], np.asarray(part), order):
            copies.append(pool().submit(np.copyto, target, source))
    wait(copies)
    for copy in copies:
        copy.result()
    return out


def _cut(target: NDArray[Any], source: NDArray[Any], order: str) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Cut two arrays alike along their slowest axis that has any length, into pieces worth a thread."""
    axes = range(target.ndim)
    axis = next((a for a in (reversed(axes) if order == "F" else axes) if target.shape[a] > 1), None)
    if axis is None:
        return [(target, source)]
    step = max(1, target.shape[axis] * COPY_BYTES // max(1, target.nbytes))
    spans = [slice(start, start + step) for start in range(0, target.shape[axis], step)]
    places = [(*(slice(None),) * axis, span) for span in spans]
    return [(target[place], source[place]) for place in places]


def as_dask(array: ZeroBased, chunks: Any) -> VolumeArray:
    """Return a level as a dask array; see `Volume.to_dask`."""
    blocks = plan_blocks(array, chunks)
    lazy = da.from_array(
        array,
        blocks,
        name=f"volumekit-{tokenize(array, blocks)}",
        meta=np.empty((0,) * array.ndim, array.dtype),
    )
    return VolumeArray.wrap(lazy, array.order, Window.whole(array))


def plan_blocks(array: ZeroBased, chunks: Any) -> Blocks:
    """Return the sizes of dask's blocks along each axis.

    Raises
    ------
    OptionError
        If ``chunks`` are impossible, or make too many blocks.
    """
    if isinstance(chunks, str) and not chunks:
        raise OptionError("chunks='' cannot be; leave it out, or give a size")
    _check_sizes(chunks)
    wanted = _spelled(chunks, array.ndim)
    if isinstance(wanted, str):
        limit = dask.config.get("array.chunk-size") if wanted == "auto" else wanted
        wanted = _whole_chunks(array, _bytes(limit, chunks), shared=wanted == "auto")
    asked = wanted if isinstance(wanted, tuple) else (wanted,) * array.ndim
    sizes = [n if isinstance(n, int) and n > 0 else c for n, c in zip(asked, array.chunks, strict=False)]
    if any(-(-n // size) > MOST_BLOCKS for n, size in zip(array.shape, sizes, strict=False)):
        raise OptionError(f"blocks of {sizes} in {array.shape} voxels are too many for dask; give larger chunks=")
    try:
        blocks: Blocks = normalize_chunks(wanted, array.shape, dtype=array.dtype, previous_chunks=array.chunks)
    except (ValueError, TypeError, ArithmeticError, NotImplementedError) as error:
        raise OptionError(f"chunks={chunks!r} cannot be: {error}") from error
    if any(n <= 0 for sizes in blocks for n in sizes):
        raise OptionError(f"chunks={chunks!r} make empty blocks")
    return blocks


def _check_sizes(chunks: Any) -> None:
    """Refuse sizes that no block has, of all axes or of one."""
    sizes = chunks.values() if isinstance(chunks, dict) else chunks if isinstance(chunks, list | tuple) else (chunks,)
    if any(isinstance(n, int | np.integer) and (n == 0 or n < -1) for n in sizes):
        raise OptionError(
            f"chunks={chunks!r} cannot be: sizes are numbers of voxels above 0, along each axis or (x, y, z), "
            '-1 for all of an axis, "auto", or bytes such as "64 MB"'
        )


def _spelled(chunks: Any, ndim: int) -> Any:
    """Return what was asked for as a tuple if it is one, with the channels added."""
    if isinstance(chunks, list | tuple):
        return tuple(chunks) if len(chunks) == ndim else (*chunks, *[-1] * (len(chunks) == 3))
    return chunks


def _bytes(size: Any, asked: Any) -> int:
    try:
        return int(parse_bytes(size))
    except (ValueError, TypeError) as error:
        raise OptionError(f"chunks={asked!r} cannot be: {error}") from error


def _whole_chunks(array: ZeroBased, limit: int, *, shared: bool) -> tuple[int, ...]:
    """Return a block of whole chunks.

    Parameters
    ----------
    array : ZeroBased
        The level.
    limit : int
        Bytes the block may have; one chunk is the least.
    shared : bool
        Whether a small volume shall make a few blocks rather than one, to be worked on at the same time.
    """
    voxels = math.prod(array.shape) * array.dtype.itemsize
    if shared:
        limit = min(limit, max(LEAST_BYTES, voxels // 4))
    block = list(array.chunks)
    channel = array.axes.find("c")
    # Of axes of which a block has equally much, the fastest one in memory grows first.
    order = range(array.ndim) if array.order == "F" else reversed(range(array.ndim))
    axes = [axis for axis in order if block[axis] < array.shape[axis]]
    while axes:
        axis = min(axes, key=lambda a: 0 if a == channel else block[a])
        larger = min(block[axis] * 2, array.shape[axis])
        if math.prod(block) // block[axis] * larger * array.dtype.itemsize > limit:
            axes.remove(axis)
            continue
        block[axis] = larger
        if larger == array.shape[axis]:
            axes.remove(axis)
    return tuple(block)
