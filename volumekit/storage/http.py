"""Web servers: read only, never listed."""

from __future__ import annotations

import base64
import posixpath
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from volumekit.codecs.compression import decompress
from volumekit.errors import OptionError, StorageError, UnsupportedError
from volumekit.model.url import URL
from volumekit.storage.answers import meaning, parse_answer
from volumekit.storage.base import Future, Value, chain, done, then
from volumekit.storage.credentials import ANONYMOUS, check_options, given_secret
from volumekit.storage.headers import ENCODINGS
from volumekit.storage.remote import RemoteStore, Way
from volumekit.storage.retry import Retry, retry_of
from volumekit.storage.web import Reply, fetch, pool, same_server

OPTIONS = ("headers", "token", "user", "password", "retry", "secrets")
_SAFE = "/~!$&'()*+,;=:@"
_GONE = 410
_MOST_MOVES = 5


class HttpStore(RemoteStore):
    """A folder of a web server.

    Redirects are followed: where they lead to another folder, that is read instead; where they lead elsewhere for each
    object, objects are fetched one by one in Python. Credentials go to the server of the URL only.

    Parameters
    ----------
    url : URL
        Where it is; its query goes along with every request. ``user:password@`` before the host is basic
        authentication.
    durable : bool
        Nothing here.
    options : Mapping, optional
        ``headers``: more of them; ``token``: a bearer token; ``user`` and ``password``: basic authentication;
        ``secrets``: any of these; ``retry``: a `storage.retry.Retry`.
    """

    writable = listable = conditional = False

    def __init__(self, url: URL, *, durable: bool = False, options: Mapping[str, Any] | None = None) -> None:
        options = options or {}
        check_options(url, options, OPTIONS)
        host, _, path = url.path.partition("/")
        account, _, host = host.rpartition("@")
        self._retry: Retry = retry_of(options)
        self._headers, who = _headers(options, account)
        self._query, self._moves, self._scattered = url.query, 0, False
        self._moving = threading.Lock()
        root = unquote(path, errors="surrogateescape").strip("/")
        root = f"{posixpath.normpath(root)}/" if root else ""
        shown = f"{url.protocol}://{host}/{path}".rstrip("/")
        self._who = who
        super().__init__(shown, [self._way(f"{url.protocol}://{host}")], root)

    def _way(self, server: str) -> Way:
        spec = {
            "driver": "http",
            "base_url": server + ("" if self._query is None else f"?{self._query}"),
            "headers": [f"{name}: {value}" for name, value in self._headers.items()],
            "http_request_retries": self._retry.spec(),
        }
        self._server = server
        return Way(self._who, spec, "/")

    def native(self) -> dict[str, Any] | None:  # type: ignore[override]
        """Return the spec of this store, None if each object is elsewhere."""
        return None if self._scattered else super().native()

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read a key, or a range of it."""
        if self._scattered:
            return pool().submit(self._fetch, key, start, stop)

        def rescue(error: Exception) -> Future[Value | None] | None:
            answer = parse_answer(str(error.__cause__ or error))
            if answer is not None and answer.status == _GONE:
                return done(None)
            if answer is None or not answer.redirected:
                return None
            return chain(pool().submit(self._follow, key), lambda _: self.read(key, start, stop))

        return chain(super().read(key, start, stop), done, rescue=rescue)

    def size(self, key: str) -> Future[int | None]:
        """Return the number of bytes of a key: servers tell it, unless they compress on the way."""

        def told(reply: Reply | None) -> Future[int | None]:
            if reply is None:
                return done(None)
            length = reply.headers.get("Content-Length") or ""
            if length.isdecimal() and not reply.headers.get("Content-Encoding"):
                return done(int(length))
            return then(self.read(key), lambda value: value and len(value.data))

        return chain(pool().submit(self._asked, key, "HEAD", {}), told)

    def sends_ranges(self, key: str) -> bool:
        """Tell whether the server sends a part of an object that is there, rather than all of it to be cut here."""
        reply = self._asked(key, "GET", {"Range": "bytes=0-0"})
        return reply is None or reply.status == 206

    def list(self, prefix: str = "") -> Iterator[str]:
        """Fail: web servers have no listings."""
        raise UnsupportedError("a web server cannot be listed", url=self.url)

    def _address(self, key: str) -> str:
        query = "" if self._query is None else f"?{self._query}"
        path = quote(self._full(key).encode("utf-8", "surrogateescape"), safe=_SAFE)
        return f"{self._server}/{path}{query}"

    def _named(self, key: str, method: str, more: Mapping[str, str]) -> Reply:
        """Make a request; what goes wrong names the key."""
        try:
            return fetch(self._address(key), {**self._headers, **more}, self._retry, method=method)
        except StorageError as error:
            error.url, error.key = self.url, key
            raise

    def _follow(self, key: str) -> None:
        """Find out where a key is instead; if all others are beside it, go there."""
        before = self._server, self._root
        asked = self._address(key)
        found = self._named(key, "HEAD", {}).url
        with self._moving:
            if (self._server, self._root) != before or self._scattered:
                return
            self._moves += 1
            place = urlsplit(found)
            path = unquote(place.path, errors="surrogateescape").removeprefix("/")
            if not path.endswith(f"/{key}") or (self._moves > _MOST_MOVES) or place.query != (self._query or ""):
                self._scattered = True
                return
            if not same_server(asked, found):
                self._headers = {}
            self._root = path.removesuffix(key)
            self._ways, self._opened = (self._way(f"{place.scheme}://{place.netloc}"),), {}
            self._kv = self._store(0)

    def _fetch(self, key: str, start: int | None, stop: int | None) -> Value | None:
        """Read a key in Python, wherever redirects lead."""
        if (start, stop) == (0, 0):
            reply = self._asked(key, "HEAD", {})
            return None if reply is None else Value(b"", _stamp(reply))
        plain = start is None or (start >= 0 and (stop is None or start < stop)) or (start < 0 and stop is None)
        asked = _range(start, stop) if plain else {}
        reply = self._asked(key, "GET", asked)
        if reply is not None and asked and reply.headers.get("Content-Encoding"):
            reply, asked = self._asked(key, "GET", {}), {}
        if reply is None:
            return None
        if reply.status == 416:
            return self._beyond_by_hand(key, slice(start, stop), reply)
        data = _plain(reply)
        return Value(data if reply.status == 206 else data[slice(start, stop)], _stamp(reply))

    def _beyond_by_hand(self, key: str, wanted: slice, reply: Reply) -> Value | None:
        """Return what a range beyond the end holds: nothing, unless the object is stored compressed."""
        whole = self._asked(key, "GET", {})
        if whole is None or not whole.headers.get("Content-Encoding"):
            return None if whole is None else Value(b"", _stamp(reply))
        return Value(_plain(whole)[wanted], _stamp(whole))

    def _asked(self, key: str, method: str, more: Mapping[str, str]) -> Reply | None:
        reply = self._named(key, method, more)
        if reply.status in (404, _GONE):
            return None
        if reply.status not in ((200, 206, 416) if "Range" in more else (200,)):
            kind, told = meaning(reply.answer())
            raise kind(told, url=self.url, key=key)
        return reply


def _range(start: int | None, stop: int | None) -> dict[str, str]:
    if start is not None and start < 0:
        return {"Range": f"bytes={start}"}
    if stop is None:
        return {"Range": f"bytes={start}-"} if start else {}
    return {"Range": f"bytes={start or 0}-{stop - 1}"}


def _plain(reply: Reply) -> bytes:
    encoding = (reply.headers.get("Content-Encoding") or "identity").strip().lower().removeprefix("x-")
    if encoding == "identity":
        return reply.body
    if encoding not in ENCODINGS:
        raise UnsupportedError(f"an object with the Content-Encoding {encoding!r}, which nothing here undoes")
    return decompress(reply.body, encoding)


def _stamp(reply: Reply) -> bytes:
    return b"\0" + str(reply.headers.get("ETag") or "").encode("latin-1", "replace")


def _headers(options: Mapping[str, Any], account: str) -> tuple[dict[str, str], str]:
    """Return the headers of every request, and whose credentials are in them.

    Raises
    ------
    OptionError
        If there are several credentials, or something that cannot be sent.
    """
    headers = options.get("headers") or {}
    if not isinstance(headers, Mapping):
        raise OptionError(f"headers is {type(headers).__name__}; it is a dictionary of texts")
    given = {**options, **(given_secret(options.get("secrets")) or {})}
    user, password = given.get("user"), given.get("password")
    if account and user is None:
        user, _, password = (unquote(part) for part in account.partition(":"))
    found, who = dict(headers), ANONYMOUS
    if given.get("token"):
        found["Authorization"], who = f"Bearer {given['token']}", "a bearer token"
    elif user is not None:
        packed = base64.b64encode(f"{user}:{password or ''}".encode()).decode()
        found["Authorization"], who = f"Basic {packed}", f"the password of {user}"
    elif any(str(name).lower() in ("authorization", "cookie") for name in found):
        who = "those in the headers given"
    if given.get("token") and user is not None:
        raise OptionError("both a token and a password are given; one of them goes into the Authorization header")
    for name, value in found.items():
        fine = isinstance(name, str) and isinstance(value, str) and (name + value).isprintable()
        if not (fine and name and name.isascii() and not set(name) & set(": ")):
            raise OptionError(f"the header {name!r} cannot be sent")
    return found, who
