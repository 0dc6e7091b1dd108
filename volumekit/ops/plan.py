"""What a job is: independent tasks, in stages.

No two tasks of a stage touch one stored object, so that they may run at the same time, in any order, anywhere, and be
run again. A stage starts when the one before has ended, because it reads what that one wrote. Nothing here does I/O.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from volumekit.model.bbox import Bbox


@dataclass(frozen=True)
class Task:
    """One piece of a job.

    Attributes
    ----------
    number : int
        Unique in its plan, counted from 0 in the order in which tasks are started.
    stage : int
        Number of its stage.
    box : Bbox
        What it is about, half-open, in voxels of the level its stage reads.
    """

    number: int
    stage: int
    box: Bbox


@dataclass(frozen=True)
class Stage:
    """Tasks that may run at the same time.

    Attributes
    ----------
    tasks : tuple of Task
        In the order in which to start them.
    task_bytes : int
        Estimate of the most memory a task needs at once.
    nbytes : int
        Bytes that all tasks together report as progress.
    """

    tasks: tuple[Task, ...]
    task_bytes: int
    nbytes: int

    @property
    def spreads(self) -> bool:
        """Whether one task keeps all threads of a process busy, so that there need not be several."""
        return False


@dataclass(frozen=True)
class Plan:
    """A whole job.

    Attributes
    ----------
    stages : tuple of Stage
        Run one after the other.
    budget : int
        Bytes that the tasks under way may need together.
    """

    stages: tuple[Stage, ...]
    budget: int

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks, in the order in which to start them."""
        return tuple(task for stage in self.stages for task in stage.tasks)

    @property
    def nbytes(self) -> int:
        """Bytes that the whole job reports as progress."""
        return sum(stage.nbytes for stage in self.stages)

    def numbered(self, turn: int) -> Plan:
        """Return the same plan for another turn: its tasks' numbers follow those of the turns before."""
        shift = turn * len(self.tasks)
        stages = tuple(
            replace(stage, tasks=tuple(replace(task, number=task.number + shift) for task in stage.tasks))
            for stage in self.stages
        )
        return replace(self, stages=stages)

    def parallel(self, stage: Stage, jobs: int) -> int:
        """Return how many tasks of a stage may run at once: at least one, at most ``jobs``, within the budget."""
        return max(1, min(jobs, len(stage.tasks), self.budget // max(1, stage.task_bytes)))

    def peak_bytes(self, jobs: int) -> int:
        """Return the estimate of the most memory needed at once by ``jobs`` tasks at a time."""
        return max((stage.task_bytes * self.parallel(stage, jobs) for stage in self.stages), default=0)


def cut(bounds: Bbox, step: Sequence[int]) -> Iterator[Bbox]:
    """Cut a box along a grid that starts at its lowest corner.

    Parameters
    ----------
    bounds : Bbox
        Whole voxels, (x, y, z).
    step : sequence of int
        Extent of a piece; pieces at the far ends are smaller.

    Yields
    ------
    Bbox
        The pieces, x fastest; together they are ``bounds``.
    """
    low, high = bounds.minpt.tolist(), bounds.maxpt.tolist()
    spans = [
        [(at, min(at + size, stop)) for at in range(start, stop, size)]
        for start, stop, size in zip(low, high, step, strict=True)
    ]
    for z, y, x in itertools.product(*reversed(spans)):
        yield Bbox((x[0], y[0], z[0]), (x[1], y[1], z[1]))
