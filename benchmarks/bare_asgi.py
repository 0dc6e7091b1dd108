"""The least an ASGI application can do to send files: open, pread, close. ``BARE_ROOT`` names their folder."""

from __future__ import annotations

import os
from typing import Any

_ROOT = os.environ.get("BARE_ROOT", "")


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Send the file that the path names."""
    file = os.open(_ROOT + scope["path"], os.O_RDONLY)
    size = os.fstat(file).st_size
    data = os.pread(file, size, 0)
    os.close(file)
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % size)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": data})
