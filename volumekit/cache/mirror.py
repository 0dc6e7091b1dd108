"""The copy of one dataset: its objects as files, laid out like the dataset, so that it opens by itself."""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from volumekit.cache import files
from volumekit.cache.arrivals import Arrivals, Item
from volumekit.cache.entry import CHANGING, CHANGING_SECONDS, MISSING, Entry
from volumekit.cache.index import Index
from volumekit.cache.options import Cache
from volumekit.cache.repair import open_index
from volumekit.cache.trouble import Trouble
from volumekit.cache.uses import Uses
from volumekit.storage.base import Future, Value, done

PENDING_BYTES = 64 << 20
"""Bytes that wait to be written to the mirror before reading waits for them."""

_KNOWN = 1 << 18
_BLOCK = 256
_AHEAD = 5.0
"""Seconds that clocks may differ."""


@dataclass
class Stats:
    """What a volume's cache has done since the volume was opened.

    Attributes
    ----------
    hits, misses : int
        Chunks found in it, and chunks fetched from the storage.
    hit_bytes, missed_bytes : int
        Stored bytes of both.
    """

    hits: int = 0
    misses: int = 0
    hit_bytes: int = 0
    missed_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, *, hits: int = 0, misses: int = 0, hit_bytes: int = 0, missed_bytes: int = 0) -> None:
        """Count more; any number of threads may."""
        with self._lock:
            self.hits, self.hit_bytes = self.hits + hits, self.hit_bytes + hit_bytes
            self.misses, self.missed_bytes = self.misses + misses, self.missed_bytes + missed_bytes


class Found(NamedTuple):
    """What the mirror says of an object: whether it may be used as it is, and what is noted of it."""

    fresh: bool
    entry: Entry


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
        self._trouble = Trouble(cache.directory)
        self._index: Index | None = None
        with self._trouble.guarded():
            index = self._trouble.index = open_index(cache.directory, cache.max_bytes)
            self._dataset = index.dataset(folder)
            self._uses = Uses(index, self._dataset, self._trouble)
            self._arrivals = Arrivals(index, self._dataset, self._trouble, self._uses, self._known.update)
            self._index = index
            weakref.finalize(self, self._uses.tell)

    @property
    def index(self) -> Index | None:
        """The account of the cache directory; None after there was trouble with it."""
        return None if self._trouble.happened else self._index

    def holds(self, keys: Iterable[str]) -> bool:
        """Tell whether all these objects are here, undamaged by the look of their files, and need no comparison."""
        if self.index is None:
            return False
        size, held, rest = 0, [], iter(keys)
        while block := list(itertools.islice(rest, _BLOCK)):
            self._learn(block)
            nbytes = self._held(block)
            if nbytes is None:
                return False
            size += nbytes
            held += block
        self._used(held, size)
        return True

    def _held(self, keys: list[str]) -> int | None:
        """Return how many bytes these objects have; None if one is not here, or to be compared with the storage.

        Written for speed: this is what reading from the mirror takes longer than reading a local copy.
        """
        size, known, folder, stat = 0, self._known, f"{self.root}/", os.stat
        since, now = self._fresh_between()
        for key in keys:
            entry = known.get(key)
            try:
                state = stat(folder + key)
            except (OSError, ValueError):
                return None
            if entry is None or state.st_size != entry[0] or state.st_mtime_ns != entry[1]:
                entry = self._entry(key)
                if entry is None or entry.size < 0:
                    return None
            if not since <= entry[4] <= now:
                return None
            size += entry[0]
        return size

    def _fresh_between(self) -> tuple[float, float]:
        """Return between which times an entry must have been compared with the storage to be used as it is."""
        now = time.time()
        return self.cache.checked_after(self._opened, now), now + _AHEAD

    def _learn(self, keys: Iterable[str]) -> None:
        """Look up what is noted of objects."""
        wanted = [key for key in keys if key not in self._known and files.is_ordinary(key)]
        if wanted and self._index is not None:
            if len(self._known) > _KNOWN:
                self._known.clear()
            with self._trouble.guarded():
                self._known.update(self._index.get(self._dataset, wanted))

    def _entry(self, key: str) -> Entry | None:
        """Return what is noted of an object, if its file is as noted; what another process changed is looked up."""
        for again in (True, False):
            entry = self._known.get(key)
            if entry is not None and (entry.size == MISSING or self._is_as_noted(key, entry)):
                return entry
            if entry is None and not again:
                break
            self._known.pop(key, None)
            if again:
                self._learn([key])
        return None

    def _is_as_noted(self, key: str, entry: Entry) -> bool:
        if entry.size == CHANGING:
            return False
        try:
            state = os.stat(f"{self.root}/{key}")  # noqa: PTH116 - 2 us, pathlib takes 8
        except (OSError, ValueError):
            return False
        return state.st_size == entry.size and state.st_mtime_ns == entry.mtime

    def look(self, key: str) -> Found | None:
        """Return what the mirror says of an object; None: nothing."""
        if self.index is None:
            return None
        self._learn([key])
        entry = self._entry(key)
        if entry is None:
            return None
        if entry.size == MISSING:
            return Found(True, entry) if abs(time.time() - entry.checked) < self.cache.missing_seconds else None
        since, now = self._fresh_between()
        return Found(since <= entry.checked <= now, entry)

    def load(self, key: str, entry: Entry) -> Value | None:
        """Return an object as it is here; None if it has gone meanwhile."""
        try:
            with open(f"{self.root}/{key}", "rb", buffering=0) as file:  # noqa: PTH123
                data = file.readall()
        except OSError:
            return None
        if len(data) != entry.size:
            return None
        self.use(key, entry)
        return Value(data, entry.stamp)

    def use(self, key: str, entry: Entry) -> None:
        """Note that an object was found here, and is of use."""
        self._used([key], max(0, entry.size))

    def _used(self, keys: list[str], size: int) -> None:
        self.stats.add(hits=len(keys), hit_bytes=size)
        self._uses.add(keys)

    def confirm(self, key: str, entry: Entry) -> None:
        """Note that an object was compared with the storage just now, and is the same."""
        now = time.time()
        self._known[key] = entry._replace(checked=now)
        if self.index is not None:
            with self._trouble.guarded():
                self.index.touch(self._dataset, [key], checked=now)

    def expected(self, key: str) -> Entry | None:
        """Return what `put` wants to know: what was noted of an object before it was read."""
        if self.index is not None and files.is_ordinary(key):
            with self._trouble.guarded():
                return self.index.get(self._dataset, [key]).get(key)
        return None

    def put(self, key: str, value: Value | None, expected: Entry | None) -> Future[None]:
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

        Returns
        -------
        Future of None
            Done once there is room for more.
        """
        self.stats.add(misses=1, missed_bytes=len(value.data) if value else 0)
        if self.index is None or not files.is_ordinary(key):
            return done(None)
        if expected is not None and expected.size == CHANGING and time.time() - expected.checked < CHANGING_SECONDS:
            return done(None)
        self._arrivals.put(Item(key, value, expected))
        return self._arrivals.drained(PENDING_BYTES)

    def settled(self) -> Future[None]:
        """Return a future that is done once all that was fetched so far is in its place."""
        return done(None) if self._index is None else self._arrivals.drained()

    def changing(self, keys: Iterable[str]) -> Mapping[str, Entry]:
        """Forget objects that are about to be written; return what `replace` wants to know."""
        keys = [key for key in keys if files.is_ordinary(key)]
        for key in keys:
            self._known.pop(key, None)
        if self.index is not None:
            with self._trouble.guarded():
                return self.index.changing(self._dataset, keys)
        return {}

    def replace(
        self, values: Mapping[str, bytes | None], stamps: Mapping[str, bytes], marks: Mapping[str, Entry]
    ) -> None:
        """Take objects that were just stored, unless somebody else is writing them by now."""
        kept = [
            Item(key, None if data is None else Value(data, stamps[key]), marks[key])
            for key, data in values.items()
            if key in stamps and key in marks
        ]
        if kept and self.index is not None:
            with self._trouble.guarded():
                self._arrivals.store(kept)

    def forget(self, keys: Iterable[str]) -> None:
        """Forget objects and remove their files."""
        keys = [key for key in keys if files.is_ordinary(key)]
        for key in keys:
            self._known.pop(key, None)
        if self.index is not None:
            with self._trouble.guarded():
                self.index.forget(self._dataset, keys)

    def noted(self, prefix: str = "") -> dict[str, Entry]:
        """Return all that is noted of objects below a prefix."""
        self.settled().result()
        if self.index is not None:
            with self._trouble.guarded():
                return self.index.everything(self._dataset, prefix)
        return {}

    def entries(self, prefix: str = "") -> dict[str, Entry]:
        """Return what is noted of the objects here below a prefix, as far as their files are there."""
        found = self.noted(prefix)
        return {key: entry for key, entry in found.items() if entry.size >= 0 and self._is_as_noted(key, entry)}

    def describe(self, metadata: Mapping[str, bytes]) -> None:
        """Store the metadata with which the mirror opens by itself."""
        if self.index is not None:
            with self._trouble.guarded():
                for key, data in metadata.items():
                    if files.is_ordinary(key):
                        files.write_whole(Path(self.root) / key, data)
