"""A level read through a disk cache: from the copy where all of a piece is there, from the storage else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import tensorstore as ts
from numpy.typing import NDArray

from volumekit.cache.mirror import Mirror
from volumekit.cache.store import CachedStore, WrittenThrough
from volumekit.engine.array import ONE, LevelArray, Progress
from volumekit.engine.chunks import Look
from volumekit.engine.drive import Unit, Waitable
from volumekit.engine.open import open_bridge
from volumekit.engine.pieces import Point
from volumekit.errors import CorruptChunkError, VolumekitError
from volumekit.formats.base import Format
from volumekit.model.level import Level
from volumekit.model.url import URL
from volumekit.storage.kvstore import FileStore

T = TypeVar("T")


class MirroredArray(LevelArray):
    """One level of a dataset, whose chunks are kept in a mirror.

    The mirror is opened strictly: what is missing or damaged there comes from the storage, and is never filled.

    Parameters
    ----------
    base : LevelArray
        The level without a cache.
    mirror : Mirror
        The copy.
    """

    def __init__(self, base: LevelArray, mirror: Mirror) -> None:
        super().__init__(base.store, base.fmt, base.level, base.options)
        self._base, self._mirror = base, mirror

    @functools.cached_property
    def objects(self) -> CachedStore:
        """The store of this level's chunks, behind the mirror."""
        return CachedStore(self._base.objects, self._mirror)

    @functools.cached_property
    def _copied(self) -> LevelArray:
        """The same level in the mirror."""
        flat, level = _flat(self)
        store = FileStore(URL(None, "file", self._mirror.root))
        store.suffixed = False
        return LevelArray(store, flat, level, replace(self.options, fill_missing=False, lru_bytes=0))

    @functools.cached_property
    def _bridge(self) -> ts.TensorStore:
        store = CachedStore(self._base.objects, self._mirror, probed=True)
        return open_bridge(store, self.fmt, self.level, self.options)

    @functools.cached_property
    def _merging_bridge(self) -> ts.TensorStore:
        """The bridge for writing: what is merged comes from the storage."""
        store = WrittenThrough(self._base.objects, self._mirror)
        return open_bridge(store, self.fmt, self.level, replace(self.options, fill_missing=True))

    def read_now(self, low: Point, high: Point, step: Point = ONE) -> None:
        """Tell that each box is looked for in the mirror."""

    def read(
        self,
        low: Point,
        high: Point,
        step: Point = ONE,
        *,
        out: NDArray[Any] | None = None,
        progress: Progress | None = None,
    ) -> Unit[NDArray[Any]]:
        """Read a box inside the level's bounds; see `LevelArray.read`."""
        array = yield from super().read(low, high, step, out=out, progress=progress)
        yield self._mirror.settled()
        return array

    def read_index(self, index: tuple[Any, ...]) -> Unit[NDArray[Any]]:
        """Read by an index with integer arrays; see `LevelArray.read_index`."""
        try:
            voxels = yield from super().read_index(index)
        except CorruptChunkError as error:
            self._mirror.forget([error.key or ""])
            voxels = yield from self._base.read_index(index)
        yield self._mirror.settled()
        return voxels

    def _reads_directly(self) -> bool:
        """Tell that each piece is looked at on its own."""
        return False

    def _read_piece(
        self, low: Point, high: Point, step: Point, out: NDArray[Any], progress: Progress | None
    ) -> Unit[None]:
        try:
            if self.options.lru_bytes:
                yield from super()._read_piece(low, high, step, out, progress)
            elif not (yield from self._read_copy(low, high, step, out)):
                yield from self._read_directly(low, high, step, out, progress)
            elif progress is not None:
                progress(out.nbytes)
        except CorruptChunkError:  # in the mirror, or in the storage, which knows what to say then
            self._mirror.forget(self.keys_between(low, high))
            yield from self._base._read_directly(low, high, step, out, progress)

    def _read_copy(self, low: Point, high: Point, step: Point, out: NDArray[Any]) -> Unit[bool]:
        """Read from the mirror; tell whether all was there."""
        if not self._mirror.holds(self.keys_between(low, high)):
            return False
        try:
            yield from self._copied.read(low, high, step, out=out)
        except CorruptChunkError:
            raise
        except VolumekitError:  # evicted meanwhile, or there is trouble with the disk
            return False
        return True

    def visit(
        self,
        box: tuple[Point, Point, Point],
        see: Callable[[Look], T],
        take: Callable[[tuple[slice, ...], T], object],
        *,
        whole: bool | None = None,
    ) -> Unit[None]:
        """Look at each chunk of a box; see `LevelArray.visit`."""
        try:
            yield from super().visit(box, see, take, whole=whole)
        except CorruptChunkError:  # in the mirror, or in the storage, which knows what to say then
            self._mirror.forget(self.keys_between(*box[:2]))
            yield from self._base.visit(box, see, take, whole=whole)
        yield self._mirror.settled()

    def _either(self, start: Callable[[ts.TensorStore], Waitable]) -> Unit[Any]:
        """Read through the bridge, which looks at each chunk on its own."""
        future = start(self._bridge)
        yield future
        return future.result()

    def _writable(self, *, whole: bool) -> ts.TensorStore | None:
        """Write directly: then the very bytes that are stored go to the mirror too."""
        return None


def is_mirrored(array: LevelArray) -> bool:
    """Tell whether the chunks of a level can be kept one by one, apart from the files they come from."""
    flat, level = _flat(array)
    return flat.container(level) is None


def _flat(array: LevelArray) -> tuple[Format, Level]:
    flat = array.fmt.flat()
    return flat, flat.levels[array.fmt.levels.index(array.level)]
