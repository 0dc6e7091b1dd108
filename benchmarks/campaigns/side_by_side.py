"""Processes that write side by side, and campaigns that count what of it was lost."""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Collection
from typing import Any

WRITERS = 2


def write_together(write: Callable[..., None], *given: Any) -> bool:
    """Call ``write(*given, number, barrier)`` in `WRITERS` processes at once; tell whether all ended well."""
    context: Any = multiprocessing.get_context("spawn")
    start = context.Barrier(WRITERS)
    jobs = [context.Process(target=write, args=(*given, n, start)) for n in range(WRITERS)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(120)
    failed = [job for job in jobs if job.exitcode != 0]
    for job in failed:
        job.kill()
    return not failed


def command(about: str | None, ways: Collection[str], lost: Callable[[str, str], int], *, count: int, unit: str) -> int:
    """Run a campaign; return 1 if anything was lost.

    Parameters
    ----------
    about : str
        What it does, for ``--help``.
    ways : collection of str
        The ways there are.
    lost : callable
        Writes in a new folder in one way, and returns how much of it was lost.
    count : int
        How much is written each time.
    unit : str
        What is counted.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--way", choices=[*ways], action="append")
    arguments = parser.parse_args()
    total, tries = 0, arguments.tries
    for name in arguments.way or ways:
        started, found = time.perf_counter(), 0
        for _ in range(tries):
            with tempfile.TemporaryDirectory() as folder:
                found += lost(folder, name)
        seconds = time.perf_counter() - started
        print(f"{name:36} {found} of {tries * count} {unit} lost in {tries} tries, {seconds:.0f} s", flush=True)
        total += found
    return int(total > 0)
