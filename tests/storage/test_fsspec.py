"""Any fsspec filesystem as a store: the kit over several kinds of them, and what goes wrong."""

import os
import sys
import threading
import zipfile

import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.implementations.zip import ZipFileSystem

from tests.storage.plainfs import PlainFileSystem
from volumekit.errors import (
    ConflictError,
    ForkError,
    MissingExtraError,
    NoSpaceError,
    OptionError,
    PermissionDeniedError,
    StorageError,
    UnknownProtocolError,
    UnsupportedError,
)
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.storage.filesystem import PART
from volumekit.testing.stores import StoreConformance


def store_over(fs, path, **options):
    return open_store(parse_url(path), options={"filesystem": fs, **options})


class FsspecConformance(StoreConformance):
    conditional = native = False
    guarded = suffixed = True

    def plant(self, store, key, data):
        path = f"{self.root}/{key}"
        if data is None:
            self.fs.rm_file(path)
        else:
            self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.fs.pipe_file(path, data)

    def inspect(self, store, key):
        path = f"{self.root}/{key}"
        return self.fs.cat_file(path) if self.fs.isfile(path) else None


class TestMemory(FsspecConformance):
    def make_store(self, tmp_path):
        self.fs, self.root = MemoryFileSystem(global_store=False, skip_instance_cache=True), "/top/a b"
        return store_over(self.fs, "file:///top/a b")


class TestLocal(FsspecConformance):
    files = True

    def make_store(self, tmp_path):
        self.fs, self.root = LocalFileSystem(), str(tmp_path / "a b%20#?|é")
        return store_over(self.fs, self.root)


class TestFolderOfLocal(FsspecConformance):
    files = True

    def make_store(self, tmp_path):
        self.fs, self.root = LocalFileSystem(), str(tmp_path / "up/volume")
        return store_over(DirFileSystem(str(tmp_path / "up"), LocalFileSystem()), "dir://volume")


class TestPlain(FsspecConformance):
    """A filesystem with nothing but the few methods that fsspec asks for."""

    def make_store(self, tmp_path):
        self.fs, self.root = PlainFileSystem(skip_instance_cache=True), "box/volume"
        return store_over(self.fs, "plain://box/volume")


class TestZip(StoreConformance):
    writable = conditional = native = False
    suffixed = True

    def make_store(self, tmp_path):
        self.archive = tmp_path / "a b.zip"
        self.files = {}
        self.write()
        return open_store(parse_url(f"zip://volume::{self.archive}"), options={"skip_instance_cache": True})

    def write(self):
        with zipfile.ZipFile(self.archive, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in {"beside": b"", **self.files}.items():
                file.writestr(name, data)

    def plant(self, store, key, data):
        self.files[f"volume/{key}"] = data
        if data is None:
            del self.files[f"volume/{key}"]
        self.write()
        store.files.fs = ZipFileSystem(str(self.archive), skip_instance_cache=True)

    def inspect(self, store, key):
        return self.files.get(f"volume/{key}")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    store = store_over(LocalFileSystem(), str(tmp_path))
    store.commit({"a/b": b"old"}).result()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(NoSpaceError) as caught:
        store.commit({"a/b": b"new"}).result()
    assert caught.value.key == "a/b"
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == {"b": b"old"}


def test_files_being_written_are_hidden(tmp_path):
    store = store_over(LocalFileSystem(), str(tmp_path))
    store.commit({"a/b": b"1"}).result()
    (tmp_path / "a" / f".123{PART}").write_bytes(b"half")
    assert list(store.list()) == ["a/b"]


def test_versions_that_the_filesystem_cannot_tell_apart():
    """A filesystem without times or tags: of two versions of the same size only the writer knows that they differ."""
    fs = PlainFileSystem(skip_instance_cache=True)
    one, other = store_over(fs, "plain://box"), store_over(fs, "plain://box")
    one.commit({"a": b"1"}).result()
    old = one.read("a").result().stamp
    other.commit({"a": b"2"}).result()
    with pytest.raises(ConflictError):
        one.commit({"a": b"3"}, old).result()
    assert other.read("a").result().data == b"2"


class StuckFileSystem(PlainFileSystem):
    """Answers when it is told to."""

    protocol = "stuck"

    def __init__(self, **how):
        super().__init__(**how)
        self.go = threading.Event()

    def cat_file(self, path, start=None, end=None, **kwargs):
        assert self.go.wait(30)
        return super().cat_file(path, start, end, **kwargs)


def test_reading_never_blocks_the_caller():
    fs = StuckFileSystem(skip_instance_cache=True)
    fs.pipe_file("a/b", b"1")
    reading = store_over(fs, "stuck://a").read("b")
    assert not reading.done()
    fs.go.set()
    assert reading.result(30).data == b"1"


class BrokenFileSystem(PlainFileSystem):
    protocol = "broken"
    error = None

    def info(self, path, **kwargs):
        raise self.error

    find = info


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError("no"), PermissionDeniedError),
        (OSError("Forbidden: b/o\nno"), PermissionDeniedError),
        (OSError(28, "full"), NoSpaceError),
        (ConnectionResetError(104, "gone"), StorageError),
        (TimeoutError(), StorageError),
        (NotImplementedError("never"), UnsupportedError),
        (RuntimeError("This class is not fork-safe"), ForkError),
        (RuntimeError("odd"), StorageError),
        (KeyError("odd"), StorageError),
        (zipfile.BadZipFile("odd"), StorageError),
        (type("HttpError", (Exception,), {"code": 401})("odd"), PermissionDeniedError),
        (type("ClientResponseError", (Exception,), {"status": 500})("odd"), StorageError),
        (type("NoCredentialsError", (Exception,), {})("odd"), PermissionDeniedError),
    ],
    ids=repr,
)
def test_errors_are_ours(error, expected):
    fs = BrokenFileSystem(skip_instance_cache=True)
    fs.error = error
    store = store_over(fs, "broken://box/volume")
    asked = (
        lambda: store.read("a/b").result(),
        lambda: store.commit({"a/b": b"1"}).result(),
        lambda: store.commit({"a/b": None}).result(),
        lambda: store.find(["a/b"]).result(),
        lambda: list(store.list("a/b")),
    )
    for ask in asked:
        with pytest.raises(expected) as caught:
            ask()
        assert type(caught.value) is expected
        assert caught.value.url == "broken://box/volume"
        if expected is not ForkError:
            assert caught.value.key == "a/b"


@pytest.mark.parametrize("error", [FileNotFoundError(), NotADirectoryError(), IsADirectoryError()], ids=repr)
def test_what_is_not_there_is_absent(error):
    fs = BrokenFileSystem(skip_instance_cache=True)
    fs.error = error
    store = store_over(fs, "broken://box/volume")
    assert store.read("a/b").result() is None
    assert list(store.list("a/")) == []


def test_folders_beside_the_dataset(tmp_path):
    store = store_over(LocalFileSystem(), str(tmp_path / "data"))
    store.commit({"../other/4_4_40/x": b"1", "a/../b/y": b"2"}).result()
    assert (tmp_path / "other/4_4_40/x").read_bytes() == b"1"
    assert list(store.list("../other/")) == ["../other/4_4_40/x"]
    assert store.read("b/y").result().data == b"2"
    above = store_over(MemoryFileSystem(), "plain://box/volume")
    with pytest.raises(StorageError, match="leads out"):
        above.read("../../other/x").result()


@pytest.mark.parametrize(("url", "package"), [("abfs://box@account/a", "adlfs"), ("sftp://host/a", "paramiko")])
def test_a_package_that_is_missing(url, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=f"pip install {package}") as caught:
        open_store(parse_url(url))
    assert caught.value.url == url


def test_unknown_protocols():
    with pytest.raises(UnknownProtocolError, match="did you mean 'memory'") as caught:
        open_store(parse_url("memry://a"))
    assert caught.value.url == "memry://a"


def test_options():
    with pytest.raises(OptionError, match="none of fsspec's"):
        store_over("s3", "s3://bucket/a")
    with pytest.raises(OptionError, match="options"):
        open_store(parse_url("zip://a::/nothing.zip"), options={"fo": 1})
