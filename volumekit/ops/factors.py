"""Factors from each level of a pyramid to the next: the same all the way, one by one, or chosen from the voxel size."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from volumekit.errors import OptionError
from volumekit.model.bbox import Bbox
from volumekit.model.grid import coarser_bounds
from volumekit.model.units import exact
from volumekit.ops.options import three_integers
from volumekit.ops.pyramid import Factor

LADDERS = ("isotropic", "anisotropic", "constant-z")
"""``isotropic``: voxels become cubes, as only the axes along which they are small are halved, then all;
``anisotropic``: they keep their shape; ``constant-z``: planes stay apart."""

MOST = 1024
"""Of a factor along an axis: cells of more voxels are a slip of the pen, and no mean of them is worth having."""

_HALF: Factor = (2, 2, 2)

log = logging.getLogger(__name__)


def check_factor(factor: Any, mips: int) -> Any:
    """Return a factor as JSON has it: three numbers, a list of those, or the name of a ladder.

    Raises
    ------
    OptionError
        If it is nothing of that, is not for so many levels, or would repeat the same level.
    """
    if isinstance(factor, str):
        if factor not in LADDERS:
            raise OptionError(
                f"factor is {factor!r}; it is three numbers, one such for each level, or one of {', '.join(LADDERS)}"
            )
        return factor
    if not _is_list(factor):
        return list(_coarsening(factor, mips))
    if len(factor) != mips:
        raise OptionError(f"factor is {factor!r}, for {len(factor)} levels, but there are {mips} to be made")
    return [list(_coarsening(step, mips)) for step in factor]


def _is_list(factor: Any) -> bool:
    return hasattr(factor, "__len__") and len(factor) > 0 and all(hasattr(step, "__len__") for step in factor)


def _coarsening(factor: Any, mips: int) -> Factor:
    found = three_integers(factor, "factor", least=1)
    if mips and max(found) == 1:
        raise OptionError(
            "a factor of 1,1,1 makes no coarser level; give one above 1 along at least one axis, such as 2,2,1"
        )
    if max(found) > MOST:
        raise OptionError(f"factor is {factor!r}; each number is at most {MOST}, that of voxels that become one")
    return found


def steps(factor: Any, mips: int, resolution: Sequence[float]) -> list[Factor]:
    """Return the factor to each of the coarser levels.

    Parameters
    ----------
    factor : str or list
        As `check_factor` returns it.
    mips : int
        How many levels.
    resolution : sequence of float
        Voxel size of the level before them, (x, y, z).
    """
    if factor == "isotropic":
        return _isotropic(mips, resolution)
    if isinstance(factor, str):
        return [_HALF if factor == "anisotropic" else (2, 2, 1)] * mips
    if mips and isinstance(factor[0], list):
        return [(x, y, z) for x, y, z in factor]
    x, y, z = factor
    return [(x, y, z)] * mips


def shrinking(ladder: Sequence[Factor], bounds: Bbox) -> list[Factor]:
    """Return the steps to the levels that are worth making: as far as levels become smaller; tell of the others.

    Parameters
    ----------
    ladder : sequence of tuple of int
        From each level to the next, (x, y, z).
    bounds : Bbox
        Voxels of the level before them.
    """
    shapes = [box.size().tolist() for box in accumulate(ladder, coarser_bounds, initial=bounds)]
    smaller = [n for n, (finer, coarser) in enumerate(pairwise(shapes), 1) if finer != coarser]
    count = max(smaller, default=0)
    if count < len(ladder):
        last = "x".join(map(str, shapes[count]))
        log.warning("%d of %d coarser levels are made: beyond %s voxels nothing shrinks", count, len(ladder), last)
    return list(ladder[:count])


def _isotropic(mips: int, resolution: Sequence[float]) -> list[Factor]:
    """Halve the axes along which voxels are at most the square root of 2 times as large as along the smallest."""
    sizes, found = [exact(size) for size in resolution], []
    for _ in range(mips):
        least = min(sizes)
        x, y, z = (2 if size * size <= 2 * least * least else 1 for size in sizes)
        found.append((x, y, z))
        sizes = [size * step for size, step in zip(sizes, (x, y, z), strict=True)]
    return found
