"""The copy of one dataset: its objects as files, laid out like the dataset, so that it opens by itself."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sqlite3
import threading
import time
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from volumekit.cache.index import CHANGING, CHANGING_SECONDS, MISSING, Entry, Index
from volumekit.cache.options import Cache
from volumekit.cache.repair import open_index, remove_leftovers
from volumekit.storage.base import Value

PENDING_BYTES = 64 << 20
"""Bytes that wait to be written to the mirror before reading waits for them."""

_BATCH = 32
_TOUCHED = 4096
_TEMPORARY = ".tmp"
_counter = itertools.count()


@dataclass
class Stats:
    """What a volume's cache has done: objects found in it, objects fetched, bytes of both."""

    hits: int = 0
    misses: int = 0
    hit_bytes: int = 0
    missed_bytes: int = 0


class Found(NamedTuple):
    """What the mirror says of an object: whether it may be used as it is, and what is noted of it."""

    fresh: bool
    entry: Entry


class _Pending(NamedTuple):
    key: str
    value: Value | None
    expected: Entry | None


class Mirror:
    """The copy of one dataset in a cache directory.

    Trouble with the directory is warned of once; the mirror then holds nothing.

    Parameters
    ----------
    cache : Cache
        How it is to be.
    folder : str
        The dataset's folder in the cache directory.
    """

    def __init__(self, cache: Cache, folder: str) -> None:
        self.cache, self.folder = cache, folder
        self.root = os.path.join(cache.directory, folder)  # noqa: PTH118 - joined with keys by the thousand
        self.stats = Stats()
        self._opened = time.time()
        self._known: dict[str, Entry] = {}
        self._touched: set[str] = set()
        self._waiting: deque[_Pending] = deque()
        self._settled = threading.Condition()
        self._bytes, self._writing, self._broken = 0, False, False
        self.index: Index | None = None
        self._dataset = 0
        with self._trouble():
            self.index = open_index(cache.directory, cache.max_bytes)
            self._dataset = self.index.dataset(folder)
            remove_leftovers(cache.directory)

    @contextlib.contextmanager
    def _trouble(self) -> Iterator[None]:
        """Turn trouble with the cache into one warning: the voxels come from the storage then."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            if not self._broken:
                self._broken = True
                warnings.warn(
                    f"the disk cache in {self.cache.directory} cannot be used ({error}); reading goes on without it",
                    RuntimeWarning,
                    stacklevel=2,
                )

    @property
    def usable(self) -> bool:
        """Whether there was no trouble."""
        return not self._broken and self.index is not None

    def holds(self, keys: Sequence[str]) -> bool:
        """Tell whether all these objects are here, undamaged by the look of their files, and need no comparison."""
        if not self.usable:
            return False
        since, size = self.cache.checked_after(self._opened, time.time()), 0
        self._learn([key for key in keys if key not in self._known])
        for key in keys:
            entry = self._entry(key)
            if entry is None or entry.size < 0 or entry.checked < since:
                return False
            size += entry.size
        self._count_hits(keys, size)
        return True

    def _learn(self, keys: Sequence[str]) -> None:
        if keys and self.index is not None:
            with self._trouble():
                self._known.update(self.index.get(self._dataset, keys))

    def _entry(self, key: str) -> Entry | None:
        """Return what is noted of an object, if its file is as noted; what another process changed is looked up."""
        for again in (True, False):
            entry = self._known.get(key)
            if entry is not None and (entry.size == MISSING or self._is_as_noted(key, entry)):
                return entry
            if entry is not None and entry.size == CHANGING:
                break
            self._known.pop(key, None)
            if again:
                self._learn([key])
        self._known.pop(key, None)
        return None

    def _is_as_noted(self, key: str, entry: Entry) -> bool:
        try:
            state = os.stat(f"{self.root}/{key}")  # noqa: PTH116 - 2 us, pathlib takes 8
        except (OSError, ValueError):
            return False
        return state.st_size == entry.size and state.st_mtime_ns == entry.mtime

    def look(self, key: str) -> Found | None:
        """Return what the mirror says of an object; None: nothing."""
        if not self.usable:
            return None
        if key not in self._known:
            self._learn([key])
        entry, now = self._entry(key), time.time()
        if entry is None:
            return None
        if entry.size == MISSING:
            return Found(True, entry) if now - entry.checked < self.cache.missing_seconds else None
        return Found(entry.checked >= self.cache.checked_after(self._opened, now), entry)

    def load(self, key: str, entry: Entry) -> Value | None:
        """Return an object as it is here; None if it has gone meanwhile."""
        try:
            with open(f"{self.root}/{key}", "rb", buffering=0) as file:  # noqa: PTH123
                data = file.readall()
        except OSError:
            return None
        if len(data) != entry.size:
            return None
        self._count_hits([key], len(data))
        return Value(data, entry.stamp)

    def _count_hits(self, keys: Sequence[str], size: int) -> None:
        self.stats.hits += len(keys)
        self.stats.hit_bytes += size
        self._touched.update(keys)
        if len(self._touched) >= _TOUCHED:
            self.flush_touched()

    def flush_touched(self) -> None:
        """Tell the index what was used since the last time."""
        touched, self._touched = self._touched, set()
        if touched and self.usable and self.index is not None:
            with self._trouble():
                self.index.touch(self._dataset, touched)

    def confirm(self, key: str, entry: Entry) -> None:
        """Note that an object was compared with the storage just now, and is the same."""
        now = time.time()
        self._known[key] = entry._replace(checked=now)
        if self.index is not None:
            with self._trouble():
                self.index.touch(self._dataset, [key], checked=now)

    def expected(self, key: str) -> Entry | None:
        """Return what `put` wants to know: what was noted of an object before it was read."""
        if self.usable and self.index is not None:
            with self._trouble():
                return self.index.get(self._dataset, [key]).get(key)
        return None

    def put(self, key: str, value: Value | None, expected: Entry | None) -> None:
        """Take an object that was fetched, None if the storage has none; it is written a little later.

        Parameters
        ----------
        key : str
            Its key.
        value : Value or None
            What the storage said.
        expected : Entry or None
            What `expected` returned before it was asked. If somebody wrote the object since, or was writing it then, it
            may be old and is not taken.
        """
        self.stats.misses += 1
        self.stats.missed_bytes += len(value.data) if value else 0
        written = expected is not None and expected.size == CHANGING
        if not self.usable or (written and expected and time.time() - expected.checked < CHANGING_SECONDS):
            return
        with self._settled:
            self._waiting.append(_Pending(key, value, expected))
            self._bytes += len(value.data) if value else 0
            if not self._writing:
                self._writing = True
                _writer().submit(self._write)

    def settle(self, most: int = 0) -> None:
        """Wait until no more than so many bytes wait to be written."""
        with self._settled:
            self._settled.wait_for(lambda: not self._writing or (most and self._bytes <= most))

    def _write(self) -> None:
        while True:
            with self._settled:
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                if not batch:
                    self._writing = False
                    self._settled.notify_all()
                    return
            if self.usable:
                with self._trouble():
                    self._store(batch)
            with self._settled:
                self._bytes -= sum(len(item.value.data) for item in batch if item.value)
                self._settled.notify_all()

    def _store(self, batch: Sequence[_Pending]) -> None:
        """Note objects and write their files."""
        index, now = self.index, time.time()
        assert index is not None
        values = {item.key: item.value for item in batch}
        entries = {key: _entry_of(value, now) for key, value in values.items()}
        taken = index.add(self._dataset, entries, {item.key: item.expected for item in batch})
        for key in taken:
            value = values[key]
            if value is not None:
                self._write_file(key, value.data, entries[key].mtime)
            self._known[key] = entries[key]

    def _write_file(self, key: str, data: bytes, mtime: int) -> None:
        path, folder = f"{self.root}/{key}", os.path.join(self.cache.directory, _TEMPORARY)  # noqa: PTH118
        temporary = f"{folder}/{os.getpid()}-{next(_counter)}"
        _make_folder(folder)
        try:
            Path(temporary).write_bytes(data)
            os.utime(temporary, ns=(mtime, mtime))
            try:
                os.replace(temporary, path)  # noqa: PTH105
            except FileNotFoundError:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                os.replace(temporary, path)  # noqa: PTH105
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise

    def changing(self, keys: Iterable[str]) -> Mapping[str, Entry]:
        """Forget objects that are about to be written; return what `replace` wants to know."""
        keys = list(keys)
        for key in keys:
            self._known.pop(key, None)
        if self.usable and self.index is not None:
            with self._trouble():
                return self.index.changing(self._dataset, keys)
        return {}

    def replace(
        self, values: Mapping[str, bytes | None], stamps: Mapping[str, bytes], marks: Mapping[str, Entry]
    ) -> None:
        """Take objects that were just stored, unless somebody else is writing them by now."""
        kept = [
            _Pending(key, None if data is None else Value(data, stamps[key]), marks[key])
            for key, data in values.items()
            if key in stamps and key in marks
        ]
        if kept and self.usable:
            with self._trouble():
                self._store(kept)

    def forget(self, keys: Iterable[str]) -> None:
        """Forget objects and remove their files."""
        keys = list(keys)
        for key in keys:
            self._known.pop(key, None)
        if self.usable and self.index is not None:
            with self._trouble():
                self.index.forget(self._dataset, keys)

    def entries(self, prefix: str = "") -> dict[str, Entry]:
        """Return what is noted of all objects here below a prefix, as far as their files are there."""
        self.settle()
        found: dict[str, Entry] = {}
        if self.usable and self.index is not None:
            with self._trouble():
                found = self.index.everything(self._dataset, prefix)
        return {key: entry for key, entry in found.items() if entry.size >= 0 and self._is_as_noted(key, entry)}

    def describe(self, metadata: Mapping[str, bytes]) -> None:
        """Store the metadata with which the mirror opens by itself."""
        if not self.usable:
            return
        with self._trouble():
            for key, data in metadata.items():
                path = Path(self.root) / key
                if not path.exists() or path.read_bytes() != data:
                    self._write_file(key, data, time.time_ns())


def _entry_of(value: Value | None, now: float) -> Entry:
    if value is None:
        return Entry(MISSING, 0, b"", 0, now)
    # The time is noted and set, so it need not be true; it is different for whatever is written at the same moment.
    mtime = time.time_ns() // 1_000_000 * 1_000_000 + next(_counter) % 1_000_000
    return Entry(len(value.data), mtime, value.stamp, zlib.crc32(value.data), now)


@functools.lru_cache(maxsize=64)
def _make_folder(path: str) -> None:
    Path(path).mkdir(parents=True, exist_ok=True)


@functools.cache
def _writer() -> ThreadPoolExecutor:
    """Return the thread that writes to all mirrors."""
    return ThreadPoolExecutor(1, thread_name_prefix="volumekit-cache")


def saved_metadata(root: str) -> Callable[[str], Path]:
    """Return where a mirror keeps the original metadata of its dataset, by key."""
    return lambda key: Path(root) / ".volumekit" / "metadata" / key
