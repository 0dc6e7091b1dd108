"""A level as a labelled array."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import xarray
from xarray.backends import BackendArray
from xarray.core.indexing import ExplicitIndexer, IndexingSupport, LazilyIndexedArray, explicit_indexing_adapter

from volumekit.errors import OptionError
from volumekit.model.units import exact, step
from volumekit.registry import load
from volumekit.volume.index import AXES
from volumekit.volume.zero_based import ZeroBased

MOST_VOXELS = 1 << 27
"""Voxels along one axis: each has a coordinate in memory."""


class Lazy(BackendArray):  # type: ignore[misc]
    """A level that xarray reads when values are asked for."""

    def __init__(self, array: ZeroBased) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, key: ExplicitIndexer) -> Any:
        return explicit_indexing_adapter(key, self.shape, IndexingSupport.BASIC, self.array.__getitem__)


def as_xarray(array: ZeroBased, chunks: Any, unit: str) -> xarray.DataArray:
    """Return a level as a labelled array; see `Volume.to_xarray`.

    Raises
    ------
    OptionError
        If an option is impossible, or there are too many coordinates.
    """
    volume, level = array.volume, array.level
    if max(level.shape) > MOST_VOXELS:
        raise OptionError(f"the coordinates of {level.shape} voxels do not fit into memory", url=volume.cloudpath)
    sizes = [
        exact(size) / length for size, length in zip(level.resolution, step(unit, level.resolution, 3), strict=True)
    ]
    coordinates = {"channel": np.arange(level.channels)}
    for name, size, low, high in zip(AXES, sizes, level.offset, level.end, strict=False):
        places = np.arange(low, high) if unit == "vx" else (np.arange(low, high) + 0.5) * float(size)
        coordinates[name] = xarray.Variable(name, places, {"units": unit, "long_name": f"voxel centres along {name}"})
    return xarray.DataArray(
        xarray.Variable(AXES, _lazily(array, chunks)), coordinates, name=volume.layer, attrs=_attributes(array)
    )


def _lazily(array: ZeroBased, chunks: Any) -> Any:
    if chunks is None or (chunks == "auto" and importlib.util.find_spec("dask") is None):
        return LazilyIndexedArray(Lazy(array))
    return load("volumekit.volume.dask:as_dask[dask]")(array, chunks)


def _attributes(array: ZeroBased) -> dict[str, Any]:
    """Return where the voxels come from, as values that netCDF and zarr can store."""
    volume, level = array.volume, array.level
    return {
        "url": volume.cloudpath,
        "mip": volume.mip,
        "layer_type": volume.layer_type,
        "resolution": list(level.resolution),
        "voxel_offset": list(level.offset),
    }
