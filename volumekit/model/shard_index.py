"""The indices inside a shard: where the minishards' indices are, and where the chunks are.

A shard starts with one entry of 16 bytes per minishard: start and end of that minishard's index. A minishard's index
lists its chunks: number, start and size, delta coded. All offsets count from the end of the shard index.

Source: ``src/datasource/precomputed/sharded.md`` in the Neuroglancer repository.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import CorruptChunkError

ENTRY = 16
"""Bytes per minishard in a shard index."""

CHUNK_ENTRY = 24
"""Bytes per chunk in a minishard's index, not compressed."""

MOST_INDEX = 1 << 28
"""A minishard's index of more bytes is taken for damage: it would list eleven million chunks."""

_END = 1 << 62
_WORD = np.dtype("<u8")


class Span(NamedTuple):
    """Bytes of a shard, half-open, counted from the end of its shard index."""

    start: int
    stop: int


def parse_shard_index(data: bytes) -> NDArray[np.uint64]:
    """Return starts and ends of minishard indices, (n, 2), counted from the end of the shard index.

    Parameters
    ----------
    data : bytes
        The shard index or a part of it, whole entries.

    Raises
    ------
    CorruptChunkError
        If an end lies before its start, or beyond any file.
    """
    entries = np.frombuffer(data, _WORD).reshape(-1, 2)
    if (entries[:, 0] > entries[:, 1]).any() or (entries[:, 1] > _END).any():
        raise CorruptChunkError("the index of the shard is damaged: a minishard ends before it starts")
    return entries


class Minishard:
    """Where the chunks of a minishard are.

    Attributes
    ----------
    numbers : array
        Of the chunks, ascending.
    starts, sizes : array
        Bytes; starts count from the end of the shard index.
    """

    def __init__(self, numbers: array[int], starts: array[int], sizes: array[int]) -> None:
        self.numbers, self.starts, self.sizes = numbers, starts, sizes

    @classmethod
    def parse(cls, data: bytes) -> Minishard:
        """Parse a decompressed index.

        Raises
        ------
        CorruptChunkError
            If it is damaged.
        """
        if len(data) % CHUNK_ENTRY:
            raise CorruptChunkError(f"an index of {len(data)} bytes holds no whole number of chunks")
        table = np.frombuffer(data, _WORD).reshape(3, -1)
        numbers, sizes = np.cumsum(table[0], dtype=np.uint64), table[2]
        stops = np.cumsum(table[1], dtype=np.uint64) + np.cumsum(sizes, dtype=np.uint64)
        starts = stops - sizes
        if (sizes > _END).any() or (starts > _END).any():
            raise CorruptChunkError("the index of a minishard is damaged: a chunk lies beyond any file")
        if (numbers[1:] <= numbers[:-1]).any():
            numbers, first = np.unique(numbers, return_index=True)
            starts, sizes = starts[first], sizes[first]
        return cls(*(array("Q", column.tobytes()) for column in (numbers, starts, sizes)))

    @classmethod
    def empty(cls) -> Minishard:
        """Return the index of a minishard without chunks."""
        return cls(array("Q"), array("Q"), array("Q"))

    @property
    def nbytes(self) -> int:
        """Bytes of memory this takes."""
        return CHUNK_ENTRY * len(self.numbers)

    def find(self, number: int) -> Span | None:
        """Return where a chunk is, None if it is not stored."""
        at = bisect_left(self.numbers, number)
        if at == len(self.numbers) or self.numbers[at] != number:
            return None
        return Span(self.starts[at], self.starts[at] + self.sizes[at])

    def items(self) -> Iterator[tuple[int, Span]]:
        """Yield the chunks' numbers and where they are."""
        for number, start, size in zip(self.numbers, self.starts, self.sizes, strict=True):
            yield number, Span(start, start + size)


def dump_minishard(numbers: Sequence[int], start: int, sizes: Sequence[int]) -> bytes:
    """Return the index of chunks that lie one behind the other.

    Parameters
    ----------
    numbers : sequence of int
        Ascending.
    start : int
        Where the first one is, counted from the end of the shard index.
    sizes : sequence of int
        Bytes.
    """
    table = np.zeros((3, len(numbers)), _WORD)
    table[0] = numbers
    table[0, 1:] -= table[0, :-1].copy()
    table[1, :1] = start
    table[2] = sizes
    return table.tobytes()


def dump_shard_index(spans: Iterable[Span], minishards: int) -> bytes:
    """Return a shard index.

    Parameters
    ----------
    spans : iterable of Span
        Where the index of each minishard is; empty for one without chunks.
    minishards : int
        How many there are.
    """
    return np.fromiter((end for span in spans for end in span), _WORD, count=2 * minishards).tobytes()
