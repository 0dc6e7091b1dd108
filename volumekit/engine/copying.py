"""Chunks copied as they are from one level to another like it: nothing is decoded."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import google_crc32c as crc32c

from volumekit.engine.array import ONE, LevelArray
from volumekit.engine.chunks import Part, parts
from volumekit.engine.drive import Unit, overlap
from volumekit.model.bbox import Bbox
from volumekit.model.grid import cell_box
from volumekit.storage.base import Future, Store, Value, chain, done, gather, then
from volumekit.storage.suffix import SuffixStore

IN_FLIGHT = 32


@dataclass
class Copied:
    """What became of the chunks of a box.

    Attributes
    ----------
    written : int
        Chunks that were stored, or deleted because the source has none.
    same : int
        Chunks that were as they should be already.
    merged : int
        Chunks of which the box holds a part.
    """

    written: int = 0
    same: int = 0
    merged: int = 0


def alike(source: LevelArray, target: LevelArray) -> bool:
    """Tell whether chunks of one level are chunks of the other, byte by byte."""
    a, b = source.level, target.level
    if source.level.spans or target.level.spans:
        return False
    facts = ((x.bounds, x.chunk, x.dtype, x.channels, x.codec, x.order, x.fill) for x in (a, b))
    return source.fmt.name == target.fmt.name and len(set(map(repr, facts))) == 1


def compare(source: LevelArray, target: LevelArray, box: Bbox) -> Iterator[tuple[Bbox, int, bool]]:
    """Compare the stored chunks of two levels that are `alike`, by size and CRC32C; nothing is decoded.

    Parameters
    ----------
    source, target : LevelArray
        What to compare.
    box : Bbox
        Inside the bounds; every chunk it touches is compared, whole.

    Yields
    ------
    tuple
        The chunk's voxels, half-open; the bytes of them; and whether both have the same bytes, or none. Compression
        around them, such as ``.gz``, does not count.

    Raises
    ------
    PermissionDeniedError, StorageError, CorruptChunkError
        If one cannot be read.
    """
    waiting: deque[tuple[Part, Future[Value | None], Future[Value | None]]] = deque()
    (x, y, z), (a, b, c) = box.minpt.tolist(), box.maxpt.tolist()
    for part in parts(source.level, (x, y, z, 0), (a, b, c, source.level.channels), ONE):
        reading = (array.objects.read(array.fmt.key(array.level, part.cell)) for array in (source, target))
        waiting.append((part, *reading))  # type: ignore[arg-type]
        if len(waiting) >= IN_FLIGHT:
            yield _compared(source, *waiting.popleft())
    while waiting:
        yield _compared(source, *waiting.popleft())


def _compared(
    array: LevelArray, part: Part, one: Future[Value | None], two: Future[Value | None]
) -> tuple[Bbox, int, bool]:
    marks = [(len(value.data), crc32c.value(value.data)) if value else None for value in (one.result(), two.result())]
    voxels = cell_box(array.level.bounds, array.level.chunk[:3], part.cell[:3])
    return voxels, math.prod(part.shape) * array.level.dtype.itemsize, marks[0] == marks[1]


def copy(
    source: LevelArray, target: LevelArray, box: Bbox, *, copied: Copied, report: Callable[[int], object]
) -> Unit[None]:
    """Make a box of a level what it is in another one that is `alike`.

    Parameters
    ----------
    source, target : LevelArray
        From and to.
    box : Bbox
        Inside the bounds; chunks that it holds in part are merged.
    copied : Copied
        Counts.
    report : callable
        Told of bytes of voxels done.

    Raises
    ------
    PermissionDeniedError, StorageError, CorruptChunkError
        Through the unit.
    """
    (x, y, z), (a, b, c) = box.minpt.tolist(), box.maxpt.tolist()
    groups: dict[str, dict[str, str]] = {}
    sizes: dict[str, int] = {}
    for part in parts(source.level, (x, y, z, 0), (a, b, c, source.level.channels), ONE):
        key = target.fmt.key(target.level, part.cell)
        if not part.whole:
            yield from _merge(source, target, part, copied)
            report(_nbytes(part, source))
            continue
        group = target.objects.group(key) if target.shared else key
        groups.setdefault(group, {})[source.fmt.key(source.level, part.cell)] = key
        sizes[group] = sizes.get(group, 0) + _nbytes(part, source)
    units = (_copy_group(source, target, keys, copied, sizes[group], report) for group, keys in groups.items())
    yield from overlap(units, depth=2 if target.shared else IN_FLIGHT, finish=True)


def _nbytes(part: Part, array: LevelArray) -> int:
    x, y, z, c = part.shape
    return x * y * z * c * array.level.dtype.itemsize


def _merge(source: LevelArray, target: LevelArray, part: Part, copied: Copied) -> Unit[None]:
    """Write the voxels of a chunk that lie in the box."""
    level = source.level
    corner = [o + at * n for o, at, n in zip((*level.offset, 0), part.cell, level.chunk, strict=True)]
    x, y, z, c = (a + s.start for a, s in zip(corner, part.inside, strict=True))
    p, q, r, d = (a + s.stop for a, s in zip(corner, part.inside, strict=True))
    voxels = yield from source.read((x, y, z, c), (p, q, r, d))
    yield from target.write((x, y, z, c), (p, q, r, d), voxels)
    copied.merged += 1


def _copy_group(
    source: LevelArray,
    target: LevelArray,
    keys: Mapping[str, str],
    copied: Copied,
    size: int,
    report: Callable[[int], object],
) -> Unit[None]:
    """Copy the chunks of one object of the target."""
    if isinstance(source.objects, SuffixStore) and isinstance(target.objects, SuffixStore):
        future = _copy_stored(source.objects, target.objects, keys, copied, keep=target.options.compress is None)
    else:
        future = _copy_values(source, target, keys, copied)
    yield future
    report(size)


def _copy_stored(
    source: SuffixStore, target: SuffixStore, keys: Mapping[str, str], copied: Copied, *, keep: bool
) -> Future[object]:
    """Copy objects with the compression they have."""

    def one(key: str, name: str) -> Future[object]:
        def decide(both: Mapping[str, tuple[str, bytes] | None]) -> Future[object]:
            wanted, there = both["wanted"], both["there"]
            if wanted == there:
                copied.same += 1
                return done(None)
            copied.written += 1
            if wanted is None:
                return target.commit({name: None})
            return target.adopt(name, *wanted)

        return chain(gather({"wanted": source.stored(key), "there": target.stored(name)}), decide)

    if keep:
        return gather({key: one(key, name) for key, name in keys.items()})
    values = gather({name: source.read(key) for key, name in keys.items()})
    return chain(values, lambda found: _store(target, found, {}, copied))


def _copy_values(source: LevelArray, target: LevelArray, keys: Mapping[str, str], copied: Copied) -> Future[object]:
    wanted = gather({name: source.objects.read(key) for key, name in keys.items()})
    there = gather({name: target.objects.read(name) for name in keys.values()})
    return chain(wanted, lambda new: chain(there, lambda old: _store(target.objects, new, old, copied)))


def _store(
    target: Store, new: Mapping[str, Value | None], old: Mapping[str, Value | None], copied: Copied
) -> Future[object]:
    """Store what differs, all in one go."""
    data = {name: value and value.data for name, value in new.items()}
    before = {name: value and value.data for name, value in old.items()}
    changes = {name: value for name, value in data.items() if name not in before or before[name] != value}
    copied.same += len(data) - len(changes)
    copied.written += len(changes)
    if not changes:
        return done(None)
    return then(target.commit(changes), lambda stamps: None)
