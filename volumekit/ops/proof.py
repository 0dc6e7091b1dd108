"""Comparing what a job stored with its source, level by level, before it counts as finished."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs import get_codec
from volumekit.errors import CorruptChunkError, OptionError
from volumekit.formats.precomputed import Precomputed
from volumekit.model.bbox import Bbox
from volumekit.ops.blocks import BLOCK_BYTES, block_shape, voxel_bytes
from volumekit.ops.changed import Change
from volumekit.ops.inputs import VolumeInput
from volumekit.ops.kernels import GAUSSIAN_RADIUS, downsample, downsample_gaussian
from volumekit.ops.verify import Compare

if TYPE_CHECKING:
    from volumekit.ops.journal import Journal
    from volumekit.ops.pyramid import Factor
    from volumekit.ops.runners import Runner
    from volumekit.ops.selection import Selection
    from volumekit.ops.verification import Verification
    from volumekit.volume.volume import Volume


def check_share(verify: bool | float) -> float:
    """Return which share of the voxels to compare.

    Raises
    ------
    OptionError
        If it is none.
    """
    share = float(verify)
    if not 0 <= share <= 1:
        raise OptionError(f"verify is {verify!r}; it is True, False, or a share below 1")
    return share


@dataclass(frozen=True)
class _Made(Compare):
    """Compares what was stored with what the conversion read: background where that had to be filled in.

    Attributes
    ----------
    source : VolumeInput, optional
        What was read, of the first volume.
    change : Change
        What became of its axes and values.
    """

    source: VolumeInput | None = None
    change: Change = field(default_factory=Change)

    def there(self, box: Bbox) -> Bbox:
        """Return a box of the source as one of the target."""
        return self.change.box(box) + self.shift

    def read(self, box: Bbox) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return what there should be, and what there is."""
        assert self.source is not None
        level = self.two.levels[self.other]
        voxels = np.empty((*box.size().tolist(), self.source.channels), self.source.dtype.newbyteorder("="), order="F")
        self.source.read(box, voxels, lambda _: None)
        found = np.asarray(self.two.download(self.there(box), self.other, progress=False))
        return self.change.made(voxels, level.dtype), found


@dataclass(frozen=True)
class Reduced(Compare):
    """Compares a level with what the next finer one gives, voxels as they are stored; both are of one volume.

    Attributes
    ----------
    finer : int
        The next finer level.
    steps : tuple of int
        From that to this one, (x, y, z).
    method : str
        How it was reduced.
    """

    finer: int = 0
    steps: Factor = (1, 1, 1)
    method: str = "mean"

    def blocks(self) -> tuple[Factor, int]:
        """Return the extent of the boxes, such that what they are made of is not much, and the bytes that one takes."""
        level = self.one.levels[self.mip]
        voxel = voxel_bytes(level) * (2 + math.prod(self.steps))
        shape = list(block_shape(level, level.chunk[:3], voxel))
        while math.prod(shape) * voxel > BLOCK_BYTES and max(shape) > 1:
            largest = shape.index(max(shape))
            shape[largest] = -(-shape[largest] // 2)
        wide = [n * f + 2 * self._halo for n, f in zip(shape, self.steps, strict=True)]
        need = math.prod(wide) + 3 * math.prod(shape)
        return (shape[0], shape[1], shape[2]), 2 * need * voxel_bytes(level)

    @property
    def _halo(self) -> int:
        return GAUSSIAN_RADIUS if self.method == "gaussian" else 0

    def read(self, box: Bbox) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return what there should be, and what there is."""
        wide = self._around(box, self._halo)
        voxels = np.asarray(self.one.download(wide, self.finer, progress=False))
        found = np.asarray(self.one.download(box, self.mip, progress=False))
        origin = wide.minpt.tolist()
        if not self._halo:
            return downsample(voxels, self.steps, method=self.method, origin=origin), found
        inner = self._around(box, 0)
        below, above = (inner.minpt - wide.minpt).tolist(), (wide.maxpt - inner.maxpt).tolist()
        halo = list(zip(below, above, strict=True))
        return downsample_gaussian(voxels, self.steps, origin=origin, halo=halo), found

    def _around(self, box: Bbox, halo: int) -> Bbox:
        """Return the voxels that a box is made of, or looks at."""
        low, high = box.minpt.tolist(), box.maxpt.tolist()
        return Bbox(
            [a * f - halo * (f > 1) for a, f in zip(low, self.steps, strict=True)],
            [b * f + halo * (f > 1) for b, f in zip(high, self.steps, strict=True)],
        ).intersection(self.one.levels[self.finer].bounds)


@dataclass(frozen=True)
class Levels:
    """Coarser levels to be compared with what the finer ones give.

    Attributes
    ----------
    target : Volume
        Has the levels; its metadata need not be stored.
    mips : sequence of int
        The finest, and those that were built, each from the one before.
    ladder : sequence of tuple of int
        From each to the next, (x, y, z).
    method : str
        How they were reduced.
    share : float
        Which share of each to compare; 0: nothing.
    how : dict
        ``memory``, ``jobs`` and ``progress``.

    Raises
    ------
    OptionError
        If the target's encoding gives back other values than it was given.
    """

    target: Volume
    mips: Sequence[int]
    ladder: Sequence[Factor]
    method: str
    share: float
    how: dict[str, Any]

    def __post_init__(self) -> None:
        told = bool(self.share) and isinstance(self.target._format, Precomputed)
        codecs = [self.target.levels[mip].codec for mip in self.mips if told]
        lossy = [codec.name for codec in codecs if not get_codec(codec).lossless]
        if lossy:
            raise OptionError(
                f"{lossy[0]} may give back other values; compare afterwards: volumekit verify SRC DST --tolerance N"
            )

    def run(self, runner: Callable[[], Runner]) -> list[Verification]:
        """Compare; return what was found, level by level."""
        if not self.share:
            return []
        levels = zip(pairwise(self.mips), self.ladder, strict=True)
        return [self._compare(finer, mip, steps, runner()) for (finer, mip), steps in levels]

    def _compare(self, finer: int, mip: int, steps: Factor, runner: Runner) -> Verification:
        both: Any = {"one": self.target, "two": self.target, "mip": mip, "other": mip}
        work = Reduced(**both, finer=finer, steps=steps, method=self.method)
        return work.run(self.target.levels[mip].bounds, sample=self.share, seed=0, runner=runner, **self.how)


@dataclass(frozen=True)
class Proof:
    """A comparison of what was stored with the source, and of each coarser level with the next finer one.

    Attributes
    ----------
    chosen : Selection
        What is converted.
    levels : Levels
        What was stored.
    """

    chosen: Selection
    levels: Levels

    def run(self, runner: Callable[[], Runner]) -> dict[str, Any]:
        """Compare; return what the provenance should tell.

        Raises
        ------
        CorruptChunkError
            If something differs.
        """
        source, levels = self.chosen.input, self.levels
        if not levels.share or not isinstance(source, VolumeInput):
            return {}
        x, y, z = self.chosen.shift
        source = replace(source, damaged=None if source.damaged is None else {})
        both: Any = {"one": source.volume, "two": levels.target, "mip": source.mip, "other": 0}
        work = _Made(**both, shift=(x, y, z), source=source, change=self.chosen.change)
        found = work.run(self.chosen.box, sample=levels.share, seed=0, runner=runner(), **levels.how)
        if not found:
            raise _differs("what was stored is not what the source holds", found, levels.target)
        return proven(levels.target, [found, *levels.run(runner)])


@contextlib.contextmanager
def proving(record: Journal | None) -> Iterator[None]:
    """Let the tasks of a job be done again if what they stored turns out to be wrong."""
    try:
        yield
    except CorruptChunkError:
        if record is not None:
            record.restart()
        raise


def proven(target: Volume, found: Sequence[Verification]) -> dict[str, Any]:
    """Return what the provenance should tell of comparisons.

    Raises
    ------
    CorruptChunkError
        If something differs.
    """
    for one in found:
        if not one:
            raise _differs(f"mip {one.mip} is not what the next finer level gives", one, target)
    return {"verified": "; ".join(map(str, found))} if found else {}


def _differs(what: str, found: Verification, target: Volume) -> CorruptChunkError:
    return CorruptChunkError(f"{what}: {found}\noverwrite=True (--overwrite) starts over", url=target.cloudpath)
