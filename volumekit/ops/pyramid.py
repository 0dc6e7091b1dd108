"""How a pyramid is planned: which voxels a task reads, which chunks it writes, how much memory that takes.

A *pass* reads one level and computes the next ones from it in one go: a task reads a column of voxels once, slab by
slab, and carries every coarser level along. Tasks own whole chunks of every level. Chunk grids start at each level's
own lowest voxel while cells sit on multiples of the factor, so where the lowest voxel is no such multiple a task also
reads the few voxels below its own that its coarser cells need.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from volumekit.engine.array import WRITES
from volumekit.engine.pieces import WRITE_BYTES
from volumekit.model.bbox import Bbox
from volumekit.ops.plan import Stage, cut

Factor = tuple[int, int, int]


class Rows(NamedTuple):
    """Where reading may be cut without anything being read or decoded twice.

    Attributes
    ----------
    origin, step : int
        Along y: a place, and the distance from each to the next.
    flat : bool
        Whether it may be cut between any two planes as well.
    """

    origin: int
    step: int
    flat: bool = False


WRITING_BYTES = 2 * WRITES * WRITE_BYTES
"""What writes under way hold besides the buffers: pieces of the engine and their encoding."""

GROUP_BYTES = 4 << 20
"""About how much of a strip is read, reduced and put in its place at a time."""

STRIP_BYTES = 16 << 20
"""About what a strip holds: small enough for the processor's caches, large enough that calls are few."""

SLABS = 16
"""A task goes through at least this many slabs where there are as many: starting one costs about half a slab's time."""


@dataclass(frozen=True)
class Rung:
    """A level of the pyramid as a pass sees it.

    Attributes
    ----------
    mip : int
        Its number in the target.
    bounds : Bbox
        Its voxels.
    chunk : tuple of int
        What is written together, (x, y, z): a chunk, or a shard where the memory holds whole ones.
    unit : tuple of int
        What is stored as one object, (x, y, z): a chunk or a shard. No two tasks have parts of one.
    factor : tuple of int
        How many voxels of the level that the pass reads make one of these, (x, y, z).
    voxel_bytes : int
        Bytes of a voxel, all channels together.
    """

    mip: int
    bounds: Bbox
    chunk: Factor
    unit: Factor
    factor: Factor
    voxel_bytes: int


@dataclass(frozen=True)
class Pass(Stage):
    """A stage that reads one level and writes others.

    Attributes
    ----------
    rungs : tuple of Rung
        The level that is read, then those computed from it, each from the one before.
    copies : bool
        Whether the level that is read is also written: it comes from somewhere else.
    halo : int
        How many neighbours of a cell's voxels, on each side, the method looks at.
    rows : int
        Rows along y of the strips that slabs are read, reduced and written by; 0: slabs are read whole.
    workers : int
        How many strips of a task are under way at once, at most.
    flat : bool
        Whether a strip may be read some planes at a time.
    """

    rungs: tuple[Rung, ...]
    copies: bool
    halo: int = 0
    rows: int = 0
    workers: int = 1
    flat: bool = False

    def steps(self, rung: int) -> Factor:
        """Return the factor from the rung before to this one."""
        x, y, z = (a // b for a, b in zip(self.rungs[rung].factor, self.rungs[rung - 1].factor, strict=True))
        return x, y, z

    def owned(self, box: Bbox, rung: int) -> Bbox:
        """Return the voxels of a rung that the task with this box writes: whole chunks."""
        return owned(self.rungs, box, rung)

    def source(self, box: Bbox) -> Bbox:
        """Return the voxels that the task with this box reads, in voxels of the level it reads."""
        return source(self.rungs, box, self.halo)

    @property
    def spreads(self) -> bool:
        """Whether one task keeps all threads busy: with strips."""
        return self.rows > 0

    def group(self, x: int, z: int) -> int:
        """Return how many of a strip's ``z`` planes, ``x`` voxels wide, are gone through at a time: whole cells."""
        if not self.flat:
            return z
        cell = self.steps(1)[2] if len(self.rungs) > 1 else 1
        return max(1, GROUP_BYTES // (x * self.rows * self.rungs[0].voxel_bytes * cell)) * cell

    def slabs(self, box: Bbox) -> list[tuple[Bbox, Bbox]]:
        """Return what a pass with a halo reads and writes, a chunk along z at a time.

        Returns
        -------
        list of tuple
            Voxels of the first rung, and the cells of the second that they give; neighbours are read again.
        """
        cells = self.owned(box, 1)
        step = [*cells.size().tolist()[:2], self.rungs[1].chunk[2]]
        return [(around(self.rungs, slab, self.halo), slab) for slab in cut(cells, step)]

    def read_voxels(self, box: Bbox) -> int:
        """Return how many voxels the task with this box reads."""
        if not self.halo:
            return int(self.source(box).volume())
        return sum(int(voxels.volume()) for voxels, _ in self.slabs(box))

    def region(self, box: Bbox, rung: int) -> Bbox:
        """Return the voxels of a rung that a task's source gives, in part or whole: a superset of `owned`."""
        low, high = corners(self.source(box))
        factor = self.rungs[rung].factor
        return Bbox(
            [a // f for a, f in zip(low, factor, strict=True)], [-(-b // f) for b, f in zip(high, factor, strict=True)]
        )


def corners(box: Bbox) -> tuple[list[int], list[int]]:
    """Return the corners of a box of whole voxels as Python ints."""
    numbers = [int(n) for n in box.to_list()]
    return numbers[:3], numbers[3:]


def owned(rungs: Sequence[Rung], box: Bbox, rung: int) -> Bbox:
    """Return the voxels of a rung that belong to a piece of the first rung's bounds; see `Pass.owned`.

    The piece begins a whole number of superblocks above the bounds' lowest voxel, and so does its image.
    """
    (low, high), (start, stop) = corners(box), corners(rungs[0].bounds)
    (first, last), factor = corners(rungs[rung].bounds), rungs[rung].factor
    axes = range(3)
    return Bbox(
        [first[i] + (low[i] - start[i]) // factor[i] for i in axes],
        [last[i] if high[i] == stop[i] else first[i] + (high[i] - start[i]) // factor[i] for i in axes],
    )


def source(rungs: Sequence[Rung], box: Bbox, halo: int) -> Bbox:
    """Return the voxels of the first rung that a piece of it needs for all rungs; see `Pass.source`."""
    if halo:
        return around(rungs, owned(rungs, box, 1), halo)
    low, high = corners(box)  # coarser grids begin at or below the finer ones
    coarsest, _ = corners(owned(rungs, box, len(rungs) - 1))
    low = [min(a, b * f) for a, b, f in zip(low, coarsest, rungs[-1].factor, strict=True)]
    return Bbox(low, high).intersection(rungs[0].bounds)


def around(rungs: Sequence[Rung], cells: Bbox, halo: int) -> Bbox:
    """Return the voxels of the first rung that cells of the second look at."""
    (low, high), factor = corners(cells), rungs[1].factor
    return Bbox(
        [a * f - halo * (f > 1) for a, f in zip(low, factor, strict=True)],
        [b * f + halo * (f > 1) for b, f in zip(high, factor, strict=True)],
    ).intersection(rungs[0].bounds)


def superblock(rungs: Sequence[Rung], *, copies: bool) -> Factor:
    """Return the smallest piece of the first rung that is whole objects of all rungs that are written, (x, y, z)."""
    written = rungs if copies else rungs[1:]
    x, y, z = (math.lcm(*(rung.unit[axis] * rung.factor[axis] for rung in written)) for axis in range(3))
    return x, y, z


def strip_rows(rungs: Sequence[Rung], x: int, y: int, *, copies: bool, rows: Rows | None, threads: int) -> int:
    """Return the rows of the strips that a slab can be gone through by, 0 if it has to be read whole.

    Strips are possible where neither chunks nor cells nor what is read reach from one into the next, and no planes are
    carried over from one slab to the next. They pay where there are several for each thread.

    Parameters
    ----------
    rungs : sequence of Rung
        The pass.
    x, y : int
        Extent of the task, in voxels of the first rung.
    copies : bool
        As in `Pass`.
    rows : Rows or None
        As in `ops.inputs.Input.rows`.
    threads : int
        How many strips are under way at once.
    """
    first, (_, low_y, low_z), last = rungs[0], corners(rungs[0].bounds)[0], rungs[-1].factor
    shared = any(rung.chunk != rung.unit for rung in (rungs if copies else rungs[1:]))  # strips would write one shard
    if rows is None or shared or (low_y - rows.origin) % rows.step or low_y % last[1] or low_z % last[2]:
        return 0
    unit = math.lcm(rows.step, first.chunk[1] if copies else 1)
    if len(rungs) > 1:
        unit = math.lcm(unit, rungs[1].factor[1])
        if first.chunk[2] % rungs[1].factor[2] or rungs[1].chunk[2] * rungs[1].factor[2] % first.chunk[2]:
            return 0
    size = unit * x * min(first.chunk[2], _size(first, 2)) * first.voxel_bytes
    units = -(-min(y, _size(first, 1)) // unit)
    found = unit * max(1, min(STRIP_BYTES // size, units // (2 * threads)))
    return found if -(-units * unit // found) > threads else 0


def column_bytes(rungs: Sequence[Rung], x: int, y: int, *, halo: int, threads: int, rows: int = 0) -> int:
    """Return the most memory a task of this extent needs.

    Parameters
    ----------
    rungs : sequence of Rung
        The pass.
    x, y : int
        Extent of the task, in voxels of the first rung.
    halo : int
        As in `Pass`.
    threads : int
        How many threads a kernel uses, or how many strips are under way at once.
    rows : int
        As in `Pass`.
    """
    first = rungs[0]
    slab = first.chunk[2] + (rungs[1].factor[2] - 1 if len(rungs) > 1 else 0)
    if halo:
        slab = min(rungs[1].chunk[2] * rungs[1].factor[2] + 2 * halo, _size(first, 2))
    wide = [_size_read(rungs, extent, axis, halo) for axis, extent in enumerate((x, y))]
    under_way = threads * wide[0] * rows if rows else 2 * math.prod(wide)
    total = under_way * min(slab, _size(first, 2)) * first.voxel_bytes
    for n, (finer, rung) in enumerate(pairwise(rungs)):
        cells = [min(-(-n // f) + 1, _size(rung, i)) for i, (n, f) in enumerate(zip(wide, rung.factor, strict=False))]
        thick = min(rung.chunk[2] + rung.factor[2] // finer.factor[2] - 1, _size(rung, 2))
        total += math.prod(cells) * thick * rung.voxel_bytes * (1 + (rows > 0 and n == 0))  # filled while it is written
    chunk = max(_bytes(rung, rung.chunk) for rung in rungs)
    rewritten = [rung for rung in rungs if rung.unit != rung.chunk]
    shard = max((_bytes(rung, rung.unit) for rung in rewritten), default=0)
    filtering = 64 * threads * (1 << 20) if halo else 0  # float64 copies of a million voxels
    writing = min(WRITING_BYTES, 2 * total) + 6 * max(0, chunk - (4 << 20))
    rewriting = 2 * max(2 * shard, min(6 * shard, WRITING_BYTES))  # some shards, as they were and as they become
    return total + max(writing, rewriting) + filtering


def _bytes(rung: Rung, shape: Factor) -> int:
    return math.prod(min(n, _size(rung, axis)) for axis, n in enumerate(shape)) * rung.voxel_bytes


def _size(rung: Rung, axis: int) -> int:
    low, high = corners(rung.bounds)
    return high[axis] - low[axis]


def _size_read(rungs: Sequence[Rung], extent: int, axis: int, halo: int) -> int:
    """Return how many voxels along an axis a task of this extent reads at most."""
    low, factor = corners(rungs[0].bounds)[0][axis], rungs[-1].factor[axis]
    around = 2 * halo + factor - 1 if halo else low % factor
    return min(extent + around, _size(rungs[0], axis))
