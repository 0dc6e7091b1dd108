"""Running a plan: its tasks in threads, processes or a cluster, one progress bar, a journal, a prompt end."""

from __future__ import annotations

import functools
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, Future
from typing import TYPE_CHECKING, Any

from volumekit.errors import (
    CastError,
    NoSpaceError,
    OptionError,
    PermissionDeniedError,
    ReadOnlyError,
    ShapeError,
    VolumekitError,
)
from volumekit.model.plain import plain
from volumekit.ops.plan import Plan, Stage, Task
from volumekit.ops.runners import Runner, Stopped, Threads, Work, first_done
from volumekit.volume.progress import Bar, progress_bar

if TYPE_CHECKING:
    from volumekit.ops.journal import Journal

log = logging.getLogger(__name__)

HOPELESS = (NoSpaceError, PermissionDeniedError, ReadOnlyError, OptionError, CastError, ShapeError, MemoryError)
"""Errors that other tasks would meet too: nothing is started after one."""

RETRIES = 1

KILLS = 3
"""How often a task is tried again at least that a process died under: it may have been another task's fault."""

Collect = Callable[[Task, Any], object]
Failed = Callable[[Task, BaseException], object]


def thread_count(jobs: int | None) -> int:
    """Return how many threads to use: one per core if ``jobs`` is None.

    Raises
    ------
    OptionError
        If it is no positive number.
    """
    if jobs is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = plain(jobs)
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise OptionError(f"jobs is {jobs!r}; it is a positive number of threads")
    return jobs


def run(
    plan: Plan,
    work: Work,
    *,
    jobs: int,
    progress: bool | None = None,
    verb: str = "Working",
    journal: Journal | None = None,
    runner: Runner | None = None,
    retries: int = RETRIES,
    collect: Collect | None = None,
    failed: Failed | None = None,
) -> None:
    """Do all tasks of a plan.

    Parameters
    ----------
    plan : Plan
        The job.
    work : callable
        Called with each task and with a function to report bytes to, from several threads at once. Calling that
        function with 0 asks whether to go on.
    jobs : int
        How many tasks at once, if the plan's memory allows.
    progress : bool, optional
        Whether to show a bar; None: in interactive sessions, for jobs that take a while.
    verb : str
        What the bar says.
    journal : Journal, optional
        Tasks it knows to be done are left out; each that is done is noted.
    runner : Runner, optional
        Where tasks run; default: threads.
    retries : int
        How often a task that failed is tried again.
    collect : callable, optional
        Told each task that was done and what its work returned, in this thread, before the journal notes it.
    failed : callable, optional
        Told each task that failed for good, and why, in this thread.

    Raises
    ------
    VolumekitError
        The first error of a task that failed for good. ``box`` says which, and its notes list the others; the rest of
        the stage is done, unless the error was one that every task would meet. Errors of other kinds are noted with
        the task's box.
    KeyboardInterrupt
        On Ctrl-C, after the tasks under way have noticed.
    """
    with progress_bar(plan.nbytes, verb, progress) as bar, runner or Threads() as place:
        place.begin(work, bar)
        for stage in plan.stages:
            job = _StageRun(place, stage, journal, retries, bar, collect, failed)
            job.run(functools.partial(place.parallel, plan, stage, jobs))


class _StageRun:
    """The tasks of one stage under way.

    Parameters
    ----------
    place : Runner
        Where they run.
    stage : Stage
        The stage.
    journal : Journal or None
        What is done.
    retries : int
        How often a task is tried again.
    bar : Bar or None
        Told of what was done before, and of failures.
    collect : callable or None
        Told of results.
    failed : callable or None
        Told of what failed for good.
    """

    def __init__(
        self,
        place: Runner,
        stage: Stage,
        journal: Journal | None,
        retries: int,
        bar: Bar | None,
        collect: Collect | None,
        failed: Failed | None,
    ) -> None:
        self._place, self._stage, self._journal, self._retries = place, stage, journal, retries
        self._collect, self._tell_failed, self._bar = collect, failed, bar
        done = journal.done if journal is not None else set()
        self._waiting = deque(task for task in stage.tasks if task.number not in done)
        self._tries: dict[int, int] = {}
        self._done: list[int] = []
        self._failed: list[tuple[Task, BaseException]] = []
        before = len(stage.tasks) - len(self._waiting)
        if before and bar is not None:
            bar.skip(stage.nbytes * before // len(stage.tasks))

    def run(self, parallel: Callable[[], int]) -> None:
        """Do the tasks, as many at a time as ``parallel`` says."""
        running: dict[Future[Any], Task] = {}
        try:
            while self._waiting or running:
                most = parallel()
                while self._waiting and len(running) < most:
                    task = self._waiting.popleft()
                    running[self._place.submit(task)] = task
                done = first_done(running)
                try:
                    for future in done:
                        self._settle(running.pop(future), future)
                finally:
                    self._note()
        except BaseException:
            self._place.stop()
            raise
        if self._failed:
            raise _listed(self._failed, len(self._stage.tasks))

    def _note(self) -> None:
        """Let the journal know what was done since; while it is written more gets done, and is noted together."""
        if self._journal is not None and self._done:
            self._journal.mark(self._done)
        self._done = []

    def _settle(self, task: Task, future: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            if self._collect is not None:
                self._collect(task, future.result())
            self._done.append(task.number)
            return
        _name(error, task)
        if not isinstance(error, Exception) or isinstance(error, (*HOPELESS, Stopped)):
            raise error
        tries = self._tries[task.number] = self._tries.get(task.number, 0) + 1
        if tries <= (max(self._retries, KILLS) if isinstance(error, BrokenExecutor) else self._retries):
            log.info("task %s failed and is tried again: %s", task.number, error)
            self._waiting.append(task)
        else:
            self._failed.append((task, error))
            if self._tell_failed is not None:
                self._tell_failed(task, error)
            if self._bar is not None:
                self._bar.failed()


def _name(error: BaseException, task: Task) -> None:
    """Say in which box something went wrong."""
    if isinstance(error, VolumekitError):
        error.box = task.box if error.box is None else error.box
    else:
        error.add_note(f"in task {task.number}, {task.box}")


def _listed(failed: Sequence[tuple[Task, BaseException]], count: int) -> BaseException:
    """Return the first error, with a list of all that failed in its notes if there are more."""
    first = failed[0][1]
    if len(failed) > 1 or count > 1:
        first.add_note(f"{len(failed)} of {count} tasks failed; the others of this stage are done:")
        for note in _lines(failed):
            first.add_note(note)
    return first


def _lines(failed: Iterable[tuple[Task, BaseException]]) -> Iterable[str]:
    return (f"task {task.number}, {task.box}: {error}" for task, error in failed)
