"""Reading here, then there, depending on what was found, as generators.

*Steps* yield lists of `Ask` and are told what was found. The same steps serve a caller that waits, in its own thread,
and one that gets a future: how to look something up is written once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, TypeVar

from volumekit.storage.base import Future, Store, Value, chain, done, failed, gather, then

T = TypeVar("T")


class Ask(NamedTuple):
    """A key, or a range of it, to be read; see `Store.read`.

    Attributes
    ----------
    key, start, stop
        As `Store.read` takes them.
    shared : bool
        Whether the answer to somebody else who asked the same a moment ago will do.
    """

    key: str
    start: int | None = None
    stop: int | None = None
    shared: bool = False


Found = Sequence[Value | None]
Steps = Generator[list[Ask], Found, T]


def run(steps: Steps[T], read: Callable[[Ask], Value | None]) -> T:
    """Run steps in the calling thread; ``read`` answers each ask."""
    try:
        asks = next(steps)
        while True:
            asks = steps.send([read(ask) for ask in asks])
    except StopIteration as stop:
        result: T = stop.value
        return result


def begin(steps: Steps[T], read: Callable[[Ask], Future[Value | None]]) -> Future[T]:
    """Begin steps; they go on in the threads that finish the reads, and must not block."""
    return _advance(steps, read, lambda: next(steps))


def _advance(steps: Steps[T], read: Callable[[Ask], Future[Value | None]], step: Callable[[], list[Ask]]) -> Future[T]:
    try:
        asks = step()
    except StopIteration as stop:
        return done(stop.value)
    except Exception as error:
        return failed(error)
    return chain(_all(asks, read), lambda found: _advance(steps, read, lambda: steps.send(found)))


def _all(asks: list[Ask], read: Callable[[Ask], Future[Value | None]]) -> Future[Found]:
    if len(asks) == 1:
        return then(read(asks[0]), lambda value: [value])
    found = gather({str(n): read(ask) for n, ask in enumerate(asks)})
    return then(found, lambda values: [values[str(n)] for n in range(len(asks))])


class Reader:
    """Answers asks from a store; those that may be shared and are under way already are not sent again.

    Parameters
    ----------
    store : Store
        Where to read.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._under_way: dict[Ask, Future[Value | None]] = {}
        self._lock = threading.Lock()

    def peek(self, ask: Ask) -> Value | None:
        """Answer in the calling thread."""
        return self._store.peek(ask.key, ask.start, ask.stop)

    def read(self, ask: Ask) -> Future[Value | None]:
        """Return a future of the answer."""
        if not ask.shared:
            return self._store.read(ask.key, ask.start, ask.stop)
        with self._lock:
            reading = self._under_way.get(ask)
            if reading is None:
                reading = self._under_way[ask] = self._store.read(ask.key, ask.start, ask.stop)
                new = True
            else:
                new = False
        if new:
            reading.add_done_callback(lambda _: self._under_way.pop(ask, None))
        return reading
