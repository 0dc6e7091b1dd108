"""Formats: how a volume is laid out in a store.

A row of `FORMATS` is all it takes to add one; packages add rows through the entry-point group ``volumekit.formats``.
"""

from __future__ import annotations

from volumekit.registry import Registry

FORMATS = Registry(
    "volumekit.formats",
    {
        "precomputed": "volumekit.formats.precomputed:Precomputed",
        "zarr": "volumekit.formats.zarr:Zarr",
        "ome-zarr": "volumekit.formats.zarr:OmeZarr",
        "n5": "volumekit.formats.n5:N5",
        "stack": "volumekit.formats.stack:Stack",
    },
)

ALIASES = {"images": "stack", "zarr2": "zarr", "zarr3": "zarr", "ngff": "ome-zarr"}
"""Other spellings of format names in URLs."""
