"""Chunked arrays of any rank as levels: what zarr and N5 have in common."""

from volumekit.formats.arrays.array import StoredArray
from volumekit.formats.arrays.format import ArrayFormat
from volumekit.formats.arrays.layer import Layer
from volumekit.formats.arrays.placement import Placement, Scaled, place
from volumekit.formats.arrays.roles import Roles, assign

__all__ = ["ArrayFormat", "Layer", "Placement", "Roles", "Scaled", "StoredArray", "assign", "place"]
