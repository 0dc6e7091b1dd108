"""Writing through a disk cache: the storage first, and the cache never shows what was there before."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from tests.cache.conftest import asked
from volumekit import Cache, Volume
from volumekit.errors import MissingChunkError, StorageError
from volumekit.storage.wrap import FaultyStore

FIRST = np.s_[-5:27, 3:35, 8:40]


@pytest.mark.parametrize("lru_bytes", [0, 10**8])
def test_writes_go_through(source, opened, voxels, lru_bytes):
    volume = opened(non_aligned_writes=True, lru_bytes=lru_bytes)
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


def test_what_was_written_need_not_be_fetched(opened, voxels):
    volume = opened()
    volume[:] = 255 - voxels
    again = opened()
    np.testing.assert_array_equal(again[:], 255 - voxels)
    assert again.cache.stats().misses == volume.cache.stats().misses == 0


def test_points_are_merged_with_what_is_stored_now(source, opened, tmp_path):
    """The cache need not ask, and so does not know; the voxels around are kept nevertheless."""
    volume = opened(Cache(tmp_path / "cache", revalidate="never"), non_aligned_writes=True)
    volume[:]
    source[FIRST] = 9
    volume[[-5], [3], [8]] = 6
    volume[-4:-3, 3:4, 8:9] = 5
    found = np.asarray(Volume(source.cloudpath)[FIRST])
    assert found[0, 0, 0] == 6
    assert found[1, 0, 0] == 5
    assert (found.ravel() == 9).sum() == found.size - 2


def test_who_reads_while_somebody_writes_does_not_keep_what_was_there(opened, monkeypatch):
    """The old bytes arrive after the new ones were written: they are not taken."""
    reader = opened()
    mirror = reader._mirror()
    arrived, written = threading.Event(), threading.Event()
    put = mirror.put

    def late(key, value, expected):
        arrived.set()
        assert written.wait(10)
        return put(key, value, expected)

    monkeypatch.setattr(mirror, "put", late)
    thread = threading.Thread(target=lambda: reader[FIRST])
    thread.start()
    assert arrived.wait(10)
    opened()[FIRST] = 9
    written.set()
    thread.join()
    assert (np.asarray(opened(Cache(mirror.cache.path, revalidate="never"))[FIRST]) == 9).all()


def test_who_reads_during_a_write_does_not_keep_what_it_read(opened, tmp_path, monkeypatch):
    """Whether it read the old bytes or the new ones, nobody knows."""
    cache = Cache(tmp_path / "cache", revalidate="never")
    reader = opened(cache)
    writer = opened(cache)
    real = writer._store.commit

    def commit(changes, if_match=None):
        reader[FIRST]
        return real(changes, if_match)

    monkeypatch.setattr(writer._store, "commit", commit)
    writer[FIRST] = 9
    assert (np.asarray(reader[FIRST]) == 9).all()
    assert (np.asarray(opened(cache)[FIRST]) == 9).all()


def test_a_write_that_fails_leaves_nothing_in_the_cache(source, opened, tmp_path, voxels):
    volume = opened(Cache(tmp_path / "cache", revalidate="never"))
    volume[:]
    real = volume._store
    volume._store = FaultyStore(real, lambda operation, key: StorageError("no") if operation == "write" else None)
    volume._forget()
    with pytest.raises(StorageError):
        volume[FIRST] = 9
    np.testing.assert_array_equal(volume[:], voxels)


def test_a_dataset_that_is_replaced(source, tmp_path, opened, voxels):
    cache = Cache(tmp_path / "cache", revalidate="never")
    opened(cache)[:]
    small = 255 - voxels[:50]
    Volume.from_numpy(
        small, source.cloudpath, chunk_size=(32, 32, 32), voxel_offset=(-5, 3, 8), overwrite=True, cache=cache
    )
    again = opened(cache)
    np.testing.assert_array_equal(again[:], small)
    np.testing.assert_array_equal(Volume(again.cache.path)[:], small)


def test_the_mirror_has_the_info_that_was_committed(opened):
    volume = opened()
    volume[:]
    volume.add_scale((4, 4, 4))
    volume.commit_info()
    volume.provenance.description = "new"
    volume.commit_provenance()
    assert len(Volume(volume.cache.path).scales) == 3
    volume.mip = 2
    volume[:] = 3
    assert (np.asarray(Volume(volume.cache.path, mip=2)[:]) == 3).all()
    remembered = Path(volume.cache.path) / ".volumekit/metadata"
    assert b'"new"' in (remembered / "provenance.value").read_bytes()
    assert (remembered / "info.value").read_bytes() == Path(volume._url.path, "info").read_bytes()
