"""What is done of a job, kept beside its result, so that the same command goes on where it was cut off.

The journal is an object in the target's own store, written before anything else and after every task. It is
rewritten whole, atomically, so that a process may be killed at any moment: at most the tasks under way are done again,
and as they write whole chunks, to the same result.
"""

from __future__ import annotations

import json
import time
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from volumekit.errors import MetadataError, TargetExistsError
from volumekit.ops.changes import STATE, changed

if TYPE_CHECKING:
    from volumekit.storage.base import Store

FOLDER = ".volumekit"
_TYPE = "volumekit_journal_v1"


@dataclass
class Journal:
    """The journal of one job.

    Parameters
    ----------
    store : Store
        Where it is kept.
    key : str
        Its key there.
    job : Mapping
        What the job is: everything that its result depends on, as JSON values.
    plan : Mapping
        What the job was cut into tasks by; a later run cuts it in the same way.
    done : set of int
        Numbers of the tasks that are done.
    damaged : dict
        Images that could not be read and were left out, with what is wrong with them.
    marks : dict
        Sizes and times of those, and of images that tasks failed for.
    lacking : set of int
        Numbers of the tasks that read any of these images, done or not.
    stamps : dict, optional
        Marks of some of the chunks or shards that it reads, see `volumekit.ops.stamps`; None: not known yet.
    seen : int, optional
        Of a transfer: a checksum of the marks of all that the tasks done have read; None: not known.
    cleared : bool
        Whether the target is ready for the first task: what was there before is removed.
    finished : bool
        Whether all is done.
    saved : bool
        Whether it is stored: the job has begun.
    outdated : str, optional
        What has changed of the source since the same job was finished, if this one is new for that.
    kept : bool
        Whether it stays when all is done; if images were left out it stays anyway, so that these can be done again.
    """

    store: Store
    key: str
    job: Mapping[str, Any]
    plan: Mapping[str, Any] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    damaged: dict[str, str] = field(default_factory=dict)
    marks: dict[str, tuple[int, int]] = field(default_factory=dict)
    lacking: set[int] = field(default_factory=set)
    cleared: bool = False
    finished: bool = False
    saved: bool = False
    kept: bool = True
    stamps: dict[str, str] | None = None
    seen: int | None = None
    outdated: str | None = None

    def __post_init__(self) -> None:
        self._spans = _spans(self.done)  # half-open, ascending: sets of a million are slow to sort

    @classmethod
    def find(cls, store: Store, key: str) -> Journal | None:
        """Read a journal; None if there is none.

        Raises
        ------
        MetadataError
            If it is damaged.
        """
        value = store.read(key).result()
        if value is None:
            return None
        try:
            record = json.loads(value.data)
            if record["@type"] != _TYPE:
                raise ValueError(f"@type is {record['@type']!r}")
            return cls(
                store,
                key,
                dict(record["job"]),
                dict(record["plan"]),
                _numbers(record["done"]),
                dict(record.get("damaged", {})),
                {name: (int(size), int(time)) for name, (size, time) in record.get("marks", {}).items()},
                _numbers(record.get("lacking", [])),
                bool(record["cleared"]),
                bool(record["finished"]),
                saved=True,
                stamps=_stamps(record.get("stamps")),
                seen=_checksum(record.get("seen")),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise MetadataError(
                f"the journal of the job is damaged ({error}); delete it, or use overwrite=True (--overwrite) to start "
                "over",
                url=store.url,
                key=key,
            ) from error

    def is_of(self, job: Mapping[str, Any]) -> bool:
        """Tell whether this is the journal of a job with these parameters."""
        return bool(self.job == json.loads(json.dumps(job)))

    def check(self, job: Mapping[str, Any]) -> None:
        """Refuse to go on with another job.

        Raises
        ------
        TargetExistsError
            If the parameters differ; the message says which.
        """
        wanted = json.loads(json.dumps(job))
        changes = changed(self.job, wanted)
        if not changes:
            return
        if changes == [STATE]:
            self.refuse(STATE)
        self._refuse("with other parameters is here: " + "; ".join(changes), "Repeat its own command to finish it")

    def refuse(self, change: str) -> NoReturn:
        """Refuse to go on because the source has changed.

        Raises
        ------
        TargetExistsError
            Always.
        """
        self._refuse(f"of this very command, but {change}", "Put the source back as it was to finish it")

    def _refuse(self, what: str, advice: str) -> NoReturn:
        raise TargetExistsError(
            f"an unfinished job {what}. {advice}, or use overwrite=True (--overwrite) to start over",
            url=self.store.url,
            key=self.key,
        )

    def mark(self, numbers: Iterable[int]) -> None:
        """Note that tasks are done; many at a time are one write."""
        for number in numbers:
            if number not in self.done:
                self.done.add(number)
                _insert(self._spans, number)
        self.save()

    def reopen(self, job: Mapping[str, Any], marks: Mapping[str, tuple[int, int]]) -> None:
        """Let the tasks that read damaged images be done again; is not stored before the next `save`.

        Which they are stays known, and so do their images, by the ``marks`` that these have now: as long as the job is
        not finished they may be replaced once more.
        """
        self.job, self.finished, self.damaged, self.marks = dict(job), False, {}, dict(marks)
        self.done -= self.lacking
        self._spans = _spans(self.done)

    def restart(self) -> None:
        """Let all tasks be done again: what they stored is not right."""
        self.done, self._spans, self.seen = set(), [], None
        self.save()

    def clear(self) -> None:
        """Note that the target is ready for the first task."""
        self.cleared = True
        self.save()

    def finish(self) -> None:
        """Note that all is done."""
        self.finished = True
        self.marks = {name: mark for name, mark in self.marks.items() if name in self.damaged}
        self.lacking = self.lacking if self.damaged else set()
        if self.kept or self.damaged:
            self.save()
        else:
            self.remove()

    def save(self) -> None:
        """Write it."""
        record = {
            "@type": _TYPE,
            "job": self.job,
            "plan": self.plan,
            "done": self._spans,
            "damaged": self.damaged,
            "marks": self.marks,
            "lacking": _spans(self.lacking),
            **({} if self.stamps is None else {"stamps": self.stamps}),
            **({} if self.seen is None else {"seen": self.seen}),
            "cleared": self.cleared,
            "finished": self.finished,
            "changed": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        self.store.commit({self.key: json.dumps(record, indent=1).encode()}).result()
        self.saved = True

    def remove(self) -> None:
        """Delete it."""
        self.store.commit({self.key: None}).result()


def _stamps(found: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if found is None else {str(name): str(mark) for name, mark in found.items()}


def _checksum(found: Any) -> int | None:
    return found if isinstance(found, int) else None


def _numbers(spans: Iterable[tuple[int, int]]) -> set[int]:
    return {number for low, high in spans for number in range(low, high)}


def _spans(numbers: Iterable[int]) -> list[list[int]]:
    """Return numbers as ascending half-open ranges."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        _insert(spans, number)
    return spans


def _insert(spans: list[list[int]], number: int) -> None:
    """Add a number that is not in them to ascending half-open ranges."""
    at = bisect_right(spans, [number])
    after, before = at < len(spans) and spans[at][0] == number + 1, at > 0 and spans[at - 1][1] == number
    if before and after:
        spans[at - 1][1] = spans.pop(at)[1]
    elif before:
        spans[at - 1][1] = number + 1
    elif after:
        spans[at][0] = number
    else:
        spans.insert(at, [number, number + 1])
