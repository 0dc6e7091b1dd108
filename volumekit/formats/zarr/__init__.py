"""zarr arrays, v2 and v3, and OME-Zarr images."""

from volumekit.formats.zarr.omezarr import OmeZarr
from volumekit.formats.zarr.zarr import Zarr

__all__ = ["OmeZarr", "Zarr"]
