"""How uvicorn reads requests: not one byte more than a request may have."""

from __future__ import annotations

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEADERS = 256
MOST_BODY = 32 << 20
_TOO_LONG = "The request is too long."


class Limited(HttpToolsProtocol):
    """Ends connections whose requests are too long.

    httptools has no limit of its own; uvicorn's setting for its other parser is honoured here: the most bytes of the
    path and the headers together. What httptools keeps to itself until it is complete counts as well.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._most: int = self.config.h11_max_incomplete_event_size or 1 << 16
        self._head = self._pending = 0
        self._in_head = True

    def data_received(self, data: bytes) -> None:
        """Take up bytes; those of requests that end among them no longer count."""
        self._pending += len(data)
        super().data_received(data)
        if self._pending > self._most + (0 if self._in_head else MOST_BODY) and not self.transport.is_closing():
            self.send_400_response(_TOO_LONG)

    def on_message_begin(self) -> None:
        """Start counting."""
        super().on_message_begin()
        self._head, self._in_head = 0, True

    def on_url(self, url: bytes) -> None:
        """Take up a part of the path."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take up a header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin with the body."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop counting."""
        self._pending = 0
        super().on_message_complete()

    def _count(self, more: int) -> None:
        self._head += more
        if self._head > self._most or len(self.headers) >= MOST_HEADERS:
            raise httptools.HttpParserError(_TOO_LONG)
