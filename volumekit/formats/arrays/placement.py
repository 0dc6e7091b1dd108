"""Where arrays lie in space: voxel sizes in nm and whole voxel offsets, from scales and translations.

A translation is the place of the first voxel's centre, so that a volume whose lowest corner is at voxel ``o`` has
``(o + 0.5) * size``. Many writers give ``o * size`` instead, and leave the half voxels of coarser levels out; both come
out at ``o``.

Sources: OME-NGFF 0.4 and 0.5, and what Neuroglancer does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from volumekit.errors import MetadataError
from volumekit.formats.arrays.document import MOST
from volumekit.model.units import exact

_PREFIXES = {
    "yotta": 24, "zetta": 21, "exa": 18, "peta": 15, "tera": 12, "giga": 9, "mega": 6, "kilo": 3, "hecto": 2,
    "deca": 1, "": 0, "deci": -1, "centi": -2, "milli": -3, "micro": -6, "nano": -9, "pico": -12, "femto": -15,
    "atto": -18, "zepto": -21, "yocto": -24,
}  # fmt: skip
_NANO = Fraction(10) ** 9
NANOMETRES: dict[str, Fraction] = {
    **{f"{prefix}{metre}": Fraction(10) ** (n + 9) for prefix, n in _PREFIXES.items() for metre in ("meter", "metre")},
    **{"pm": Fraction(1, 1000), "nm": Fraction(1), "um": Fraction(1000), "µm": Fraction(1000), "μm": Fraction(1000)},
    **{"mm": Fraction(10**6), "cm": Fraction(10**7), "m": _NANO, "micron": Fraction(1000), "Å": Fraction(1, 10)},
    **{"angstrom": Fraction(1, 10), "foot": _NANO * 3048 / 10000, "inch": _NANO * 254 / 10000},
    **{"mile": _NANO * 1609344 / 1000, "yard": _NANO * 9144 / 10000, "parsec": _NANO * 30856775814913673},
}
"""Units of length, full names as UDUNITS spells them and the usual short ones, in nm."""

_LENIENCE = Fraction(1, 10**6)


@dataclass(frozen=True)
class Scaled:
    """Scale and translation along x, y and z, in nm, exact in the decimals as written."""

    scale: tuple[Fraction, Fraction, Fraction]
    translation: tuple[Fraction, Fraction, Fraction] = (Fraction(0), Fraction(0), Fraction(0))

    @property
    def corner(self) -> tuple[Fraction, ...]:
        """Where the lowest corner of the first voxel lies."""
        return tuple(t - s / 2 for t, s in zip(self.translation, self.scale, strict=True))


@dataclass(frozen=True)
class Placement:
    """Voxel size in nm, and coordinates of the first voxel."""

    resolution: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: tuple[int, int, int] = (0, 0, 0)


def in_nm(value: Any, unit: str | None) -> Fraction:
    """Return a length in nm; without a unit, or with one that is not of length, it is taken as it is."""
    return exact(value) * NANOMETRES.get(unit or "", Fraction(1))


def place(levels: Sequence[Scaled], key: str) -> list[Placement]:
    """Place the levels of a pyramid, finest first, on one grid of voxels.

    Parameters
    ----------
    levels : sequence of Scaled
        The levels.
    key : str
        The metadata, for messages.

    Raises
    ------
    MetadataError
        If a voxel size or an offset is beyond any number.
    """
    if not levels:
        return []
    first = levels[0]
    origin = [
        math.floor(t / s + _LENIENCE) * s - corner
        for t, s, corner in zip(first.translation, first.scale, first.corner, strict=True)
    ]
    return [_placed(level, origin, key) for level in levels]


def _placed(level: Scaled, origin: Sequence[Fraction], key: str) -> Placement:
    """Round the offset of a level; ``origin`` is what rounding moved the finest level by."""
    try:
        x, y, z = (float(s) for s in level.scale)
    except OverflowError:
        x = y = z = math.inf
    if not all(math.isfinite(size) and size > 0 for size in (x, y, z)):
        raise MetadataError(f"a scale in {key} makes voxels that are too large or too small for any number", key=key)
    shifted = zip(level.corner, origin, level.scale, strict=True)
    a, b, c = (math.floor((corner + moved) / s + Fraction(1, 2)) for corner, moved, s in shifted)
    if max(abs(a), abs(b), abs(c)) > MOST // 2:
        raise MetadataError(f"a translation in {key} leads beyond any volume: voxel {(a, b, c)}", key=key)
    return Placement((x, y, z), (a, b, c))
