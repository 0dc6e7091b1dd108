"""The size of an object of a storage that does not tell it: found by asking for parts of the object."""

from __future__ import annotations

from volumekit.storage.base import Future, Store
from volumekit.storage.steps import Ask, Steps, begin

WINDOW = 1 << 16


def size_of(store: Store, key: str) -> Future[int | None]:
    """Return the number of bytes of a key, None if it is absent."""
    told = store.size(key)
    return begin(_measuring(key), lambda ask: store.read(ask.key, ask.start, ask.stop)) if told is None else told


def _measuring(key: str) -> Steps[int | None]:
    """Find the size of an object in steps: double a guess until it lies beyond the end, then halve the doubt.

    An object of 1 GiB takes about 30 requests of at most 64 KiB.
    """
    (value,) = yield [Ask(key, 0, WINDOW)]
    if value is None or len(value.data) < WINDOW:
        return None if value is None else len(value.data)
    least, most = WINDOW, None
    while most is None or least < most:
        at = 4 * least if most is None else least if most - least <= WINDOW else (least + most) // 2
        (value,) = yield [Ask(key, at, at + WINDOW)]
        if value is None:
            return None
        if 0 < len(value.data) < WINDOW:
            return at + len(value.data)
        if value.data:
            least = at + WINDOW
        else:
            most = at
    return least
