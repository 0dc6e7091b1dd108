"""Running a plan: tasks in threads, one progress bar, a prompt end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from volumekit.errors import OptionError, VolumekitError
from volumekit.ops.plan import Plan, Stage, Task
from volumekit.volume.progress import progress_bar

Report = Callable[[int], None]
"""Told of bytes done since the last call; raises `Stopped` when the task should end."""

Work = Callable[[Task, Report], None]
"""Does one task. To be run elsewhere it must pickle, so it is an object with ``__call__`` rather than a closure."""


class Stopped(Exception):
    """The job is ending; this task's outcome no longer matters."""


def thread_count(jobs: int | None) -> int:
    """Return how many threads to use: one per core if ``jobs`` is None.

    Raises
    ------
    OptionError
        If it is no positive number.
    """
    if jobs is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise OptionError(f"jobs is {jobs!r}; it is a positive number of threads")
    return jobs


def run(plan: Plan, work: Work, *, jobs: int, progress: bool | None = None, verb: str = "Working") -> None:
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

    Raises
    ------
    VolumekitError
        The first error of a task; no task is started after it, and ``box`` says which one failed. Errors of other
        kinds are noted with the task's box.
    KeyboardInterrupt
        On Ctrl-C, after the tasks under way have noticed.
    """
    with progress_bar(plan.nbytes, verb, progress) as bar:
        runner = _Threads(work, bar)
        for stage in plan.stages:
            runner.run(stage, plan.parallel(stage, jobs))


class _Threads:
    """Runs the tasks of a stage in threads.

    Parameters
    ----------
    work : callable
        Does one task.
    bar : callable or None
        Told of bytes done.
    """

    def __init__(self, work: Work, bar: Callable[[int], object] | None) -> None:
        self._work, self._bar = work, bar
        self._stop, self._lock = threading.Event(), threading.Lock()

    def run(self, stage: Stage, parallel: int) -> None:
        """Do all tasks of a stage, ``parallel`` of them at a time."""
        waiting = iter(stage.tasks)
        running: set[Future[None]] = set()
        with ThreadPoolExecutor(parallel, thread_name_prefix="volumekit-task") as threads:
            try:
                for task in waiting:
                    running.add(threads.submit(self._do, task))
                    if len(running) == parallel:
                        running = _next(running)
                while running:
                    running = _next(running)
            except BaseException:
                self._stop.set()
                raise

    def _do(self, task: Task) -> None:
        try:
            self._report(0)
            self._work(task, self._report)
        except VolumekitError as error:
            error.box = task.box if error.box is None else error.box
            raise
        except Exception as error:
            error.add_note(f"in task {task.number}, {task.box}")
            raise

    def _report(self, count: int) -> None:
        if self._stop.is_set():
            raise Stopped
        if count and self._bar is not None:
            with self._lock:
                self._bar(count)


def _next(running: set[Future[None]]) -> set[Future[None]]:
    """Wait until a task ends; return those still running. Raises the task's error."""
    ended, left = wait(running, return_when=FIRST_COMPLETED)
    for future in ended:
        future.result()
    return left
