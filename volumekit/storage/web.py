"""Requests to web servers made in Python: what TensorStore does not do, redirects and questions beside its own."""

from __future__ import annotations

import functools
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from urllib.parse import urljoin, urlsplit

from volumekit.errors import StorageError
from volumekit.storage.answers import Answer
from volumekit.storage.retry import Retry

THREADS = 32
MOST_REDIRECTS = 10
_PASSING = {408, 429, 500, 502, 503, 504}
_MOVED = {301, 302, 303, 307, 308}
_PRIVATE = {"authorization", "cookie"}


@dataclass(frozen=True)
class Reply:
    """An answer: where it came from in the end, its status, headers and body, and after how many attempts."""

    url: str
    status: int
    headers: Message
    body: bytes
    attempts: int = 1

    def answer(self) -> Answer:
        """Return it as a failed request."""
        said = " ".join(self.body[:200].decode("utf-8", "replace").split()) if b"<" not in self.body[:1] else ""
        return Answer(self.status, self.attempts, "", None, said, None)


@functools.cache
def pool() -> ThreadPoolExecutor:
    """Return the threads in which requests wait."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="volumekit-web")


def fetch(url: str, headers: Mapping[str, str], retry: Retry, *, method: str = "GET", redirects: bool = True) -> Reply:
    """Make a request, follow redirects, and try again what may pass.

    Parameters
    ----------
    url : str
        Where.
    headers : Mapping
        What to send; credentials are sent to the server of ``url`` only.
    retry : Retry
        How often.
    method : str
        ``GET`` or ``HEAD``.
    redirects : bool
        Whether to follow redirects.

    Raises
    ------
    StorageError
        If there was no answer, or redirects do not end.
    """
    for attempt in range(retry.attempts):
        try:
            reply = _followed(url, headers, retry, method) if redirects else _once(url, headers, retry, method)
        except StorageError:
            raise
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            problem: Exception = error
        else:
            if reply.status not in _PASSING or attempt + 1 == retry.attempts:
                return Reply(reply.url, reply.status, reply.headers, reply.body, attempt + 1)
            problem = StorageError(f"HTTP status {reply.status}")
        if attempt + 1 < retry.attempts:
            time.sleep(retry.wait(attempt))
    host = urlsplit(url).hostname
    raise StorageError(f"the server {host} does not answer (asked {retry.attempts} times): {problem}") from problem


def _opener() -> urllib.request.OpenerDirector:
    """Return what makes requests; redirects are answers like others here."""
    opener = urllib.request.OpenerDirector()
    for kind in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(kind())
    return opener


_OPENER = _opener()


def _followed(url: str, headers: Mapping[str, str], retry: Retry, method: str) -> Reply:
    sent, first = dict(headers), url
    for _ in range(MOST_REDIRECTS):
        try:
            reply = _once(url, sent, retry, method)
        except OSError as error:
            raise error if url == first else OSError(f"{error} (redirected to {url})") from error
        target = reply.headers.get("Location")
        if reply.status not in _MOVED or not target:
            return reply
        url = _joined(url, target)
        if not same_server(first, url):
            sent = {name: value for name, value in sent.items() if name.lower() not in _PRIVATE}
    raise StorageError(f"more than {MOST_REDIRECTS} redirects, one after the other", url=first)


def _joined(url: str, target: str) -> str:
    """Return where a redirect leads."""
    try:
        found = urljoin(url, target)
        fine = urlsplit(found).scheme in ("http", "https") and bool(urlsplit(found).hostname)
    except ValueError:
        fine = False
    if not fine:
        raise StorageError(f"a redirect leads to {target!r}, which is no web server", url=url)
    return found


def same_server(one: str, other: str) -> bool:
    """Tell whether what one server may know the other may know: the same host, and not less safely."""
    a, b = urlsplit(one), urlsplit(other)
    if a.hostname != b.hostname:
        return False
    return (a.scheme, a.port) == (b.scheme, b.port) or (a.scheme == "http" and b.scheme == "https" and not b.port)


def _once(url: str, headers: Mapping[str, str], retry: Retry, method: str) -> Reply:
    request = urllib.request.Request(url, headers=dict(headers), method=method)
    try:
        with _OPENER.open(request, timeout=max(retry.silence, 0.1)) as reply:
            return Reply(url, reply.status, reply.headers, reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return Reply(url, error.code, error.headers, error.read())
