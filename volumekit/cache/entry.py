"""What is noted of an object in a cache directory."""

from __future__ import annotations

import random
from typing import NamedTuple

MISSING = -1
"""Size of what is known not to be stored."""

CHANGING = -2
"""Size of what somebody is writing just now."""

CHANGING_SECONDS = 60.0
"""How long a writer may take; whoever reads meanwhile does not know what it read."""

ROW_BYTES = 128
"""What an entry without a file counts for, so that those do not pile up."""

_random = random.SystemRandom()


class Entry(NamedTuple):
    """What is noted of an object.

    Attributes
    ----------
    size : int
        Bytes; `MISSING` if the storage has no such object, `CHANGING` while somebody writes it.
    mtime : int
        Time of the file's last change, in ns; below zero while it is not yet in its place, see `coming`.
    stamp : bytes
        The storage's own generation of the object.
    crc : int
        CRC-32 of the bytes.
    checked : float
        When it was last compared with the storage.
    """

    size: int
    mtime: int
    stamp: bytes
    crc: int
    checked: float

    @property
    def cost(self) -> int:
        """What it takes of the budget."""
        return self.size if self.size >= 0 else ROW_BYTES

    @property
    def coming(self) -> str | None:
        """Name of the file, among those that are not yet in their places, if it is one of these."""
        return f"{-self.mtime:x}" if self.size >= 0 and self.mtime < 0 else None


def new_name() -> int:
    """Return an `Entry.mtime` of an object that is not yet in its place; nobody else has the same."""
    return -_random.randrange(2, 1 << 62)


def same(noted: Entry | None, expected: Entry | None) -> bool:
    """Tell whether nothing happened to an object between two looks at its entry."""
    return noted is expected is None or (noted is not None and expected is not None and noted[:3] == expected[:3])
