"""What a transfer has read, as one number: whether anything is left to do when it is asked for once more.

Sums of checksums do not depend on the order of tasks; equal sums are taken for equal sources.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volumekit.engine.marks import marks, objects_of
from volumekit.ops.plan import Plan, Task
from volumekit.ops.run import run
from volumekit.ops.runners import Report

if TYPE_CHECKING:
    from volumekit.engine.array import LevelArray
    from volumekit.model.bbox import Bbox
    from volumekit.ops.journal import Journal
    from volumekit.ops.watch import Guard
    from volumekit.volume.volume import Volume

_MOST = 2**64


def checksum(array: LevelArray, box: Bbox) -> int | None:
    """Return a checksum of the marks of all chunks, or shards, that a box touches; None if the storage does not tell.

    Raises
    ------
    PermissionDeniedError, StorageError
        If one cannot be asked for.
    """
    total = 0
    for name, mark in marks(array, objects_of(array, array.keys(box))):
        if mark is None:
            return None
        total += int.from_bytes(hashlib.blake2b(f"{name}\0{mark}".encode(), digest_size=8).digest(), "little")
    return total % _MOST


def add(seen: int | None, more: int | None) -> int | None:
    """Return the checksum of two parts together."""
    return None if seen is None or more is None else (seen + more) % _MOST


@dataclass(frozen=True)
class Seen:
    """Takes what the tasks of a transfer have read: see `volumekit.ops.run.run`.

    Attributes
    ----------
    record : Journal
        Where it is kept.
    guard : Guard
        Told of the tasks as well.
    """

    record: Journal
    guard: Guard

    def __call__(self, task: Task, found: int | None) -> None:
        """Take what one has read; errors as of the guard."""
        self.record.seen = add(self.record.seen, found)
        self.guard(task, found)


@dataclass(frozen=True)
class Look:
    """Asks for the chunks that tasks of a transfer read; calling it does that for one task.

    Attributes
    ----------
    source : Volume
        The source.
    mips : tuple of int
        Which level each stage reads.
    """

    source: Volume
    mips: tuple[int, ...]

    def __call__(self, task: Task, report: Report) -> int | None:
        """Return the checksum of what a task reads: see `volumekit.ops.run.Work`."""
        array = self.source.array(self.mips[task.stage])
        found = checksum(array, task.box)
        report(int(task.box.volume()) * array.level.channels * array.level.dtype.itemsize)
        return found

    def unchanged(self, plan: Plan, record: Journal, *, jobs: int, progress: bool | None) -> bool:
        """Tell whether all chunks of the source are surely as the tasks of a finished journal found them.

        Raises
        ------
        PermissionDeniedError, StorageError
            If they cannot be asked for.
        """
        if record.seen is None or record.done != {task.number for task in plan.tasks}:
            return False
        now: list[int | None] = [0]

        def collect(task: Task, found: int | None) -> None:
            now[0] = add(now[0], found)

        run(plan, self, jobs=jobs, progress=progress, verb="Looking", collect=collect)
        return now[0] == record.seen
