"""Compressed variants behind plain keys, beyond the kit: variants of other programs, stale ones, moves."""

import bz2
import gzip
import lzma
import threading
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import pytest

from volumekit.codecs.compression import SUFFIXES
from volumekit.errors import ConflictError, CorruptChunkError
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.storage.base import ABSENT
from volumekit.storage.suffix import SuffixStore
from volumekit.storage.wrap import CountedStore, FaultyStore

PLANTED = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".br": imagecodecs.brotli_encode,
    ".zstd": imagecodecs.zstd_encode,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}
SETTINGS = (None, False, *SUFFIXES)


@pytest.fixture(params=["file", "memory"])
def base(request, tmp_path):
    return open_store(parse_url(tmp_path / "data" if request.param == "file" else f"memory:/{tmp_path}/data"))


def plant(base, **values):
    for key, (suffix, data) in values.items():
        base.commit({f"level/{key}{suffix}": PLANTED[suffix](data)}).result()


def names(base, key):
    return {name.removeprefix(f"level/{key}") for name in base.list(f"level/{key}")}


@pytest.mark.parametrize("compress", SETTINGS)
def test_each_variant_of_other_programs_is_read_changed_and_deleted(base, compress):
    chunks = {f"c{n}": (suffix, f"voxels {n}".encode() * 9) for n, suffix in enumerate(PLANTED)}
    plant(base, **chunks)
    store = SuffixStore(base, compress=compress, prefix="level/")
    assert sorted(store.list("level/")) == sorted(f"level/{key}" for key in chunks)
    for key, (suffix, data) in chunks.items():
        name = f"level/{key}"
        value = store.read(name).result()
        assert value.data == data
        assert store.read(name, 3, 9).result().data == data[3:9]
        assert store.read(name, 0, 0).result().data == b""
        stamp = store.commit({name: b"changed"}, value.stamp).result()[name]
        kept = suffix if compress is None else SUFFIXES.get(compress, "")
        assert names(base, key) == {kept}
        assert store.read(name).result() == (b"changed", stamp, value.attrs)
        with pytest.raises(ConflictError):
            store.commit({name: b"late"}, value.stamp).result()
        store.commit({name: None}, stamp).result()
        assert names(base, key) == set()


@pytest.mark.parametrize("compress", SETTINGS)
def test_overwriting_and_deleting_leave_no_stale_variant(base, compress):
    for change in (b"new", None):
        for suffix in PLANTED:
            plant(base, a=(suffix, b"old"), b=(suffix, b"old"))
        store = SuffixStore(base, compress=compress, prefix="level/")
        store.commit({"level/a": change}).result()
        found = store.read("level/a").result()
        assert (found and found.data) == change
        assert len(names(base, "a")) == (0 if change is None else 1)
        assert names(base, "b") == set(PLANTED)
        assert SuffixStore(base).read("level/b").result().data == b"old"


def test_every_reader_takes_the_same_of_two_variants(base):
    plant(base, a=(".gz", b"gzip"))
    plant(base, a=("", b"plain"))
    assert {SuffixStore(base, compress=c).read("level/a").result().data for c in SETTINGS} == {b"plain"}


def test_a_variant_that_appears_later_is_seen(base):
    store = SuffixStore(base, compress=False, prefix="level/")
    store.commit({"level/a": b"1"}).result()
    plant(base, b=(".zstd", b"2"))
    assert store.read("level/b").result().data == b"2"
    stamp = store.read("level/b").result().stamp
    store.commit({"level/b": b"3"}, stamp).result()
    assert names(base, "b") == {""}


def test_deleting_what_was_not_there_spares_what_came_since(base):
    """A chunk found missing and deleted as background must not take a newer one along."""
    store = SuffixStore(base, compress="gzip")
    assert store.read("level/a").result() is None
    for suffix in PLANTED:
        plant(base, a=(suffix, b"newer"))
        with pytest.raises(ConflictError):
            store.commit({"level/a": None}, ABSENT).result()
        assert names(base, "a") == {suffix}
        base.commit({f"level/a{suffix}": None}).result()


@pytest.mark.parametrize("suffix", [suffix for suffix in PLANTED if suffix])
def test_damage_is_no_value(base, suffix):
    packed = PLANTED[suffix](b"0123456789" * 100)
    store = SuffixStore(base)
    for damaged in (b"", packed[:-5], packed[: len(packed) // 2], b"garbage, not compressed"):
        base.commit({f"level/a{suffix}": damaged}).result()
        with pytest.raises(CorruptChunkError):
            store.read("level/a").result()


def test_a_bomb_is_refused(base):
    plant(base, a=(".gz", bytes(1 << 24)))
    with pytest.raises(CorruptChunkError):
        SuffixStore(base, limit=1 << 16).read("level/a").result()


def test_a_failed_write_keeps_the_old_variant(base):
    plant(base, a=(".gz", b"old"))

    def full(operation, key):
        return OSError("disk full") if operation == "write" else None

    with pytest.raises(OSError, match="disk full"):
        SuffixStore(FaultyStore(base, full), compress=False).commit({"level/a": b"new"}).result()
    assert SuffixStore(base).read("level/a").result().data == b"old"
    assert names(base, "a") == {".gz"}


def test_a_failed_removal_is_no_success_and_loses_nothing(base):
    plant(base, a=(".gz", b"old"))

    def stuck(operation, key):
        return OSError("cannot delete") if operation == "delete" and key.endswith(".gz") else None

    with pytest.raises(OSError, match="cannot delete"):
        SuffixStore(FaultyStore(base, stuck), compress=False).commit({"level/a": b"new"}).result()
    assert SuffixStore(base, compress=False).read("level/a").result().data == b"new"


def test_readers_find_an_object_that_moves(base):
    """While one writer moves an object to and fro between variants, no reader ever finds it missing."""
    plant(base, a=("", b"0" * 50))
    done = threading.Event()

    def move():
        for n in range(60):
            SuffixStore(base, compress=("gzip", "zstd", False)[n % 3]).commit(
                {"level/a": b"%d" % (n % 10) * 50}
            ).result()
        done.set()

    def look(_):
        store, seen = SuffixStore(base), 0
        while not done.is_set() or seen < 10:
            value = store.read("level/a").result()
            assert value is not None
            assert len(value.data) == 50
            assert len(set(value.data)) == 1
            seen += 1

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(look, n) for n in range(3)]
        pool.submit(move).result()
        for reader in readers:
            reader.result()


@pytest.mark.parametrize("compress", [None, False, "gzip", "zstd"])
def test_no_update_is_lost_while_a_planted_variant_moves(base, compress):
    plant(base, a=(".br", b"0"))

    def count(_):
        store = SuffixStore(base, compress=compress, prefix="level/")
        while True:
            value = store.read("level/a").result()
            try:
                store.commit({"level/a": b"%d" % (int(value.data) + 1)}, value.stamp).result()
            except ConflictError:
                continue
            return

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(count, range(24)))
    assert SuffixStore(base).read("level/a").result().data == b"24"


def test_plain_objects_cost_one_request(base):
    plant(base, a=("", b"1"))
    counted = CountedStore(base)
    store = SuffixStore(counted)
    assert store.read("level/a").result().data == b"1"
    assert counted.counts.reads == 1
