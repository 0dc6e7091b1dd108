"""Boxes along a grid, counted: any of them by its number, none of them stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from volumekit.model.bbox import Bbox
from volumekit.model.grid import cell_box, cells_touching


class Boxes(Sequence[Bbox]):
    """The pieces of a box that is cut along a grid; a sequence that takes no room.

    Parameters
    ----------
    bounds : Bbox
        Whole voxels, (x, y, z), half-open; the grid starts at its lowest corner.
    shape : sequence of int
        Extent of a piece, (x, y, z) voxels; pieces at the far ends are smaller.
    part : Bbox, optional
        Pieces are cut at it; default: ``bounds``.

    Notes
    -----
    Pieces are numbered from 0, x fastest, so that a number means the same box on every machine. Slices are such
    sequences too: ``boxes[task::tasks]`` is one task's share of them.
    """

    def __init__(self, bounds: Bbox, shape: Sequence[int], part: Bbox | None = None) -> None:
        self._bounds, self._shape, self._part = bounds, tuple(shape), bounds if part is None else part
        self._cells = tuple(cells_touching(bounds, self._shape, self._part))
        x, y, z = (len(cells) for cells in self._cells)
        self._numbers = range(x * y * z)

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of a piece, (x, y, z) voxels."""
        return self._shape

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Bbox: ...

    @overload
    def __getitem__(self, index: slice) -> Boxes: ...

    def __getitem__(self, index: int | slice) -> Bbox | Boxes:
        if not isinstance(index, slice):
            return self._box(self._numbers[index])
        some = Boxes.__new__(Boxes)
        some.__dict__.update(self.__dict__)
        some._numbers = self._numbers[index]
        return some

    def __iter__(self) -> Iterator[Bbox]:
        return map(self._box, self._numbers)

    def __repr__(self) -> str:
        size = " x ".join(map(str, self._shape))
        return f"Boxes({len(self):,} of {size} voxels, of {self._part})"

    def _box(self, number: int) -> Bbox:
        across, rows, _ = (len(cells) for cells in self._cells)
        rest, x = divmod(number, across)
        z, y = divmod(rest, rows)
        cell = [cells[n] for cells, n in zip(self._cells, (x, y, z), strict=True)]
        return cell_box(self._bounds, self._shape, cell).intersection(self._part)
