"""What chunks inside shards cost, and what happens when others write the same shard."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.storage.test_conformance import file_store, memory_store
from volumekit.errors import ConflictError, CorruptChunkError, ReadOnlyError, StorageError, UnsupportedError
from volumekit.model.chunk_names import ChunkNames
from volumekit.model.sharding import ShardingSpec
from volumekit.storage.base import ABSENT, done
from volumekit.storage.shards import ShardedStore, rewrite
from volumekit.storage.shards.lookup import TRIES
from volumekit.storage.wrap import CountedStore, Counts, FaultyStore, ReadOnlyStore, SlowStore, Wrapper

SPEC = ShardingSpec(preshift_bits=2, minishard_bits=2, shard_bits=2)
NAMES = ChunkNames("s", (0, 0, 0), (64, 64, 64), (16, 16, 16))
KEYS = [NAMES.name_of(n) for n in range(64)]
FIRST = KEYS[:16]
"""The chunks of shard 0."""


def sharded(base, spec=SPEC, **how):
    return ShardedStore(base, folder="s", sharding=spec, names=NAMES, **how)


def data(n):
    return bytes([n]) * (n + 1)


@pytest.fixture
def base(tmp_path):
    """Return a store with three shards of sixteen chunks, and none where the fourth would be."""
    store = memory_store(tmp_path)
    sharded(store).commit({KEYS[n]: data(n) for n in range(48)}).result()
    return store


def test_shards_are_the_files(base):
    assert sorted(base.list()) == ["s/0.shard", "s/1.shard", "s/2.shard"]
    store = sharded(base)
    assert {store.group(key) for key in FIRST} == {"s/0.shard"}
    assert store.group(KEYS[63]) == "s/3.shard"
    assert store.group("no chunk") == "no chunk"
    assert sorted(store.keys_in("s/0.shard").result()) == sorted(FIRST)
    assert list(store.keys_in("s/3.shard").result()) == []
    assert list(store.keys_in("no shard").result()) == []
    assert store.url == base.url


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_a_chunk_costs_one_request(tmp_path, encoding):
    counted = CountedStore(memory_store(tmp_path))
    spec = ShardingSpec(2, "identity", 2, 2, encoding, encoding)
    writer, store = sharded(counted, spec), sharded(counted, spec)
    writer.commit({KEYS[n]: data(n) for n in range(48)}).result()
    counted.counts = Counts()
    assert writer.read(KEYS[5]).result().data == data(5)
    assert counted.counts.reads == 1, "who writes a shard knows its index"
    counted.counts = Counts()
    assert store.read(KEYS[5]).result().data == data(5)
    assert counted.counts.reads == 3, "the shard index, that of the minishard, the chunk"
    for n in (4, 5, 6, 7):
        assert store.read(KEYS[n]).result().data == data(n)
    assert counted.counts.reads == 7
    assert store.read(KEYS[5], 2, 4).result().data == data(5)[2:4]
    assert store.read(KEYS[5], 0, 0).result().data == b""
    assert counted.counts.reads == 9
    store.read(KEYS[8]).result()
    assert counted.counts.reads == 11, "an index of another minishard, and the chunk"


def test_a_missing_chunk_costs_one_request(base):
    sharded(base).commit({KEYS[5]: None}).result()
    counted = CountedStore(base)
    store = sharded(counted)
    store.read(KEYS[4]).result()
    counted.counts = Counts()
    for n in range(3):
        assert store.read(KEYS[5]).result() is None
        assert counted.counts.reads == n + 1
    assert counted.counts.bytes_read == 0
    for n in range(3):
        assert store.read(KEYS[60]).result() is None
        assert counted.counts.reads == n + 4


def test_readers_that_come_at_once_share_the_index(base):
    counted = CountedStore(SlowStore(base, 0.01))
    store = sharded(counted)
    reading = [store.read(key) for key in FIRST]
    assert [future.result().data for future in reading] == [data(n) for n in range(16)]
    assert counted.counts.reads == 1 + 4 + 16


def test_many_chunks_of_a_shard_are_one_write(base):
    counted = CountedStore(base)
    store = sharded(counted)
    store.commit(dict.fromkeys(FIRST, b"new")).result()
    assert counted.counts.writes == 1
    assert counted.counts.bytes_read < 64 + 16 * 24 + 1, "chunks that are replaced are not read"
    assert all(store.read(key).result().data == b"new" for key in FIRST)
    store.commit(dict.fromkeys(KEYS, b"all")).result()
    assert counted.counts.writes == 1 + 4


def test_the_rest_of_a_shard_stays(base):
    store = sharded(base)
    store.commit({KEYS[3]: b"three", KEYS[9]: None, KEYS[60]: b"sixty"}).result()
    expected = {KEYS[n]: data(n) for n in range(48) if n != 9} | {KEYS[3]: b"three", KEYS[60]: b"sixty"}
    for reader in (store, sharded(base)):
        assert {key: reader.read(key).result().data for key in reader.list()} == expected
        assert reader.read(KEYS[9]).result() is None


def test_a_shard_without_chunks_is_deleted(base):
    store = sharded(base)
    store.commit(dict.fromkeys(FIRST[:-1])).result()
    assert "s/0.shard" in base.list()
    assert store.commit(dict.fromkeys(FIRST)).result() == dict.fromkeys(FIRST, ABSENT)
    assert sorted(base.list()) == ["s/1.shard", "s/2.shard"]


def test_deleting_what_is_not_there_writes_nothing(base):
    counted = CountedStore(base)
    store = sharded(counted)
    assert store.commit({KEYS[60]: None, KEYS[61]: None}).result() == {KEYS[60]: ABSENT, KEYS[61]: ABSENT}
    assert (counted.counts.writes, counted.counts.deletes) == (0, 0)


@pytest.mark.parametrize("kind", [file_store, memory_store])
def test_threads_write_a_shard_together(tmp_path, kind):
    counted = CountedStore(SlowStore(kind(tmp_path), 0.005))
    store = sharded(counted)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: store.commit({key: key.encode()}).result(), KEYS))
    assert all(store.read(key).result().data == key.encode() for key in KEYS)
    assert counted.counts.writes < 32


def test_other_stores_write_the_same_shard(tmp_path):
    """Each has its own idea of the shard until it tries to write."""
    stores = [sharded(file_store(tmp_path), executor=pool) for pool in (None, ThreadPoolExecutor(2)) for _ in range(2)]

    def work(n):
        stores[n % 4].update({FIRST[n % 16]: lambda value: (value.data if value else b"") + b"+"}).result()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(64)))
    assert [stores[0].read(key).result().data for key in FIRST] == [b"++++"] * 16


def test_what_others_write_is_seen(base):
    store, other = sharded(base), sharded(base)
    for n, change in enumerate((b"a", b"longer than before", None, b"b")):
        assert (store.read(KEYS[5]).result() or done(None)) is not None
        other.commit({KEYS[5]: change, KEYS[6]: b"x" * n}).result()
        for look in (store.read, lambda key: done(store.peek(key))):
            found = look(KEYS[5]).result()
            assert (found.data if found else None) == change
            assert look(KEYS[6]).result().data == b"x" * n
    base.commit({"s/0.shard": None}).result()
    assert store.read(KEYS[5]).result() is None
    assert store.peek(KEYS[5]) is None


class Restless(Wrapper):
    """Rewrites shards between the requests of a reader."""

    def __init__(self, base, change, times):
        super().__init__(base)
        self.change, self.left, self.reads = change, times, 0

    def read(self, key, start=None, stop=None):
        self.reads += 1
        reading = super().read(key, start, stop)
        reading.result()
        if self.left:
            self.left -= 1
            self.change()
        return reading

    def peek(self, key, start=None, stop=None):
        return self.read(key, start, stop).result()


@pytest.mark.parametrize("times", [1, 2, 3, 5, 10**9])
@pytest.mark.parametrize("look", ["read", "peek", "part", "missing", "keys_in"])
def test_a_shard_that_changes_under_its_reader(base, times, look):
    """What is read is what one generation holds, however often the shard is replaced."""
    writer = sharded(base)
    turn = iter(range(10**9))

    def change():
        n = next(turn)
        writer.commit({KEYS[4]: b"y" * (n % 50), KEYS[5]: b"x" * 10, KEYS[7]: None, KEYS[9]: b"z" * n}).result()

    change()
    restless = Restless(base, change, times)
    store = sharded(restless)
    looks = {
        "read": lambda: store.read(KEYS[5]).result().data == b"x" * 10,
        "peek": lambda: store.peek(KEYS[5]).data == b"x" * 10,
        "part": lambda: store.read(KEYS[5], 3, 6).result().data == b"xxx",
        "missing": lambda: store.read(KEYS[7]).result() is None,
        "keys_in": lambda: set(store.keys_in("s/0.shard").result()) == {*FIRST} - {KEYS[7]},
    }
    for _ in range(4):
        assert looks[look]()
    assert restless.reads <= 4 * (3 * TRIES + 1)


def test_conflicts_are_tried_again(base):
    """Somebody else writes between our reading the shard and writing it."""
    other, times = sharded(base), iter(range(3))

    def fault(operation, key):
        if operation == "write" and next(times, None) is not None:
            other.update({KEYS[1]: lambda value: value.data + b"!"}).result()
        return None

    store = sharded(FaultyStore(base, fault))
    store.commit({KEYS[0]: b"ours"}).result()
    assert store.read(KEYS[0]).result().data == b"ours"
    assert store.read(KEYS[1]).result().data == data(1) + b"!!!"


@pytest.mark.parametrize("tries", [1, 1000])
def test_who_always_loses_gives_up(base, monkeypatch, tries):
    """Not even a storage whose stamps never hold makes us go on for ever."""
    monkeypatch.setattr(rewrite, "TRIES", tries)
    store = sharded(FaultyStore(base, lambda operation, key: ConflictError("lost") if operation == "write" else None))
    with pytest.raises(ConflictError, match="others changed") as caught:
        store.commit({KEYS[0]: b"x"}).result()
    assert caught.value.key == "s/0.shard"
    assert store.read(KEYS[0]).result().data == data(0)


def test_a_stamp_is_that_of_the_shard(base):
    store = sharded(base)
    stamp = store.read(KEYS[0]).result().stamp
    assert store.read(KEYS[1]).result().stamp == stamp
    sharded(base).commit({KEYS[1]: b"other"}).result()
    with pytest.raises(ConflictError) as caught:
        store.commit({KEYS[0]: b"ours"}, stamp).result()
    assert caught.value.key == KEYS[0]
    assert store.read(KEYS[0]).result().data == data(0)
    store.commit({KEYS[50]: b"new"}, ABSENT).result()
    with pytest.raises(ConflictError):
        store.commit({KEYS[51]: b"x", KEYS[50]: b"newer"}, ABSENT).result()
    assert store.read(KEYS[51]).result() is None


def test_one_job_fails_and_others_are_done(base):
    """Threads whose changes are made together do not share each other's fate."""
    store, gate = sharded(SlowStore(base, 0.02)), threading.Event()

    def slow(value):
        gate.wait(10)
        return b"slow"

    def bad(value):
        raise CorruptChunkError(f"cannot make anything of {value.data!r}")

    with ThreadPoolExecutor(4) as pool:
        first = store.update({KEYS[0]: slow}, executor=pool)
        failing = store.update({KEYS[1]: bad, KEYS[2]: b"never"}, executor=pool)
        good = store.update({KEYS[3]: lambda value: value.data * 2}, executor=pool)
        late = store.commit({KEYS[4]: b"late"}, b"a stamp of old")
        gate.set()
        first.result()
        good.result()
        for future, kind in ((failing, CorruptChunkError), (late, ConflictError)):
            with pytest.raises(kind):
                future.result()
    assert [store.read(KEYS[n]).result().data for n in range(5)] == [b"slow", data(1), data(2), data(3) * 2, data(4)]


def test_changes_of_one_key_build_upon_each_other(base):
    """Hundreds that are asked for at once are done in order, none of them lost."""
    store = sharded(base)
    adding = [store.update({KEYS[0]: lambda value, n=n: value.data + b"%d," % n}) for n in range(300)]
    for future in adding:
        future.result()
    assert store.read(KEYS[0]).result().data == data(0) + b"".join(b"%d," % n for n in range(300))


def test_storage_errors_reach_everybody(base):
    broken = sharded(FaultyStore(base, lambda operation, key: StorageError("broken") if operation == "write" else None))
    writing = [broken.commit({key: b"x"}) for key in FIRST]
    for future in writing:
        with pytest.raises(StorageError, match="broken"):
            future.result()
    assert broken.read(KEYS[0]).result().data == data(0)
    unread = sharded(FaultyStore(base, lambda operation, key: StorageError("unread") if operation == "read" else None))
    for future in (unread.read(KEYS[0]), unread.commit({KEYS[0]: b"x"}), unread.keys_in("s/0.shard")):
        with pytest.raises(StorageError, match="unread"):
            future.result()


def test_only_chunks_are_in_shards(base):
    store = sharded(base)
    for change in (b"x", None):
        with pytest.raises(StorageError, match="no chunk"):
            store.commit({"s/info": change}).result()
    assert store.read("s/info").result() is None
    assert store.peek("s/0.shard") is None
    with pytest.raises(ReadOnlyError):
        sharded(ReadOnlyStore(base)).commit({KEYS[0]: b"x"}).result()


def test_what_is_known_is_bounded(base, monkeypatch):
    from volumekit.storage.shards import known

    monkeypatch.setattr(known.Cache.__init__, "__defaults__", (300,))
    counted = CountedStore(base)
    store = sharded(counted)
    for _ in range(3):
        assert [store.read(KEYS[n]).result().data for n in range(48)] == [data(n) for n in range(48)]
        assert store._lookup.cache._total <= 300
    assert counted.counts.reads > 3 * 48 + 20


def test_other_files_are_no_shards(base):
    base.commit({"s/info": b"{}", "s/4.shard": b"beyond", "s/00.shard": b"x", "s/0.shard.gz": b"x", "s/x/0.shard": b""})
    assert len(list(sharded(base).list())) == 48


def split(base, spec=SPEC):
    """Cut shards into the two files they were before 2019."""
    for key in [key for key in base.list() if key.endswith(".shard")]:
        whole, stem = base.read(key).result().data, key.removesuffix(".shard")
        cut = 16 * spec.minishards
        base.commit({f"{stem}.index": whole[:cut], f"{stem}.data": whole[cut:], key: None}).result()


def test_the_form_before_2019_is_read(base):
    split(base)
    counted = CountedStore(base)
    store = sharded(counted)
    for _ in range(2):
        assert {key: store.read(key).result().data for key in KEYS[:48]} == {KEYS[n]: data(n) for n in range(48)}
        assert [store.peek(key).data for key in KEYS[:48]] == [data(n) for n in range(48)]
        assert store.read(KEYS[60]).result() is None
        assert store.read(KEYS[5], 0, 0).result().data == b""
    assert sorted(sharded(base).list()) == sorted(KEYS[:48])
    counted.counts = Counts()
    store.read(KEYS[5]).result()
    assert counted.counts.reads == 1


def test_the_form_before_2019_is_not_written(base):
    split(base)
    before = {key: base.read(key).result().data for key in base.list()}
    with pytest.raises(UnsupportedError, match="copy the volume"):
        sharded(base).commit({KEYS[5]: b"x"}).result()
    assert {key: base.read(key).result().data for key in base.list()} == before


@pytest.mark.parametrize("bits", [0, 1, 12, 13, 14])
def test_any_number_of_minishards(tmp_path, bits):
    """Large shard indices are read in parts."""
    spec = ShardingSpec(0, "murmurhash3_x86_128", bits, 1, "gzip", "raw")
    counted = CountedStore(memory_store(tmp_path))
    store = sharded(counted, spec)
    store.commit({KEYS[n]: data(n) for n in range(64)}).result()
    counted.counts = Counts()
    assert sharded(counted, spec).read(KEYS[9]).result().data == data(9)
    assert counted.counts.bytes_read < (1 << 16) + 2000
    assert {key: store.read(key).result().data for key in store.list()} == {KEYS[n]: data(n) for n in range(64)}


def test_random_changes(tmp_path, rng):
    """Whatever is written and deleted, in whatever order, the shards hold what a dictionary holds."""
    spec = ShardingSpec(1, "murmurhash3_x86_128", 2, 1, "gzip", "gzip")
    stores = [sharded(memory_store(tmp_path), spec) for _ in range(2)]
    model = {}
    for _ in range(60):
        keys = [KEYS[n] for n in rng.choice(64, rng.integers(1, 12), replace=False)]
        changes = {key: None if rng.random() < 0.4 else rng.bytes(int(rng.integers(0, 200))) for key in keys}
        stores[int(rng.integers(2))].commit(changes).result()
        model.update(changes)
        model = {key: value for key, value in model.items() if value is not None}
        key = KEYS[int(rng.integers(64))]
        for store in stores:
            found = store.read(key).result()
            assert (found.data if found else None) == model.get(key)
    for store in stores:
        assert {key: store.read(key).result().data for key in store.list()} == model


def test_big_chunks_are_only_read_in_part(tmp_path):
    counted = CountedStore(memory_store(tmp_path))
    store = sharded(counted)
    big = np.random.default_rng(1).bytes(1 << 20)
    store.commit({KEYS[0]: big}).result()
    counted.counts = Counts()
    assert store.read(KEYS[0], 1000, 1010).result().data == big[1000:1010]
    assert store.read(KEYS[0], -10).result().data == big[-10:]
    assert counted.counts.bytes_read < 200
