"""The paths of a server: who may ask, which dataset, which page.

An ASGI application of its own; `serve.app` puts Starlette's layers around it.
"""

from __future__ import annotations

import hmac
import logging
from http import HTTPStatus
from typing import Any, NamedTuple

from volumekit.errors import MissingChunkError, MissingExtraError, PermissionDeniedError, VolumekitError
from volumekit.registry import load
from volumekit.serve.answer import SENDS_FILES, Answer, Headers, Receive, Scope, Send, failure, not_found
from volumekit.serve.catalog import Catalog
from volumekit.serve.index import index
from volumekit.serve.settings import Settings

_LOG = logging.getLogger("volumekit.serve")
_TOKEN, _PAGES, _THUMBNAIL, _ACTION = "~", "-/", "-/thumbnail/", "-/action/"
_READING = ("GET", "HEAD")


class Entry(NamedTuple):
    """A request that was let in: what paths begin with, and what follows, without a slash between them."""

    base: str
    path: str


class Site:
    """What is at which path.

    Parameters
    ----------
    catalog : Catalog
        What is served.
    settings : Settings
        How.
    """

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self.catalog, self.settings = catalog, settings
        self._viewer: Any = None
        self._hosts = frozenset(name.lower().encode() for name in settings.hosts)

    @property
    def viewer(self) -> Any:
        """The viewer's pages, an ASGI application: `volumekit.view.page.Page`.

        Raises
        ------
        MissingExtraError
            If the extra ``view`` is not installed.
        """
        if self._viewer is None:
            self._viewer = load("volumekit.view.page:Page[view]")(self.catalog)  # by name: it stands upon servers
        return self._viewer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        headers: Headers = dict(scope["headers"])
        entry = self._refused(scope, headers) or self._entered(scope["path"], headers)
        if isinstance(entry, Entry) and self._is_viewers(entry.path):
            await self._view(entry, scope, receive, send)
            return
        head = scope["method"] == "HEAD"
        answer = entry if isinstance(entry, Answer) else await self._guarded(entry, scope["method"], headers)
        await answer.send(send, head=head, files=SENDS_FILES in (scope.get("extensions") or ()))

    def _refused(self, scope: Scope, headers: Headers) -> Answer | None:
        """Return the answer to what is not even looked at."""
        if self._hosts and _host(headers) not in self._hosts:
            return failure(HTTPStatus.BAD_REQUEST, "this server does not go by that name; see the setting hosts")
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"") > self.settings.max_path:
            return failure(HTTPStatus.REQUEST_URI_TOO_LONG)
        if sum([len(name) + len(value) for name, value in scope["headers"]]) > self.settings.max_headers:
            return failure(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return None

    def _entered(self, path: str, headers: Headers) -> Entry | Answer:
        """Return the path behind the prefix and the token, or why nobody gets in there."""
        base = self.settings.prefix
        if not path.startswith(base + "/"):
            return not_found()
        path = path[len(base) + 1 :]
        if path.startswith(_TOKEN):
            given, _, path = path[1:].partition("/")
            base = f"{base}/{_TOKEN}{given}"
        elif self.settings.token:
            given = headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ").strip()
        else:
            return Entry(base, path)
        return Entry(base, path) if self._admitted(given) else _unauthorised()

    def _admitted(self, given: str) -> bool:
        token = self.settings.token
        return not token or hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())

    async def _guarded(self, entry: Entry, method: str, headers: Headers) -> Answer:
        """Return the answer, whatever happens on the way there."""
        try:
            if method not in _READING:
                return _not_allowed()
            if self.catalog.file is not None:
                await self.catalog.follow()
            return await self._answer(entry, headers, head=method == "HEAD")
        except MissingChunkError:
            return not_found()
        except PermissionDeniedError as error:
            return _told(error, HTTPStatus.FORBIDDEN, "the storage refuses access")
        except VolumekitError as error:
            return _told(error, HTTPStatus.BAD_GATEWAY, "the storage failed, or what it holds is damaged")
        except Exception:
            _LOG.exception("answering %s failed", entry.path)
            return failure(HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _answer(self, entry: Entry, headers: Headers, *, head: bool) -> Answer:
        if not entry.path:
            return index(self.catalog.datasets.values(), entry.base).answer(headers)
        if entry.path.startswith(_PAGES):
            name = entry.path.removeprefix(_THUMBNAIL)
            dataset = self.catalog.datasets.get(name.removesuffix(".png"))
            return await dataset.thumbnail(headers) if dataset is not None and name.endswith(".png") else not_found()
        found = self.catalog.find(entry.path)
        if found is None:
            return not_found()
        dataset, key, as_zarr = found
        answering = dataset.zarr_answer if as_zarr else dataset.answer
        return await answering(key, headers, head=head)

    def _is_viewers(self, path: str) -> bool:
        return path.startswith(_PAGES) and not path.startswith(_THUMBNAIL)

    async def _view(self, entry: Entry, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the viewer's pages answer."""
        try:
            viewer = self.viewer
        except MissingExtraError as error:
            await failure(HTTPStatus.NOT_FOUND, error.message).send(send, head=scope["method"] == "HEAD")
            return
        path = "/" + entry.path.removeprefix(_PAGES)
        own = {name: value for name, value in scope.items() if name != "app"}  # it answers its errors itself
        await viewer({**own, "path": path, "raw_path": path.encode(), "root_path": ""}, receive, send)

    def close(self) -> None:
        """Let the threads end."""
        self.catalog.close()


def _host(headers: Headers) -> bytes:
    """Return the name a request is for, without the port."""
    host = headers.get(b"host", b"").lower()
    name, _, port = host.rpartition(b":")
    return name if port.isdigit() else host


def _told(error: VolumekitError, status: HTTPStatus, text: str) -> Answer:
    """Log what went wrong; whoever asks learns no more than that it did."""
    _LOG.warning("%s", error)
    return failure(status, text)


def _not_allowed() -> Answer:
    answer = failure(HTTPStatus.METHOD_NOT_ALLOWED)
    answer.headers.append((b"allow", b"GET, HEAD, OPTIONS"))
    return answer


def _unauthorised() -> Answer:
    answer = failure(HTTPStatus.UNAUTHORIZED, "a token is needed: Authorization: Bearer TOKEN, or /~TOKEN/ in the path")
    answer.headers.append((b"www-authenticate", b"Bearer"))
    return answer
