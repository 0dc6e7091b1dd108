"""What zarr and OME-Zarr say of a volume.

Sources: the core specification of zarr v3, and OME-Zarr (OME-NGFF) 0.5.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from volumekit.model.level import Level
from volumekit.model.units import exact

if TYPE_CHECKING:
    from volumekit.volume.volume import Volume


def axes_of(level: Level) -> tuple[str, ...]:
    """Return the axes of a level's zarr array: the channel only where there are several."""
    return ("c", "z", "y", "x") if level.channels > 1 else ("z", "y", "x")


def array_metadata(volume: Volume, mip: int) -> dict[str, Any]:
    """Return the ``zarr.json`` of a mip."""
    array = volume.array(mip)
    level = array.level
    axes = axes_of(level)
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": _ordered(level.shape, axes),
        "data_type": level.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": _ordered(level.cell, axes)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": _fill_value(array.options.background),
        "codecs": [{"name": "bytes", "configuration": {"endian": sys.byteorder}}],
        "dimension_names": list(axes),
        "attributes": {
            "volumekit": {
                "url": volume.cloudpath,
                "mip": mip,
                "voxel_offset": _ordered((*level.offset, 0), axes),
                "scale": _ordered((*level.resolution, 1.0), axes),
                "translation": _ordered((*_centres(level), 0.0), axes),
                "unit": "nanometer",
            }
        },
    }


def group_metadata(volume: Volume, mips: Mapping[str, int]) -> dict[str, Any]:
    """Return the ``zarr.json`` of an OME-Zarr 0.5 group.

    Parameters
    ----------
    volume : Volume
        The volume.
    mips : Mapping
        Folder of each mip, finest first.
    """
    levels = volume.levels
    axes = axes_of(levels[0])
    multiscale = {
        "name": volume.layer,
        "axes": [_axis(name) for name in axes],
        "datasets": [_dataset(folder.rstrip("/"), levels[mip], axes) for folder, mip in mips.items()],
    }
    ome: dict[str, Any] = {"version": "0.5", "multiscales": [multiscale]}
    if volume.layer_type == "segmentation" and volume.dtype.kind in "iu":
        ome["image-label"] = {}
    return {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}


def _axis(name: str) -> dict[str, str]:
    return {"name": name, "type": "channel"} if name == "c" else {"name": name, "type": "space", "unit": "nanometer"}


def _dataset(path: str, level: Level, axes: Sequence[str]) -> dict[str, Any]:
    scale = {"type": "scale", "scale": _ordered((*level.resolution, 1.0), axes)}
    translation = {"type": "translation", "translation": _ordered((*_centres(level), 0.0), axes)}
    return {"path": path, "coordinateTransformations": [scale, translation]}


def _centres(level: Level) -> tuple[float, ...]:
    """Return where the centre of the lowest voxel lies, (x, y, z) in nm."""
    pairs = zip(level.offset, level.resolution, strict=True)
    return tuple(float((n + exact(0.5)) * exact(size)) for n, size in pairs)


def _ordered(values: Iterable[Any], axes: Sequence[str]) -> list[Any]:
    """Return values given as (x, y, z, channel) in the order of a zarr array."""
    named = dict(zip("xyzc", values, strict=True))
    return [named[axis] for axis in axes]


def _fill_value(background: float) -> Any:
    if isinstance(background, float) and not math.isfinite(background):
        return "NaN" if math.isnan(background) else "Infinity" if background > 0 else "-Infinity"
    return background
