"""Half-open boxes with exact coordinates, and the ways of writing them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from volumekit.errors import OptionError, OutOfBoundsError
from volumekit.model.extent import Extent
from volumekit.model.notation import chunk_name, parse_chunk_name, slice_corners
from volumekit.model.vec import Number, Numbers, Vec, broadcast, numbers


class Bbox(Extent):
    """An axis-aligned, half-open box: ``minpt`` is inside, ``maxpt`` is just outside.

    Boxes never change; every method returns a new one. They can be hashed and pickled, and are equal when
    corners and unit are. Integer boxes are exact int64; a fractional coordinate makes the whole box float64.

    Parameters
    ----------
    minpt, maxpt : sequence of int or float
        Opposite corners, usually (x, y, z); any rank. Put in order axis by axis if they are not.
    dtype : dtype-like, optional
        Any integer type means int64 and rounds fractional corners outward; any floating type means float64.
    unit : {"vx", "nm", "um", "mm", "m"}
        What one coordinate step is.

    Raises
    ------
    OptionError
        For corners of different rank, not finite, or beyond ±2**62 (integers), and for an unknown unit.
    TypeError
        For coordinates that are no numbers.

    Examples
    --------
    >>> box = Bbox((0, 0, 0), (64, 64, 32))
    >>> box.size(), box.volume(), box + (10, 0, 0)
    (Vec(64, 64, 32), 131072, Bbox((10, 0, 0), (74, 64, 32)))
    """

    __slots__ = ()

    @classmethod
    def from_slices(
        cls,
        slices: Sequence[Any] | slice,
        context: Bbox | None = None,
        bounded: bool = False,
        autocrop: bool = False,
    ) -> Self:
        """Make a box from slices; an int is a slice of length one, a stop before the start is empty.

        Parameters
        ----------
        slices : sequence of slice or int
            In voxels, (x, y, z); one ``...`` allowed. Negative numbers are coordinates.
        context : Bbox, optional
            Gives the ends left open, and the trailing axes left out.
        bounded : bool
            Raise if a corner lies outside ``context``.
        autocrop : bool
            Else crop to ``context``.

        Raises
        ------
        OptionError
            For a step, more slices than axes, or an open end without ``context``.
        OutOfBoundsError
            If ``bounded`` and outside.
        """
        items = [slices] if isinstance(slices, slice) else slices
        corners = slice_corners(items, (context._lo, context._hi) if context is not None else None)
        return cls(*corners)._settle(context, bounded, autocrop)

    @classmethod
    def from_filename(cls, filename: str) -> Self:
        """Parse a chunk name such as ``"0-64_-3-13_7-39.gz"``; directories and suffixes are ignored.

        Raises
        ------
        OptionError
            If this is no chunk name.
        """
        return cls(*parse_chunk_name(filename))

    @classmethod
    def from_list(cls, values: Numbers) -> Self:
        """Make a box from the numbers of ``minpt`` followed by those of ``maxpt``."""
        corners = numbers(values)
        if len(corners) % 2:
            raise OptionError(f"a box has an even number of coordinates, not {len(corners)}")
        rank = len(corners) // 2
        return cls(corners[:rank], corners[rank:])

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Undo `to_dict`; ``dtype`` and ``unit`` may be missing."""
        try:
            corners = data["minpt"], data["maxpt"]
        except KeyError as error:
            raise OptionError(f"a box needs {error}") from error
        return cls(*corners, dtype=data.get("dtype"), unit=data.get("unit", "vx"))

    @classmethod
    def from_delta(cls, minpt: Numbers, plus: Numbers | Number) -> Self:
        """Make a box from its lowest corner and its size."""
        lo = numbers(minpt)
        return cls(lo, [a + b for a, b in zip(lo, broadcast(plus, len(lo)), strict=True)])

    @classmethod
    def from_points(cls, points: ArrayLike) -> Self:
        """Make the smallest box of voxels that holds all points, an (n, rank) array."""
        array = np.asarray(points)
        if array.ndim != 2 or not array.size or array.dtype.kind not in "iuf":
            raise OptionError(f"points are a non-empty (n, rank) array of numbers, not {array.shape} {array.dtype}")
        lo, hi = numbers(array.min(axis=0)), numbers(array.max(axis=0))
        return cls([math.floor(a) for a in lo], [math.floor(b) + 1 for b in hi])

    @classmethod
    def from_vec(cls, vec: Numbers) -> Self:
        """Make the box of this size that starts at the origin."""
        hi = numbers(vec)
        return cls((0,) * len(hi), hi)

    @classmethod
    def create(cls, obj: Any, context: Bbox | None = None, bounded: bool = False, autocrop: bool = False) -> Self:
        """Make a box from a Bbox, slices, a chunk name, a `Vec` (the size), or the numbers of both corners.

        Parameters
        ----------
        obj : Bbox, slice, sequence of slice or int, str, Vec
            A sequence of ints is both corners if it is twice as long as ``context`` has axes (six without
            ``context``), else one voxel.
        context, bounded, autocrop
            As for `from_slices`.

        Raises
        ------
        TypeError
            If it is none of these.
        OptionError, OutOfBoundsError
            As for `from_slices`.
        """
        if isinstance(obj, (slice, int, np.integer)) or obj is Ellipsis:
            obj = (obj,)
        if isinstance(obj, Bbox):
            box = cls(obj._lo, obj._hi, unit=obj._unit)
        elif isinstance(obj, str):
            box = cls.from_filename(obj)
        elif isinstance(obj, Vec):
            box = cls.from_vec(obj)
        elif isinstance(obj, (Sequence, np.ndarray)):
            items = list(obj)
            if len(items) != 2 * (context.ndim if context else 3) or any(isinstance(i, slice) for i in items):
                return cls.from_slices(items, context, bounded, autocrop)
            box = cls.from_list(items)
        else:
            raise TypeError(f"cannot make a Bbox from {type(obj).__name__}")
        return box._settle(context, bounded, autocrop)

    def to_slices(self) -> tuple[slice, ...]:
        """Return one slice of ints per axis; fractional boxes round outward."""
        box = self.astype(np.int64)
        return tuple(slice(a, b) for a, b in box._axes())

    def to_filename(self) -> str:
        """Return the chunk name, ``x0-x1_y0-y1_z0-z1``."""
        return chunk_name(self._lo, self._hi)

    def to_list(self) -> list[Number]:
        """Return the numbers of ``minpt``, then those of ``maxpt``."""
        return [*self._lo, *self._hi]

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary fit for JSON."""
        unit = {} if self._unit == "vx" else {"unit": self._unit}
        return {"minpt": [*self._lo], "maxpt": [*self._hi], "dtype": str(self.dtype), **unit}

    def _settle(self, context: Bbox | None, bounded: bool, autocrop: bool) -> Self:
        if context is not None and bounded and not context.contains_bbox(self):
            raise OutOfBoundsError(f"{self} reaches outside {context}", box=self)
        return self.intersection(context) if context is not None and autocrop else self
