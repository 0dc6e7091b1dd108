"""Comparing what a conversion stored with its source, before it counts as finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volumekit.errors import CorruptChunkError, OptionError
from volumekit.ops.verify import Compare

if TYPE_CHECKING:
    from volumekit.model.bbox import Bbox
    from volumekit.ops.runners import Runner
    from volumekit.volume.volume import Volume

LOSSY = ("jpeg", "jxl", "zfpc", "kempressed")
"""Encodings that may give back other values."""


def check_share(verify: bool | float, volume: Volume | None, encoding: str, *, changed: bool = False) -> float:
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
    if share and changed:
        raise OptionError("verify compares voxel by voxel, but axes or values are changed; leave out verify")
    if share and encoding in LOSSY:
        raise OptionError(
            f"{encoding} may give back other values; compare afterwards: volumekit verify SRC DST --tolerance N"
        )
    return share


@dataclass(frozen=True)
class Proof:
    """A comparison to be made.

    Attributes
    ----------
    source : Volume or None
        What was converted, its current mip.
    target : Volume
        What was stored; its metadata need not be.
    part : Bbox
        The voxels that were converted, of the source.
    shift : sequence of int
        What to add to coordinates of the source for those of the target.
    share : float
        Which share to compare; 0: nothing.
    how : dict
        ``memory``, ``jobs`` and ``progress``.
    """

    source: Volume | None
    target: Volume
    part: Bbox
    shift: Sequence[int]
    share: float
    how: dict[str, Any]

    def run(self, runner: Runner) -> dict[str, Any]:
        """Compare; return what the provenance should tell.

        Raises
        ------
        CorruptChunkError
            If something differs.
        """
        if not self.share or self.source is None:
            return {}
        x, y, z = self.shift
        work = Compare(self.source, self.target, self.source.mip, 0, shift=(x, y, z))
        found = work.run(self.part, sample=self.share, seed=0, runner=runner, **self.how)
        if not found:
            raise CorruptChunkError(
                f"what was stored is not what the source holds: {found}\noverwrite=True (--overwrite) starts over",
                url=self.target.cloudpath,
            )
        return {"verified": str(found)}
