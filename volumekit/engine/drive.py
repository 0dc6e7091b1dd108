"""Work as generators of futures, so that one piece of code serves callers that wait and callers that await.

A *unit* yields the futures it waits for and is told their outcome: resumed when one is done, thrown into when one
fails.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

import tensorstore as ts

from volumekit.storage.base import Future

T = TypeVar("T")
Waitable = ts.Future[Any] | ts.WriteFutures | Future[Any]
Unit = Generator[Waitable, None, T]


def overlap(units: Iterable[Unit[None]], *, depth: int | Callable[[], int], finish: bool = False) -> Unit[None]:
    """Run units in order, ``depth`` of them at a time.

    Parameters
    ----------
    units : iterable of Unit
        Started one by one: nothing new starts after an error or an interruption.
    depth : int or callable
        How many are under way at once; asked again for each.
    finish : bool
        After an error or an interruption, wait for what is under way: it cannot be called back, and a write
        must not land after the writes that follow it.
    """
    pending: deque[tuple[Unit[None], Waitable]] = deque()
    most = depth if callable(depth) else lambda: depth
    try:
        for unit in units:
            _start(unit, pending)
            while len(pending) >= most():
                yield from _settle(pending)
        while pending:
            yield from _settle(pending)
    except Exception:
        while finish and pending:
            with contextlib.suppress(Exception):
                yield from _settle(pending)
        raise
    finally:
        for _, future in pending:
            if finish:
                with contextlib.suppress(Exception):
                    future.result()
            _cancel(future)


def _cancel(future: Waitable) -> None:
    """Tell that nobody waits any more; what is under way already goes on."""
    cancel = getattr(future, "cancel", None)
    if cancel is not None:
        cancel()


def _start(unit: Unit[None], pending: deque[tuple[Unit[None], Waitable]]) -> None:
    try:
        pending.append((unit, next(unit)))
    except StopIteration:
        return


def _settle(pending: deque[tuple[Unit[None], Waitable]]) -> Unit[None]:
    """Bring the oldest unit to its end."""
    unit, future = pending[0]
    try:
        while True:
            try:
                yield future
            except Exception as error:
                future = unit.throw(error)
            else:
                future = unit.send(None)
            pending[0] = (unit, future)
    except StopIteration:
        pending.popleft()
    except Exception:
        pending.popleft()
        raise


def run(unit: Unit[T]) -> T:
    """Run a unit, waiting for its futures; Ctrl-C closes it."""
    try:
        future = next(unit)
        while True:
            try:
                future.result()
            except Exception as error:
                future = unit.throw(error)
            else:
                future = unit.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        unit.close()


async def _arrival(future: Waitable) -> None:
    """Wait until a future is done, and leave it alone when the waiting is cancelled."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def tell(_: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(wake)

    future.add_done_callback(tell)
    await waiter


async def arrived(future: Future[T]) -> T:
    """Wait for a future of a store without blocking the event loop, and return its value."""
    await _arrival(future)
    return future.result()


async def run_async(unit: Unit[T]) -> T:
    """Run a unit, awaiting its futures; cancelling the task closes it."""
    try:
        future = next(unit)
        while True:
            try:
                await _arrival(future)
                future.result()
            except Exception as error:
                future = unit.throw(error)
            else:
                future = unit.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        unit.close()
