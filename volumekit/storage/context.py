"""TensorStore contexts: thread counts, caches and syncing, shared by everything with the same settings."""

from __future__ import annotations

import functools

import tensorstore as ts


@functools.cache
def _base() -> ts.Context:
    return ts.Context({"memory_key_value_store": {}, "file_io_sync": False})


@functools.lru_cache(maxsize=64)
def context(*, durable: bool = False, threads: int | None = None, lru_bytes: int = 0) -> ts.Context:
    """Return the context with these settings.

    Parameters
    ----------
    durable : bool
        Whether files are synced to the disk before a write counts as done.
    threads : int, optional
        How many threads decode; None: one per core.
    lru_bytes : int
        Size of the memory cache of decoded chunks.

    Notes
    -----
    All descend from one context, so that ``memory://`` is one place per process.
    """
    spec: dict[str, object] = {"file_io_sync": durable, "cache_pool": {"total_bytes_limit": lru_bytes}}
    if threads is not None:
        spec["data_copy_concurrency"] = {"limit": threads}
    return ts.Context(spec, _base())
