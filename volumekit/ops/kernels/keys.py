"""Floats as integers of the same size that sort alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def from_floats(array: NDArray[Any]) -> NDArray[Any]:
    """Return signed integers in the order of the floats: one zero, one NaN, which is above every number."""
    bits = np.dtype(f"i{array.dtype.itemsize}")
    clean = array + array.dtype.type(0)  # -0 + 0 is +0
    np.copyto(clean, np.nan, where=np.isnan(clean))
    return _fold(clean.view(bits))


def to_floats(keys: NDArray[Any]) -> NDArray[Any]:
    """Return the floats of `from_floats`."""
    return _fold(keys).view(f"f{keys.dtype.itemsize}")


def _fold(bits: NDArray[Any]) -> NDArray[Any]:
    # Negative floats sort backwards by their bits: turn all but their sign around. Done twice it is undone.
    folded: NDArray[Any] = bits ^ ((bits >> (8 * bits.itemsize - 1)) & np.iinfo(bits.dtype).max)
    return folded
