"""How a chunk lies in a two-dimensional picture, for the codecs that are picture formats.

The pixels of the picture, row by row, are the voxels in Fortran order of (x, y, z). Writers use width = x and
height = y*z; readers accept any width and height with width*height = x*y*z. The channels are the colours of a
pixel: interleaved in the picture, one after the other in the chunk.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import CorruptChunkError, UnsupportedError


def picture_size(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    """Return (height, width) of the picture of a chunk.

    Parameters
    ----------
    shape : tuple of int
        (x, y, z, ...) of the chunk.
    longest : int
        Most pixels that the picture format allows along one side.

    Raises
    ------
    UnsupportedError
        If no width and height multiply to x*y*z within ``longest``.
    """
    x, rows = shape[0], shape[1] * shape[2]
    for joined in range(-(-rows // longest), longest // x + 1):
        if rows % joined == 0:
            return rows // joined, x * joined
    raise UnsupportedError(
        f"a chunk of {shape[:3]} voxels fits no picture with sides of at most {longest} pixels; use smaller chunks"
    )


def to_picture(chunk: NDArray[Any], longest: int) -> NDArray[Any]:
    """Return a chunk as a C-ordered picture, (height, width) or (height, width, channel)."""
    height, width = picture_size(chunk.shape, longest)
    pixels = chunk.T.reshape(chunk.shape[3], -1)
    if len(pixels) == 1:
        return np.ascontiguousarray(pixels).reshape(height, width)
    return np.ascontiguousarray(pixels.T).reshape(height, width, len(pixels))


def from_picture(picture: NDArray[Any], shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the chunk of a decoded picture, in Fortran order.

    Raises
    ------
    CorruptChunkError
        If the decoder gave something else than the header promised.
    """
    if picture.dtype != dtype or picture.size != math.prod(shape):
        got = f"{picture.dtype} {picture.shape}"
        raise CorruptChunkError(f"the picture decodes to {got}, not to {dtype} {shape}")
    pixels = picture.reshape(-1, shape[3])
    return np.ascontiguousarray(pixels.T).reshape(shape[::-1]).T


def check_picture(kind: str, width: int, height: int, channels: int, shape: tuple[int, int, int, int]) -> None:
    """Raise CorruptChunkError unless the size that a picture declares is the size of the chunk."""
    if width * height != math.prod(shape[:3]):
        wanted = f"{math.prod(shape[:3])} voxels of the shape {shape[:3]}"
        raise CorruptChunkError(f"the {kind} declares {width} x {height} pixels, which are not {wanted}")
    if channels != shape[3]:
        raise CorruptChunkError(f"the {kind} declares {channels} channels, not {shape[3]}")
