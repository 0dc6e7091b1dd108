"""The same application for servers that speak WSGI: Apache's mod_wsgi, gunicorn.

``volumekit.serve.wsgi:application`` serves what the sources file says that the environment variable
``VOLUMEKIT_SOURCES`` names::

    VOLUMEKIT_SOURCES=sources.json gunicorn volumekit.serve.wsgi:application

The server must start its processes before it loads the application (gunicorn without ``--preload``).

Sources: PEP 3333; the ASGI specification.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from concurrent.futures import Future
from http import HTTPStatus
from typing import Any

from volumekit.serve.answer import Receive, Scope, Send

Environ = Mapping[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Scope, Receive, Send], Any]
Message = MutableMapping[str, Any]

_PATIENCE = 5.0
"""Seconds that requests still under way have to end, when a process does."""


class WsgiApplication:
    """An ASGI application as a WSGI application; an event loop in a thread of its own runs it.

    Parameters
    ----------
    app : callable
        The ASGI application.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        loop = self._running()
        exchange = _Exchange(loop)
        exchange.task = asyncio.run_coroutine_threadsafe(exchange.run(self._app, _scope(environ)), loop)
        start = exchange.next()
        if start is None:  # the application failed, and has logged why
            start_response("500 Internal Server Error", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return [b""]
        headers = [(name.decode("latin-1").title(), value.decode("latin-1")) for name, value in start["headers"]]
        start_response(f"{start['status']} {HTTPStatus(start['status']).phrase}", headers)
        return _Body(exchange)

    def _running(self) -> asyncio.AbstractEventLoop:
        """Return the loop; it is started by the first request, in the process that answers it."""
        with self._lock:
            if self._loop is None:
                self._loop = _started()
            return self._loop


def _started() -> asyncio.AbstractEventLoop:
    """Start an event loop in a thread; it ends with this process, and not with one that was forked from it."""
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def until_the_end() -> None:
        ended = asyncio.Event()
        begun.set_result((asyncio.get_running_loop(), ended))
        await ended.wait()

    runner = threading.Thread(target=lambda: asyncio.run(until_the_end()), name="volumekit-wsgi", daemon=True)
    runner.start()
    (loop, ended), process = begun.result(), os.getpid()

    def end() -> None:
        if os.getpid() == process:
            loop.call_soon_threadsafe(ended.set)
            runner.join(_PATIENCE)

    atexit.register(end)
    return loop


class _Exchange:
    """A request under way: the application sends, the server's thread takes, one message after the other."""

    task: Any

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(1)
        self._left = self._asked = False

    async def run(self, app: App, scope: Scope) -> None:
        try:
            await app(scope, self._receive, self._messages.put)
        except asyncio.CancelledError:  # who is left, or at the end of the process, takes nothing any more
            self._left = True
            raise
        finally:
            if not self._left:
                await self._messages.put(None)

    async def _receive(self) -> Message:
        """Return the request, once; who asks again waits for the client to go away, and is cancelled when it did."""
        if self._asked:
            await asyncio.get_running_loop().create_future()
        self._asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    def next(self) -> Message | None:
        """Wait for a message; None at the end."""
        return asyncio.run_coroutine_threadsafe(self._messages.get(), self._loop).result()

    def leave(self) -> None:
        """End the request, wherever it is; nobody takes messages any more."""
        self._left = True
        self.task.cancel()


class _Body:
    """The body of an answer; closing it ends the request, wherever it is."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        while (message := self._exchange.next()) is not None:
            yield bytes(message["body"])
            if not message.get("more_body"):
                return

    def close(self) -> None:
        """Let the application clean up; what it still wants to send is thrown away."""
        self._exchange.leave()


def _scope(environ: Environ) -> Scope:
    headers = [
        (name[5:].replace("_", "-").lower().encode("latin-1"), str(value).encode("latin-1", "replace"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    path = _text(environ.get("SCRIPT_NAME", "")) + _text(environ.get("PATH_INFO", ""))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": environ["REQUEST_METHOD"],
        "scheme": environ.get("wsgi.url_scheme", "http"),
        "path": path,
        "raw_path": path.encode("utf-8", "replace"),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1", "replace"),
        "root_path": "",
        "headers": headers,
        "client": None,
        "server": None,
    }


def _text(path: str) -> str:
    """Return a part of the path as it is meant: WSGI has bytes that look like Latin-1."""
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


def make(path: str | os.PathLike[str] | None = None) -> WsgiApplication:
    """Return the application that a sources file describes.

    Parameters
    ----------
    path : path, optional
        The file; default: what ``VOLUMEKIT_SOURCES`` names.

    Raises
    ------
    OptionError
        If there is no such file, or a source in it cannot be served.
    """
    from volumekit.serve.app import app_from_file, from_environment

    return WsgiApplication(from_environment() if path is None else app_from_file(path))


def __getattr__(name: str) -> Any:
    """Make ``application`` when it is first asked for, so that this module can be imported without a sources file."""
    if name != "application":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()["application"] = make()
    return made
