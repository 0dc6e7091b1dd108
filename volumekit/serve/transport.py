"""How answers leave: head and body together, and files without a detour through this process."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any

from volumekit.serve.answer import FilePart

_SMALL = 4096
_SENDS_FILES = sys.platform == "linux"


class Together:
    """A transport that sends the head of an answer together with what follows at once: in one packet, not in two.

    uvicorn writes them one after the other, and its event loop sends at once whatever is written. A `FilePart` goes
    from the system's cache to the connection without being copied here (sendfile), as far as the connection takes it.

    Parameters
    ----------
    transport : asyncio.Transport
        The connection.
    loop : asyncio.AbstractEventLoop
        Its event loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._socket: Any = transport.get_extra_info("socket")
        self._held: bytes = b""
        self.sends_files = _SENDS_FILES and self._socket is not None and transport.get_extra_info("sslcontext") is None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes | FilePart) -> None:
        """Send bytes, or a part of a file; few bytes wait for others until the event loop turns to something else."""
        held, self._held = self._held, b""
        if isinstance(data, FilePart):
            self._write_file(held, data)
        elif held:
            self._transport.writelines((held, data))
        elif 0 < len(data) < _SMALL:
            self._held = data
            self._loop.call_soon(self.flush)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Send what waits."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)

    def close(self) -> None:
        """Send what waits, and end the connection."""
        self.flush()
        self._transport.close()

    def _write_file(self, head: bytes, part: FilePart) -> None:
        """Send a part of a file behind a head: what the connection takes now by sendfile, the rest as bytes."""
        gone = 0
        if not self._transport.get_write_buffer_size() and not self._transport.is_closing():
            gone = self._send(head, part)
        rest = part.after(max(0, gone - len(head)))
        data = rest.read()
        if gone < len(head):
            self._transport.write(head[gone:])
        if data:
            self._transport.write(data)
        if len(data) < len(rest):
            self._transport.abort()  # the file became shorter than the head says

    def _send(self, head: bytes, part: FilePart) -> int:
        """Return how many bytes the connection took; whatever is wrong with it, writing the rest will tell."""
        gone = 0
        try:
            if head:
                gone = _send_more(self._socket, head)
            while len(head) <= gone < len(head) + len(part):
                at = gone - len(head)
                sent = os.sendfile(self._socket.fileno(), part.file, part.start + at, len(part) - at)
                if not sent:
                    break
                gone += sent
        except OSError:
            pass
        return gone


def _send_more(connection: Any, head: bytes) -> int:
    """Send bytes on a connection that another one owns, to be followed by more in the same packet."""
    own = socket.socket(connection.family, connection.type, connection.proto, connection.fileno())
    try:
        return own.send(head, socket.MSG_MORE)
    finally:
        own.detach()
