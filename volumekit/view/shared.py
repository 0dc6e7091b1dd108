"""The server of all viewers of this process: it has its port at once, and starts when somebody looks."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import select
import socket
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import quote

from volumekit.serve.catalog import Catalog
from volumekit.serve.running import Server, address, listen, make_settings

if TYPE_CHECKING:
    from volumekit.volume.volume import Volume

LOOPBACK = "127.0.0.1"
NEEDED = ("neuroglancer", "starlette", "uvicorn")

_LOG = logging.getLogger("volumekit.view")
_LOCK = threading.Lock()


class Shared:
    """A server of the loopback interface whose links may be handed out before it runs.

    The operating system holds the first visitors until it does; nothing but a thread that sleeps waits for them.
    """

    def __init__(self) -> None:
        self._settings = make_settings(LOOPBACK)
        self._catalog = Catalog((), decodes=self._settings.decodes)
        self._listener = listen(LOOPBACK, 0)
        self._bell, self._rope = socket.socketpair()
        self._starting = threading.Lock()
        self._waiting: threading.Thread | None = None
        self._server: Server | None = None
        self._closed, self._process = False, os.getpid()
        atexit.register(self.close)

    @property
    def running(self) -> bool:
        """Whether somebody has looked yet."""
        return self._server is not None

    def server(self) -> Server:
        """Return the server; start it the first time."""
        with self._starting:
            if self._server is None:
                from volumekit.serve.app import Application
                from volumekit.serve.site import Site

                app = Application(Site(self._catalog, self._settings))
                self._server = Server(app, self._settings, self._listener)
            return self._server

    def link(self, volume: Volume) -> str:
        """Return the address of a page that shows a volume; the server starts when it is opened first."""
        name = self._catalog.add(volume)
        with self._starting:
            if self._server is None and self._waiting is None:
                self._waiting = threading.Thread(target=self._wait, name="volumekit-view", daemon=True)
                self._waiting.start()
        return f"{address(self._listener, self._settings)}/-/view/{quote(name)}"

    def _wait(self) -> None:
        """Sleep until somebody knocks."""
        select.select([self._listener, self._bell], [], [])
        if self._closed:
            return
        try:
            self.server()
        except Exception:
            _LOG.exception("the viewer's server does not start")

    def close(self) -> None:
        """Stop the server if it runs, and give the port back; so it is when the process ends, unless it was forked."""
        if self._closed or os.getpid() != self._process:
            return
        self._closed = True
        atexit.unregister(self.close)
        self._rope.send(b"!")
        if self._waiting is not None:
            self._waiting.join()
        if self._server is not None:
            self._server.close()
        self._catalog.close()
        for end in (self._listener, self._bell, self._rope):
            end.close()


@functools.cache
def _of(process: int) -> Shared:
    return Shared()


def shared() -> Shared:
    """Return what all viewers of this process share."""
    with _LOCK:
        return _of(os.getpid())


def link(volume: Volume) -> str | None:
    """Return the address of a page that shows a volume, None if something needed is not installed."""
    return shared().link(volume) if all(map(find_spec, NEEDED)) else None
