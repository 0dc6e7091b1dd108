"""Neuroglancer's page, from the same port as the data: its files, and the little that the page asks of a server.

The client is the one that the PyPI package ``neuroglancer`` brings along. Below ``/-/``::

    v/TOKEN/          the page and its files; the state follows behind ``#!``
    action/TOKEN      what the page reports: pictures that were asked for
    view/NAME         leads there, with a state that shows one dataset
    shown/NUMBER      leads there, with the state of a viewer as it is by then
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from neuroglancer.static import get_default_static_content_source
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route, Router

from volumekit.errors import VolumekitError
from volumekit.view.state import MARGINS, PAGE, Shown, viewer_state

if TYPE_CHECKING:
    from volumekit.serve.catalog import Catalog

BYTES_A_PIXEL = 6
"""Of a picture that is reported, at most: four in a PNG that compresses nothing, as Base64."""

MOST_OPENINGS = 1000
_HERE = "{here}"
_HTML = "text/html"
_FOREVER = {"cache-control": "public, max-age=31536000, immutable"}
_AGAIN = {"cache-control": "no-cache"}

_LANDING = """<!doctype html><html><head><meta charset="utf-8"><title>volumekit</title></head><body><script>
const state = %(state)s, base = %(base)s, page = %(page)s, margins = %(margins)s, fit = %(fit)s;
const here = location.origin + location.pathname.replace(/\\/-\\/(view|shown)\\/.*$/, "");
if (fit && innerWidth > 2 * margins[0] && innerHeight > 2 * margins[1])
  state.crossSectionScale *= Math.max((page[0] - margins[0]) / (innerWidth - margins[0]),
                                      (page[1] - margins[1]) / (innerHeight - margins[1]));
location.replace(here + "/-/v/1/#!" + encodeURIComponent(JSON.stringify(state).replaceAll(base, here)));
</script></body></html>
"""

_TELLER = """<script>
window.EventSource = class {
  constructor() { setTimeout(() => { this.onopen(); for (const data of %s) this.onmessage({data}); }); }
  close() {}
};
</script>"""
"""What the page hears from its server, told at once: the stream of events that it asks for would hold a connection of
the browser, of which there are six, and a thread of a WSGI server, for as long as somebody looks."""

_NOTICE = """<script>
(() => {
  const notice = document.createElement("div");
  notice.id = "volumekit-gone";
  notice.setAttribute("role", "alert");
  notice.textContent = "The server of this page does not answer: what is not loaded yet stays away until it is back.";
  notice.style = "position:fixed;bottom:1em;left:50%;transform:translateX(-50%);z-index:9999;padding:.5em 1em;"
    + "border-radius:4px;background:#a00;color:#fff;font:14px sans-serif;pointer-events:none";
  const look = async () => {
    if (document.hidden) return;
    const asked = fetch(location.pathname, {method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(PATIENCE)});
    if (await asked.then(answer => ![502, 503, 504].includes(answer.status), () => false)) notice.remove();
    else document.body.append(notice);
  };
  const again = () => look().finally(() => setTimeout(again, PAUSE));
  addEventListener("visibilitychange", look);
  setTimeout(again, PAUSE);
})();
</script>""".replace("PATIENCE", "30_000").replace("PAUSE", "4_000")
"""Asks now and then, while somebody looks, whether the server is there: only a short request holds no connection."""


@dataclass(frozen=True)
class Opening:
    """How a page opens.

    Attributes
    ----------
    state : dict
        Neuroglancer's.
    base : str
        What the sources in it begin with; the address that the page was asked for at takes its place, which differs
        behind tunnels and proxies.
    fit : bool
        Whether the scale of the sections, made for a page of `PAGE`, follows the size of the window.
    """

    state: dict[str, Any]
    base: str = _HERE
    fit: bool = True

    def page(self) -> str:
        """Return the page that leads to Neuroglancer's."""
        given = {"state": self.state, "base": self.base, "page": PAGE, "margins": MARGINS, "fit": self.fit}
        return _LANDING % {name: _in_script(value) for name, value in given.items()}


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
        self._sizes: dict[str, tuple[int, int]] = {}
        self._openings: dict[str, Callable[[], Opening]] = {}
        self._numbers = itertools.count(1)
        self.progress: dict[str, dict[str, Any]] = {}
        self._router = Router(
            [
                Route("/v/{token}/{name:path}", self._file),
                Route("/view/{name:path}", self._dataset),
                Route("/shown/{number}", self._shown),
                Route("/action/{token}", self._action, methods=["POST"]),
            ],
            redirect_slashes=False,
            default=_nothing,
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        await self._router(scope, receive, send)

    def show(self, opening: Callable[[], Opening]) -> str:
        """Let a page lead to what a function tells whenever it is asked; return its path below ``/-/``.

        The last thousand are known.
        """
        number = str(next(self._numbers))
        self._openings[number] = opening
        while len(self._openings) > MOST_OPENINGS:
            self._openings.pop(next(iter(self._openings)))
        return f"shown/{number}"

    def picture(self, size: tuple[int, int]) -> tuple[str, Future[dict[str, Any]]]:
        """Ask for a picture of a size: the page that is opened under the token returned draws, and reports it."""
        token = secrets.token_hex(8)
        self._pictures[token], self._sizes[token] = Future(), size
        return token, self._pictures[token]

    def forget(self, token: str) -> None:
        """Stop waiting for a picture."""
        for kept in (self._pictures, self._sizes, self.progress):
            kept.pop(token, None)

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        try:
            body, kind = await run_in_threadpool(self._files.get, name, "")
        except (ValueError, OSError):
            return _missing()
        if kind == _HTML:
            body = body.replace(b"<script", self._teller(request.path_params["token"]) + b"<script", 1)
        return Response(body, media_type=kind, headers=_FOREVER if name.count(".") > 1 else _AGAIN)

    async def _dataset(self, request: Request) -> Response:
        name = request.path_params["name"]
        dataset = self._catalog.datasets.get(name)
        if dataset is None:
            return _missing()
        shown = Shown(dataset.volume, f"precomputed://{_HERE}/{quote(name)}", name)
        looking = asyncio.get_running_loop().run_in_executor(self._catalog.executor, viewer_state, [shown])
        return _landing(Opening(await looking))

    async def _shown(self, request: Request) -> Response:
        opening = self._openings.get(request.path_params["number"])
        return _missing() if opening is None else _landing(opening())

    def _teller(self, token: str) -> bytes:
        """Return the scripts of a page: what to draw if a picture was asked for, else who looks after the server."""
        size = self._sizes.get(token)
        config = {"screenshot": token, "viewerSize": size, "showUIControls": False}
        if size is None:
            return ((_TELLER % "[]") + _NOTICE).encode()
        return (_TELLER % _in_script([json.dumps({"k": "c", "s": config, "g": f"{token}/1"})])).encode()

    async def _action(self, request: Request) -> Response:
        token = request.path_params["token"]
        future = self._pictures.get(token)
        if future is None:
            return _missing()
        try:
            told = json.loads(await _body(request, _most(self._sizes[token])))
            kind, state = told["action"], told["state"]
            if kind == "screenshotStatistics":
                self.progress[token] = dict(state["screenshotStatistics"]["total"])
            elif kind == "screenshot" and not future.done():
                future.set_result(dict(state["screenshot"]))
        except (ValueError, KeyError, TypeError, VolumekitError):
            return PlainTextResponse("not understood\n", 400, {"connection": "close"})  # more of it may be on its way
        return Response(b"")


def _most(size: tuple[int, int]) -> int:
    """Return the most bytes of a report on a picture."""
    return (1 << 20) + BYTES_A_PIXEL * size[0] * size[1]


async def _body(request: Request, most: int) -> bytes:
    """Read the body of a request, if it is not absurdly long."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise ValueError("too long")
        parts.append(part)
    return b"".join(parts)


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    await _missing()(scope, receive, send)


def _landing(opening: Opening) -> Response:
    return HTMLResponse(opening.page(), headers=_AGAIN)


def _missing() -> Response:
    return PlainTextResponse("Not Found\n", 404)


def _in_script(value: Any) -> str:
    """Return a value as JSON that neither ends a script nor begins a tag."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
