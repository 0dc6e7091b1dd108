"""An eye on the source of a job while it runs: what is damaged in it, and whether it changes."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from volumekit.ops.plan import Task
from volumekit.ops.resume import check_unchanged, mark_of

if TYPE_CHECKING:
    from volumekit.ops.journal import Journal
    from volumekit.volume.volume import Volume

log = logging.getLogger(__name__)

SECONDS = 60.0
"""How often to look whether the source has changed."""

SHOWN = 10


class Watch:
    """Told of each task that is done; see `volumekit.ops.run.run`.

    Parameters
    ----------
    volume : Volume
        The source.
    journal : Journal
        The job's; gets the damaged images.
    """

    def __init__(self, volume: Volume, journal: Journal) -> None:
        self._volume, self._journal = volume, journal
        self._looked = time.monotonic()

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
        if time.monotonic() - self._looked >= SECONDS:
            self._look()

    def end(self) -> dict[str, Any]:
        """Look once more when all is done; return what the provenance should tell.

        Raises
        ------
        StorageError
            If the source has changed.
        """
        self._look()
        damaged = self._journal.damaged
        if not damaged:
            return {"damaged": None}
        names = ", ".join(sorted(damaged)[:SHOWN]) + (", ..." if len(damaged) > SHOWN else "")
        what = "1 image is damaged" if len(damaged) == 1 else f"{len(damaged)} images are damaged"
        log.warning("%s and left out, voxels there are %s: %s", what, self._background(), names)
        return {"damaged": dict(sorted(damaged.items()))}

    def _background(self) -> int | float:
        return self._volume.array().options.background

    def _look(self) -> None:
        check_unchanged(self._volume, self._journal.job["state"])
        self._looked = time.monotonic()
