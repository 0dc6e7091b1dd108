"""What was used lately: the account is told now and then, not at every read."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from volumekit.cache.index import Index
from volumekit.cache.trouble import Trouble

_MOST = 1 << 14
_SECONDS = 5.0


class Uses:
    """What of a dataset was used and not told yet.

    Parameters
    ----------
    index : Index
        The account of the cache directory.
    dataset : int
        The dataset's number there.
    trouble : Trouble
        What goes wrong.
    """

    def __init__(self, index: Index, dataset: int, trouble: Trouble) -> None:
        self._index, self._dataset, self._trouble = index, dataset, trouble
        self._keys: set[str] = set()
        self._told = time.monotonic()

    def add(self, keys: Iterable[str]) -> None:
        """Note that objects were used."""
        self._keys.update(keys)
        now = time.monotonic()
        if len(self._keys) >= _MOST or now - self._told > _SECONDS:
            self._told = now
            with contextlib.suppress(RuntimeError):  # the interpreter is shutting down, where the rest is told anyway
                writer().submit(self.tell)

    def tell(self) -> None:
        """Tell the account."""
        keys, self._keys = self._keys, set()
        if keys and not self._trouble.happened:
            with self._trouble.guarded():
                self._index.touch(self._dataset, keys)


@functools.cache
def writer() -> ThreadPoolExecutor:
    """Return the thread that writes to all cache directories."""
    return ThreadPoolExecutor(1, thread_name_prefix="volumekit-cache")
