"""A stored array: its shape, its chunks, and what one of them is called and looks like."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from volumekit.model.level import CodecSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from volumekit.formats.base import Container
    from volumekit.model.chunk_keys import ChunkKeys

MAX_CHUNK_BYTES = 2**32

Dims = tuple[int, ...]
"""One number per dimension, in the array's own order."""


@dataclass(frozen=True)
class StoredArray(ABC):
    """A chunked array of any rank; all tuples are in the array's own order of dimensions.

    Attributes
    ----------
    path : str
        Folder of the array within the dataset; empty or ends in ``/``.
    document : str
        Key of its metadata, for messages.
    shape : tuple of int
        Extent.
    chunk : tuple of int
        Extent of a chunk, which may reach beyond the array's end.
    dtype : numpy.dtype
        Data type in native byte order.
    fill : int or float
        What missing chunks hold.
    order : tuple of int
        Memory order of a chunk: dimensions from slowest to fastest.
    names : tuple of str or None
        Names of the dimensions; None: it has none.
    attributes : Mapping
        What else the metadata say.
    codec : CodecSpec
        How chunks are encoded, for messages and reports.
    shard : tuple of int or None
        Extent of the objects that chunks are packed into, a multiple of ``chunk``.
    keys : ChunkKeys
        Names of the objects: chunks, or shards.
    """

    path: str
    document: str
    shape: Dims
    chunk: Dims
    dtype: np.dtype[Any]
    fill: int | float
    order: Dims
    names: tuple[str | None, ...]
    attributes: Mapping[str, Any]
    codec: CodecSpec
    shard: Dims | None
    keys: ChunkKeys

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made when it is needed."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def key(self, cell: Dims) -> str:
        """Return the key of a chunk within the dataset; inside a shard, the one it had without shards."""
        return self.keys.name(cell)

    @abstractmethod
    def prefix(self) -> str:
        """Return what the keys of all chunks start with."""

    def is_chunk(self, key: str) -> bool:
        """Tell whether a key below the prefix is that of a chunk, or of a shard."""
        return self.keys.cell(key) is not None

    @abstractmethod
    def decode(self, cell: Dims, data: bytes) -> NDArray[Any]:
        """Return a chunk; it may be cut where the array ends.

        Raises
        ------
        CorruptChunkError
            If the bytes are no such chunk.
        """

    def raw(self, data: bytes) -> bytes | memoryview | None:
        """Return the little-endian values of a whole chunk, in C order, if they are stored so, compressed at most.

        Raises
        ------
        CorruptChunkError
            If the bytes are no such chunk.
        """
        return None

    @abstractmethod
    def encode(self, cell: Dims, chunk: NDArray[Any]) -> bytes:
        """Return the bytes of a chunk, which is cut where the array ends."""

    @abstractmethod
    def native(self) -> dict[str, Any] | None:
        """Return TensorStore's spec without store and transform, or None if it cannot read this array."""

    def require_codec(self) -> None:  # noqa: B027 - most can
        """Raise unless chunks can be decoded here.

        Raises
        ------
        UnsupportedError, MissingExtraError
            Naming the codec.
        """

    def container(self) -> Container | None:
        """Return the container that chunks live in, if they do."""
        return None

    def flat(self) -> StoredArray:
        """Return the same array without shards."""
        return self

    def documents(self) -> Mapping[str, bytes]:
        """Return the metadata objects that describe it, by key within the dataset, if they differ from those read."""
        return {}
