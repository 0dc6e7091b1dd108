"""Objects that are stored with headers: what they are, how they are compressed, how long others may keep a copy."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor

from volumekit.storage.base import Change, Future, Store, Value
from volumekit.storage.headers import BYTES, Headed, Headers
from volumekit.storage.wrap import Wrapper

CONTENT_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "jxl": "image/jxl"}
"""Content types of encodings that browsers know."""


class HeadedStore(Wrapper):
    """A store whose objects are all written with the same headers.

    Parameters
    ----------
    base : Store
        A store that says it is ``headed``.
    headers : Headers
        What to store objects with.
    """

    def __init__(self, base: Store, headers: Headers) -> None:
        super().__init__(base)
        self.near, self.headers = base.near, headers

    @property
    def needed(self) -> bool:
        """Whether the headers say more than an object without any does."""
        return says_something(self.headers)

    def peek(self, key: str, start: int | None = None, stop: int | None = None) -> Value | None:
        """Read a key in the calling thread."""
        return self._base.peek(key, start, stop)

    def commit(self, changes: Mapping[str, bytes | None], if_match: bytes | None = None) -> Future[Mapping[str, bytes]]:
        """Write keys with the headers, or delete them."""
        return self._base.commit({key: self._headed(data) for key, data in changes.items()}, if_match)

    def _headed(self, data: bytes | None) -> bytes | None:
        return None if data is None else Headed(data, self.headers)

    def update(self, changes: Mapping[str, Change], *, executor: Executor | None = None) -> Future[Mapping[str, bytes]]:
        """Write, delete or change keys; see `Store.update`."""
        return Store.update(self, changes, executor=executor)


def says_something(headers: Headers) -> bool:
    """Tell whether headers say more than that an object is bytes."""
    return headers != Headers(required=headers.required, level=headers.level) or headers.content_type != BYTES
