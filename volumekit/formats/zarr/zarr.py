"""Plain zarr arrays, v2 and v3."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Self, cast

from volumekit.errors import MetadataError
from volumekit.formats.arrays.array import StoredArray
from volumekit.formats.arrays.document import MOST, finite, numbers, whole
from volumekit.formats.arrays.format import Choices, Have, Reading
from volumekit.formats.arrays.layer import Layer, describe
from volumekit.formats.arrays.placement import Placement, in_nm
from volumekit.formats.arrays.roles import Roles, assign
from volumekit.formats.base import WrongFormat
from volumekit.formats.zarr import array_v2
from volumekit.formats.zarr.nodes import Group, kept, read_node
from volumekit.formats.zarr.notes import OWN, own
from volumekit.formats.zarr.rooted import Rooted
from volumekit.model.axis import Axis

_QUANTITY = re.compile(r"\s*([0-9.eE+-]+)?\s*(\S*)\s*")


class Zarr(Rooted):
    """A zarr array, v2 or v3.

    Its dimensions have the names that the metadata give (``dimension_names``, ``_ARRAY_DIMENSIONS``). Where they give
    none, the last ones are z, y and x, and the channel before them. The voxel size comes from the attribute
    ``dimension_units`` (``["4 nm", …]``), as in Neuroglancer.
    """

    name: ClassVar[str] = "zarr"

    @classmethod
    def reading(cls, have: Have) -> Reading[Self]:
        """Read an array; a group is handed on to `OmeZarr`."""
        node = yield from read_node(have)
        if node is None:
            raise WrongFormat("there is no zarr.json, .zarray or .zgroup")
        if isinstance(node, Group):
            from volumekit.formats.zarr.omezarr import OmeZarr

            multiscale = yield from OmeZarr.reading(have)
            return cast(Self, multiscale)
        choices = Choices(have)
        layer = plain_layer(node, choices)
        choices.finish(axis.name for axis in layer.roles.further)
        kind = own(node.attributes).get("layer_type")
        made = cls(kept(have), [layer], kind if kind in ("image", "segmentation") else "image")
        made.version = 2 if node.document == array_v2.DOCUMENT else 3
        return made


def plain_layer(array: StoredArray, choices: Choices, *, reverse: bool = False) -> Layer:
    """Return the level that an array by itself is.

    Parameters
    ----------
    array : StoredArray
        The array.
    choices : Choices
        Positions on further axes.
    reverse : bool
        Whether its first dimensions are x, y and z rather than the last ones.

    Raises
    ------
    MetadataError
        If it cannot be a level.
    """
    places, further = assign(array.names, [None] * len(array.shape), reverse=reverse)
    sizes = _quantities(array)
    axes = tuple(
        Axis(
            name := array.names[dim] or f"dim_{dim}",
            "time" if name.lower() in ("t", "time") else "",
            array.shape[dim],
            sizes[dim][0],
            sizes[dim][1] or None,
            choices.position(name, array.shape[dim]) if array.shape[dim] else 0,
        )
        for dim in further
    )
    roles = Roles(places, axes, further)
    return describe(array, roles, _placement(array, roles, sizes))


def _quantities(array: StoredArray) -> list[tuple[float, str]]:
    """Return the size of a step along each dimension, and its unit; 1 where nothing is said."""
    units = array.attributes.get("dimension_units")
    if not isinstance(units, list) or len(units) != len(array.shape):
        return [(1.0, "")] * len(array.shape)
    return [_quantity(unit, array.document) for unit in units]


def _quantity(text: Any, key: str) -> tuple[float, str]:
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return 1.0, ""
    try:
        value = float(match[1] or 1)
    except ValueError:
        return 1.0, ""
    return finite(value, "dimension_units", key, positive=True), match[2]


def _placement(array: StoredArray, roles: Roles, sizes: Sequence[tuple[float, str]]) -> Placement:
    x, y, z = (_nm(sizes[place], array.document) if place is not None else 1.0 for place in roles.places[:3])
    offset = own(array.attributes).get("voxel_offset")
    if offset is None:
        return Placement((x, y, z))
    found = numbers(offset, f"{OWN}.voxel_offset", array.document, read=whole, least=-MOST // 2, most=MOST // 2)
    if len(found) != len(array.shape):
        raise MetadataError(
            f"{OWN}.voxel_offset in {array.document} has {len(found)} numbers for {len(array.shape)} dimensions",
            key=array.document,
        )
    a, b, c, _ = roles.four(found, missing=0)
    return Placement((x, y, z), (a, b, c))


def _nm(size: tuple[float, str], key: str) -> float:
    """Return a voxel size in nm; one without a unit, or in a unit that is not of length, is taken as nm."""
    value, unit = size
    try:
        return finite(float(in_nm(value, unit)), "dimension_units", key, positive=True)
    except OverflowError:
        raise MetadataError(f"dimension_units in {key} are beyond any number", key=key) from None
