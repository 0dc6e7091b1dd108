"""The method ``gaussian``: smooth, then average each cell."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import AlignmentError, OptionError
from volumekit.ops.kernels import GAUSSIAN_RADIUS, layout
from volumekit.ops.kernels.reduce import kernels

_MAX_FACTOR = 64
_TAPS = [math.exp(-2 * k * k) for k in range(GAUSSIAN_RADIUS + 1)]  # sigma 0.5
_WEIGHTS = [tap / (_TAPS[0] + 2 * sum(_TAPS[1:])) for tap in _TAPS]
_SLAB = 1 << 20
"""About how many voxels are filtered at once, so that the float64 copies stay small."""

_X, _Y, _Z, _CHANNEL = range(4)


class Line(NamedTuple):
    """What is sampled along one axis.

    Attributes
    ----------
    voxels : numpy.ndarray
        Voxels of the array that are filtered, ``margin`` neighbours at both ends included.
    step : int
        Voxels of a cell.
    margin : int
        `GAUSSIAN_RADIUS`, or 0 along an axis that is not filtered.
    """

    voxels: NDArray[np.int64]
    step: int
    margin: int

    @property
    def cells(self) -> int:
        """Number of cells."""
        return max(0, len(self.voxels) - 2 * self.margin) // self.step

    def part(self, low: int, high: int) -> Line:
        """Return the line of the cells from ``low`` to ``high``, half-open."""
        return self._replace(voxels=self.voxels[low * self.step : high * self.step + 2 * self.margin])


def downsample(
    array: NDArray[Any],
    factor: Sequence[int],
    *,
    origin: Sequence[int],
    halo: Sequence[tuple[int, int]],
    out: NDArray[Any] | None,
    threads: int,
) -> NDArray[Any]:
    """Smooth and reduce: see `volumekit.ops.kernels.downsample_gaussian`."""
    source, step = layout.four_axes(array), layout.positive(factor, "factor")
    if max(step) > _MAX_FACTOR:
        raise OptionError(f"a Gaussian takes factors up to {_MAX_FACTOR}, not {step}")
    start, sides, pool = layout.whole(origin, "origin"), _sides(halo), layout.workers(threads)
    lines = [_line(*axis) for axis in zip(start, source.shape[:3], step, sides, strict=True)]
    order = layout.memory_order(source)
    target = layout.result(np.asarray(array), [line.cells for line in lines], order, out)
    wide = target if target.ndim == 4 else target[..., np.newaxis]
    jobs = list(_jobs(source, wide, lines, [axis for axis in order if axis != _CHANNEL]))
    layout.run(_work, jobs, pool)
    return target


def _sides(halo: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    try:
        lows, highs = zip(*halo, strict=True)
    except (TypeError, ValueError):
        raise OptionError(f"halo must be three pairs (low, high), not {halo!r}") from None
    sides = tuple(zip(layout.whole(lows, "halo"), layout.whole(highs, "halo"), strict=True))
    if min(map(min, sides)) < 0:
        raise OptionError(f"halo must not be negative, not {halo!r}")
    return sides


def _line(origin: int, size: int, step: int, halo: tuple[int, int]) -> Line:
    """Return what is sampled along an axis of ``size`` voxels that begins at the coordinate ``origin``."""
    low, high = halo[0], size - halo[1]
    if low > high:
        raise OptionError(f"a halo of {halo} does not fit into {size} voxels")
    if (halo[0] and (origin + low) % step) or (halo[1] and (origin + high) % step):
        raise AlignmentError(
            f"inside its halo the block is {origin + low} to {origin + high}, not on multiples of {step}"
        )
    if low == high:
        return Line(np.empty(0, np.int64), step, 0)
    if step == 1:
        return Line(np.arange(low, high), 1, 0)
    first, last = low - (origin + low) % step, high + -(origin + high) % step
    begin, end = -(origin % step), size + -(origin + size) % step
    wanted = np.arange(first - GAUSSIAN_RADIUS, last + GAUSSIAN_RADIUS)
    return Line(np.clip(_mirrored(wanted, begin, end), 0, size - 1), step, GAUSSIAN_RADIUS)


def _mirrored(wanted: NDArray[np.int64], begin: int, end: int) -> NDArray[np.int64]:
    """Return the places mirrored into ``begin`` to ``end``, half-open, without repeating the edge."""
    period = 2 * (end - begin - 1)
    place = (wanted - begin) % period
    return np.asarray(np.minimum(place, period - place) + begin)


class _Job(NamedTuple):
    """One channel of a slab: (x, y, z) views, and the axes from fastest to slowest in memory."""

    source: NDArray[Any]
    target: NDArray[Any]
    lines: list[Line]
    order: list[int]


def _jobs(source: NDArray[Any], target: NDArray[Any], lines: list[Line], order: list[int]) -> Iterator[_Job]:
    if target.size == 0:
        return
    axis = max(order, key=lambda axis: (target.shape[axis] > 1, order.index(axis)))
    plane = math.prod(len(line.voxels) for line in lines) // target.shape[axis]
    thick = max(1, _SLAB // plane)
    for channel in range(source.shape[_CHANNEL]):
        for low in range(0, target.shape[axis], thick):
            cells = [slice(None)] * 3
            cells[axis] = slice(low, low + thick)
            parts = [*lines]
            parts[axis] = lines[axis].part(low, min(low + thick, target.shape[axis]))
            yield _Job(source[..., channel], target[..., channel][tuple(cells)], parts, order)


def _work(job: _Job) -> None:
    axes = job.order[::-1]  # slowest first: C order, which take() and astype() keep
    block = job.source.transpose(axes)
    for place, axis in enumerate(axes):
        block = np.take(block, job.lines[axis].voxels, axis=place)
    block = block.astype(np.float64)
    with np.errstate(all="ignore"):
        for axis in (_Z, _Y, _X):
            if job.lines[axis].margin:
                block = _smoothed(block, axes.index(axis))
        # Always x fastest, so that sums do not depend on the memory order.
        fields = np.asfortranarray(block.transpose([axes.index(axis) for axis in (_X, _Y, _Z)]))
        cells = np.empty(job.target.shape, order="F")
        a, b, c = (line.step for line in job.lines)
        kernels()["mean"](layout.Task(fields[..., np.newaxis], cells[..., np.newaxis], (a, b, c, 1)))
        job.target[...] = _rounded(cells, job.target.dtype)


def _smoothed(block: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Filter along an axis, whose margins get lost; terms are added in a fixed order, outermost first."""

    def shifted(k: int) -> NDArray[np.float64]:
        inside = [slice(None)] * 3
        inside[axis] = slice(GAUSSIAN_RADIUS + k, block.shape[axis] - GAUSSIAN_RADIUS + k)
        return block[tuple(inside)]

    total = shifted(0) * _WEIGHTS[0]
    for k in range(GAUSSIAN_RADIUS, 0, -1):
        pair = shifted(-k) + shifted(k)
        pair *= _WEIGHTS[k]
        total += pair
    return total


def _rounded(cells: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return cells.astype(dtype)
    info = np.iinfo(dtype)
    # The greatest 64-bit integers are no floats: take the float below.
    highest = float(info.max) if dtype.itemsize < 8 else np.nextafter(float(info.max), 0)
    return np.clip(np.rint(cells), float(info.min), highest).astype(dtype)
