"""zarr arrays and OME-Zarr images pass the kit; zarr-python makes the references."""

import dataclasses
from typing import ClassVar

import numpy as np
import zarr
from numcodecs import LZ4
from zarr.storage import MemoryStore

from tests.formats.levels import levels_of
from tests.storage.zarr_shard_oracle import TensorStoreZarrShards
from volumekit.formats.zarr.create import create_ome_zarr, create_zarr
from volumekit.formats.zarr.layout import Layout as ZarrLayout
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.testing.datasets import cells
from volumekit.testing.formats import FormatConformance

DTYPES = (
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float16", "float32", "float64", "uint64",
)  # fmt: skip


def objects(store):
    """Return what a zarr-python memory store holds."""
    return {key: value.to_bytes() for key, value in store._store_dict.items()}


def stored(voxels):
    """Return voxels as zarr stores them: (c, z, y, x), or (z, y, x) of one channel."""
    array = voxels.transpose(3, 2, 1, 0)
    return array if len(array) > 1 else array[0]


class ZarrConformance(FormatConformance):
    version = 3
    compressor: ClassVar = "zstd"
    native = True
    fill_missing = True
    exact = False
    channels = (1, 3)
    mips = 0
    shard = None

    def layout_of(self, layout):
        shard = None if self.shard is None else tuple(n * c for n, c in zip(self.shard, layout.chunk, strict=True))
        return ZarrLayout(self.version, shard, self.compressor)

    def inside(self, store, fmt):
        container = fmt.container(fmt.levels[0])
        if container is None:
            return store
        if store.native() is None:
            store = open_store(parse_url(f"file://{store.url.partition('://')[2]}"))
        return TensorStoreZarrShards(store, container.parameters["names"], container.parameters["index"])

    def levels(self, layout):
        return levels_of(layout, self.mips)

    def create(self, layout):
        return create_zarr(self.levels(layout)[0], self.layout_of(layout))

    def reference(self, layout, voxels):
        store = MemoryStore()
        self.array(store, "", layout, voxels)
        return objects(store)

    def array(self, store, path, layout, voxels):
        voxels = stored(voxels)
        chunk = layout.chunk[::-1] if voxels.ndim == 3 else (1, *layout.chunk[::-1])
        names = ["z", "y", "x"] if voxels.ndim == 3 else ["c", "z", "y", "x"]
        offset = [*layout.offset[::-1]] if voxels.ndim == 3 else [0, *layout.offset[::-1]]
        how = {"dimension_names": names, "attributes": {"volumekit": {"voxel_offset": offset}}}
        if self.version == 2:
            attributes = {"_ARRAY_DIMENSIONS": names, "volumekit": {"voxel_offset": offset}}
            how = {"attributes": attributes, "chunk_key_encoding": {"name": "v2", "separator": "/"}}
        if self.shard is not None:
            shard = tuple(n * c for n, c in zip(self.shard, layout.chunk, strict=True))[::-1]
            how["shards"] = shard if voxels.ndim == 3 else (1, *shard)
        array = zarr.create_array(
            store, name=path or None, shape=voxels.shape, chunks=chunk, dtype=voxels.dtype, fill_value=0,
            zarr_format=self.version, config={"write_empty_chunks": True}, **how,
        )  # fmt: skip
        array[...] = voxels


class TestZarrV3(ZarrConformance):
    dtypes = DTYPES


class TestZarrV2(ZarrConformance):
    dtypes = DTYPES
    optional = (".zattrs",)
    version = 2


class TestZarrV3InPython(ZarrConformance):
    """With a codec that TensorStore does not have."""

    dtypes = ("uint8", "uint16")
    compressor = "lz4"
    native = False

    def reference(self, layout, voxels):
        fmt = self.create(layout)
        level, found = fmt.levels[0], dict(fmt.metadata())

        for cell in cells(level):
            chunk = np.zeros((*layout.chunk, 1), layout.dtype)
            low = [at * n for at, n in zip(cell, (*layout.chunk, 1), strict=True)]
            part = voxels[tuple(slice(a, a + n) for a, n in zip(low, (*layout.chunk, 1), strict=True))]
            chunk[tuple(map(slice, part.shape))] = part
            name = "/".join(map(str, cell[2::-1] if layout.channels == 1 else cell[::-1]))
            found[f"c/{name}"] = bytes(LZ4().encode(np.ascontiguousarray(chunk[..., 0].T)))
        return found


class OmeZarrConformance(ZarrConformance):
    mips = 1

    def create(self, layout):
        return create_ome_zarr(self.levels(layout), self.layout_of(layout), method="mean")

    def reference(self, layout, voxels):
        store = MemoryStore()
        fmt = self.create(layout)
        self.array(store, "0", layout, voxels)
        made = objects(store)
        own = {key: data for key, data in fmt.metadata().items() if not key.startswith("0/")}
        return {**{key: data for key, data in made.items() if key.startswith("0/") and key != "0/.zattrs"}, **own}


class TestOmeZarrV3(OmeZarrConformance):
    dtypes = ("uint8", "uint16")


class TestOmeZarrV2(OmeZarrConformance):
    dtypes = ("uint8", "uint16")
    version = 2


class ShardedConformance(ZarrConformance):
    """Written without shards by zarr-python, and put into shards by TensorStore: the kit wants chunks by key."""

    shard = (2, 1, 2)

    def written(self, place, fmt):
        return {*place.chunks(fmt).list()}

    def reference(self, layout, voxels):
        fmt = self.create(layout)
        store = MemoryStore()
        flat = dataclasses.replace(self.layout_of(layout), shard=None)
        plain = type(self)()
        plain.layout_of, plain.shard = (lambda _: flat), None
        plain.array(store, "", layout, voxels)
        chunks = {key: data for key, data in objects(store).items() if key != "zarr.json"}
        return {**chunks, **fmt.metadata()}


class TestShardedV3(ShardedConformance):
    dtypes = ("uint8", "float32", "uint64")


class TestShardedV3OverFsspec(ShardedConformance):
    """Through Python alone: TensorStore has no way to these bytes."""

    dtypes = ("uint16",)
    protocols = ("local",)


class TestShardedV3InPython(TestZarrV3InPython):
    written = ShardedConformance.written
    shard = (1, 2, 3)
    dtypes = ("uint16",)
