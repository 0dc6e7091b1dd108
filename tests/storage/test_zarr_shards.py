"""Chunks inside zarr shards pass the store kit, wherever and however the index is stored; damage is told."""

import itertools
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from tests.storage.test_conformance import file_store, memory_store
from tests.storage.zarr_shard_oracle import TensorStoreZarrShards
from volumekit.errors import CorruptChunkError
from volumekit.model.chunk_keys import ChunkKeys
from volumekit.model.zarr_shard import MISSING, ShardIndex, ShardNames
from volumekit.storage.zarr_shards import ZarrShardStore
from volumekit.testing.stores import StoreConformance

INDICES = {
    "end": ShardIndex((2, 3, 4)),
    "start": ShardIndex((4, 2), at_end=False),
    "plain": ShardIndex((8,), checked=False),
    "big": ShardIndex((2, 2, 1), little=False),
    "alone": ShardIndex((1, 1)),
}


class AnyNames:
    """Gives every text a place, when it is first asked for."""

    keys = SimpleNamespace(lead="c/")

    def __init__(self, index):
        self._index, self._fresh, self._lock = index, itertools.count(), threading.Lock()
        self._numbers = {}

    def place(self, name):
        with self._lock:
            if name not in self._numbers:
                self._numbers[name] = next(self._fresh)
            shard, number = divmod(self._numbers[name], self._index.count)
            return f"c/{shard}", number

    def is_shard(self, key):
        return key.startswith("c/")

    def names(self, shard):
        places = {name: self.place(name) for name in list(self._numbers)}
        found = {number: name for name, (own, number) in places.items() if own == shard}
        return {number: found.get(number, f"?{number}") for number in range(self._index.count)}


class TestZarrShardStore(StoreConformance):
    """TensorStore plants and inspects the bytes."""

    native = False

    @pytest.fixture(params=list(itertools.product(INDICES, ("file", "memory"))), ids="-".join, autouse=True)
    def setting(self, request):
        self.index, self.kind = INDICES[request.param[0]], request.param[1]

    def make_store(self, tmp_path):
        self.base = file_store(tmp_path) if self.kind == "file" else memory_store(tmp_path)
        self.names = AnyNames(self.index)
        return ZarrShardStore(self.base, names=self.names, index=self.index, limit=1 << 30)

    def plant(self, store, key, data):
        self.oracle().commit({key: data}).result()

    def inspect(self, store, key):
        found = self.oracle().read(key).result()
        return None if found is None else found.data

    def oracle(self):
        return TensorStoreZarrShards(self.base, self.names, self.index)


NAMES = ShardNames(ChunkKeys("a/c/", "/", 2), (2, 3), (5, 7))


def test_names():
    assert NAMES.place("a/c/3/5") == ("a/c/1/1", 5)
    assert NAMES.place("a/c/0/0") == ("a/c/0/0", 0)
    for wrong in ("a/c/5/0", "a/c/0/7", "a/c/1", "b/c/0/0", "a/c/0/01", "a/c/-1/0", "a/c/0/0/0", "a/c/x/0", ""):
        assert NAMES.place(wrong) is None, wrong
    assert NAMES.is_shard("a/c/2/2")
    assert not NAMES.is_shard("a/c/3/0")
    assert NAMES.names("a/c/2/2") == {0: "a/c/4/6"}, "shards reach beyond the array's end"
    every = {key for x in range(3) for y in range(3) for key in NAMES.names(f"a/c/{x}/{y}").values()}
    assert every == {f"a/c/{x}/{y}" for x in range(5) for y in range(7)}
    for key in every:
        shard, number = NAMES.place(key)
        assert NAMES.names(shard)[number] == key


def shard_store(tmp_path, limit=1000):
    base = memory_store(tmp_path)
    return base, ZarrShardStore(base, names=NAMES, index=ShardIndex(NAMES.grid), limit=limit)


def test_all_chunks_of_a_shard_in_one_write(tmp_path):
    base, store = shard_store(tmp_path)
    store.commit({key: key.encode() for key in NAMES.names("a/c/0/0").values()}).result()
    assert sorted(base.list()) == ["a/c/0/0"]
    assert store.read("a/c/1/2").result().data == b"a/c/1/2"
    assert set(store.keys_in("a/c/0/0").result()) == set(NAMES.names("a/c/0/0").values())
    store.commit(dict.fromkeys(NAMES.names("a/c/0/0").values())).result()
    assert list(base.list()) == []


@pytest.mark.parametrize("end", [0, 1, 50, -1])
def test_a_shard_that_was_cut(tmp_path, end):
    base, store = shard_store(tmp_path)
    store.commit({"a/c/0/0": b"x" * 100}).result()
    data = base.read("a/c/0/0").result().data
    base.commit({"a/c/0/0": data[:end]}).result()
    with pytest.raises(CorruptChunkError, match="shard a/c/0/0 is damaged") as caught:
        store.read("a/c/0/0").result()
    assert caught.value.key == "a/c/0/0"
    with pytest.raises(CorruptChunkError):
        store.commit({"a/c/0/1": b"y"}).result()
    assert base.read("a/c/0/0").result().data == data[:end], "what is damaged is not written over"


@pytest.mark.parametrize("entry", [(0, 2**40), (2**63, 5), (190, 30), (0, MISSING), (MISSING, 0), (5, 1001)], ids=str)
def test_an_index_that_lies(tmp_path, entry):
    base, store = shard_store(tmp_path)
    index = ShardIndex(NAMES.grid)
    entries = np.full((6, 2), MISSING, np.uint64)
    entries[0], entries[1] = entry, (0, 10)
    base.commit({"a/c/0/0": b"x" * 100 + index.dump(entries)}).result()
    with pytest.raises(CorruptChunkError, match="a/c/0/0"):
        store.read("a/c/0/0").result()
    with pytest.raises(CorruptChunkError, match="a/c/0/0"):
        store.peek("a/c/0/0")
    with pytest.raises(CorruptChunkError):
        store.commit({"a/c/0/2": b"y"}).result()


def test_a_flipped_bit_of_the_index_is_found(tmp_path):
    base, store = shard_store(tmp_path)
    store.commit({"a/c/0/0": b"x" * 10}).result()
    data = bytearray(base.read("a/c/0/0").result().data)
    data[-20] ^= 1
    base.commit({"a/c/0/0": bytes(data)}).result()
    with pytest.raises(CorruptChunkError, match="checksum"):
        store.read("a/c/0/0").result()
