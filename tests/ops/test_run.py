"""Running plans: everything once, prompt ends, errors that name their place."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import numpy as np
import pytest

from volumekit.errors import (
    CorruptChunkError,
    MetadataError,
    NoSpaceError,
    OptionError,
    StorageError,
    TargetExistsError,
)
from volumekit.model.bbox import Bbox
from volumekit.model.url import parse_url
from volumekit.ops.journal import Journal
from volumekit.ops.plan import Plan, Stage, Task
from volumekit.ops.run import run, thread_count
from volumekit.ops.runners import Processes, Stopped
from volumekit.storage import open_store


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


def test_a_failed_task_is_tried_again_and_the_rest_is_done():
    started = []

    def work(task, report):
        started.append(task.number)
        if task.number in (3, 7):
            raise CorruptChunkError("bad bytes")

    with pytest.raises(CorruptChunkError, match="bad bytes") as caught:
        run(plan_of(20, 5), work, jobs=4)
    assert caught.value.box in (Bbox((3, 0, 0), (4, 1, 1)), Bbox((7, 0, 0), (8, 1, 1)))
    notes = "\n".join(caught.value.__notes__)
    assert "2 of 20 tasks failed" in notes
    assert all(f"task {n}, " in notes for n in (3, 7))
    assert sorted(started) == sorted([*range(20), 3, 7]), "the next stage needs what is missing"


def test_a_task_that_succeeds_the_second_time_is_no_error():
    tried = []

    def work(task, report):
        tried.append(task.number)
        if tried.count(2) == 1 and task.number == 2:
            raise StorageError("a hiccup")

    run(plan_of(4, 1), work, jobs=2)
    assert sorted(tried) == [0, 1, 2, 2, 3, 4]


def test_nothing_starts_after_an_error_that_all_would_meet():
    started = []

    def work(task, report):
        started.append(task.number)
        if task.number == 3:
            raise NoSpaceError("full")
        for _ in range(200):
            report(0)
            time.sleep(0.005)

    with pytest.raises(NoSpaceError, match="full") as caught:
        run(plan_of(50), work, jobs=4)
    assert caught.value.box == Bbox((3, 0, 0), (4, 1, 1))
    assert max(started) <= 4


class Touch:
    """Work that can be done in another process: it leaves a file."""

    def __init__(self, folder, killed=None):
        self.folder, self.killed = folder, killed

    def __call__(self, task, report):
        mark = self.folder / str(task.number)
        if task.number == self.killed and not mark.exists():
            mark.write_text("killed")
            os.kill(os.getpid(), signal.SIGKILL)
        mark.write_text(str(os.getpid()))
        report(1000)


@pytest.mark.parametrize("killed", [None, 4])
def test_processes(tmp_path, capsys, killed):
    run(plan_of(6, 2, nbytes=8000), Touch(tmp_path, killed), jobs=2, runner=Processes(2), progress=True, retries=3)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(written) == {str(n) for n in range(8)}
    assert str(os.getpid()) not in written.values()
    assert "killed" not in written.values()


def test_a_journal_leaves_out_what_is_done(tmp_path):
    store = open_store(parse_url(tmp_path))
    done = []

    def work(task, report):
        if task.number == 5:
            raise NoSpaceError("full")
        done.append(task.number)

    journal = Journal(store, ".volumekit/test.json", {"a": [1, 2]}, {"threads": 2})
    journal.save()
    with pytest.raises(NoSpaceError):
        run(plan_of(4, 4), work, jobs=1, journal=journal)
    again = Journal.find(store, ".volumekit/test.json")
    assert again.done == set(done) == {0, 1, 2, 3, 4}
    assert (again.job, again.plan, again.finished) == ({"a": [1, 2]}, {"threads": 2}, False)
    again.check({"a": (1, 2)})
    with pytest.raises(TargetExistsError, match=r"a was \[1, 2\], now 3"):
        again.check({"a": 3})
    more = []
    run(plan_of(4, 4), lambda task, report: more.append(task.number), jobs=1, journal=again)
    assert more == [5, 6, 7]
    again.finish()
    assert Journal.find(store, ".volumekit/test.json").finished


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"@type": "x"}', b"\xff", b"[" * 100_000])
def test_a_damaged_journal(tmp_path, data):
    store = open_store(parse_url(tmp_path))
    store.commit({"journal": data}).result()
    with pytest.raises(MetadataError, match="journal") as caught:
        Journal.find(store, "journal")
    assert caught.value.key == "journal"
    assert Journal.find(store, "other") is None


def test_an_error_that_has_a_box_keeps_it():
    box = Bbox((7, 7, 7), (8, 8, 8))

    def work(task, report):
        raise CorruptChunkError("bad bytes", box=box)

    with pytest.raises(CorruptChunkError) as caught:
        run(plan_of(2), work, jobs=1, retries=0)
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


class UntilStopped:
    """Goes on until it is told to stop, and leaves a file when it begins and one when it was."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, task, report):
        (self.folder / f"begun {task.number}").touch()
        try:
            while True:
                report(0)
                time.sleep(0.005)
        except Stopped:
            (self.folder / f"stopped {task.number}").touch()
            raise


class Deaf:
    """Says which process it is in, and never looks whether it should stop."""

    def __init__(self, path):
        self.path = path

    def __call__(self, task, report):
        self.path.write_text(f"{os.getpid()} ")
        time.sleep(300)


def alive(process):
    """Tell whether there is a process."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def interrupt_the_end(told):
    """Leave a runner whose task does not end, and interrupt the waiting for it."""
    with Processes(1) as place:
        place.begin(Deaf(told), None)
        place.submit(plan_of(1).stages[0].tasks[0])
        while not (told.exists() and told.read_text().endswith(" ")):
            time.sleep(0.01)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()


def test_who_interrupts_again_does_not_wait_for_processes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupt_the_end(tmp_path / "pid")
    process, ends = int((tmp_path / "pid").read_text()), time.monotonic() + 60
    while alive(process) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not alive(process)


def test_interruption_stops_processes(tmp_path):
    def interrupt():
        while len(list(tmp_path.glob("begun*"))) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run(plan_of(50), UntilStopped(tmp_path), jobs=2, runner=Processes(2))
    begun, stopped = ({path.name.split()[1] for path in tmp_path.glob(f"{how} *")} for how in ("begun", "stopped"))
    assert begun == stopped == {"0", "1"}


def test_progress_counts_bytes(capsys):
    def work(task, report):
        report(4000)
        report(1000)

    run(plan_of(3, nbytes=15_000), work, jobs=2, progress=True, verb="Testing")
    shown = capsys.readouterr().err
    assert "Testing: 100%" in shown
    assert "100% of 0.01 MB in 0:00:0" in shown


def test_what_is_done_again_is_counted_once(capsys):
    tried = []

    def work(task, report):
        report(4000)
        tried.append(task.number)
        if tried.count(task.number) < 3:
            raise StorageError("not now")
        report(1000)

    run(plan_of(3, nbytes=15_000), work, jobs=2, retries=2, progress=True, verb="Testing")
    assert len(tried) == 9
    assert "100% of 0.01 MB in 0:00:0" in capsys.readouterr().err


def test_no_progress_unless_wanted(capsys):
    run(plan_of(3, nbytes=1 << 40), lambda task, report: report(5), jobs=2, progress=False)
    assert capsys.readouterr().err == ""


def test_thread_count():
    assert thread_count(None) >= 1
    assert thread_count(3) == 3
    for jobs in (0, -1, True, 1.5, "2"):
        with pytest.raises(OptionError, match="jobs"):
            thread_count(jobs)


def test_a_journal_of_tasks_in_any_order(tmp_path):
    store = open_store(parse_url(tmp_path))
    order = np.random.default_rng(1).permutation(300).tolist()
    journal, done = Journal(store, "journal", {}, done=set(order[:50])), set(order[:50])
    for at in range(50, 280, 3):
        journal.mark(order[at : at + 3])
        done |= set(order[at : at + 3])
        assert Journal.find(store, "journal").done == done
    journal.mark(order)
    assert json.loads(store.read("journal").result().data)["done"] == [[0, 300]]


def test_what_was_done_beside_a_failure_counts(tmp_path):
    store, gate = open_store(parse_url(tmp_path)), threading.Barrier(4)

    def work(task, report):
        gate.wait(5)
        if task.number == 2:
            raise NoSpaceError("full")

    journal = Journal(store, "journal", {})
    with pytest.raises(NoSpaceError):
        run(plan_of(4), work, jobs=4, journal=journal)
    assert journal.done <= {0, 1, 3}
    assert journal.done == (Journal.find(store, "journal") or Journal(store, "", {})).done


def test_failures_are_shown(capsys):
    def work(task, report):
        if task.number % 2:
            raise CorruptChunkError("bad bytes")

    with pytest.raises(CorruptChunkError):
        run(plan_of(4), work, jobs=1, progress=True, verb="Testing")
    assert capsys.readouterr().err.strip().endswith("2 failed")
