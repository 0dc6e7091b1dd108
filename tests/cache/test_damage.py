"""Cache directories that are damaged, full, or of no use: the voxels are right all the same."""

from __future__ import annotations

import os
import sqlite3
import warnings
from pathlib import Path

import numpy as np
import pytest

from tests.cache.conftest import CHUNKS, paths
from volumekit import Cache, Volume
from volumekit.cache import files, repair
from volumekit.cache.entry import Entry
from volumekit.cache.index import Index

FIRST = np.s_[-5:27, 3:35, 8:40]


def warned(read, voxels, words, times=2):
    """Read a few times; return the warnings with these words."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(times):
            np.testing.assert_array_equal(read(), voxels)
    assert all(issubclass(w.category, RuntimeWarning) for w in told)
    return [str(w.message) for w in told if words in str(w.message)]


@pytest.mark.parametrize("damage", ["cut", "longer", "changed", "gone", "a folder", "unreadable"])
def test_damaged_entries_are_fetched_again(opened, voxels, damage):
    volume = opened()
    volume[:]
    path = paths(volume)[0]
    state, data = path.stat(), path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage == "unreadable":
        path.symlink_to("/proc/self/mem")
    elif damage != "gone":
        path.write_bytes({"cut": data[:100], "longer": data + b"x", "changed": bytes(len(data))}[damage])
        if damage != "changed":
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    np.testing.assert_array_equal(volume[:], voxels)
    assert volume.cache.stats().misses == CHUNKS + 1
    np.testing.assert_array_equal(opened()[:], voxels)
    assert volume._mirror().index.total() == sum(path.stat().st_size for path in paths(volume))


@pytest.mark.parametrize("lru_bytes", [0, 10**8])
@pytest.mark.parametrize("how", ["box", "points"])
def test_what_does_not_decode_is_fetched_again(tmp_path, opened, voxels, how, lru_bytes):
    """Its size and time are as noted, so that only decoding shows it."""
    Volume.from_numpy(
        voxels, tmp_path / "remote", chunk_size=(32, 32, 32), voxel_offset=(-5, 3, 8), encoding="png", overwrite=True
    )
    volume = opened(lru_bytes=lru_bytes)
    volume.cache.prefetch()
    for path in paths(volume):
        state, data = path.stat(), path.read_bytes()
        path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    if how == "box":
        np.testing.assert_array_equal(volume[:], voxels)
        np.testing.assert_array_equal(opened()[:], voxels)
    else:
        np.testing.assert_array_equal(volume[[-5, 60], [3, 50], [8, 50]], voxels[[0, 65], [0, 47], [0, 42]])


def test_verify_finds_what_looks_right(opened, voxels):
    volume = opened()
    volume[:]
    path = paths(volume)[3]
    state = path.stat()
    path.write_bytes(bytes(state.st_size))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert not np.array_equal(volume[:], voxels)
    mirror = volume._mirror()
    assert repair.verify(mirror.index, mirror.folder) == [f"1_1_1/{path.name}"]
    assert repair.verify(mirror.index, mirror.folder) == []
    np.testing.assert_array_equal(volume[:], voxels)


def test_a_directory_that_cannot_be_used(source, tmp_path, voxels):
    (tmp_path / "file").write_text("no directory")
    volume = Volume(source.cloudpath, cache=tmp_path / "file/cache")
    assert len(warned(lambda: volume[:], voxels, "cannot be used")) == 1
    assert volume.cache.num_files(all_mips=True) == [0, 0]
    volume.cache.flush()
    volume.cache.prefetch()


@pytest.mark.parametrize("what", ["files", "account"])
def test_a_directory_that_may_not_be_written(opened, voxels, monkeypatch, what):
    """As root may do anything, the system calls say so instead."""
    opened()[FIRST]
    volume = opened()
    if what == "files":
        real = os.open

        def refused(path, flags, *args, **how):
            if flags & os.O_CREAT and files.COMING in str(path):
                raise PermissionError(13, "Permission denied")
            return real(path, flags, *args, **how)

        monkeypatch.setattr(os, "open", refused)
    else:
        volume._mirror().index._db.execute("PRAGMA query_only = ON")
    try:
        assert len(warned(lambda: volume[:], voxels, "cannot be used")) == 1
    finally:
        volume._mirror()._index._db.execute("PRAGMA query_only = OFF")


def test_a_full_disk(opened, voxels, monkeypatch):
    def full(file, data):
        raise OSError(28, "No space left on device")

    volume = opened()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert len(warned(lambda: volume[:], voxels, "No space left")) == 1
    index = volume._mirror()._index
    assert index.total() == 0
    assert list((Path(index.directory) / files.COMING).iterdir()) == []
    np.testing.assert_array_equal(opened()[:], voxels)


def test_a_full_disk_for_the_account(opened, voxels):
    volume = opened()
    db = volume._mirror().index._db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")
    try:
        assert len(warned(lambda: volume[:], voxels, "is full")) <= 1
    finally:
        db.execute("PRAGMA max_page_count = 1000000000")
    np.testing.assert_array_equal(opened()[:], voxels)


@pytest.mark.parametrize("damage", ["empty", "no database", "its pages", "one page", "of another version"])
def test_a_damaged_account(opened, voxels, tmp_path, damage):
    """It is made anew, at the latest when a dataset is opened the next time."""
    volume = opened()
    volume[:]
    index = volume._mirror().index
    index._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    index.close()
    repair._open.clear()
    data = index.path.read_bytes()
    if damage == "of another version":
        db = sqlite3.connect(index.path)
        db.execute("PRAGMA user_version = 99")
        db.commit()
        db.close()
    else:
        texts = {
            "empty": b"",
            "no database": b"garbage" * 1000,
            "its pages": data[:4096] + os.urandom(len(data) - 4096),
            "one page": data[:8192] + os.urandom(4096) + data[12288:],
        }
        index.path.write_bytes(texts[damage])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        np.testing.assert_array_equal(opened()[:], voxels)
    volume = opened()
    for _ in range(2):
        np.testing.assert_array_equal(volume[:], voxels)
    before = volume.cache.stats().misses
    np.testing.assert_array_equal(volume[:], voxels)
    assert volume.cache.stats().misses == before
    assert volume._mirror().index.total() == voxels.nbytes
    repair._open.clear()


def test_damage_that_shows_while_reading(opened, voxels):
    volume = opened()
    volume[:]
    index = volume._mirror().index
    index._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with index.path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(index.path.stat().st_size - 4096))
    index._db.execute("PRAGMA cache_size = 0")
    other = opened()
    assert len(warned(lambda: other[:], voxels, "cannot be used")) <= 1
    np.testing.assert_array_equal(opened()[:], voxels)


def test_files_without_an_account_count(tmp_path, opened, voxels):
    """Somebody removed the account, or copied the files."""
    opened()[:]
    directory = tmp_path / "cache"
    for path in directory.glob("index*"):
        path.unlink()
    (directory / files.COMING / "77").write_bytes(b"of a process that was killed")
    index = Index(str(directory), 1 << 40)
    assert index.total() == voxels.nbytes
    assert list((directory / files.COMING).iterdir()) == []
    index = Index(str(directory), 5 * 32**3)
    assert index.reserve(index.dataset("other"), {"key": Entry(1000, -7, b"", 0, 0.0)}) == {"key"}
    left = [path for path in directory.rglob("*-*_*-*") if path.is_file()]
    assert sum(path.stat().st_size for path in left) <= 5 * 32**3 - 1000


def test_a_directory_of_other_things_is_left_alone(source, tmp_path, voxels):
    other = tmp_path / "cache/other/.volumekit"
    other.mkdir(parents=True)
    (other.parent / "precious").write_bytes(b"data")
    volume = Volume(source.cloudpath, cache=Cache(tmp_path / "cache", max_bytes=2 * 32**3))
    np.testing.assert_array_equal(volume[:], voxels)
    assert (other.parent / "precious").read_bytes() == b"data"


def test_a_directory_that_is_removed_meanwhile(opened, tmp_path, voxels):
    import shutil

    volume = opened()
    volume[FIRST]
    shutil.rmtree(tmp_path / "cache")
    for _ in range(2):
        np.testing.assert_array_equal(volume[:], voxels)
    again = opened()
    np.testing.assert_array_equal(again[:], voxels)
    again[:]
    assert again.cache.stats().misses == CHUNKS
