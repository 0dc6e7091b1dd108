"""The distinct values of voxels, sooner than by sorting all of them: neighbours are mostly equal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SMALL = 2
"""Bytes of values of which a table is smaller than most chunks."""


def distinct(voxels: NDArray[Any]) -> NDArray[Any]:
    """Return the values that occur in an array, each once, sorted; NaN once, last."""
    voxels = _without_repeats(voxels)
    if voxels.dtype.kind == "u" and voxels.dtype.itemsize <= _SMALL:
        seen = np.zeros(np.iinfo(voxels.dtype).max + 1, bool)
        seen[voxels] = True
        return np.flatnonzero(seen).astype(voxels.dtype)
    flat = voxels.ravel("K")
    return np.unique(flat[_starts(flat)])


def numbered(voxels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the values that occur in an array, sorted, and for each voxel which of them it has.

    Parameters
    ----------
    voxels : numpy.ndarray
        Whole numbers, any shape and strides.

    Returns
    -------
    tuple of numpy.ndarray
        The distinct values, and positions among them, of the array's shape.
    """
    if voxels.size == 0 or 0 in voxels.strides:
        once = _without_repeats(voxels)
        values, places = np.unique(once, return_inverse=True)
        return values, np.broadcast_to(places.reshape(once.shape), voxels.shape)
    order = np.argsort(voxels.strides, kind="stable")[::-1]
    flat = voxels.transpose(order).ravel()
    starts = np.flatnonzero(_starts(flat))
    values, of_runs = np.unique(flat[starts], return_inverse=True)
    places = np.repeat(of_runs, np.diff(starts, append=len(flat)))
    shape = [voxels.shape[axis] for axis in order]
    return values, places.reshape(shape).transpose(np.argsort(order))


def _without_repeats(voxels: NDArray[Any]) -> NDArray[Any]:
    """Return an array without the axes along which it says the same again and again."""
    return (
        voxels[tuple(slice(0, 1) if step == 0 else slice(None) for step in voxels.strides)] if voxels.size else voxels
    )


def _starts(flat: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell where a value differs from the one before."""
    starts = np.ones(len(flat), bool)
    np.not_equal(flat[1:], flat[:-1], out=starts[1:])
    return starts
