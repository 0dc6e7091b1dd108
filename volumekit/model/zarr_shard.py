"""The index of a zarr v3 shard: where its chunks are.

Source: the ``sharding_indexed`` codec of zarr v3 (ZEP 2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import CorruptChunkError
from volumekit.model.chunk_keys import ChunkKeys

MISSING = 2**64 - 1
"""Start and size of a chunk that is not stored."""

_CHECKSUM = 4


@dataclass(frozen=True)
class ShardIndex:
    """How the index of a shard is stored.

    Attributes
    ----------
    grid : tuple of int
        Number of chunks in a shard along each dimension.
    at_end : bool
        Whether the index is the last thing in a shard, rather than the first.
    little : bool
        Whether its numbers are little endian.
    checked : bool
        Whether a CRC-32C follows them.
    """

    grid: tuple[int, ...]
    at_end: bool = True
    little: bool = True
    checked: bool = True

    @property
    def count(self) -> int:
        """Number of chunks in a shard."""
        return math.prod(self.grid)

    @property
    def nbytes(self) -> int:
        """Bytes of the index."""
        return 16 * self.count + _CHECKSUM * self.checked

    def cut(self, shard: bytes | memoryview) -> bytes:
        """Return the index of a whole shard."""
        return bytes(shard[-self.nbytes :] if self.at_end else shard[: self.nbytes])

    def parse(self, data: bytes) -> NDArray[np.uint64]:
        """Return start and size of each chunk, (n, 2), in C order; both are `MISSING` where there is none.

        Raises
        ------
        CorruptChunkError
            If the index is cut short or damaged.
        """
        if len(data) != self.nbytes:
            raise CorruptChunkError(
                f"a shard of {self.count} chunks has an index of {self.nbytes} bytes; it is cut short"
            )
        if self.checked:
            data, told = data[:-_CHECKSUM], data[-_CHECKSUM:]
            if _checksum(data) != told:
                raise CorruptChunkError("the index of the shard is damaged: its checksum is wrong")
        entries = np.frombuffer(data, "<u8" if self.little else ">u8").astype(np.uint64).reshape(-1, 2)
        stored = entries[(entries != MISSING).any(axis=1)]
        if (stored >= 2**62).any():
            raise CorruptChunkError("the index of the shard is damaged: a chunk lies beyond any file")
        return entries

    def dump(self, entries: NDArray[np.uint64]) -> bytes:
        """Return the bytes of an index, as `parse` takes them."""
        data = entries.astype("<u8" if self.little else ">u8").tobytes()
        return data + _checksum(data) if self.checked else data

    def assemble(self, chunks: Sequence[bytes | memoryview | None]) -> bytes | None:
        """Return the bytes of a shard, None if it has no chunks.

        Parameters
        ----------
        chunks : sequence of bytes or None
            In C order; None: not stored.
        """
        entries = np.full((self.count, 2), MISSING, np.uint64)
        at = 0 if self.at_end else self.nbytes
        parts = []
        for number, data in enumerate(chunks):
            if data is not None:
                entries[number] = at, len(data)
                at += len(data)
                parts.append(data)
        if not parts:
            return None
        index = self.dump(entries)
        return b"".join([*parts, index] if self.at_end else [index, *parts])


@dataclass(frozen=True)
class ShardNames:
    """Which shard a chunk of an array lives in, by names.

    Attributes
    ----------
    keys : ChunkKeys
        Names of shards, and of chunks if there were no shards.
    grid : tuple of int
        Number of chunks in a shard along each dimension.
    count : tuple of int
        Number of chunks in the array along each dimension.
    """

    keys: ChunkKeys
    grid: tuple[int, ...]
    count: tuple[int, ...]

    def place(self, key: str) -> tuple[str, int] | None:
        """Return the shard of a chunk and its number there, None if the array has no such chunk."""
        cell = self.keys.cell(key)
        if cell is None or any(at >= n for at, n in zip(cell, self.count, strict=True)):
            return None
        number = 0
        for at, n in zip(cell, self.grid, strict=True):
            number = number * n + at % n
        return self.keys.name([at // n for at, n in zip(cell, self.grid, strict=True)]), number

    def is_shard(self, name: str) -> bool:
        """Tell whether the array has a shard of that name."""
        cell = self.keys.cell(name)
        return cell is not None and all(
            at * n < count for at, n, count in zip(cell, self.grid, self.count, strict=True)
        )

    def names(self, shard: str) -> dict[int, str]:
        """Return the names of all chunks that can be in a shard, by number."""
        cell = self.keys.cell(shard)
        if cell is None:
            return {}
        found = {}
        for number, inside in enumerate(np.ndindex(self.grid)):
            own = [at * n + i for at, n, i in zip(cell, self.grid, inside, strict=True)]
            if all(at < n for at, n in zip(own, self.count, strict=True)):
                found[number] = self.keys.name(own)
        return found


def _checksum(data: bytes) -> bytes:
    import google_crc32c

    value: int = google_crc32c.value(data)
    return value.to_bytes(_CHECKSUM, "little")
