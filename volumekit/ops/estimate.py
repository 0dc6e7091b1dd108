"""How long a job will take and how much room its result needs: known sizes, and a sample that is really worked on."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volumekit.model.grid import grid_shape
from volumekit.model.level import Level
from volumekit.ops.ladder import PROGRAM_BYTES
from volumekit.ops.memory import format_amount
from volumekit.ops.pyramid import Pass
from volumekit.ops.sample import Sample, voxel_bytes

if TYPE_CHECKING:
    from volumekit.ops.build import Build
    from volumekit.volume.volume import Volume


@dataclass(frozen=True)
class LevelEstimate:
    """What is known of a level before it is made.

    Attributes
    ----------
    key : str
        Its name.
    shape : tuple of int
        (x, y, z, channel).
    chunks : int
        Number of chunks.
    voxel_bytes : int
        Bytes of its voxels.
    stored_bytes : int
        Bytes they will take as stored, judging by the sample.
    """

    key: str
    shape: tuple[int, int, int, int]
    chunks: int
    voxel_bytes: int
    stored_bytes: int


@dataclass(frozen=True)
class Estimate:
    """What a job will take, judging by a sample of it.

    Attributes
    ----------
    url : str
        The target.
    levels : tuple of LevelEstimate
        Finest first; only those that will be written.
    read_bytes : int
        Bytes of voxels that will be read, all passes together.
    seconds : float
        How long reading, reducing and encoding will take here; how fast the target takes what is written is not known.
    memory_bytes : int
        The most memory that the process will use.
    tasks : int
        Number of tasks.
    free_bytes : int or None
        Room where the target is, if that is a local disk.
    """

    url: str
    levels: tuple[LevelEstimate, ...]
    read_bytes: int
    seconds: float
    memory_bytes: int
    tasks: int
    free_bytes: int | None

    @classmethod
    def nothing(cls, url: str) -> Estimate:
        """Return the estimate of a job that is done already."""
        return cls(url, (), 0, 0.0, PROGRAM_BYTES, 0, None)

    @property
    def voxel_bytes(self) -> int:
        """Bytes of the voxels of all levels."""
        return sum(level.voxel_bytes for level in self.levels)

    @property
    def stored_bytes(self) -> int:
        """Bytes that all levels will take as stored."""
        return sum(level.stored_bytes for level in self.levels)

    def times(self, count: int) -> Estimate:
        """Return what doing the same so many times will take, one after the other."""
        levels = tuple(
            replace(
                level,
                chunks=level.chunks * count,
                voxel_bytes=level.voxel_bytes * count,
                stored_bytes=level.stored_bytes * count,
            )
            for level in self.levels
        )
        return replace(
            self,
            levels=levels,
            read_bytes=self.read_bytes * count,
            seconds=self.seconds * count,
            tasks=self.tasks * count,
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "voxel_bytes": self.voxel_bytes, "stored_bytes": self.stored_bytes}

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        if not self.tasks:
            yield f"{self.url} is finished: nothing is left to do"
            return
        row = "{:>16}  {:>22}  {:>12}  {:>9}  {:>9}".format
        yield row("level", "size", "chunks", "voxels", "stored")
        for level in self.levels:
            size = " x ".join(map(str, level.shape[: 4 if level.shape[3] > 1 else 3]))
            sizes = format_amount(level.voxel_bytes), format_amount(level.stored_bytes)
            yield row(level.key, size, f"{level.chunks:,}", *sizes)
        yield row(
            "all",
            "",
            f"{sum(level.chunks for level in self.levels):,}",
            format_amount(self.voxel_bytes),
            format_amount(self.stored_bytes),
        )
        plural = "s" * (self.tasks != 1)
        moved = f"{format_amount(self.read_bytes)} of voxels in, {format_amount(self.stored_bytes)} out as stored"
        yield f"work: {self.tasks:,} task{plural}; {moved}"
        yield f"time: about {format_seconds(self.seconds)} and what {self.url} takes to store it"
        yield f"memory: at most {format_amount(self.memory_bytes)}"
        if self.free_bytes is not None:
            short = "" if self.stored_bytes < self.free_bytes else ": NOT ENOUGH"
            yield f"room: {format_amount(self.free_bytes)} free there{short}"


def format_seconds(seconds: float) -> str:
    """Return a time for reading, such as ``"3 min"``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.1f} s"


def estimate(build: Build) -> Estimate:
    """Estimate a job by doing a small part of it in memory; nothing is written anywhere else.

    Parameters
    ----------
    build : Build
        The job.

    Returns
    -------
    Estimate
        Times are those of this machine now. The sample comes from some places of the source and takes seconds.

    Raises
    ------
    MissingChunkError, CorruptChunkError, PermissionDeniedError, StorageError
        If the sample cannot be read.
    """
    passes = [stage for stage in build.plan.stages if isinstance(stage, Pass)]
    mips = [rung.mip for rung in passes[0].rungs] + [rung.mip for stage in passes[1:] for rung in stage.rungs[1:]]
    factors = [stage.steps(n) for stage in passes for n in range(1, len(stage.rungs))]
    sample = Sample(build, mips, factors, writes_first=passes[0].copies)
    sample.take()
    written = mips if passes[0].copies else mips[1:]
    return Estimate(
        url=build.target.cloudpath,
        levels=tuple(_level(build.target.levels[mip], sample.ratio(mip)) for mip in written),
        read_bytes=build.plan.nbytes,
        seconds=sample.seconds(build.plan.nbytes),
        memory_bytes=PROGRAM_BYTES + build.plan.peak_bytes(build.threads),
        tasks=len(build.plan.tasks),
        free_bytes=free_bytes(build.target),
    )


def _level(level: Level, ratio: float) -> LevelEstimate:
    size = voxel_bytes(level)
    chunks = math.prod(grid_shape(level.bounds, level.chunk[:3])) * -(-level.channels // level.chunk[3])
    return LevelEstimate(level.key, level.shape, chunks, size, round(size * ratio))


def free_bytes(target: Volume) -> int | None:
    """Return the room on the disk that a target will be on, None if it is on none."""
    if target._url.protocol != "file":
        return None
    place = Path(target._url.path)
    return shutil.disk_usage(next(p for p in (place, *place.parents) if p.exists())).free
