"""What is known of shards: their indices, as they were when read, within a limit of memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from volumekit.model.shard_index import Minishard
from volumekit.storage.base import Value

CACHE_BYTES = 64 << 20


@dataclass
class Known:
    """What is known of a shard.

    Attributes
    ----------
    index, data : str
        The object that holds the shard index, and the one that holds everything else; usually the same.
    base : int
        Where offsets count from in ``data``.
    stamp : bytes
        The generation of ``index`` all this is true of.
    data_stamp : bytes or None
        That of ``data``; None: not seen yet.
    pages : dict
        Parts of the shard index, by number.
    minishards : dict
        Indices of minishards, by number.
    complete : bool
        Whether the indices of all minishards that have chunks are there.
    nbytes : int
        Memory this takes.
    """

    index: str
    data: str
    base: int
    stamp: bytes
    data_stamp: bytes | None
    pages: dict[int, NDArray[np.uint64]] = field(default_factory=dict)
    minishards: dict[int, Minishard] = field(default_factory=dict)
    complete: bool = False
    nbytes: int = 0

    def same_data(self, value: Value) -> bool:
        """Tell whether bytes of ``data`` come from the generation that is known."""
        if self.data_stamp is None:
            self.data_stamp = value.stamp
        return value.stamp == self.data_stamp


class Cache:
    """What is known of the shards used last.

    Parameters
    ----------
    limit : int
        Bytes it may take.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._known: OrderedDict[int, Known] = OrderedDict()
        self._nbytes: dict[int, int] = {}
        self._total = 0
        self._lock = threading.Lock()

    def get(self, shard: int) -> Known | None:
        """Return what is known of a shard."""
        with self._lock:
            known = self._known.get(shard)
            if known is not None:
                self._known.move_to_end(shard)
            return known

    def put(self, shard: int, known: Known) -> None:
        """Remember a shard, or that more is known of it now; forget others to make room."""
        with self._lock:
            self._known[shard] = known
            self._known.move_to_end(shard)
            self._total += known.nbytes - self._nbytes.get(shard, 0)
            self._nbytes[shard] = known.nbytes
            while self._total > self._limit:
                oldest, _ = self._known.popitem(last=False)
                self._total -= self._nbytes.pop(oldest)

    def drop(self, shard: int, known: Known) -> None:
        """Forget what turned out to be no longer true."""
        with self._lock:
            if self._known.get(shard) is known:
                del self._known[shard]
                self._total -= self._nbytes.pop(shard)
