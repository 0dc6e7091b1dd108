"""Shards whose indices lie: refused by an error that names the shard, without allocating what they claim."""

import contextlib
import gzip
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.campaigns import shard_mutations
from benchmarks.campaigns.mutants import supervise
from tests.storage.test_conformance import file_store
from volumekit.codecs import CODECS
from volumekit.errors import CorruptChunkError
from volumekit.model.chunk_names import ChunkNames
from volumekit.model.sharding import ShardingSpec
from volumekit.storage.shards import ShardedStore

ROOT = Path(shard_mutations.__file__).parent.parent.parent
NAMES = ChunkNames("s", (0, 0, 0), (64, 64, 64), (32, 32, 32))
KEYS = [NAMES.name_of(n) for n in range(8)]
PLAIN = ShardingSpec(minishard_bits=1)
GZIPPED = ShardingSpec(minishard_bits=1, minishard_index_encoding="gzip", data_encoding="gzip")
LIMIT = 10_000
HUGE = 1 << 61


def words(*rows):
    return np.array(rows, "<u8").tobytes()


def shard(first, second, rest):
    """Return a shard of two minishards; their indices lie at these places behind the shard index."""
    return words(first, second) + rest


GOOD = words([0], [48], [4])
CASES = {
    "empty": b"",
    "shorter than its index": words([0, 24]) + b"\0" * 15,
    "an index that ends before it starts": shard((24, 0), (0, 0), GOOD),
    "an index beyond the end": shard((1000, 1024), (0, 0), GOOD),
    "an index half beyond the end": shard((0, 48), (0, 0), GOOD),
    "an index as large as the world": shard((0, HUGE), (0, 0), GOOD),
    "an index beyond the world": shard((HUGE, HUGE + 24), (0, 0), GOOD),
    "an index past 2**62": shard((0, 1 << 63), (0, 0), GOOD),
    "more chunks than there can be": shard((0, 24 * 20), (0, 0), bytes(24 * 20)),
    "an index of 23 bytes": shard((0, 23), (0, 0), GOOD),
    "a chunk beyond the end": shard((0, 24), (0, 0), words([0], [48], [4])),
    "a chunk half beyond the end": shard((0, 24), (0, 0), words([0], [24], [4]) + b"abc"),
    "a chunk larger than any": shard((0, 24), (0, 0), words([0], [0], [LIMIT + 1]) + bytes(LIMIT + 1)),
    "a chunk as large as the world": shard((0, 24), (0, 0), words([0], [0], [HUGE])),
    "a chunk past 2**62": shard((0, 24), (0, 0), words([0], [0], [1 << 63])),
    "a chunk before the beginning": shard((0, 24), (0, 0), words([0], [(1 << 64) - 1], [4])),
}


def looks(store):
    """Return all ways to look at chunk 0."""
    return {
        "read": lambda: store.read(KEYS[0]).result(),
        "peek": lambda: store.peek(KEYS[0]),
        "part": lambda: store.read(KEYS[0], 1, 4).result(),
        "write": lambda: store.commit({KEYS[2]: b"new"}).result(),
        "generations": lambda: store.holds([KEYS[0]], store.generations(["s/0.shard"])),
    }


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("look", ["read", "peek", "part", "write", "generations"])
def test_lies_are_refused(tmp_path, name, look):
    base = file_store(tmp_path)
    base.commit({"s/0.shard": CASES[name]}).result()
    store = ShardedStore(base, folder="s", sharding=PLAIN, names=NAMES, limit=LIMIT)
    if look == "generations" and name.endswith("beyond the end") and name.startswith("a chunk"):
        return  # whoever reads the chunk sees it
    if look == "write" and name == "a chunk larger than any":
        return  # nobody looks at the size of a chunk that stays
    with pytest.raises(CorruptChunkError, match=r"s/0\.shard") as caught:
        looks(store)[look]()
    assert caught.value.key == "s/0.shard"
    assert caught.value.url == store.url
    assert base.read("s/0.shard").result().data == CASES[name]


@pytest.mark.parametrize("name", [name for name in CASES if "chunk" not in name or "chunks" in name])
def test_lies_of_indices_are_refused_by_listings(tmp_path, name):
    base = file_store(tmp_path)
    base.commit({"s/0.shard": CASES[name]}).result()
    store = ShardedStore(base, folder="s", sharding=PLAIN, names=NAMES, limit=LIMIT)
    for look in (lambda: list(store.list()), lambda: store.keys_in("s/0.shard").result()):
        with pytest.raises(CorruptChunkError, match=r"s/0\.shard"):
            look()


def test_indices_that_overlap_are_refused_where_all_are_read(tmp_path):
    base = file_store(tmp_path)
    base.commit({"s/0.shard": shard((0, 24), (0, 24), words([0], [24], [4]) + b"data")}).result()
    store = ShardedStore(base, folder="s", sharding=PLAIN, names=NAMES)
    assert store.read(KEYS[0]).result().data == b"data"
    for look in (lambda: list(store.list()), lambda: store.commit({KEYS[0]: b"x"}).result()):
        with pytest.raises(CorruptChunkError, match="overlap"):
            look()


def test_chunks_that_overlap_are_read_but_not_multiplied(tmp_path):
    """Thousands of entries that share a megabyte must not become gigabytes when a shard is written again."""
    base = file_store(tmp_path)
    index = words([0, 2, 2], [72, (1 << 64) - 1000, (1 << 64) - 1000], [1000, 1000, 1000])
    base.commit({"s/0.shard": shard((0, 72), (0, 0), index + b"d" * 1000)}).result()
    store = ShardedStore(base, folder="s", sharding=PLAIN, names=NAMES)
    assert [store.read(KEYS[n]).result().data for n in (0, 2, 4)] == [b"d" * 1000] * 3
    with pytest.raises(CorruptChunkError, match="overlap"):
        store.commit({KEYS[6]: b"x"}).result()
    store.commit({KEYS[n]: b"new" for n in (0, 2, 4)}).result()
    assert [store.read(KEYS[n]).result().data for n in (0, 2, 4)] == [b"new"] * 3


def bombs():
    """Return shards of which 50 kB are 50 MB: as an index, and as a chunk."""
    bomb = gzip.compress(bytes(50_000_000))
    packed = gzip.compress(words([0], [0], [len(bomb)]))
    index = shard((0, len(bomb)), (0, 0), bomb)
    return {"index": index, "chunk": shard((len(bomb), len(bomb) + len(packed)), (0, 0), bomb + packed)}


def test_bombs_of_gzip(tmp_path):
    base = file_store(tmp_path)
    for name, planted in bombs().items():
        base.commit({"s/0.shard": planted}).result()
        store = ShardedStore(base, folder="s", sharding=GZIPPED, names=NAMES, limit=1_000_000)
        for look in ("read", "peek", *(("write",) if name == "index" else ())):
            with pytest.raises(CorruptChunkError, match=r"s/0\.shard"):
                looks(store)[look]()


def huge(folder):
    """Make a shard of 4 GiB, which take no room on the disk, with a chunk that reaches beyond its end."""
    (folder / "s").mkdir()
    with (folder / "s" / "0.shard").open("wb") as file:
        file.write(shard((0, 24), (0, 0), words([0], [(1 << 32) - 100], [4000])))
        file.truncate(1 << 32)
    return ShardedStore(file_store(folder), folder="s", sharding=PLAIN, names=NAMES)


def test_a_huge_shard_is_not_read_for_its_damage(tmp_path):
    store = huge(tmp_path)
    for look in ("read", "peek"):
        with pytest.raises(CorruptChunkError, match="ends before"):
            looks(store)[look]()


def most_memory(folder):
    """Print by how many MB the most memory this process has had grows while it looks at lies."""
    planted = bombs()
    small, large = file_store(folder / "small"), huge(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in (*CASES.values(), *planted.values()):
        small.commit({"s/0.shard": data}).result()
        for spec in (PLAIN, GZIPPED):
            store = ShardedStore(small, folder="s", sharding=spec, names=NAMES, limit=LIMIT)
            for look in looks(store).values():
                with contextlib.suppress(CorruptChunkError):
                    look()
    for look in ("read", "peek"):
        with contextlib.suppress(CorruptChunkError):
            looks(large)[look]()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)  # noqa: T201


def test_lies_take_no_memory(tmp_path):
    code = f"from {__name__} import *; most_memory(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert int(subprocess.check_output(command, text=True, cwd=ROOT)) < 40


def test_a_sample_of_the_campaign():
    names = [subject.name for subject in shard_mutations.subjects()]
    assert {name.removesuffix(" chunks") for name in names} >= set(CODECS)
    for name, result in supervise(shard_mutations.__name__, [names], count=5, seed=3).items():
        assert result.failures == [], name
        assert result.tried == 5
        assert result.outcomes["done"] < 5, name


def test_the_campaign_notices(monkeypatch):
    """Other errors, and errors that do not say where, are failures."""

    def fail(error):
        def look(self):
            if self.file.read_bytes() != self.good:
                raise error

        return look

    for error, told in ((IndexError("oops"), "oops"), (CorruptChunkError("nowhere"), "does not say where")):
        monkeypatch.setattr(shard_mutations.Bench, "_report", fail(error))
        with (
            shard_mutations.subjects()[0].ready() as attempt,
            pytest.raises((IndexError, AssertionError), match=told),
        ):
            attempt(np.random.default_rng(0))
