"""Whole chunks: zarr stores those at the end of an array as large as all others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def padded(chunk: NDArray[Any], shape: tuple[int, ...], fill: float) -> NDArray[Any]:
    """Return a chunk in its full size; what it lacks at the high ends is filled."""
    if chunk.shape == shape:
        return chunk
    whole = np.full(shape, fill, chunk.dtype)
    whole[tuple(slice(n) for n in chunk.shape)] = chunk
    return whole
