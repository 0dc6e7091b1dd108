"""Chunks decoded in Python straight into the array asked for, and encoded straight out of the one given.

What TensorStore does not read by itself comes this way: many objects are under way at once, each is decoded in our own
pool as it arrives, and nothing is copied twice. Chunks that live in one object (a shard) are written together.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from volumekit.engine.chunks import Chunks, Part, Stored, parts, point_parts
from volumekit.engine.drive import Unit, overlap
from volumekit.engine.options import IOOptions
from volumekit.engine.pieces import Point, far_window
from volumekit.engine.pool import pool, thread_count
from volumekit.formats.base import Format
from volumekit.model.bbox import Bbox
from volumekit.model.level import Level
from volumekit.storage.base import Change, Future, Store, Value, chain, done, gather, then

T = TypeVar("T")

WINDOW = 8 << 20
"""Stored bytes under way at once."""

SHARED_WINDOW = 128 << 20
"""Voxels under way at once, in bytes, where objects hold many chunks: such an object is written from memory."""

TOGETHER, BATCHES = 8, 4
"""Most chunks that a thread takes on at once, as handing over takes time; how many turns each thread has
at least, of what is left."""

FAR_LEAST, LEAST, MOST = 2, 6, 64
"""Bounds of the number of objects under way at once: all cores stay busy, also behind a slow network."""


class Direct:
    """Reads and writes boxes of one level.

    Parameters
    ----------
    objects : Store
        Where the chunks are; containers and suffixes resolved.
    fmt : Format
        Names and decodes them.
    level : Level
        The level.
    options : IOOptions
        How to read and write.
    """

    def __init__(self, objects: Store, fmt: Format, level: Level, options: IOOptions) -> None:
        self._objects, self._level = objects, level
        self._chunks = Chunks(objects.url, fmt, level, options)
        self._shared = fmt.container(level) is not None
        self._pool, self._threads = pool(options.threads), thread_count(options.threads)
        x, y, z, c = level.cell
        self._cell = x * y * z * c * level.dtype.itemsize
        self._typical = self._cell
        shard = level.sharding.shape if level.sharding is not None else None
        self._shard = math.prod(shard) * level.channels * level.dtype.itemsize if shard is not None else 0

    def _depth(self) -> int:
        return max(LEAST, min(MOST, WINDOW // max(1, self._typical)))

    def _reading_depth(self, total: int) -> int:
        """Return how many objects are read at once for a box of so many bytes: those of a far store all take room."""
        if self._objects.near:
            return self._depth()
        return max(FAR_LEAST, min(MOST, far_window(total) // max(1, self._typical)))

    def read(
        self, low: Point, high: Point, step: Point, out: NDArray[Any], progress: Callable[[int], object] | None = None
    ) -> Unit[None]:
        """Read a box inside the level's bounds into an array of its shape."""

        def fill(stored: Stored) -> int:
            part = stored.part
            view: NDArray[Any] = out[part.at]
            self._chunks.fill(part.cell, view, stored.value, part.inside)
            return view.nbytes

        def note(_: tuple[Any, ...], size: int) -> None:
            if progress is not None:
                progress(size)

        yield from self.visit(parts(self._level, low, high, step), fill, note, size=out.nbytes)

    def visit(
        self,
        found: Iterable[Part],
        see: Callable[[Stored], T],
        take: Callable[[tuple[Any, ...], T], object],
        *,
        size: int,
    ) -> Unit[None]:
        """Fetch chunks, and do something with each.

        Parameters
        ----------
        found : iterable of Part
            Which ones.
        see : callable
            Called in the pool.
        take : callable
            Called with where the part is in the box's array and what ``see`` returned; in order, in the thread that
            drives the unit.
        size : int
            Bytes of all their voxels.
        """
        left = size // max(1, self._cell) if self._objects.near else 0
        count = self._together(left)
        units = (self._visit(batch, see, take) for batch in self._batches(found, left))
        yield from overlap(units, depth=lambda: max(LEAST, self._reading_depth(size) // count))

    def _together(self, left: int) -> int:
        """Return how many chunks a thread takes on where some are left: fewer at the end, so that all end together."""
        return max(1, min(TOGETHER, left // (BATCHES * self._threads)))

    def _batches(self, found: Iterable[Part], left: int) -> Iterator[list[Part]]:
        rest = iter(found)
        while batch := list(itertools.islice(rest, self._together(left))):
            yield batch
            left -= len(batch)

    def _visit(
        self, batch: list[Part], see: Callable[[Stored], T], take: Callable[[tuple[Any, ...], T], object]
    ) -> Unit[None]:
        """Fetch a batch, of one part unless all are near."""

        def work(part: Part, value: Value | None) -> T:
            if value is not None:
                self._typical += (len(value.data) - self._typical) // 4
            return see(Stored(self._chunks, part, value))

        keys = [self._chunks.key(part.cell) for part in batch]
        future: Future[list[T]]
        if self._objects.near:
            future = self._pool.submit(
                lambda: [work(part, self._objects.peek(key)) for part, key in zip(batch, keys, strict=True)]
            )
        else:
            future = then(self._objects.read(keys[0]), lambda value: [work(batch[0], value)], executor=self._pool)
        yield future
        for part, seen in zip(batch, future.result(), strict=True):
            take(part.at, seen)

    def write(
        self,
        low: Point,
        high: Point,
        step: Point,
        array: NDArray[Any],
        outcome: tuple[list[Bbox], list[Bbox]],
        progress: Callable[[int], object] | None = None,
    ) -> Unit[None]:
        """Write a box inside the level's bounds.

        Parameters
        ----------
        low, high, step : tuple of int
            (x, y, z, channel), half-open.
        array : numpy.ndarray
            Of the box's shape and the level's data type.
        outcome : tuple of list
            Takes the boxes that are stored, and those of which that is not known.
        progress : callable, optional
            Told of bytes written.
        """
        found = parts(self._level, low, high, step)
        if not self._shared:
            units = (self._save([part], array, outcome, progress) for part in found)
            yield from overlap(units, depth=self._depth, finish=True)
            return
        groups = self._groups(found)
        largest = max(self._shard, *(sum(array[part.at].nbytes for part in group) for group in groups))
        units = (self._save(group, array, outcome, progress) for group in groups)
        yield from overlap(units, depth=max(1, min(LEAST, SHARED_WINDOW // largest)), finish=True)

    def _groups(self, found: Iterable[Part]) -> Collection[list[Part]]:
        """Put together what lives in one object."""
        groups: dict[str, list[Part]] = {}
        for part in found:
            groups.setdefault(self._objects.group(self._chunks.key(part.cell)), []).append(part)
        return groups.values()

    def _save(
        self,
        group: list[Part],
        array: NDArray[Any],
        outcome: tuple[list[Bbox], list[Bbox]],
        progress: Callable[[int], object] | None,
    ) -> Unit[None]:
        changes = {self._chunks.key(part.cell): self._change(part, array[part.at]) for part in group}
        try:
            yield chain(gather(changes), self._update)
        except Exception:
            outcome[1].extend(self._box(part) for part in group)
            raise
        outcome[0].extend(self._box(part) for part in group)
        if progress is not None:
            progress(sum(array[part.at].nbytes for part in group))

    def write_points(self, points: NDArray[np.int64], values: NDArray[Any]) -> Unit[None]:
        """Write single voxels; each object is written once.

        Parameters
        ----------
        points : numpy.ndarray
            (n, 4): x, y, z and channel, inside the bounds, none twice.
        values : numpy.ndarray
            (n,).
        """
        groups = self._groups(point_parts(self._level, points))
        changes = (
            {self._chunks.key(part.cell): self._change(part, values[part.at]) for part in group} for group in groups
        )
        units = (self._one(chain(gather(each), self._update)) for each in changes)
        yield from overlap(units, depth=LEAST, finish=True)

    def _one(self, future: Future[Any]) -> Unit[None]:
        yield future

    def _box(self, part: Part) -> Bbox:
        """Return the voxels that are written."""
        corner = [o + at * n for o, at, n in zip(self._level.offset, part.cell, self._level.chunk, strict=False)]
        inside = part.inside[:3]
        return Bbox(
            [a + s.start for a, s in zip(corner, inside, strict=True)],
            [a + s.stop for a, s in zip(corner, inside, strict=True)],
        )

    def _change(self, part: Part, voxels: NDArray[Any]) -> Future[Change]:
        """Encode a whole chunk; for less than that, tell what to do with the chunk that is stored."""
        if part.whole and not self._level.spans:
            return self._pool.submit(self._chunks.encode, part.cell, voxels)
        merge: Change = functools.partial(self._chunks.merge, part, voxels)
        return done(merge)

    def _update(self, changes: Mapping[str, Change]) -> Future[Mapping[str, bytes]]:
        return self._objects.update(changes, executor=self._pool)
