"""Google Storage.

TensorStore authenticates as one account per process, whoever is found when it first asks, and has no way to be told. So
the first account that is asked for is made the one (`storage.gs_process`); a second one goes through gcsfs. Without
credentials objects are read as any web server's, which leaves the account open. TensorStore also takes a refused
listing, and that of a bucket that does not exist, for an empty one, so that empty listings are looked into.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlencode

from volumekit.errors import StorageError, UnsupportedError
from volumekit.model.url import URL
from volumekit.storage.answers import meaning
from volumekit.storage.base import Future, Store
from volumekit.storage.credentials import check_options, given_secret
from volumekit.storage.credentials_google import GoogleLogin, google_logins
from volumekit.storage.gs_process import GOOGLE, SERVER, Account, server
from volumekit.storage.remote import BucketStore, Way, bucket_and_root
from volumekit.storage.retry import Retry, retry_of
from volumekit.storage.web import Reply, fetch, pool

OPTIONS = ("anonymous", "token", "endpoint", "project", "retry", "secrets")
_ENDPOINTS = ("STORAGE_EMULATOR_HOST", SERVER)
EMULATOR = GoogleLogin("an emulator's (none)", token="emulator")
"""Whom TensorStore takes an emulator's client for: emulators ask nobody who they are."""


@dataclass(frozen=True)
class GsSettings:
    """How a bucket is reached.

    Attributes
    ----------
    bucket, root : str
        The bucket, and what keys begin with.
    logins : tuple of GoogleLogin
        Credentials to try in order.
    endpoint : str, optional
        The server; None for Google's own. One without encryption is an emulator and gets no credentials but those
        given in options.
    project : str, optional
        The project that pays.
    retry : Retry
        How to try again.
    """

    bucket: str
    root: str
    logins: tuple[GoogleLogin, ...]
    endpoint: str | None
    project: str | None
    retry: Retry

    @classmethod
    def of(cls, url: URL, options: Mapping[str, Any]) -> Self:
        """Return the settings that a URL, options and the environment make.

        Raises
        ------
        OptionError
            If they contradict each other, or credentials cannot be read.
        """
        check_options(url, options, OPTIONS)
        bucket, root = bucket_and_root(url)
        endpoint = url.endpoint or options.get("endpoint") or _endpoint()
        if endpoint and "://" not in endpoint:
            endpoint = f"http://{endpoint}"
        endpoint = endpoint.rstrip("/") if endpoint else None
        secrets = given_secret(options.get("secrets"))
        if (endpoint or "").startswith("http://") and secrets is None and not options.get("token"):
            logins: tuple[GoogleLogin, ...] = (EMULATOR,)
        else:
            logins = google_logins(bucket, options, secrets)
        return cls(bucket, root, logins, endpoint, options.get("project"), retry_of(options))

    def way(self, login: GoogleLogin) -> Way:
        """Return the way to ask with a login."""
        if login.anonymous:
            spec = {"driver": "http", "base_url": self.server, "http_request_retries": self.retry.spec()}
            return Way(login.source, spec, f"/{self.bucket}/", writes=False)
        spec = {"driver": "gcs", "bucket": self.bucket, "gcs_request_retries": self.retry.spec()}
        if self.project:
            spec["gcs_user_project"] = {"project_id": self.project}
        return Way(login.source, spec)

    @property
    def server(self) -> str:
        """The server, Google's own if there is no other."""
        return self.endpoint or GOOGLE

    def filesystem_arguments(self) -> dict[str, Any]:
        """Return what ``gcsfs.GCSFileSystem`` is told."""
        login = self.logins[0]
        found = {"token": "anon"} if login == EMULATOR else login.filesystem_arguments()
        if self.endpoint:
            found["endpoint_url"] = self.endpoint
        return {**found, "requester_pays": self.project} if self.project else found


def _endpoint() -> str | None:
    """Return the server that the environment names, if that is not Google's own."""
    named = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)
    return None if named == GOOGLE else named


class GsStore(BucketStore):
    """A folder of a Google Storage bucket.

    Parameters
    ----------
    url : URL
        Where it is.
    settings : GsSettings
        How it is reached.
    """

    def __init__(self, url: URL, settings: GsSettings) -> None:
        self.place, self.settings, self.endpoint = url, settings, settings.endpoint
        self.listable = all(login.askable for login in settings.logins)
        super().__init__(str(url), [settings.way(login) for login in settings.logins], settings.root)

    def opening(self) -> AbstractContextManager[None]:
        """Return what must surround TensorStore's opening of the `native` spec: the server is the environment's."""
        return server(self.settings.endpoint)

    def filesystem_arguments(self) -> Mapping[str, Any]:
        """Return what the bucket's filesystem of fsspec is told."""
        return self.settings.filesystem_arguments()

    def _prove(self) -> Future[None]:
        return pool().submit(self._check, self._at, "\x01")

    def _check(self, n: int, prefix: str) -> None:
        """Fail if a listing does, which TensorStore takes for an empty one; where nobody here can ask, do nothing."""
        reply = self._ask_listing(n, prefix, 1)
        if reply is not None and reply.status not in (401, 403):
            self._names(reply)

    def _ask_listing(self, n: int, prefix: str, most: int, token: str | None = None) -> Reply | None:
        headers = self.settings.logins[n].header()
        if headers is None:
            return None
        query = {"prefix": prefix, "maxResults": most, "fields": "items(name),nextPageToken"}
        more = {"pageToken": token, "userProject": self.settings.project}
        query |= {name: value for name, value in more.items() if value}
        place = f"{self.settings.server}/storage/v1/b/{quote(self.settings.bucket)}/o?{urlencode(query)}"
        return fetch(place, headers, self.settings.retry)

    def _names(self, reply: Reply) -> tuple[Sequence[str], str | None]:
        """Return the names in a listing, and how to get more.

        Raises
        ------
        StorageError, PermissionDeniedError
            If it is none.
        """
        if reply.status == 404:
            raise StorageError(f"there is no bucket {self.settings.bucket!r}; check its name", url=self.url)
        if reply.status != 200:
            kind, told = meaning(reply.answer())
            raise kind(told, url=self.url)
        found = json.loads(reply.body)
        return [item["name"] for item in found.get("items", ())], found.get("nextPageToken")

    def _found(self, n: int, first: bytes) -> Sequence[bytes]:
        if not self.settings.logins[n].anonymous:
            try:
                found = super()._found(n, first)
            except ValueError as error:
                if "Failed to parse" not in str(error):
                    raise
                found = []
            reply = None if found else self._ask_listing(n, first.decode("utf-8", "surrogateescape"), 1)
            if reply is not None:
                self._names(reply)
            return found
        return [*self._pages(n, first)]

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that start with ``prefix``."""
        if not self.listable:
            raise UnsupportedError("listing needs google-auth; run: pip install 'volumekit[gs]'", url=self.url)
        return super().list(prefix)

    def _pages(self, n: int, first: bytes) -> Iterator[bytes]:
        token: str | None = None
        while True:
            reply = self._ask_listing(n, first.decode("utf-8", "surrogateescape"), 1000, token)
            names, token = self._names(reply) if reply is not None else ([], None)
            yield from (name.encode("utf-8", "surrogateescape") for name in names if not name.endswith("/"))
            if not token:
                return


@functools.lru_cache(maxsize=64)
def _check_server(endpoint: str, bucket: str, retry: Retry) -> None:
    """See that a server answers as Google's does: TensorStore 0.1.86 ends the process where it redirects.

    Raises
    ------
    StorageError
        If it does not.
    """
    reply = fetch(f"{endpoint}/storage/v1/b/{quote(bucket)}/o?maxResults=1", {}, retry, redirects=False)
    if reply.status not in (200, 400, 401, 403, 404, 429) and reply.status < 500:
        kind, told = meaning(reply.answer())
        raise kind(f"{endpoint} does not answer as Google Storage does: {told}")


def open_gs(url: URL, *, durable: bool = False, options: Mapping[str, Any] | None = None) -> Store:
    """Open a folder of a bucket: through TensorStore, or through gcsfs where that speaks for another account already.

    Parameters
    ----------
    url : URL
        Where it is.
    durable : bool
        Nothing to Google Storage, where a write counts as done only once it is safe.
    options : Mapping, optional
        ``anonymous``, ``token``, ``secrets``: credentials. ``endpoint``: the server. ``project``: who pays.
        ``retry``: a `storage.retry.Retry`.

    Raises
    ------
    OptionError
        If credentials cannot be read.
    MissingExtraError
        If gcsfs is needed and not installed.
    """
    settings = GsSettings.of(url, options or {})
    if settings.endpoint is not None:
        try:
            _check_server(settings.endpoint, settings.bucket, settings.retry)
        except StorageError as error:
            error.url = str(url)
            raise
    first = settings.logins[0]
    if first.anonymous or Account.claim(first):
        return GsStore(url, settings)
    from volumekit.storage.fsspec import FsspecStore

    return FsspecStore(url, durable=durable, options=settings.filesystem_arguments())
