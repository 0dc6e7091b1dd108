"""Reading: slicing and points."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from volumekit.engine.array import Progress
from volumekit.engine.drive import Unit, run, run_async
from volumekit.errors import OutOfBoundsError, ShapeError
from volumekit.model.bbox import Bbox
from volumekit.volume.cutout import Place, VolumeCutout
from volumekit.volume.geometry import Geometry
from volumekit.volume.index import Four, Selection, box_of, four, is_advanced, select, select_points, spread
from volumekit.volume.progress import progress_bar

_AXES = (0, 1, 2, 3)


class Reading(Geometry):
    """How voxels get out."""

    def __getitem__(self, index: Any) -> Any:
        array = self.array()
        chosen = box_of(index, *array.limits)
        if chosen is not None:
            now = None if self._options.progress else array.read_now(chosen.low, chosen.high)
            return self._read_chosen(chosen) if now is None else self._cutout(now, chosen, None)
        if is_advanced(index):
            return self._read_points(index, self._mip)
        return self._read_chosen(self._select(index, None))

    def _select(self, index: Any, mip: int | None) -> Selection:
        level = self.array(mip).level
        options = self._options
        chosen = select(index, level.bounds, level.channels, resolution=level.resolution, bounded=options.bounded)
        return self._crop(chosen, level.bounds) if options.autocrop and not options.bounded else chosen

    def _crop(self, chosen: Selection, bounds: Bbox) -> Selection:
        """Cut a selection at the bounds; the voxels stay on the steps."""
        low, high = list(chosen.low), list(chosen.high)
        for axis, (start, stop) in enumerate(zip(bounds.minpt.tolist(), bounds.maxpt.tolist(), strict=True)):
            step = chosen.step[axis]
            low[axis] += max(0, -(-(start - low[axis]) // step)) * step
            high[axis] = min(high[axis], stop)
            if low[axis] >= high[axis] and chosen.low[axis] < chosen.high[axis]:
                raise OutOfBoundsError(f"nothing of {chosen.box} lies inside {bounds}", url=str(self._url))
        return chosen._replace(low=four(low), high=four(high))

    def _reading(
        self,
        chosen: Selection,
        mip: int | None,
        out: NDArray[Any] | None = None,
        progress: Progress | None = None,
        fill_missing: bool | None = None,
    ) -> Unit[NDArray[Any]]:
        """Read the voxels of a selection, 4-D; what lies outside the bounds is background."""
        array = self.array(mip, fill_missing=fill_missing)
        low, high = (*array.level.offset, 0), (*array.level.end, array.level.channels)
        if all(a >= o and b <= e for a, b, o, e in zip(chosen.low, chosen.high, low, high, strict=True)):
            if out is None and 0 in chosen.shape:
                return array.empty(chosen.shape)
            return (yield from array.read(chosen.low, chosen.high, chosen.step, out=out, progress=progress))
        if out is None:
            out = array.empty(chosen.shape)
        out[...] = array.options.background
        found = inside(chosen, low, high)
        if found is not None:
            first, last, view = found
            yield from array.read(first, last, chosen.step, out=out[view], progress=progress)
        return out

    def _cutout(self, array: NDArray[Any], chosen: Selection, mip: int | None) -> VolumeCutout:
        place = Place(_AXES, chosen.low, chosen.step, array.shape)
        cutout = VolumeCutout.wrap(array, self._source(self._mip if mip is None else mip), place)
        return cutout if chosen.plain else cutout[chosen.post]

    def _progress(
        self, chosen: Selection, verb: str, wanted: bool | None
    ) -> contextlib.AbstractContextManager[Progress | None]:
        wanted = self._options.progress if wanted is None else wanted
        x, y, z, c = chosen.shape
        return progress_bar(x * y * z * c * self._level().dtype.itemsize, verb, wanted)

    def _read_chosen(
        self,
        chosen: Selection,
        mip: int | None = None,
        out: NDArray[Any] | None = None,
        fill_missing: bool | None = None,
        progress: bool | None = None,
    ) -> VolumeCutout:
        with self._progress(chosen, "Reading", progress) as report:
            array = run(self._reading(chosen, mip, out, report, fill_missing))
        return self._cutout(array, chosen, mip)

    def _as_index(self, bbox: Any) -> Any:
        if isinstance(bbox, str) or (isinstance(bbox, list | np.ndarray) and np.ndim(bbox) == 1):
            return Bbox.create(bbox)
        return bbox

    def _check_out(self, out: NDArray[Any], chosen: Selection, dtype: np.dtype[Any] | None = None) -> None:
        dtype = self.dtype if dtype is None else dtype
        if out.shape != chosen.shape or out.dtype != dtype:
            raise ShapeError(
                f"`out` is {out.dtype} {out.shape}, but the box holds {dtype} {chosen.shape} (x, y, z, channel)"
            )
        if not out.flags.writeable:
            raise ShapeError("`out` is read-only")

    async def read_async(self, bbox: Any, mip: Any = None, *, out: NDArray[Any] | None = None) -> VolumeCutout:
        """Read a box without blocking the event loop; see `download`.

        Where the task is cancelled, what is under way may still arrive in ``out``.
        """
        number = None if mip is None else self.to_mip(mip)
        chosen = self._select(self._as_index(bbox), number)
        if out is not None:
            self._check_out(out, chosen)
        array = await run_async(self._reading(chosen, number, out))
        return self._cutout(array, chosen, number)

    def points(self, xyz: ArrayLike, *, mip: Any = None) -> VolumeCutout:
        """Read single voxels; each chunk is fetched once.

        Parameters
        ----------
        xyz : array-like of int
            (n, 3), global voxels of the mip.
        mip : int or sequence of float, optional
            Default: the current one.

        Returns
        -------
        VolumeCutout
            (n, channel). Points outside an unbounded volume are background.

        Raises
        ------
        OutOfBoundsError
            If the volume is bounded and a point lies outside.
        """
        number = self._mip if mip is None else self.to_mip(mip)
        return self._read_points((*_points(xyz).T, slice(None)), number)

    def _read_points(self, index: Any, mip: int) -> VolumeCutout:
        """Read by an index with arrays; what lies outside the bounds is background."""
        array, bounded = self.array(mip), self._options.bounded
        level = array.level
        parts = select_points(index, level.bounds, level.channels, resolution=level.resolution, bounded=bounded)
        if bounded:
            return VolumeCutout.wrap(run(array.read_index(parts)), self._source(mip), None)
        places = spread(parts)
        low, high = level.offset, level.end
        inside = np.logical_and.reduce([(p >= a) & (p < b) for p, a, b in zip(places, low, high, strict=False)])
        out = np.full(inside.shape, array.options.background, level.dtype)
        if inside.any():
            out[inside] = run(array.read_index(tuple(p[inside] for p in places)))
        return VolumeCutout.wrap(out, self._source(mip), None)

    def scattered_points(self, points: ArrayLike, *, mip: Any = None) -> dict[tuple[int, int, int], Any]:
        """Read single voxels into a dictionary, as CloudVolume does; see `points` for an array."""
        coordinates = _points(points)
        values = self.points(coordinates, mip=mip)
        pairs = zip(coordinates.tolist(), values, strict=True)
        return {(x, y, z): value[0] if len(value) == 1 else value for (x, y, z), value in pairs}

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a volume is not in memory: an array of it is always a copy")
        whole = np.asarray(self._read_chosen(self._select((), None)))
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        """Yield the planes along x."""
        level = self._level()
        return (self[x] for x in range(level.offset[0], level.end[0]))


def _points(xyz: ArrayLike) -> NDArray[Any]:
    points = np.asarray(xyz)
    if points.size == 0:
        return np.empty((0, 3), np.int64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ShapeError(f"points are an (n, 3) array, not {points.shape}")
    if points.dtype.kind not in "iu":
        raise ShapeError(f"points are whole voxels, not {points.dtype}; round them first")
    return points.astype(np.int64)


def inside(chosen: Selection, low: Four, high: Four) -> tuple[Four, Four, tuple[slice, ...]] | None:
    """Return the part of a selection inside the bounds, and where it goes in the selection's array."""
    first, last, view = [], [], []
    for a, b, step, start, stop in zip(chosen.low, chosen.high, chosen.step, low, high, strict=True):
        n = max(0, -(-(start - a) // step))
        m = -(-(min(b, stop) - a) // step)
        if n >= m:
            return None
        first.append(a + n * step)
        last.append(min(b, stop))
        view.append(slice(n, m))
    return four(first), four(last), tuple(view)
