"""Arrays of zarr v3: the ``zarr.json`` file.

Source: the zarr v3 specification.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from volumekit.errors import MetadataError, UnsupportedError
from volumekit.formats.arrays.array import Dims, StoredArray
from volumekit.formats.arrays.document import Document, dump, member, numbers
from volumekit.formats.base import Container
from volumekit.formats.zarr.chunks import padded
from volumekit.formats.zarr.configs import (
    SHARDING,
    Config,
    check_order,
    codecs_of,
    config_of,
    is_native,
    shard_of,
    titles,
)
from volumekit.formats.zarr.pipeline_v3 import PipelineV3
from volumekit.formats.zarr.values import data_type, dump_fill, parse_fill
from volumekit.model.chunk_keys import ChunkKeys
from volumekit.model.level import CodecSpec
from volumekit.model.zarr_shard import ShardIndex, ShardNames

DOCUMENT = "zarr.json"
SHARDS = "zarr_sharding_indexed"
"""Kind of the container that shards are."""

_KNOWN = (
    "zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs",
    "attributes", "storage_transformers", "dimension_names", "consolidated_metadata",
)  # fmt: skip


@dataclass(frozen=True)
class ArrayV3(StoredArray):
    """An array of zarr v3.

    Attributes
    ----------
    codecs : tuple of Config
        The codecs of a chunk; those inside the shard where there are shards.
    index : ShardIndex or None
        How the index of a shard is stored.
    metadata : Mapping
        The ``zarr.json``.
    """

    codecs: tuple[Config, ...]
    index: ShardIndex | None
    metadata: Mapping[str, Any]

    @functools.cached_property
    def _pipeline(self) -> PipelineV3:
        return PipelineV3(self.codecs, self.chunk, self.dtype, self.fill, self.document)

    def prefix(self) -> str:
        """Return what the keys of all chunks start with."""
        return self.keys.lead

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

    def container(self) -> Container | None:
        """Return the shards, if there are any."""
        if self.index is None:
            return None
        count = tuple(-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True))
        limit = 2**16 + 4 * math.prod(self.chunk) * max(8, self.dtype.itemsize)
        names = ShardNames(self.keys, self.index.grid, count)
        return Container(SHARDS, {"names": names, "index": self.index, "limit": limit})

    def flat(self) -> ArrayV3:
        """Return the same array with a chunk an object."""
        if self.index is None:
            return self
        chunks = Config("regular", {"chunk_shape": list(self.chunk)}).to_json()
        metadata = {**self.metadata, "chunk_grid": chunks, "codecs": [codec.to_json() for codec in self.codecs]}
        return replace(self, index=None, shard=None, metadata=metadata)

    def documents(self) -> Mapping[str, bytes]:
        """Return the ``zarr.json``."""
        return {self.document: dump(self.metadata)}

    def native(self) -> dict[str, Any] | None:
        """Return TensorStore's spec, if it has the codecs."""
        codecs = codecs_of(self.metadata["codecs"], self.document)
        if not is_native(codecs, self.document):
            return None
        described = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.shape),
            "data_type": self.dtype.name,
            "chunk_grid": self.metadata["chunk_grid"],
            "chunk_key_encoding": config_of(self.metadata["chunk_key_encoding"], "", self.document).to_json(),
            "fill_value": dump_fill(self.fill, self.dtype),
            "codecs": [codec.to_json() for codec in codecs],
        }
        return {"driver": "zarr3", "metadata": described}


def parse_v3(path: str, metadata: Document) -> ArrayV3:
    """Parse the ``zarr.json`` of an array.

    Parameters
    ----------
    path : str
        Folder of the array; empty or ends in ``/``.
    metadata : dict
        The file's content.

    Raises
    ------
    MetadataError
        If it makes no sense, or volumes cannot have such voxels.
    UnsupportedError
        If it asks for something that is not known here.
    """
    key = path + DOCUMENT
    _check_members(metadata, key)
    shape = numbers(metadata.get("shape"), "shape", key)
    grid = config_of(metadata.get("chunk_grid"), "chunk_grid", key)
    if grid.name != "regular":
        raise UnsupportedError(f"{key} has a chunk grid of the kind {grid.name!r}; only regular ones are read", key=key)
    outer = numbers(grid.settings.get("chunk_shape"), "chunk_shape", key, least=1)
    if len(shape) != len(outer) or not shape:
        raise MetadataError(f"shape and chunk_shape in {key} are {shape} and {outer}, not of one rank", key=key)
    dtype = data_type(metadata.get("data_type"), key, version=3)
    if "fill_value" not in metadata:
        raise MetadataError(f"{key} lacks a fill_value", key=key)
    chunk, codecs, index = _chunks(codecs_of(metadata.get("codecs"), key), outer, key)
    return ArrayV3(
        path=path,
        document=key,
        shape=shape,
        chunk=chunk,
        dtype=dtype,
        fill=parse_fill(metadata["fill_value"], dtype, key),
        order=_memory_order(codecs, len(shape)),
        names=_names(metadata.get("dimension_names"), len(shape), key),
        attributes=member(metadata.get("attributes") or {}, "attributes", key),
        codec=CodecSpec("+".join(titles(codecs)) or "raw", {"codecs": [codec.to_json() for codec in codecs]}),
        shard=outer if index is not None else None,
        keys=_keys(path, metadata.get("chunk_key_encoding"), len(shape), key),
        codecs=codecs,
        index=index,
        metadata=metadata,
    )


def _check_members(metadata: Document, key: str) -> None:
    """Refuse extensions that have to be understood."""
    if metadata.get("zarr_format") != 3:
        raise MetadataError(f"zarr_format in {key} is {metadata.get('zarr_format')!r}, not 3", key=key)
    for name, value in metadata.items():
        if name not in _KNOWN and not (isinstance(value, Mapping) and value.get("must_understand") is False):
            raise UnsupportedError(f"{key} has a member {name!r}, which has to be understood and is not known", key=key)
    if metadata.get("storage_transformers"):
        raise UnsupportedError(f"{key} asks for storage transformers, of which none is known", key=key)


def _chunks(codecs: tuple[Config, ...], outer: Dims, key: str) -> tuple[Dims, tuple[Config, ...], ShardIndex | None]:
    """Return extent, codecs and index of chunks in shards; where shards are encoded as a whole, they are the chunks."""
    check_order(codecs, key)
    if len(codecs) > 1 or codecs[0].name != SHARDING:
        return outer, codecs, None
    chunk, inner, index = shard_of(codecs[0].settings, outer, key)
    check_order(inner, key)
    return chunk, inner, index


def _memory_order(codecs: Sequence[Config], rank: int) -> Dims:
    """Return the dimensions from slowest to fastest: a transposition at the start changes it."""
    order = tuple(range(rank))
    for codec in codecs:
        if codec.name != "transpose":
            break
        moved = codec.settings.get("order")
        if moved == "F":
            order = order[::-1]
        elif isinstance(moved, list) and sorted(moved, key=str) == sorted(range(rank), key=str):
            order = tuple(order[dim] for dim in moved)
    return order


def _names(value: Any, rank: int, key: str) -> tuple[str | None, ...]:
    if value is None:
        return (None,) * rank
    if not isinstance(value, list) or len(value) != rank or not all(n is None or isinstance(n, str) for n in value):
        raise MetadataError(f"dimension_names in {key} is {value!r}, not a name for each of {rank} dimensions", key=key)
    return tuple(value)


def _keys(path: str, value: Any, rank: int, key: str) -> ChunkKeys:
    encoding = config_of(value, "chunk_key_encoding", key)
    usual = {"default": "/", "v2": "."}.get(encoding.name)
    separator = encoding.settings.get("separator", usual)
    if usual is None or separator not in (".", "/"):
        raise UnsupportedError(f"chunk_key_encoding in {key} is {value!r}; known: default and v2", key=key)
    return ChunkKeys(f"{path}c{separator}" if encoding.name == "default" else path, separator, rank)
