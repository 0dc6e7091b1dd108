"""What was fetched, on its way into the mirror: written by a thread of its own while reading goes on."""

from __future__ import annotations

import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future as _Future
from typing import NamedTuple

from volumekit.cache import files
from volumekit.cache.entry import MISSING, Entry, new_name
from volumekit.cache.index import Index
from volumekit.cache.trouble import Trouble
from volumekit.cache.uses import Uses, writer
from volumekit.storage.base import Future, Value, done

_BATCH = 32
_SHARE = 16
"""Not more than this part of the budget is on its way at once, so that nothing is evicted before it has arrived."""


class Item(NamedTuple):
    """An object that was fetched.

    Attributes
    ----------
    key : str
        Its key.
    value : Value or None
        None if there is none.
    expected : Entry or None
        What was noted of it before it was read.
    """

    key: str
    value: Value | None
    expected: Entry | None

    @property
    def nbytes(self) -> int:
        """Bytes of the object."""
        return 0 if self.value is None else len(self.value.data)


class Arrivals:
    """What is to be written to the mirror of one dataset.

    Parameters
    ----------
    index : Index
        The account of the cache directory.
    dataset : int
        The dataset's number there.
    trouble : Trouble
        What goes wrong.
    uses : Uses
        What was used, which is told before anything is evicted.
    arrived : callable
        Told what is in its place, by key.
    """

    def __init__(
        self,
        index: Index,
        dataset: int,
        trouble: Trouble,
        uses: Uses,
        arrived: Callable[[Mapping[str, Entry]], object],
    ) -> None:
        self._index, self._dataset, self._trouble, self._uses, self._arrived = index, dataset, trouble, uses, arrived
        self._waiting: deque[Item] = deque()
        self._watchers: list[tuple[int, _Future[None]]] = []
        self._lock = threading.Lock()
        self._nbytes, self._writing = 0, False

    def put(self, item: Item) -> None:
        """Take an object; it is written a little later."""
        with self._lock:
            self._waiting.append(item)
            self._nbytes += item.nbytes
            if self._writing:
                return
            self._writing = True
        try:
            writer().submit(self._write)
        except RuntimeError:  # the interpreter is shutting down
            self._give_up()

    def drained(self, most: int = 0) -> Future[None]:
        """Return a future that is done once no more than so many bytes wait; 0: once nothing does."""
        future: _Future[None] = _Future()
        with self._lock:
            if self._is_drained(most):
                return done(None)
            self._watchers.append((most, future))
        return future

    def _is_drained(self, most: int) -> bool:
        return not self._writing or 0 < most >= self._nbytes

    def _write(self) -> None:
        try:
            while batch := self._next():
                if not self._trouble.happened:
                    with self._trouble.guarded():
                        self.store(batch)
                with self._lock:
                    self._nbytes -= sum(item.nbytes for item in batch)
                self._tell()
        except BaseException:  # nobody may wait for what does not come
            self._give_up()
            raise

    def _give_up(self) -> None:
        with self._lock:
            self._waiting.clear()
            self._nbytes, self._writing = 0, False
        self._tell()

    def _next(self) -> list[Item]:
        """Take what is written together; nothing if nothing waits."""
        batch: list[Item] = []
        room = self._index.max_bytes // _SHARE
        with self._lock:
            while self._waiting and len(batch) < _BATCH:
                room -= self._waiting[0].nbytes
                if batch and room < 0:
                    break
                batch.append(self._waiting.popleft())
            self._writing = bool(batch)
        if not batch:
            self._tell()
        return batch

    def _tell(self) -> None:
        with self._lock:
            ready = [future for most, future in self._watchers if self._is_drained(most)]
            self._watchers = [(most, future) for most, future in self._watchers if not self._is_drained(most)]
        for future in ready:
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    def store(self, batch: Sequence[Item]) -> None:
        """Note objects and write their files, now.

        Raises
        ------
        OSError, sqlite3.Error
            If that fails.
        """
        values = {item.key: item.value for item in batch}
        entries = {key: _entry_of(value) for key, value in values.items()}
        self._uses.tell()
        taken = self._index.reserve(self._dataset, entries, {item.key: item.expected for item in batch})
        coming, there = {}, {}
        try:
            for key in taken:
                value, entry = values[key], entries[key]
                if value is None:
                    there[key] = entry
                else:
                    coming[key] = entry, files.write(self._index.directory, entry, value.data)
            if coming:
                there |= self._index.arrive(self._dataset, coming)
        except BaseException:
            self._index.forget(self._dataset, taken)
            raise
        self._arrived(there)


def _entry_of(value: Value | None) -> Entry:
    now = time.time()
    if value is None:
        return Entry(MISSING, 0, b"", 0, now)
    return Entry(len(value.data), new_name(), value.stamp, zlib.crc32(value.data), now)
