"""Finding chunks in shards by their index.

An answer is always that of one generation of a shard: what is read carries the shard's stamp, and where that differs
from the one its index was read with, the index is read again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import CorruptChunkError
from volumekit.model.zarr_shard import MISSING, ShardIndex
from volumekit.storage.base import Value
from volumekit.storage.steps import Ask, Steps

CACHE_BYTES = 64 << 20
SHARD = "shard"
"""Attribute of a value: the shard it is from."""

TRIES = 8
"""How often a shard may change while it is read, before all of it is read at once."""


@dataclass(frozen=True)
class Known:
    """The index of a shard, as of one generation."""

    stamp: bytes
    entries: NDArray[np.uint64]

    def span(self, number: int) -> tuple[int, int] | None:
        """Return start and end of a chunk in its shard, None if it is not stored."""
        start, size = self.entries[number].tolist()
        return None if start == size == MISSING else (start, start + size)


class Indices:
    """The indices read last, within a limit of memory."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit, self._total = limit, 0
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, shard: str) -> Known | None:
        """Return the index of a shard, if it is known."""
        with self._lock:
            known = self._known.get(shard)
            if known is not None:
                self._known.move_to_end(shard)
            return known

    def put(self, shard: str, known: Known) -> None:
        """Remember an index; forget others to make room."""
        with self._lock:
            self._forget(shard)
            self._known[shard] = known
            self._total += known.entries.nbytes
            while self._total > self._limit and len(self._known) > 1:
                self._forget(next(iter(self._known)))

    def drop(self, shard: str) -> None:
        """Forget an index that no longer holds."""
        with self._lock:
            self._forget(shard)

    def _forget(self, shard: str) -> None:
        known = self._known.pop(shard, None)
        self._total -= 0 if known is None else known.entries.nbytes


class Lookup:
    """Finds chunks in shards.

    Parameters
    ----------
    url : str
        The store, for messages.
    index : ShardIndex
        How the index of a shard is stored.
    limit : int
        More bytes than this are in no chunk.
    """

    def __init__(self, url: str, index: ShardIndex, limit: int) -> None:
        self.url, self.index, self._limit = url, index, limit
        self.indices = Indices()

    def read(self, shard: str, number: int, start: int | None, stop: int | None) -> Steps[Value | None]:
        """Read a chunk, or a range of it; None if it is not stored.

        Raises
        ------
        CorruptChunkError
            If the shard is damaged; it names the shard.
        """
        for _ in range(TRIES):
            known, fresh = self.indices.get(shard), False
            if known is None:
                known, fresh = (yield from self.open(shard)), True
            if known is None:
                return None
            span = self._span(shard, known, number)
            if span is None:
                if fresh or (yield from self._holds(shard, known)):
                    return None
            else:
                value = yield from self._data(shard, known, span, start, stop)
                if value is not None:
                    return value
            self.indices.drop(shard)
        (whole,) = yield [Ask(shard)]
        data = None if whole is None else self.chunks(shard, whole).get(number)
        if whole is None or data is None:
            return None
        return whole._replace(data=bytes(data)[start:stop], attrs={SHARD: shard})

    def open(self, shard: str) -> Steps[Known | None]:
        """Read the index of a shard, None if there is no such shard."""
        size = self.index.nbytes
        first, last = (-size, None) if self.index.at_end else (0, size)
        (value,) = yield [Ask(shard, first, last, shared=True)]
        if value is None:
            return None
        known = Known(value.stamp, self.parse(shard, value.data))
        self.indices.put(shard, known)
        return known

    def parse(self, shard: str, data: bytes) -> NDArray[np.uint64]:
        """Parse the index of a shard, or find it damaged."""
        try:
            return self.index.parse(data)
        except CorruptChunkError as error:
            raise self.damaged(shard, error.message) from error

    def damaged(self, shard: str, message: str) -> CorruptChunkError:
        """Return the error for a shard."""
        return CorruptChunkError(f"shard {shard} is damaged: {message}; write it again", url=self.url, key=shard)

    def _span(self, shard: str, known: Known, number: int) -> tuple[int, int] | None:
        span = known.span(number)
        if span is not None and span[1] - span[0] > self._limit:
            raise self.damaged(shard, f"a chunk of {span[1] - span[0]:,} bytes is more than any encoding takes")
        return span

    def _holds(self, shard: str, known: Known) -> Steps[bool]:
        (value,) = yield [Ask(shard, 0, 0)]
        return value is not None and value.stamp == known.stamp

    def _data(
        self, shard: str, known: Known, span: tuple[int, int], start: int | None, stop: int | None
    ) -> Steps[Value | None]:
        """Read a chunk, or a range of it; None if the shard has changed meanwhile."""
        first, last, _ = slice(start, stop).indices(span[1] - span[0])
        low, high = span[0] + first, span[0] + max(first, last)
        (value,) = yield [Ask(shard, low, high) if low < high else Ask(shard, 0, 0)]
        if value is None or value.stamp != known.stamp:
            return None
        if len(value.data) != high - low:
            raise self.damaged(shard, "it ends before a chunk does")
        return value._replace(attrs={SHARD: shard})

    def chunks(self, shard: str, value: Value) -> dict[int, memoryview]:
        """Return all chunks of a shard that was read as a whole."""
        view, found = memoryview(value.data), {}
        known = Known(value.stamp, self.parse(shard, self.index.cut(view)))
        for number in np.flatnonzero((known.entries != MISSING).any(axis=1)).tolist():
            span = self._span(shard, known, number)
            if span is not None:
                if span[1] > len(view):
                    raise self.damaged(shard, "it ends before a chunk does")
                found[number] = view[span[0] : span[1]]
        return found
