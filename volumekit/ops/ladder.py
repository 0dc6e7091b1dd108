"""Fitting a pyramid into memory: how many levels a pass builds, and how large its tasks are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from volumekit.errors import OptionError
from volumekit.model.level import Level
from volumekit.ops.memory import format_amount
from volumekit.ops.plan import Plan, Task, cut
from volumekit.ops.pyramid import (
    SLABS,
    Factor,
    Pass,
    Rows,
    Rung,
    column_bytes,
    corners,
    strip_rows,
    superblock,
)

PROGRAM_BYTES = 224 << 20
"""What a process needs before it holds a voxel: Python, the libraries, compiled kernels, threads."""


MAX_TASKS = 1_000_000
"""More are refused: that many pieces of at least 100 MB are no real volume."""


@dataclass(frozen=True)
class Ladder:
    """The levels of a pyramid and what may be spent on building them.

    Attributes
    ----------
    levels : tuple of Level
        The finest one that is read, then those to be computed.
    factors : tuple of tuple of int
        Factor to each of the computed levels from the one before, (x, y, z).
    mips : tuple of int
        Their numbers in the target.
    copies : bool
        Whether the first level is written too.
    halo : int
        Neighbours the method needs; then every pass builds one level.
    memory : int
        Bytes the process may use.
    threads : int
        How many threads work.
    reading : int
        Bytes that reading the first level takes beside its voxels, by all tasks together.
    rows : Rows, optional
        Where reading the first level may be cut, see `ops.inputs.Input.rows`.
    """

    levels: tuple[Level, ...]
    factors: tuple[Factor, ...]
    mips: tuple[int, ...]
    copies: bool
    halo: int
    memory: int
    threads: int
    reading: int = 0
    rows: Rows | None = None

    @property
    def budget(self) -> int:
        """Bytes for buffers."""
        return self.memory - PROGRAM_BYTES - self.reading

    def plan(self) -> Plan:
        """Return the plan: whole planes where they fit, so that each plane of the source is read once.

        Raises
        ------
        OptionError
            If not even one column of chunks fits; the message says how much it takes.
        """
        stages: list[Pass] = []
        base, copies, number = 0, self.copies, 0
        while copies or base < len(self.factors):
            stage = self._widest(base, copies=copies, stage=len(stages), number=number)
            stages.append(stage)
            base, copies, number = base + len(stage.rungs) - 1, False, number + len(stage.tasks)
        return Plan(tuple(stages), self.budget)

    def _widest(self, base: int, *, copies: bool, stage: int, number: int) -> Pass:
        """Return the pass that builds as many levels from ``base`` as fit, whole shards at a time if those fit at all.

        Else a task writes its shards again for every layer of chunks that it adds to them: right, but slow.
        """
        least = 0 if copies else 1
        most = least if self.halo else len(self.factors) - base
        counts = range(most, least - 1, -1)
        shards = (True, False) if any(_unit(level) != level.chunk[:3] for level in self.levels) else (False,)
        for whole, count in itertools.product(shards, counts):
            rungs = self._rungs(base, count, copies=copies, shards=whole)
            halo = self.halo if count else 0
            step = self._step(rungs, copies=copies, halo=halo)
            if step is not None:
                _check_count(rungs[0], step)
                tasks = tuple(Task(number + n, stage, box) for n, box in enumerate(cut(rungs[0].bounds, step)))
                rows = self._strips(rungs, *step[:2], copies=copies, halo=halo)
                size = column_bytes(rungs, *step[:2], halo=halo, threads=self.threads, rows=rows)
                flat = copies and self.rows is not None and self.rows.flat
                made = Pass(tasks, size, 0, rungs, copies, halo, rows, self.threads, flat)
                read = sum(made.read_voxels(task.box) for task in tasks)
                return replace(made, nbytes=read * rungs[0].voxel_bytes)
        raise self._too_little()

    def _rungs(self, base: int, count: int, *, copies: bool = False, shards: bool = False) -> tuple[Rung, ...]:
        """Return levels as a pass sees them; their chunks are shards, if wanted, where levels are written."""
        factor = (1, 1, 1)
        rungs = []
        for n in range(base, base + count + 1):
            if n > base:
                x, y, z = (a * b for a, b in zip(factor, self.factors[n - 1], strict=True))
                factor = x, y, z
            level = self.levels[n]
            unit = _unit(level) if copies or n > base else level.chunk[:3]
            chunk = unit if shards else level.chunk[:3]
            rungs.append(Rung(self.mips[n], level.bounds, chunk, unit, factor, level.channels * level.dtype.itemsize))
        return tuple(rungs)

    def _step(self, rungs: Sequence[Rung], *, copies: bool, halo: int) -> Factor | None:
        """Return the extent of a task: whole planes, else whole rows of superblocks, else some of a row."""

        def fits(x: int, y: int) -> bool:
            rows = self._strips(rungs, x, y, copies=copies, halo=halo)
            return column_bytes(rungs, x, y, halo=halo, threads=self.threads, rows=rows) <= self.budget

        low, high = corners(rungs[0].bounds)
        size = [b - a for a, b in zip(low, high, strict=True)]
        unit = superblock(rungs, copies=copies)
        z = unit[2] * max(1, -(-SLABS * rungs[0].chunk[2] // unit[2]))
        if fits(size[0], size[1]):
            return _whole(size[0], unit[0]), _whole(size[1], unit[1]), z
        rows = _most(lambda n: fits(size[0], n * unit[1]), -(-size[1] // unit[1]))
        if rows:
            return _whole(size[0], unit[0]), rows * unit[1], z
        columns = _most(lambda n: fits(n * unit[0], unit[1]), -(-size[0] // unit[0]))
        return (columns * unit[0], unit[1], z) if columns else None

    def _strips(self, rungs: Sequence[Rung], x: int, y: int, *, copies: bool, halo: int) -> int:
        """Return the rows of a pass's strips."""
        level = self.levels[self.mips.index(rungs[0].mip)]
        rows = self.rows if copies else Rows(level.offset[1], level.chunk[1])
        return 0 if halo else strip_rows(rungs, x, y, copies=copies, rows=rows, threads=self.threads)

    def _too_little(self) -> OptionError:
        wanted = math.ceil((PROGRAM_BYTES + self.reading + self._least()) / 10**6)
        images = f" and {format_amount(self.reading)} for decoding an image" if self.reading else ""
        return OptionError(
            f"memory of {format_amount(self.memory)} is too little: one column of {list(self.levels[0].chunk[:3])} "
            f"chunks takes {wanted} MB, the program{images} included; give at least that "
            f'(memory="{wanted}MB") or smaller chunks'
        )

    def _least(self) -> int:
        """Return what one column of chunks takes, one level at a time."""
        passes = [(self._rungs(0, 0, copies=True), True)] if self.copies else []
        passes += [(self._rungs(n, 1), False) for n in range(len(self.factors))]
        return max(
            column_bytes(
                rungs,
                *superblock(rungs, copies=copies)[:2],
                halo=0 if copies else self.halo,
                threads=self.threads,
            )
            for rungs, copies in passes
        )


def _unit(level: Level) -> Factor:
    """Return the shape of what is stored as one object, (x, y, z): all of a level whose chunks are scattered."""
    if level.sharding is None:
        return level.chunk[:3]
    x, y, z = (-(-n // c) * c for n, c in zip(level.shape, level.chunk[:3], strict=False))
    return level.sharding.shape or (x, y, z)


def _check_count(rung: Rung, step: Factor) -> None:
    low, high = corners(rung.bounds)
    count = math.prod(-(-(b - a) // s) for a, b, s in zip(low, high, step, strict=True))
    if count > MAX_TASKS:
        raise OptionError(f"{rung.bounds} would take {count} tasks; give more memory, or a smaller box")


def _whole(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _most(fits: Callable[[int], bool], count: int) -> int:
    """Return the greatest number up to ``count`` that fits, 0 if none; what fits n fits n - 1."""
    low, high = 0, count
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
