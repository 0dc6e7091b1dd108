"""A campaign for `benchmarks.campaigns.mutants` whose subjects do, at one mutant, what none must do."""

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

BAD = 2
"""The mutant, of four, that each subject fails at."""


def abort():
    os.abort()


def sleep():
    time.sleep(60)


def allocate():
    np.empty(1 << 28, np.uint8)


def complain():
    raise IndexError("out of range")


@dataclass(frozen=True)
class Broken:
    name: str
    fail: object
    megabytes: float = 64

    @contextmanager
    def ready(self):
        tried = np.array([np.random.default_rng([5, n, *self.name.encode()]).random() for n in range(4)])

        def attempt(random):
            number = -1 if random is None else int(np.flatnonzero(tried == random.random())[0])
            if number == BAD and self.fail:
                self.fail()
            return "fine"

        yield attempt


def subjects():
    ways = {"crash": abort, "hang": sleep, "memory": allocate, "error": complain, "good": None}
    return [Broken(name, fail) for name, fail in ways.items()]
