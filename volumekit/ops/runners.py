"""Where tasks run: threads of this process, processes of this machine, a Dask cluster.

All are executors in the manner of `concurrent.futures`; what differs is whether a task can be told to stop (not in a
cluster), and whether it reports bytes while it is under way (only in threads).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from typing import Any, Protocol, Self

from volumekit.errors import OptionError
from volumekit.model.plain import plain
from volumekit.ops.plan import Plan, Stage, Task

Report = Callable[[int], None]
"""Told of bytes done since the last call; raises `Stopped` when the task should end."""

Work = Callable[[Task, Report], Any]
"""Does one task; what it returns is told to whoever collects.

To be run elsewhere it must pickle, so it is an object with ``__call__`` rather than a closure."""

Bar = Callable[[int], object]

PATIENCE = 5.0
"""Seconds after which a cluster is asked again how many workers it has: they come and go."""


class Stopped(Exception):
    """The job is ending; this task's outcome no longer matters."""


class Runner(Protocol):
    """Where tasks run; a context manager that ends what is left when its block ends."""

    def __enter__(self) -> Self:
        """Start."""

    def __exit__(self, *error: object) -> None:
        """End, after the tasks under way."""

    def begin(self, work: Work, bar: Bar | None) -> None:
        """Say what tasks do, and who is told of bytes done."""

    def parallel(self, plan: Plan, stage: Stage, jobs: int) -> int:
        """Return how many tasks of a stage to have under way at once; asked again and again."""

    def submit(self, task: Task) -> Future[Any]:
        """Start a task."""

    def stop(self) -> None:
        """Tell the tasks under way that their outcome no longer matters."""


class _Pool:
    """A runner on an executor.

    Attributes
    ----------
    executor : Executor
        Made when the runner is entered.
    """

    executor: Executor

    def __init__(self) -> None:
        self._stack, self._lock = ExitStack(), threading.Lock()
        self._work: Work | None = None
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def begin(self, work: Work, bar: Bar | None) -> None:
        """Say what tasks do, and who is told of bytes done."""
        self._work, self._bar = work, bar

    def _tell(self, count: int) -> None:
        if count and self._bar is not None:
            with self._lock:
                self._bar(count)


class Threads(_Pool):
    """Threads of this process."""

    def __init__(self) -> None:
        super().__init__()
        self._ending = threading.Event()

    def parallel(self, plan: Plan, stage: Stage, jobs: int) -> int:
        """Return how many tasks fit into the plan's memory, one if it keeps all threads busy."""
        return 1 if stage.spreads else plan.parallel(stage, jobs)

    def submit(self, task: Task) -> Future[Any]:
        """Start a task in a thread."""
        if not hasattr(self, "executor"):
            self.executor = self._stack.enter_context(ThreadPoolExecutor(64, thread_name_prefix="volumekit-task"))
        return self.executor.submit(self._do, task)

    def _do(self, task: Task) -> Any:
        assert self._work is not None
        told = 0

        def report(count: int) -> None:
            nonlocal told
            if self._ending.is_set():
                raise Stopped
            told += count
            self._tell(count)

        report(0)
        try:
            return self._work(task, report)
        except BaseException:
            self._tell(-told)  # it is not done, and may be tried again
            raise

    def stop(self) -> None:
        """Let the tasks under way notice at their next report."""
        self._ending.set()


class _Elsewhere(_Pool):
    """Processes: tasks are sent there with all they need, and report when they are done."""

    def submit(self, task: Task) -> Future[Any]:
        """Start a task in another process."""
        assert self._work is not None
        out: Future[Any] = Future()
        out.set_running_or_notify_cancel()

        def finish(done: Future[tuple[int, Any]]) -> None:
            try:
                count, result = done.result()
                self._tell(count)
                out.set_result(result)
            except BaseException as error:
                out.set_exception(error)

        self._send(self._work, task).add_done_callback(finish)
        return out

    def _send(self, work: Work, task: Task) -> Future[tuple[int, Any]]:
        return self.executor.submit(_do_elsewhere, work, task)


class Processes(_Elsewhere):
    """Processes of this machine, started by spawning.

    Parameters
    ----------
    count : int
        How many.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        count = plain(count)
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise OptionError(f"processes is {count!r}; it is a positive number of processes")
        self._count, self._context = count, multiprocessing.get_context("spawn")
        self._pools: list[ProcessPoolExecutor] = []
        self._ending = self._context.RawValue("b", 0)  # without a lock, which a process that is killed might hold

    def __enter__(self) -> Self:
        self._starter = self._stack.enter_context(ThreadPoolExecutor(1, initializer=_ignore_interrupts))
        self._start()
        return self

    def _start(self) -> None:
        given = os.getpid(), self._ending
        pool = ProcessPoolExecutor(self._count, mp_context=self._context, initializer=_begin, initargs=given)
        self._pools.append(pool)
        self.executor = self._stack.enter_context(pool)

    def __exit__(self, *error: object) -> None:
        try:
            super().__exit__(*error)
        except BaseException:  # interrupted once more, by somebody who does not want to wait for the tasks under way
            for pool in self._pools:
                for process in list((pool._processes or {}).values()):
                    process.kill()
            raise

    def _send(self, work: Work, task: Task) -> Future[tuple[int, Any]]:
        return self._starter.submit(self._send_on, work, task).result()

    def _send_on(self, work: Work, task: Task) -> Future[tuple[int, Any]]:
        try:
            return super()._send(work, task)
        except BrokenProcessPool:  # a process was killed: its tasks failed, and others take their place
            self._start()
            return super()._send(work, task)

    def parallel(self, plan: Plan, stage: Stage, jobs: int) -> int:
        """Return how many tasks fit into the plan's memory, one per process."""
        return plan.parallel(stage, self._count)

    def stop(self) -> None:
        """Let the tasks under way notice at their next report."""
        self._ending.value = 1


class Dask(_Elsewhere):
    """A Dask cluster; tasks that are lost with a worker are started again by Dask.

    Parameters
    ----------
    client : dask.distributed.Client
        The cluster.
    """

    def __init__(self, client: Any) -> None:
        super().__init__()
        self._client, self._asked = client, -PATIENCE
        self._threads: list[int] = []
        self.executor = client.get_executor(pure=False)

    def parallel(self, plan: Plan, stage: Stage, jobs: int) -> int:
        """Return one task per worker process, times as many as the plan's memory lets a worker have."""
        if time.monotonic() >= self._asked + PATIENCE:
            self._threads, self._asked = list(self._client.nthreads().values()), time.monotonic()
        return max(1, sum(plan.parallel(stage, max(1, count)) for count in self._threads))

    def stop(self) -> None:
        """Forget the tasks that have not started."""
        self.executor.shutdown(wait=False)


def _ignore_interrupts() -> None:
    """Keep Ctrl-C from the processes that this thread starts, from their first moment on: they are told what to do."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


class _Here:
    """What is known in a process that was started to do tasks."""

    ending: Any = None


def _begin(parent: int, ending: Any) -> None:
    """Learn how to be stopped; end when the process that started this one was killed: nobody would tell it to."""
    _Here.ending = ending

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="volumekit-watch", daemon=True).start()


def choose_runner(processes: int | None, client: Any) -> Runner:
    """Return where tasks run: a Dask cluster, processes, or else threads.

    Raises
    ------
    OptionError
        If both are asked for.
    """
    if client is not None and processes is not None:
        raise OptionError("tasks run in processes of this machine or on a Dask cluster; give processes or client")
    if client is not None:
        return Dask(client)
    return Threads() if processes is None else Processes(processes)


def _do_elsewhere(work: Work, task: Task) -> tuple[int, Any]:
    """Do a task in another process; return the bytes it reported, and its result."""
    told = 0

    def report(count: int) -> None:
        nonlocal told
        if _Here.ending is not None and _Here.ending.value:
            raise Stopped
        told += count

    report(0)
    result = work(task, report)
    return told, result


def first_done(running: Iterable[Future[Any]]) -> set[Future[Any]]:
    """Wait until a future is done, or `PATIENCE` is over; return those that are."""
    return wait(running, timeout=PATIENCE, return_when=FIRST_COMPLETED).done
