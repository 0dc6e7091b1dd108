"""Units of length, exact in the decimals as written."""

from __future__ import annotations

from fractions import Fraction

from volumekit.errors import OptionError
from volumekit.model.vec import Number, Numbers, broadcast

NANOMETRES = {"nm": 1, "um": 10**3, "mm": 10**6, "m": 10**9}
"""Physical units, in nanometres."""


def check_unit(unit: str) -> str:
    """Return a unit, ``"vx"`` or a physical one; OptionError if it is neither."""
    if unit != "vx" and unit not in NANOMETRES:
        raise OptionError(f"unknown unit {unit!r}: use one of vx, {', '.join(NANOMETRES)}")
    return unit


def exact(value: Number) -> Fraction:
    """Return a number as the fraction its decimals say: 0.1 is one tenth."""
    return Fraction(value if isinstance(value, int) else str(value))


def step(unit: str, resolution: Numbers | Number | None, rank: int) -> list[Fraction]:
    """Return the length of one coordinate step of ``unit`` along each axis, in nm.

    Parameters
    ----------
    unit : {"vx", "nm", "um", "mm", "m"}
        The unit.
    resolution : sequence of float or None
        Voxel size in nm; needed for ``"vx"`` only.
    rank : int
        Number of axes.

    Raises
    ------
    OptionError
        For an unknown unit, or a resolution that is missing or not positive.
    """
    if check_unit(unit) != "vx":
        return [Fraction(NANOMETRES[unit])] * rank
    if resolution is None:
        raise OptionError("converting from or to voxels needs a resolution, in nm per voxel")
    sizes = [exact(r) for r in broadcast(resolution, rank)]
    if min(sizes, default=Fraction(1)) <= 0:
        raise OptionError(f"a resolution must be positive, not {resolution}")
    return sizes
