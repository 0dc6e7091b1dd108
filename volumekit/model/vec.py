"""Coordinates: the short vector that users see, and the exact numbers behind it."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from volumekit.errors import OptionError

Number = int | float
Numbers = Iterable[Any] | NDArray[Any]
Point = tuple[Number, ...]


class Vec(np.ndarray[Any, np.dtype[Any]]):
    """A one-dimensional array of a few coordinates, (x, y, z) or (x, y, z, w), that can be hashed.

    Parameters
    ----------
    *coords : int or float
        The coordinates.
    dtype : dtype-like, optional
        int64 if all coordinates are integers, else float64.

    Raises
    ------
    OptionError
        If a coordinate does not fit the data type.

    Notes
    -----
    Arithmetic and comparison are NumPy's, element by element. The hash is that of the tuple of the
    coordinates; do not change a vector that is a key of a dictionary.

    Examples
    --------
    >>> Vec(4, 4, 40) * 2
    Vec(8, 8, 80)
    >>> Vec(4, 4, 40).z
    np.int64(40)
    """

    def __new__(cls, *coords: float | np.number[Any], dtype: DTypeLike | None = None) -> Self:  # noqa: D102
        if dtype is None:
            dtype = np.int64 if all(_is_integer(c) for c in coords) else np.float64
        try:
            return np.array(coords, dtype=dtype).view(cls)
        except OverflowError as error:
            raise OptionError(f"coordinates {coords} do not fit {np.dtype(dtype)}") from error

    @property
    def x(self) -> Any:
        """First coordinate."""
        return self[0]

    @property
    def y(self) -> Any:
        """Second coordinate."""
        return self[1]

    @property
    def z(self) -> Any:
        """Third coordinate."""
        return self[2]

    @property
    def w(self) -> Any:
        """Fourth coordinate."""
        return self[3]

    def clone(self) -> Self:
        """Return a copy that can be changed."""
        return self.copy()

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array.view(type(self)) if array.ndim else array[()]

    def __hash__(self) -> int:  # type: ignore[override]  # NumPy makes arrays unhashable
        return hash(tuple(self.tolist())) if self.ndim else hash(self.item())

    def __repr__(self) -> str:
        if self.ndim != 1:
            return super().__repr__()
        return f"Vec({', '.join(map(repr, self.tolist()))})"

    __str__ = __repr__


def _is_integer(value: object) -> bool:
    return isinstance(value, (int, np.integer))


def number(value: Any) -> Number:
    """Return a Python number: exact for every integer type, float for every floating type.

    Raises
    ------
    TypeError
        If it is no number.
    OptionError
        If it is not finite, or an integer beyond ±2**64.
    """
    if not isinstance(value, (float, np.floating)):
        whole = int(operator.index(value))
        if abs(whole) > 2**64:  # far beyond any box; small enough that no arithmetic with floats overflows
            raise OptionError(f"a coordinate of {whole.bit_length()} bits is too large")
        return whole
    if not math.isfinite(value):
        raise OptionError(f"a coordinate must be finite, not {value}")
    return float(value)


def numbers(values: Numbers) -> Point:
    """Return coordinates as Python numbers; errors as for `number`."""
    return tuple(number(v) for v in (values.tolist() if isinstance(values, np.ndarray) else values))


def broadcast(value: Numbers | Number, rank: int) -> Point:
    """Return ``rank`` coordinates from as many, or from one that stands for all.

    Raises
    ------
    OptionError
        If there are neither one nor ``rank``.
    """
    if isinstance(value, (int, float, np.number)):
        return (number(value),) * rank
    point = numbers(value)
    if len(point) != rank:
        raise OptionError(f"expected {rank} coordinates, got {len(point)}: {point}")
    return point


def floor(value: Number, step: Number) -> Number:
    """Return the largest multiple of ``step`` that is not above ``value``."""
    return value // step * step


def ceil(value: Number, step: Number) -> Number:
    """Return the smallest multiple of ``step`` that is not below ``value``."""
    return -(-value // step) * step


def nearest(value: Number, step: Number) -> Number:
    """Return the multiple of ``step`` nearest to ``value``; of two, the even multiple."""
    count = value // step
    twice = 2 * (value - count * step)
    return (count + (twice > step or (twice == step and count % 2))) * step
