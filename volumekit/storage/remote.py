"""What storages behind a network share: asking as somebody first and then as nobody, and buckets that may not exist."""

from __future__ import annotations

import functools
import posixpath
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import tensorstore as ts

from volumekit.errors import InvalidURLError, MissingExtraError, PermissionDeniedError, StorageError
from volumekit.model.url import URL
from volumekit.storage import forkguard
from volumekit.storage.base import Future, Store, Value, chain, done, failed
from volumekit.storage.context import context
from volumekit.storage.headed import says_something
from volumekit.storage.headers import Headed
from volumekit.storage.kvstore import Ask, KvStore
from volumekit.storage.translate import translate

T = TypeVar("T")


class Way(NamedTuple):
    """One way to ask.

    Attributes
    ----------
    who : str
        Whose credentials, for messages.
    spec : dict
        TensorStore's key-value store, without its ``path``.
    top : str
        The path of the whole storage: empty, or with a slash at the end.
    writes : bool
        Whether it can be written this way.
    """

    who: str
    spec: dict[str, Any]
    top: str = ""
    writes: bool = True


class RemoteStore(KvStore):
    """Objects behind a network.

    Every request is made in each way until one is let in; from then on all go that way, TensorStore's own too.

    Parameters
    ----------
    url : str
        Where it is, without passwords.
    ways : sequence of Way
        The ways to ask, best first.
    root : str
        What keys begin with below the top: empty, or with a slash at the end.
    """

    def __init__(self, url: str, ways: Sequence[Way], root: str) -> None:
        forkguard.check()
        self.url, self._root, self._durable = url, root, False
        self._ways, self._at = tuple(ways), 0
        self._settled = len(ways) == 1
        self._lock = threading.RLock()
        self._opened: dict[int, ts.KvStore] = {}
        self._kv = self._store(0)

    @property
    def credentials(self) -> str:
        """Whose credentials it is asked with, once somebody's were good for something; before, all there are."""
        return self._ways[self._at].who if self._settled else ", then ".join(way.who for way in self._ways)

    def native(self) -> dict[str, Any]:
        """Return the spec of this store."""
        way = self._ways[self._at]
        return {**way.spec, "path": way.top + self._root}

    def _store(self, n: int) -> ts.KvStore:
        """Return the whole storage as the n-th way sees it."""
        with self._lock:
            if n not in self._opened:
                with self.opening():
                    spec = {**self._ways[n].spec, "path": self._ways[n].top}
                    self._opened[n] = self._open(spec)
            return self._opened[n]

    def _open(self, spec: dict[str, Any]) -> ts.KvStore:
        try:
            return ts.KvStore.open(spec, context=context()).result()
        except ValueError as error:
            raise InvalidURLError(f"this cannot be opened: {error}", url=self.url) from error

    def _full(self, key: str) -> str:
        """Return the key as TensorStore's store below knows it.

        Raises
        ------
        StorageError
            If there cannot be such a key.
        """
        parts = key.split("/")
        if not all(parts) or "." in parts or "\0" in key:
            raise StorageError(f"{key!r} cannot be the name of an object", url=self.url, key=key)
        if ".." not in parts:
            return self._root + key
        path = posixpath.normpath(self._root + key)
        if path.startswith(".."):
            raise StorageError(f"{key!r} leads out of the top directory", url=self.url, key=key)
        return path

    def _request(self, key: str, ask: Ask, step: Callable[[Any], T], *, writes: bool = False) -> Future[T]:
        known = [self._at] if self._settled else range(len(self._ways))
        ways = [n for n in known if self._ways[n].writes or not writes]
        if not ways:
            return failed(PermissionDeniedError("writing here needs credentials", url=self.url, key=key))
        return self._explore(ways, key, ask, step)

    def _explore(self, ways: Sequence[int], key: str, ask: Ask, step: Callable[[Any], T]) -> Future[T]:
        """Ask in the first of these ways, and in the next if that is refused."""
        first, *others = ways

        def settle(value: T) -> Future[T]:
            self._settle(first)
            return done(value)

        def rescue(error: Exception) -> Future[T] | None:
            if isinstance(error, PermissionDeniedError) and others:
                return self._explore(others, key, ask, step)
            self.explain(error)
            return None

        return chain(self._ask(self._store(first), key, ask, step), settle, rescue=rescue)

    def _settle(self, n: int) -> None:
        with self._lock:
            if not self._settled:
                self._settled, self._at, self._kv = True, n, self._opened[n]

    def explain(self, error: BaseException) -> BaseException:
        """Say who was refused."""
        tried = "; credentials tried: "
        if isinstance(error, PermissionDeniedError) and tried not in error.message:
            ways = self._ways[self._at : self._at + 1] if self._settled else self._ways
            error.message += tried + ", then ".join(way.who for way in ways)
        return error

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that start with ``prefix``."""
        forkguard.check()
        folder, slash, start = prefix.rpartition("/")
        if "\0" in prefix:
            return
        try:
            path = self._full(folder) + slash + start if folder else self._root + prefix
            first = path.encode("utf-8", "surrogateescape")
        except (StorageError, UnicodeEncodeError):
            return
        for key in self._listed(first, prefix):
            yield prefix + key[len(first) :].decode("utf-8", "surrogateescape")

    def _listed(self, first: bytes, prefix: str) -> Sequence[bytes]:
        """List in the way that is let in."""
        ways = [self._at] if self._settled else range(len(self._ways))
        for n in ways:
            try:
                found = self._found(n, first)
            except (ValueError, PermissionDeniedError) as error:
                problem = translate(error, url=self.url, key=prefix)
                if not isinstance(problem, PermissionDeniedError) or n == ways[-1]:
                    raise self.explain(problem) from (None if problem is error else error)
            else:
                self._settle(n)
                return found
        raise AssertionError("there is always a way")

    def _found(self, n: int, first: bytes) -> Sequence[bytes]:
        """Return the keys that begin like this, in the n-th way."""
        upper = first + b"\xff" * 8 if first else b""
        found: Sequence[bytes] = self._store(n).list(ts.KvStore.KeyRange(first, upper)).result()
        return [key for key in found if not key.endswith(b"/")]


class BucketStore(RemoteStore):
    """Objects in a bucket.

    A key that is not there looks like a bucket that is not there: the first time, that is looked into.
    """

    headed = True
    place: URL
    _seen = False

    @abstractmethod
    def filesystem_arguments(self) -> Mapping[str, Any]:
        """Return what the bucket's filesystem of fsspec is told: it writes headers, which TensorStore does not."""

    @functools.cached_property
    def _twin(self) -> Store:
        """The same objects through fsspec."""
        from volumekit.storage.fsspec import FsspecStore

        return FsspecStore(self.place, options=self.filesystem_arguments())

    def commit(self, changes: Mapping[str, bytes | None], if_match: bytes | None = None) -> Future[Mapping[str, bytes]]:
        """Write or delete keys, one object each; values may be `storage.headers.Headed`."""
        told = [data.headers for data in changes.values() if isinstance(data, Headed) and says_something(data.headers)]
        if not told:
            return super().commit(changes, if_match)
        try:
            return self._twin.commit(changes, if_match)
        except MissingExtraError as error:
            if any(headers.required for headers in told):
                return failed(error)
            return super().commit({key: data and bytes(data) for key, data in changes.items()}, if_match)

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read a key, or a range of it."""
        future = super().read(key, start, stop)
        if self._seen:
            return future

        def look(value: Value | None) -> Future[Value | None]:
            if value is not None or self._seen:
                self._seen = True
                return done(value)
            return chain(self._prove(), proven)

        def proven(_: None) -> Future[Value | None]:
            self._seen = True
            return done(None)

        return chain(future, look)

    @abstractmethod
    def _prove(self) -> Future[None]:
        """Fail if there is no such bucket; that one may not look is no failure."""


def bucket_and_root(url: URL) -> tuple[str, str]:
    """Return the bucket of a URL, and what the keys below it begin with."""
    bucket, _, path = url.path.partition("/")
    path = posixpath.normpath(path) if path.strip("/") else ""
    return bucket, f"{path}/" if path else ""
