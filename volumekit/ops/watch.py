"""An eye on the source of a job while it runs: what is damaged in it, and whether it changes."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from volumekit.ops.plan import Task
from volumekit.ops.resume import check_unchanged

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
        for name, reason in damaged.items():
            if name not in self._journal.damaged:
                log.info("%s is damaged and left out: %s", name, reason)
            self._journal.damaged[name] = reason
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
            return {}
        names = ", ".join(sorted(damaged)[:SHOWN]) + (", ..." if len(damaged) > SHOWN else "")
        log.warning(
            "%d images are damaged and left out, their voxels are %s: %s", len(damaged), self._background(), names
        )
        return {"damaged": dict(sorted(damaged.items()))}

    def _background(self) -> int | float:
        return self._volume.array().options.background

    def _look(self) -> None:
        check_unchanged(self._volume, self._journal.job["state"])
        self._looked = time.monotonic()
