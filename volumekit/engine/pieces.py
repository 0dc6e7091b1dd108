"""Cutting a box into pieces of whole chunks: what bounds memory, shows progress and lets Ctrl-C stop."""

from __future__ import annotations

import math
from collections.abc import Iterator

from volumekit.model.level import Level

Point = tuple[int, int, int, int]

READ_BYTES = 3 << 20
"""Voxels read at a time: smaller pieces cost time, larger ones memory."""

WRITE_BYTES = 32 << 20
"""Voxels written at a time: large enough that the processors are seldom short of chunks to encode."""

FAR_CHUNKS, FAR_BYTES = 64, 16 << 20
"""What of a far store is under way at once: so many chunks at most, and so many bytes, more for large boxes."""

MOST_CHUNKS = 256
"""Chunks in a piece at most, however small: a piece that is under way cannot be interrupted."""


def extent(low: Point, high: Point, step: Point) -> Point:
    """Return how many voxels a box with steps has along each axis."""
    x, y, z, c = (-(-(b - a) // s) for a, b, s in zip(low, high, step, strict=True))
    return x, y, z, c


def far_window(size: int) -> int:
    """Return how many bytes of a far store are under way at once for a box of ``size`` bytes.

    Enough to hide that each chunk takes its time to arrive, little beside the box itself.
    """
    return max(FAR_BYTES, size // 12)


def pieces(level: Level, low: Point, high: Point, *, size: int, shards: bool = False) -> Iterator[tuple[Point, Point]]:
    """Cut a box along the chunk grid.

    Parameters
    ----------
    level : Level
        Gives the grid and the memory order: pieces grow along the fastest axis first.
    low, high : tuple of int
        The box, (x, y, z, channel), half-open.
    size : int
        Bytes a piece should have; one chunk is the least.
    shards : bool
        Whether the least is one shard, where shards are boxes: who writes less than that writes it again and again.

    Yields
    ------
    tuple
        ``low`` and ``high`` of a piece; together they are the box, none shares a chunk with another.
    """
    step = _step(level, low, high, size, _unit(level) if shards else level.chunk)
    origin = (*level.offset, 0)
    starts = [_cuts(low[a], high[a], origin[a], step[a]) for a in range(4)]
    slow = level.order
    for s0 in starts[slow[0]]:
        for s1 in starts[slow[1]]:
            for s2 in starts[slow[2]]:
                for s3 in starts[slow[3]]:
                    spans = dict(zip(slow, (s0, s1, s2, s3), strict=True))
                    yield _point(spans, 0), _point(spans, 1)


def _point(spans: dict[int, tuple[int, int]], end: int) -> Point:
    return spans[0][end], spans[1][end], spans[2][end], spans[3][end]


def _unit(level: Level) -> Point:
    """Return the extent of a shard, or of a chunk where there are none that are boxes.

    A shard may hold several channels, so a piece has all of them.
    """
    shape = level.sharding.shape if level.sharding is not None else None
    return level.chunk if shape is None else (*shape, level.channels)


def _step(level: Level, low: Point, high: Point, size: int, unit: Point) -> list[int]:
    """Return the piece's extent per axis: whole chunks or shards, grown along the fastest axis first."""
    step = list(unit)
    sides = zip(step, level.chunk, high, low, strict=True)
    # What is written of a shard, however little, takes the memory of all of it.
    voxels = math.prod(c if c > chunk else min(c, h - b) for c, chunk, h, b in sides)
    room = min(MOST_CHUNKS, size // max(1, voxels * level.dtype.itemsize))
    for axis in reversed(level.order):
        needed = -(-(high[axis] - low[axis]) // step[axis]) + 1
        grow = max(1, min(needed, room))
        step[axis] *= grow
        room //= grow
    return step


def _cuts(low: int, high: int, origin: int, step: int) -> list[tuple[int, int]]:
    first = origin + (low - origin) // step * step
    return [(max(at, low), min(at + step, high)) for at in range(first, high, step)]
