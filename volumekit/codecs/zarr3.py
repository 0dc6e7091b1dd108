"""Our codecs for zarr v3, found by zarr-python through entry points.

For arrays (z, y, x), also as the inner codec of shards::

    zarr.create_array(
        "labels.zarr", shape=(100, 100, 100), chunks=(64, 64, 64), dtype="uint64",
        serializer=volumekit.codecs.zarr3.Crackle(), compressors=None,
    )
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from zarr.abc.codec import ArrayBytesCodec
from zarr.core.common import parse_named_configuration

from volumekit.codecs import zarr_chunks
from volumekit.model.plain import plain


class ChunkCodec(ArrayBytesCodec):  # type: ignore[misc]
    """One of our codecs as zarr v3 has them: it turns an array into bytes.

    Parameters
    ----------
    **settings
        As the codec has them, for example ``jpeg_quality``.

    Raises
    ------
    MetadataError
        If a setting is missing, unknown or impossible.
    MissingExtraError
        If it needs a package that is not installed.
    """

    name: ClassVar[str]
    is_fixed_size = False

    def __init__(self, **settings: Any) -> None:
        self._settings = plain(settings)
        self._codec = zarr_chunks.codec_of(self.name.removeprefix(zarr_chunks.PREFIX), self._settings)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Build the codec from its member of ``zarr.json``."""
        _, settings = parse_named_configuration(data, cls.name, require_configuration=False)
        return cls(**(settings or {}))

    def to_dict(self) -> dict[str, Any]:
        """Return its member of ``zarr.json``."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in self._settings.items()}
        return {"name": self.name, "configuration": plain}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Raise UnsupportedError or ShapeError if it cannot store such chunks."""
        chunk = getattr(chunk_grid, "chunk_shape", shape)
        zarr_chunks.check(self._codec, chunk, dtype.to_native_dtype())

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        dtype = chunk_spec.dtype.to_native_dtype()
        array = await asyncio.to_thread(
            zarr_chunks.decode, self._codec, chunk_bytes.to_bytes(), chunk_spec.shape, dtype
        )
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(array)

    async def _encode_single(self, chunk_array: Any, chunk_spec: Any) -> Any:
        data = await asyncio.to_thread(zarr_chunks.encode, self._codec, chunk_array.as_numpy_array())
        return chunk_spec.prototype.buffer.from_bytes(data)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """Nobody knows before it is encoded."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChunkCodec) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(self._codec)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self._settings.items())
        return f"{type(self).__name__}({settings})"


class Jpeg(ChunkCodec):
    """JPEG pictures; see `volumekit.codecs.jpeg.Jpeg`."""

    name = "volumekit.jpeg"


class Png(ChunkCodec):
    """PNG pictures; see `volumekit.codecs.png.Png`."""

    name = "volumekit.png"


class Jxl(ChunkCodec):
    """JPEG XL pictures; see `volumekit.codecs.jxl.Jxl`."""

    name = "volumekit.jxl"


class CompressedSegmentation(ChunkCodec):
    """Labels; see `volumekit.codecs.compressed_segmentation.CompressedSegmentation`. Blocks are usually 8 x 8 x 8."""

    name = "volumekit.compressed_segmentation"

    def __init__(self, *, compressed_segmentation_block_size: Sequence[int] = (8, 8, 8), **more: Any) -> None:
        super().__init__(compressed_segmentation_block_size=list(compressed_segmentation_block_size), **more)


class Compresso(ChunkCodec):
    """Labels; see `volumekit.codecs.compresso.Compresso`."""

    name = "volumekit.compresso"


class Crackle(ChunkCodec):
    """Labels; see `volumekit.codecs.crackle.Crackle`."""

    name = "volumekit.crackle"


class Fpzip(ChunkCodec):
    """Floating-point numbers; see `volumekit.codecs.fpzip.Fpzip`."""

    name = "volumekit.fpzip"


class Zfpc(ChunkCodec):
    """Numbers; see `volumekit.codecs.zfpc.Zfpc`."""

    name = "volumekit.zfpc"
