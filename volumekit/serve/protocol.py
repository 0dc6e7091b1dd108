"""How uvicorn reads requests: not one byte more than a request may have."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from volumekit.serve.answer import SENDS_FILES
from volumekit.serve.transport import Together

MOST_BODY = 32 << 20
_TOO_LONG = "The request is too long."


class Limited(HttpToolsProtocol):
    """Ends connections whose requests are too long.

    httptools has no limit of its own; uvicorn's setting for its other parser is honoured here: the most bytes of the
    path and the headers together, within what one reading of the connection yields.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._most: int = self.config.h11_max_incomplete_event_size or 1 << 16
        self._pending = 0
        self._in_head = True
        self._extensions: dict[str, Any] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take up a connection."""
        super().connection_made(transport)
        together = Together(transport, self.loop)
        self.transport = together  # type: ignore[assignment]
        self._extensions = {SENDS_FILES: {}} if together.sends_files else {}

    def data_received(self, data: bytes) -> None:
        """Take up bytes; those of requests that end among them no longer count."""
        self._pending += len(data)
        super().data_received(data)
        if self._pending > self._most + (0 if self._in_head else MOST_BODY) and not self.transport.is_closing():
            self.send_400_response(_TOO_LONG)

    def on_message_begin(self) -> None:
        """Start with a request."""
        super().on_message_begin()
        self.scope["extensions"] = self._extensions
        self._in_head = True

    def on_headers_complete(self) -> None:
        """Begin with the body."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop counting."""
        self._pending = 0
        super().on_message_complete()
