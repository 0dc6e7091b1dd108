"""Comparing volumes, voxel by voxel or by checksums: all of them, or a sample that is the same every time."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.engine.copying import alike, compare
from volumekit.errors import CorruptChunkError, ImageStackError, MissingChunkError, OptionError, ScaleUnavailableError
from volumekit.model.bbox import Bbox
from volumekit.model.boxes import Boxes
from volumekit.ops.blocks import block_shape, voxel_bytes
from volumekit.ops.ladder import PROGRAM_BYTES
from volumekit.ops.memory import parse_amount
from volumekit.ops.options import box_inside
from volumekit.ops.plan import Plan, Stage, Task
from volumekit.ops.positions import tell_first
from volumekit.ops.pyramid import Factor
from volumekit.ops.run import run, thread_count
from volumekit.ops.runners import Report, choose_runner
from volumekit.ops.verification import Verification
from volumekit.volume.volume import Volume

UNREADABLE = (MissingChunkError, CorruptChunkError, ImageStackError)


def verify(
    src: Volume | str | os.PathLike[str],
    dst: Volume | str | os.PathLike[str],
    *,
    box: Any = None,
    mip: Any = 0,
    sample: float = 1.0,
    seed: int = 0,
    tolerance: float = 0,
    checksums: bool = False,
    memory: str | int = "1GB",
    jobs: int | None = None,
    progress: bool | None = None,
    processes: int | None = None,
    client: Any = None,
) -> Verification:
    """Compare two volumes.

    Parameters
    ----------
    src, dst : Volume, str or os.PathLike
        What to compare; voxels of the same coordinates are.
    box : Bbox or slices, optional
        Half-open, in voxels of the mip; default: all of the source.
    mip : int or sequence of float
        At which level, by number or by voxel size. The other volume's level is that of the same number where both have
        equally many, else that of the same voxel size, else the finest that reaches equally far.
    sample : float
        Which share of the boxes to compare; 1 is all.
    seed : int
        Chooses them.
    tolerance : float
        By how much values may differ, for lossy encodings.
    checksums : bool
        Whether to compare the stored chunks by size and CRC32C instead of decoding them; for volumes with the same
        chunks and encoding, in shards or not. A chunk that is missing in both is equal.
    memory : str or int
        What the process may use.
    jobs : int, optional
        How many threads; default: one per core.
    progress : bool, optional
        Whether to show a progress bar; None: in interactive sessions.
    processes, client : int; dask.distributed.Client
        As for `convert`.

    Returns
    -------
    Verification
        True if they are equal; tells where they are not. Chunks that are damaged or missing are told of, no errors.

    Raises
    ------
    OptionError
        If they cannot be compared: other extents, numbers of channels or voxel sizes; with ``checksums`` other chunks.
    PermissionDeniedError, StorageError
        If something cannot be read.
    """
    one, two = (v if isinstance(v, Volume) else Volume(v) for v in (src, dst))
    for volume in (one, two):
        tell_first(volume, "compared")
    number = one.to_mip(mip)
    other = _other(one, number, two)
    part = box_inside(box, one.levels[number].bounds)
    work = Compare(one, two, number, other, tolerance=tolerance, checksums=checksums)
    how: dict[str, Any] = {"jobs": thread_count(jobs), "progress": progress, "memory": parse_amount(memory)}
    return work.run(part, sample=sample, seed=seed, runner=choose_runner(processes, client), **how)


def _other(one: Volume, mip: int, two: Volume) -> int:
    """Return the mip of the other volume to compare with."""
    if len(one.levels) == len(two.levels):
        return mip
    level = one.levels[mip]
    try:
        return two.to_mip(list(level.resolution))
    except ScaleUnavailableError:
        for number, found in enumerate(two.levels):
            if found.bounds == level.bounds:
                return number
        raise


@dataclass(frozen=True)
class Compare:
    """Compares boxes of two levels; calling it does one task.

    Attributes
    ----------
    one, two : Volume
        What to compare.
    mip, other : int
        At which levels.
    shift : tuple of int
        What to add to coordinates of the first for those of the second, (x, y, z).
    tolerance : float
        By how much values may differ.
    checksums : bool
        Whether stored chunks are compared instead.
    """

    one: Volume
    two: Volume
    mip: int
    other: int
    shift: tuple[int, int, int] = (0, 0, 0)
    tolerance: float = 0
    checksums: bool = False

    def run(
        self, part: Bbox, *, sample: float, seed: int, memory: int, jobs: int, progress: bool | None, runner: Any
    ) -> Verification:
        """Compare a box; parameters and errors as for `verify`."""
        if not 0 < sample <= 1:
            raise OptionError(f"sample is {sample!r}; it is a share, above 0 and at most 1")
        self._check(part)
        level = self.one.levels[self.mip]
        shape, need = self.blocks()
        boxes = Boxes(level.bounds, shape, part)
        found = self._found(blocks=len(boxes))
        chosen = np.random.default_rng(seed).permutation(len(boxes))[: max(1, round(sample * len(boxes)))]
        tasks = tuple(Task(n, 0, boxes[at]) for n, at in enumerate(sorted(chosen.tolist())))
        size = sum(int(task.box.volume()) for task in tasks) * voxel_bytes(level)
        plan = Plan((Stage(tasks, need, size),), max(0, memory - PROGRAM_BYTES))
        how: dict[str, Any] = {"jobs": jobs, "progress": progress, "runner": runner, "verb": "Verifying"}
        run(plan, self, collect=lambda task, seen: found.add(seen), **how)
        found.sort()
        return found

    def blocks(self) -> tuple[Factor, int]:
        """Return the extent of the boxes that are compared, and the bytes that comparing one takes."""
        level = self.one.levels[self.mip]
        voxel = voxel_bytes(level) + voxel_bytes(self.two.levels[self.other])
        shape = block_shape(level, level.chunk[:3], voxel)
        return shape, 3 * voxel * math.prod(shape)  # the voxels of both, and where they differ

    def _found(self, **facts: Any) -> Verification:
        unit = "chunks" if self.checksums else "voxels"
        return Verification(self.one.cloudpath, self.two.cloudpath, self.mip, unit, **facts)

    def _check(self, part: Bbox) -> None:
        a, b, url = self.one.levels[self.mip], self.two.levels[self.other], self.two.cloudpath
        if a.channels != b.channels:
            raise OptionError(f"{a.channels} channels cannot be compared with {b.channels}", url=url)
        if not b.bounds.contains_bbox(self.there(part)):
            raise OptionError(f"{part} reaches outside the other volume, {b.bounds}", url=url, box=part)
        if self.checksums and not alike(self.one.array(self.mip), self.two.array(self.other)):
            raise OptionError("their chunks are not the same or encoded in other ways; leave out checksums", url=url)

    def there(self, box: Bbox) -> Bbox:
        """Return a box of the first volume as one of the second."""
        return box + self.shift

    def read(self, box: Bbox) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the voxels of a box of both."""
        a = self.one.download(box, self.mip, progress=False)
        return np.asarray(a), np.asarray(self.two.download(self.there(box), self.other, progress=False))

    def __call__(self, task: Task, report: Report) -> Verification:
        """Do one task, see `volumekit.ops.run.Work`; return what it found."""
        found = self._found(compared=1)
        try:
            if self.checksums:
                self._chunks(task.box, found, report)
            else:
                self._voxels(task.box, found, report)
        except UNREADABLE as error:
            found.errors.append(str(error))
        return found

    def _chunks(self, box: Bbox, found: Verification, report: Report) -> None:
        for voxels, size, same in compare(self.one.array(self.mip), self.two.array(self.other), box):
            found.chunks += 1
            if not same:
                found.different += 1
                found.boxes.append(voxels)
            report(size)

    def _voxels(self, box: Bbox, found: Verification, report: Report) -> None:
        a, b = self.read(box)
        found.voxels = a.size
        found.different, found.largest = differences(a, b, self.tolerance)
        if found.different:
            found.boxes.append(box)
        report(a.nbytes)


def differences(a: NDArray[Any], b: NDArray[Any], tolerance: float) -> tuple[int, float]:
    """Return how many values differ by more than the tolerance, and the largest difference; NaN equals itself."""
    wrong = a != b
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        wrong &= ~(np.isnan(a) & np.isnan(b))
    if not wrong.any():
        return 0, 0.0
    larger, smaller = np.maximum(a[wrong], b[wrong]), np.minimum(a[wrong], b[wrong])
    exact = np.uint64 if larger.dtype.kind in "iub" else np.float64  # labels beyond 2**53 are no float64
    apart = larger.astype(exact) - smaller.astype(exact)
    count = np.count_nonzero(~(apart <= tolerance)) if tolerance else len(apart)
    return int(count), float(np.nanmax(apart, initial=0))
