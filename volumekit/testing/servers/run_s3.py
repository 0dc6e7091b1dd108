"""A quick S3 look-alike on a free loopback port: ``python -m volumekit.testing.servers.run_s3 [LATENCY]``.

It answers what clients of S3 ask of objects (GET, HEAD, PUT, DELETE, byte ranges, conditions, ListObjectsV2, buckets)
from memory, signatures unchecked, as quickly as it can, so that a benchmark measures the client.
Source: the Amazon S3 API reference. It ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import bisect
import hashlib
import socket
import sys
import threading
from dataclasses import dataclass, field
from email.utils import formatdate
from html import escape
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote

PAGE = 1000
_KEPT = ("content-type", "content-encoding", "cache-control")
_ROOM = 4 << 20


class Reply(NamedTuple):
    """What is answered."""

    status: str
    headers: str = ""
    body: bytes | memoryview = b""


class Ask(NamedTuple):
    """What is asked: the path is ``(bucket, key)``; header names are in lower case."""

    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Stored(NamedTuple):
    """The bytes of an object, its tag, and the headers it is sent with."""

    data: bytes
    etag: str
    headers: str


@dataclass
class Bucket:
    """Objects by key."""

    objects: dict[str, Stored] = field(default_factory=dict)
    names: list[str] | None = None

    def sorted(self) -> list[str]:
        """Return all keys in order."""
        if self.names is None:
            self.names = sorted(self.objects)
        return self.names


class Responder:
    """Buckets, and answers about them."""

    def __init__(self, latency: float = 0.0) -> None:
        self.latency = latency
        self.buckets: dict[str, Bucket] = {}

    def answer(self, ask: Ask) -> Reply:
        """Return the answer to a request."""
        if ask.bucket == "-":
            self.latency = float(next(iter(ask.query)))
            return Reply("204 No Content")
        if not ask.key:
            return self._of_bucket(ask)
        bucket = self.buckets.get(ask.bucket)
        if bucket is None:
            return _error("404 Not Found", "NoSuchBucket")
        kind = {"GET": _get, "HEAD": _get, "PUT": _put, "DELETE": _delete}.get(ask.method)
        return _error("405 Method Not Allowed", "MethodNotAllowed") if kind is None else kind(bucket, ask)

    def _of_bucket(self, ask: Ask) -> Reply:
        if ask.method == "PUT":
            self.buckets.setdefault(ask.bucket, Bucket())
            return Reply("200 OK")
        bucket = self.buckets.get(ask.bucket)
        if bucket is None:
            return _error("404 Not Found", "NoSuchBucket")
        if ask.method == "GET" and "location" in ask.query:
            return Reply("200 OK", body=b"<LocationConstraint>us-east-1</LocationConstraint>")
        return _list(bucket, ask) if ask.method == "GET" else Reply("200 OK", "x-amz-bucket-region: us-east-1\r\n")


def _get(bucket: Bucket, ask: Ask) -> Reply:
    found = bucket.objects.get(ask.key)
    if found is None:
        return _error("404 Not Found", "NoSuchKey")
    data, etag, own = found
    headers = f"{own}ETag: {etag}\r\nLast-Modified: {_NOW}\r\nAccept-Ranges: bytes\r\n"
    if ask.headers.get("if-none-match") == etag:
        return Reply("304 Not Modified", headers)
    if ask.headers.get("if-match", etag) != etag:
        return _error("412 Precondition Failed", "PreconditionFailed")
    wanted = ask.headers.get("range")
    if wanted is None:
        return Reply("200 OK", headers, data)
    first, last = _span(wanted, len(data))
    if first >= last:
        return _error("416 Requested Range Not Satisfiable", "InvalidRange")
    headers += f"Content-Range: bytes {first}-{last - 1}/{len(data)}\r\n"
    return Reply("206 Partial Content", headers, memoryview(data)[first:last])


def _span(wanted: str, size: int) -> tuple[int, int]:
    """Return the half-open range that a Range header means."""
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size


def _put(bucket: Bucket, ask: Ask) -> Reply:
    found = bucket.objects.get(ask.key)
    if not _holds(found, ask):
        return _error("412 Precondition Failed", "PreconditionFailed")
    data = _unframed(ask.body) if "x-amz-decoded-content-length" in ask.headers else ask.body
    etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
    if found is None:
        bucket.names = None
    own = [(name, ask.headers.get(name, "")) for name in _KEPT]
    kept = [f"{name}: {value}\r\n" for name, value in own if value not in ("", "aws-chunked")]
    bucket.objects[ask.key] = Stored(data, etag, "".join(kept))
    return Reply("200 OK", f"ETag: {etag}\r\n")


def _delete(bucket: Bucket, ask: Ask) -> Reply:
    found = bucket.objects.get(ask.key)
    if not _holds(found, ask):
        return _error("412 Precondition Failed", "PreconditionFailed")
    if bucket.objects.pop(ask.key, None) is not None:
        bucket.names = None
    return Reply("204 No Content")


def _holds(found: Stored | None, ask: Ask) -> bool:
    etag = None if found is None else found.etag
    if "if-match" in ask.headers and ask.headers["if-match"] != etag:
        return False
    return not ("if-none-match" in ask.headers and etag is not None)


def _unframed(body: bytes) -> bytes:
    """Undo ``aws-chunked``: a line with the size, as many bytes, the end of a line, until a size of 0."""
    data, at = bytearray(), 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].partition(b";")[0], 16)
        if not size:
            return bytes(data)
        data += body[end + 2 : end + 2 + size]
        at = end + 4 + size


def _list(bucket: Bucket, ask: Ask) -> Reply:
    query = ask.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = query.get("continuation-token") or query.get("start-after") or query.get("marker") or ""
    most = min(PAGE, int(query.get("max-keys", PAGE)))
    names = bucket.sorted()
    rows: list[str] = []
    folders: dict[str, None] = {}
    at = max(bisect.bisect_left(names, prefix), bisect.bisect_right(names, after))
    spell = (lambda text: quote(text, safe="/")) if query.get("encoding-type") == "url" else escape
    while at < len(names) and names[at].startswith(prefix) and len(rows) + len(folders) < most:
        name = names[at]
        head, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        if found:
            folders[prefix + head + delimiter] = None
            at = bisect.bisect_left(names, prefix + head + delimiter + "\U0010ffff")
        else:
            data, etag, _ = bucket.objects[name]
            rows.append(
                f"<Contents><Key>{spell(name)}</Key><LastModified>2020-01-01T00:00:00.000Z</LastModified>"
                f"<ETag>{escape(etag)}</ETag><Size>{len(data)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            )
            at += 1
    more = at < len(names) and names[at].startswith(prefix)
    shared = [f"<CommonPrefixes><Prefix>{spell(name)}</Prefix></CommonPrefixes>" for name in folders]
    token = f"<NextContinuationToken>{escape(names[at - 1])}</NextContinuationToken>" if more else ""
    told = (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{ask.bucket}</Name><Prefix>{spell(prefix)}</Prefix><KeyCount>{len(rows) + len(folders)}</KeyCount>"
        f"<MaxKeys>{most}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{token}{''.join(rows)}{''.join(shared)}"
        "</ListBucketResult>"
    )
    return Reply("200 OK", "Content-Type: application/xml\r\n", told.encode("utf-8", "surrogateescape"))


def _error(status: str, code: str) -> Reply:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
    return Reply(status, "Content-Type: application/xml\r\n", body.encode())


class Connection(asyncio.Protocol):
    """One client: requests come one after the other."""

    def __init__(self, responder: Responder, loop: asyncio.AbstractEventLoop) -> None:
        self._responder, self._loop = responder, loop
        self._buffer = bytearray()
        self._head: tuple[str, str, dict[str, str]] | None = None
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new client."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(_ROOM)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """Answer every request that has arrived whole."""
        self._buffer += data
        while True:
            if self._head is None and not self._begin():
                return
            if len(self._buffer) < self._left or self._head is None:
                return
            body = bytes(self._buffer[: self._left])
            del self._buffer[: self._left]
            (method, target, headers), self._head = self._head, None
            reply = self._responder.answer(_parsed(method, target, headers, body))
            if self._responder.latency:
                self._loop.call_later(self._responder.latency, self._send, method, reply)
            else:
                self._send(method, reply)

    def _begin(self) -> bool:
        """Take the head of a request, if all of it has arrived."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        method, target, _ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        self._head, self._left = (method, target, headers), int(headers.get("content-length", 0))
        if headers.get("expect") and len(self._buffer) < self._left:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _send(self, method: str, reply: Reply) -> None:
        head = f"HTTP/1.1 {reply.status}\r\n{reply.headers}Content-Length: {len(reply.body)}\r\n\r\n".encode("latin-1")
        self._transport.write(head)
        if method != "HEAD" and reply.body:
            self._transport.write(reply.body)


def _parsed(method: str, target: str, headers: dict[str, str], body: bytes) -> Ask:
    path, _, text = target.partition("?")
    bucket, _, key = path.lstrip("/").partition("/")
    query = dict(parse_qsl(text, keep_blank_values=True)) if text else {}
    return Ask(method, bucket, unquote(key, errors="surrogateescape"), query, headers, body)


_NOW = formatdate(usegmt=True)


async def serve(latency: float) -> None:
    """Serve until standard input ends; the address is the first line printed."""
    loop, responder = asyncio.get_running_loop(), Responder(latency)
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
    await loop.create_server(lambda: Connection(responder, loop), sock=listener)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)  # noqa: T201
    ended = asyncio.Event()
    threading.Thread(
        target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)),
        daemon=True,
    ).start()
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0))
