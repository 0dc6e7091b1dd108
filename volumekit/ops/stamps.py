"""Whether what a job reads is still what it was when the job began: some of its chunks or shards, and its levels.

Chunks are not read for that, only asked for: files for the time of their last change, objects in buckets for their
ETag or generation. Which chunks, the job itself says, so that it is the same ones whenever it is looked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from volumekit.engine.marks import marks, objects_of
from volumekit.errors import DatasetNotFoundError, MetadataError, UnsupportedError
from volumekit.formats.stack import Stack
from volumekit.model.grid import Ranges, cells_touching

if TYPE_CHECKING:
    from volumekit.engine.array import LevelArray
    from volumekit.model.bbox import Bbox
    from volumekit.volume.volume import Volume

MOST = 64
"""Chunks or shards that are looked at."""

PER_SHARD = 16
"""Chunks that are chosen for each shard to be found, as several lie in one."""

SHOWN = 3

Part = tuple["LevelArray", "Bbox"]
"""A level, and the box of it that a job reads."""


def stamps_of(parts: Iterable[Part], seed: str) -> dict[str, str]:
    """Return the marks of chunks or shards that a job reads: of all, or of `MOST` of them.

    Parameters
    ----------
    parts : iterable of tuple
        What it reads: levels, and voxels of them.
    seed : str
        Hexadecimal digits that choose them, all over the parts.

    Returns
    -------
    dict
        Marks by name; without what the storage does not tell of, and empty for images.

    Raises
    ------
    PermissionDeniedError, StorageError
        If one cannot be asked for.
    """
    chosen = [part for part in parts if not isinstance(part[0].fmt, Stack)]
    found: dict[str, str] = {}
    for array, names in _sample(chosen, int(seed[:16], 16)):
        found |= {name: mark for name, mark in marks(array, names) if mark is not None}
    return found


def _sample(parts: Sequence[Part], seed: int) -> Iterator[tuple[LevelArray, list[str]]]:
    """Yield levels and the names of objects of them."""
    grids = [cells_touching(array.level.bounds, array.level.chunk[:3], box) for array, box in parts]
    counts = [math.prod(map(len, grid)) for grid in grids]
    most = MOST * (PER_SHARD if any(array.shared for array, _ in parts) else 1)
    numbers = np.random.default_rng(seed).choice(sum(counts), min(most, sum(counts)), replace=False)
    ends = np.cumsum(counts, dtype=np.int64)
    wheres = np.searchsorted(ends, numbers, side="right")
    for where, ((array, _), grid) in enumerate(zip(parts, grids, strict=True)):
        inside = (numbers[wheres == where] - (ends[where] - counts[where])).tolist()
        keys = (key for number in inside for key in _keys(array, grid, number))
        yield array, objects_of(array, keys)[: max(1, MOST * len(inside) // len(numbers))]


def _keys(array: LevelArray, grid: Ranges, number: int) -> Iterator[str]:
    """Return the keys of one of the chunks of a grid, x fastest."""
    rest, cell = number, []
    for cells in grid:
        rest, at = divmod(rest, len(cells))
        cell.append(cells[at : at + 1])
    x, y, z = cell
    return array.fmt.keys(array.level, (x, y, z, range(array.channel_cells)))


def changes(volume: Volume, stamps: Mapping[str, str]) -> list[str]:
    """Return the names of the chunks or shards whose marks are others now; errors as for `stamps_of`."""
    now = marks(volume.array(), stamps)
    return [name for name, mark in now if mark is not None and mark != stamps[name]]


def told(names: Sequence[str]) -> str:
    """Return which chunks or shards have changed, for a message."""
    more = ", ..." if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more} {'is' if len(names) == 1 else 'are'} not as before"


def stored_levels(volume: Volume, mips: Iterable[int]) -> Mapping[str, str | None] | None:
    """Return what the stored metadata say of levels now, by their keys; None if they do not make a dataset.

    Raises
    ------
    PermissionDeniedError, StorageError
        If they cannot be read.
    """
    keys, fresh = [volume.levels[mip].key for mip in mips], volume._snapshot()
    try:
        fresh.refresh_info()
        found = {level.key: repr(level) for level in fresh.levels}
    except (DatasetNotFoundError, MetadataError, UnsupportedError):
        return None
    return {key: found.get(key) for key in keys}
