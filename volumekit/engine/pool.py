"""The threads that decode and encode chunks in Python."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor


def thread_count(threads: int | None = None) -> int:
    """Return how many threads that means; None: one per core."""
    return threads or os.cpu_count() or 1


@functools.lru_cache(maxsize=32)
def pool(threads: int | None = None) -> ThreadPoolExecutor:
    """Return the process's pool of that many threads; None: one per core."""
    return ThreadPoolExecutor(thread_count(threads), thread_name_prefix="volumekit")
