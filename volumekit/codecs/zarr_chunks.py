"""Our codecs for zarr chunks: arrays in C order, (y, x), (z, y, x) or (channel, z, y, x).

The bytes are those of a chunk (x, y, z, channel) with the axes the other way round. What zarr-python uses are the
classes in `volumekit.codecs.numcodecs` (zarr v2, and everything else that uses numcodecs) and
`volumekit.codecs.zarr3`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from volumekit.codecs import CODECS, get_codec
from volumekit.errors import MetadataError, ShapeError, UnsupportedError
from volumekit.model.level import CodecSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from volumekit.codecs.base import Codec

NAMES = ("jpeg", "png", "jxl", "compressed_segmentation", "compresso", "crackle", "fpzip", "zfpc")
"""The codecs that zarr can use; ``volumekit.`` and these are their names there."""

PREFIX = "volumekit."


def codec_of(name: str, settings: Mapping[str, Any]) -> Codec:
    """Return one of our codecs; lists among the settings are as good as tuples.

    Raises
    ------
    MetadataError
        If a setting is missing, unknown or impossible.
    MissingExtraError
        If it needs a package that is not installed.
    """
    unknown = set(settings) - {field.name for field in dataclasses.fields(CODECS[name])}
    if unknown:
        raise MetadataError(f"{name} has no setting {', '.join(sorted(unknown))}")
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    return get_codec(CodecSpec(name, plain))


def encode(codec: Codec, array: NDArray[Any]) -> bytes:
    """Encode a zarr chunk.

    Parameters
    ----------
    codec : Codec
        The codec.
    array : numpy.ndarray
        Up to four axes, (channel, z, y, x); axes before these have the length 1.

    Raises
    ------
    ShapeError
        If it has more axes.
    UnsupportedError
        If the codec cannot store its data type or number of channels.
    """
    return codec.encode(array.T.reshape(_chunk_shape(array.shape), order="F"))


def decode(codec: Codec, data: bytes, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Decode a zarr chunk of this shape and type, in C order.

    Raises
    ------
    CorruptChunkError
        If the bytes are no such chunk.
    """
    chunk = codec.decode(data, _chunk_shape(shape), dtype.newbyteorder("="))
    return chunk.T.reshape(tuple(shape)).astype(dtype, copy=False)


def check(codec: Codec, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    """Raise UnsupportedError if the codec cannot store such chunks."""
    if why := codec.supports(dtype.newbyteorder("="), _chunk_shape(shape)[3]):
        raise UnsupportedError(why)


def _chunk_shape(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Return (x, y, z, channel) of a zarr chunk."""
    if not shape or math.prod(shape[:-4]) != 1:
        raise ShapeError(f"a chunk is (y, x), (z, y, x) or (channel, z, y, x), not {tuple(shape)}")
    x, y, z, channels = (*(int(n) for n in reversed(shape[-4:])), 1, 1, 1)[:4]
    return x, y, z, channels
