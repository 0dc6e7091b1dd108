"""What zarr and OME-Zarr say of a volume that is shown as one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from volumekit.formats.zarr.create import axis_document, dataset_document
from volumekit.formats.zarr.layout import axes_of, ordered
from volumekit.formats.zarr.values import dump_fill

if TYPE_CHECKING:
    from volumekit.volume.volume import Volume


def array_metadata(volume: Volume, mip: int) -> dict[str, Any]:
    """Return the ``zarr.json`` of a mip."""
    array = volume.array(mip)
    level = array.level
    transformations = dataset_document("", level)["coordinateTransformations"]
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": ordered(level.shape, level),
        "data_type": level.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": ordered(level.cell, level)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": dump_fill(array.options.background, level.dtype),
        "codecs": [{"name": "bytes", "configuration": {"endian": sys.byteorder}}],
        "dimension_names": axes_of(level),
        "attributes": {
            "volumekit": {
                "url": volume.cloudpath,
                "mip": mip,
                "voxel_offset": ordered((*level.offset, 0), level),
                "scale": transformations[0]["scale"],
                "translation": transformations[1]["translation"],
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
    multiscale = {
        "name": volume.layer,
        "axes": [axis_document(name) for name in axes_of(levels[0])],
        "datasets": [dataset_document(folder.rstrip("/"), levels[mip]) for folder, mip in mips.items()],
    }
    ome: dict[str, Any] = {"version": "0.5", "multiscales": [multiscale]}
    if volume.layer_type == "segmentation" and volume.dtype.kind in "iu":
        ome["image-label"] = {}
    return {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
