"""Chunks inside the shards of Neuroglancer Precomputed, as a store over the store of the shards.

Source: ``src/datasource/precomputed/sharded.md`` in the Neuroglancer repository.
"""

from __future__ import annotations

from volumekit.storage.shards.store import ShardedStore

__all__ = ["ShardedStore"]
