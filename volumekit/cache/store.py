"""Stores of chunks with a mirror before them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from volumekit.cache import outage
from volumekit.cache.mirror import Mirror
from volumekit.storage.base import Change, Future, Store, Value, chain, done, same_generation, then
from volumekit.storage.wrap import Wrapper

if TYPE_CHECKING:
    from volumekit.cache.entry import Entry


class WrittenThrough(Wrapper):
    """A store that keeps a mirror in step with what is written; it is read past the mirror.

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

    def keys_in(self, group: str) -> Future[Collection[str]]:
        """Return the keys that are stored in an object of the store."""
        return self._base.keys_in(group)


class CachedStore(WrittenThrough):
    """A store whose objects are kept in a mirror once they were read or written.

    Only whole objects are; ranges always ask the store.

    Parameters
    ----------
    base : Store
        The chunks of a dataset, containers and suffixes resolved.
    mirror : Mirror
        Their copy.
    probed : bool
        Whether the mirror also says if an object is there and has not changed. What is reported of a storage should
        come from there.
    """

    def __init__(self, base: Store, mirror: Mirror, *, probed: bool = False) -> None:
        super().__init__(base, mirror)
        self._probed = probed

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read a key, from the mirror if it is there."""
        if start is None and stop is None:
            return self._find(key, self._mirror.load)
        if self._probed and (start, stop) == (0, 0):
            return then(self._find(key, self._tell), lambda value: value and value._replace(data=b""))
        return self._base.read(key, start, stop)

    def bring(self, key: str) -> Future[None]:
        """Bring an object into the mirror, if it is not there."""
        return then(self._find(key, self._tell), lambda value: None)

    def _tell(self, key: str, entry: Entry) -> Value | None:
        """Return an object that is in the mirror without its bytes."""
        self._mirror.use(key, entry)
        return Value(b"", entry.stamp)

    def _find(self, key: str, take: Callable[[str, Entry], Value | None]) -> Future[Value | None]:
        """Take an object from the mirror, or fetch it."""
        found = self._mirror.look(key)
        if found is None:
            return self._fetch(key)
        entry = found.entry
        if entry.size < 0:
            return done(None)

        def have() -> Future[Value | None]:
            value = take(key, entry)
            return self._fetch(key) if value is None else done(value)

        def offline(error: Exception) -> Future[Value | None] | None:
            value = take(key, entry) if outage.is_outage(error) else None
            if value is None:
                return None
            outage.begin(self.url, error)
            return done(value)

        if found.fresh or outage.lasts(self.url):
            return have()
        return chain(self._renew(key, entry, have), done, rescue=offline)

    def _renew(self, key: str, entry: Entry, have: Callable[[], Future[Value | None]]) -> Future[Value | None]:
        """Ask the store whether an object is still the one that is here, and fetch it if not."""

        def decide(probe: Value | None) -> Future[Value | None]:
            if probe is None or not same_generation(probe.stamp, entry.stamp):
                return self._fetch(key)
            self._mirror.confirm(key, entry)
            return have()

        if not same_generation(entry.stamp, entry.stamp):  # the store does not tell
            return self._fetch(key)
        return chain(self._base.read(key, 0, 0), decide)

    def _fetch(self, key: str) -> Future[Value | None]:
        expected = self._mirror.expected(key)

        def keep(value: Value | None) -> Future[Value | None]:
            outage.end(self.url)
            return then(self._mirror.put(key, value, expected), lambda _: value)

        return chain(self._base.read(key), keep)
