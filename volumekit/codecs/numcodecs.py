"""Our codecs in the registry of numcodecs, where entry points put them: ``{"id": "volumekit.jpeg", …}``.

As a compressor of zarr v2, for arrays (z, y, x)::

    zarr.create_array(
        "labels.zarr", zarr_format=2, shape=(100, 100, 100), chunks=(64, 64, 64), dtype="uint64",
        compressors=volumekit.codecs.numcodecs.Crackle(shape=(64, 64, 64), dtype="uint64"),
    )
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ensure_ndarray, ndarray_copy

from volumekit.codecs import zarr_chunks
from volumekit.errors import OptionError, ShapeError
from volumekit.model.plain import plain


class ChunkCodec(Codec):  # type: ignore[misc]
    """One of our codecs as numcodecs has them.

    Parameters
    ----------
    shape : sequence of int
        Shape of the chunks, (z, y, x) or (channel, z, y, x): most encodings do not tell.
    dtype : data type
        Their data type.
    **settings
        As the codec has them, for example ``jpeg_quality``.

    Raises
    ------
    OptionError
        If shape or data type are missing, or none.
    MetadataError, ShapeError, UnsupportedError
        If there is no such codec, or not for such chunks.
    MissingExtraError
        If it needs a package that is not installed.
    """

    codec_id: ClassVar[str]

    def __init__(self, *, shape: Sequence[int] | None = None, dtype: Any = None, **settings: Any) -> None:
        self._shape, self._dtype, self._settings = self._chunk(shape, dtype), np.dtype(dtype), plain(settings)
        self._codec = zarr_chunks.codec_of(self.codec_id.removeprefix(zarr_chunks.PREFIX), self._settings)
        zarr_chunks.check(self._codec, self._shape, self._dtype)

    def _chunk(self, shape: Any, dtype: Any) -> tuple[int, ...]:
        """Return the shape of a chunk as plain numbers."""
        try:
            if dtype is None:
                raise TypeError("a data type of None is float64 to NumPy")
            np.dtype(dtype)
            return tuple(operator.index(n) for n in shape)
        except (TypeError, ValueError) as error:
            raise OptionError(
                f"{self.codec_id} needs shape and dtype of the chunks, not shape={shape!r} and dtype={dtype!r}: "
                f'{{"id": "{self.codec_id}", "shape": [64, 64, 64], "dtype": "<u4"}}, (z, y, x) or (channel, z, y, x)'
            ) from error

    def encode(self, buf: Any) -> bytes:
        """Encode an array of the chunks' shape and type."""
        array = ensure_ndarray(buf)
        if array.shape != self._shape or array.dtype != self._dtype:
            raise ShapeError(f"{self} cannot encode {array.dtype} {array.shape}")
        return zarr_chunks.encode(self._codec, array)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decode an array; into ``out``, if that is given.

        Raises
        ------
        CorruptChunkError
            If the bytes are no such chunk.
        """
        return ndarray_copy(zarr_chunks.decode(self._codec, ensure_bytes(buf), self._shape, self._dtype), out)

    def get_config(self) -> dict[str, Any]:
        """Return the settings, as JSON has them."""
        return {"id": self.codec_id, "shape": list(self._shape), "dtype": self._dtype.str, **self._settings}

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value!r}" for name, value in self._settings.items())
        return f"{type(self).__name__}(shape={self._shape}, dtype={self._dtype.str!r}{settings})"


class Jpeg(ChunkCodec):
    """JPEG pictures; see `volumekit.codecs.jpeg.Jpeg`."""

    codec_id = "volumekit.jpeg"


class Png(ChunkCodec):
    """PNG pictures; see `volumekit.codecs.png.Png`."""

    codec_id = "volumekit.png"


class Jxl(ChunkCodec):
    """JPEG XL pictures; see `volumekit.codecs.jxl.Jxl`."""

    codec_id = "volumekit.jxl"


class CompressedSegmentation(ChunkCodec):
    """Labels; see `volumekit.codecs.compressed_segmentation.CompressedSegmentation`. Blocks are usually 8 x 8 x 8."""

    codec_id = "volumekit.compressed_segmentation"

    def __init__(self, *, compressed_segmentation_block_size: Sequence[int] = (8, 8, 8), **more: Any) -> None:
        super().__init__(compressed_segmentation_block_size=list(compressed_segmentation_block_size), **more)


class Compresso(ChunkCodec):
    """Labels; see `volumekit.codecs.compresso.Compresso`."""

    codec_id = "volumekit.compresso"


class Crackle(ChunkCodec):
    """Labels; see `volumekit.codecs.crackle.Crackle`."""

    codec_id = "volumekit.crackle"


class Fpzip(ChunkCodec):
    """Floating-point numbers; see `volumekit.codecs.fpzip.Fpzip`."""

    codec_id = "volumekit.fpzip"


class Zfpc(ChunkCodec):
    """Numbers; see `volumekit.codecs.zfpc.Zfpc`."""

    codec_id = "volumekit.zfpc"
