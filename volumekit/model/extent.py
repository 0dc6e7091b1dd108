"""The geometry of half-open boxes."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from volumekit.errors import OptionError
from volumekit.model.units import check_unit, exact, step
from volumekit.model.vec import Number, Numbers, Point, Vec, broadcast, ceil, floor, nearest, numbers

LIMIT = 2**62
"""Largest magnitude of an integer coordinate, so that sizes still fit int64."""


class Extent:
    """A half-open box in some unit: what `Bbox` knows about space, without the ways of writing it."""

    __slots__ = ("_hi", "_lo", "_unit")
    __array_ufunc__ = None  # so that ``array + box`` comes here

    def __init__(self, minpt: Numbers, maxpt: Numbers, *, dtype: DTypeLike | None = None, unit: str = "vx") -> None:
        a, b = numbers(minpt), numbers(maxpt)
        if len(a) != len(b):
            raise OptionError(f"corners of different rank: {a} and {b}")
        lo, hi = tuple(map(min, a, b)), tuple(map(max, a, b))
        kind = np.dtype(dtype).kind if dtype is not None else _kind(lo + hi)
        if kind not in "iuf":
            raise OptionError(f"a box cannot have data type {np.dtype(dtype)}")
        if kind == "f":
            lo, hi = tuple(map(float, lo)), tuple(map(float, hi))
        else:
            lo, hi = tuple(map(math.floor, lo)), tuple(map(math.ceil, hi))
            _check_range(lo, hi)
        self._lo: Point = lo
        self._hi: Point = hi
        self._unit = check_unit(unit)

    def clone(self) -> Self:
        """Return an equal box."""
        return type(self)(self._lo, self._hi, unit=self._unit)

    def astype(self, dtype: DTypeLike) -> Self:
        """Return the box in another data type; to integers it rounds outward."""
        return type(self)(self._lo, self._hi, dtype=dtype, unit=self._unit)

    # Looking at boxes

    @property
    def minpt(self) -> Vec:
        """Lowest corner, inside the box; read-only."""
        return self._corner(self._lo)

    @property
    def maxpt(self) -> Vec:
        """Highest corner, just outside the box; read-only."""
        return self._corner(self._hi)

    @property
    def unit(self) -> str:
        """What one coordinate step is: "vx" or a physical unit."""
        return self._unit

    @property
    def dtype(self) -> np.dtype[Any]:
        """int64 or float64."""
        return np.dtype("f8" if _kind(self._lo) == "f" else "i8")

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._lo)

    @property
    def dx(self) -> Number:
        """Extent along x."""
        return self._extent(0)

    @property
    def dy(self) -> Number:
        """Extent along y."""
        return self._extent(1)

    @property
    def dz(self) -> Number:
        """Extent along z."""
        return self._extent(2)

    def size(self) -> Vec:
        """Return the extents, ``maxpt - minpt``."""
        return Vec(*self._extents(), dtype=self.dtype)

    def size2(self) -> Vec:
        """Return the extents along x and y."""
        return Vec(*self._extents()[:2], dtype=self.dtype)

    def size3(self) -> Vec:
        """Return the extents along x, y and z."""
        return Vec(*self._extents()[:3], dtype=self.dtype)

    def volume(self) -> Number:
        """Return the product of the extents, exact for integer boxes."""
        return math.prod(self._extents())

    def center(self) -> Vec:
        """Return the centre, float64."""
        return Vec(*((a + b) / 2 for a, b in self._axes()), dtype=np.float64)

    def empty(self) -> bool:
        """Say whether the box holds nothing."""
        return any(a == b for a, b in self._axes())

    def subvoxel(self) -> bool:
        """Say whether the volume is less than one voxel."""
        return self.volume() < 1

    def contains(self, point: Numbers) -> bool:
        """Say whether a point lies in the half-open box (a point on ``maxpt`` does not)."""
        point = broadcast(point, self.ndim)
        return all(a <= p < b for p, (a, b) in zip(point, self._axes(), strict=True))

    def contains_bbox(self, box: Extent) -> bool:
        """Say whether both corners of a box lie within this one."""
        return all(a <= c and d <= b for a, b, c, d in self._pairs(box))

    def __contains__(self, item: Extent | Numbers) -> bool:
        return self.contains_bbox(item) if isinstance(item, Extent) else self.contains(item)

    def is_chunk_aligned(self, chunk_size: Numbers | Number, offset: Numbers | Number = 0) -> bool:
        """Say whether both corners are on the grid of `expand_to_chunk_size`."""
        return self == self.expand_to_chunk_size(chunk_size, offset)

    # Boxes from boxes

    def clamp(self, other: Extent) -> Self:
        """Return the box with both corners moved to the nearest places in ``other``."""
        pairs = list(self._pairs(other))
        return self._like([min(max(a, c), d) for a, _, c, d in pairs], [min(max(b, c), d) for _, b, c, d in pairs])

    def intersection(self, other: Extent) -> Self:
        """Return the common part; the empty box at the origin if there is none."""
        if not self.intersects(other):
            zero = (0,) * self.ndim
            return type(self)(zero, zero, dtype=self.dtype, unit=self._unit)
        return self.clamp(other)

    def intersects(self, other: Extent) -> bool:
        """Say whether the boxes have a common part that is not empty."""
        return all(max(a, c) < min(b, d) for a, b, c, d in self._pairs(other))

    def expand(self, *others: Extent) -> Self:
        """Return the smallest box around this one and all others."""
        for other in others:
            self._same_space(other)
        boxes: tuple[Extent, ...] = (self, *others)
        return self._like(
            [min(axis) for axis in zip(*(b._lo for b in boxes), strict=True)],
            [max(axis) for axis in zip(*(b._hi for b in boxes), strict=True)],
        )

    def grow(self, amount: Numbers | Number) -> Self:
        """Return the box with every face moved outward by ``amount``, inward if negative.

        Raises
        ------
        OptionError
            If faces would pass each other.
        """
        steps = broadcast(amount, self.ndim)
        lo = [a - s for a, s in zip(self._lo, steps, strict=True)]
        hi = [b + s for b, s in zip(self._hi, steps, strict=True)]
        if any(a > b for a, b in zip(lo, hi, strict=True)):
            raise OptionError(f"{self} cannot shrink by {amount}", box=self)
        return self._like(lo, hi)

    def shrink(self, amount: Numbers | Number) -> Self:
        """Return the box with every face moved inward by ``amount``; errors as for `grow`."""
        return self.grow([-a for a in broadcast(amount, self.ndim)])

    def expand_to_chunk_size(self, chunk_size: Numbers | Number, offset: Numbers | Number = 0) -> Self:
        """Return the smallest box around this one on the grid with lines at ``offset + k * chunk_size``.

        Parameters
        ----------
        chunk_size : number or sequence
            Distance of grid lines, positive.
        offset : number or sequence
            Any point of the grid.

        Raises
        ------
        OptionError
            If ``chunk_size`` is not positive.
        """
        return self._snap(chunk_size, offset, floor, ceil)

    def shrink_to_chunk_size(self, chunk_size: Numbers | Number, offset: Numbers | Number = 0) -> Self:
        """Return the largest box on the grid inside this one, or an empty one; see `expand_to_chunk_size`."""
        return self._snap(chunk_size, offset, ceil, floor)

    def round_to_chunk_size(self, chunk_size: Numbers | Number, offset: Numbers | Number = 0) -> Self:
        """Return the box with corners on the nearest grid points, halves to even."""
        return self._snap(chunk_size, offset, nearest, nearest)

    def convert_units(self, unit: str, resolution: Numbers | Number | None = None) -> Self:
        """Return the same box in another unit.

        Parameters
        ----------
        unit : {"vx", "nm", "um", "mm", "m"}
            The unit wanted.
        resolution : sequence of float, optional
            Voxel size in nm, (x, y, z); needed from or to voxels.

        Returns
        -------
        Extent
            Calculated exactly in the decimals as written: an integer box stays integer if nothing is lost,
            else it becomes float64. ``astype(int)`` then rounds outward.

        Raises
        ------
        OptionError
            For an unknown unit, or a resolution that is missing or not positive.
        """
        if unit == self._unit:
            return self.clone()
        here, there = (step(u, resolution, self.ndim) for u in (self._unit, unit))
        scales = [a / b for a, b in zip(here, there, strict=True)]
        corners = [[exact(v) * s for v, s in zip(p, scales, strict=True)] for p in (self._lo, self._hi)]
        whole = self.dtype.kind == "i" and all(v.denominator == 1 for p in corners for v in p)
        try:
            lo, hi = [[int(v) if whole else float(v) for v in p] for p in corners]
        except OverflowError as error:
            raise OptionError(f"{self} is too large for {unit}", box=self) from error
        return type(self)(lo, hi, unit=unit)

    def __add__(self, other: Numbers | Number) -> Self:
        return self._apply(operator.add, operator.add, other)

    __radd__ = __add__
    translate = __add__

    def __sub__(self, other: Numbers | Number) -> Self:
        return self._apply(operator.sub, operator.sub, other)

    def __mul__(self, other: Numbers | Number) -> Self:
        return self._apply(operator.mul, operator.mul, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Numbers | Number) -> Self:
        return self._apply(operator.truediv, operator.truediv, other)

    def __floordiv__(self, other: Numbers | Number) -> Self:
        """Divide by positive numbers and round outward: the voxels of a coarser level that cover the box."""
        if min(broadcast(other, self.ndim), default=1) <= 0:
            raise OptionError(f"a box can only be floor-divided by positive numbers, not {other}")
        return self._apply(operator.floordiv, lambda b, f: -(-b // f), other)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Extent):
            return NotImplemented
        return (self._lo, self._hi, self._unit) == (other._lo, other._hi, other._unit)

    def __hash__(self) -> int:
        return hash((self._lo, self._hi, self._unit))

    def __repr__(self) -> str:
        unit = "" if self._unit == "vx" else f", unit={self._unit!r}"
        return f"{type(self).__name__}({self._lo}, {self._hi}{unit})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (type(self), self._lo, self._hi, self._unit)

    def _axes(self) -> list[tuple[Number, Number]]:
        return list(zip(self._lo, self._hi, strict=True))

    def _extents(self) -> list[Number]:
        return [b - a for a, b in self._axes()]

    def _extent(self, axis: int) -> Number:
        return self._hi[axis] - self._lo[axis]

    def _corner(self, point: Point) -> Vec:
        vec = Vec(*point, dtype=self.dtype)
        vec.flags.writeable = False
        return vec

    def _like(self, lo: Sequence[Number], hi: Sequence[Number]) -> Self:
        return type(self)(lo, hi, unit=self._unit)

    def _same_space(self, other: Extent) -> None:
        if (self.ndim, self._unit) != (other.ndim, other._unit):
            raise OptionError(f"{self} and {other} differ in rank or unit")

    def _pairs(self, other: Extent) -> list[tuple[Number, Number, Number, Number]]:
        self._same_space(other)
        return list(zip(self._lo, self._hi, other._lo, other._hi, strict=True))

    def _apply(
        self, low: Callable[[Any, Any], Number], high: Callable[[Any, Any], Number], other: Numbers | Number
    ) -> Self:
        by = broadcast(other, self.ndim)
        if low is operator.truediv and 0 in by:
            raise OptionError(f"a box cannot be divided by {other}")
        return self._like(list(map(low, self._lo, by)), list(map(high, self._hi, by)))

    def _snap(
        self,
        chunk_size: Numbers | Number,
        offset: Numbers | Number,
        low: Callable[[Number, Number], Number],
        high: Callable[[Number, Number], Number],
    ) -> Self:
        steps, origin = broadcast(chunk_size, self.ndim), broadcast(offset, self.ndim)
        if min(steps, default=1) <= 0:
            raise OptionError(f"a chunk size must be positive, not {chunk_size}")
        lo = [low(a - o, s) + o for a, o, s in zip(self._lo, origin, steps, strict=True)]
        hi = [high(b - o, s) + o for b, o, s in zip(self._hi, origin, steps, strict=True)]
        return self._like(lo, list(map(max, lo, hi)))


def _kind(point: Point) -> str:
    return "f" if any(isinstance(v, float) for v in point) else "i"


def _check_range(lo: Sequence[Number], hi: Sequence[Number]) -> None:
    if any(a < -LIMIT or b > LIMIT or b - a >= 2 * LIMIT for a, b in zip(lo, hi, strict=True)):
        raise OptionError(f"coordinates {tuple(lo)} to {tuple(hi)} are beyond ±2**62")


def _load(cls: type[Extent], lo: Point, hi: Point, unit: str) -> Extent:
    return cls(lo, hi, unit=unit)
