"""Damaged inputs, tried in processes of their own, so that a crash or a hang is known by its number.

A campaign is a module with ``subjects()``. For them `supervise` starts ``python -m benchmarks.campaigns.mutants``; it
tells what it tries before it does, and is started again behind whatever ends it.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np

SECONDS = 5.0
"""Longest time that one damaged input may take."""

ROOT = Path(__file__).parents[2]
_M_PERTURB = -6  # of glibc's mallopt: what new and freed memory is filled with
_MOST_CRASHES = 20


class Subject(Protocol):
    """Something to damage."""

    @property
    def name(self) -> str:
        """What is damaged."""

    @property
    def megabytes(self) -> float:
        """Memory that one damaged input may take beyond what the good one took."""

    def ready(self) -> AbstractContextManager[Callable[[np.random.Generator | None], str]]:
        """Return what tries one damaged input, or without a generator the good one, and says what became of it."""


@dataclass
class Result:
    """What became of the mutants of one subject; ``failures`` should be empty."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    megabytes: float = 0.0

    @property
    def tried(self) -> int:
        """How many mutants were tried."""
        return self.outcomes.total() + len(self.failures)

    def take(self, told: dict[str, object]) -> None:
        """Note what became of one mutant."""
        if told["failure"]:
            self.failures.append(f"mutant {told['number']}: {told['failure']}")
        else:
            self.outcomes[str(told["outcome"])] += 1
        self.slowest = max(self.slowest, float(str(told["seconds"])))
        self.megabytes = max(self.megabytes, float(str(told["megabytes"])))


def supervise(
    module: str, groups: Sequence[Sequence[str]], count: int, seed: int, seconds: float = SECONDS
) -> dict[str, Result]:
    """Try mutants of subjects.

    Parameters
    ----------
    module : str
        The campaign.
    groups : sequence of sequence of str
        Names of subjects; each group has a process of its own.
    count : int
        Mutants per subject.
    seed : int
        Seed; the same one makes the same mutants.
    seconds : float
        Longest time that one may take.

    Returns
    -------
    dict of str to Result
        By subject. A failure names the number of the mutant.
    """
    results: dict[str, Result] = {name: Result() for group in groups for name in group}
    for group in groups:
        todo, first = list(group), 0
        while todo:
            place = _child([module, json.dumps(todo), str(first), str(count), str(seed), str(seconds)], results)
            if place is None:
                break
            name, number = place
            todo = todo[todo.index(name) :]
            first = number + 1
            if len(results[name].failures) >= _MOST_CRASHES:
                todo, first = todo[1:], 0
    return results


def _child(arguments: list[str], results: dict[str, Result]) -> tuple[str, int] | None:
    """Run a process and note what it tells; return what it was trying when it ended, None if it came to its end."""
    command = [sys.executable, "-m", __name__, *arguments]
    settings = {**os.environ, "MALLOC_ARENA_MAX": "1", "PYTHONPATH": os.pathsep.join(["", str(ROOT), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, env=settings)
    trying: tuple[str, int] | None = None
    for line in done.stdout.splitlines():
        told = json.loads(line)
        trying = (told["name"], told["number"]) if "outcome" not in told else None
        if trying is None:
            results[told["name"]].take(told)
    if done.returncode == 0:
        return None
    if trying is None:
        raise RuntimeError(f"the campaign itself failed:\n{done.stderr}")
    why = "\n    ".join(done.stderr.splitlines()[:12])
    results[trying[0]].failures.append(f"mutant {trying[1]}: the process ended, {done.returncode}: {why}")
    return trying


def main(arguments: Sequence[str]) -> int:
    """Try mutants of subjects in this process, and print what is tried and what becomes of it, a line of JSON each."""
    module, names, first, count, seed, seconds = arguments
    known = {subject.name: subject for subject in import_module(module).subjects()}
    start = int(first)
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as tell, redirect_stdout(sys.stderr):
        for name in json.loads(names):
            for line in _try_all(known[name], range(start, int(count)), int(seed), float(seconds)):
                tell.write(json.dumps({"name": name, **line}) + "\n")
                tell.flush()
            start = 0
    return 0


def _try_all(subject: Subject, numbers: range, seed: int, seconds: float) -> Iterator[dict[str, object]]:
    with subject.ready() as attempt:
        for _ in range(3):
            good = _try(attempt, None, seconds)
            if good["failure"]:
                raise AssertionError(f"undamaged {subject.name}: {good['failure']}")
        base = most_memory()
        for number in numbers:
            yield {"number": number}
            told = _try(attempt, np.random.default_rng([seed, number, *subject.name.encode()]), seconds)
            grown = most_memory() - base
            if grown > subject.megabytes:
                told["failure"], base = told["failure"] or f"took {grown:.0f} MB of memory", base + grown
            yield {"number": number, "megabytes": grown, **told}


def _try(
    attempt: Callable[[np.random.Generator | None], str], random: np.random.Generator | None, seconds: float
) -> dict[str, object]:  # fmt: skip
    """Try one mutant; end the process if that takes too long, even if the GIL is held."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    began, outcome, failure = time.monotonic(), "", ""
    try:
        outcome = attempt(random)
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    took = time.monotonic() - began
    faulthandler.cancel_dump_traceback_later()
    return {"outcome": outcome, "failure": failure, "seconds": took}


def most_memory() -> float:
    """Return the most address space this process has ever had, in MB; 0 where Linux does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmPeak")), 0.0)


def poison(byte: int) -> None:
    """Fill memory that is allocated from now on with a byte, where glibc is asked; so that nobody relies on it."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_PERTURB, byte)


def command(module: str, about: str | None) -> int:
    """Run a campaign from the command line and print a table; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="mutants per subject")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="subjects whose name holds this")
    options = parser.parse_args()
    names = [subject.name for subject in import_module(module).subjects() if options.only in subject.name]
    return report(module, names, options.count, options.seed)


def report(module: str, names: Sequence[str], count: int, seed: int) -> int:
    """Try mutants of subjects, each in a process of its own, and print a table; 1 if anything failed."""
    failed = False
    print(f"{'':55}{'refused':>9}{'else':>7}{'failed':>8}{'slowest, ms':>13}{'more MB':>9}", flush=True)
    for name in names:
        result = supervise(module, [[name]], count, seed)[name]
        refused = result.outcomes["refused"]
        counts = f"{refused:9}{result.outcomes.total() - refused:7}{len(result.failures):8}"
        print(f"{name:55}{counts}{1e3 * result.slowest:13.1f}{result.megabytes:9.1f}")
        for failure in result.failures[:5]:
            print(f"    {failure}", flush=True)
        failed |= bool(result.failures)
    return int(failed)


if __name__ == "__main__":
    faulthandler.enable()
    raise SystemExit(main(sys.argv[1:]))
