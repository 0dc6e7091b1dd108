"""Running plans: everything once, prompt ends, errors that name their place."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from volumekit.errors import CorruptChunkError, OptionError
from volumekit.model.bbox import Bbox
from volumekit.ops.plan import Plan, Stage, Task
from volumekit.ops.run import Stopped, run, thread_count


def plan_of(*counts, size=10, budget=1000, nbytes=0):
    numbers = iter(range(sum(counts)))
    stages = []
    for stage, count in enumerate(counts):
        tasks = tuple(Task(n, stage, Bbox((n, 0, 0), (n + 1, 1, 1))) for n in (next(numbers) for _ in range(count)))
        stages.append(Stage(tasks, size, nbytes))
    return Plan(tuple(stages), budget)


def test_every_task_runs_once_and_stages_follow_each_other():
    done = []
    run(plan_of(5, 0, 3), lambda task, report: done.append((task.stage, task.number)), jobs=3)
    assert sorted(done) == [(0, n) for n in range(5)] + [(2, n) for n in range(5, 8)]
    assert [stage for stage, _ in done] == sorted(stage for stage, _ in done)


@pytest.mark.parametrize(("jobs", "budget", "expected"), [(3, 1000, 3), (3, 20, 2), (1, 1000, 1), (4, 1, 1)])
def test_as_many_at_once_as_jobs_and_memory_allow(jobs, budget, expected):
    now, most, lock = 0, 0, threading.Lock()
    barrier = threading.Barrier(expected)

    def work(task, report):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        barrier.wait(5)
        with lock:
            now -= 1

    run(plan_of(12, budget=budget), work, jobs=jobs)
    assert most == expected


def test_the_first_error_stops_everything_and_names_the_box():
    started = []

    def work(task, report):
        started.append(task.number)
        if task.number == 3:
            raise CorruptChunkError("bad bytes")
        for _ in range(200):
            report(0)
            time.sleep(0.005)

    with pytest.raises(CorruptChunkError, match="bad bytes") as caught:
        run(plan_of(50), work, jobs=4)
    assert caught.value.box == Bbox((3, 0, 0), (4, 1, 1))
    assert max(started) <= 4


def test_an_error_that_has_a_box_keeps_it():
    box = Bbox((7, 7, 7), (8, 8, 8))

    def work(task, report):
        raise CorruptChunkError("bad bytes", box=box)

    with pytest.raises(CorruptChunkError) as caught:
        run(plan_of(2), work, jobs=1)
    assert caught.value.box == box


def test_other_errors_are_noted_with_the_box():
    def work(task, report):
        raise ZeroDivisionError("oops")

    with pytest.raises(ZeroDivisionError) as caught:
        run(plan_of(2), work, jobs=1)
    assert "in task 0, Bbox((0, 0, 0), (1, 1, 1))" in caught.value.__notes__


def test_interruption_stops_promptly():
    started, stopped = [], []

    def work(task, report):
        started.append(task.number)
        if task.number == 1:
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGINT)
        try:
            for _ in range(2000):
                report(0)
                time.sleep(0.005)
        except Stopped:
            stopped.append(task.number)
            raise

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(plan_of(50), work, jobs=2)
    assert time.monotonic() - begun < 5
    assert sorted(started) == sorted(stopped) == [0, 1]


def test_progress_counts_bytes(capsys):
    def work(task, report):
        report(4000)
        report(1000)

    run(plan_of(3, nbytes=15_000), work, jobs=2, progress=True, verb="Testing")
    shown = capsys.readouterr().err
    assert "Testing: 100%" in shown
    assert "15.0k/15.0k" in shown


def test_no_progress_unless_wanted(capsys):
    run(plan_of(3, nbytes=1 << 40), lambda task, report: report(5), jobs=2, progress=False)
    assert capsys.readouterr().err == ""


def test_thread_count():
    assert thread_count(None) >= 1
    assert thread_count(3) == 3
    for jobs in (0, -1, True, 1.5, "2"):
        with pytest.raises(OptionError, match="jobs"):
            thread_count(jobs)
