"""Where a transfer goes: a volume that is there, or a new one like the source; whether it may go there."""

from __future__ import annotations

import copy as copying
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volumekit.errors import DatasetNotFoundError, OptionError, ReadOnlyError, TargetExistsError
from volumekit.formats.precomputed import Precomputed
from volumekit.model.level import Level
from volumekit.ops.positions import check_chosen
from volumekit.ops.resume import last_journal
from volumekit.ops.target import listed
from volumekit.volume.volume import Volume

if TYPE_CHECKING:
    from volumekit.model.url import URL
    from volumekit.ops.journal import Journal


@dataclass(frozen=True)
class Receiver:
    """The target of a transfer.

    Attributes
    ----------
    volume : Volume
        The target; what its metadata is to say is not stored yet.
    pairs : tuple of tuple of int
        Mips of the source and of the target.
    is_new : bool
        Whether nothing was there.
    described : bool
        Whether its metadata has to be stored.
    ours : bool
        Whether what it holds is from the same source.
    last : Journal or None
        That of the last transfer there.
    """

    volume: Volume
    pairs: tuple[tuple[int, int], ...]
    is_new: bool
    described: bool
    ours: bool
    last: Journal | None

    @classmethod
    def open(
        cls,
        source: Volume,
        place: Volume | URL,
        mips: Sequence[int],
        *,
        journal: str | os.PathLike[str] | None,
        how: Mapping[str, Any],
    ) -> Receiver:
        """Open a target with some options, or describe a new one.

        Raises
        ------
        OptionError
            If it lacks a level, or no position was chosen of a further axis.
        ReadOnlyError
            If a source like this goes to volumes only that are there.
        """
        if isinstance(place, Volume):
            target, is_new = _given(place, how), False
        else:
            target, is_new = _target(source, place, mips, how)
        check_chosen(source, target)
        last = last_journal(target.array(0).store, "transfer", path=journal)
        ours = is_new or _is_ours(last, source)
        described = is_new or (ours and _describe(target, source, mips)) or not listed(target)
        pairs = tuple((mip, _match(source.levels[mip], target)) for mip in mips)
        return cls(target, pairs, is_new, described, ours, last)

    def check(self, job: Mapping[str, Any], *, overwrite: bool) -> None:
        """Refuse to write over what is from elsewhere, and to leave another transfer half done.

        Raises
        ------
        TargetExistsError
            If so, and ``overwrite`` is off.
        """
        if overwrite:
            return
        if self.last is not None and not self.last.finished:
            self.last.check(job)
        if not self.ours:
            _check_empty(self.volume, [other for _, other in self.pairs])

    def coarser(self) -> list[int]:
        """Return the mips above those that are transferred that show what was there before, from elsewhere."""
        first = 1 + max(other for _, other in self.pairs)
        here = [] if self.ours else range(first, len(self.volume.levels))
        return [mip for mip in here if self.volume.has_data(mip)]


def _is_ours(last: Journal | None, source: Volume) -> bool:
    """Tell whether the last transfer to a place was from this source."""
    job = {} if last is None else last.job
    return job.get("source") == source.cloudpath and (job.get("at") or {}) == dict(source.at or {})


def _check_empty(target: Volume, mips: Sequence[int]) -> None:
    for mip in mips:
        if target.has_data(mip):
            raise TargetExistsError(
                f"mip {mip} of {target.cloudpath} holds chunks that are from elsewhere; overwrite=True (--overwrite) "
                "writes over them, where the source has others",
                url=target.cloudpath,
            )


def _given(volume: Volume, how: Mapping[str, Any]) -> Volume:
    """Return a volume that is the target, with further options."""
    target = volume._snapshot()
    for name, value in how.items():
        setattr(target, name, value)
    return target


def _target(source: Volume, url: URL, mips: Sequence[int], how: Mapping[str, Any]) -> tuple[Volume, bool]:
    """Open the target, or describe a new one with some levels of the source."""
    try:
        return Volume(str(url), **how), False
    except DatasetNotFoundError:
        fmt = source.array(0).fmt
        if not isinstance(fmt, Precomputed):
            raise ReadOnlyError(
                f"{fmt.name} data cannot be transferred to a new place; convert it", url=str(url)
            ) from None
        info = copying.deepcopy(fmt.info)
        info["scales"] = [info["scales"][mip] for mip in dict.fromkeys(mips)]
        return Volume(str(url), info=info, **how), True


def _describe(target: Volume, source: Volume, mips: Sequence[int]) -> bool:
    """Add levels of the source to the description of a target that lacks them; tell whether there were any."""
    theirs, ours = source.array(0).fmt, target.array(0).fmt
    if not (isinstance(theirs, Precomputed) and isinstance(ours, Precomputed)):
        return False
    info, there = copying.deepcopy(ours.info), {scale["key"] for scale in ours.info["scales"]}
    wanted = (theirs.info["scales"][mip] for mip in dict.fromkeys(mips))
    lacking = [copying.deepcopy(scale) for scale in wanted if scale["key"] not in there]
    info["scales"] = sorted([*info["scales"], *lacking], key=lambda scale: [float(n) for n in scale["resolution"]])
    if lacking:
        target.info = info
    return bool(lacking)


def _match(level: Level, target: Volume) -> int:
    """Return the target's mip that holds the same voxels."""
    for number, other in enumerate(target.levels):
        if (other.resolution, other.bounds, other.channels) == (level.resolution, level.bounds, level.channels):
            return number
    raise OptionError(
        f"the target has no mip of {level.shape} voxels of {list(level.resolution)} nm at {level.bounds}; transfer "
        "to a new place, or add such a scale",
        url=target.cloudpath,
    )
