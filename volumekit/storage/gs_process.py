"""What TensorStore's driver of Google Storage takes from the process: one account for all, and the server.

It takes both from environment variables, the account when it first asks anything, the server when a store is opened.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import tensorstore as ts

from volumekit.storage.context import context
from volumekit.storage.credentials_google import GoogleLogin

GOOGLE = "https://storage.googleapis.com"
SERVER = "TENSORSTORE_GCS_HTTP_URL"
_TOKEN, _FILE = "GOOGLE_AUTH_TOKEN_FOR_TESTING", "GOOGLE_APPLICATION_CREDENTIALS"
_NOWHERE = "http://127.0.0.1:0"
_CHATTER = re.compile(
    rb"^(?:[EIW]\d{4} [\d:.]+ +\d+ \w*(?:auth|credential|gce)\w*\.cc:|WARNING: All log messages before)"
)

_LOCK = threading.RLock()


class Account:
    """Whom TensorStore speaks for in this process."""

    login: GoogleLogin | None = None

    @classmethod
    def claim(cls, login: GoogleLogin) -> bool:
        """Make a login that of the process, if there is none yet; tell whether it is."""
        with _LOCK:
            if cls.login is None and login.understood:
                _resolve(login)
                cls.login = login
            return cls.login == login


def _resolve(login: GoogleLogin) -> None:
    """Let TensorStore find a login, by a request that leads nowhere."""
    with contextlib.ExitStack() as stack:
        wanted: dict[str, str | None] = {SERVER: _NOWHERE, _TOKEN: login.token or None, _FILE: None}
        if login.document:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="volumekit-"))
            file = Path(folder) / "account.json"
            file.touch(mode=0o600)
            file.write_text(login.document)
            wanted[_FILE] = str(file)
        stack.enter_context(_environment(wanted))
        stack.enter_context(hushed())
        once = {"driver": "gcs", "bucket": "nowhere", "gcs_request_retries": {"max_retries": 0}}
        store = ts.KvStore.open(once, context=context()).result()
        with contextlib.suppress(ValueError):
            store.read("nothing").result(timeout=60)


@contextlib.contextmanager
def server(url: str | None) -> Iterator[None]:
    """Open stores of this server meanwhile, None for Google's own."""
    with _LOCK:
        if url is None and os.environ.get(SERVER) in (None, GOOGLE):
            yield
            return
        # Not removed afterwards: C code may read the environment at any time, and what is replaced stays.
        before = os.environ.get(SERVER, GOOGLE)
        os.environ[SERVER] = url or GOOGLE
        try:
            yield
        finally:
            os.environ[SERVER] = before


@contextlib.contextmanager
def _environment(wanted: Mapping[str, str | None]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in wanted}
    _set(wanted)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keep what TensorStore logs about accounts from standard error; whatever else is written there comes out after."""
    try:
        saved = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    if sys.stderr is not None:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(saved, 2)
                file.seek(0)
                for line in file:
                    if not _CHATTER.match(line):
                        os.write(2, line)
    finally:
        os.close(saved)
