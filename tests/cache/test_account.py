"""The account of a cache directory: exact, within its budget, and shared."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.cache.conftest import CHUNKS
from volumekit import Cache
from volumekit.cache import files
from volumekit.cache.entry import CHANGING, MISSING, ROW_BYTES, Entry, new_name
from volumekit.cache.index import Index

CHUNK = 32**3
FIRST, SECOND = np.s_[-5:27, 3:35, 8:40], np.s_[27:59, 3:35, 8:40]


@pytest.fixture
def index(tmp_path):
    return Index(str(tmp_path / "cache"), 10_000)


def store(index, number, sizes, expected=None):
    """Put objects into a directory, as fetching them does."""
    entries = {key: Entry(size, new_name(), key.encode(), 0, time.time()) for key, size in sizes.items()}
    taken = index.reserve(number, entries, expected)
    written = {key: (entries[key], files.write(index.directory, entries[key], bytes(sizes[key]))) for key in taken}
    return index.arrive(number, written)


def held(index):
    """Return the sizes of all files there, by key or by name while they are on their way."""
    found = {}
    for path in Path(index.directory).rglob("*"):
        if path.is_file() and not path.name.startswith("index"):
            found[str(path.relative_to(index.directory))] = path.stat().st_size
    return found


def test_what_was_not_used_for_longest_goes_first(index):
    number = index.dataset("d")
    for key in "abcd":
        store(index, number, {key: 2500})
    index.touch(number, ["a"])
    store(index, number, {"e": 4000})
    assert set(held(index)) == {"d/a", "d/d", "d/e"}
    assert index.total() == 9000


def test_the_budget_holds_at_every_moment(index, monkeypatch):
    number, most = index.dataset("d"), []
    real = files.write

    def write(*args):
        most.append(sum(held(index).values()) + len(args[2]))
        return real(*args)

    monkeypatch.setattr(files, "write", write)
    for n in range(40):
        store(index, number, {f"{n % 13}/{m}": 700 + 10 * n for m in range(3)})
    assert max(most) <= 10_000
    assert sum(held(index).values()) == index.total() > 5000


def test_an_object_larger_than_the_budget_is_not_kept(index):
    number = index.dataset("d")
    store(index, number, {"a": 5000})
    assert store(index, number, {"a": 10_001}) == {}
    assert held(index) == {}
    assert index.total() == 0


def test_whoever_is_killed_leaves_nothing_that_nobody_counts(index):
    number = index.dataset("d")
    reserved = Entry(4000, new_name(), b"", 0, 0.0)
    index.reserve(number, {"a": reserved})
    files.write(index.directory, reserved, bytes(4000))
    moved = Entry(4000, new_name(), b"", 0, 0.0)
    index.reserve(number, {"b": moved})
    files.write(index.directory, moved, bytes(4000))
    files.move(index.directory, "d", "b", moved)
    assert sum(held(index).values()) == index.total() == 8000
    store(index, number, {"c": 9000})
    assert held(index) == {"d/c": 9000}


def test_whoever_was_too_slow_does_not_bring_back_what_was_evicted(index):
    number = index.dataset("d")
    slow = {"a": Entry(4000, new_name(), b"", 0, 0.0)}
    index.reserve(number, slow)
    store(index, number, {"b": 9000})
    written = {"a": (slow["a"], files.write(index.directory, slow["a"], bytes(4000)))}
    assert index.arrive(number, written) == {}
    assert held(index) == {"d/b": 9000}


def test_two_who_fetch_the_same_do_not_get_into_each_others_way(index):
    number = index.dataset("d")
    one, two = ({"a": Entry(size, new_name(), b"", 0, 0.0)} for size in (100, 200))
    for entries in (one, two):
        index.reserve(number, entries)
    for entries in (two, one):
        file = files.write(index.directory, entries["a"], bytes(entries["a"].size))
        index.arrive(number, {"a": (entries["a"], file)})
    assert held(index) == {"d/a": 200}
    assert index.get(number, ["a"])["a"].size == index.total() == 200


def test_what_is_not_stored_does_not_pile_up(index):
    number = index.dataset("d")
    for n in range(200):
        index.reserve(number, {f"k{n}": Entry(MISSING, 0, b"", 0, time.time())})
    assert len(index.everything(number)) == 10_000 // ROW_BYTES
    assert index.total() <= 10_000
    assert index.folders() == {"d": (number, 0, 0)}


def test_who_is_writing_is_not_forgotten(index):
    number = index.dataset("d")
    marks = index.changing(number, ["a"])
    store(index, number, {"b": 9000})
    assert index.get(number, ["a"])["a"].size == CHANGING
    assert store(index, number, {"a": 10}, {"a": None}) == {}
    assert set(store(index, number, {"a": 10}, marks)) == {"a"}


def test_prefixes(index):
    number = index.dataset("d")
    store(index, number, dict.fromkeys(("a/1", "a/ü", "a/\U0010fffe", "b/1", "ab"), 1))
    assert set(index.everything(number, "a/")) == {"a/1", "a/ü", "a/\U0010fffe"}
    assert len(index.everything(number)) == 5


def test_names_that_cannot_be(index):
    """A file where there is a folder, a folder where there is a file, a name too long: the others are kept."""
    number = index.dataset("d")
    names = ["a/1", "a", "a/1/x", "ab", "x" * 300, "y/" + "x" * 300]
    for part in (names, names[::-1]):
        kept = store(index, number, dict.fromkeys(part, 10))
        assert len(held(index)) == index.total() / 10 == len(index.everything(number)) == 2
        assert "ab" in kept
        index.forget(number, names)
        assert held(index) == {}


def test_many_may_open_a_new_directory_at_once(tmp_path):
    found, gate = [], threading.Barrier(8)

    def use():
        gate.wait()
        index = Index(str(tmp_path / "cache"), 10_000)
        found.append(index.dataset("d"))
        store(index, found[-1], {f"{threading.get_ident()}": 100})

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 8
    assert Index(str(tmp_path / "cache"), 10_000).total() == 800


def test_a_forked_child_may_look(index):
    """What it inherits is not touched."""
    number = index.dataset("d")
    store(index, number, {"a": 100})
    child = os.fork()
    if child == 0:
        os._exit(int(index.total() == 100 and "a" in index.get(number, ["a"])))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    store(index, number, {"b": 100})
    assert index.total() == 200


def test_the_budget_of_a_volume(tmp_path, opened, voxels):
    volume = opened(Cache(tmp_path / "cache", max_bytes=6 * CHUNK))
    for _ in range(2):
        np.testing.assert_array_equal(volume[:], voxels)
        assert volume.cache.num_bytes() <= 6 * CHUNK
    volume.cache.flush()
    volume[FIRST]
    volume[SECOND]
    volume[FIRST]
    volume[:, 35:67, 8:40]
    volume[59:91, 3:35, 8:40]
    before = volume.cache.stats().misses
    volume[FIRST]
    assert volume.cache.stats().misses == before
    volume[SECOND]
    assert volume.cache.stats().misses == before + 1


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK])
def test_tiny_budgets(tmp_path, opened, voxels, size):
    volume = opened(Cache(tmp_path / "cache", max_bytes=size))
    for _ in range(2):
        np.testing.assert_array_equal(volume[:], voxels)
        assert volume.cache.num_bytes() <= size


def test_the_account_is_exact(tmp_path, opened, voxels):
    volume = opened(non_aligned_writes=True)
    volume[:]
    volume[0:5, 5:9, 10:12] = 3
    volume.cache.flush_region(np.s_[-5:28, 3:4, 8:9])
    index = Index(str(tmp_path / "cache"), 1 << 40)
    sizes = [p.stat().st_size for p in Path(volume.cache.path).rglob("*_*-*") if p.is_file()]
    assert index.total() == sum(sizes) == volume.cache.num_bytes()
    assert len(sizes) == CHUNKS - 2


def test_coarse_clocks_of_filesystems(opened, voxels, monkeypatch):
    """Some keep whole seconds only."""
    real = os.utime
    monkeypatch.setattr(os, "utime", lambda file, ns: real(file, ns=tuple(n // 10**9 * 10**9 for n in ns)))
    volume = opened()
    for _ in range(2):
        np.testing.assert_array_equal(volume[:], voxels)
    assert volume.cache.stats().misses == CHUNKS
