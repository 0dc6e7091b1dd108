"""Stores over stores: below a prefix, read-only, counting, slow, failing.

Behaviour is layered by wrapping. The last three hide how TensorStore would get at the same bytes, so that every
request goes through them.
"""

from __future__ import annotations

import queue
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future as _Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

from volumekit.errors import ReadOnlyError
from volumekit.storage.base import Future, Store, Value, chain, failed, then

Operation = Literal["read", "write", "delete", "list"]


class Wrapper(Store):
    """A store that does what another one does; what differs is up to subclasses.

    Parameters
    ----------
    base : Store
        The store below.
    """

    def __init__(self, base: Store) -> None:
        self.url, self.writable, self.listable = base.url, base.writable, base.listable
        self.conditional, self.suffixed, self.headed = base.conditional, base.suffixed, base.headed
        self.endpoint, self.lasting = base.endpoint, base.lasting
        self._base = base

    @property
    def credentials(self) -> str | None:
        """Whose credentials it is asked with."""
        return self._base.credentials

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read a key, or a range of it."""
        return self._base.read(key, start, stop)

    def commit(self, changes: Mapping[str, bytes | None], if_match: bytes | None = None) -> Future[Mapping[str, bytes]]:
        """Write or delete keys."""
        return self._base.commit(changes, if_match)

    def group(self, key: str) -> str:
        """Return the object a key lives in."""
        return self._base.group(key)

    def keys_in(self, group: str) -> Future[Collection[str]]:
        """Return the keys that are stored in an object."""
        return self._base.keys_in(group)

    def tidy(self, folder: str) -> None:
        """Remove folders that hold nothing."""
        self._base.tidy(folder)

    def opening(self) -> AbstractContextManager[None]:
        """Return what must surround TensorStore's opening of the `native` spec."""
        return self._base.opening()

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that start with ``prefix``."""
        return self._base.list(prefix)


class ReadOnlyStore(Wrapper):
    """A store that cannot be written."""

    def __init__(self, base: Store) -> None:
        super().__init__(base)
        self.writable, self.near = False, base.near

    def peek(self, key: str, start: int | None = None, stop: int | None = None) -> Value | None:
        """Read a key, or a range of it, in the calling thread."""
        return self._base.peek(key, start, stop)

    def commit(self, changes: Mapping[str, bytes | None], if_match: bytes | None = None) -> Future[Mapping[str, bytes]]:
        """Fail."""
        return failed(ReadOnlyError("this storage was opened for reading only", url=self.url))

    def find(self, keys: Sequence[str]) -> Future[str | None]:
        """Return the first of these keys that exists."""
        return self._base.find(keys)

    def native(self) -> dict[str, Any] | None:
        """Return the TensorStore key-value store spec of the same bytes, or None."""
        return self._base.native()


class PrefixStore(Wrapper):
    """The part of a store below a folder.

    Parameters
    ----------
    base : Store
        The whole store.
    prefix : str
        The folder; a slash at its end is added if it lacks one.
    """

    def __init__(self, base: Store, prefix: str) -> None:
        super().__init__(base)
        self._prefix = prefix if prefix.endswith("/") else f"{prefix}/"
        self.url, self.near = base.join(self._prefix).rstrip("/"), base.near

    def peek(self, key: str, start: int | None = None, stop: int | None = None) -> Value | None:
        """Read a key, or a range of it, in the calling thread."""
        return self._base.peek(self._prefix + key, start, stop)

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read a key, or a range of it."""
        return self._base.read(self._prefix + key, start, stop)

    def commit(self, changes: Mapping[str, bytes | None], if_match: bytes | None = None) -> Future[Mapping[str, bytes]]:
        """Write or delete keys."""
        below = {self._prefix + key: value for key, value in changes.items()}
        return then(self._base.commit(below, if_match), lambda stamps: {self._cut(k): v for k, v in stamps.items()})

    def find(self, keys: Sequence[str]) -> Future[str | None]:
        """Return the first of these keys that exists."""
        found = self._base.find([self._prefix + key for key in keys])
        return then(found, lambda key: None if key is None else self._cut(key))

    def tidy(self, folder: str) -> None:
        """Remove folders that hold nothing."""
        self._base.tidy(self._prefix + folder)

    def group(self, key: str) -> str:
        """Return the object a key lives in."""
        return self._cut(self._base.group(self._prefix + key))

    def keys_in(self, group: str) -> Future[Collection[str]]:
        """Return the keys that are stored in an object."""
        return then(self._base.keys_in(self._prefix + group), lambda keys: [self._cut(key) for key in keys])

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that start with ``prefix``."""
        return (self._cut(key) for key in self._base.list(self._prefix + prefix))

    def native(self) -> dict[str, Any] | None:
        """Return the TensorStore key-value store spec of the same bytes, or None."""
        spec = self._base.native()
        return None if spec is None else {**spec, "path": spec["path"] + self._prefix}

    def _cut(self, key: str) -> str:
        return key.removeprefix(self._prefix)


@dataclass
class Counts:
    """How often a store was asked for what, and how many bytes went in and out.

    A key of a commit is one write or one delete; asking whether a key is there is one read.
    """

    reads: int = 0
    writes: int = 0
    deletes: int = 0
    lists: int = 0
    bytes_read: int = 0
    bytes_written: int = 0


class CountedStore(Wrapper):
    """A store that counts the requests to it, failed ones included; any number of threads may use it.

    Attributes
    ----------
    counts : Counts
        So far; assign a new one to start again.
    """

    def __init__(self, base: Store) -> None:
        super().__init__(base)
        self.counts = Counts()
        self._lock = threading.Lock()

    def _add(self, **more: int) -> None:
        with self._lock:
            for name, number in more.items():
                setattr(self.counts, name, getattr(self.counts, name) + number)

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read a key, or a range of it."""
        self._add(reads=1)

        def count(value: Value | None) -> Value | None:
            self._add(bytes_read=len(value.data) if value else 0)
            return value

        return then(super().read(key, start, stop), count)

    def commit(self, changes: Mapping[str, bytes | None], if_match: bytes | None = None) -> Future[Mapping[str, bytes]]:
        """Write or delete keys."""
        written = [len(data) for data in changes.values() if data is not None]
        self._add(writes=len(written), deletes=len(changes) - len(written), bytes_written=sum(written))
        return super().commit(changes, if_match)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that start with ``prefix``."""
        self._add(lists=1)
        return super().list(prefix)


class SlowStore(Wrapper):
    """A store that begins with everything it is asked for only after a while; no thread waits meanwhile.

    Listing is the exception, as it is no future: its caller waits.

    Parameters
    ----------
    base : Store
        The store below.
    seconds : float
        How long each request takes; any number of them wait at the same time.
    """

    def __init__(self, base: Store, seconds: float) -> None:
        super().__init__(base)
        self._seconds = seconds
        # All wait equally long, so the first to come is the first to go and a queue is all it takes.
        self._waiting: queue.SimpleQueue[tuple[float, _Future[None]] | None] = queue.SimpleQueue()
        threading.Thread(target=_wake, args=(self._waiting,), name="volumekit-slow", daemon=True).start()
        weakref.finalize(self, self._waiting.put, None)

    def _later(self) -> Future[None]:
        future: _Future[None] = _Future()
        self._waiting.put((time.monotonic() + self._seconds, future))
        return future

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read a key, or a range of it."""
        return chain(self._later(), lambda _: self._base.read(key, start, stop))

    def commit(self, changes: Mapping[str, bytes | None], if_match: bytes | None = None) -> Future[Mapping[str, bytes]]:
        """Write or delete keys."""
        return chain(self._later(), lambda _: self._base.commit(changes, if_match))

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that start with ``prefix``."""
        time.sleep(self._seconds)
        return super().list(prefix)


def _wake(waiting: queue.SimpleQueue[tuple[float, _Future[None]] | None]) -> None:
    """Let futures go when their time has come, until there is None."""
    while (item := waiting.get()) is not None:
        when, future = item
        time.sleep(max(0.0, when - time.monotonic()))
        future.set_result(None)
        del item, future  # they hold the store, which is to end this


class FaultyStore(Wrapper):
    """A store that fails where it is told to.

    Parameters
    ----------
    base : Store
        The store below.
    fault : callable
        Asked before everything: ``fault(operation, key)`` returns what to fail with, None to go on. Operations
        are ``"read"``, ``"write"``, ``"delete"`` and ``"list"``, whose key is the prefix. A commit with one fault
        changes nothing.
    """

    def __init__(self, base: Store, fault: Callable[[Operation, str], Exception | None]) -> None:
        super().__init__(base)
        self._fault = fault

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read a key, or a range of it."""
        error = self._fault("read", key)
        return super().read(key, start, stop) if error is None else failed(error)

    def commit(self, changes: Mapping[str, bytes | None], if_match: bytes | None = None) -> Future[Mapping[str, bytes]]:
        """Write or delete keys."""
        for key, data in changes.items():
            error = self._fault("delete" if data is None else "write", key)
            if error is not None:
                return failed(error)
        return super().commit(changes, if_match)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that start with ``prefix``."""
        error = self._fault("list", prefix)
        if error is not None:
            raise error
        return super().list(prefix)
