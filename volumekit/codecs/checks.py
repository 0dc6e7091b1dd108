"""What every codec checks first: the shape and type of a chunk, and settings that are whole numbers."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from volumekit.errors import CorruptChunkError, MetadataError, ShapeError, UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from volumekit.codecs.base import Codec


def storable(codec: Codec, chunk: NDArray[Any]) -> NDArray[Any]:
    """Return a chunk in native byte order if ``codec`` can store it.

    Raises
    ------
    ShapeError
        If the array is not (x, y, z, channel) with at least one voxel.
    UnsupportedError
        If the codec cannot store this data type or number of channels.
    """
    if chunk.ndim != 4 or not chunk.size:
        raise ShapeError(f"a chunk is (x, y, z, channel) and not empty; got the shape {chunk.shape}")
    dtype = chunk.dtype.newbyteorder("=")
    if why := codec.supports(dtype, chunk.shape[3]):
        raise UnsupportedError(why)
    return chunk.astype(dtype, copy=False)


def check_readable(codec: Codec, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> None:
    """Raise CorruptChunkError if no bytes of this codec can be such a chunk."""
    if why := codec.supports(dtype, shape[3]):
        raise CorruptChunkError(why)


def whole_number(name: str, value: object, lowest: int, highest: int) -> int:
    """Return a setting as an int within [lowest, highest], both included; MetadataError if it is not one."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = lowest - 1
    if isinstance(value, bool) or not lowest <= number <= highest:
        raise MetadataError(f"{name} is a whole number from {lowest} to {highest}, not {value!r}")
    return number
