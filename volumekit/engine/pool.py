"""The threads that decode and encode chunks in Python."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def thread_count(threads: int | None = None) -> int:
    """Return how many threads that means; None: one per core."""
    return threads or os.cpu_count() or 1


class Pool(ThreadPoolExecutor):
    """Threads that end with the main thread; those that it leaves behind may go on, and then do the work themselves."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start a call in a thread of the pool; once the pool is closed, make it in this one."""
        try:
            return super().submit(fn, *args, **kwargs)
        except RuntimeError:
            done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


@functools.lru_cache(maxsize=32)
def pool(threads: int | None = None) -> ThreadPoolExecutor:
    """Return the process's pool of that many threads; None: one per core."""
    return Pool(thread_count(threads), thread_name_prefix="volumekit")
