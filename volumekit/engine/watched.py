"""TensorStore's own reading of shards, watched: it takes missing chunks for zeros, whatever it is told.

So what it reads counts only if the shards' indices, which we have in memory, say that all the chunks are there, and no
shard has changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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

    def read_now(
        self, keys: Iterable[str], start: Callable[[ts.TensorStore], ts.Future[NDArray[Any]]]
    ) -> NDArray[Any] | None:
        """Read some chunks, and wait for them; None if they are not all there, or a shard has changed meanwhile.

        Parameters
        ----------
        keys : iterable of str
            All chunks that are needed.
        start : callable
            Starts reading them into a new array.
        """
        wanted = list(keys)
        seen = self._objects.seen(wanted)
        if None in seen:
            return self._read_first(wanted, start)
        reading = start(self._native)
        groups = list(map(self._objects.group, wanted))
        try:
            voxels = reading.result()
        except ValueError:  # some are gone or damaged
            return self._read_first(wanted, start)
        # The generations in which these chunks were seen are older than the read, and younger if they are still there.
        now = self._objects.generations(set(groups))
        same = now is not None and seen == [now[group] for group in groups]
        return voxels if same else self._read_first(wanted, start)

    def _read_first(
        self, wanted: Sequence[str], start: Callable[[ts.TensorStore], ts.Future[NDArray[Any]]]
    ) -> NDArray[Any] | None:
        shards = set(map(self._objects.group, wanted))
        before = self._objects.generations(shards)
        if before is None or not self._objects.holds(wanted, before):
            return None
        voxels = start(self._native).result()
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
