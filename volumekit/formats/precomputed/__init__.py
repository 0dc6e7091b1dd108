"""Neuroglancer Precomputed volumes.

Source: the volume specification in the Neuroglancer repository, ``src/datasource/precomputed/volume.md``.
"""

from __future__ import annotations

from volumekit.formats.precomputed.create import create_info
from volumekit.formats.precomputed.format import Precomputed
from volumekit.formats.precomputed.info import DATA_TYPES, READ_TYPES
from volumekit.formats.precomputed.sharding import create_sharding

__all__ = ["DATA_TYPES", "READ_TYPES", "Precomputed", "create_info", "create_sharding"]
