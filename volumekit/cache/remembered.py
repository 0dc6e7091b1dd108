"""The metadata by which a dataset is opened, also when its storage cannot be reached."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from volumekit.cache import outage
from volumekit.cache.files import remembered, write_whole
from volumekit.storage.base import Future, Store, Value, chain, done, then
from volumekit.storage.wrap import Wrapper


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
        self.near, self.headed = base.near, base.headed
        self._root = Path(root)

    def _place(self, key: str, kind: str) -> Path:
        return remembered(self._root, key, kind)

    def native(self) -> dict[str, Any] | None:
        """Return the TensorStore key-value store spec of the same bytes, or None."""
        return self._base.native()

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read a key, or what it was when the storage answered for the last time."""
        if outage.lasts(self.url) and (known := self._recall(key, start, stop)) is not None:
            return known

        def keep(value: Value | None) -> Value | None:
            outage.end(self.url)
            if start is None and stop is None:
                self._save(key, value and value.data)
            return value

        def offline(error: Exception) -> Future[Value | None] | None:
            known = self._recall(key, start, stop) if outage.is_outage(error) else None
            if known is not None:
                outage.begin(self.url, error)
            return known

        return chain(then(self._base.read(key, start, stop), keep), done, rescue=offline)

    def _recall(self, key: str, start: int | None, stop: int | None) -> Future[Value | None] | None:
        try:
            return done(Value(self._place(key, "value").read_bytes()[slice(start, stop)], b""))
        except OSError:
            return done(None) if self._place(key, "absent").exists() else None

    def _save(self, key: str, data: bytes | None) -> None:
        value, absent = self._place(key, "value"), self._place(key, "absent")
        with contextlib.suppress(OSError):  # the mirror itself warns of a directory that cannot be written
            if data is None:
                write_whole(absent, b"")
                value.unlink(missing_ok=True)
            else:
                write_whole(value, data)
                absent.unlink(missing_ok=True)

    def commit(self, changes: Mapping[str, bytes | None], if_match: bytes | None = None) -> Future[Mapping[str, bytes]]:
        """Write or delete keys, and remember them."""

        def keep(stamps: Mapping[str, bytes]) -> Mapping[str, bytes]:
            for key, data in changes.items():
                self._save(key, None if data is None else bytes(data))
            return stamps

        return then(self._base.commit(changes, if_match), keep)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that start with ``prefix``; in an outage, of each folder below only one."""
        place = self._place(prefix, "list")
        try:
            found = list(self._base.list(prefix))
        except Exception as error:
            if not outage.is_outage(error):
                raise
            try:
                text = place.read_text("utf-8", "surrogateescape")
            except OSError:
                raise error from None
            outage.begin(self.url, error)
            found = text.split("\n") if text else []
        else:
            with contextlib.suppress(OSError):
                write_whole(place, "\n".join(_heads(found, prefix)).encode("utf-8", "surrogateescape"))
        yield from found


def _heads(keys: list[str], prefix: str) -> Iterator[str]:
    """Yield one key of each folder right below a prefix."""
    folder = posixpath.dirname(prefix) + "/" if "/" in prefix else ""
    seen: set[str] = set()
    for key in keys:
        head = key[len(folder) :].partition("/")[0]
        if head not in seen:
            seen.add(head)
            yield key
