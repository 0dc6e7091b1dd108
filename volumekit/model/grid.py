"""Chunk grids: which cells a box touches, whether it is aligned, how cells are numbered.

A grid starts at ``bounds.minpt``: cell (0, 0, 0) has its lowest voxel there, and cells are cut at
``bounds.maxpt``. All arithmetic is on Python ints and exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import OptionError, OutOfBoundsError
from volumekit.model.bbox import Bbox
from volumekit.model.vec import broadcast

Shape = tuple[int, ...]
Ranges = tuple[range, ...]


def grid_shape(bounds: Bbox, chunk: Sequence[int]) -> Shape:
    """Return the number of cells along each axis.

    Parameters
    ----------
    bounds : Bbox
        Voxels of the level, half-open.
    chunk : sequence of int
        Chunk size in voxels, one number per axis of ``bounds``.

    Raises
    ------
    OptionError
        If a chunk size is not a positive integer, or ``bounds`` are not integers.
    """
    return tuple(-(-(hi - lo) // c) for lo, hi, c in _axes(bounds, chunk))


def cell_box(bounds: Bbox, chunk: Sequence[int], cell: Sequence[int]) -> Bbox:
    """Return the voxels of a cell, cut at the end of ``bounds``.

    Raises
    ------
    OutOfBoundsError
        If the grid has no such cell.
    OptionError
        As for `grid_shape`.
    """
    axes = _axes(bounds, chunk)
    starts = [lo + index(i) * c for i, (lo, _, c) in zip(cell, axes, strict=False)]
    if len(cell) != len(axes) or not all(lo <= a < hi for a, (lo, hi, _) in zip(starts, axes, strict=True)):
        raise OutOfBoundsError(f"no cell {tuple(cell)} in a grid of {grid_shape(bounds, chunk)}")
    return _box([(a, min(a + c, hi)) for a, (_, hi, c) in zip(starts, axes, strict=True)])


def cells_touching(bounds: Bbox, chunk: Sequence[int], box: Bbox) -> Ranges:
    """Return the cells that share voxels with a box, as one range per axis; all empty if there are none.

    The part of the box outside ``bounds`` touches nothing.
    """
    _check_integer(box)
    axes = _axes(bounds, chunk)
    common = bounds.intersection(box)
    if common.empty():
        return (range(0),) * bounds.ndim
    return tuple(
        range((a - lo) // c, -(-(b - lo) // c)) for a, b, (lo, _, c) in zip(*_corners(common), axes, strict=True)
    )


def iterate_cells(ranges: Ranges) -> Iterator[Shape]:
    """Yield the cells of `cells_touching`, x fastest."""
    if not ranges:
        yield ()
    elif all(ranges):  # no loop over z when there is no x
        for last in ranges[-1]:
            for first in iterate_cells(ranges[:-1]):
                yield (*first, last)


def is_aligned(bounds: Bbox, chunk: Sequence[int], box: Bbox) -> bool:
    """Say whether a box within ``bounds`` is made of whole cells.

    Its lowest corner is on a grid line; its highest on one too, or at the end of ``bounds``. An empty box
    within ``bounds`` is made of no cells.
    """
    _check_integer(box)
    axes = _axes(bounds, chunk)
    if not bounds.contains_bbox(box):
        return False
    return box.empty() or all(
        (a - lo) % c == 0 and (b == hi or (b - lo) % c == 0)
        for a, b, (lo, hi, c) in zip(*_corners(box), axes, strict=True)
    )


def nearest_aligned(bounds: Bbox, chunk: Sequence[int], box: Bbox) -> tuple[Bbox | None, Bbox]:
    """Return the largest aligned box inside a box, or None, and the smallest aligned box around it.

    The part of ``box`` outside ``bounds`` is ignored; a box wholly outside gives None and an empty box.
    """
    _check_integer(box)
    axes = _axes(bounds, chunk)
    common = bounds.intersection(box)
    if common.empty():
        return None, common
    inner, outer = [], []
    for a, b, (lo, hi, c) in zip(*_corners(common), axes, strict=True):
        up, down = lo - (lo - a) // c * c, lo + (b - lo) // c * c
        inner.append((up, hi if b == hi else down))
        outer.append((lo + (a - lo) // c * c, min(lo - (lo - b) // c * c, hi)))
    return (_box(inner) if all(a < b for a, b in inner) else None), _box(outer)


def coarser_bounds(bounds: Bbox, factor: Sequence[int]) -> Bbox:
    """Return the voxels of a coarser level: ``[floor(min / factor), ceil(max / factor))``.

    Parameters
    ----------
    bounds : Bbox
        Voxels of the finer level, half-open.
    factor : sequence of int
        Downsampling along each axis.

    Raises
    ------
    OptionError
        If a factor is not a positive integer, or ``bounds`` are not integers.
    """
    return _box([(lo // f, -(-hi // f)) for lo, hi, f in _axes(bounds, factor)])


def centre_shift(factor: int, low: int, high: int) -> Fraction:
    """Return how far the centre of a coarser level's first voxel lies from that of the finer one's, along one axis.

    Parameters
    ----------
    factor : int
        From the finer to the coarser level.
    low, high : int
        Index of the first voxel of the finer and of the coarser level.

    Returns
    -------
    Fraction
        In voxels of the finer level.
    """
    return Fraction(factor - 1, 2) + high * factor - low


def each_factor(factor: Sequence[Any], count: int) -> Sequence[Sequence[int]]:
    """Return the factors to so many coarser levels, each from the one before.

    Parameters
    ----------
    factor : sequence of int, or sequence of those
        The same for all, (x, y, z), or one for each.
    count : int
        How many levels.

    Raises
    ------
    OptionError
        If there are more or fewer.
    """
    if not len(factor) or not all(hasattr(step, "__len__") for step in factor):
        return [factor] * count
    if len(factor) != count:
        raise OptionError(f"factor is {factor!r}, for {len(factor)} levels, but there are {count}")
    return factor


def morton(cell: Sequence[int], grid: Sequence[int]) -> int:
    """Return the compressed Morton code of a cell.

    Bits of the axes are interleaved, x first; an axis gives only the bits that its extent needs. Source: the
    sharded format of Neuroglancer Precomputed.

    Parameters
    ----------
    cell : sequence of int
        Position in the grid.
    grid : sequence of int
        Number of cells along each axis.

    Raises
    ------
    OptionError
        If the code does not fit 64 bits.
    OutOfBoundsError
        If the grid has no such cell.
    """
    places = morton_bits(grid)
    if len(cell) != len(grid) or not all(0 <= index(g) < n for g, n in zip(cell, grid, strict=True)):
        raise OutOfBoundsError(f"no cell {tuple(cell)} in a grid of {tuple(grid)}")
    return sum((int(cell[axis]) >> bit & 1) << j for j, (axis, bit) in enumerate(places))


def unmorton(code: int, grid: Sequence[int]) -> Shape:
    """Return the cell of a compressed Morton code; errors as for `morton`."""
    cell, code = [0] * len(grid), index(code)
    places = morton_bits(grid)
    for j, (axis, bit) in enumerate(places):
        cell[axis] |= (code >> j & 1) << bit
    if code < 0 or code >> len(places) or not all(g < n for g, n in zip(cell, grid, strict=True)):
        raise OutOfBoundsError(f"no cell of Morton code {code} in a grid of {tuple(grid)}")
    return tuple(cell)


def morton_array(cells: NDArray[Any], grid: Sequence[int]) -> NDArray[np.uint64]:
    """Return the compressed Morton codes of many cells.

    Parameters
    ----------
    cells : numpy.ndarray
        (n, rank) integers.
    grid : sequence of int
        Number of cells along each axis.

    Returns
    -------
    numpy.ndarray
        (n,) uint64.

    Raises
    ------
    OptionError, OutOfBoundsError
        As for `morton`.
    """
    places = morton_bits(grid)
    cells = np.asarray(cells)
    if cells.ndim != 2 or cells.shape[1] != len(grid) or (cells.size and cells.dtype.kind not in "iu"):
        raise OptionError(f"cells are an (n, {len(grid)}) integer array, not {cells.shape} {cells.dtype}")
    if any(len(c) and (c.min() < 0 or int(c.max()) >= n) for c, n in zip(cells.T, grid, strict=True)):
        raise OutOfBoundsError(f"cells outside a grid of {tuple(grid)}")
    bits, one = cells.astype(np.uint64), np.uint64(1)
    codes = np.zeros(len(cells), np.uint64)
    for j, (axis, bit) in enumerate(places):
        codes |= (bits[:, axis] >> np.uint64(bit) & one) << np.uint64(j)
    return codes


def unmorton_array(codes: NDArray[Any], grid: Sequence[int]) -> NDArray[np.int64]:
    """Return the cells, (n, rank) int64, of many Morton codes, (n,); errors as for `morton_array`."""
    places = morton_bits(grid)
    codes = np.asarray(codes)
    if codes.ndim != 1 or (codes.size and codes.dtype.kind not in "iu"):
        raise OptionError(f"Morton codes are an (n,) integer array, not {codes.shape} {codes.dtype}")
    if codes.size and (int(codes.min()) < 0 or int(codes.max()) >> len(places)):
        raise OutOfBoundsError(f"Morton codes outside a grid of {tuple(grid)}")
    cells, one = np.zeros((len(codes), len(grid)), np.uint64), np.uint64(1)
    for j, (axis, bit) in enumerate(places):
        cells[:, axis] |= (codes.astype(np.uint64) >> np.uint64(j) & one) << np.uint64(bit)
    if (cells > np.array([n - 1 for n in grid], np.uint64)).any():
        raise OutOfBoundsError(f"Morton codes outside a grid of {tuple(grid)}")
    return cells.astype(np.int64)


def morton_bits(grid: Sequence[int]) -> list[tuple[int, int]]:
    """Return where each bit of a compressed Morton code comes from, lowest first, as (axis, bit).

    Raises
    ------
    OptionError
        If the extents are not positive, or need more than 64 bits together or 63 alone.
    """
    widths = [(n - 1).bit_length() for n in _positive(grid, len(grid), "grid")]
    if sum(widths) > 64 or max(widths, default=0) > 63:
        raise OptionError(f"Morton codes of a grid of {tuple(grid)} need {sum(widths)} bits: too many")
    return [(axis, bit) for bit in range(max(widths, default=0)) for axis, w in enumerate(widths) if bit < w]


def _axes(bounds: Bbox, steps: Sequence[int]) -> list[tuple[int, int, int]]:
    _check_integer(bounds)
    return list(zip(*_corners(bounds), _positive(steps, bounds.ndim, "chunk size or factor"), strict=True))


def _corners(box: Bbox) -> tuple[list[int], list[int]]:
    numbers = [int(v) for v in box.to_list()]
    return numbers[: box.ndim], numbers[box.ndim :]


def _box(ends: Sequence[tuple[int, int]]) -> Bbox:
    return Bbox([a for a, _ in ends], [b for _, b in ends])


def _check_integer(box: Bbox) -> None:
    if box.dtype.kind != "i" or box.unit != "vx":
        raise OptionError(f"a chunk grid needs a box of whole voxels, not {box}", box=box)


def _positive(values: Sequence[int], rank: int, what: str) -> list[int]:
    out = [int(v) for v in broadcast(values, rank) if isinstance(v, int) and v > 0]
    if len(out) != rank:
        raise OptionError(f"{what} must be {rank} positive integers, not {values}")
    return out
