"""A level as a dask array."""

from __future__ import annotations

import math
from concurrent.futures import wait
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.array.core import normalize_chunks, slices_from_chunks
from dask.core import flatten
from dask.tokenize import tokenize
from dask.utils import parse_bytes
from numpy.typing import NDArray

from volumekit.engine.pool import pool
from volumekit.errors import OptionError
from volumekit.volume.zero_based import ZeroBased

MOST_BLOCKS = 1 << 20
"""Blocks along one axis; dask keeps a list of them."""

LEAST_BYTES = 16 << 20
"""An automatic block is at least this large, if the volume is."""

COPY_BYTES = 8 << 20
"""Voxels that one thread copies at a time."""

Blocks = tuple[tuple[int, ...], ...]


class VolumeArray(da.Array):  # type: ignore[misc]
    """A dask array that is computed into the memory order of its blocks.

    dask itself collects blocks into C order; blocks in Fortran order, which is that of precomputed volumes, are
    then transposed on the way, which takes ten times as long as reading them.
    """

    __slots__ = ()

    @classmethod
    def wrap(cls, array: da.Array, order: str) -> VolumeArray:
        """Return an array as one that is computed into this memory order, ``"C"`` or ``"F"``."""
        return _wrap(array.dask, array.name, array.chunks, array.dtype, array._meta, order)

    def __getitem__(self, index: Any) -> Any:
        return self.wrap(super().__getitem__(index), self._order)

    def __reduce__(self) -> Any:
        return _wrap, (self.dask, self.name, self.chunks, self.dtype, self._meta, self._order)

    def _rebuild(self, *args: Any, **how: Any) -> VolumeArray:
        return self.wrap(super()._rebuild(*args, **how), self._order)

    def __dask_postcompute__(self) -> Any:
        if any(math.isnan(n) for n in self.shape):
            return super().__dask_postcompute__()
        return _collect, (self.chunks, self._order)


def _wrap(dsk: Any, name: str, chunks: Blocks, dtype: Any, meta: Any, order: str) -> VolumeArray:
    array = VolumeArray(dsk, name, chunks, dtype, meta)
    array._order = order
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
    return VolumeArray.wrap(lazy, array.order)


def plan_blocks(array: ZeroBased, chunks: Any) -> Blocks:
    """Return the sizes of dask's blocks along each axis.

    Raises
    ------
    OptionError
        If ``chunks`` are impossible, or make too many blocks.
    """
    if isinstance(chunks, str) and not chunks:
        raise OptionError("chunks='' cannot be; leave it out, or give a size")
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
