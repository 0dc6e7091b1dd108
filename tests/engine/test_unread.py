"""Chunks of levels that nobody reads yet: the same bytes as ever, without temporary files."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from volumekit import Volume
from volumekit.engine import compiled_files
from volumekit.engine.chunk_files import ChunkFiles, fills_files, write_files
from volumekit.engine.drive import run
from volumekit.engine.unread import write_unread, writes_plainly
from volumekit.errors import NoSpaceError, PermissionDeniedError, StorageError, VolumekitError
from volumekit.storage import files

LOW, SHAPE = (-3, 5, 8), (37, 30, 21)


def volume(folder, dtype="uint8", channels=1, encoding="raw", **how):
    info = Volume.create_new_info(channels, "image", dtype, encoding, (4, 4, 40), LOW, SHAPE, chunk_size=(16, 8, 8))
    return Volume(folder, info=info, progress=False, **how)


def voxels(array):
    shape = array.level.shape
    return np.random.default_rng(1).integers(0, 100, shape).astype(array.level.dtype)


def ends(array):
    return (*array.level.offset, 0), (*array.level.end, array.level.channels)


def stored(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dtype": "uint16", "channels": 3},
        {"dtype": "float32"},
        {"dtype": "uint64", "compress": "gzip"},
        {"compress": False},
        {"delete_black_uploads": True},
        {"encoding": "png"},
        {"durable": True},
    ],
    ids=str,
)
def test_the_bytes_are_the_same(tmp_path, options, order):
    made = [volume(tmp_path / name, **options).array(0) for name in "ab"]
    data, told = np.asarray(voxels(made[0]), order=order), []
    data[:, :16] = 0
    write_unread(made[0], *ends(made[0]), data, progress=told.append)
    run(made[1].write(*ends(made[1]), data))
    assert stored(tmp_path / "a") == stored(tmp_path / "b")
    assert sum(told) == data.nbytes
    assert writes_plainly(made[0]) == ("durable" not in options and "encoding" not in options)


@pytest.mark.parametrize(
    ("options", "fills"),
    [
        ({}, True),
        ({"dtype": "uint16", "channels": 3}, True),
        ({"encoding": "png"}, False),
        ({"compress": "gzip"}, False),
        ({"delete_black_uploads": True}, False),
    ],
    ids=str,
)
def test_whole_boxes(tmp_path, options, fills):
    """Boxes that are one chunk thick, and one that is not, of a level that compiled code fills, or not."""
    made = [volume(tmp_path / name, **options).array(0) for name in "ab"]
    array, data, told = made[0], voxels(made[0]), []
    data[:, :16] = 0
    run(made[1].write(*ends(array), data))
    assert fills_files(array, 1) == fills
    for y, (low, high) in itertools.product((0, 16), ((0, 8), (8, 21))):
        part = data[:, y : y + 16, low:high]
        start = (LOW[0], LOW[1] + y, LOW[2] + low)
        x, y_end, z = (a + n for a, n in zip(start, part.shape, strict=False))
        write_files(array, start, (x, y_end, z), part, threads=2, progress=told.append)
    assert stored(tmp_path / "a") == stored(tmp_path / "b")
    assert sum(told) == data.nbytes


@pytest.mark.parametrize("options", [{}, {"dtype": "uint16", "channels": 3}, {"dtype": "float32"}], ids=str)
@pytest.mark.parametrize("low", [0, 1])
@pytest.mark.parametrize("by", ["compiled code", "Python"])
def test_chunks_filled_plane_by_plane_are_the_same(tmp_path, monkeypatch, options, low, by):
    """Boxes of rows of chunks, up to the level's ends, from the same memory one after the other."""
    made = [volume(tmp_path / name, **options).array(0) for name in "ab"]
    array, data, told = made[0], voxels(made[0]), []
    data[:, :16] = 0
    run(made[1].write(*ends(array), data))
    if by == "Python":
        monkeypatch.setattr(compiled_files, "write_parts", lambda *_: False)
    chunks = ChunkFiles(array)
    for y, z in itertools.product(range(0, 30, 16), range(0, 21, 8)):
        part = data[:, y : y + 16, z : z + 8]
        start = (LOW[0], LOW[1] + y, LOW[2] + z)
        stop = tuple(a + n for a, n in zip(start, part.shape, strict=False))
        with chunks.box(start, stop, progress=told.append) as fill:
            for n in range(0, part.shape[2], 1 + low):
                fill(n, np.asfortranarray(part[:, :, n : n + 1 + low]) if low else part[:, :, n : n + 1])
    assert stored(tmp_path / "a") == stored(tmp_path / "b")
    assert sum(told) == data.nbytes


def test_what_was_cut_off_is_written_over(tmp_path):
    array = volume(tmp_path / "a").array(0)
    data = voxels(array)
    write_unread(array, *ends(array), data, progress=lambda _: None)
    expected = stored(tmp_path / "a")
    for n, path in enumerate(sorted((tmp_path / "a").rglob("*-*"))):
        path.write_bytes(b"\xff" * (n * 97 % 2000))
    write_unread(array, *ends(array), data, progress=lambda _: None)
    assert stored(tmp_path / "a") == expected


def test_there_are_no_temporary_files(tmp_path, monkeypatch):
    """Only names of chunks are ever made: they are cheaper than those of temporary files."""
    opened, real = [], os.open

    def watched(path, flags, *rest, **how):
        if flags & os.O_CREAT:
            opened.append(os.fspath(path))
        return real(path, flags, *rest, **how)

    monkeypatch.setattr(os, "open", watched)
    array = volume(tmp_path / "a").array(0)
    write_unread(array, *ends(array), voxels(array), progress=lambda _: None)
    files = [str(path) for path in (tmp_path / "a").rglob("*-*")]
    assert sorted(set(opened)) == sorted(files)
    assert len(files) == 3 * 4 * 3


def test_boxes_off_the_grid_keep_what_is_around_them(tmp_path):
    array = volume(tmp_path / "a").array(0)
    data = voxels(array)
    run(array.write(*ends(array), data))
    part = np.full((10, 10, 10, 1), 7, np.uint8)
    write_unread(array, (0, 6, 9, 0), (10, 16, 19, 1), part, progress=lambda _: None)
    data[3:13, 1:11, 1:11] = 7
    np.testing.assert_array_equal(run(array.read(*ends(array))), data)


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, NoSpaceError), (errno.EDQUOT, NoSpaceError), (errno.EACCES, PermissionDeniedError)],
)
def test_errors_are_ours(tmp_path, monkeypatch, number, error):
    def fails(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("volumekit.storage.kvstore.os.write", fails)
    array = volume(tmp_path / "a").array(0)
    with pytest.raises(error, match=str(tmp_path)):
        write_unread(array, *ends(array), voxels(array), progress=lambda _: None)


def test_names_that_are_taken(tmp_path):
    array = volume(tmp_path / "a").array(0)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/4_4_40").write_bytes(b"no folder")
    with pytest.raises(StorageError, match="4_4_40"):
        write_unread(array, *ends(array), voxels(array), progress=lambda _: None)
    (tmp_path / "a/4_4_40").unlink()
    name = next(array.keys_between(*ends(array)))
    (tmp_path / "a" / name).mkdir(parents=True)
    with pytest.raises(VolumekitError, match="4_4_40"):
        write_unread(array, *ends(array), voxels(array), progress=lambda _: None)


def test_short_writes_go_on(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr("volumekit.storage.kvstore.os.write", lambda file, data: real(file, data[:100]))
    array = volume(tmp_path / "a").array(0)
    data = voxels(array)
    write_unread(array, *ends(array), data, progress=lambda _: None)
    np.testing.assert_array_equal(run(array.read(*ends(array))), data)


def fill(array, data):
    """Fill all chunks of a row of them, one chunk thick, in their files."""
    low = array.level.offset
    with ChunkFiles(array).box(low, (34, 21, 16), progress=lambda _: None) as done:
        done(0, data[:, :16, :8])


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, NoSpaceError), (errno.EDQUOT, NoSpaceError), (errno.EACCES, PermissionDeniedError)],
)
@pytest.mark.parametrize("call", ["open", "pwrite", "close"])
def test_errors_of_filled_files_are_ours(tmp_path, monkeypatch, number, error, call):
    """Whatever call of the system fails: the chunk is named, and no file is left open."""
    real = os.close

    def fails(*args):
        if call == "close":
            real(args[0])
        raise OSError(number, os.strerror(number))

    array = volume(tmp_path / "a").array(0)
    monkeypatch.setattr(compiled_files, "write_parts", lambda *_: False)
    monkeypatch.setattr(files, "_compiled", lambda: False)
    data, before = voxels(array), len(list(Path("/dev/fd").iterdir()))
    monkeypatch.setattr(os, call, fails)
    with pytest.raises(error, match=r"4_4_40/-3-13_5-13_8-16"):
        fill(array, data)
    monkeypatch.undo()
    assert len(list(Path("/dev/fd").iterdir())) == before
    assert not list((tmp_path / "a").glob("*/*-*"))


def test_files_that_cannot_grow(tmp_path):
    """A real limit: what compiled code cannot write is an error that names the chunk."""
    code = (
        "import resource, signal, sys, numpy as np\n"
        "from volumekit import convert\n"
        "from volumekit.errors import VolumekitError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "data = np.ones((64, 64, 64), np.uint8)\n"
        "convert(data, sys.argv[1] + '/warm', chunk_size=32, jobs=1, progress=False)\n"
        "import volumekit.ops.pyramid; volumekit.ops.pyramid.GROUP_BYTES = 1\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))\n"
        "try: convert(data, sys.argv[1] + '/v', chunk_size=32, jobs=1, progress=False)\n"
        "except VolumekitError as error: print(type(error).__name__, error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    assert "1_1_1/" in told
    assert "File too large" in told


def test_too_many_files_to_have_open(tmp_path, monkeypatch):
    array = volume(tmp_path / "a").array(0)
    assert fills_files(array, 12)
    monkeypatch.setattr("volumekit.engine.chunk_files._most_files", lambda: 40)
    assert not fills_files(array, 12)
    assert fills_files(array, 10)
