"""How long to try, and how long to wait, before a remote storage counts as failed."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from volumekit.errors import OptionError
from volumekit.model.plain import plain

SLOWEST = 32
"""Bytes per second below which an answer counts as silence."""

_SILENCE, _CONNECT = "TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS", "TENSORSTORE_CURL_CONNECT_TIMEOUT_SECONDS"
_LIMIT = "TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES"


@dataclass(frozen=True)
class Retry:
    """How remote storages are asked again; ``storage_options={"retry": Retry(attempts=3)}``.

    What may pass is tried again: 408, 429 and 5xx answers, broken connections, answers that end too soon, silence.
    With the defaults a server that never answers is an error within a minute.

    Attributes
    ----------
    attempts : int
        How often a request is made in all.
    delay : float
        Seconds until the second attempt; it doubles from attempt to attempt, and a random part is added.
    longest : float
        Most seconds between two attempts.
    silence : float
        Seconds without an answer, or between its parts, after which an attempt has failed.
    connect : float
        Seconds after which an attempt to connect has failed.

    Notes
    -----
    TensorStore reads timeouts once per process: ``silence`` and ``connect`` are those of the first remote volume that
    is opened, or of the environment (``TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS``,
    ``TENSORSTORE_CURL_CONNECT_TIMEOUT_SECONDS``). Asking for others later is an error.
    """

    attempts: int = 5
    delay: float = 0.5
    longest: float = 8.0
    silence: float = 10.0
    connect: float = 10.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = plain(getattr(self, field.name))
            object.__setattr__(self, field.name, value)
            number = isinstance(value, int if field.name == "attempts" else int | float)
            if isinstance(value, bool) or not number or not 0 < value < 1e6:
                raise OptionError(f"retry: {field.name} is {value!r}; it is a number above zero")

    def spec(self) -> dict[str, Any]:
        """Return what TensorStore is told."""
        return {
            "max_retries": self.attempts - 1,
            "initial_delay": f"{self.delay}s",
            "max_delay": f"{max(self.delay, self.longest)}s",
        }

    def wait(self, attempt: int) -> float:
        """Return the seconds to wait after a failed attempt, counted from 0."""
        return min(max(self.delay, self.longest), self.delay * 2.0**attempt)


def retry_of(options: Mapping[str, Any]) -> Retry:
    """Return the ``retry`` among storage options, and make its timeouts those of this process.

    Parameters
    ----------
    options : Mapping
        ``retry``: a `Retry`, or a mapping of some of its attributes.

    Raises
    ------
    OptionError
        If it is neither, or the timeouts of this process are others already.
    """
    given = options.get("retry")
    if given is None:
        retry = Retry()
    elif isinstance(given, Retry):
        retry = given
    else:
        retry = _parsed(given)
    _Timeouts.hold(retry, insist=given is not None)
    return retry


def _parsed(given: Any) -> Retry:
    names = [field.name for field in fields(Retry)]
    if not isinstance(given, Mapping) or set(given) - set(names):
        raise OptionError(f"retry is {given!r}; it is a Retry, or a mapping with any of {', '.join(names)}")
    return Retry(**given)


class _Timeouts:
    """The timeouts of this process: TensorStore takes them from the environment when it first makes a request."""

    held: tuple[float, float] | None = None
    lock = threading.Lock()

    @classmethod
    def hold(cls, retry: Retry, *, insist: bool) -> None:
        """Make them those of this process, if there are none yet; else see that they are the same."""
        with cls.lock:
            if cls.held is None:
                wanted = {
                    _SILENCE: max(1, round(retry.silence)),
                    _CONNECT: max(1, round(retry.connect)),
                    _LIMIT: SLOWEST,
                }
                _ask_nobody({name: str(n) for name, n in wanted.items() if insist or name not in os.environ})
                cls.held = retry.silence, retry.connect
            elif insist and cls.held != (retry.silence, retry.connect):
                raise OptionError(
                    f"the timeouts of this process are already silence={cls.held[0]}, connect={cls.held[1]} seconds; "
                    "set them where the first remote volume is opened"
                )


def _ask_nobody(environment: Mapping[str, str]) -> None:
    """Let TensorStore make a request that leads nowhere while these variables are set; no child process gets them."""
    import tensorstore as ts

    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        spec = {"driver": "http", "base_url": "http://127.0.0.1:0", "http_request_retries": {"max_retries": 0}}
        with contextlib.suppress(ValueError):
            ts.KvStore.open(spec).result().read("nothing").result(timeout=10)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
