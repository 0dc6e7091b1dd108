"""Which chunks exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from volumekit.model.bbox import Bbox
from volumekit.model.grid import cell_box
from volumekit.model.level import Level

if TYPE_CHECKING:
    from volumekit.formats.base import Format

PLOTTED = 512


class ChunkReport(Mapping[str, bool]):
    """Which chunks of a box are stored: a mapping of chunk names to bool, and more.

    Parameters
    ----------
    url : str
        The volume.
    fmt : Format
        Names the chunks.
    level : Level
        The level.
    first : tuple of int
        Cell of ``grid[0, 0, 0]``.
    grid : numpy.ndarray
        (x, y, z) booleans, one per chunk.

    Attributes
    ----------
    missing : list of str
        Names of the chunks that are not stored.
    present : list of str
        Names of those that are.
    """

    def __init__(
        self, url: str, fmt: Format, level: Level, first: tuple[int, int, int], grid: NDArray[np.bool_]
    ) -> None:
        self._url, self._format, self._level, self._first = url, fmt, level, first
        self._grid = grid
        self._cells: dict[str, tuple[int, int, int]] | None = None

    def _names(self) -> dict[str, tuple[int, int, int]]:
        if self._cells is None:
            x, y, z = (range(a, a + n) for a, n in zip(self._first, self._grid.shape, strict=True))
            names = self._format.keys(self._level, (x, y, z, range(1)))
            order = ((x, y, z) for z, y, x in np.ndindex(self._grid.shape[::-1]))
            self._cells = dict(zip(names, order, strict=True))
        return self._cells

    def _name(self, at: tuple[int, int, int]) -> str:
        x, y, z = (a + b for a, b in zip(at, self._first, strict=True))
        return self._format.key(self._level, (x, y, z, 0))

    def __getitem__(self, name: str) -> bool:
        return bool(self._grid[self._names()[name]])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return self._grid.size

    @property
    def total(self) -> int:
        """Number of chunks in the box."""
        return self._grid.size

    @property
    def num_present(self) -> int:
        """Number of chunks that are stored."""
        return int(np.count_nonzero(self._grid))

    @property
    def num_missing(self) -> int:
        """Number of chunks that are not stored."""
        return self.total - self.num_present

    @property
    def missing(self) -> list[str]:
        """Names of the chunks that are not stored."""
        return [self._name(at) for at in self._where(False)]

    @property
    def present(self) -> list[str]:
        """Names of the chunks that are stored."""
        return [self._name(at) for at in self._where(True)]

    def _where(self, stored: bool) -> Iterator[tuple[int, int, int]]:
        found = np.argwhere(stored == self._grid.T)[:, ::-1]
        return ((int(x), int(y), int(z)) for x, y, z in found)

    @property
    def bounds(self) -> Bbox:
        """Voxels of all chunks of the report, half-open."""
        chunk = self._level.chunk[:3]
        low = cell_box(self._level.bounds, chunk, self._first)
        if not self.total:
            return Bbox(low.minpt, low.minpt)
        last = tuple(a + n - 1 for a, n in zip(self._first, self._grid.shape, strict=True))
        return Bbox(low.minpt, cell_box(self._level.bounds, chunk, last).maxpt)

    def to_array(self) -> NDArray[np.bool_]:
        """Return a grid of booleans, one per chunk, (x, y, z)."""
        return self._grid.copy()

    def bounds_of(self, names: Any) -> list[Bbox]:
        """Return the voxels of chunks.

        Parameters
        ----------
        names : iterable of str
            Such as `missing`.
        """
        cells = self._names()
        chunk, bounds = self._level.chunk[:3], self._level.bounds
        found = (cells[name] for name in names)
        return [cell_box(bounds, chunk, [a + b for a, b in zip(at, self._first, strict=True)]) for at in found]

    def plot(self, path: Any = None) -> Any:
        """Draw the grid, seen along z: green where every chunk of a column is stored, red where none is.

        Parameters
        ----------
        path : path, optional
            Where to save the picture.

        Returns
        -------
        PIL.Image.Image
            The picture, x to the right and y downwards.
        """
        from PIL import Image

        grid = self._grid if self.total else np.zeros((1, 1, 1), bool)
        share = grid.mean(axis=2).T[..., np.newaxis]
        missing, stored = np.array([178, 64, 58.0]), np.array([58, 140, 90.0])
        pixels = (missing * (1 - share) + stored * share).astype(np.uint8)
        scale = max(1, PLOTTED // max(pixels.shape[:2]))
        picture = Image.fromarray(pixels).resize(
            (pixels.shape[1] * scale, pixels.shape[0] * scale), Image.Resampling.NEAREST
        )
        if path is not None:
            picture.save(path)
        return picture

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "url": self._url,
            "key": self._level.key,
            "total": self.total,
            "present": self.num_present,
            "missing": self.missing,
        }

    def __repr__(self) -> str:
        share = 100 * self.num_present / max(1, self.total)
        return (
            f"ChunkReport({self.num_present:,} of {self.total:,} chunks stored, {share:.1f} %; "
            f"mip {self._level.key} of {self._url})"
        )

    def _repr_html_(self) -> str:
        from volumekit.volume.card import image_tag

        return f"<div>{image_tag(self.plot())}<br><small>{self!r}</small></div>".replace("ChunkReport", "", 1)
