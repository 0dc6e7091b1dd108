"""The paths of a server: which dataset, which page, and who may ask.

An ASGI application of its own; `serve.app` puts Starlette's layers around it.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from volumekit.errors import MissingChunkError, PermissionDeniedError, VolumekitError
from volumekit.serve.answer import Answer, Headers, Receive, Scope, Send, failure, not_found
from volumekit.serve.dataset import Dataset
from volumekit.serve.index import index
from volumekit.serve.settings import Settings
from volumekit.serve.sources import ZARR, Source, read_sources

_LOG = logging.getLogger("volumekit.serve")
_TOKEN = "~"
_PAGES = "-"
RELOOK = 1.0
"""Seconds after which the sources file is looked at again."""


class Site:
    """What is at which path.

    Parameters
    ----------
    sources : iterable of Source
        What to serve.
    settings : Settings
        How.
    file : path, optional
        The sources file; it is read again when it changes.

    Raises
    ------
    OptionError
        If a source cannot be opened; names it.
    """

    def __init__(
        self, sources: Iterable[Source], settings: Settings, *, file: str | os.PathLike[str] | None = None
    ) -> None:
        self.settings = settings
        self._executor = ThreadPoolExecutor(settings.decodes, thread_name_prefix="volumekit-serve")
        self.datasets: dict[str, Dataset] = {}
        self._file, self._looked, self._seen = file, time.monotonic(), _changed(file)
        self._lock = asyncio.Lock()
        self._open(sources)

    def _open(self, sources: Iterable[Source]) -> None:
        """Open what is not open yet, and let go of what is no longer a source."""
        before, found = self.datasets, {}
        for source in sources:
            known = before.get(source.name)
            same = known is not None and known.source == source
            found[source.name] = known if known is not None and same else Dataset(source, self._executor)
        self.datasets = found
        self._depth = max((name.count("/") + 1 for name in found), default=1)

    async def _follow(self) -> None:
        """Read the sources file again if it changed since it was last looked at."""
        if self._file is None or time.monotonic() - self._looked < RELOOK:
            return
        async with self._lock:
            self._looked = time.monotonic()
            seen = _changed(self._file)
            if seen != self._seen:
                self._seen = seen
                await asyncio.get_running_loop().run_in_executor(self._executor, self._reread, self._file)

    def _reread(self, file: str | os.PathLike[str]) -> None:
        try:
            self._open(read_sources(file)[0])
        except (VolumekitError, OSError) as error:
            _LOG.warning("the sources stay as they were: %s", error)

    def close(self) -> None:
        """Let the threads end."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        headers: Headers = dict(scope["headers"])
        head = scope["method"] == "HEAD"
        try:
            await self._follow()
            answer = self._refusal(scope) or await self._routed(scope, headers, head=head)
        except MissingChunkError:
            answer = not_found()
        except PermissionDeniedError as error:
            answer = _told(error, HTTPStatus.FORBIDDEN, "the storage refuses access")
        except VolumekitError as error:
            answer = _told(error, HTTPStatus.BAD_GATEWAY, "the storage failed, or what it holds is damaged")
        except Exception:
            _LOG.exception("answering %s failed", scope["path"])
            answer = failure(HTTPStatus.INTERNAL_SERVER_ERROR)
        await answer.send(send, head=head)

    def _refusal(self, scope: Scope) -> Answer | None:
        """Return the answer to what is not even looked at."""
        if scope["method"] not in ("GET", "HEAD"):
            answer = failure(HTTPStatus.METHOD_NOT_ALLOWED)
            answer.headers.append((b"allow", b"GET, HEAD, OPTIONS"))
            return answer
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"") > self.settings.max_path:
            return failure(HTTPStatus.REQUEST_URI_TOO_LONG)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > self.settings.max_headers:
            return failure(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return None

    async def _routed(self, scope: Scope, headers: Headers, *, head: bool) -> Answer:
        path: str = scope["path"]
        if not path.startswith(self.settings.prefix + "/"):
            return not_found()
        base, path = self.settings.prefix, path[len(self.settings.prefix) + 1 :]
        if path.startswith(_TOKEN):
            given, _, path = path[1:].partition("/")
            base = f"{base}/{_TOKEN}{given}"
        else:
            given = headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ").strip()
        if not self._admitted(given):
            return _unauthorised()
        if not path:
            return index(self.datasets.values(), base).answer(headers)
        return await self._found(path, headers, head=head)

    def _admitted(self, given: str) -> bool:
        token = self.settings.token
        return not token or hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())

    async def _found(self, path: str, headers: Headers, *, head: bool) -> Answer:
        parts = path.split("/", self._depth)
        if parts[0] == _PAGES:
            return await self._page(path.partition("/")[2], headers)
        for n in range(min(self._depth, len(parts) - 1), 0, -1):
            name, rest = "/".join(parts[:n]), "/".join(parts[n:])
            dataset = self.datasets.get(name)
            if dataset is not None:
                return await dataset.answer(rest, headers, head=head)
            dataset = self.datasets.get(name.removesuffix(ZARR))
            if dataset is not None:
                return await dataset.zarr_answer(rest, headers, head=head)
        return not_found()

    async def _page(self, path: str, headers: Headers) -> Answer:
        kind, _, name = path.partition("/")
        dataset = self.datasets.get(name.removesuffix(".png"))
        if kind == "thumbnail" and name.endswith(".png") and dataset is not None:
            return await dataset.thumbnail(headers)
        return not_found()


def _changed(file: str | os.PathLike[str] | None) -> tuple[int, ...]:
    """Return what tells one version of a file from another."""
    try:
        facts = os.stat(file or "")  # noqa: PTH116
    except OSError:
        return ()
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


def _told(error: VolumekitError, status: HTTPStatus, text: str) -> Answer:
    """Log what went wrong; whoever asks learns no more than that it did."""
    _LOG.warning("%s", error)
    return failure(status, text)


def _unauthorised() -> Answer:
    answer = failure(HTTPStatus.UNAUTHORIZED, "a token is needed: Authorization: Bearer TOKEN, or /~TOKEN/ in the path")
    answer.headers.append((b"www-authenticate", b"Bearer"))
    return answer
