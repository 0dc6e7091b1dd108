"""An eye on the source of a job while it runs: what is damaged in it, and whether it changes."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from volumekit.errors import PermissionDeniedError, StorageError
from volumekit.formats.stack import Stack
from volumekit.ops.plan import Plan, Task
from volumekit.ops.pyramid import Pass, corners
from volumekit.ops.resume import fingerprint, mark_of
from volumekit.ops.stamps import changes, stored_levels, told

if TYPE_CHECKING:
    from volumekit.ops.journal import Journal
    from volumekit.volume.volume import Volume

log = logging.getLogger(__name__)

SECONDS = 60.0
"""How often to look whether the source has changed."""

SHOWN = 10


class Guard:
    """Looks, as tasks are done, whether the source is still what it was when the job began; see `ops.run.run`.

    Parameters
    ----------
    volume : Volume
        The source.
    mips : sequence of int
        Levels of it that are read.
    stamps : Mapping
        Marks of chunks or shards from when the job began, see `ops.stamps`.
    state : str, optional
        Of images, the `fingerprint` from then.
    advice : str
        What to do when it has changed.
    """

    def __init__(
        self,
        volume: Volume,
        mips: Sequence[int],
        *,
        stamps: Mapping[str, str],
        state: str | None = None,
        advice: str = "overwrite=True (--overwrite) starts over",
    ) -> None:
        self._volume, self._mips, self._stamps, self._advice = volume, mips, stamps, advice
        images = isinstance(volume.array().fmt, Stack)
        self._state = state if images else None
        self._levels = None if images else stored_levels(volume, mips)
        self._looked = time.monotonic()

    def __call__(self, task: Task, result: Any) -> None:
        """Look, if it is a while since that was done; the source need not answer.

        Raises
        ------
        StorageError
            If it has changed.
        """
        if time.monotonic() - self._looked >= SECONDS:
            self._looked, reason = time.monotonic(), None
            with suppress(PermissionDeniedError, StorageError):
                reason = self._change()
            self._refuse(reason)

    def look(self) -> None:
        """Look.

        Raises
        ------
        StorageError
            If the source has changed.
        PermissionDeniedError, StorageError
            If it cannot be told.
        """
        self._refuse(self._change())

    def _change(self) -> str | None:
        """Return what has changed."""
        if self._state is not None and fingerprint(self._volume) != self._state:
            return "its files have other sizes or times than when the job began"
        names = changes(self._volume, self._stamps)
        if names:
            return told(names)
        if self._levels is not None and stored_levels(self._volume, self._mips) != self._levels:
            return "its metadata say something else of the levels that are read"
        return None

    def _refuse(self, reason: str | None) -> None:
        if reason is not None:
            raise StorageError(
                f"the source changed while it was read: {reason}. {self._advice}", url=self._volume.cloudpath
            )


class Watch(Guard):
    """Also takes what tasks found damaged, of images.

    Parameters
    ----------
    volume : Volume
        The source.
    journal : Journal
        The job's; gets the damaged images.
    plan : Plan
        Its tasks; those of the first stage read the source.
    axis : int
        Along which axis of the result images follow one another.
    shift : sequence of int
        What was added to coordinates of the result.
    """

    def __init__(self, volume: Volume, journal: Journal, plan: Plan, axis: int, shift: Sequence[int]) -> None:
        super().__init__(volume, [volume.mip], stamps=journal.stamps or {}, state=journal.job["state"])
        self._journal = journal
        self._first, self._axis, self._shift = plan.stages[0], axis, shift[axis]

    def __call__(self, task: Task, damaged: dict[str, str]) -> None:
        """Take what a task found damaged.

        Raises
        ------
        StorageError
            If the source has changed.
        """
        journal = self._journal
        for name, reason in damaged.items():
            if name not in journal.damaged:
                log.info("%s is damaged and left out: %s", name, reason)
                journal.marks[name] = mark_of(self._volume, name)
            journal.damaged[name] = reason
        if damaged or (task.stage and journal.damaged):  # later stages read what the first one left
            journal.lacking.add(task.number)
        super().__call__(task, damaged)

    def failed(self, task: Task, error: BaseException) -> None:
        """Take a task that failed: the images to blame may be replaced, if all that read them is done again."""
        fmt, journal = self._volume.array().fmt, self._journal
        if not isinstance(fmt, Stack):
            return
        blamed = {getattr(error, "key", None), *getattr(error, "damaged", ())}
        for name in [name for name in fmt.files if name in blamed and name not in journal.marks]:
            self._blame(fmt, name)
            journal.save()

    def _blame(self, fmt: Stack, name: str) -> None:
        """Note an image, and the tasks that read it."""
        low, high = (corner[2] for corner in corners(fmt.levels[0].bounds))
        planes = [z + self._shift for z in range(low, high) if fmt.file(z) == name]
        assert isinstance(self._first, Pass)
        for other in self._first.tasks:
            start, stop = (corner[self._axis] for corner in corners(self._first.source(other.box)))
            if any(start <= z < stop for z in planes):
                self._journal.lacking.add(other.number)
        self._journal.marks[name] = mark_of(self._volume, name)

    def end(self) -> dict[str, Any]:
        """Look once more when all is done; return what the provenance should tell.

        Raises
        ------
        StorageError
            If the source has changed.
        """
        self.look()
        damaged = self._journal.damaged
        if not damaged:
            return {"damaged": None}
        names = ", ".join(sorted(damaged)[:SHOWN]) + (", ..." if len(damaged) > SHOWN else "")
        what = "1 image is damaged" if len(damaged) == 1 else f"{len(damaged)} images are damaged"
        log.warning("%s and left out, voxels there are %s: %s", what, self._background(), names)
        return {"damaged": dict(sorted(damaged.items()))}

    def _background(self) -> int | float:
        return self._volume.array().options.background
