"""A small part of a job, done in memory: what a byte costs and how small it becomes."""

from __future__ import annotations

import itertools
import math
import statistics
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from volumekit.engine.drive import run
from volumekit.engine.planes import reads_planes
from volumekit.model.bbox import Bbox
from volumekit.model.level import Level
from volumekit.model.url import URL
from volumekit.ops.inputs import DerivedInput, Input, VolumeInput
from volumekit.ops.kernels import downsample
from volumekit.ops.pyramid import Factor
from volumekit.storage import open_store

if TYPE_CHECKING:
    from volumekit.ops.build import Build

SAMPLE_BYTES = 16 << 20
"""Voxels in a sample."""

SAMPLES = 3
SECONDS = 3.0
"""After this long no further sample is taken."""


@dataclass
class _Cost:
    """Bytes worked on, and the seconds that took."""

    size: int = 0
    seconds: float = 0.0

    def add(self, size: int, since: float) -> None:
        self.seconds += time.perf_counter() - since
        self.size += size

    def of(self, size: int) -> float:
        """Return the seconds that so many bytes take."""
        return size * self.seconds / self.size if self.size else 0.0


@dataclass
class Sample:
    """A small part of a job, done in memory.

    Attributes
    ----------
    build : Build
        The job.
    mips : list of int
        The level read first, then those computed, each from the one before.
    factors : list of tuple of int
        From each to the next.
    writes_first : bool
        Whether the first one is written.
    """

    build: Build
    mips: list[int]
    factors: list[Factor]
    writes_first: bool
    reading: _Cost = field(default_factory=_Cost)
    reducing: dict[int, _Cost] = field(default_factory=dict)
    writing: dict[int, _Cost] = field(default_factory=dict)
    ratios: dict[int, list[float]] = field(default_factory=dict)

    def take(self) -> None:
        """Work on some places, until enough time has passed."""
        store = open_store(URL(None, "memory", f"volumekit-estimate-{uuid.uuid4().hex}"))
        self._target = self.build.target._snapshot()
        self._target._store = store
        self._target._forget()
        started = time.perf_counter()
        for number in range(SAMPLES):
            voxels = self._read((number + 1) / (SAMPLES + 1))
            if not number:
                self._make(voxels[tuple(slice(n) for n in self._level(0).cell)])
                self.reducing, self.writing, self.ratios = {}, {}, {}  # compiling does not count
            self._make(voxels)
            if time.perf_counter() - started > SECONDS:
                break

    def seconds(self, read_bytes: int) -> float:
        """Return how long the whole job takes."""
        total = self.reading.of(read_bytes)
        for cost in (self.writing, self.reducing):
            total += sum(one.of(voxel_bytes(self.build.target.levels[mip])) for mip, one in cost.items())
        return total

    def ratio(self, mip: int) -> float:
        """Return how many bytes are stored per byte of voxels."""
        return statistics.fmean(self.ratios[mip])

    def _level(self, number: int) -> Level:
        return self.build.target.levels[self.mips[number]]

    def _read(self, place: float) -> NDArray[Any]:
        level, source = self._level(0), self.build.source
        box = _box(level, source, place)
        x, y, z = box.size().tolist()
        voxels = self._target.array(self.mips[0]).empty((x, y, z, level.channels))
        started = time.perf_counter()
        source.read(box, voxels, lambda _: None)
        self.reading.add(voxels.nbytes, started)
        return voxels

    def _make(self, voxels: NDArray[Any]) -> None:
        """Reduce and write voxels of the first level."""
        if self.writes_first:
            self._write(0, voxels)
        for number, factor in enumerate(self.factors):
            started = time.perf_counter()
            coarser = downsample(voxels, factor, method=self.build.method, threads=self.build.threads)
            self.reducing.setdefault(self.mips[number], _Cost()).add(voxels.nbytes, started)
            voxels = coarser
            self._write(number + 1, voxels)

    def _write(self, number: int, voxels: NDArray[Any]) -> None:
        mip = self.mips[number]
        voxels, repeated = _cells(voxels, self._level(number))
        array, store = self._target.array(mip), self._target._store
        low = (*array.level.offset, 0)
        x, y, z, c = (a + n for a, n in zip(low, voxels.shape, strict=True))
        started = time.perf_counter()
        run(array.write(low, (x, y, z, c), voxels))
        self.writing.setdefault(mip, _Cost()).add(voxels.nbytes, started)
        size = 0
        for key in list(store.list()):
            value = store.read(key).result()
            size += len(value.data) if value else 0
            store.commit({key: None}).result()
        ratio = size / voxels.nbytes
        if repeated and number and self.mips[number - 1] in self.ratios:
            ratio = max(ratio, self.ratios[self.mips[number - 1]][-1])  # repetition compresses well
        self.ratios.setdefault(mip, []).append(ratio)


def voxel_bytes(level: Level) -> int:
    """Return the bytes of a level's voxels."""
    return math.prod(level.shape) * level.dtype.itemsize


def _box(level: Level, source: Input, place: float) -> Bbox:
    """Return a box of the target's first level to read, some way along each axis; whole images of a stack."""
    while isinstance(source, DerivedInput):
        source = source.base
    array = source.array() if isinstance(source, VolumeInput) else None
    size = level.shape[:3]
    if array is not None and reads_planes(array):
        plane = size[0] * size[1] * level.channels * level.dtype.itemsize
        extent = [size[0], size[1], max(1, min(size[2], level.chunk[2], SAMPLE_BYTES // plane))]
    else:
        chunk = level.chunk if array is None else map(max, level.chunk, array.level.chunk)
        extent = _grown([min(n, c) for n, c in zip(size, chunk, strict=False)], level)
    low = [
        o + min(round(place * n) // c * c, n - e)
        for o, n, c, e in zip(level.offset, size, level.chunk, extent, strict=False)
    ]
    return Bbox(low, [a + e for a, e in zip(low, extent, strict=True)])


def _grown(extent: list[int], level: Level) -> list[int]:
    """Double a box, its shortest side first, as long as it is no larger than a sample."""
    voxel = level.channels * level.dtype.itemsize
    axes = [0, 1, 2]
    while axes:
        axis = min(axes, key=lambda a: extent[a])
        longer = min(2 * extent[axis], level.shape[axis])
        if longer == extent[axis] or math.prod(extent) // extent[axis] * longer * voxel > SAMPLE_BYTES:
            axes.remove(axis)
        else:
            extent[axis] = longer
    return extent


def _cells(voxels: NDArray[Any], level: Level) -> tuple[NDArray[Any], bool]:
    """Return voxels as whole chunks of a level, and whether some of them had to be repeated for that.

    Thin slabs are put beside each other, so that a compressor finds no more repetition in them than there is.
    """
    cell = level.cell[:3]
    piece = [min(n, c) for n, c in zip(voxels.shape, cell, strict=False)]
    starts = [range(0, n - p + 1, p) for n, p in zip(voxels.shape, piece, strict=False)]
    places = list(itertools.product(*starts))
    grid = [-(-c // p) for c, p in zip(cell, piece, strict=True)]
    per_cell = math.prod(grid)
    counts = _counts(level, max(1, min(len(places) // per_cell, SAMPLE_BYTES // _cell_bytes(level))))
    out = np.empty((*(n * c for n, c in zip(counts, cell, strict=True)), voxels.shape[3]), voxels.dtype, order="F")
    supply = itertools.cycle(places)
    for low in itertools.product(*(range(0, n * c, c) for n, c in zip(counts, cell, strict=True))):
        chunk = out[tuple(slice(a, a + c) for a, c in zip(low, cell, strict=True))]
        for at in itertools.product(*(range(0, c, p) for c, p in zip(cell, piece, strict=True))):
            part = chunk[tuple(slice(a, a + p) for a, p in zip(at, piece, strict=True))]
            place = next(supply)
            part[...] = voxels[tuple(slice(a, a + n) for a, n in zip(place, part.shape, strict=False))]
    return out, len(places) < per_cell


def _counts(level: Level, most: int) -> list[int]:
    """Return how many chunks along each axis make a box of at most so many, as long as the level has them."""
    room = [n // c for n, c in zip(level.shape, level.cell[:3], strict=False)]
    counts = [1, 1, 1]
    while axes := [a for a in range(3) if 2 * counts[a] <= room[a] and 2 * math.prod(counts) <= most]:
        counts[min(axes, key=lambda a: counts[a])] *= 2
    return counts


def _cell_bytes(level: Level) -> int:
    return math.prod(level.cell) * level.dtype.itemsize
