"""Chunks decoded from whatever they are stored as, and encoded as a client wants them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

from numpy.typing import NDArray

from volumekit.engine.array import LevelArray
from volumekit.engine.chunks import Chunks, empty
from volumekit.engine.drive import arrived
from volumekit.formats.base import Cell
from volumekit.serve.answer import BYTES, Answer, Headers, fresh, not_found, not_modified, partial
from volumekit.serve.pace import Pace
from volumekit.storage.base import Value

MOST_BYTES = 1 << 30
"""Levels with chunks larger than this once decoded are not served: no viewer takes them."""

FAR = 64
"""Chunks of remote storages under way at once."""

Encode = Callable[[NDArray[Any]], bytes | memoryview]

Kept = Callable[[Chunks, Cell, Value], bytes | memoryview | None]
"""Returns a stored chunk as it is to be sent, where it need not be decoded for that; else None."""


class Transcoder:
    """Decodes and encodes chunks of one level.

    Parameters
    ----------
    array : LevelArray
        The level; missing chunks are an error to it.
    encode : callable
        Turns voxels (x, y, z, channel), cut at the bounds, into the bytes of an answer.
    salt : bytes
        What else the tags of answers depend on: other levels, encodings and datasets have other salts.
    absent : bool
        Whether a missing chunk is "not found"; else it is full of background.
    kept : callable, optional
        Tells which chunks are sent as they are stored, but for their compression.
    executor : Executor
        Threads to do it in; as many chunks are decoded at the same time. Those of local files that take less time than
        handing them to a thread are decoded where they are asked for, one at a time.
    """

    def __init__(
        self,
        array: LevelArray,
        encode: Encode,
        *,
        salt: bytes,
        absent: bool,
        executor: Executor,
        kept: Kept | None = None,
    ) -> None:
        self._array, self._encode, self._salt = array, encode, salt
        self._absent, self._executor, self._kept = absent, executor, kept
        self._chunks = Chunks(array.objects.url, array.fmt, array.level, array.options)
        self._gate, self._pace = asyncio.Semaphore(FAR), Pace()

    async def answer(self, cells: Sequence[Cell], headers: Headers) -> Answer:
        """Return chunks of the level's grid that lie behind each other along the channel axis, as one."""
        loop, objects = asyncio.get_running_loop(), self._array.objects
        keys = [self._chunks.key(part) for part in cells]
        if objects.near:
            if self._pace.quick():
                return self._pace.at_once(self._near, cells, keys, headers)
            return await loop.run_in_executor(self._executor, self._pace.noted, self._near, cells, keys, headers)
        async with self._gate:
            values = [await arrived(reading) for reading in [objects.read(key) for key in keys]]
            return await loop.run_in_executor(self._executor, self._made, cells, values, headers)

    def _near(self, cells: Sequence[Cell], keys: Sequence[str], headers: Headers) -> Answer:
        return self._made(cells, [self._array.objects.peek(key) for key in keys], headers)

    def _made(self, cells: Sequence[Cell], values: Sequence[Value | None], headers: Headers) -> Answer:
        if self._absent and not any(values):
            return not_found()
        etag = self._tag(values)
        if fresh(etag, headers):
            return not_modified(etag)
        return partial(self._body(cells, values), BYTES, etag, headers)

    def _body(self, cells: Sequence[Cell], values: Sequence[Value | None]) -> bytes | memoryview:
        """Return the chunk as it is sent; bytes that are stored so, but for their compression, are no array before."""
        first = values[0]
        body = None
        if self._kept is not None and len(cells) == 1 and first is not None:
            body = self._kept(self._chunks, cells[0], first)
        return self._encode(self._decoded(cells, values)) if body is None else body

    def _tag(self, values: Sequence[Value | None]) -> bytes:
        """Return a tag of what is stored and how it is encoded, so that a copy is checked without decoding."""
        told = hashlib.sha1(self._salt, usedforsecurity=False)
        for value in values:
            told.update(b"-" if value is None else value.stamp + b"+")
        return b'"%s"' % told.hexdigest()[:20].encode()

    def _decoded(self, cells: Sequence[Cell], values: Sequence[Value | None]) -> NDArray[Any]:
        level = self._array.level
        if len(cells) == 1 and values[0] is not None:
            return self._chunks.decode(cells[0], values[0])
        x, y, z = (min(c, n - at * c) for c, n, at in zip(level.chunk[:3], level.shape, cells[0], strict=False))
        channels = min(len(cells) * level.chunk[3], level.channels - cells[0][3] * level.chunk[3])
        out = empty((x, y, z, channels), level)
        for n, (part, value) in enumerate(zip(cells, values, strict=True)):
            first = n * level.chunk[3]
            view = out[..., first : first + level.chunk[3]]
            view[...] = self._array.options.background if value is None else self._chunks.decode(part, value)
        return out
