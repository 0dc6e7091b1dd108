"""Volumes read through a disk cache: the right voxels, whatever happens to the cache, the storage, or both."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import fsspec
import numpy as np
import pytest
import zarr
from fsspec.implementations.dirfs import DirFileSystem

from benchmarks.campaigns import cache_kills
from volumekit import Bbox, Cache, Volume
from volumekit.cache import repair
from volumekit.cache.index import Index
from volumekit.cache.options import folder_of
from volumekit.errors import CorruptChunkError, MissingChunkError, OptionError, StorageError
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.storage.wrap import CountedStore, FaultyStore
from volumekit.volume import source as volume_source

SHAPE = (100, 70, 50, 1)
LOW = (-5, 3, 8)


@pytest.fixture
def voxels():
    return np.random.default_rng(1).integers(1, 255, SHAPE, np.uint8)


@pytest.fixture
def source(tmp_path, voxels):
    return Volume.from_numpy(
        voxels, tmp_path / "remote", chunk_size=(32, 32, 32), voxel_offset=LOW, max_mip=1, factor=(2, 2, 2)
    )


@pytest.fixture
def opened(source, tmp_path):
    """Open the source through a cache, and count what the storage is asked for."""

    def install(cache=None, **how):
        volume = Volume(source.cloudpath, cache=cache or Cache(tmp_path / "cache"), progress=False, **how)
        volume._store = CountedStore(volume._store)
        volume._forget()
        return volume

    return install


def asked(volume):
    return volume._store.counts.reads


@pytest.mark.parametrize(
    ("encoding", "dtype", "compress"),
    [
        ("raw", "uint8", None),
        ("raw", "uint16", "gzip"),
        ("png", "uint8", None),
        ("compressed_segmentation", "uint32", None),
    ],
)
def test_a_second_read_asks_for_nothing(tmp_path, opened, encoding, dtype, compress):
    voxels = np.random.default_rng(1).integers(1, 255, SHAPE).astype(dtype)
    Volume.from_numpy(
        voxels, tmp_path / "remote", chunk_size=(32, 32, 32), encoding=encoding, overwrite=True, compress=compress
    )
    volume = opened()
    for _ in range(2):
        np.testing.assert_array_equal(volume[:], voxels)
    assert asked(volume) > 0
    before = asked(volume)
    np.testing.assert_array_equal(volume[10:60, 3:40, 7:31], voxels[10:60, 3:40, 7:31])
    np.testing.assert_array_equal(volume[[1, 50], [2, 60], [3, 40]], voxels[[1, 50], [2, 60], [3, 40]])
    assert asked(volume) == before
    assert volume.cache.stats().misses == 4 * 3 * 2
    assert volume.cache.num_files() == 4 * 3 * 2


def test_the_mirror_opens_by_itself(opened, voxels):
    volume = opened()
    volume[:]
    np.testing.assert_array_equal(Volume(volume.cache.path)[:], voxels)
    assert Path(volume.cache.path).parts[-1] == "remote"


@pytest.mark.parametrize("revalidate", ["open", "always", "never"])
def test_it_works_offline_once_filled(source, opened, voxels, tmp_path, monkeypatch, revalidate):
    opened()[:]
    real = volume_source.open_store

    def unreachable(*args, **how):
        return FaultyStore(real(*args, **how), lambda operation, key: StorageError("the network is unreachable"))

    monkeypatch.setattr(volume_source, "open_store", unreachable)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        volume = Volume(source.cloudpath, cache=Cache(tmp_path / "cache", revalidate=revalidate), progress=False)
        np.testing.assert_array_equal(volume[:], voxels)
    assert any("cannot be reached" in str(w.message) for w in told)


@pytest.mark.parametrize(
    ("revalidate", "noticed"), [("open", True), ("always", True), ("never", False), (0, True), (3600.0, False)]
)
def test_what_changed_is_noticed_when_it_is_looked_for(source, opened, tmp_path, voxels, revalidate, noticed):
    cache = Cache(tmp_path / "cache", revalidate=revalidate)
    opened(cache)[:]
    source[-5:27, 3:35, 8:40] = 9
    found = opened(cache)[-5:27, 3:35, 8:40]
    assert bool((np.asarray(found) == 9).all()) == noticed


def test_open_compares_each_chunk_once(opened, voxels):
    opened()[:]
    volume = opened()
    volume[:]
    assert asked(volume) == 24
    volume[:]
    assert asked(volume) == 24
    assert volume._store.counts.bytes_read == 0


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "garbage of the same size and time"])
def test_damaged_entries_are_fetched_again(opened, voxels, damage):
    volume = opened()
    volume[:]
    path = Path(volume.cache.path) / volume.cache.list()[0]
    state, data = path.stat(), path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[:100])
    else:
        path.write_bytes(bytes(len(data)) if damage == "changed" else b"x" * len(data))
    if damage.startswith("garbage"):
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        mirror, key = volume.cache._mirror(), volume.cache.list()[0]
        assert repair.verify(mirror.index, mirror.folder) == [key]
    np.testing.assert_array_equal(volume[:], voxels)
    assert volume.cache.stats().misses == 25
    np.testing.assert_array_equal(opened()[:], voxels)


def test_png_damage_of_the_same_size_and_time_is_fetched_again(tmp_path, opened, voxels):
    Volume.from_numpy(voxels, tmp_path / "remote", chunk_size=(32, 32, 32), encoding="png", overwrite=True)
    volume = opened()
    volume[:]
    path = Path(volume.cache.path) / volume.cache.list()[0]
    state, data = path.stat(), path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    np.testing.assert_array_equal(volume[:], voxels)
    np.testing.assert_array_equal(opened()[:], voxels)


def test_damage_in_the_storage_is_an_error(tmp_path, opened):
    volume = opened()
    next((tmp_path / "remote/1_1_1").iterdir()).write_bytes(b"damaged")
    for _ in range(2):
        with pytest.raises(CorruptChunkError):
            volume[:]


def test_missing_chunks_follow_the_volume_and_are_remembered_for_a_while(tmp_path, opened, voxels):
    gone = tmp_path / "remote/1_1_1/-5-27_3-35_8-40"
    data = gone.read_bytes()
    gone.unlink()
    volume = opened(Cache(tmp_path / "cache", missing_seconds=3600))
    with pytest.raises(MissingChunkError):
        volume[:]
    filled = opened(Cache(tmp_path / "cache", missing_seconds=3600), fill_missing=True)
    assert not np.asarray(filled[-5:27, 3:35, 8:40]).any()
    before = asked(filled)
    assert not np.asarray(filled[-5:27, 3:35, 8:40]).any()
    assert asked(filled) == before
    gone.write_bytes(data)
    assert not np.asarray(filled[-5:27, 3:35, 8:40]).any()
    np.testing.assert_array_equal(opened(Cache(tmp_path / "cache", missing_seconds=0))[:], voxels)


def test_writes_go_through(source, opened, voxels):
    volume = opened(non_aligned_writes=True)
    volume[:]
    expected = voxels.copy()
    expected[10:50, 5:45, 3:40] = 7
    volume[5:45, 8:48, 11:48] = 7
    volume[[-5], [3], [8]] = 6
    expected[0, 0, 0] = 6
    before = asked(volume)
    np.testing.assert_array_equal(volume[:], expected)
    assert volume.cache.stats().misses <= 25
    np.testing.assert_array_equal(Volume(source.cloudpath)[:], expected)
    np.testing.assert_array_equal(Volume(volume.cache.path)[:], expected)
    assert asked(volume) <= before + 1
    volume.delete(volume.bounds)
    with pytest.raises(MissingChunkError):
        volume[:]
    assert volume.cache.num_files() == 0


def test_who_reads_while_somebody_writes_does_not_keep_what_was_there(source, opened, voxels, monkeypatch):
    """The old bytes arrive after the new ones were written: they are not taken."""
    reader, box = opened(), np.s_[-5:27, 3:35, 8:40]
    arrived, written = threading.Event(), threading.Event()
    put = reader.cache._mirror().put

    def late(key, value, expected):
        arrived.set()
        assert written.wait(10)
        put(key, value, expected)

    monkeypatch.setattr(reader.cache._mirror(), "put", late)
    thread = threading.Thread(target=lambda: reader[box])
    thread.start()
    assert arrived.wait(10)
    opened()[box] = 9
    written.set()
    thread.join()
    assert (np.asarray(opened(Cache(reader.cache._mirror().cache.path, revalidate="never"))[box]) == 9).all()


def test_the_budget_holds_and_what_was_not_used_goes_first(tmp_path, opened, voxels, monkeypatch):
    monkeypatch.setattr("volumekit.cache.index._FRESH", 0.0)
    chunk = 32**3
    volume = opened(Cache(tmp_path / "cache", max_bytes=6 * chunk))
    for _ in range(2):
        np.testing.assert_array_equal(volume[:], voxels)
    files = [path for path in (tmp_path / "cache").rglob("*-*_*-*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 6 * chunk
    volume.cache.flush()
    volume.cache._mirror().flush_touched()
    first, second = np.s_[-5:27, 3:35, 8:40], np.s_[27:59, 3:35, 8:40]
    volume[first]
    volume[second]
    volume[first]
    volume.cache._mirror().flush_touched()
    volume[:, 35:67, 8:40]
    volume[59:91, 3:35, 8:40]
    before = volume.cache.stats().misses
    volume[first]
    assert volume.cache.stats().misses == before
    volume[second]
    assert volume.cache.stats().misses == before + 1


def test_flushing(source, opened, voxels):
    coarse = np.random.default_rng(2).integers(1, 255, source.mip_shape(1), np.uint8)
    Volume(source.cloudpath, 1)[:] = coarse
    volume = opened()
    volume[:]
    volume.mip = 1
    volume[:]
    counts = volume.cache.num_files(mip=0), volume.cache.num_files(), volume.cache.num_files(all_mips=True)
    assert counts == (24, 4, 28)
    assert volume.cache.num_bytes(mip=0) == voxels.nbytes
    assert volume.cache.num_bytes(all_mips=True) == voxels.nbytes + coarse.nbytes
    volume.cache.flush_region(Bbox((-5, 3, 8), (0, 10, 12)), mips=[1])
    assert (volume.cache.num_files(mip=0), volume.cache.num_files(mip=1)) == (24, 3)
    volume.cache.flush_region(np.s_[-5:28, 3:4, 8:9])
    assert (volume.cache.num_files(mip=0), volume.cache.num_files(mip=1)) == (22, 3)
    volume.cache.flush(preserve=Bbox((50, 50, 40), (95, 73, 58)))
    kept = {*volume.cache.list(mip=0), *volume.cache.list(mip=1)}
    assert "1_1_1/59-91_35-67_40-58" in kept
    assert "2_2_2/29-48_1-33_4-29" in {key for key in kept if key.startswith("2")}
    assert "1_1_1/-5-27_35-67_8-40" not in kept
    volume.cache.flush()
    assert volume.cache.num_files(all_mips=True) == 0
    np.testing.assert_array_equal(volume[:], coarse)


def test_prefetch(opened, voxels):
    volume = opened()
    volume.cache.prefetch(np.s_[-5:60, 3:35, 8:40])
    assert volume.cache.num_files() == 3
    before = asked(volume)
    np.testing.assert_array_equal(volume[-5:60, 3:35, 8:40], voxels[:65, :32, :32])
    assert asked(volume) == before
    volume.cache.enabled = False
    with pytest.raises(OptionError, match="cache=True"):
        volume.cache.prefetch()


def test_enabling_and_where_it_is(source, tmp_path, monkeypatch):
    monkeypatch.setenv("VOLUMEKIT_CACHE_DIR", str(tmp_path / "usual"))
    volume = Volume(source.cloudpath)
    assert not volume.cache.enabled
    volume.cache.enabled = True
    volume[:]
    assert volume.cache.path.startswith(str(tmp_path / "usual/file"))
    assert volume.cache.num_files() == 24
    volume.cache.enabled = tmp_path / "other"
    assert volume.cache.path.startswith(str(tmp_path / "other"))
    assert volume.cache.num_files() == 0
    again = pickle.loads(pickle.dumps(Volume(source.cloudpath, cache=True)))
    assert again.cache.enabled
    assert again.cache.num_files() == 24
    for wrong in (3, "", object(), [1]):
        with pytest.raises(OptionError, match="cache"):
            Volume(source.cloudpath, cache=wrong)
    for wrong in ({"max_bytes": -1}, {"revalidate": "sometimes"}, {"missing_seconds": -1}, {"revalidate": -3}):
        with pytest.raises(OptionError, match="is"):
            Cache(**wrong)


def warned_once(volume, voxels, words):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(2):
            np.testing.assert_array_equal(volume()[:], voxels)
    return [str(w.message) for w in told if words in str(w.message)]


def test_a_directory_that_cannot_be_used(source, tmp_path, voxels):
    (tmp_path / "file").write_text("no directory")
    volume = Volume(source.cloudpath, cache=tmp_path / "file/cache")
    assert len(warned_once(lambda: volume, voxels, "cannot be used")) == 1
    assert volume.cache.num_files() == 0


def test_a_full_disk(source, tmp_path, voxels, monkeypatch):
    def full(*args, **how):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    volume = Volume(source.cloudpath, cache=tmp_path / "cache")
    assert len(warned_once(lambda: volume, voxels, "No space left")) == 1


@pytest.mark.parametrize("damage", [b"", b"garbage" * 1000, None])
def test_a_corrupted_account(source, opened, voxels, tmp_path, damage):
    volume = opened()
    volume[:]
    volume.cache._mirror().index._db.close()
    repair._open.clear()
    place = tmp_path / "cache" / "index.sqlite"
    for name in tmp_path.glob("cache/index.sqlite-*"):
        name.unlink()
    data = place.read_bytes()
    place.write_bytes(damage if damage is not None else data[:4096] + os.urandom(len(data) - 4096))
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.testing.assert_array_equal(opened()[:], voxels)
    repair._open.clear()


def test_leftovers_of_killed_processes_are_removed(opened, tmp_path):
    opened()[:]
    (tmp_path / "cache/.tmp/999999999-1").write_bytes(b"left")
    mine = tmp_path / f"cache/.tmp/{os.getpid()}-77777"
    mine.write_bytes(b"being written")
    opened()[:]
    assert [path.name for path in (tmp_path / "cache/.tmp").iterdir()] == [mine.name]


def test_processes_share_it(source, opened, tmp_path, voxels):
    opened()[:]
    code = (
        "import sys, numpy as np; from volumekit import Volume, Cache\n"
        "v = Volume(sys.argv[1], cache=Cache(sys.argv[2], revalidate='never'), progress=False)\n"
        "print(int(v[:].sum()))\n"
        "print(v.cache.stats().misses)"
    )
    out = subprocess.check_output(
        [sys.executable, "-c", code, source.cloudpath, str(tmp_path / "cache")],
        text=True,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert [int(n) for n in out.split()] == [voxels.sum(dtype=np.int64), 0]


def test_the_account_is_exact(tmp_path, opened, voxels):
    volume = opened(non_aligned_writes=True)
    volume[:]
    volume[0:5, 5:9, 10:12] = 3
    volume.cache.flush_region(np.s_[-5:28, 3:4, 8:9])
    index = Index(str(tmp_path / "cache"), 1 << 40)
    files = [p for p in Path(volume.cache.path).rglob("*_*-*") if p.is_file()]
    assert index.total() == sum(path.stat().st_size for path in files) == volume.cache.num_bytes()


def test_datasets_do_not_mix(tmp_path, voxels):
    one = Volume.from_numpy(voxels, tmp_path / "a/b", chunk_size=(32, 32, 32))
    two = Volume.from_numpy(255 - voxels, tmp_path / "a/b/c", chunk_size=(32, 32, 32))
    for _ in range(2):
        for volume, expected in ((one, voxels), (two, 255 - voxels)):
            found = Volume(volume.cloudpath, cache=tmp_path / "cache")
            np.testing.assert_array_equal(found[:], expected)


def test_readers_that_are_killed_harm_nobody(tmp_path):
    """A quick sample of the campaign."""
    cache_kills.create(tmp_path)
    outcome = cache_kills.run(tmp_path, seconds=2, readers=3, every=0.5)
    assert outcome.wrong == 0
    assert outcome.reads > 0
    assert outcome.kills > 0
    assert outcome.most <= cache_kills.BUDGET + 3 * cache_kills.CHUNK_BYTES


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_shards_are_kept_chunk_by_chunk(tmp_path, opened, voxels, encoding):
    how = {"chunk_size": (32, 32, 32), "encoding": encoding, "sharding": True, "overwrite": True}
    Volume.from_numpy(voxels, tmp_path / "remote", **how)
    volume = opened(non_aligned_writes=True)
    np.testing.assert_array_equal(volume[0:33, 0:10, 0:10], voxels[0:33, 0:10, 0:10])
    assert volume.cache.list() == ["1_1_1/0-32_0-32_0-32", "1_1_1/32-64_0-32_0-32"]
    volume[3:50, 4:60, 5:33] = 7
    expected = voxels.copy()
    expected[3:50, 4:60, 5:33] = 7
    for _ in range(2):
        np.testing.assert_array_equal(volume[:], expected)
    copy = Volume(volume.cache.path)
    assert "sharding" not in copy.scale
    np.testing.assert_array_equal(copy[:], expected)
    np.testing.assert_array_equal(Volume(tmp_path / "remote")[:], expected)


def test_shards_of_zarr_are_kept_chunk_by_chunk(tmp_path, voxels):
    layout = {"chunks": (20, 30, 50), "shards": (40, 60, 100), "dtype": "uint8"}
    zarr.create_array(tmp_path / "z", shape=voxels.shape[2::-1], **layout)[:] = voxels[..., 0].T
    volume = Volume(tmp_path / "z", cache=tmp_path / "cache", progress=False)
    for _ in range(2):
        np.testing.assert_array_equal(volume[...], voxels)
    assert volume.cache.stats().misses == volume.cache.num_files() == 2 * 3 * 3
    np.testing.assert_array_equal(Volume(volume.cache.path)[...], voxels)


def test_a_bucket(s3_bucket, tmp_path, voxels):
    Volume.from_numpy(voxels, f"{s3_bucket}/v", chunk_size=(32, 32, 32), compress="gzip", progress=False)
    cache = Cache(tmp_path / "cache")
    for _ in range(2):
        volume = Volume(f"{s3_bucket}/v", cache=cache, progress=False, non_aligned_writes=True)
        np.testing.assert_array_equal(volume[:], voxels)
    assert volume.cache.stats().misses == 0
    Volume(f"{s3_bucket}/v", non_aligned_writes=True, progress=False)[0:5, 0:5, 0:5] = 3
    voxels[:5, :5, :5] = 3
    again = Volume(f"{s3_bucket}/v", cache=cache, progress=False)
    np.testing.assert_array_equal(again[:], voxels)
    assert again.cache.stats().misses == 1


def test_a_web_server_without_etags_is_asked_again(web, tmp_path, voxels):
    """It cannot say whether something changed, so nothing of it is believed to be the same."""
    Volume.from_numpy(voxels, tmp_path / "v", chunk_size=(32, 32, 32), progress=False)
    for path in (tmp_path / "v").rglob("*"):
        if path.is_file():
            web.objects[f"v/{path.relative_to(tmp_path / 'v')}"] = path.read_bytes()
    cache = Cache(tmp_path / "cache")
    np.testing.assert_array_equal(Volume(f"{web.url}/v", cache=cache, progress=False)[:], voxels)
    web.objects["v/1_1_1/0-32_0-32_0-32"] = bytes([9]) * 32**3
    found = Volume(f"{web.url}/v", cache=cache, progress=False)[:32, :32, :32]
    assert (np.asarray(found) == 9).all()


def test_buckets_of_one_name_on_two_servers_do_not_mix(tmp_path, voxels):
    folders = []
    for n, fill in enumerate((voxels, 255 - voxels)):
        fs = DirFileSystem(str(tmp_path / str(n)), fs=fsspec.filesystem("file"))
        options = {"filesystem": fs}
        Volume.from_numpy(fill, "dir://brain/v", chunk_size=(32, 32, 32), storage_options=options, progress=False)
        how = {"cache": Cache(tmp_path / "cache", revalidate="never"), "storage_options": options, "progress": False}
        for _ in range(2):
            volume = Volume("dir://brain/v", **how)
            np.testing.assert_array_equal(volume[:], fill)
        folders.append(volume.cache.path)
    assert len(set(folders)) == 2


def test_servers_are_part_of_the_folder():
    url = parse_url("s3://bucket/v")
    names = set()
    for endpoint in (None, "http://one:9000", "http://two:9000"):
        names.add(folder_of(url, open_store(url, options={"anonymous": True, "endpoint": endpoint})))
    assert len(names) == 3
