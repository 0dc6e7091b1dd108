"""A level indexed from 0, as NumPy, dask, xarray and zarr index arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from volumekit.errors import InvalidIndexError, OutOfBoundsError
from volumekit.model.level import F_ORDER
from volumekit.volume.index import whole

if TYPE_CHECKING:
    from volumekit.volume.volume import Volume


XYZC = "xyzc"
"""The axes of a volume."""


class ZeroBased:
    """One level of a volume as an array that is read when it is indexed.

    Position 0 is the lowest voxel of the bounds, and negative numbers count from the end.

    Parameters
    ----------
    volume : Volume
        The volume; its current mip is taken.
    axes : {"xyzc", "czyx", "zyx"}
        The axes; the last is for volumes of one channel.

    Attributes
    ----------
    level : Level
        The level.
    shape, dtype, ndim
        As of any array.
    chunks : tuple of int
        Shape of a chunk.
    order : str
        Memory order of what is read, ``"C"`` or ``"F"``.
    """

    def __init__(self, volume: Volume, axes: str = XYZC) -> None:
        level = volume._level()
        self.volume, self.level, self.axes, self.dtype = volume, level, axes, level.dtype
        self.shape, self.chunks, self.ndim = self._pick(level.shape), self._pick(level.cell), len(axes)
        self.order = "F" if (level.order == F_ORDER) == (axes == XYZC) else "C"

    def _pick(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return values given as (x, y, z, channel) in the order of the axes."""
        return tuple(values[XYZC.index(axis)] for axis in self.axes)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read by slices, integers and one-dimensional arrays of integers; for arrays, the box around them is read.

        Raises
        ------
        InvalidIndexError
            If it is another kind of index.
        OutOfBoundsError
            If an integer lies outside.
        MissingChunkError, CorruptChunkError, PermissionDeniedError, StorageError
            As for `Volume.download`.
        """
        parts, post = self._split(index)
        named = dict(zip(self.axes, parts, strict=True))
        voxels = np.asarray(self.volume[tuple(named.get(axis, 0) for axis in XYZC)])
        if self.axes != XYZC:
            voxels = voxels.T
        return voxels if post is None else voxels[post]

    def read_into(self, places: Sequence[range], out: NDArray[Any]) -> None:
        """Read every voxel of which these are the positions, into an array.

        Parameters
        ----------
        places : sequence of range
            The positions along each axis, none below 0.
        out : numpy.ndarray
            Of the shape that the ranges make.
        """
        if out.size == 0:
            return
        view = out[tuple(slice(None, None, -1 if place.step < 0 else 1) for place in places)]
        if self.axes != XYZC:
            view = view.T
        spans = {}
        for axis, origin, place in zip(self.axes, self._pick((*self.level.offset, 0)), places, strict=True):
            rising = place[::-1] if place.step < 0 else place
            spans[axis] = slice(rising.start + origin, rising.stop + origin, rising.step)
        box = tuple(spans.get(axis, slice(0, 1)) for axis in XYZC)
        self.volume.download(box, out=view if "c" in spans else view[..., np.newaxis])

    def _split(self, index: Any) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
        """Return an index in global voxels, and what to index the voxels read with if it holds arrays."""
        sides = zip(spelled(index, self.ndim), self.shape, self._pick((*self.level.offset, 0)), self.axes, strict=True)
        moved = [_moved(*side) for side in sides]
        if all(post is None for _, post in moved):
            return tuple(part for part, _ in moved), None
        # NumPy puts the axes elsewhere where integers stand beside arrays, so it is NumPy that drops those axes.
        kept = tuple((slice(None) if isinstance(part, slice) else 0) if post is None else post for part, post in moved)
        return tuple(part if isinstance(part, slice) else slice(part, part + 1) for part, _ in moved), kept

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        whole = self.volume.__array__(dtype, copy)
        return whole if self.axes == XYZC else whole.T.reshape(self.shape)

    def __len__(self) -> int:
        length: int = self.shape[0]
        return length

    def __reduce__(self) -> Any:
        return type(self), (self.volume, self.axes)

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, self.volume.__dask_tokenize__(), self.axes


def spelled(index: Any, ndim: int) -> list[Any]:
    """Return an index with one entry per axis.

    Raises
    ------
    InvalidIndexError
        If it has more.
    """
    parts = list(index) if isinstance(index, tuple) else [index]
    at = next((n for n, part in enumerate(parts) if part is Ellipsis), len(parts))
    after = parts[at + 1 :]
    if at + len(after) > ndim:
        raise InvalidIndexError(f"{at + len(after)} indices for an array of {ndim} axes")
    return [*parts[:at], *[slice(None)] * (ndim - at - len(after)), *after]


def _moved(part: Any, size: int, origin: int, axis: str) -> tuple[Any, NDArray[Any] | None]:
    """Return an index of one axis in global voxels; for an array the hull of it, and where it lies in that."""
    if isinstance(part, slice):
        try:
            taken = range(size)[part]
        except (TypeError, ValueError) as error:
            raise InvalidIndexError(f"{part} is no {axis} index: {error}") from None
        return (slice(taken.start + origin, taken.stop + origin, taken.step) if taken else slice(origin, origin)), None
    if isinstance(part, list | np.ndarray) and np.ndim(part) == 1:
        return _hull(np.asarray(part), size, origin, axis)
    at = whole(part, XYZC.index(axis))
    if not -size <= at < size:
        raise OutOfBoundsError(f"index {at} is out of bounds for axis {axis}, which has {size} voxels")
    return at % size + origin, None


def _hull(places: NDArray[Any], size: int, origin: int, axis: str) -> tuple[slice, NDArray[Any]]:
    if places.size == 0:
        return slice(origin, origin), np.empty(0, np.int64)
    if places.dtype.kind not in "iu":
        raise InvalidIndexError(f"an array of {places.dtype} is no {axis} index")
    low, high = int(places.min()), int(places.max())
    if low < -size or high >= size:
        raise OutOfBoundsError(f"indices {low} to {high} are out of bounds for axis {axis}, which has {size} voxels")
    places = np.where(places < 0, places + size, places) if low < 0 else places
    first = int(places.min())
    return slice(first + origin, int(places.max()) + 1 + origin), places - first
