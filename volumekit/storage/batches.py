"""Changes of one object, made together: what arrives while the object is being rewritten waits for the next time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from concurrent.futures import Future as _Future
from typing import NamedTuple

from volumekit.storage.base import Change, Future, done, failed, settle, until

Stamps = Mapping[str, bytes]


class Job(NamedTuple):
    """Changes that are made together or not at all; see `Store.update` and `Store.commit`."""

    changes: Mapping[str, Change]
    if_match: bytes | None = None
    executor: Executor | None = None


Work = Callable[[str, Sequence[Job]], Future[Sequence[Stamps | Exception]]]
"""Makes changes of the object of that name, no two of the same key; tells what became of each job."""


class Batches:
    """Hands the jobs of each object to a function: one call at a time, with all jobs that have come meanwhile.

    Parameters
    ----------
    work : callable
        Makes the changes.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._waiting: dict[str, list[tuple[Job, _Future[Stamps]]]] = {}
        self._lock = threading.Lock()

    def add(self, name: str, job: Job) -> Future[Stamps]:
        """Return a future of the new stamps; an object that is at rest is worked on at once."""
        out: _Future[Stamps] = _Future()
        with self._lock:
            busy = name in self._waiting
            self._waiting.setdefault(name, []).append((job, out))
        if not busy:
            self._work_on(name)
        return out

    def _work_on(self, name: str) -> None:
        """Do batch after batch until nothing waits."""
        until(lambda: self._next(name))

    def _next(self, name: str) -> Future[bool | None]:
        """Do one batch; tell when none is left."""
        batch = self._take(name)
        if not batch:
            return done(True)
        try:
            working = self._work(name, [job for job, _ in batch])
        except Exception as error:
            working = failed(error)
        told: _Future[bool | None] = _Future()

        def finish(finished: Future[Sequence[Stamps | Exception]]) -> None:
            _tell(batch, finished)
            told.set_result(None)

        working.add_done_callback(finish)
        return told

    def _take(self, name: str) -> list[tuple[Job, _Future[Stamps]]]:
        """Take the jobs that wait, up to the first that changes what another one does; forget an object at rest."""
        with self._lock:
            waiting, keys, count = self._waiting[name], set[str](), 0
            while count < len(waiting) and keys.isdisjoint(waiting[count][0].changes):
                keys.update(waiting[count][0].changes)
                count += 1
            batch, self._waiting[name] = waiting[:count], waiting[count:]
            if not batch:
                del self._waiting[name]
            return batch


def _tell(batch: list[tuple[Job, _Future[Stamps]]], finished: Future[Sequence[Stamps | Exception]]) -> None:
    try:
        outcomes = finished.result()
    except Exception as error:
        outcomes = [error] * len(batch)
    for (_, out), outcome in zip(batch, outcomes, strict=True):
        settle(out, (failed(outcome) if isinstance(outcome, Exception) else done(outcome)).result)
