"""Where cells lie in memory: checked arguments, axes in memory order, regions of equal cells."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, product
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import CastError, OptionError, ShapeError, UnsupportedError

Four = tuple[int, int, int, int]
T = TypeVar("T")

FEW = 8
"""Voxels of a cell, floats, that are summed in their own type; more are summed in float64, as sums of float32 drift."""


class Segment(NamedTuple):
    """Equal neighbouring cells along one axis.

    Attributes
    ----------
    start : int
        First voxel, counted from the array's first.
    first : int
        First cell, counted from the result's first.
    cells : int
        How many cells.
    step : int
        Voxels of each cell.
    """

    start: int
    first: int
    cells: int
    step: int


class Task(NamedTuple):
    """Equal cells along all axes: views of array and result, axes from fastest to slowest in memory.

    Attributes
    ----------
    source : numpy.ndarray
        Four axes, each ``step`` times as long as that of ``target``.
    target : numpy.ndarray
        Four axes, one voxel per cell.
    step : tuple of int
        Voxels of a cell along each axis.
    """

    source: NDArray[Any]
    target: NDArray[Any]
    step: Four


def sum_type(dtype: np.dtype[Any], count: int) -> np.dtype[Any]:
    """Return the type in which the floats of a cell of so many voxels are summed."""
    return dtype if count <= FEW else np.dtype(np.float64)


def whole(values: Sequence[int], name: str) -> tuple[int, int, int]:
    """Return three integers.

    Raises
    ------
    OptionError
        If these are not three integers.
    """
    try:
        x, y, z = (operator.index(value) for value in values)
    except (TypeError, ValueError):
        raise OptionError(f"{name} must be three integers (x, y, z), not {values!r}") from None
    return x, y, z


def positive(values: Sequence[int], name: str) -> tuple[int, int, int]:
    """Return three positive integers.

    Raises
    ------
    OptionError
        If these are not three positive integers.
    """
    x, y, z = whole(values, name)
    if min(x, y, z) < 1:
        raise OptionError(f"{name} must be positive, not {(x, y, z)}")
    return x, y, z


def four_axes(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of numbers in native byte order as (x, y, z, channel).

    Raises
    ------
    ShapeError
        If it has other than three or four axes.
    UnsupportedError
        If it holds no integers or floats of at most 64 bits.
    """
    array = np.asarray(array)
    if array.ndim not in (3, 4):
        raise ShapeError(f"downsampling takes (x, y, z) or (x, y, z, channel), not the shape {array.shape}")
    if array.dtype.kind not in "uif" or array.dtype.itemsize > 8:
        raise UnsupportedError(f"cannot downsample {array.dtype}: only integers and floats of up to 64 bits")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return array if array.ndim == 4 else array[..., np.newaxis]


def memory_order(array: NDArray[Any]) -> tuple[int, ...]:
    """Return the axes from fastest to slowest in memory, axes of one voxel last."""
    return tuple(sorted(range(array.ndim), key=lambda axis: (array.shape[axis] == 1, abs(array.strides[axis]))))


def new(shape: Sequence[int], dtype: np.dtype[Any], order: Sequence[int]) -> NDArray[Any]:
    """Return an uninitialised array whose axes lie in memory in ``order``, fastest first."""
    array = np.empty([shape[axis] for axis in order], dtype, order="F")
    return array.transpose(np.argsort(order))


def result(array: NDArray[Any], cells: Sequence[int], order: Sequence[int], out: NDArray[Any] | None) -> NDArray[Any]:
    """Return ``out`` if it can take the result, or a new array for it.

    Parameters
    ----------
    array : numpy.ndarray
        The array as the caller gave it.
    cells : sequence of int
        Number of cells along x, y, z.
    order : sequence of int
        The array's axes from fastest to slowest.
    out : numpy.ndarray or None
        The caller's array.

    Raises
    ------
    ShapeError, CastError, OptionError
        If ``out`` has another shape, another dtype, is read-only or overlaps the array.
    """
    shape, dtype = (*cells, *array.shape[3:]), array.dtype.newbyteorder("=")
    if out is None:
        return new(shape, dtype, [axis for axis in order if axis < len(shape)])
    if out.shape != shape:
        raise ShapeError(f"the result has the shape {shape}, but out has {out.shape}")
    if out.dtype != dtype:
        raise CastError(f"the result is {dtype}, but out is {out.dtype}")
    if not out.flags.writeable or np.may_share_memory(array, out):
        raise OptionError("out must be writeable and must not overlap the array")
    return out


def segments(origin: int, size: int, factor: int) -> tuple[Segment, ...]:
    """Return the cells along one axis: a leading partial one, the full ones, a trailing partial one.

    Parameters
    ----------
    origin : int
        Global coordinate of the first voxel.
    size : int
        Number of voxels; none give no cells.
    factor : int
        Voxels of a full cell.
    """
    if size and origin % factor == 0 and size % factor == 0:
        return (Segment(0, 0, size // factor, factor),)
    lead = min(-origin % factor, size)
    full, tail = divmod(size - lead, factor)
    head = int(lead > 0)
    every = (
        Segment(0, 0, head, lead),
        Segment(lead, head, full, factor),
        Segment(size - tail, head + full, int(tail > 0), tail),
    )
    return tuple(segment for segment in every if segment.cells)


def count(parts: Sequence[Segment]) -> int:
    """Return the number of cells of all segments."""
    return sum(part.cells for part in parts)


def tasks(
    source: NDArray[Any], target: NDArray[Any], axes: Sequence[Sequence[Segment]], order: Sequence[int]
) -> Iterator[Task]:
    """Yield the regions of equal cells of a four-axis array; at most three along each axis."""
    for parts in product(*axes):
        voxels = tuple(slice(p.start, p.start + p.cells * p.step) for p in parts)
        cells = tuple(slice(p.first, p.first + p.cells) for p in parts)
        a, b, c, d = (parts[axis].step for axis in order)
        yield Task(source[voxels].transpose(order), target[cells].transpose(order), (a, b, c, d))


def split(task: Task, pieces: int) -> Iterator[Task]:
    """Yield a task in at most ``pieces`` parts, cut along its slowest axis that has several cells."""
    if pieces == 1:
        yield task
        return
    shape = task.target.shape
    axis = max((axis for axis in range(4) if shape[axis] > 1), default=3)
    bounds = [shape[axis] * i // pieces for i in range(pieces + 1)]
    for low, high in pairwise(bounds):
        if low < high:
            voxels, cells = [slice(None)] * 4, [slice(None)] * 4
            voxels[axis] = slice(low * task.step[axis], high * task.step[axis])
            cells[axis] = slice(low, high)
            yield Task(task.source[tuple(voxels)], task.target[tuple(cells)], task.step)


def workers(threads: int) -> int:
    """Return the number of threads.

    Raises
    ------
    OptionError
        If it is no positive integer.
    """
    if not isinstance(threads, (int, np.integer)) or threads < 1:
        raise OptionError(f"threads must be a positive integer, not {threads!r}")
    return int(threads)


def run(work: Callable[[T], None], jobs: Sequence[T], threads: int) -> None:
    """Do all jobs, ``threads`` at once."""
    if threads == 1 or len(jobs) < 2:
        for job in jobs:
            work(job)
        return
    with ThreadPoolExecutor(min(threads, len(jobs))) as pool:
        list(pool.map(work, jobs))
