"""A job in a process that is going to be killed; it notes every task that it starts.

``python -m benchmarks.campaigns.kill_child LOG JOB``: JOB is JSON with the name of a function of `volumekit`, its
arguments and its keywords; LOG gets a line per task.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import volumekit
from volumekit.ops import runners, transfer
from volumekit.ops.plan import Task
from volumekit.ops.runners import Work
from volumekit.ops.seen import Look


def main(log: str, job: str) -> None:
    """Do the job."""
    transfer.TASK_BYTES = 1 << 16  # so little data would be one task
    for kind in (runners.Threads, runners.Processes):
        _note_tasks(kind, Path(log))
    name, arguments, keywords = json.loads(job)
    getattr(volumekit, name)(*arguments, **keywords)


def _note_tasks(kind: Any, log: Path) -> None:
    """Let a runner note what it starts, but for looks whether a finished transfer has anything left to do."""
    begin, submit, works = kind.begin, kind.submit, {}

    def begun(self: Any, work: Work, bar: Any) -> None:
        works[self] = work
        begin(self, work, bar)

    def noted(self: Any, task: Task) -> Future[Any]:
        if not isinstance(works[self], Look):
            with log.open("a") as file:
                file.write(f"{task.number}\n")
        future: Future[Any] = submit(self, task)
        return future

    kind.begin, kind.submit = begun, noted


if __name__ == "__main__":
    main(*sys.argv[1:])
