"""The kit over a directory that nothing leads out of, and the ways out that are closed."""

import os
from pathlib import Path
from typing import ClassVar

import pytest

from volumekit.errors import PermissionDeniedError
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.storage.confined import ConfinedStore
from volumekit.testing.stores import StoreConformance


def confined(path):
    return ConfinedStore(open_store(parse_url(str(path))))


class TestConfined(StoreConformance):
    writable: ClassVar = False
    suffixed: ClassVar = True
    files: ClassVar = True
    native: ClassVar = False

    def make_store(self, tmp_path):
        (tmp_path / "inside").mkdir()
        return confined(tmp_path / "inside")

    def plant(self, store, key, data):
        path = Path(store.root + key)
        if data is None:
            path.unlink()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def inspect(self, store, key):
        try:
            return Path(store.root + key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None


@pytest.fixture
def store(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "in/deep/file").write_bytes(b"inside")
    (tmp_path / "out/file").write_bytes(b"outside")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/file").write_bytes(b"a name that begins alike")
    return confined(tmp_path / "in")


def test_ways_out(store, tmp_path):
    inside = tmp_path / "in"
    (inside / "link").symlink_to(tmp_path / "out/file")
    (inside / "folder").symlink_to(tmp_path / "out")
    (inside / "relative").symlink_to("../out")
    (inside / "alike").symlink_to(tmp_path / "inner")
    (inside / "good").symlink_to("deep/file")
    (inside / "better").symlink_to("deep")
    for key in (
        "link", "folder/file", "relative/file", "alike/file", "../out/file", "../inner/file", "deep/../../out/file",
        "/etc/passwd", str(tmp_path / "out/file"), "", "\0", "deep/file\0", "\ud800", "x" * 300,
    ):  # fmt: skip
        assert store.read(key).result() is None, key
        assert store.peek(key, 0, 0) is None, key
        assert store.find([key]).result() is None, key
    for key in ("good", "better/file", "deep/file", "deep/../deep/file"):
        assert store.read(key).result().data == b"inside", key
    assert sorted(store.list()) == ["better/file", "deep/file", "good"]
    for prefix in ("folder/", "relative/", "../", "../out/", "alike/"):
        assert list(store.list(prefix)) == [], prefix
    assert list(store.list("better/")) == ["better/file"]


def test_a_link_that_is_exchanged_after_the_check(store, tmp_path, monkeypatch):
    """What counts is what was opened, not what the name meant before."""
    target = tmp_path / "in/deep/file"
    opened = os.open

    def exchange(path, flags, *more, **named):
        if str(path) == str(target):
            target.unlink()
            target.symlink_to(tmp_path / "out/file")
        return opened(path, flags, *more, **named)

    monkeypatch.setattr("volumekit.storage.confined.os.open", exchange)
    assert store.read("deep/file").result() is None


def test_without_proc(store, tmp_path, monkeypatch):
    """Other systems do not tell the name of an open file."""
    monkeypatch.setattr("volumekit.storage.confined.sys.platform", "other")
    (tmp_path / "in/link").symlink_to(tmp_path / "out/file")
    assert store.read("link").result() is None
    assert store.read("deep/file").result().data == b"inside"
    assert store.read("../out/file").result() is None


def test_files_that_may_not_be_read(store, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("volumekit.storage.confined.os.open", refuse)
    with pytest.raises(PermissionDeniedError):
        store.read("deep/file").result()
    with pytest.raises(PermissionDeniedError):
        store.find(["deep/file"]).result()
