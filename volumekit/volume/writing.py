"""Writing: slices, points, deletion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.engine.array import ONE, Progress
from volumekit.engine.drive import Unit, run, run_async
from volumekit.engine.objects import delete
from volumekit.errors import AlignmentError, OptionError, OutOfBoundsError
from volumekit.model.bbox import Bbox
from volumekit.model.grid import is_aligned, nearest_aligned
from volumekit.model.level import Level
from volumekit.volume.casting import cast, fit
from volumekit.volume.index import Selection, is_advanced, select, select_points, spread
from volumekit.volume.reading import Reading


class Writing(Reading):
    """How voxels get in."""

    def __setitem__(self, index: Any, value: Any) -> None:
        if is_advanced(index):
            return self._write_points(index, value)
        self.upload(index, value)

    def upload(self, index: Any, value: Any, *, mip: Any = None, progress: bool | None = None) -> None:
        """Write a box; the method behind slice assignment.

        Parameters
        ----------
        index : Bbox, int, slice or tuple
            What stands between the brackets.
        value : array-like or number
            Broadcast to the selection by NumPy's rules; a 3-D array fits a selection of one channel.
        mip : int or sequence of float, optional
            Default: the current one.
        progress : bool, optional
            Whether to show a progress bar.

        Raises
        ------
        AlignmentError
            If the box does not sit on the chunk grid and `non_aligned_writes` is off.
        CastError, ShapeError
            If the array does not fit; nothing is written.
        OutOfBoundsError
            If the box reaches outside; nothing is written.
        ReadOnlyError
            If this level cannot be written.
        StorageError
            If the storage fails; ``landed`` and ``unknown`` of the error say what is stored.
        """
        number = self._mip if mip is None else self.to_mip(mip)
        prepared = self._prepare(index, value, number)
        if prepared is None:
            return
        chosen, array = prepared
        with self._progress(chosen, "Writing", progress) as report:
            run(self._writing(chosen, array, number, report))

    async def write_async(self, bbox: Any, array: Any, mip: Any = None) -> None:
        """Write a box without blocking the event loop; see `upload`."""
        number = self._mip if mip is None else self.to_mip(mip)
        prepared = self._prepare(bbox, array, number)
        if prepared is not None:
            await run_async(self._writing(*prepared, number, None))

    def _writing(self, chosen: Selection, array: NDArray[Any], mip: int, progress: Progress | None) -> Unit[None]:
        return self.array(mip).write(chosen.low, chosen.high, array, chosen.step, progress=progress)

    def _prepare(self, index: Any, value: Any, mip: int) -> tuple[Selection, NDArray[Any]] | None:
        """Check everything that can be checked; return the selection and its voxels, 4-D, None if it is empty."""
        level = self.array(mip).level
        self._check_writable(level)
        chosen = select(
            index,
            level.bounds,
            level.channels,
            resolution=level.resolution,
            bounded=self._options.bounded,
        )
        array = _undo(chosen, cast(value, level.dtype))
        if self._options.autocrop and not self._options.bounded:
            chosen, array = self._cropped(chosen, array, level)
        if 0 in chosen.shape:
            return None
        self._check_inside(chosen, level)
        self._check_aligned(chosen, level)
        return chosen, array

    def _cropped(self, chosen: Selection, array: NDArray[Any], level: Level) -> tuple[Selection, NDArray[Any]]:
        inside = self._crop(chosen, level.bounds)
        view = tuple(
            slice((new - old) // step, (new - old) // step + count)
            for new, old, step, count in zip(inside.low, chosen.low, chosen.step, inside.shape, strict=True)
        )
        return inside, array[view]

    def _check_inside(self, chosen: Selection, level: Level) -> None:
        if not level.bounds.contains_bbox(chosen.box):
            raise OutOfBoundsError(
                f"{chosen.box} reaches outside {level.bounds}, where nothing can be stored; "
                "autocrop=True with bounded=False writes the part inside",
                url=str(self._url),
                box=chosen.box,
            )

    def _check_aligned(self, chosen: Selection, level: Level) -> None:
        if self._options.non_aligned_writes:
            return
        chunk = level.chunk[:3]
        if chosen.step[:3] == ONE[:3] and is_aligned(level.bounds, chunk, chosen.box):
            return
        inner, outer = nearest_aligned(level.bounds, chunk, chosen.box)
        raise AlignmentError(
            f"{chosen.box} does not sit on the grid of {list(chunk)} chunks; the nearest boxes that do are {outer} "
            f"(around it) and {inner if inner is not None else 'none'} (inside it). Open the volume with "
            "non_aligned_writes=True to merge with the voxels around",
            url=str(self._url),
            box=chosen.box,
        )

    def _write_points(self, index: Any, value: Any) -> None:
        level = self.array().level
        self._check_writable(level)
        parts = select_points(index, level.bounds, level.channels, resolution=level.resolution)
        if not self._options.non_aligned_writes:
            raise AlignmentError(
                "single voxels are less than a chunk; open the volume with non_aligned_writes=True to write them",
                url=str(self._url),
            )
        coordinates = spread(parts)
        values = fit(cast(value, level.dtype), coordinates[0].shape, channel_kept=False)
        if values.size:
            flat = tuple(np.ascontiguousarray(part).ravel() for part in coordinates)
            run(self.array().write_points(flat, values.ravel()))

    def delete(self, bbox: Any, mip: Any = None) -> None:
        """Delete the chunks of a box, whatever compression suffixes they have.

        Parameters
        ----------
        bbox : Bbox or slices
            On the chunk grid.
        mip : int or sequence of float, optional
            Default: the current one.

        Raises
        ------
        AlignmentError
            If the box does not sit on the chunk grid.
        OutOfBoundsError
            If it reaches outside.
        ReadOnlyError
            If this level cannot be written.
        """
        number = self._mip if mip is None else self.to_mip(mip)
        level = self.array(number).level
        self._check_writable(level)
        box = self._grid_box(bbox, level)
        if not is_aligned(level.bounds, level.chunk[:3], box):
            inner, outer = nearest_aligned(level.bounds, level.chunk[:3], box)
            raise AlignmentError(f"only whole chunks can be deleted; nearest: {outer} around, {inner} inside", box=box)
        delete(self.array(number), box)

    def _grid_box(self, bbox: Any, level: Level) -> Bbox:
        """Return the voxels a report or a deletion speaks of, checked against the bounds."""
        chosen = select(self._as_index(bbox), level.bounds, level.channels, resolution=level.resolution, bounded=True)
        if chosen.step != ONE or chosen.shape[3] != level.channels:
            raise OptionError("chunks are whole: a box of them has no steps and all channels")
        return chosen.box


def _undo(chosen: Selection, array: NDArray[Any]) -> NDArray[Any]:
    """Broadcast an array to a selection and undo what the index did to its axes: drops, reversals, new axes."""
    axes = [part for part in chosen.post if part is not None]
    view = fit(array, _shape(chosen), channel_kept=isinstance(axes[-1], slice))
    back: list[Any] = []
    for part in chosen.post:
        if part is None:
            back.append(0)
        elif isinstance(part, slice):
            back.append(part)
        else:
            back.append(np.newaxis)
    undone: NDArray[Any] = view[tuple(back)]
    return undone


def _shape(chosen: Selection) -> tuple[int, ...]:
    """Return the shape reading this selection would have."""
    sizes = iter(chosen.shape)
    shape: list[int] = []
    for part in chosen.post:
        if part is None:
            shape.append(1)
            continue
        size = next(sizes)
        if isinstance(part, slice):
            shape.append(size)
    return tuple(shape)
