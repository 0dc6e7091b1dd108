"""Chunks inside the shards of zarr v3, as keys of a store."""

from volumekit.storage.zarr_shards.store import ZarrShardStore

__all__ = ["ZarrShardStore"]
