"""Which chunks are decoded right where requests are taken: those that take less time than handing them to a thread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

HANDING = 500e-6
"""Seconds that handing work to a thread and back takes where all cores are busy; others are not kept waiting longer."""

REST = 8
"""How often work goes to a thread after it took twice as long: it waited for the disk, or is not alike."""

_WEIGHT = 0.25


class Pace:
    """What work of one kind takes, as it was seen so far.

    Nothing is known at first, so work begins in threads; it stays there if it takes long.
    """

    def __init__(self) -> None:
        self._expected, self._rest = math.inf, 0

    def quick(self) -> bool:
        """Tell whether to do the next work at once rather than in a thread."""
        if self._rest:
            self._rest -= 1
            return False
        return self._expected < HANDING

    def at_once(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Do work in this thread, which others wait for."""
        start = time.perf_counter()
        try:
            return work(*given, **named)
        finally:
            if time.perf_counter() - start > 2 * HANDING:
                self._rest = REST

    def noted(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Do work in a thread, and take note of the processor time it takes."""
        start = time.thread_time()
        try:
            return work(*given, **named)
        finally:
            taken = time.thread_time() - start
            known = self._expected if math.isfinite(self._expected) else taken
            self._expected = known + _WEIGHT * (taken - known)
