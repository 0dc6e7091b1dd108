"""Making new zarr arrays and OME-Zarr images; nothing is stored here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from volumekit.errors import OptionError, VolumekitError
from volumekit.formats.arrays.document import Document, dump
from volumekit.formats.arrays.format import ArrayFormat
from volumekit.formats.base import AT
from volumekit.formats.zarr import array_v2, array_v3
from volumekit.formats.zarr.layout import Layout, axes_of, ordered
from volumekit.formats.zarr.notes import OWN
from volumekit.formats.zarr.omezarr import OmeZarr
from volumekit.formats.zarr.zarr import Zarr
from volumekit.model.bbox import Bbox
from volumekit.model.grid import coarser_bounds, each_factor
from volumekit.model.level import CodecSpec, Level
from volumekit.model.plain import each_axis
from volumekit.model.units import exact

F = TypeVar("F", bound=ArrayFormat)

LAYER_TYPES = ("image", "segmentation")


def describe_levels(
    size: Sequence[int],
    dtype: Any,
    *,
    channels: int = 1,
    resolution: Sequence[float] = (1, 1, 1),
    offset: Sequence[int] = (0, 0, 0),
    chunk_size: Sequence[int] = (64, 64, 64),
    max_mip: int = 0,
    factor: Sequence[Any] = (2, 2, 2),
) -> list[Level]:
    """Return the levels of a new pyramid, finest first.

    Parameters
    ----------
    size, offset : sequence of int
        Extent and lowest voxel, (x, y, z).
    dtype : dtype-like
        Data type.
    channels : int
        Number of channels.
    resolution : sequence of float
        Voxel size in nm, (x, y, z).
    chunk_size : sequence of int
        (x, y, z).
    max_mip : int
        How many coarser levels there are.
    factor : sequence of int, or sequence of those
        From one level to the next, (x, y, z); or one for each of them.

    Raises
    ------
    OptionError
        If these values describe no volume.
    """
    try:
        x, y, z = (int(n) for n in each_axis(chunk_size))
        a, b, c = (float(n) for n in each_axis(resolution))
        kind = np.dtype(dtype).newbyteorder("=")
        bounds = Bbox(offset, [o + n for o, n in zip(offset, size, strict=True)])
        if min(x, y, z, channels) < 1 or not all(0 < n < np.inf for n in (a, b, c)) or min(bounds.size3().tolist()) < 1:
            raise ValueError("sizes are positive")
    except (TypeError, ValueError) as error:
        raise OptionError(f"these values describe no volume: {error}") from error
    levels = [Level("0", bounds, (x, y, z, 1), kind, channels, (a, b, c), CodecSpec("raw"))]
    for step in each_factor(factor, max_mip):
        levels.append(coarser(levels[-1], step))
    return levels


def coarser(level: Level, factor: Sequence[int]) -> Level:
    """Return the level that is ``factor`` times coarser, with chunks of the same size."""
    x, y, z = (float(exact(r) * f) for r, f in zip(level.resolution, factor, strict=True))
    return replace(level, bounds=coarser_bounds(level.bounds, factor), resolution=(x, y, z))


def create_zarr(level: Level, layout: Layout, *, layer_type: str = "image") -> Zarr:
    """Return a new zarr array.

    Parameters
    ----------
    level : Level
        Its bounds, chunks, data type, channels and resolution.
    layout : Layout
        Version, shards, compressor.
    layer_type : {"image", "segmentation"}
        What the voxels mean.

    Raises
    ------
    OptionError
        If that cannot be stored.
    """
    _check_type(layer_type)
    document = layout.array(level)
    notes: Document = {"dimension_units": ordered((*map(_quantity, level.resolution), None), level)}
    own: Document = {"layer_type": layer_type} if layer_type != "image" else {}
    if any(level.offset):
        own["voxel_offset"] = ordered((*level.offset, 0), level)
    notes |= {OWN: own} if own else {}
    if layout.version == 2:
        attributes = {"_ARRAY_DIMENSIONS": axes_of(level), **notes}
        return parsed(Zarr, {array_v2.DOCUMENT: dump(document), array_v2.ATTRIBUTES: dump(attributes)})
    return parsed(Zarr, {array_v3.DOCUMENT: dump({**document, "attributes": notes})})


def create_ome_zarr(
    levels: Sequence[Level],
    layout: Layout,
    *,
    layer_type: str = "image",
    name: str = "",
    method: str | None = None,
    omero: Mapping[str, Any] | None = None,
) -> OmeZarr:
    """Return a new OME-Zarr image without voxels: 0.4 in zarr v2, 0.5 in zarr v3.

    Parameters
    ----------
    levels : sequence of Level
        Bounds, chunks, data type, channels and resolution of each, finest first.
    layout : Layout
        Version, shards, compressor.
    layer_type : {"image", "segmentation"}
        What the voxels mean; a segmentation is a label image.
    name : str
        What the image is called.
    method : str, optional
        How the coarser levels are made.
    omero : Mapping, optional
        Names, colours and windows of channels, as OME-Zarr has them.

    Raises
    ------
    OptionError
        If that cannot be stored.
    """
    _check_type(layer_type)
    multiscale: Document = {
        "name": name or "/",
        "axes": [axis_document(axis) for axis in axes_of(levels[0])],
        "datasets": [dataset_document(str(number), level) for number, level in enumerate(levels)],
        **method_document(method),
    }
    ome: Document = {"multiscales": [multiscale]}
    if layout.version == 2:
        multiscale["version"] = "0.4"
    else:
        ome["version"] = "0.5"
    if omero is not None:
        ome["omero"] = dict(omero)
    if layer_type == "segmentation":
        ome["image-label"] = {"version": "0.4"} if layout.version == 2 else {}
    arrays = {str(number): layout.array(level) for number, level in enumerate(levels)}
    return parsed(OmeZarr, {**group_documents(ome, layout.version), **array_documents(arrays, layout.version)})


def group_documents(ome: Document, version: int) -> dict[str, bytes]:
    """Return the metadata objects of a group with these OME-Zarr members."""
    if version == 2:
        return {array_v2.GROUP: dump({"zarr_format": 2}), array_v2.ATTRIBUTES: dump(ome)}
    return {array_v3.DOCUMENT: dump({"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}})}


def array_documents(arrays: Mapping[str, Document], version: int) -> dict[str, bytes]:
    """Return the metadata objects of arrays, by folder."""
    name = array_v2.DOCUMENT if version == 2 else array_v3.DOCUMENT
    return {f"{folder}/{name}": dump(document) for folder, document in arrays.items()}


def axis_document(name: str) -> Document:
    """Return an axis as OME-Zarr has it."""
    return {"name": name, "type": "channel"} if name == "c" else {"name": name, "type": "space", "unit": "nanometer"}


def dataset_document(path: str, level: Level) -> Document:
    """Return a level as OME-Zarr has it; the translation is the place of the first voxel's centre."""
    pairs = zip(level.offset, level.resolution, strict=True)
    centre = [float((n + exact(0.5)) * exact(size)) for n, size in pairs]
    scale = {"type": "scale", "scale": ordered((*level.resolution, 1.0), level)}
    translation = {"type": "translation", "translation": ordered((*centre, 0.0), level)}
    return {"path": path, "coordinateTransformations": [scale, translation]}


def method_document(method: str | None) -> Document:
    """Return what OME-Zarr says of how coarser levels are made."""
    if method is None:
        return {}
    return {"type": method, "metadata": {"method": f"volumekit {method}", "description": "levels made by volumekit"}}


def _quantity(size: float) -> str:
    return f"{int(size) if float(size).is_integer() else size} nm"


def _check_type(layer_type: str) -> None:
    if layer_type not in LAYER_TYPES:
        raise OptionError(f"layer_type is {layer_type!r}; it is one of {', '.join(LAYER_TYPES)}")


def parsed(kind: type[F], documents: Mapping[str, bytes], choices: bytes | None = None) -> F:
    """Build a format from documents made here, refusing what could not be opened again.

    Parameters
    ----------
    kind : type
        The format.
    documents : Mapping
        The metadata objects, by key.
    choices : bytes, optional
        What is chosen of parts and further axes, as `formats.base.AT` has it.

    Raises
    ------
    OptionError
        If it could not.
    """
    have: dict[str, bytes | None] = {**documents, **({AT: choices} if choices else {})}
    try:
        while wanted := set(kind.needs(have)) - set(have):
            have.update(dict.fromkeys(wanted))
        made = kind.parse(have)
        for level in made.levels:
            if level.error is not None:
                raise OptionError(level.error)
            made.require_codec(level)
    except VolumekitError as error:
        raise OptionError(f"this cannot be stored: {error.message}") from error
    return made
