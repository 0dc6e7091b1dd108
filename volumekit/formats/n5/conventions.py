"""What is said of voxel sizes and axes, in all the ways that N5 data say it.

* ``transform`` of a dataset, and of the entries of a group's ``multiscales`` (COSEM);
* OME-Zarr's ``multiscales`` with ``axes`` and ``coordinateTransformations``;
* ``axes``, ``units`` and ``resolution`` (Neuroglancer, TensorStore, Paintera), of a dataset or a group;
* ``pixelResolution``, ``scales`` and ``downsamplingFactors`` (n5-viewer, BigDataViewer).

Lists are in the order of the dimensions, the first one fastest; those of the first two in the opposite order, unless x
comes first. A length without a unit is nm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from volumekit.errors import MetadataError
from volumekit.formats.arrays.document import finite, member, numbers
from volumekit.formats.zarr.multiscale import read_transforms
from volumekit.model.units import exact

Vector = tuple[Fraction, ...]
_ONE = Fraction(1)


class Statement(NamedTuple):
    """What is said of a dataset, one value per dimension in N5's order; None: nothing."""

    names: tuple[str | None, ...] | None = None
    units: tuple[str | None, ...] | None = None
    scale: Vector | None = None
    translation: Vector | None = None

    def over(self, other: Statement) -> Statement:
        """Return this, with what it does not say from another; scale and translation go together."""
        scaled = self if self.scale is not None else other
        return Statement(
            self.names or other.names,
            (self.units or other.units) if scaled is self else (other.units or self.units),
            scaled.scale,
            scaled.translation,
        )


def transform_statement(value: Any, rank: int, key: str) -> Statement:
    """Return what a ``transform`` says."""
    found = member(value, "transform", key)
    names = _texts(found.get("axes"), rank, "axes", key)
    units = _texts(found.get("units"), rank, "units", key)
    made = Statement(names, units, _vector(found, "scale", rank, key), _vector(found, "translate", rank, key))
    return _padded(_in_order(made, found.get("order")), rank)


def ome_statement(entry: Mapping[str, Any], dataset: Mapping[str, Any], rank: int, key: str) -> Statement:
    """Return what an entry of ``multiscales`` says of one of its datasets."""
    listed = _list(entry.get("axes"), rank)
    axes = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in listed or ()]
    names = tuple(_text(axis.get("name")) for axis in axes) or None
    units = tuple(_text(axis.get("unit")) for axis in axes) or None
    if "transform" in dataset:
        inner = transform_statement(dataset["transform"], rank, key)
        return inner.over(_in_order(Statement(names, units), None))
    scale, translation = read_transforms(dataset.get("coordinateTransformations"), rank, key)
    return _in_order(Statement(names, units, scale, translation), None)


def _in_order(found: Statement, order: Any) -> Statement:
    """Turn lists that begin with the slowest dimension."""
    if order == "F" or (order != "C" and x_first(found.names)):
        return found
    names, units, scale, translation = found
    return Statement(
        names and names[::-1], units and units[::-1], scale and scale[::-1], translation and translation[::-1]
    )


def x_first(names: Sequence[str | None] | None) -> bool:
    """Tell whether names begin with the fastest dimension, which is x."""
    plain = [(name or "").lower() for name in names or ()]
    others = [plain.index(name) for name in ("y", "z") if name in plain]
    return "x" in plain and bool(others) and plain.index("x") < min(others)


def plain_statement(attributes: Mapping[str, Any], rank: int, key: str, *, base: bool = False) -> Statement:
    """Return what a dataset, or the group of its levels, says.

    Parameters
    ----------
    attributes : Mapping
        The attributes.
    rank : int
        Dimensions of the dataset.
    key : str
        Their key, for messages.
    base : bool
        Whether the finest level is meant where ``downsamplingFactors`` are there too.
    """
    names = _texts(attributes.get("axes"), rank, "axes", key)
    noted = _list(attributes.get("_ARRAY_DIMENSIONS"), rank)
    if names is None and noted is not None:
        names = tuple(map(_text, reversed(noted)))
    made = _padded(Statement(names, *_sizes(attributes, rank, key)), rank)
    if "transform" in attributes and not base:
        return transform_statement(attributes["transform"], rank, key).over(made)
    factors = factors_of(attributes.get("downsamplingFactors"), rank, key)
    # A resolution is that of the dataset itself, a pixelResolution that of the finest one.
    return made if base or factors is None or attributes.get("resolution") is not None else coarser(made, factors)


def _sizes(
    attributes: Mapping[str, Any], rank: int, key: str
) -> tuple[tuple[str | None, ...] | None, Vector | None, Vector | None]:
    """Return units, scale and translation."""
    units: tuple[str | None, ...] | None
    given = attributes.get("units")
    units = (given,) * rank if isinstance(given, str) else _texts(given, rank, "units", key)
    offset = _vector(attributes, "offset", rank, key) if isinstance(attributes.get("offset"), list) else None
    size = _vector(attributes, "resolution", rank, key)
    pixel = attributes.get("pixelResolution")
    if size is None and isinstance(pixel, Mapping):
        size = _vector(pixel, "dimensions", rank, key)
        units = None if size is None else (_text(pixel.get("unit")),) * len(size)
    elif size is None:
        size = _vector(attributes, "pixelResolution", rank, key)
    return units, size, offset


def coarser(base: Statement, factors: Vector) -> Statement:
    """Return what is to be said of a level so many times coarser: its voxels are centred in those of the finest."""
    size = base.scale or (_ONE,) * len(factors)
    start = base.translation or (0 * _ONE,) * len(factors)
    moved = tuple(o + s * (f - 1) / 2 for o, s, f in zip(start, size, factors, strict=True))
    return Statement(base.names, base.units, tuple(s * f for s, f in zip(size, factors, strict=True)), moved)


def factors_of(value: Any, rank: int, key: str) -> Vector | None:
    """Return ``downsamplingFactors`` of a dataset; None if there are none."""
    if value is None or (isinstance(value, list) and value and isinstance(value[0], list)):
        return None
    found = _vector({"downsamplingFactors": value}, "downsamplingFactors", rank, key)
    return found and (*found, *(_ONE,) * (rank - len(found)))


def listed_factors(attributes: Mapping[str, Any]) -> list[Any] | None:
    """Return the factors of all levels, as a group lists them; None if it does not."""
    for name in ("scales", "downsamplingFactors"):
        value = attributes.get(name)
        if isinstance(value, list) and value and all(isinstance(entry, list) for entry in value):
            return value
    return None


def _vector(holder: Mapping[str, Any], name: str, rank: int, key: str) -> Vector | None:
    """Return up to one number per dimension; voxel sizes and factors are positive."""
    value = holder.get(name)
    if value is None:
        return None
    found = numbers(value, name, key, read=finite, positive=name not in ("translate", "offset"))
    if len(found) > rank or not found:
        raise MetadataError(f"{name} in {key} has {len(found)} numbers for {rank} dimensions", key=key)
    return tuple(map(exact, found))


def _padded(found: Statement, rank: int) -> Statement:
    """Say nothing special of the last dimensions, such as channels, where a list is about space alone."""
    names, units, scale, translation = found
    return Statement(
        names and (*names, *(None,) * (rank - len(names))),
        units and (*units, *(None,) * (rank - len(units))),
        scale and (*scale, *(_ONE,) * (rank - len(scale))),
        translation and (*translation, *(0 * _ONE,) * (rank - len(translation))),
    )


def _texts(value: Any, rank: int, name: str, key: str) -> tuple[str | None, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > rank:
        raise MetadataError(f"{name} in {key} is {value!r}, not a word for each of {rank} dimensions", key=key)
    return tuple(map(_text, value)) or None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _list(value: Any, rank: int) -> list[Any] | None:
    return value if isinstance(value, list) and len(value) == rank else None
