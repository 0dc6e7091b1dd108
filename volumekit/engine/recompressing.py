"""Chunks compressed otherwise where they are: nothing is decoded, and readers find each of them at any time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from volumekit.engine.array import ONE, LevelArray
from volumekit.engine.chunks import Part, parts
from volumekit.engine.drive import Unit, overlap
from volumekit.engine.pool import pool
from volumekit.errors import UnsupportedError
from volumekit.model.bbox import Bbox
from volumekit.storage.base import Future, Store, then
from volumekit.storage.headed import HeadedStore
from volumekit.storage.suffix import SuffixStore

_IN_FLIGHT = 16


@dataclass
class Recompressed:
    """How many chunks were stored anew, and how many were as wanted or are not there."""

    written: int = 0
    same: int = 0


def check_recompressible(array: LevelArray) -> None:
    """Raise unless chunks of a level can be compressed one by one.

    Raises
    ------
    UnsupportedError
        If they cannot.
    """
    name, key = array.fmt.name, array.level.key
    if array.shared or not array.fmt.suffixed:
        raise UnsupportedError(
            f"chunks of {key} are compressed as the metadata of the {name} data say; convert to a new place instead",
            url=array.store.url,
            key=key,
        )
    if not isinstance(array.files, SuffixStore | HeadedStore):
        raise UnsupportedError("this storage has no place to say how chunks are compressed", url=array.store.url)


def recompress(array: LevelArray, box: Bbox, *, counts: Recompressed, report: Callable[[int], object]) -> Unit[None]:
    """Store the chunks of a box as the level's options say.

    Parameters
    ----------
    array : LevelArray
        The level; see `check_recompressible`.
    box : Bbox
        Inside the bounds; every chunk it touches counts.
    counts : Recompressed
        Counts.
    report : callable
        Told of bytes of voxels done.

    Raises
    ------
    PermissionDeniedError, NoSpaceError, StorageError, CorruptChunkError
        Through the unit.
    """
    (x, y, z), (a, b, c) = box.minpt.tolist(), box.maxpt.tolist()
    found: Iterable[Part] = parts(array.level, (x, y, z, 0), (a, b, c, array.level.channels), ONE)
    yield from overlap((_one(array, part, counts, report) for part in found), depth=_IN_FLIGHT, finish=True)


def _one(array: LevelArray, part: Part, counts: Recompressed, report: Callable[[int], object]) -> Unit[None]:
    future = _rewritten(array.files, array.fmt.key(array.level, part.cell), array.options.threads)
    yield future
    written = future.result()
    counts.written += written
    counts.same += not written
    report(math.prod(part.shape) * array.level.dtype.itemsize)


def _rewritten(files: Store, key: str, threads: int | None) -> Future[bool]:
    if isinstance(files, SuffixStore):
        return files.recompress(key)
    updated = files.update({key: lambda now: None if now is None else now.data}, executor=pool(threads))
    return then(updated, lambda _: True)
