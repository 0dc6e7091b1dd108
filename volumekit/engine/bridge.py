"""Chunks decoded in Python, as a TensorStore.

`tensorstore.virtual_chunked` asks for whole chunks and stores whole chunks. Three rules keep it from deadlocking and
from losing updates: its callbacks never block (bytes arrive by callback, decoding runs in our own pool, the answer is a
promise), the key-value store has a context of its own, and the store's generation stamps pass through unchanged, so
that a chunk that somebody else changed in between is read and merged again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

import tensorstore as ts
from numpy.typing import NDArray

from volumekit.engine.chunks import Chunks
from volumekit.engine.options import IOOptions
from volumekit.errors import ConflictError
from volumekit.formats.base import Cell, Format
from volumekit.model.level import Level
from volumekit.storage.base import ABSENT, Future, Store, Value, chain, done, same_generation

Generation = ts.KvStore.TimestampedStorageGeneration

_UNCHANGED = Value(b"", b"")
"""Stands for a chunk that the memory cache still holds as it is stored."""


class Bridge:
    """Reads and writes the chunks of one level for `tensorstore.virtual_chunked`.

    Parameters
    ----------
    store : Store
        Where the chunks are.
    fmt : Format
        Names and decodes them.
    level : Level
        The level.
    options : IOOptions
        What missing chunks mean, and which chunks not to store.
    pool : Executor
        Where to decode and encode.
    """

    def __init__(self, store: Store, fmt: Format, level: Level, options: IOOptions, pool: Executor) -> None:
        self._store, self._level = store, level
        self._chunks = Chunks(store.url, fmt, level, options)
        self._pool = pool
        self._steps = tuple(zip((*level.offset, 0), level.cell, strict=True))

    def open(self, *, threads: int | None, context: ts.Context) -> ts.TensorStore:
        """Return the level as an array, axes (x, y, z, channel) in global voxels.

        Chunks that hold further positions of fixed axes are only read: what TensorStore would write is all of a chunk.
        """
        level = self._level
        low = (*level.offset, 0)
        layout = ts.ChunkLayout(
            chunk_shape=level.cell, grid_origin=low, inner_order=level.order, read_chunk_shape=level.cell
        )
        return ts.virtual_chunked(
            self.read,
            None if level.spans else self.write,
            dtype=ts.dtype(level.dtype),
            domain=ts.IndexDomain(inclusive_min=low, shape=level.shape, labels=("x", "y", "z", "channel")),
            chunk_layout=layout,
            context=context,
        )

    def cell(self, domain: ts.IndexDomain) -> Cell:
        """Return the cell that a chunk's domain is."""
        x, y, z, c = (
            (low - origin) // step for low, (origin, step) in zip(domain.inclusive_min, self._steps, strict=True)
        )
        return x, y, z, c

    def read(
        self, domain: ts.IndexDomain, out: NDArray[Any], parameters: ts.VirtualChunkedReadParameters
    ) -> ts.Future[Generation]:
        """Fill ``out`` with a chunk; TensorStore's read callback."""
        cell, asked = self.cell(domain), time.time()
        key, cached = self._chunks.key(cell), parameters.if_not_equal

        def fill(arrived: Future[Value | None]) -> Generation:
            value = arrived.result()
            if value is not _UNCHANGED:
                self._chunks.fill(cell, out, value)
            return Generation(b"" if value is _UNCHANGED else _stamp(value), asked)

        def unless_changed(probe: Value | None) -> Future[Value | None]:
            return done(_UNCHANGED) if same_generation(_stamp(probe), cached) else self._store.read(key)

        if not cached:
            return self._promised(lambda: self._store.read(key), fill)
        return self._promised(lambda: chain(self._store.read(key, 0, 0), unless_changed), fill)

    def write(
        self, domain: ts.IndexDomain, chunk: NDArray[Any], parameters: ts.VirtualChunkedWriteParameters
    ) -> ts.Future[Generation]:
        """Store a chunk, if it has not changed since it was read; TensorStore's write callback."""
        cell, asked = self.cell(domain), time.time()
        key = self._chunks.key(cell)
        promise, future = _promise()

        def finish(committed: Future[Mapping[str, bytes]]) -> None:
            try:
                promise.set_result(Generation(committed.result()[key], asked))
            except ConflictError:
                promise.set_result(Generation(b"", time.time()))
            except BaseException as error:
                promise.set_exception(error)

        def encode() -> None:
            try:
                changes = {key: self._chunks.encode(cell, chunk)}
                self._store.commit(changes, parameters.if_equal or None).add_done_callback(finish)
            except BaseException as error:
                promise.set_exception(error)

        self._pool.submit(encode)
        return future

    def _promised(
        self, start: Callable[[], Future[Any]], finish: Callable[[Future[Any]], Generation]
    ) -> ts.Future[Generation]:
        """Run ``finish`` in the pool once what ``start`` returns is done."""
        promise, future = _promise()

        def run(arrived: Future[Any]) -> None:
            try:
                promise.set_result(finish(arrived))
            except BaseException as error:
                promise.set_exception(error)

        def submit(arrived: Future[Any]) -> None:
            try:
                self._pool.submit(run, arrived)
            except RuntimeError as error:  # the interpreter is shutting down
                promise.set_exception(error)

        start().add_done_callback(submit)
        return future


def _stamp(value: Value | None) -> bytes:
    return value.stamp if value else ABSENT


def _promise() -> tuple[ts.Promise[Generation], ts.Future[Generation]]:
    return ts.Promise.new()
