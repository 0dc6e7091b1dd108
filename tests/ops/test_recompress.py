"""Chunks compressed otherwise where they are, while others read and write."""

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import volumekit
from tests.volume.sample import files, make
from volumekit import Volume
from volumekit.cli.main import run
from volumekit.codecs.compression import SUFFIXES, compress, decompress
from volumekit.errors import OptionError, ReadOnlyError, StorageError, TargetExistsError, UnsupportedError
from volumekit.storage.kvstore import KvStore
from volumekit.storage.suffix import SuffixStore

METHODS = [False, *SUFFIXES]
ROOT = Path(volumekit.__file__).parent.parent


def endings(folder):
    """Return the suffixes of all chunks, each once, and how many chunks there are."""
    names = [name for name in files(folder) if "/" in name and not name.startswith(".volumekit")]
    names = [name for name in names if not name.endswith("__lock")]  # which a killed writer leaves
    return {name.rpartition("/")[2].partition(".")[2] for name in names}, len(names)


def suffix(method):
    return SUFFIXES[method][1:] if method else ""


@pytest.mark.parametrize("before", METHODS)
@pytest.mark.parametrize("after", METHODS)
def test_every_change(tmp_path, before, after):
    volume, array = make(tmp_path, compress=before, max_mip=1, factor=(2, 2, 1))
    volume.mip = 1
    volume[:] = 7
    count = endings(tmp_path)[1]
    found = volumekit.recompress(tmp_path, after)
    assert endings(tmp_path) == ({suffix(after)}, count)
    np.testing.assert_array_equal(Volume(tmp_path)[:], array)
    assert (Volume(tmp_path, mip=1)[:] == 7).all()
    found.mip = 1
    found[:] = 8
    assert endings(tmp_path) == ({suffix(after)}, count)


def test_the_bytes_are_those_of_before(tmp_path):
    make(tmp_path, encoding="png", compress="gzip")
    key = "4_4_40/-5-11_7-23_100-108"
    before = decompress((tmp_path / f"{key}.gz").read_bytes(), "gzip")
    volumekit.recompress(tmp_path, "br")
    assert decompress((tmp_path / f"{key}.br").read_bytes(), "br") == before


def test_missing_chunks_stay_missing_and_other_mips_as_they_are(tmp_path):
    volume, _ = make(tmp_path, max_mip=1, factor=(2, 2, 1))
    volume.delete(np.s_[-5:11, 7:23, 100:108])
    volume.mip = 1
    volume[:] = 7
    volumekit.recompress(tmp_path, "zstd", mips=[0])
    names = files(tmp_path)
    assert not any(name.startswith("4_4_40/-5-11_7-23_100-108") for name in names)
    assert {name.partition(".")[2] for name in names if name.startswith("4_4_40/")} == {"zstd"}
    assert {name.partition(".")[2] for name in names if name.startswith("8_8_40/")} == {""}


def test_level_and_method_matter(tmp_path):
    make(tmp_path / "v", array=np.arange(32**3).reshape(32, 32, 32, 1).astype(np.uint32), chunk=(32, 32, 32))
    volumekit.recompress(tmp_path / "v", "gzip", compress_level=9)
    (chunk,) = (tmp_path / "v" / "4_4_40").iterdir()
    data = decompress(chunk.read_bytes(), "gzip")
    assert chunk.read_bytes() == compress(data, "gzip", 9)
    assert chunk.read_bytes() != compress(data, "gzip", 1)


@pytest.mark.parametrize("points", [False, True])
def test_chunks_that_are_compressed_just_before_they_are_merged(tmp_path, monkeypatch, points):
    _, array = make(tmp_path, array=np.random.default_rng(0).integers(1, 99, (40, 40, 24, 1)).astype(np.uint16))
    writer, variants = Volume(tmp_path, non_aligned_writes=True), SuffixStore.variants

    def listed(store):
        found = variants(store)
        monkeypatch.setattr(SuffixStore, "variants", variants)
        volumekit.recompress(tmp_path, "gzip", progress=False)
        return found

    monkeypatch.setattr(SuffixStore, "variants", listed)
    if points:
        writer[[0, 20], [10, 30], [103, 110]] = 500
        array[[5, 25], [3, 23], [3, 10]] = 500
    else:
        writer[0:30, :, 103] = 500
        array[5:35, :, 3] = 500
    np.testing.assert_array_equal(Volume(tmp_path)[:], array)


def test_readers_and_writers_in_the_meantime(tmp_path):
    _, array = make(
        tmp_path, chunk=(8, 8, 8), array=np.random.default_rng(0).integers(1, 99, (40, 40, 24, 1)).astype(np.uint16)
    )
    wrong, stop = [], threading.Event()
    plane = array.copy()
    plane[:, :, 5] = 500

    def read():
        reader = Volume(tmp_path)
        while not stop.is_set():
            try:
                found = np.asarray(reader[:])
                same = (found == array) | (found == plane)
                wrong.extend([] if same.all() else ["other voxels"])
            except Exception as error:
                wrong.append(error)

    def write():
        try:
            Volume(tmp_path, non_aligned_writes=True)[:, :, 105] = 500
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=read), threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    for method in ("gzip", "br", False, "zstd"):
        volumekit.recompress(tmp_path, method, jobs=2)
    threads[1].join()
    volumekit.recompress(tmp_path, "gzip", overwrite=True)
    stop.set()
    threads[0].join()
    assert wrong == []
    np.testing.assert_array_equal(Volume(tmp_path)[:], plane)
    assert endings(tmp_path)[0] == {"gz"}


# Going on


def test_it_goes_on_where_it_was_cut_off(tmp_path, monkeypatch):
    _, array = make(tmp_path)
    total, moved = endings(tmp_path)[1], []
    whole = SuffixStore.recompress

    def some(self, key):
        if len(moved) == 7:
            raise StorageError("the disk is gone")
        moved.append(key)
        return whole(self, key)

    monkeypatch.setattr("volumekit.ops.transfer.TASK_BYTES", 1)
    with monkeypatch.context() as patch:
        patch.setattr(SuffixStore, "recompress", some)
        with pytest.raises(StorageError, match="gone"):
            volumekit.recompress(tmp_path, "gzip", jobs=1)
    assert endings(tmp_path) == ({"", "gz"}, total)
    np.testing.assert_array_equal(Volume(tmp_path)[:], array)
    with pytest.raises(TargetExistsError, match="overwrite"):
        volumekit.recompress(tmp_path, "br")
    again = []
    monkeypatch.setattr(SuffixStore, "recompress", lambda self, key: again.append(key) or whole(self, key))
    volumekit.recompress(tmp_path, "gzip", jobs=1)
    assert set(again).isdisjoint(moved)
    assert endings(tmp_path) == ({"gz"}, total)
    again.clear()
    volumekit.recompress(tmp_path, "gzip")
    assert not again
    volumekit.recompress(tmp_path, "gzip", overwrite=True)
    assert len(again) == total
    volumekit.recompress(tmp_path, "br")
    assert endings(tmp_path) == ({"br"}, total)


@pytest.mark.parametrize(("before", "after"), [("gzip", "br"), ("br", "gzip"), (False, "gzip"), ("gzip", False)])
def test_both_variants_left_by_a_writer_that_was_killed(tmp_path, before, after):
    _, array = make(tmp_path, compress=before)
    stored = list((tmp_path / "4_4_40").iterdir())
    for path in stored[::2]:
        data = decompress(path.read_bytes(), before) if before else path.read_bytes()
        plain = path.name.partition(".")[0]
        (path.parent / (plain + SUFFIXES.get(after, ""))).write_bytes(compress(data, after) if after else data)
    volumekit.recompress(tmp_path, after)
    assert endings(tmp_path) == ({suffix(after)}, len(stored))
    np.testing.assert_array_equal(Volume(tmp_path)[:], array)


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    from volumekit.errors import NoSpaceError

    _, array = make(tmp_path)
    commit, calls = KvStore.commit, []

    def full(self, changes, if_match=None):
        calls.append(changes)
        if len(calls) > 5 and any(data is not None and name.endswith(".gz") for name, data in changes.items()):
            raise NoSpaceError("the disk is full")
        return commit(self, changes, if_match)

    with monkeypatch.context() as patch:
        patch.setattr(KvStore, "commit", full)
        with pytest.raises(NoSpaceError):
            volumekit.recompress(tmp_path, "gzip")
    np.testing.assert_array_equal(Volume(tmp_path)[:], array)
    volumekit.recompress(tmp_path, "gzip")
    np.testing.assert_array_equal(Volume(tmp_path)[:], array)
    assert endings(tmp_path)[0] == {"gz"}


# What cannot be


def test_what_is_not_compressed_chunk_by_chunk(tmp_path):
    array = np.ones((20, 20, 20), np.uint8)
    sharded = Volume.from_numpy(array, tmp_path / "s", sharding=True)
    for volume in (sharded, Volume.from_numpy(array, tmp_path / "v.zarr"), Volume.from_numpy(array, tmp_path / "v.n5")):
        with pytest.raises(UnsupportedError, match="convert"):
            volumekit.recompress(volume, "gzip")
    volume = Volume.from_numpy(array, "memory://recompressed")
    volumekit.recompress(volume, "gzip")
    np.testing.assert_array_equal(Volume("memory://recompressed")[..., 0], array)


def test_wrong_wishes(tmp_path):
    volume, _ = make(tmp_path)
    for method in ("zip", None, 7):
        with pytest.raises(OptionError):
            volumekit.recompress(volume, method)
    volume._redirected = True
    with pytest.raises(ReadOnlyError):
        volumekit.recompress(volume, "gzip")
    assert endings(tmp_path)[0] == {""}
    assert not (tmp_path / ".volumekit").exists()


# The command


def test_the_command(tmp_path, capsys):
    _, array = make(tmp_path)
    convert = functools.partial(run)
    assert convert(["convert", str(tmp_path), "--compress", "gzip", "--quiet"]) == 0
    assert "gzip" in capsys.readouterr().out
    assert endings(tmp_path)[0] == {"gz"}
    assert convert(["convert", str(tmp_path), "--compress", "gzip", "--quiet"]) == 0
    assert convert(["convert", str(tmp_path), "--compress", "none", "--quiet", "--jobs", "1"]) == 0
    assert endings(tmp_path)[0] == {""}
    np.testing.assert_array_equal(Volume(tmp_path)[:], array)


@pytest.mark.parametrize(
    "options", [[], ["--compress", "zip"], ["--compress", "gzip", "--mips", "1"], ["--encoding", "png"]]
)
def test_wrong_commands(tmp_path, options, capsys):
    make(tmp_path)
    assert run(["convert", str(tmp_path), *options, "--quiet"]) == 2
    assert "--" in capsys.readouterr().err
    assert endings(tmp_path)[0] == {""}


KILLED = "import sys, volumekit; volumekit.recompress(sys.argv[1], sys.argv[2], jobs=2, progress=False)"


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_killed_at_any_moment(tmp_path):
    array = np.random.default_rng(0).integers(0, 999, (64, 64, 32, 1)).astype(np.uint16)
    make(tmp_path / "v", array=array, chunk=(8, 8, 8), compress="gzip")
    total, killed = endings(tmp_path / "v")[1], 0
    for method, moved in (("br", 10), (False, 150)):
        command = [sys.executable, "-c", KILLED, str(tmp_path / "v"), method or ""]
        job = subprocess.Popen(command, cwd=ROOT)
        folder, wanted = tmp_path / "v" / "4_4_40", SUFFIXES.get(method, "")
        while job.poll() is None and sum(path.suffix == wanted for path in folder.iterdir()) < moved:
            time.sleep(0.005)
        job.kill()
        killed += job.wait() == -signal.SIGKILL
        np.testing.assert_array_equal(Volume(tmp_path / "v")[:], array)
        volumekit.recompress(tmp_path / "v", method)
        assert endings(tmp_path / "v") == ({suffix(method)}, total)
        np.testing.assert_array_equal(Volume(tmp_path / "v")[:], array)
    assert killed
