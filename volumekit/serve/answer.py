"""Answers to requests, and what HTTP says about parts and copies of them: Range, ETag, compression.

Source: RFC 9110.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Mapping[bytes, bytes]
Pair = tuple[bytes, bytes]

BYTES, JSON, HTML, PNG = b"application/octet-stream", b"application/json", b"text/html; charset=utf-8", b"image/png"
_RANGE = re.compile(rb"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)
_WORTH_PACKING = 1024
OK, PARTIAL, NOT_MODIFIED = 200, 206, 304

SENDS_FILES = "volumekit.file"
"""The extension of ASGI that a server names which takes a `FilePart` for a body."""


class FilePart:
    """A part of an open file.

    Parameters
    ----------
    file : int
        Its descriptor.
    start, stop : int
        Bytes, half-open.
    """

    __slots__ = ("file", "start", "stop")

    def __init__(self, file: int, start: int, stop: int) -> None:
        self.file, self.start, self.stop = file, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def after(self, n: int) -> FilePart:
        """Return it without its first bytes."""
        return FilePart(self.file, self.start + n, self.stop)

    def read(self) -> bytes:
        """Return its bytes; fewer if the file has become shorter."""
        return os.pread(self.file, len(self), self.start) if len(self) else b""


Body = bytes | bytearray | memoryview | FilePart


@dataclass(slots=True)
class Answer:
    """What is sent back.

    Attributes
    ----------
    status : int
        HTTP status.
    headers : list of tuple
        Names in lower case, and values.
    body : bytes-like or FilePart
        All of it, or empty where there are ``pieces``.
    pieces : AsyncIterator, optional
        Large bodies, piece by piece.
    length : int, optional
        Bytes of the body; default: those of ``body``.
    release : callable, optional
        Called once everything has been sent, or will not be.
    """

    status: int
    headers: list[Pair] = field(default_factory=list)
    body: Body = b""
    pieces: AsyncIterator[Body] | None = None
    length: int | None = None
    release: Callable[[], object] | None = None

    async def send(self, send: Send, *, head: bool = False, files: bool = False) -> None:
        """Send it; ``head``: without its body; ``files``: the server takes a `FilePart`."""
        try:
            headers = self.headers
            if self.status != NOT_MODIFIED:
                length = len(self.body) if self.length is None else self.length
                headers = [*headers, (b"content-length", b"%d" % length)]
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
            if self.pieces is not None and not head:
                async for piece in self.pieces:
                    await send({"type": "http.response.body", "body": _sent(piece, files), "more_body": True})
            await send({"type": "http.response.body", "body": b"" if head else _sent(self.body, files)})
        finally:
            if self.release is not None:
                self.release()


def _sent(body: Body, files: bool) -> Body:
    return body.read() if isinstance(body, FilePart) and not files else body


def failure(status: int, text: str = "") -> Answer:
    """Return an answer that says in one line what is wrong."""
    body = (text or HTTPStatus(status).phrase).encode() + b"\n"
    return Answer(status, [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-cache")], body)


def not_found() -> Answer:
    """Return the answer that there is nothing there."""
    return failure(HTTPStatus.NOT_FOUND)


def fresh(etag: bytes, headers: Headers) -> bool:
    """Tell whether the client has a copy with this tag already."""
    wanted = headers.get(b"if-none-match")
    if wanted is None:
        return False
    return wanted == etag or any(part.strip().removeprefix(b"W/") in (etag, b"*") for part in wanted.split(b","))


def not_modified(etag: bytes) -> Answer:
    """Return the answer that the client's copy is still good."""
    return Answer(NOT_MODIFIED, [(b"etag", etag), (b"cache-control", b"no-cache")])


def wanted_range(headers: Headers, etag: bytes) -> tuple[int | None, int | None] | None:
    """Return which part is asked for: first and last byte, either may be None; None for everything.

    Several ranges at once, and what cannot be understood, count as everything, as the standard allows.
    """
    text = headers.get(b"range")
    if text is None or headers.get(b"if-range", etag) != etag:
        return None
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    first, last = (int(part) if part else None for part in match.groups())
    if (first is None and last is None) or (first is not None and last is not None and last < first):
        return None
    return first, last


def span(wanted: tuple[int | None, int | None], size: int) -> tuple[int, int] | None:
    """Return the half-open part of an object that is asked for; None if it lies outside."""
    first, last = wanted
    if first is None:
        start, stop = max(0, size - (last or 0)), size
    else:
        start, stop = first, size if last is None else min(size, last + 1)
    return (start, stop) if start < stop else None


def partial(body: bytes | memoryview, kind: bytes, etag: bytes, headers: Headers, *more: Pair) -> Answer:
    """Return bytes, or the part of them that is asked for, unless the client has them already."""
    if fresh(etag, headers):
        return not_modified(etag)
    told = stored_headers(kind, etag, *more)
    wanted = wanted_range(headers, etag)
    if wanted is None:
        return Answer(OK, told, body)
    part = span(wanted, len(body))
    if part is None:
        return unsatisfiable(len(body))
    start, stop = part
    return Answer(PARTIAL, [*told, content_range(start, stop, len(body))], body[start:stop])


def stored_headers(kind: bytes, etag: bytes, *more: Pair) -> list[Pair]:
    """Return the headers of something that is stored; copies of it are to be checked before they are used again."""
    return [
        (b"content-type", kind),
        (b"etag", etag),
        (b"cache-control", b"no-cache"),
        (b"accept-ranges", b"bytes"),
        (b"x-content-type-options", b"nosniff"),
        *more,
    ]


def content_range(start: int, stop: int, size: int) -> Pair:
    """Return the header that says which part of an object this is."""
    return b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, size)


def unsatisfiable(size: int) -> Answer:
    """Return the answer that no byte of the part exists."""
    answer = failure(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
    answer.headers.append((b"content-range", b"bytes */%d" % size))
    return answer


def accepts(headers: Headers, coding: bytes) -> bool:
    """Tell whether the client undoes a compression by itself."""
    for part in headers.get(b"accept-encoding", b"").lower().split(b","):
        name, _, quality = part.partition(b";")
        if name.strip() == coding:
            return quality.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False


def tag(data: bytes) -> bytes:
    """Return a tag made of the bytes themselves."""
    return b'"%s"' % hashlib.sha1(data, usedforsecurity=False).hexdigest()[:20].encode()


class Document:
    """A text made by the server: its bytes, plain and compressed, and its tag.

    Parameters
    ----------
    body : bytes
        The text.
    kind : bytes
        Its content type.
    """

    def __init__(self, body: bytes, kind: bytes) -> None:
        self.body, self.kind, self.tag = body, kind, tag(body)
        self._packed = gzip.compress(body, 6, mtime=0) if len(body) >= _WORTH_PACKING else None

    def answer(self, headers: Headers) -> Answer:
        """Return it as a request wants it."""
        vary = (b"vary", b"accept-encoding")
        if self._packed is None or b"range" in headers or not accepts(headers, b"gzip"):
            return partial(self.body, self.kind, self.tag, headers, vary)
        etag = self.tag[:-1] + b'-gz"'
        return partial(self._packed, self.kind, etag, headers, vary, (b"content-encoding", b"gzip"))
