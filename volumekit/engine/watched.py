"""TensorStore's own reading of shards, watched: it takes missing chunks for zeros, whatever it is told.

So what it reads counts only if the shards' indices, which we have in memory, say that all the chunks are there, and no
shard has changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import tensorstore as ts
from numpy.typing import NDArray

from volumekit.engine.drive import Unit, Waitable
from volumekit.storage.shards import ShardedStore


class Watched:
    """A level that TensorStore reads, but not to be trusted about missing chunks.

    Parameters
    ----------
    native : tensorstore.TensorStore
        The level.
    objects : ShardedStore
        Its chunks.
    """

    def __init__(self, native: ts.TensorStore, objects: ShardedStore) -> None:
        self._native, self._objects = native, objects

    def __getitem__(self, index: Any) -> Watched:
        """Return a part of the level."""
        return Watched(self._native[index], self._objects)

    @property
    def dtype(self) -> ts.dtype:
        """The data type."""
        return self._native.dtype

    def read_now(self, keys: Iterable[str], read: Callable[[ts.TensorStore], NDArray[Any]]) -> NDArray[Any] | None:
        """Read some chunks in the calling thread; None if they are not all there, or a shard has changed meanwhile.

        Parameters
        ----------
        keys : iterable of str
            All chunks that are needed.
        read : callable
            Reads them into a new array.
        """
        wanted = list(keys)
        shards = set(map(self._objects.group, wanted))
        before = self._objects.generations(shards)
        if before is None or not self._objects.holds(wanted, before):
            return None
        voxels = read(self._native)
        return voxels if self._objects.generations(shards) == before else None

    def read(self, keys: Iterable[str], start: Callable[[ts.TensorStore], Waitable]) -> Unit[bool]:
        """Read some chunks; tell whether what was read is right.

        Parameters
        ----------
        keys : iterable of str
            All chunks that are needed.
        start : callable
            Starts reading.
        """
        keys = list(keys)
        shards = set(map(self._objects.group, keys))
        before = self._objects.generations(shards)
        if before is None:
            return False
        reading = start(self._native)
        try:
            there = self._objects.holds(keys, before)
        finally:  # nothing may write into the caller's array any more, whatever happens
            try:
                yield reading
            except ValueError:
                there = False
        return there and self._objects.generations(shards) == before
