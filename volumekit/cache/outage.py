"""Storages that cannot be reached: after one failure they are left alone for a while, as each takes its time."""

from __future__ import annotations

import time
import warnings

from volumekit.errors import StorageError

SECONDS = 30.0
"""How long what the cache has is used as it is, before the storage is asked again."""

_began: dict[str, float] = {}


def is_outage(error: Exception) -> bool:
    """Tell whether an error says that a storage cannot be reached; a refusal does not."""
    return isinstance(error, StorageError)


def begin(url: str, error: Exception) -> None:
    """Note that a storage could not be reached; warn if that is news."""
    if not lasts(url):
        _began[url] = time.monotonic()
        warnings.warn(
            f"{url} cannot be reached ({error}); what the disk cache has is used as it is", RuntimeWarning, stacklevel=2
        )


def lasts(url: str) -> bool:
    """Tell whether a storage could not be reached a moment ago."""
    began = _began.get(url)
    return began is not None and time.monotonic() - began < SECONDS


def end(url: str) -> None:
    """Note that a storage answered."""
    _began.pop(url, None)
