"""Neuroglancer's page, from the same port as the data: its files, and the little that the page asks of a server.

The client is the one that the PyPI package ``neuroglancer`` brings along. Below ``/-/``::

    v/TOKEN/          the page and its files; the state follows behind ``#!``
    events/TOKEN      a stream of events that stays open, else the page says that it lost its server
    action/TOKEN      what the page reports: pictures that were asked for
    view/NAME         shows one dataset
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from neuroglancer.static import get_default_static_content_source
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, Router

from volumekit.errors import VolumekitError
from volumekit.view.state import Shown, viewer_state

if TYPE_CHECKING:
    from volumekit.serve.catalog import Catalog

HEARTBEAT = 15.0
"""Seconds between signs of life on a stream of events."""

MOST_BODY = 32 << 20
_HERE = "{here}"
_FOREVER = {"cache-control": "public, max-age=31536000, immutable"}
_AGAIN = {"cache-control": "no-cache"}

_LANDING = """<!doctype html><html><head><meta charset="utf-8"><title>%(name)s</title></head><body><script>
const here = location.origin + location.pathname.replace(/\\/-\\/view\\/.*$/, "");
const state = JSON.stringify(%(state)s).replaceAll("{here}", here);
location.replace(here + "/-/v/1/#!" + encodeURIComponent(state));
</script></body></html>
"""


class Page:
    """What is below ``/-/`` of a site, but its thumbnails; an ASGI application.

    Parameters
    ----------
    catalog : Catalog
        What may be shown.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._files = get_default_static_content_source()
        self._pictures: dict[str, Future[dict[str, Any]]] = {}
        self.progress: dict[str, dict[str, Any]] = {}
        self._router = Router(
            [
                Route("/v/{token}/{name:path}", self._file),
                Route("/view/{name:path}", self._landing),
                Route("/events/{token}", self._events),
                Route("/action/{token}", self._action, methods=["POST"]),
            ],
            redirect_slashes=False,
            default=_nothing,
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        await self._router(scope, receive, send)

    def picture(self) -> tuple[str, Future[dict[str, Any]]]:
        """Ask for a picture: the page that is opened under the token returned draws, and reports it."""
        token = secrets.token_hex(8)
        self._pictures[token] = Future()
        return token, self._pictures[token]

    def forget(self, token: str) -> None:
        """Stop waiting for a picture."""
        self._pictures.pop(token, None)
        self.progress.pop(token, None)

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        try:
            body, kind = await run_in_threadpool(self._files.get, name, "")
        except (ValueError, OSError):
            return _missing()
        return Response(body, media_type=kind, headers=_FOREVER if name.count(".") > 1 else _AGAIN)

    async def _landing(self, request: Request) -> Response:
        name = request.path_params["name"]
        dataset = self._catalog.datasets.get(name)
        if dataset is None:
            return _missing()
        shown = Shown(dataset.volume, f"precomputed://{_HERE}/{name}", name)
        state = await run_in_threadpool(viewer_state, [shown])
        return HTMLResponse(_LANDING % {"name": _in_script(name), "state": _in_script(state)}, headers=_AGAIN)

    async def _events(self, request: Request) -> Response:
        stream = self._stream(request.path_params["token"])
        return StreamingResponse(stream, media_type="text/event-stream", headers={"cache-control": "no-store"})

    async def _stream(self, token: str) -> AsyncIterator[str]:
        if token in self._pictures:
            event = {"k": "c", "s": {"screenshot": token}, "g": f"{token}/1"}
            yield f"data: {json.dumps(event)}\n\n"
        while True:
            yield ": alive\n\n"
            await asyncio.sleep(HEARTBEAT)

    async def _action(self, request: Request) -> Response:
        token = request.path_params["token"]
        future = self._pictures.get(token)
        if future is None:
            return _missing()
        try:
            told = json.loads(await _body(request))
            kind, state = told["action"], told["state"]
            if kind == "screenshotStatistics":
                self.progress[token] = dict(state["screenshotStatistics"]["total"])
            elif kind == "screenshot" and not future.done():
                future.set_result(dict(state["screenshot"]))
        except (ValueError, KeyError, TypeError, VolumekitError):
            return PlainTextResponse("not understood\n", 400)
        return Response(b"")


async def _body(request: Request) -> bytes:
    """Read the body of a request, if it is not absurdly long."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BODY:
            raise ValueError("too long")
        parts.append(part)
    return b"".join(parts)


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    await _missing()(scope, receive, send)


def _missing() -> Response:
    return PlainTextResponse("Not Found\n", 404)


def _in_script(value: Any) -> str:
    """Return a value as JSON that neither ends a script nor begins a tag."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
