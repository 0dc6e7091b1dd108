"""Comparing what a conversion stored with its source, before it counts as finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs import get_codec
from volumekit.errors import CorruptChunkError, OptionError
from volumekit.formats.precomputed import Precomputed
from volumekit.ops.changed import Change
from volumekit.ops.inputs import Input, VolumeInput
from volumekit.ops.verify import Compare

if TYPE_CHECKING:
    from volumekit.model.bbox import Bbox
    from volumekit.ops.runners import Runner
    from volumekit.volume.volume import Volume


def check_share(verify: bool | float, volume: Volume | None) -> float:
    """Return which share of the voxels to compare.

    Raises
    ------
    OptionError
        If it is none, or there is nothing to compare with.
    """
    share = float(verify)
    if not 0 <= share <= 1:
        raise OptionError(f"verify is {verify!r}; it is True, False, or a share below 1")
    if share and volume is None:
        raise OptionError("verify is for images and volumes; compare an array yourself")
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
class Proof:
    """A comparison to be made.

    Attributes
    ----------
    source : Input
        What is converted.
    target : Volume
        What was stored; its metadata need not be.
    box : Bbox
        The voxels that were converted, of the source.
    change : Change
        What became of their axes and values.
    shift : sequence of int
        What to add to their coordinates then for those of the target.
    share : float
        Which share to compare; 0: nothing.
    how : dict
        ``memory``, ``jobs`` and ``progress``.

    Raises
    ------
    OptionError
        If the target's encoding gives back other values than it was given.
    """

    source: Input
    target: Volume
    box: Bbox
    change: Change
    shift: Sequence[int]
    share: float
    how: dict[str, Any]

    def __post_init__(self) -> None:
        codec = self.target.levels[0].codec
        if self.share and isinstance(self.target._format, Precomputed) and not get_codec(codec).lossless:
            raise OptionError(
                f"{codec.name} may give back other values; compare afterwards: volumekit verify SRC DST --tolerance N"
            )

    def run(self, runner: Runner) -> dict[str, Any]:
        """Compare; return what the provenance should tell.

        Raises
        ------
        CorruptChunkError
            If something differs.
        """
        if not self.share or not isinstance(self.source, VolumeInput):
            return {}
        x, y, z = self.shift
        source = replace(self.source, damaged=None if self.source.damaged is None else {})
        both: Any = {"one": source.volume, "two": self.target, "mip": source.mip, "other": 0}
        work = _Made(**both, shift=(x, y, z), source=source, change=self.change)
        found = work.run(self.box, sample=self.share, seed=0, runner=runner, **self.how)
        if not found:
            raise CorruptChunkError(
                f"what was stored is not what the source holds: {found}\noverwrite=True (--overwrite) starts over",
                url=self.target.cloudpath,
            )
        return {"verified": str(found)}
