"""What a store is: bytes by key."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from concurrent.futures import Future as _Future
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar

from volumekit.errors import ConflictError

T_co = TypeVar("T_co", covariant=True)
S = TypeVar("S")
T = TypeVar("T")


class Future(Protocol[T_co]):
    """The part of a future that stores promise: TensorStore's and the standard library's both have it."""

    def result(self, timeout: float | None = None) -> T_co:
        """Wait for the value, or raise what went wrong."""

    def add_done_callback(self, fn: Callable[[Any], object], /) -> None:
        """Call ``fn(future)`` once there is a result; ``fn`` must not block."""


class Value(NamedTuple):
    """The bytes of a key.

    Attributes
    ----------
    data : bytes
        The value, or the part of it that was asked for.
    stamp : bytes
        The store's own generation of the object; passed through to `Store.commit`, never made up.
    attrs : Mapping
        What a container's index says of this value (codec, sample order).
    """

    data: bytes
    stamp: bytes
    attrs: Mapping[str, object] = MappingProxyType({})


Change = bytes | None | Callable[[Value | None], bytes | None]
"""New bytes of a key, None to delete it, or a function that makes either of what is stored now."""

ABSENT = b"\x02"
"""The stamp of what does not exist, as TensorStore spells it; `Store.commit` then writes only if it still does not."""


def same_generation(stamp: bytes, other: bytes) -> bool:
    """Tell whether two stamps are surely of one and the same state of an object.

    Storages that cannot tell, such as web servers without (strong) ETags, always have the same stamp, of one byte.
    """
    return stamp == other and (len(stamp) > 1 or stamp == ABSENT)


class Store(ABC):
    """Bytes by key.

    Keys are relative paths with ``/`` between the parts. Absent is a value at this level (None), never an error.

    Attributes
    ----------
    url : str
        Where this store is; for messages and for comparing.
    writable, listable, conditional : bool
        Whether it can be written, listed, and honours conditional writes of all processes; where it does not, those of
        this process at most are told apart.
    suffixed : bool
        Whether other programs keep compressed objects here under names like ``key.gz``.
    headed : bool
        Whether objects have headers (then Content-Encoding compresses, not suffixes); see `storage.headers.Headed`.
    endpoint : str or None
        The server, or whatever else says where this is, if the URL alone does not.
    near : bool
        Whether reading a key takes no longer than handing the work to another thread, so that `peek` is the way.
    lasting : slice
        The part of a stamp that is the same in all processes and on all machines; if it is empty, none is.
    """

    url: str
    writable: bool = True
    listable: bool = True
    conditional: bool = True
    suffixed: bool = False
    headed: bool = False
    endpoint: str | None = None
    near: bool = False
    lasting: slice = slice(None)

    @property
    def credentials(self) -> str | None:
        """Whose credentials it is asked with, for messages."""
        return None

    @abstractmethod
    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read a key, or a range of it.

        Parameters
        ----------
        key : str
            The key.
        start, stop : int, optional
            Half-open byte range; a negative ``start`` counts from the end. The answer is cut at the end of the
            object. ``(0, 0)`` only asks whether it is there.

        Returns
        -------
        Future of Value or None
            None if there is no such key.
        """

    def peek(self, key: str, start: int | None = None, stop: int | None = None) -> Value | None:
        """Read a key, or a range of it, in the calling thread, only to look at it.

        The stamp tells whether an object changed between two peeks, as that of `read` does; it is no good for `commit`.

        Raises
        ------
        PermissionDeniedError, StorageError, CorruptChunkError
            As `read` does through its future.
        """
        return self.read(key, start, stop).result()

    @abstractmethod
    def commit(self, changes: Mapping[str, bytes | None], if_match: bytes | None = None) -> Future[Mapping[str, bytes]]:
        """Write (bytes) or delete (None) keys; all or nothing per object.

        Parameters
        ----------
        changes : Mapping
            New value of each key; all keys belong to one `group` when ``if_match`` is given.
        if_match : bytes, optional
            The stamp that the object must still have, `ABSENT` for "must not exist".

        Returns
        -------
        Future of Mapping
            The new stamps.

        Raises
        ------
        ConflictError
            Through the future: the object changed since the stamp was read.
        """

    def put(self, key: str, data: bytes | memoryview | None) -> None:
        """Commit a key that nobody reads yet, in the calling thread; what is cut off may leave a part."""
        self.commit({key: None if data is None else bytes(data)}).result()

    def update(self, changes: Mapping[str, Change], *, executor: Executor | None = None) -> Future[Mapping[str, bytes]]:
        """Write, delete or change keys of one `group`; no change that somebody else makes meanwhile is lost.

        Parameters
        ----------
        changes : Mapping
            What becomes of each key. A function is called again when the key was changed meanwhile.
        executor : Executor, optional
            Where functions run; default: the thread that finishes a read.

        Returns
        -------
        Future of Mapping
            The new stamps.
        """
        each = {key: self._merge(key, change, executor) for key, change in changes.items() if callable(change)}
        plain = {key: change for key, change in changes.items() if not callable(change)}
        if not each:
            return self.commit(plain)
        if plain:
            each[""] = self.commit(plain)
        return then(gather(each), lambda stamps: {key: s for part in stamps.values() for key, s in part.items()})

    def _merge(
        self, key: str, change: Callable[[Value | None], bytes | None], executor: Executor | None
    ) -> Future[Mapping[str, bytes]]:
        """Read, change and write one key, again until nobody wrote it in between."""

        def changed(value: Value | None) -> tuple[bytes | None, bytes]:
            return change(value), value.stamp if value else ABSENT

        def commit(new: tuple[bytes | None, bytes]) -> Future[Mapping[str, bytes] | None]:
            return chain(self.commit({key: new[0]}, new[1]), done, rescue=lost)

        def lost(error: Exception) -> Future[Mapping[str, bytes] | None] | None:
            return done(None) if isinstance(error, ConflictError) else None

        return until(lambda: chain(then(self.read(key), changed, executor=executor), commit))

    def find(self, keys: Sequence[str]) -> Future[str | None]:
        """Return the first of these keys that exists, None if none does; asked one after the other."""
        if not keys:
            return done(None)
        first, *others = keys
        return chain(self.read(first, 0, 0), lambda found: self.find(others) if found is None else done(first))

    def size(self, key: str) -> Future[int | None] | None:
        """Return the number of bytes of a key, None through the future if it is absent.

        None at once: this storage does not tell; `storage.measure.size_of` finds out.
        """
        return None

    def group(self, key: str) -> str:
        """Return the object a key lives in: itself, its shard, its cube."""
        return key

    def keys_in(self, group: str) -> Future[Collection[str]]:
        """Return the keys that are stored in an object, see `group`."""
        return then(self.read(group, 0, 0), lambda value: () if value is None else (group,))

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that start with ``prefix``, in no particular order."""

    def tidy(self, folder: str) -> None:  # noqa: B027 - mostly there is nothing to do
        """Remove folders that hold nothing, a folder and all below it; only file systems have such."""

    def native(self) -> dict[str, Any] | None:
        """Return the TensorStore key-value store spec of the same bytes, or None."""
        return None

    def explain(self, error: BaseException) -> BaseException:
        """Return an error that went through `translate`, with what this store knows of it in its message."""
        return error

    def opening(self) -> AbstractContextManager[None]:
        """Return what must surround TensorStore's opening of the `native` spec."""
        return nullcontext()

    def join(self, key: str) -> str:
        """Return the URL of a key, for messages."""
        return f"{self.url.rstrip('/')}/{key}"


def then(future: Future[S], step: Callable[[S], T], *, executor: Executor | None = None) -> Future[T]:
    """Return a future of ``step(value)``.

    Parameters
    ----------
    future : Future
        What to wait for.
    step : callable
        Runs in ``executor``, or else in the thread that finishes ``future``, where it must not block.
    executor : Executor, optional
        Where to run steps that take time.
    """
    out: _Future[T] = _Future()

    def run(finished: Future[S]) -> None:
        settle(out, lambda: step(finished.result()))

    def finish(finished: Future[S]) -> None:
        if executor is None:
            run(finished)
            return
        try:
            executor.submit(run, finished)
        except RuntimeError as error:  # the interpreter is shutting down: the executor takes no more work
            settle(out, failed(error).result)

    future.add_done_callback(finish)
    return out


def chain(
    future: Future[S],
    step: Callable[[S], Future[T]],
    *,
    rescue: Callable[[Exception], Future[T] | None] = lambda error: None,
) -> Future[T]:
    """Return a future of the future that ``step(value)`` returns; neither function may block.

    Parameters
    ----------
    future : Future
        What to wait for.
    step : callable
        What to do next.
    rescue : callable, optional
        What to do next if ``future`` failed; None: fail.
    """
    out: _Future[T] = _Future()

    def finish(finished: Future[T]) -> None:
        settle(out, finished.result)

    def run(finished: Future[S]) -> None:
        try:
            following = _next(finished, step, rescue)
            following.add_done_callback(finish)
        except BaseException as error:
            finish(failed(error))

    future.add_done_callback(run)
    return out


def until(attempt: Callable[[], Future[T | None]]) -> Future[T]:
    """Return a future of what ``attempt`` gives in the end: it is called again, not recursively, while that is None."""
    out: _Future[T] = _Future()

    def go() -> None:
        while not out.done():
            first = threading.Lock()  # whoever takes it comes first: the answer, or we who wait for it

            def arrived(finished: Future[T | None], first: threading.Lock = first) -> None:
                _settle_unless_none(out, finished)
                if not first.acquire(blocking=False):
                    go()

            _tried(attempt).add_done_callback(arrived)
            if first.acquire(blocking=False):
                return

    go()
    return out


def _tried(attempt: Callable[[], Future[T]]) -> Future[T]:
    try:
        return attempt()
    except Exception as error:
        return failed(error)


def _settle_unless_none(out: _Future[T], finished: Future[T | None]) -> None:
    try:
        value = finished.result()
    except BaseException as error:
        settle(out, failed(error).result)
    else:
        if value is not None:
            settle(out, done(value).result)


def settle(out: _Future[T], work: Callable[[], T]) -> None:
    """Give a future its outcome, unless nobody waits for it any more."""
    if not out.set_running_or_notify_cancel():
        return
    try:
        out.set_result(work())
    except BaseException as error:
        out.set_exception(error)


def _next(
    finished: Future[S], step: Callable[[S], Future[T]], rescue: Callable[[Exception], Future[T] | None]
) -> Future[T]:
    try:
        value = finished.result()
    except Exception as error:
        following = rescue(error)
        if following is None:
            raise
        return following
    return step(value)


def gather(futures: Mapping[str, Future[T]]) -> Future[Mapping[str, T]]:
    """Return a future of all the results, or of the first error once all have ended."""
    out: _Future[Mapping[str, T]] = _Future()
    left = len(futures)
    lock = threading.Lock()

    def finish(_: Future[T]) -> None:
        nonlocal left
        with lock:
            left -= 1
            if left:
                return
        settle(out, lambda: {key: future.result() for key, future in futures.items()})

    if not futures:
        return done({})
    for future in futures.values():
        future.add_done_callback(finish)
    return out


def done(value: T) -> Future[T]:
    """Return a future that already has its value."""
    out: _Future[T] = _Future()
    out.set_result(value)
    return out


def failed(error: BaseException) -> Future[Any]:
    """Return a future that already failed."""
    out: _Future[Any] = _Future()
    out.set_exception(error)
    return out
