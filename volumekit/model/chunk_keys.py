"""Names of chunks: zarr's chunk key encodings, and N5's, which is one of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ChunkKeys:
    """How the position of a chunk becomes a name.

    Attributes
    ----------
    lead : str
        What precedes the numbers: the array's folder, and ``c/`` or ``c.`` in zarr v3.
    separator : str
        What stands between them.
    rank : int
        How many numbers there are.
    """

    lead: str
    separator: str
    rank: int

    def name(self, cell: Sequence[int]) -> str:
        """Return the name of a chunk."""
        return self.lead + self.separator.join(map(str, cell))

    def cell(self, name: str) -> tuple[int, ...] | None:
        """Return the position that a name stands for, None if it is no chunk's."""
        if not name.startswith(self.lead):
            return None
        parts = name[len(self.lead) :].split(self.separator)
        if len(parts) != self.rank or not all(map(_NUMBER.fullmatch, parts)):
            return None
        return tuple(map(int, parts))


_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
