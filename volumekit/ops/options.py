"""Options of jobs, checked: vectors, voxel sizes, boxes, data types."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from volumekit.errors import CastError, OptionError, OutOfBoundsError
from volumekit.formats.precomputed import DATA_TYPES
from volumekit.model.bbox import Bbox
from volumekit.model.units import NANOMETRES, exact
from volumekit.ops.pyramid import Factor
from volumekit.volume.create import storable as data_types

MAX_MIPS = 32


def three_integers(values: Any, name: str, *, least: int | None = None) -> Factor:
    """Return three integers, (x, y, z); one number stands for all.

    Raises
    ------
    OptionError
        If these are not three integers, or one is below ``least``.
    """
    try:
        found = [operator.index(n) for n in ([values] * 3 if np.ndim(values) == 0 else values)]
        x, y, z = found
    except (TypeError, ValueError):
        raise OptionError(f"{name} is {values!r}; it is three integers (x, y, z)") from None
    if least is not None and min(found) < least:
        raise OptionError(f"{name} is {values!r}; each number is at least {least}")
    return x, y, z


def mip_count(mips: Any, *, least: int = 0) -> int:
    """Return a number of levels.

    Raises
    ------
    OptionError
        If it is none, or more than `MAX_MIPS`.
    """
    if isinstance(mips, bool) or not isinstance(mips, int | np.integer) or not least <= mips <= MAX_MIPS:
        raise OptionError(f"mips is {mips!r}; it is a number of levels from {least} to {MAX_MIPS}")
    return int(mips)


def voxel_size_nm(size: Any, unit: str) -> tuple[float, float, float]:
    """Return a voxel size in nm.

    Raises
    ------
    OptionError
        If these are not three positive numbers, or the unit is unknown.
    """
    if unit not in NANOMETRES:
        raise OptionError(f"unit is {unit!r}; it is one of {', '.join(NANOMETRES)}")
    try:
        x, y, z = (float(exact(_number(n)) * NANOMETRES[unit]) for n in size)
    except (TypeError, ValueError, OverflowError):
        raise OptionError(f"voxel_size is {size!r}; it is three numbers (x, y, z)") from None
    if not all(math.isfinite(n) and n > 0 for n in (x, y, z)):
        raise OptionError(f"voxel_size is {size!r}; voxels have a positive size")
    return x, y, z


def _number(value: Any) -> int | float:
    return int(value) if isinstance(value, int | np.integer) else float(value)


def box_inside(box: Any, bounds: Bbox) -> Bbox:
    """Return the box to convert.

    Parameters
    ----------
    box : Bbox, slices, six numbers or None
        Half-open, in voxels of the source; None: all of it.
    bounds : Bbox
        The source's.

    Raises
    ------
    OutOfBoundsError
        If it reaches outside.
    OptionError
        If it is no box, or empty.
    """
    if box is None:
        return bounds
    try:
        found = Bbox.create(box, context=bounds)
    except TypeError:
        raise OptionError(f"box is {box!r}; it is a Bbox, slices, or six integers") from None
    if found.unit != "vx" or found.dtype.kind != "i" or found.ndim != bounds.ndim or found.empty():
        raise OptionError(f"box is {box!r}; it holds whole voxels, at least one")
    if not bounds.contains_bbox(found):
        raise OutOfBoundsError(f"{found} reaches outside the source, {bounds}", box=found)
    return found


def data_type_of(
    wanted: Any, source: np.dtype[Any], encoding: str, storable: Sequence[str] = DATA_TYPES, *, rescaled: bool = False
) -> np.dtype[Any]:
    """Return the data type to store: the source's, or the next one that holds all its values.

    Parameters
    ----------
    wanted : dtype-like or None
        What was asked for.
    source : numpy.dtype
        The source's.
    encoding : str
        The target's.
    storable : sequence of str
        What the target's format stores.
    rescaled : bool
        Whether values are stretched to the data type, so that it need not hold those of the source.

    Raises
    ------
    OptionError
        If there is no such data type.
    CastError
        If values could be lost.
    """
    if wanted is None and rescaled:
        raise OptionError("rescale stretches values to another data type; say to which: data_type (--data-type)")
    if wanted is None:
        return _lossless(source.newbyteorder("="), encoding, storable)
    try:
        dtype = np.dtype(wanted)
    except TypeError:
        dtype = None
    if dtype is None or dtype.name not in storable:
        raise OptionError(f"data_type is {wanted!r}; it is one of {', '.join(storable)}")
    if rescaled and dtype.name == "bool":
        raise OptionError("values cannot be stretched to bool; compare the array yourself")
    if not rescaled and not np.can_cast(source, dtype, "safe"):
        raise CastError(f"{source} cannot be stored as {dtype} without loss; {_hint(source, storable)}")
    native: np.dtype[Any] = dtype.newbyteorder("=")
    return native


def _lossless(source: np.dtype[Any], encoding: str, storable: Sequence[str]) -> np.dtype[Any]:
    allowed = storable
    if encoding == "compressed_segmentation":
        allowed = ("uint32", "uint64")
    if source.name in allowed:
        return source
    wider = [name for name in allowed if np.can_cast(source, name, "safe")]
    if not wider:
        raise CastError(f"{source} cannot be stored in {encoding} chunks without loss; {_hint(source, storable)}")
    return np.dtype(min(wider, key=lambda name: np.dtype(name).itemsize))


def _hint(source: np.dtype[Any], storable: Sequence[str]) -> str:
    wider = [name for name in storable if np.can_cast(source, name, "safe")]
    choices = f"lossless data types are {', '.join(wider)}" if wider else "no data type of precomputed holds its values"
    if not wider and source.name in data_types("ome-zarr"):
        choices += '; those of OME-Zarr do: a target named .zarr, or format="ome-zarr" (--format ome-zarr)'
    return f"{choices}; or say what to stretch to a smaller one: rescale=(low, high), --rescale low:high"
