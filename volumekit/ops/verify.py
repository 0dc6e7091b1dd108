"""Comparing volumes, voxel by voxel: all of them, or a sample that is the same every time."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import CorruptChunkError, MissingChunkError, OptionError
from volumekit.model.bbox import Bbox
from volumekit.ops.options import box_inside
from volumekit.ops.plan import Plan, Stage, Task, cut
from volumekit.ops.run import run, thread_count
from volumekit.ops.runners import Report
from volumekit.volume.volume import Volume

BLOCK_BYTES = 16 << 20
SHOWN = 10


@dataclass
class Verification:
    """What a comparison found.

    Attributes
    ----------
    source, target : str
        What was compared.
    mip : int
        At which mip of the source.
    blocks : int
        Boxes there are.
    compared : int
        Boxes that were compared.
    voxels : int
        Voxels, times channels, that were compared.
    different : int
        Those that differ.
    largest : float
        Largest difference of two values.
    boxes : list of Bbox
        Boxes with differences, in voxels of the mip.
    errors : list of str
        What could not be read.
    """

    source: str
    target: str
    mip: int
    blocks: int = 0
    compared: int = 0
    voxels: int = 0
    different: int = 0
    largest: float = 0.0
    boxes: list[Bbox] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether no voxel differs and all could be read."""
        return not self.different and not self.errors

    def __bool__(self) -> bool:
        return self.equal

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        boxes = [[*box.minpt.tolist(), *box.maxpt.tolist()] for box in self.boxes]
        return {**self.__dict__, "boxes": boxes, "equal": self.equal}

    def __str__(self) -> str:
        share = "" if self.compared == self.blocks else f" ({self.compared:,} of {self.blocks:,} boxes)"
        if self.equal:
            return f"equal: {self.voxels:,} voxels{share} of mip {self.mip}"
        lines = [f"{self.different:,} of {self.voxels:,} voxels differ{share}, by {self.largest:g} at most"]
        lines += [f"different: {box}" for box in self.boxes[:SHOWN]]
        lines += [f"unreadable: {error}" for error in self.errors[:SHOWN]]
        left = len(self.boxes) + len(self.errors) - len(lines) + 1
        return "\n".join(lines + ([f"... and {left:,} more boxes"] if left > 0 else []))


def verify(
    src: Volume | str | os.PathLike[str],
    dst: Volume | str | os.PathLike[str],
    *,
    box: Any = None,
    mip: Any = 0,
    sample: float = 1.0,
    seed: int = 0,
    tolerance: float = 0,
    jobs: int | None = None,
    progress: bool | None = None,
) -> Verification:
    """Compare two volumes.

    Parameters
    ----------
    src, dst : Volume, str or os.PathLike
        What to compare; voxels of the same coordinates are.
    box : Bbox or slices, optional
        Half-open, in voxels of the mip; default: all of the source.
    mip : int or sequence of float
        At which level, by number or by voxel size. The other volume's level is that of the same voxel size.
    sample : float
        Which share of the boxes to compare; 1 is all.
    seed : int
        Chooses them.
    tolerance : float
        By how much values may differ, for lossy encodings.
    jobs : int, optional
        How many threads; default: one per core.
    progress : bool, optional
        Whether to show a progress bar; None: in interactive sessions.

    Returns
    -------
    Verification
        True if they are equal; tells where they are not. Chunks that are damaged or missing are told of, no errors.

    Raises
    ------
    OptionError
        If they cannot be compared: other extents, numbers of channels or voxel sizes.
    PermissionDeniedError, StorageError
        If something cannot be read.
    """
    if not 0 < sample <= 1:
        raise OptionError(f"sample is {sample!r}; it is a share, above 0 and at most 1")
    one, two = (v if isinstance(v, Volume) else Volume(v) for v in (src, dst))
    number = one.to_mip(mip)
    level = one.levels[number]
    other = two.to_mip(number if len(two.levels) == len(one.levels) else list(level.resolution))
    part = box_inside(box, level.bounds)
    _check_comparable(one, two, number, other, part)
    found = Verification(one.cloudpath, two.cloudpath, number)
    boxes = list(cut(part, _block(level.chunk, level.dtype.itemsize * level.channels)))
    found.blocks = len(boxes)
    chosen = np.random.default_rng(seed).permutation(len(boxes))[: max(1, round(sample * len(boxes)))]
    tasks = tuple(Task(n, 0, boxes[at]) for n, at in enumerate(sorted(chosen.tolist())))
    size = sum(int(task.box.volume()) for task in tasks) * level.channels * level.dtype.itemsize
    plan = Plan((Stage(tasks, 1, size),), 1 << 40)
    work = _Compare(one, two, number, other, tolerance, found)
    run(plan, work, jobs=thread_count(jobs), progress=progress, verb="Verifying")
    found.boxes.sort(key=lambda b: b.minpt.tolist())
    return found


def _check_comparable(one: Volume, two: Volume, mip: int, other: int, part: Bbox) -> None:
    a, b = one.levels[mip], two.levels[other]
    if a.channels != b.channels:
        raise OptionError(f"{a.channels} channels cannot be compared with {b.channels}", url=two.cloudpath)
    if not b.bounds.contains_bbox(part):
        raise OptionError(f"{part} reaches outside the other volume, {b.bounds}", url=two.cloudpath, box=part)


def _block(chunk: tuple[int, ...], voxel: int) -> list[int]:
    """Return the extent of the boxes to compare: whole chunks of the source."""
    block = list(chunk[:3])
    for axis in (0, 1, 2):
        while 2 * block[0] * block[1] * block[2] * voxel <= BLOCK_BYTES:
            block[axis] *= 2
            if block[axis] >= 1024:
                break
    return block


@dataclass
class _Compare:
    """Compares boxes; calling it does one task."""

    one: Volume
    two: Volume
    mip: int
    other: int
    tolerance: float
    found: Verification

    def __call__(self, task: Task, report: Report) -> None:
        try:
            a = self._read(self.one, self.mip, task.box)
            b = self._read(self.two, self.other, task.box)
        except (MissingChunkError, CorruptChunkError) as error:
            self.found.errors.append(str(error))
            self.found.compared += 1
            return
        self._note(task.box, a, b)
        report(a.nbytes)

    def _read(self, volume: Volume, mip: int, box: Bbox) -> NDArray[Any]:
        return np.asarray(volume.download(box, mip, progress=False))

    def _note(self, box: Bbox, a: NDArray[Any], b: NDArray[Any]) -> None:
        wrong = a != b
        if a.dtype.kind == "f" and b.dtype.kind == "f":
            wrong &= ~(np.isnan(a) & np.isnan(b))
        off = 0.0
        if wrong.any():
            apart = np.abs(a[wrong].astype(np.float64) - b[wrong].astype(np.float64))
            off, count = float(np.nanmax(apart, initial=0.0)), int(np.count_nonzero(~(apart <= self.tolerance)))
        else:
            count = 0
        self.found.compared += 1
        self.found.voxels += a.size
        self.found.different += count
        self.found.largest = max(self.found.largest, off)
        if count:
            self.found.boxes.append(box)
