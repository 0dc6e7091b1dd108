"""The coarser levels of a dataset that is there, from a given one on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from volumekit.errors import OptionError
from volumekit.formats.precomputed import Precomputed
from volumekit.model.plain import plain
from volumekit.ops.downsample import downsample
from volumekit.volume.places import place_of
from volumekit.volume.volume import Volume


def build_levels(
    dst: str | os.PathLike[str], first: int, last: int, *, overwrite: bool, dry_run: bool, **how: Any
) -> Volume | Any:
    """Keep the levels before ``first`` and build it and the following ones from them.

    Parameters
    ----------
    dst : str or os.PathLike
        The dataset.
    first, last : int
        The first and the last level to build.
    overwrite : bool
        Whether levels that are there already may be replaced; then none is left beyond ``last``.
    dry_run : bool
        Whether to write nothing, and return an estimate.
    **how
        As `downsample` takes.

    Returns
    -------
    Volume or Estimate
        The volume, or what it would take.

    Raises
    ------
    OptionError
        If there is no level to start from, or nothing to build.
    TargetExistsError
        If a level to be built holds data, and ``overwrite`` is off.
    """
    volume, first = Volume(dst), plain(first)
    count = len(volume.levels)
    if isinstance(first, bool) or not isinstance(first, int) or not 1 <= first <= count:
        raise OptionError(
            f"first_new_level is {first!r}; {volume.cloudpath} has the levels 0 to {count - 1}, so it is 1 to {count}"
        )
    if last < first:
        raise OptionError(f"mips={last} ends before first_new_level={first}: nothing is to be built")
    if overwrite and not dry_run:
        _cut_off(volume, last)
    return downsample(volume, mip=first - 1, mips=last - first + 1, overwrite=overwrite, dry_run=dry_run, **how)


def _cut_off(volume: Volume, last: int) -> None:
    """Remove the levels of a precomputed volume beyond a new last one: they would be of other voxels.

    In OME-Zarr new levels stand in place of all that are coarser anyway.
    """
    if not isinstance(volume._format, Precomputed):
        return
    array = volume.array(0)
    beyond = volume.info["scales"][last + 1 :]
    del volume.info["scales"][last + 1 :]
    if beyond:
        volume.commit_info()
    for scale in beyond:
        place_of(array.fmt).remove(array.store, scale["key"])


def check_unused(**given: Any) -> None:
    """Refuse options that new levels of old data cannot have; each is a pair of what was given and what is usual.

    Raises
    ------
    OptionError
        Naming the option.
    """
    for name, (value, usual) in given.items():
        if _plain(value) != _plain(usual):
            raise OptionError(f"{name} cannot be chosen with first_new_level: new levels are laid out as the old ones")


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | Mapping) or not hasattr(value, "__iter__") else list(value)
