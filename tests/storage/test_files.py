"""Many files opened, made and closed at a time, by compiled code or in Python."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from volumekit.errors import StorageError
from volumekit.model.url import parse_url
from volumekit.storage import files, open_store


def open_now():
    return sorted(path.name for path in Path("/dev/fd").iterdir())


@pytest.fixture(params=["compiled", "Python"])
def way(request, monkeypatch):
    if request.param == "Python":
        monkeypatch.setattr(files, "_compiled", lambda: False)
    elif not files._compiled():
        pytest.skip("compiled code opens files on Linux only, where numba is installed")
    files.close_all(files.make_new([]))  # imported and compiled
    return request.param


def named(folder, count=5):
    """Make files whose content is their number; return their paths."""
    paths = [str(folder / f"{n}-å\udcff") for n in range(count)]
    for n, path in enumerate(paths):
        Path(path).write_bytes(bytes([n]))
    return paths


def test_files_are_open_in_their_order_and_closed_in_the_end(tmp_path, way):
    paths, before = named(tmp_path), open_now()
    with files.opened(paths) as found:
        assert [os.pread(file, 9, 0) for file in found] == [bytes([n]) for n in range(5)]
        assert not any(os.get_inheritable(file) for file in found)
    assert open_now() == before


@pytest.mark.parametrize("name", ["gone", "nul\0", "folder/file"])
def test_one_that_cannot_be_opened(tmp_path, way, name):
    paths, before = named(tmp_path), open_now()
    paths.insert(2, str(tmp_path / name))
    with pytest.raises((FileNotFoundError, ValueError)), files.opened(paths):
        pass
    assert open_now() == before


def test_nothing_waits_for_a_pipe(tmp_path, way):
    os.mkfifo(tmp_path / "pipe")
    with files.opened([str(tmp_path / "pipe")]) as found:
        assert os.read(found[0], 1) == b""


def test_too_many_open_files(tmp_path, way):
    paths, before, limits = named(tmp_path, 64), open_now(), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(before) + 20, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"), files.opened(paths):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert open_now() == before


def test_only_new_files_are_made(tmp_path, way):
    """What is there already is left to those who can tell whether it may be written over."""
    (tmp_path / "old").write_bytes(b"1")
    (tmp_path / "dangling").symlink_to(tmp_path / "elsewhere")
    names = ["a", "old", "dangling", "folder/b", "b"]
    made = files.make_new([str(tmp_path / name) for name in names])
    assert (made >= 0).tolist() == [way == "compiled" and name in "ab" for name in names]
    assert not files.close_all(made).any()
    assert (tmp_path / "old").read_bytes() == b"1"
    assert not (tmp_path / "elsewhere").exists()


def test_a_store_makes_them_all(tmp_path, way):
    """New ones and old ones, which become no longer than they will be, and the folders that they are in."""
    store, before = open_store(parse_url(str(tmp_path))), open_now()
    (tmp_path / "old").write_bytes(b"12345")
    keys = ["a", "old", "folder/b", "folder/c"]
    made = store.make(keys, [3, 3, 3, 3])
    for file in made:
        os.pwrite(file, b"x", 0)
    store.close(keys, made)
    assert [(tmp_path / key).read_bytes() for key in keys] == [b"x", b"x23", b"x", b"x"]
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "old").stat().st_mode
    assert open_now() == before


def test_links_are_not_followed(tmp_path, way):
    """What is outside of the dataset stays as it is."""
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").write_bytes(b"12345")
    (tmp_path / "data" / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "b").symlink_to(tmp_path / "nowhere")
    store = open_store(parse_url(str(tmp_path / "data")))
    store.close(["a"], store.make(["a"], [1]))
    store.put("b", b"1")
    assert not (tmp_path / "data" / "a").is_symlink()
    assert not (tmp_path / "data" / "b").is_symlink()
    assert (tmp_path / "elsewhere").read_bytes() == b"12345"
    assert not (tmp_path / "nowhere").exists()


def test_nothing_stays_open_where_too_many_are(tmp_path):
    """In a process that opens its first files at its limit."""
    code = (
        "import os, resource, sys\n"
        "from volumekit.storage.files import close_all, make_new, opened\n"
        "limit = len(os.listdir('/dev/fd')) + 40\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))\n"
        "before = len(os.listdir('/dev/fd'))\n"
        "close_all(make_new([f'{sys.argv[1]}/{n}' for n in range(100)]))\n"
        "try:\n"
        "    with opened([f'{sys.argv[1]}/{n % 10}' for n in range(100)]): pass\n"
        "except OSError as error: print(error.strerror)\n"
        "assert len(os.listdir('/dev/fd')) == before\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert "open files" in subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_what_cannot_be_made_is_named_and_nothing_stays_open(tmp_path, way):
    store, before = open_store(parse_url(str(tmp_path))), open_now()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError) as caught:
        store.make(["a", "pipe", "b"], [1, 1, 1])
    assert caught.value.key == "pipe"
    with pytest.raises(StorageError, match="cannot be the name"):
        store.make(["a", "n\0", "b"], [1, 1, 1])
    assert open_now() == before


def test_errors_of_closing_are_told(tmp_path, way):
    """A descriptor that is not open stands for one whose data a network file system did not keep."""
    good = os.open(tmp_path, os.O_RDONLY)
    found = np.array([-1, 1 << 20, good], np.int32)
    assert files.close_all(found).tolist() == [0, errno.EBADF, 0]
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(good)
    store = open_store(parse_url(str(tmp_path)))
    with pytest.raises(StorageError, match="Bad file descriptor") as caught:
        store.close(["a", "b"], np.array([-1, 1 << 20], np.int32))
    assert caught.value.key == "b"
