"""Progress: a bar in terminals and notebooks, a line now and then in logs."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol

WORTH_SHOWING = 64 << 20
"""Bytes below which an interactive session shows no bar of its own accord."""

FIRST, EVERY = 10.0, 30.0
"""Seconds after which a log gets its first line, and then the next ones."""


class Bar(Protocol):
    """Something that is told how far a job is."""

    def __call__(self, count: int) -> object:
        """Take bytes that were done since the last call."""

    def skip(self, count: int) -> None:
        """Take bytes that were done before the job began this time; they say nothing of its rate."""

    def failed(self) -> None:
        """Count something that failed."""


def interactive() -> bool:
    """Tell whether somebody is watching: a Python prompt or a notebook."""
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules


def progress_bar(total: int, verb: str, wanted: bool | None) -> contextlib.AbstractContextManager[Bar | None]:
    """Return a context that shows how far a job is while its block runs.

    Parameters
    ----------
    total : int
        Bytes to come.
    verb : str
        What is going on.
    wanted : bool, optional
        None: in interactive sessions, for anything that takes a while.

    Returns
    -------
    context manager
        Gives what is to be called with the bytes done since the last call, or None. In a terminal and in a notebook
        it is a bar with the rate and the time left; where standard error is neither, lines of the same in a log: one
        after 10 s, then one every 30 s, and one at the end.
    """
    if wanted is None:
        wanted = total >= WORTH_SHOWING and interactive()
    if not wanted:
        return _NOTHING
    return _bar(total, verb) if interactive() or sys.stderr.isatty() else _lines(total, verb)


_NOTHING = contextlib.nullcontext()
"""Shared: small reads are over before a context of their own would be made."""


class _Shown:
    """A bar of tqdm's.

    Parameters
    ----------
    bar : tqdm
        The bar.
    """

    def __init__(self, bar: Any) -> None:
        self._bar, self._failed = bar, 0

    def __call__(self, count: int) -> object:
        return self._bar.update(count)

    def skip(self, count: int) -> None:
        """Let the bar begin further on."""
        for name in ("initial", "n", "last_print_n"):
            setattr(self._bar, name, getattr(self._bar, name) + count)
        self._bar.refresh()

    def failed(self) -> None:
        """Show how many failed."""
        self._failed += 1
        self._bar.set_postfix_str(f"{self._failed} failed")


@contextlib.contextmanager
def _bar(total: int, verb: str) -> Iterator[Bar]:
    with _tqdm()(total=total, desc=verb, unit="B", unit_scale=True) as bar:
        yield _Shown(bar)


def _tqdm() -> Any:
    """Return tqdm for where this runs; its bars for notebooks need a package that may be missing."""
    from tqdm import tqdm

    if "ipykernel" in sys.modules:
        with contextlib.suppress(ImportError):
            import ipywidgets  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401
            from tqdm.notebook import tqdm_notebook

            return tqdm_notebook
    return tqdm


class _Lines:
    """Lines in a log.

    Parameters
    ----------
    total : int
        Bytes to come.
    verb : str
        What is going on.
    """

    def __init__(self, total: int, verb: str) -> None:
        self._total, self._verb, self._lock = total, verb, threading.Lock()
        self._done = self._skipped = self._failed = 0
        self._begun = time.monotonic()
        self._next = self._begun + FIRST

    def __call__(self, count: int) -> None:
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now >= self._next:
                self._next = now + EVERY
                self._say(now)

    def skip(self, count: int) -> None:
        """Count what was done before."""
        with self._lock:
            self._done, self._skipped = self._done + count, self._skipped + count

    def failed(self) -> None:
        """Count something that failed."""
        self._failed += 1

    def _say(self, now: float) -> None:
        rate = self._rate(now)
        left = f", {_clock((self._total - self._done) / rate)} left" if rate else ""
        self._write(f", {_amount(rate)}/s{left}")

    def end(self) -> None:
        """Say how it ended."""
        now = time.monotonic()
        self._write(f" in {_clock(now - self._begun)}, {_amount(self._rate(now))}/s")

    def _rate(self, now: float) -> float:
        return (self._done - self._skipped) / max(1e-3, now - self._begun)

    def _write(self, text: str) -> None:
        share = 100 * self._done // self._total if self._total else 100
        failed = f", {self._failed} failed" if self._failed else ""
        line = f"{self._verb}: {share}% of {_amount(self._total)}{text}{failed}"
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - it is what was asked for


def _amount(count: float) -> str:
    """Return bytes as in the field's own units, such as ``"1,234 MB"``."""
    return f"{count / 1e6:,.0f} MB" if count >= 1e7 else f"{count / 1e6:,.2f} MB"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


@contextlib.contextmanager
def _lines(total: int, verb: str) -> Iterator[Bar]:
    lines = _Lines(total, verb)
    try:
        yield lines
    finally:
        lines.end()
