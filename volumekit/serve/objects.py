"""Stored objects passed through as they are: shards, meshes, skeletons, annotations, chunks."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from functools import partial as bound

from volumekit.codecs.compression import SUFFIXES, decompress
from volumekit.engine.drive import arrived
from volumekit.serve.answer import (
    BYTES,
    JSON,
    OK,
    PARTIAL,
    Answer,
    FilePart,
    Headers,
    Pair,
    accepts,
    content_range,
    fresh,
    not_found,
    not_modified,
    partial,
    span,
    stored_headers,
    unsatisfiable,
    wanted_range,
)
from volumekit.storage.base import Store, Value
from volumekit.storage.confined import ConfinedStore
from volumekit.storage.kvstore import file_part
from volumekit.storage.measure import size_of

PIECE = 1 << 20
"""Local files are read and sent in pieces of this size; smaller ones at once."""

FAR_PIECE = 4 << 20
"""The same for other storages."""

MOST_PACKED = 256 << 20
"""Objects that would be larger than this once decompressed are not."""

CODINGS = {"gzip": b"gzip", "br": b"br", "zstd": b"zstd"}
"""What browsers undo by themselves, by the name of the compression."""

_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
_MOST_SIZES = 10_000
_METADATA = (".zarray", ".zattrs", ".zgroup", ".zmetadata")
_TEXTS = {"info", "provenance", *_METADATA}
_PART = "(?:[^./][^/]*|" + "|".join(map(re.escape, _METADATA)) + ")"
_PRESENTABLE = re.compile(f"{_PART}(?:/{_PART})*", re.DOTALL)


def presentable(key: str) -> bool:
    """Tell whether a key may be shown: hidden files and whatever is no plain relative path may not."""
    return _PRESENTABLE.fullmatch(key) is not None and key.isprintable()


def kind_of(key: str) -> bytes:
    """Return the content type of an object."""
    name = key.rpartition("/")[2]
    return JSON if name in _TEXTS or name.endswith(".json") else BYTES


class Objects:
    """The objects of a dataset.

    Parameters
    ----------
    store : Store
        Where they are.
    executor : Executor
        Threads for what would keep others waiting.
    """

    def __init__(self, store: Store, executor: Executor) -> None:
        self._store, self._executor = store, executor
        self._files = store if isinstance(store, ConfinedStore) else None
        self._sizes: dict[tuple[str, bytes], int] = {}

    async def answer(self, key: str, headers: Headers, *, head: bool = False) -> Answer:
        """Return an object, or the part of it that is asked for.

        Objects that are stored compressed behind a suffix, as ``key.gz``, are passed on compressed to clients that
        undo it, and decompressed to others.
        """
        if not presentable(key):
            return not_found()
        if self._files is not None:
            found = self._files.open(key)
            return await self._packed(key, headers) if found is None else self._file(*found, key, headers, head)
        value = await arrived(self._store.read(key, 0, 0))
        if value is not None:
            return await self._object(key, value, headers, head=head)
        return await self._packed(key, headers) if self._store.suffixed else not_found()

    def _file(self, file: int, facts: os.stat_result, key: str, headers: Headers, head: bool) -> Answer:
        """Return an open file; the answer closes it."""
        size = facts.st_size
        etag = b'"%x-%x-%x"' % (facts.st_mtime_ns, size, facts.st_ino)
        if fresh(etag, headers):
            return _closed(file, not_modified(etag))
        told = stored_headers(kind_of(key), etag)
        part, status = _part(headers, etag, size, told)
        if part is None:
            return _closed(file, unsatisfiable(size))
        start, stop = part
        answer = Answer(status, told, length=stop - start)
        if head:
            return _closed(file, answer)
        answer.release = bound(os.close, file)
        if stop - start <= PIECE and _in_memory(file, stop):
            answer.body = FilePart(file, start, stop)
        else:
            answer.pieces = self._file_pieces(file, start, stop)
        return answer

    async def _file_pieces(self, file: int, start: int, stop: int) -> AsyncIterator[bytes | FilePart]:
        """Yield a part of a file: parts in memory themselves, others read in a thread if the disk has to turn."""
        for at in range(start, stop, PIECE):
            until = min(at + PIECE, stop)
            if _in_memory(file, until):
                yield FilePart(file, at, until)
            else:
                yield await asyncio.get_running_loop().run_in_executor(self._executor, file_part, file, at, until)

    async def _packed(self, key: str, headers: Headers) -> Answer:
        """Return an object that is stored compressed behind a suffix."""
        for method, suffix in SUFFIXES.items():
            value = await self._whole(key + suffix)
            if value is None:
                continue
            coding = CODINGS.get(method)
            etag = b'"%s-%s' % (_stamp(value), method.encode())
            vary = (b"vary", b"accept-encoding")
            if coding is not None and b"range" not in headers and accepts(headers, coding):
                return partial(value.data, kind_of(key), etag + b'-as"', headers, vary, (b"content-encoding", coding))
            if fresh(etag + b'"', headers):
                return not_modified(etag + b'"')
            data = await asyncio.get_running_loop().run_in_executor(self._executor, _unpacked, value.data, method)
            return partial(data, kind_of(key), etag + b'"', headers, vary)
        return not_found()

    async def _whole(self, key: str) -> Value | None:
        return self._store.peek(key) if self._store.near else await arrived(self._store.read(key))

    async def _object(self, key: str, value: Value, headers: Headers, *, head: bool) -> Answer:
        """Return an object of a storage that is not a disk of this machine."""
        etag = b'"%s"' % _stamp(value)
        if fresh(etag, headers):
            return not_modified(etag)
        told = stored_headers(kind_of(key), etag)
        wanted = wanted_range(headers, etag)
        if wanted is None and not head:
            whole = await arrived(self._store.read(key))
            return not_found() if whole is None else Answer(OK, told, whole.data)
        size = await self._size(key, value)
        part, status = _part(headers, etag, size, told)
        if part is None:
            return unsatisfiable(size)
        start, stop = part
        if head:
            return Answer(status, told, length=stop - start)
        if stop - start > FAR_PIECE:
            return Answer(status, told, pieces=self._far_pieces(key, start, stop), length=stop - start)
        found = await arrived(self._store.read(key, start, stop))
        return not_found() if found is None else Answer(status, told, found.data)

    async def _far_pieces(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        for at in range(start, stop, FAR_PIECE):
            value = await arrived(self._store.read(key, at, min(at + FAR_PIECE, stop)))
            yield b"" if value is None else value.data

    async def _size(self, key: str, value: Value) -> int:
        known = self._sizes.get((key, value.stamp))
        if known is None:
            known = await arrived(size_of(self._store, key)) or 0
            if len(self._sizes) > _MOST_SIZES:
                self._sizes.clear()
            self._sizes[key, value.stamp] = known
        return known


def _closed(file: int, answer: Answer) -> Answer:
    os.close(file)
    return answer


def _in_memory(file: int, stop: int) -> bool:
    """Tell whether reading a part of a file most likely takes no time: its end is in the system's cache."""
    if not _NOWAIT or not stop:
        return not stop
    try:
        return os.preadv(file, (bytearray(1),), stop - 1, _NOWAIT) == 1
    except OSError:
        return False


def _stamp(value: Value) -> bytes:
    """Return a storage's own stamp as the inside of a tag."""
    return hashlib.sha1(value.stamp, usedforsecurity=False).hexdigest()[:20].encode()


def _unpacked(data: bytes, method: str) -> bytes:
    return decompress(data, method, limit=MOST_PACKED)


def _part(headers: Headers, etag: bytes, size: int, told: list[Pair]) -> tuple[tuple[int, int] | None, int]:
    """Return which bytes to send, and the status; a header for a part is added. None: there are none."""
    wanted = wanted_range(headers, etag)
    if wanted is None:
        return (0, size), OK
    part = span(wanted, size)
    if part is not None:
        told.append(content_range(*part, size))
    return part, PARTIAL
