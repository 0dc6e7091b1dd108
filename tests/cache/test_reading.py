"""Reading through a disk cache: the right voxels, and a second time without asking the storage."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cache.conftest import CHUNKS, SHAPE, asked, paths
from volumekit import Cache, Volume
from volumekit.errors import CorruptChunkError, MissingChunkError

ROOT = Path(__file__).parent.parent.parent
FIRST = np.s_[-5:27, 3:35, 8:40]


@pytest.mark.parametrize(
    ("encoding", "dtype", "compress"),
    [
        ("raw", "uint8", None),
        ("raw", "uint16", "gzip"),
        ("png", "uint8", None),
        ("compressed_segmentation", "uint32", None),
        ("kempressed", "float32", "br"),
    ],
)
@pytest.mark.parametrize("lru_bytes", [0, 10**8])
def test_a_second_read_asks_for_nothing(tmp_path, opened, encoding, dtype, compress, lru_bytes):
    voxels = np.random.default_rng(1).integers(1, 255, SHAPE).astype(dtype)
    Volume.from_numpy(
        voxels, tmp_path / "remote", chunk_size=(32, 32, 32), encoding=encoding, overwrite=True, compress=compress
    )
    volume = opened(lru_bytes=lru_bytes)
    for _ in range(2):
        np.testing.assert_array_equal(volume[:], voxels)
    assert asked(volume) > 0
    before = asked(volume)
    np.testing.assert_array_equal(volume[10:60, 3:40, 7:31], voxels[10:60, 3:40, 7:31])
    np.testing.assert_array_equal(volume[::7, ::33, ::-1], voxels[::7, ::33, ::-1])
    np.testing.assert_array_equal(volume[[1, 50], [2, 60], [3, 40]], voxels[[1, 50], [2, 60], [3, 40]])
    np.testing.assert_array_equal(asyncio.run(volume.read_async(np.s_[:, :, 3:4])), voxels[:, :, 3:4])
    assert asked(volume) == before
    assert volume.cache.stats().misses == CHUNKS
    assert volume.cache.num_files() == CHUNKS


def test_what_is_not_there_is_fetched_with_what_is(opened, voxels):
    volume = opened()
    volume[FIRST]
    volume[59:91, 35:67, 8:40]
    np.testing.assert_array_equal(volume[:], voxels)
    assert volume.cache.stats().misses == CHUNKS
    assert volume.cache.stats().missed_bytes == voxels.nbytes


def test_the_mirror_opens_by_itself(opened, voxels):
    volume = opened()
    volume[:]
    copy = Volume(volume.cache.path)
    np.testing.assert_array_equal(copy[:], voxels)
    assert copy.provenance.serialize()
    assert Path(volume.cache.path).name == "remote"


@pytest.mark.parametrize(
    ("revalidate", "noticed"), [("open", True), ("always", True), ("never", False), (0, True), (3600.0, False)]
)
def test_what_changed_is_noticed_when_it_is_looked_for(source, opened, tmp_path, revalidate, noticed):
    cache = Cache(tmp_path / "cache", revalidate=revalidate)
    opened(cache)[:]
    source[FIRST] = 9
    found = opened(cache)[FIRST]
    assert bool((np.asarray(found) == 9).all()) == noticed


def test_the_memory_cache_before_it_notices_changes_too(source, opened, tmp_path):
    volume = opened(Cache(tmp_path / "cache", revalidate="always"), lru_bytes=10**8)
    volume[:]
    for value in (9, 10):
        source[FIRST] = value
        assert (np.asarray(volume[FIRST]) == value).all()


def test_open_compares_each_chunk_once(opened):
    opened()[:]
    volume = opened()
    for _ in range(2):
        volume[:]
        assert asked(volume) == CHUNKS
    assert volume._store.counts.bytes_read == 0


def test_a_clock_that_was_ahead_does_no_harm(source, opened, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("volumekit.cache.arrivals.time.time", lambda: 1e11)
        opened()[:]
    source[FIRST] = 9
    assert (np.asarray(opened()[FIRST]) == 9).all()


def test_chunks_that_are_evicted_between_the_check_and_the_read_are_never_filled(opened, voxels, monkeypatch):
    """Also where a missing chunk is to be filled."""
    for fill in (False, True):
        volume = opened(fill_missing=fill)
        volume[:]
        mirror = volume._mirror()
        real = mirror.holds

        def holds(keys, real=real, volume=volume):
            held = real(keys)
            for path in paths(volume):
                path.unlink()
            return held

        monkeypatch.setattr(mirror, "holds", holds)
        np.testing.assert_array_equal(volume[:], voxels)


def test_missing_chunks_follow_the_volume_and_are_remembered_for_a_while(tmp_path, opened, voxels):
    gone = tmp_path / "remote/1_1_1/-5-27_3-35_8-40"
    data = gone.read_bytes()
    gone.unlink()
    long = Cache(tmp_path / "cache", missing_seconds=3600)
    for volume in (opened(long), opened(long, fill_missing=False)):
        with pytest.raises(MissingChunkError):
            volume[:]
    filled = opened(long, fill_missing=True)
    assert not np.asarray(filled[FIRST]).any()
    before = asked(filled)
    assert not np.asarray(filled[FIRST]).any()
    assert asked(filled) == before
    gone.write_bytes(data)
    assert not np.asarray(filled[FIRST]).any()
    np.testing.assert_array_equal(opened(Cache(tmp_path / "cache", missing_seconds=0))[:], voxels)


def test_damage_in_the_storage_is_an_error(tmp_path, opened):
    volume = opened()
    next((tmp_path / "remote/1_1_1").iterdir()).write_bytes(b"damaged")
    for _ in range(2):
        with pytest.raises(CorruptChunkError):
            volume[:]


def test_datasets_do_not_mix(tmp_path, voxels):
    one = Volume.from_numpy(voxels, tmp_path / "a/b", chunk_size=(32, 32, 32))
    two = Volume.from_numpy(255 - voxels, tmp_path / "a/b/c", chunk_size=(32, 32, 32))
    for _ in range(2):
        for volume, expected in ((one, voxels), (two, 255 - voxels)):
            found = Volume(volume.cloudpath, cache=tmp_path / "cache", cache_revalidate="never")
            np.testing.assert_array_equal(found[:], expected)


def test_processes_share_it(source, opened, tmp_path, voxels):
    opened()[:]
    code = (
        "import sys, numpy as np; from volumekit import Volume, Cache\n"
        "v = Volume(sys.argv[1], cache=Cache(sys.argv[2], revalidate='never'), progress=False)\n"
        "print(int(v[:].sum()))\n"
        "print(v.cache.stats().misses)"
    )
    command = [sys.executable, "-c", code, source.cloudpath, str(tmp_path / "cache")]
    out = subprocess.check_output(command, text=True, cwd=ROOT)
    assert [int(n) for n in out.split()] == [voxels.sum(dtype=np.int64), 0]


def test_reports_come_from_the_storage(source, opened):
    volume = opened(Cache(opened().cache._chosen.path, revalidate="never"))
    volume[:]
    source.delete(np.s_[-5:27, 3:35, 8:40])
    assert sum(volume.exists().values()) == CHUNKS - 1
