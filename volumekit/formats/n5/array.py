"""Datasets of N5: ``attributes.json`` with ``dimensions``.

Source: the N5 file-system specification.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import MetadataError, UnsupportedError
from volumekit.formats.arrays.array import Dims, StoredArray
from volumekit.formats.arrays.document import numbers
from volumekit.formats.n5.block import Blocks
from volumekit.formats.n5.compression import Compression, parse_compression
from volumekit.model.chunk_keys import ChunkKeys
from volumekit.model.level import CodecSpec

DOCUMENT = "attributes.json"
DATA_TYPES = (
    "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64",
)  # fmt: skip
_MOST_BLOCK = 2**32 - 1


@dataclass(frozen=True)
class N5Array(StoredArray):
    """A dataset of N5; dimensions are in N5's order, the first one fastest.

    Attributes
    ----------
    compression : Compression
        How blocks are compressed.
    """

    compression: Compression

    @functools.cached_property
    def _blocks(self) -> Blocks:
        return Blocks(self.chunk, self.dtype, self.compression)

    def prefix(self) -> str:
        """Return the dataset's folder."""
        return self.path

    def require_codec(self) -> None:
        """Raise unless the compression is known."""
        self.compression.require()

    def decode(self, cell: Dims, data: bytes) -> NDArray[Any]:
        """Return a block."""
        wanted = (min(c, n - at * c) for at, c, n in zip(cell, self.chunk, self.shape, strict=True))
        return self._blocks.decode(data, tuple(wanted))

    def encode(self, cell: Dims, chunk: NDArray[Any]) -> bytes:
        """Return the bytes of a block, which is cut where the dataset ends."""
        return self._blocks.encode(chunk)

    def native(self) -> dict[str, Any] | None:
        """Return TensorStore's spec, if it has the compression."""
        compression = self.compression.native()
        if compression is None:
            return None
        described = {
            "dimensions": list(self.shape),
            "blockSize": list(self.chunk),
            "dataType": self.dtype.name,
            "compression": compression,
        }
        return {"driver": "n5", "metadata": described}


def is_dataset(attributes: Mapping[str, Any] | None) -> bool:
    """Tell a dataset from a group."""
    return attributes is not None and "dimensions" in attributes


def parse_n5(path: str, attributes: Mapping[str, Any]) -> N5Array:
    """Parse the attributes of a dataset.

    Parameters
    ----------
    path : str
        Folder of the dataset; empty or ends in ``/``.
    attributes : Mapping
        Its attributes.

    Raises
    ------
    MetadataError
        If they make no sense.
    UnsupportedError
        If the values are no voxels.
    """
    key = path + DOCUMENT
    shape = numbers(attributes.get("dimensions"), "dimensions", key)
    chunk = numbers(attributes.get("blockSize"), "blockSize", key, least=1, most=_MOST_BLOCK)
    if len(shape) != len(chunk) or not shape:
        raise MetadataError(f"dimensions and blockSize in {key} are {shape} and {chunk}, not of one rank", key=key)
    if attributes.get("isLabelMultiset"):
        raise UnsupportedError(f"{key} describes label multisets, which are not read; convert them to labels", key=key)
    kind = attributes.get("dataType")
    if kind in ("string", "object"):
        raise UnsupportedError(f"{key} describes values of the type {kind}, which are no voxels", key=key)
    if kind not in DATA_TYPES:
        raise MetadataError(f"dataType in {key} is {kind!r}; known: {', '.join(DATA_TYPES)}", key=key)
    compression = parse_compression(attributes, key)
    return N5Array(
        path=path,
        document=key,
        shape=shape,
        chunk=chunk,
        dtype=np.dtype(kind),
        fill=0,
        order=tuple(reversed(range(len(shape)))),
        names=(None,) * len(shape),
        attributes=attributes,
        codec=CodecSpec(compression.name, {**compression.settings, "blockSize": chunk}),
        shard=None,
        compression=compression,
        keys=ChunkKeys(path, "/", len(shape)),
    )
