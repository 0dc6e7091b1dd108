"""Levels to be added to a volume: what its metadata will say, and what is in their way."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volumekit.errors import TargetExistsError
from volumekit.formats.n5 import N5
from volumekit.formats.n5.extend import with_coarser_datasets
from volumekit.formats.precomputed import Precomputed
from volumekit.formats.precomputed.create import coarser_scale
from volumekit.formats.zarr import OmeZarr
from volumekit.formats.zarr.create import parsed
from volumekit.formats.zarr.extend import with_coarser
from volumekit.volume.create import refuse
from volumekit.volume.volume import Volume

if TYPE_CHECKING:
    from volumekit.formats.base import Format
    from volumekit.model.level import Level
    from volumekit.ops.pyramid import Factor


def can_grow(fmt: Format) -> bool:
    """Tell whether levels can be added to data of a format."""
    return isinstance(fmt, Precomputed | OmeZarr) or (isinstance(fmt, N5) and bool(fmt.paths))


@dataclass(frozen=True)
class Growth:
    """A volume with levels to be added.

    Attributes
    ----------
    url : str
        The volume.
    drafts : tuple
        Its new info, or its new format once for each position of its further axes.
    numbers : tuple of int
        The level to start from, and the new ones, finest first.
    keys : list of str
        Keys of the new levels.
    remove : list of str
        Keys of what has to go first.
    """

    url: str
    drafts: tuple[Any, ...]
    numbers: tuple[int, ...]
    keys: list[str]
    remove: list[str]

    def targets(self, **how: Any) -> list[Volume]:
        """Return the volumes that levels are built in, one after the other."""
        if isinstance(self.drafts[0], OmeZarr | N5):
            refuse(self.drafts[0].name, compress=how.pop("compress", None))
            how["delete_black_uploads"] = True
        return [Volume(self.url, info=draft, **how) for draft in self.drafts]


def grow(volume: Volume, first: int, steps: Sequence[Factor], *, method: str, overwrite: bool) -> Growth:
    """Describe a volume with coarser levels.

    Parameters
    ----------
    volume : Volume
        The volume.
    first : int
        The level to start from.
    steps : sequence of tuple of int
        From each level to the next, (x, y, z), one for each level.
    method : str
        How they are made.
    overwrite : bool
        Whether levels that already hold data may be replaced.

    Raises
    ------
    TargetExistsError
        If they hold data, and may not.
    """
    fmt = volume.array(first).fmt
    if isinstance(fmt, OmeZarr | N5):
        return _grow_image(volume, fmt, first, steps, method=method, overwrite=overwrite)
    info, keys = _describe(volume, first, steps, overwrite=overwrite)
    found = [scale["key"] for scale in info["scales"]]
    return Growth(volume.cloudpath, (info,), (first, *map(found.index, keys)), keys, keys)


def _grow_image(
    volume: Volume, fmt: OmeZarr | N5, first: int, steps: Sequence[Factor], *, method: str, overwrite: bool
) -> Growth:
    """Describe an image with coarser levels in place of all that were coarser before."""
    old = range(first + 1, len(volume.levels))
    for mip in old:
        _check_free(volume, mip, overwrite=overwrite)
    how: dict[str, Any] = {"kept": range(first + 1), "method": method}
    if isinstance(fmt, N5):
        documents = with_coarser_datasets(fmt, first, steps, **how)
    else:
        documents = with_coarser(fmt, first, steps, **how)
    drafts = tuple(parsed(type(fmt), documents, choices) for choices in _positions(fmt, fmt.levels[first]))
    keys = [level.key for level in drafts[0].levels[first + 1 :]]
    remove = [*dict.fromkeys([*keys, *(volume.levels[mip].key for mip in old)])]
    return Growth(volume.cloudpath, drafts, tuple(range(first, first + len(steps) + 1)), keys, remove)


def _positions(fmt: OmeZarr | N5, level: Level) -> Iterator[bytes]:
    """Yield choices that lead to every position on the further axes of an image, the current ones first."""
    chosen = json.loads(fmt.choices or b"{}")
    axes = [axis for axis in fmt.axes(level) if axis.position is not None]
    here = tuple(axis.position for axis in axes)
    every = itertools.product(*(range(axis.extent) for axis in axes))
    for places in (here, *(places for places in every if places != here)):
        yield json.dumps({**chosen, **dict(zip((axis.name for axis in axes), places, strict=True))}).encode()


def _describe(
    volume: Volume, first: int, steps: Sequence[Factor], *, overwrite: bool
) -> tuple[dict[str, Any], list[str]]:
    """Return an info with the new levels, and their keys, finest first."""
    info = copy.deepcopy(volume.info)
    scales, keys = info["scales"], []
    finer = scales[first]
    for step in steps:
        made = coarser_scale(finer, step)
        old = next((n for n, scale in enumerate(scales) if _same(scale, made)), None)
        if old is None:
            scales.append(made)
        else:
            _check_free(volume, old, overwrite=overwrite)
            made = _in_place_of(scales[old], finer, step)
            scales[old] = made
        keys.append(made["key"])
        finer = made
    scales[first + 1 :] = sorted(scales[first + 1 :], key=lambda scale: [float(n) for n in scale["resolution"]])
    return info, keys


def _same(scale: dict[str, Any], other: dict[str, Any]) -> bool:
    return [float(n) for n in scale["resolution"]] == [float(n) for n in other["resolution"]]


def _in_place_of(scale: dict[str, Any], finer: dict[str, Any], step: Factor) -> dict[str, Any]:
    """Return the scale that replaces one described before: its name and chunks, but every voxel."""
    kept = {"key": scale["key"], "chunk_size": scale["chunk_sizes"][0], "encoding": scale["encoding"]}
    return coarser_scale(finer, step, sharding=scale.get("sharding"), **kept)


def _check_free(volume: Volume, mip: int, *, overwrite: bool) -> None:
    level = volume.levels[mip]
    if level.error is None and volume.has_data(mip) and not overwrite:
        raise TargetExistsError(
            f"mip {mip} ({level.key}) already holds data; overwrite=True (--overwrite) replaces it",
            url=volume.cloudpath,
            key=level.key,
        )
