"""Stores with a mirror before them: objects, and the metadata by which a dataset is opened."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volumekit.cache.mirror import PENDING_BYTES, Mirror, saved_metadata
from volumekit.errors import PermissionDeniedError, StorageError
from volumekit.storage.base import Change, Future, Store, Value, chain, done, then
from volumekit.storage.wrap import Wrapper

if TYPE_CHECKING:
    from volumekit.cache.index import Entry


OUTAGE_SECONDS = 30.0
"""How long a storage that could not be reached is not asked again whether something changed: asking takes its time."""

_outages: dict[str, float] = {}


def _is_down(url: str) -> bool:
    return time.monotonic() - _outages.get(url, -OUTAGE_SECONDS) < OUTAGE_SECONDS


class CachedStore(Wrapper):
    """A store whose objects are kept in a mirror once they were read or written.

    Only whole objects are: probes and ranges always ask the store. Writes go to the store first.

    Parameters
    ----------
    base : Store
        The chunks of a dataset, containers and suffixes resolved.
    mirror : Mirror
        Their copy.
    """

    def __init__(self, base: Store, mirror: Mirror) -> None:
        super().__init__(base)
        self.suffixed = False
        self._mirror = mirror
        self._warned = False

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read a key, from the mirror if it is there."""
        if start is not None or stop is not None:
            return self._base.read(key, start, stop)
        found = self._mirror.look(key)
        if found is None:
            return self._fetch(key)
        if found.entry.size < 0:
            return done(None)
        return self._local(key, found.entry) if found.fresh else self._compare(key, found.entry)

    def _local(self, key: str, entry: Entry) -> Future[Value | None]:
        value = self._mirror.load(key, entry)
        return self._fetch(key) if value is None else done(value)

    def _fetch(self, key: str) -> Future[Value | None]:
        self._mirror.settle(PENDING_BYTES)
        expected = self._mirror.expected(key)

        def keep(value: Value | None) -> Value | None:
            self._mirror.put(key, value, expected)
            return value

        return then(self._base.read(key), keep)

    def _compare(self, key: str, entry: Entry) -> Future[Value | None]:
        """Ask the store whether an object is still the one that is here."""

        def decide(probe: Value | None) -> Future[Value | None]:
            _outages.pop(self.url, None)
            if probe is None or len(probe.stamp) <= 1 or probe.stamp != entry.stamp:
                return self._fetch(key)  # stamps of one byte say nothing: a web server without ETags
            self._mirror.confirm(key, entry)
            return self._local(key, entry)

        def offline(error: Exception) -> Future[Value | None] | None:
            if not isinstance(error, StorageError):
                return None
            value = self._mirror.load(key, entry)
            if value is None:
                return None
            _outages[self.url] = time.monotonic()
            self._warn(error)
            return done(value)

        if _is_down(self.url):
            return self._local(key, entry)
        return chain(self._base.read(key, 0, 0), decide, rescue=offline)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            _warn_offline(self.url, error)

    def commit(self, changes: Mapping[str, bytes | None], if_match: bytes | None = None) -> Future[Mapping[str, bytes]]:
        """Write or delete keys in the store, then in the mirror."""
        marks = self._mirror.changing(changes)
        return then(self._base.commit(changes, if_match), lambda stamps: self._keep(changes, stamps, marks))

    def update(self, changes: Mapping[str, Change], *, executor: Executor | None = None) -> Future[Mapping[str, bytes]]:
        """Change keys in the store, then in the mirror; what a change builds upon is read from the store."""
        made: dict[str, bytes | None] = {}

        def noted(key: str, change: Change) -> Change:
            if not callable(change):
                made[key] = change
                return change

            def make(value: Value | None) -> bytes | None:
                made[key] = change(value)
                return made[key]

            return make

        marks = self._mirror.changing(changes)
        updated = self._base.update({key: noted(key, change) for key, change in changes.items()}, executor=executor)
        return then(updated, lambda stamps: self._keep(made, stamps, marks))

    def _keep(
        self, values: Mapping[str, bytes | None], stamps: Mapping[str, bytes], marks: Mapping[str, Entry]
    ) -> Mapping[str, bytes]:
        self._mirror.replace(values, stamps, marks)
        return stamps

    def find(self, keys: Sequence[str]) -> Future[str | None]:
        """Return the first of these keys that exists in the store."""
        return self._base.find(keys)


class RememberedStore(Wrapper):
    """A store of metadata that answers from its last visit when the storage cannot be reached.

    Parameters
    ----------
    base : Store
        The dataset's store.
    root : str
        The mirror's folder.
    """

    def __init__(self, base: Store, root: str) -> None:
        super().__init__(base)
        self._place = saved_metadata(root)

    def native(self) -> dict[str, Any] | None:
        """Return the TensorStore key-value store spec of the same bytes, or None."""
        return self._base.native()

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that start with ``prefix``."""
        return self._base.list(prefix)

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read a key, or what it was when the storage answered for the last time."""

        def keep(value: Value | None) -> Future[Value | None]:
            if start is None and stop is None:
                self._save(key, value)
            return done(value)

        def offline(error: Exception) -> Future[Value | None] | None:
            if not isinstance(error, StorageError) or isinstance(error, PermissionDeniedError):
                return None
            try:
                data = self._place(key).read_bytes()
            except OSError:
                return done(None) if self._place(f"{key}.absent").exists() else None
            _warn_offline(self.url, error)
            return done(Value(data[slice(start, stop)], b""))

        return chain(self._base.read(key, start, stop), keep, rescue=offline)

    def _save(self, key: str, value: Value | None) -> None:
        place, absent = self._place(key), self._place(f"{key}.absent")
        with contextlib.suppress(OSError):  # the mirror itself warns of a directory that cannot be written
            if value is None:
                _write(absent, b"")
                place.unlink(missing_ok=True)
            elif not place.exists() or place.read_bytes() != value.data:
                _write(place, value.data)
                absent.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(data)
    temporary.replace(path)


def _warn_offline(url: str, error: Exception) -> None:
    warnings.warn(f"{url} cannot be reached ({error}); the disk cache is used as it is", RuntimeWarning, stacklevel=2)
