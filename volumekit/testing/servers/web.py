"""A web server in threads of this process, which misbehaves as it is told."""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit

_NONE: Mapping[str, str] = MappingProxyType({})
_PIECE = 1024


class Request(NamedTuple):
    """What somebody asked for.

    The path is decoded, without the slash in front; ``raw`` is the path as it was sent; header names are in lower case.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""
    raw: str = ""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with an answer.

    Attributes
    ----------
    status : int, optional
        Answer this, with ``body``, instead of what was asked for.
    headers : Mapping
        Headers to add: ``Location`` of a redirect, ``Retry-After``.
    body : bytes
        What to answer with ``status``.
    cut : int, optional
        Close the connection after so many bytes of the body; the headers promise all of it.
    delay : float
        Seconds to wait before the answer.
    pace : float
        Seconds to wait after every kilobyte of the body.
    hang : bool
        Do not answer before the server stops.
    drop : bool
        Close the connection without an answer.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"injected fault"
    cut: int | None = None
    delay: float = 0.0
    pace: float = 0.0
    hang: bool = False
    drop: bool = False


@dataclass(frozen=True)
class Stored:
    """An object: its bytes as they are sent, and its headers."""

    data: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What is answered: status, headers and body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


Rule = Callable[[Request], Fault | None]


class WebServer:
    """An HTTP server on a loopback port; a context manager.

    Parameters
    ----------
    objects : Mapping, optional
        Bytes by path, without a slash in front.
    upstream : str, optional
        Forward what no fault concerns to this server instead: ``http://host:port``.
    latency : float
        Seconds that every answer waits.

    Attributes
    ----------
    url : str
        ``http://127.0.0.1:port``, once it runs.
    objects : dict
        What it serves, `Stored` by path; bytes are taken as well.
    requests : list of Request
        What was asked for so far.
    absent : int
        The status of what is not there; some public buckets answer 403.
    rules : list of callable
        Each is asked, in order, for a fault of a request, None for none.
    """

    url: str

    def __init__(
        self, objects: Mapping[str, bytes | Stored] = MappingProxyType({}), *, upstream: str = "", latency: float = 0.0
    ) -> None:
        self.objects: dict[str, bytes | Stored] = dict(objects)
        self.upstream, self.latency, self.absent = upstream, latency, 404
        self.rules: list[Rule] = []
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()

    def fault(self, fault: Fault, pattern: str = ".*", *, times: int | None = None, method: str | None = None) -> None:
        """Let requests go wrong.

        Parameters
        ----------
        fault : Fault
            How.
        pattern : str
            Regular expression that their whole path matches.
        times : int, optional
            How many of them; None: all.
        method : str, optional
            Only those of this method.
        """
        left = [-1 if times is None else times]

        def rule(request: Request) -> Fault | None:
            if method not in (None, request.method) or not re.fullmatch(pattern, request.path):
                return None
            with self._lock:
                if not left[0]:
                    return None
                left[0] -= 1
            return fault

        self.rules.append(rule)

    def redirect(self, start: str, target: str, status: int = 302) -> None:
        """Redirect paths that begin like this to the same below another URL."""

        def rule(request: Request) -> Fault | None:
            if not request.path.startswith(start):
                return None
            return Fault(status, {"Location": target + request.path.removeprefix(start)}, b"")

        self.rules.append(rule)

    def demand(self, name: str, value: str, status: int = 401) -> None:
        """Refuse requests that lack a header, or have another value of it."""
        self.rules.append(lambda request: None if request.headers.get(name.lower()) == value else Fault(status))

    def count(self, pattern: str = ".*", *, method: str | None = None) -> int:
        """Return how many requests came for matching paths."""
        matching = (r for r in self.requests if re.fullmatch(pattern, r.path))
        return sum(method in (None, request.method) for request in matching)

    def __enter__(self) -> Self:
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop at once, in the middle of whatever is under way."""
        if self.stopping.is_set():
            return
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.cut_off()
        self._thread.join()

    def answer(self, request: Request) -> Answer:
        """Return what a request gets when nothing goes wrong."""
        if self.upstream:
            return forwarded(self.upstream, request)
        if request.method not in ("GET", "HEAD"):
            return Answer(405, {"Allow": "GET, HEAD"})
        found = self.objects.get(request.path)
        if found is None:
            return Answer(self.absent, {}, b"nothing here")
        stored = Stored(found) if isinstance(found, bytes) else found
        return _part(stored, request.headers)


class _Server(ThreadingHTTPServer):
    """Keeps its connections, so that it can cut them off."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, web: WebServer) -> None:
        self.web = web
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def cut_off(self) -> None:
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        web, request = self.server.web, self._request()
        web.requests.append(request)
        fault = next((found for rule in web.rules if (found := rule(request)) is not None), None) or Fault()
        if fault.hang:
            web.stopping.wait()
        if fault.hang or fault.drop:
            self.close_connection = True
            return
        if web.latency + fault.delay:
            time.sleep(web.latency + fault.delay)
        answer = web.answer(request) if fault.status is None else Answer(fault.status, {}, fault.body)
        self._send(request, answer, fault)

    def _request(self) -> Request:
        place = urlsplit("//host/" + self.path.lstrip("/"))
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        path = unquote(place.path[1:], errors="surrogateescape")
        return Request(self.command, path, place.query, MappingProxyType(headers), body, place.path)

    def _send(self, request: Request, answer: Answer, fault: Fault) -> None:
        headers = {"Content-Length": str(len(answer.body)), **answer.headers, **fault.headers}
        lines = [f"HTTP/1.1 {answer.status} {self.responses.get(answer.status, ('Odd',))[0]}"]
        head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode("latin-1")
        if request.method == "HEAD" or answer.status in (204, 304):
            self.wfile.write(head)
            return
        body = answer.body if fault.cut is None else answer.body[: fault.cut]
        if not fault.pace:
            self.wfile.write(head + body)
        else:
            self.wfile.write(head)
            for at in range(0, len(body), _PIECE):
                self.wfile.write(body[at : at + _PIECE])
                if self.server.web.stopping.wait(fault.pace):
                    break
        self.close_connection = fault.cut is not None or self.close_connection


def _part(stored: Stored, asked: Mapping[str, str]) -> Answer:
    """Answer with an object, the part of it that is asked for, or that it has not changed."""
    data = stored.data
    etag = f'"{hashlib.blake2b(data, digest_size=8).hexdigest()}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", **stored.headers}
    if asked.get("if-none-match") == etag:
        return Answer(304, headers)
    if asked.get("if-match", etag) != etag:
        return Answer(412, headers)
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.get("range", ""))
    if match is None or not any(match.groups()):
        return Answer(200, headers, data)
    first, last = match.groups()
    start = int(first) if first else max(0, len(data) - int(last))
    stop = min(len(data), int(last) + 1) if first and last else len(data)
    if start >= stop:
        return Answer(416, {**headers, "Content-Range": f"bytes */{len(data)}"})
    return Answer(206, {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}, data[start:stop])


_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}


def forwarded(upstream: str, request: Request) -> Answer:
    """Ask another server."""
    place = urlsplit(upstream)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    try:
        target = request.raw + (f"?{request.query}" if request.query else "")
        sent = {name: value for name, value in request.headers.items() if name not in {"connection", "expect"}}
        connection.request(request.method, target, request.body or None, sent)
        reply = connection.getresponse()
        body = reply.read()
        headers = {name: value for name, value in reply.getheaders() if name.lower() not in _HOP}
        if request.method == "HEAD" and reply.getheader("Content-Length"):
            headers["Content-Length"] = reply.getheader("Content-Length") or ""
        return Answer(reply.status, headers, body)
    finally:
        connection.close()
