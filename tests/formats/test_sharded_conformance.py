"""Sharded scales pass the format kit; TensorStore's own writer and its view of shards make the references."""

from typing import ClassVar

from tests.formats.test_conformance import PrecomputedConformance
from tests.storage.shard_oracle import TensorStoreShards
from volumekit.formats.precomputed import Precomputed
from volumekit.model.sharding import SHARDED


class ShardedConformance(PrecomputedConformance):
    sharding: ClassVar = {}
    exact = False
    compressions = (None,)

    def create(self, layout):
        info = super().create(layout).info
        for scale in info["scales"]:
            scale["sharding"] = {"@type": SHARDED, **self.sharding}
        return Precomputed(info)

    @property
    def members(self):
        return {"sharding": {"@type": SHARDED, **self.sharding}}

    def inside(self, store, fmt):
        container = fmt.container(fmt.levels[0])
        return TensorStoreShards(store, fmt.levels[0].key, self.members["sharding"], container.parameters["names"])


class TestPlainShards(ShardedConformance):
    sharding: ClassVar = {"preshift_bits": 1, "hash": "identity", "minishard_bits": 1, "shard_bits": 2}
    dtypes = ("uint8", "int16", "float32", "uint64")
    channels = (1, 3)


class TestGzippedShards(ShardedConformance):
    native = False
    sharding: ClassVar = {
        "preshift_bits": 0, "hash": "murmurhash3_x86_128", "minishard_bits": 2, "shard_bits": 1,
        "minishard_index_encoding": "gzip", "data_encoding": "gzip",
    }  # fmt: skip
    dtypes = ("uint16",)


class TestShardedPng(ShardedConformance):
    encoding = "png"
    sharding: ClassVar = {
        "preshift_bits": 2, "hash": "identity", "minishard_bits": 0, "shard_bits": 0,
        "minishard_index_encoding": "gzip",
    }  # fmt: skip
    channels = (1, 3)


class TestShardedJpeg(ShardedConformance):
    encoding = "jpeg"
    settings: ClassVar = {"jpeg_quality": 95}
    sharding: ClassVar = {"preshift_bits": 0, "hash": "identity", "minishard_bits": 1, "shard_bits": 9}
    channels = (1, 3)
    lossless = False
    tolerance = 4.0

    def is_native(self, level):
        return level.channels == 1  # TensorStore would store colours at half the resolution


class TestShardedSegmentation(ShardedConformance):
    encoding = "compressed_segmentation"
    sharding: ClassVar = {
        "preshift_bits": 1, "hash": "identity", "minishard_bits": 0, "shard_bits": 3,
        "data_encoding": "gzip",
    }  # fmt: skip
    dtypes = ("uint32", "uint64")
