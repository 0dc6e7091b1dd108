"""What may be written where: NumPy broadcasting, and only casts that lose nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import CastError, ShapeError

_KINDS = {"f": "buif", "i": "bui", "u": "bui", "b": "b"}
"""Kinds of Python numbers that each kind of data type may hold."""


def cast(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a value as an array of this data type.

    Parameters
    ----------
    value : array-like or number
        Arrays must be safely castable; Python numbers (and lists of them) must fit.
    dtype : numpy.dtype
        The volume's data type.

    Raises
    ------
    CastError
        If something would be lost.
    """
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__"):
        array = np.asarray(value)
        if not np.can_cast(array.dtype, dtype, "safe"):
            raise CastError(
                f"{array.dtype} values cannot be stored as {dtype} without loss; convert them, as with astype"
            )
        return array.astype(dtype, copy=False)
    return _cast_python(value, dtype)


def _cast_python(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        loose = np.asarray(value)
        if dtype.kind == "b" and loose.dtype.kind == "i" and np.isin(loose, (0, 1)).all():
            return loose.astype(dtype)
        if not loose.size or loose.dtype.kind in _KINDS[dtype.kind]:
            with np.errstate(over="raise"):
                return np.array(value, dtype=dtype)
    except (OverflowError, ValueError, TypeError, FloatingPointError) as error:
        raise CastError(f"{value!r} does not fit {dtype}: {error}") from error
    raise CastError(f"{value!r} ({loose.dtype}) cannot be stored as {dtype} without loss")


def fit(array: NDArray[Any], shape: tuple[int, ...], *, channel_kept: bool) -> NDArray[Any]:
    """Broadcast an array to a selection.

    Parameters
    ----------
    array : numpy.ndarray
        What is to be stored.
    shape : tuple of int
        Shape of the selection as reading it would return it.
    channel_kept : bool
        Whether the selection's last axis is the channel.

    Raises
    ------
    ShapeError
        If it does not fit. A 3-D array fits a 4-D selection of one channel, never one of several.
    """
    if channel_kept and len(shape) == array.ndim + 1 and array.ndim == 3:
        if shape[-1] != 1:
            raise ShapeError(
                f"a 3-D array {array.shape} does not say which of {shape[-1]} channels it is for; "
                "index the channel (vol[x, y, z, 0] = …) or give a 4-D array"
            )
        array = array[..., np.newaxis]
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ShapeError(f"an array of shape {array.shape} does not fit a selection of shape {shape}") from None
