"""Memory that voxels of a task are in while they go through the levels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from volumekit.engine.chunk_files import ChunkFiles
from volumekit.model.bbox import Bbox
from volumekit.ops.pyramid import corners


@dataclass
class Planes:
    """Planes of one level under way in a task.

    Attributes
    ----------
    data : numpy.ndarray
        (x, y, z, channel); the first planes of it are in use.
    low : tuple of int
        Global coordinates of ``data[0, 0, 0]``; z moves on.
    stop : int
        One past the highest plane in use, global.
    written : int
        Up to where planes are written, global.
    """

    data: NDArray[Any]
    low: tuple[int, int, int]
    stop: int
    written: int

    def part(self, start: int, stop: int) -> NDArray[Any]:
        """Return planes by their global coordinates."""
        return self.data[:, :, start - self.low[2] : stop - self.low[2]]

    def carry(self, start: int, into: NDArray[Any]) -> Planes:
        """Return what comes next: the planes from ``start`` on, copied to the front of ``into``; they are written."""
        start = min(start, self.stop)
        kept = self.part(start, self.stop)
        if kept.shape[2]:
            into[:, :, : kept.shape[2]] = kept.copy() if into is self.data else kept
        return Planes(into, (*self.low[:2], start), self.stop, self.stop)


@dataclass
class Room:
    """Memory that one strip after another is gone through in.

    Attributes
    ----------
    data : numpy.ndarray
        (x, y, z, channel): the strip, or as many planes of it as are gone through at a time.
    chunks : ChunkFiles or None
        What fills the chunks' files with these.
    group : int
        Number of these planes.
    """

    data: NDArray[Any]
    chunks: ChunkFiles | None
    group: int

    def groups(self, box: Bbox) -> Iterator[tuple[Bbox, NDArray[Any]]]:
        """Yield some planes of a strip after the other, with the memory for them."""
        (x, y, low), (x_end, y_end, high) = corners(box)
        for z in range(low, high, self.group):
            stop = min(z + self.group, high)
            start = 0 if self.chunks is not None else z - low
            yield Bbox((x, y, z), (x_end, y_end, stop)), self.data[: x_end - x, : y_end - y, start : start + stop - z]
