"""A level read through a disk cache: natively from the copy where all of a piece is there, from the storage else."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from volumekit.cache.mirror import Mirror
from volumekit.cache.store import CachedStore
from volumekit.codecs import get_codec
from volumekit.engine.array import ONE, LevelArray, Progress
from volumekit.engine.drive import Unit, Waitable
from volumekit.engine.open import open_native
from volumekit.engine.pieces import Point
from volumekit.errors import CorruptChunkError
from volumekit.model.bbox import Bbox
from volumekit.model.url import URL
from volumekit.storage.base import Store
from volumekit.storage.kvstore import FileStore


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
    def objects(self) -> Store:
        """The store of this level's chunks, behind the mirror."""
        return CachedStore(self._base.objects, self._mirror)

    @functools.cached_property
    def _native(self) -> ts.TensorStore | None:
        flat = self.fmt.flat()
        level = flat.levels[self.fmt.levels.index(self.level)]
        local = FileStore(URL(None, "file", self._mirror.root))
        native = open_native(local, flat, level, self.options)
        if native is None:
            get_codec(self.level.codec)
        return native

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
        self._mirror.settle()
        return array

    def _read_piece(
        self, low: Point, high: Point, step: Point, out: NDArray[Any], progress: Progress | None
    ) -> Unit[None]:
        if not self._mirror.holds(list(self._touched(low, high))):
            yield from self._read_directly(low, high, step, out, progress)
            return
        try:
            yield from super()._read_piece(low, high, step, out, progress)
        except CorruptChunkError:
            yield from self._read_again(low, high, step, out, progress)

    def _read_directly(
        self, low: Point, high: Point, step: Point, out: NDArray[Any], progress: Progress | None
    ) -> Unit[None]:
        try:
            yield from super()._read_directly(low, high, step, out, progress)
        except CorruptChunkError:
            yield from self._read_again(low, high, step, out, progress)

    def _read_again(
        self, low: Point, high: Point, step: Point, out: NDArray[Any], progress: Progress | None
    ) -> Unit[None]:
        """Forget what the mirror holds of a box, and read the storage itself: it knows whether a chunk is damaged."""
        self._mirror.forget(self._touched(low, high))
        yield from self._base._read_directly(low, high, step, out, progress)

    def _touched(self, low: Point, high: Point) -> Iterator[str]:
        return self.keys(Bbox(low[:3], high[:3]))

    def _either(self, start: Callable[[ts.TensorStore], Waitable]) -> Unit[Any]:
        """Read through the bridge, which looks at each chunk on its own."""
        future = start(self._bridge)
        yield future
        return future.result()

    def _writable(self, keys: Iterator[str], *, whole: bool) -> ts.TensorStore | None:
        """Write directly: then the very bytes that are stored go to the mirror too."""
        return None

    def read_index(self, index: tuple[Any, ...]) -> Unit[NDArray[Any]]:
        """Read by an index with integer arrays; see `LevelArray.read_index`."""
        voxels: NDArray[Any] = yield from super().read_index(index)
        self._mirror.settle()
        return np.asarray(voxels)
