"""What is shown of a job under way: bars where somebody watches, lines in logs."""

from __future__ import annotations

import io
import re
import sys

import pytest

from volumekit.volume import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_now_and_then(clock, capsys):
    with progress.progress_bar(10**10, "Converting", True) as bar:
        bar.skip(4 * 10**9)
        for _ in range(90):
            clock[0] += 1
            bar(5 * 10**7)
        bar.failed()
        clock[0] += 30
        bar(10**9)
    assert capsys.readouterr().err.splitlines() == [
        "Converting: 45% of 10,000 MB, 50 MB/s, 0:01:50 left",
        "Converting: 60% of 10,000 MB, 50 MB/s, 0:01:20 left",
        "Converting: 75% of 10,000 MB, 50 MB/s, 0:00:50 left",
        "Converting: 95% of 10,000 MB, 46 MB/s, 0:00:11 left, 1 failed",
        "Converting: 95% of 10,000 MB in 0:02:00, 46 MB/s, 1 failed",
    ]


def test_a_short_job_gets_one_line(clock, capsys):
    with progress.progress_bar(5 * 10**6, "Reading", True) as bar:
        clock[0] += 2
        bar(5 * 10**6)
    assert capsys.readouterr().err == "Reading: 100% of 5.00 MB in 0:00:02, 2.50 MB/s\n"


def test_a_terminal_gets_a_bar_that_starts_where_the_job_was_left(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress.progress_bar(1000, "Converting", True) as bar:
        bar.skip(400)
        bar(100)
        bar.failed()
        bar(500)
    last = screen.getvalue().rsplit("\r", 1)[-1]
    assert re.search(r"Converting: 100%\|.*1.00k/1.00k \[.*B/s, 1 failed\]", last)


def test_only_what_takes_a_while_is_shown_unasked(monkeypatch, capsys):
    for wanted, total, watching, shown in (
        (None, progress.WORTH_SHOWING, True, True),
        (None, progress.WORTH_SHOWING - 1, True, False),
        (None, progress.WORTH_SHOWING, False, False),
        (False, progress.WORTH_SHOWING, True, False),
        (True, 1, False, True),
    ):
        monkeypatch.setattr(progress, "interactive", lambda watching=watching: watching)
        with progress.progress_bar(total, "Reading", wanted) as bar:
            assert (bar is not None) == shown
