"""Cases, and measuring them: the contestants take turns, so that whatever disturbs one disturbs all."""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmarks.bars import Bar
from benchmarks.data import Data

T = TypeVar("T")

Sample = Callable[[int], float]
"""Measures once. Told the number of the call within its turn, so that all contestants read the same boxes."""


@dataclass(frozen=True)
class Contest:
    """What is measured in a case.

    Attributes
    ----------
    contestants : mapping
        What measures each program, volumekit first; None for a program that is not installed.
    check : callable
        Raises `AssertionError` unless all contestants do the same thing; called before anything is measured.
    bars : tuple of Bar
        What volumekit has to reach.
    unit : str
        ``ms`` where samples are seconds, else what they are.
    calls : int
        Measurements in a row per turn.
    rounds : int, optional
        How many turns count, at most.
    """

    contestants: Mapping[str, Sample | None]
    check: Callable[[], None]
    bars: tuple[Bar, ...] = ()
    unit: str = "ms"
    calls: int = 1
    rounds: int | None = None


@dataclass(frozen=True)
class Case:
    """A contest that has a name and is prepared only if it is wanted."""

    name: str
    build: Callable[[Data], Contest]


@dataclass(frozen=True)
class Result:
    """What was measured.

    Attributes
    ----------
    name : str
        The case's name.
    samples : dict
        The measurements of each contestant, turn by turn; no turns of one that is not installed.
    bars : tuple of Bar
        The case's bars.
    unit : str
        The case's unit.
    """

    name: str
    samples: dict[str, list[list[float]]]
    bars: tuple[Bar, ...]
    unit: str

    @property
    def medians(self) -> dict[str, float]:
        """Median of all measurements, per contestant that took part."""
        return {name: statistics.median(itertools.chain(*turns)) for name, turns in self.samples.items() if turns}

    @property
    def minima(self) -> dict[str, float]:
        """Minimum over the turns, per contestant that took part; the median of these where a turn has many calls.

        What the calls take when nothing else disturbs them, on a machine that is sometimes left alone.
        """
        return {
            name: statistics.median(min(calls) for calls in zip(*turns, strict=True))
            for name, turns in self.samples.items()
            if turns
        }


def timed(call: Callable[[T], Any], given: Callable[[int], T]) -> Sample:
    """Return a sample of the seconds that a call takes; what prepares it, and its argument, does not count."""

    def sample(number: int) -> float:
        argument = given(number)
        start = time.perf_counter()
        result = call(argument)
        taken = time.perf_counter() - start
        del result
        return taken

    return sample


def measure(case: Case, data: Data) -> Result:
    """Check and measure a case: one turn to warm up, then ``data.extent.rounds`` turns that count, or fewer."""
    contest = case.build(data)
    contest.check()
    samples: dict[str, list[list[float]]] = {name: [] for name in contest.contestants}
    present = [(name, sample) for name, sample in contest.contestants.items() if sample is not None]
    rounds = min(data.extent.rounds, contest.rounds or data.extent.rounds)
    for turn in range(rounds + 1):
        for name, sample in _order(present, turn):
            taken = _undisturbed(sample, contest.calls)
            if turn:
                samples[name].append(taken)
    return Result(case.name, samples, contest.bars, contest.unit)


def _order(contestants: Sequence[T], turn: int) -> list[T]:
    """Rotate and, every other turn, reverse: nobody always comes first, nor always after the same one."""
    first = turn % len(contestants)
    order = [*contestants[first:], *contestants[:first]]
    return order[::-1] if turn % 2 else order


def _undisturbed(sample: Sample, calls: int) -> list[float]:
    """Measure without garbage collection, and without the garbage of others."""
    gc.collect()
    gc.disable()
    try:
        return [sample(number) for number in range(calls)]
    finally:
        gc.enable()
