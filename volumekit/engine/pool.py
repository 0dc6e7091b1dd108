"""The threads that decode and encode chunks in Python."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor


@functools.lru_cache(maxsize=32)
def pool(threads: int | None = None) -> ThreadPoolExecutor:
    """Return the process's pool of that many threads; None: one per core."""
    return ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="volumekit")
