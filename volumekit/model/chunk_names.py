"""Chunks of a grid by name and by number."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from volumekit.errors import OutOfBoundsError
from volumekit.model.grid import morton_bits, unmorton

_NUMBER = r"(0|-?[1-9]\d{0,19})"
_NAME = re.compile("_".join([f"{_NUMBER}-{_NUMBER}"] * 3), re.ASCII)

Three = tuple[int, int, int]


@dataclass(frozen=True)
class ChunkNames:
    """The names ``<folder>/<x0>-<x1>_<y0>-<y1>_<z0>-<z1>`` of chunks, in voxels, and their compressed Morton codes.

    Parameters
    ----------
    folder : str
        What precedes the names.
    low, high : tuple of int
        Voxels of the level, (x, y, z), half-open.
    chunk : tuple of int
        Chunk size in voxels, (x, y, z).
    """

    folder: str
    low: Three
    high: Three
    chunk: Three

    @functools.cached_property
    def grid(self) -> Three:
        """Number of chunks along each axis."""
        x, y, z = (-(-(b - a) // c) for a, b, c in zip(self.low, self.high, self.chunk, strict=True))
        return x, y, z

    @property
    def count(self) -> int:
        """Number of chunks."""
        return math.prod(self.grid)

    def name(self, cell: Sequence[int]) -> str:
        """Return the name of the chunk at a place of the grid, (x, y, z)."""
        spans = []
        for axis in range(3):
            start = self.low[axis] + cell[axis] * self.chunk[axis]
            spans.append(f"{start}-{min(start + self.chunk[axis], self.high[axis])}")
        return f"{self.folder}/{spans[0]}_{spans[1]}_{spans[2]}"

    def name_of(self, number: int) -> str | None:
        """Return the name of a chunk by its number, None if the grid has no such chunk."""
        try:
            return self.name(unmorton(number, self.grid))
        except OutOfBoundsError:
            return None

    def number(self, name: str) -> int | None:
        """Return the number of a chunk by its name, None if the grid has no such chunk."""
        head, slash, tail = name.rpartition("/")
        match = _NAME.fullmatch(tail)
        if match is None or not slash or head != self.folder:
            return None
        ends = [int(text) for text in match.groups()]
        code = 0
        for axis, (low, high, chunk) in enumerate(zip(self.low, self.high, self.chunk, strict=True)):
            place, rest = divmod(ends[2 * axis] - low, chunk)
            if rest or not low <= ends[2 * axis] < high or ends[2 * axis + 1] != min(ends[2 * axis] + chunk, high):
                return None
            code |= _spread(self._places[axis], place)
        return code

    @functools.cached_property
    def _places(self) -> tuple[tuple[int, ...], ...]:
        """Of each axis: which bit of the code each of its bits becomes."""
        bits = morton_bits(self.grid)
        return tuple(tuple(j for j, (axis, _) in enumerate(bits) if axis == wanted) for wanted in range(3))


@functools.lru_cache(maxsize=1 << 14)
def _spread(places: tuple[int, ...], number: int) -> int:
    return sum((number >> bit & 1) << place for bit, place in enumerate(places))
