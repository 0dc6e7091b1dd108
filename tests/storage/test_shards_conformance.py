"""Chunks inside shards pass the store kit: whatever the hash, the encodings, and how many share a shard."""

import itertools
import threading

import pytest

from tests.storage.shard_oracle import TensorStoreShards
from tests.storage.test_conformance import file_store, memory_store
from volumekit.model.sharding import ShardingSpec
from volumekit.storage.shards import ShardedStore
from volumekit.testing.stores import StoreConformance


class AnyNames:
    """Gives every text a number when it is first asked for."""

    def __init__(self, step: int = 1) -> None:
        self.count = 1 << 20
        self._fresh = itertools.count(5, step)
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int | None:
        with self._lock:
            if name not in self._numbers:
                self._numbers[name] = next(self._fresh)
            return self._numbers[name]

    def name_of(self, number: int) -> str | None:
        return next(name for name, n in self._numbers.items() if n == number)


SPECS = {
    "one shard": ShardingSpec(),
    "few": ShardingSpec(preshift_bits=1, minishard_bits=2, shard_bits=3),
    "gzip": ShardingSpec(minishard_bits=1, minishard_index_encoding="gzip", data_encoding="gzip"),
    "murmur": ShardingSpec(2, "murmurhash3_x86_128", 3, 2, "gzip", "raw"),
    "a shard each": ShardingSpec(shard_bits=64),
    "many minishards": ShardingSpec(0, "murmurhash3_x86_128", 13, 1, "raw", "gzip"),
}


class TestShardedStore(StoreConformance):
    """TensorStore plants and inspects the bytes."""

    native = False

    @pytest.fixture(params=list(itertools.product(SPECS, ("file", "memory"))), ids="-".join, autouse=True)
    def setting(self, request):
        self.spec, self.kind = SPECS[request.param[0]], request.param[1]

    def make_store(self, tmp_path):
        self.base = file_store(tmp_path) if self.kind == "file" else memory_store(tmp_path)
        self.names = AnyNames()
        return ShardedStore(self.base, folder="a/b", sharding=self.spec, names=self.names)

    def plant(self, store, key, data):
        self.oracle().commit({key: data}).result()

    def inspect(self, store, key):
        found = self.oracle().read(key).result()
        return None if found is None else found.data

    def oracle(self):
        return TensorStoreShards(self.base, "a/b", self.spec.to_json(), self.names)
