"""Arrays of zarr v2: the ``.zarray`` file.

Source: the zarr v2 specification.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import MetadataError
from volumekit.formats.arrays.array import Dims, StoredArray
from volumekit.formats.arrays.document import Document, load, member, numbers
from volumekit.formats.zarr.chunks import padded
from volumekit.formats.zarr.pipeline_v2 import PipelineV2
from volumekit.formats.zarr.values import data_type, dump_fill, parse_fill
from volumekit.model.chunk_keys import ChunkKeys
from volumekit.model.level import CodecSpec

DOCUMENT = ".zarray"
GROUP = ".zgroup"
ATTRIBUTES = ".zattrs"
CONSOLIDATED = ".zmetadata"

_NATIVE = {
    "blosc": ("cname", "clevel", "shuffle", "blocksize"),
    "zlib": ("level",),
    "gzip": ("level",),
    "bz2": ("level",),
    "zstd": ("level",),
}
"""Compressors that TensorStore has, and the settings of each that it knows."""


@dataclass(frozen=True)
class ArrayV2(StoredArray):
    """An array of zarr v2.

    Attributes
    ----------
    stored : numpy.dtype
        Data type in the byte order of the chunks.
    metadata : Mapping
        The ``.zarray``.
    """

    stored: np.dtype[Any]
    metadata: Mapping[str, Any]

    @functools.cached_property
    def _pipeline(self) -> PipelineV2:
        codecs = [*(self.metadata.get("filters") or ()), *filter(None, [self.metadata.get("compressor")])]
        return PipelineV2(codecs, self.chunk, self.stored, self.metadata.get("order", "C"), self.document)

    def prefix(self) -> str:
        """Return the array's folder."""
        return self.path

    def require_codec(self) -> None:
        """Raise unless all codecs are there."""
        assert self._pipeline

    def decode(self, cell: Dims, data: bytes) -> NDArray[Any]:
        """Return a chunk, whole also where it reaches beyond the array's end."""
        return self._pipeline.decode(data).astype(self.dtype, copy=False)

    def raw(self, data: bytes) -> bytes | memoryview | None:
        """Return the values of a chunk in C order, if they are stored so."""
        return self._pipeline.raw(data)

    def encode(self, cell: Dims, chunk: NDArray[Any]) -> bytes:
        """Return the bytes of a chunk; the part beyond the array's end holds the fill value."""
        return self._pipeline.encode(padded(chunk, self.chunk, self.fill))

    def native(self) -> dict[str, Any] | None:
        """Return TensorStore's spec, if it has the codecs."""
        compressor = self.metadata.get("compressor")
        if self.metadata.get("filters") or (compressor is not None and compressor["id"] not in _NATIVE):
            return None
        if compressor is not None:
            known = ("id", *_NATIVE[compressor["id"]])
            compressor = {name: value for name, value in compressor.items() if name in known}
        fill = self.metadata.get("fill_value")
        described = {
            "zarr_format": 2,
            "shape": list(self.shape),
            "chunks": list(self.chunk),
            "dtype": self.stored.str,
            "compressor": compressor,
            "filters": None,
            "order": self.metadata.get("order", "C"),
            "fill_value": None if fill is None else dump_fill(self.fill, self.dtype),
            "dimension_separator": self.keys.separator,
        }
        return {"driver": "zarr", "metadata": described}


def parse_v2(path: str, data: bytes, attributes: bytes | None) -> ArrayV2:
    """Parse a ``.zarray``.

    Parameters
    ----------
    path : str
        Folder of the array; empty or ends in ``/``.
    data : bytes
        The file.
    attributes : bytes or None
        The ``.zattrs`` beside it.

    Raises
    ------
    MetadataError
        If it makes no sense, or volumes cannot have such voxels.
    """
    key = path + DOCUMENT
    metadata = load(data, key)
    if metadata.get("zarr_format") != 2:
        raise MetadataError(f"zarr_format in {key} is {metadata.get('zarr_format')!r}, not 2", key=key)
    shape = numbers(metadata.get("shape"), "shape", key)
    chunk = numbers(metadata.get("chunks"), "chunks", key, least=1)
    if len(shape) != len(chunk) or not shape:
        raise MetadataError(f"shape and chunks in {key} are {shape} and {chunk}, not of one rank", key=key)
    stored = data_type(metadata.get("dtype"), key, version=2)
    order, separator = metadata.get("order", "C"), metadata.get("dimension_separator", ".")
    if order not in ("C", "F") or separator not in (".", "/"):
        raise MetadataError(f"order and dimension_separator in {key} are {order!r} and {separator!r}", key=key)
    codecs = _codecs(metadata, key)
    dtype = stored.newbyteorder("=")
    noted = {} if attributes is None else load(attributes, path + ATTRIBUTES)
    return ArrayV2(
        path=path,
        document=key,
        shape=shape,
        chunk=chunk,
        dtype=dtype,
        fill=parse_fill(metadata.get("fill_value"), dtype, key),
        order=tuple(range(len(shape))) if order == "C" else tuple(reversed(range(len(shape)))),
        names=_names(noted.get("_ARRAY_DIMENSIONS"), len(shape)),
        attributes=noted,
        codec=CodecSpec("+".join(codecs) or "raw", {"dtype": stored.str, "filters": metadata.get("filters") or None}),
        shard=None,
        stored=stored,
        keys=ChunkKeys(path, separator, len(shape)),
        metadata=metadata,
    )


def _codecs(metadata: Document, key: str) -> list[str]:
    """Return the names of filters and compressor, each checked to be a codec's configuration."""
    filters, compressor = metadata.get("filters"), metadata.get("compressor")
    if filters is not None and not isinstance(filters, list):
        raise MetadataError(f"filters in {key} is {filters!r}, not a list", key=key)
    found = [*(filters or ()), *([] if compressor is None else [compressor])]
    names = [member(codec, "a codec", key).get("id") for codec in found]
    if not all(isinstance(name, str) for name in names):
        raise MetadataError(f"a codec in {key} has no id", key=key)
    return [str(name) for name in names]


def _names(value: Any, rank: int) -> tuple[str | None, ...]:
    """Return the names of dimensions, as xarray notes them."""
    if not isinstance(value, list) or len(value) != rank:
        return (None,) * rank
    return tuple(name if isinstance(name, str) else None for name in value)
