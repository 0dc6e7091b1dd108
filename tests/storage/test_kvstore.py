"""What files and memory do beyond the kit: links, locks, folders that lie elsewhere, names that are no text."""

import os

import pytest
import tensorstore as ts

from volumekit.errors import StorageError
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.storage.context import context


@pytest.fixture
def store(tmp_path):
    return open_store(parse_url(tmp_path / "data"))


@pytest.fixture(params=["file", "memory"])
def either(request, tmp_path):
    place = tmp_path / "data" if request.param == "file" else f"memory:/{tmp_path}/data"
    return open_store(parse_url(place))


def test_lock_files_are_hidden(store, tmp_path):
    store.commit({"a/b": b"1", "a/c.__locked": b"2"}).result()
    (tmp_path / "data/a/b.__lock").touch()
    (tmp_path / "data/a/gone.__lock").touch()
    assert sorted(store.list()) == ["a/b", "a/c.__locked"]


def test_listing_does_not_follow_links_for_ever(store, tmp_path):
    store.commit({"a/x": b"1", "b/y": b"2"}).result()
    (tmp_path / "data/a/itself").symlink_to(tmp_path / "data/a")
    (tmp_path / "data/a/above").symlink_to("..")
    (tmp_path / "data/a/other").symlink_to("../b")
    (tmp_path / "data/b/back").symlink_to("../a")
    assert sorted(store.list("a/")) == ["a/above/b/y", "a/other/y", "a/x"]
    assert store.read("a/other/y").result().data == b"2"


def test_a_link_that_leads_nowhere_is_absent(store, tmp_path):
    store.commit({"a/x": b"1"}).result()
    (tmp_path / "data/a/gone").symlink_to("nothing")
    assert store.find(["a/gone"]).result() is None
    assert store.read("a/gone").result() is None


def test_not_being_able_to_look_is_not_absent(store, tmp_path):
    store.commit({"a/x": b"1"}).result()
    (tmp_path / "data/a/ring").symlink_to("ring")
    for ask in (lambda: store.find(["a/ring"]).result(), lambda: store.read("a/ring").result()):
        with pytest.raises(StorageError):
            ask()


def test_folders_beside_the_dataset(either):
    either.commit({"../other/4_4_40/x": b"1", "../others/x": b"2", "a/../b/y": b"3"}).result()
    assert either.read("../other/4_4_40/x").result().data == b"1"
    assert either.read("b/y").result().data == b"3"
    assert list(either.list("../other/")) == ["../other/4_4_40/x"]
    assert list(either.list("a/../b/")) == ["a/../b/y"]
    assert either.find(["a/../b/x", "a/../b/y"]).result() == "a/../b/y"


def test_names_that_are_no_text(either, tmp_path):
    name = os.fsdecode(b"a/\xff\xe9")
    either.commit({name: b"1"}).result()
    assert list(either.list("a/")) == list(either.list(name)) == [name]
    assert either.read(name).result().data == b"1"
    assert either.find([name]).result() == name
    if either.url.startswith("file"):
        assert (tmp_path / "data" / os.fsdecode(b"a/\xff\xe9")).read_bytes() == b"1"


def test_memory_is_one_place_per_process(tmp_path):
    url = parse_url(f"memory:/{tmp_path}/x")
    open_store(url).commit({"a": b"1"}).result()
    assert open_store(url).read("a").result().data == b"1"
    spec = {"driver": "memory", "path": f"{tmp_path}/x/".lstrip("/")}
    assert ts.KvStore.open(spec, context=context()).result().read("a").result().value == b"1"
    assert open_store(parse_url(f"memory:/{tmp_path}/xy")).read("a").result() is None


def test_a_store_at_the_root_of_the_files(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    key = str(tmp_path / "a").lstrip("/")
    root = open_store(parse_url("/"))
    assert root.read(key).result().data == b"1"
    assert root.find([key]).result() == key
    assert list(root.list(key)) == [key]


def test_a_file_in_the_place_of_the_dataset(tmp_path):
    (tmp_path / "data").write_bytes(b"no folder")
    store = open_store(parse_url(tmp_path / "data"))
    assert store.read("info").result() is None
    assert list(store.list()) == []
    with pytest.raises(StorageError, match="folder"):
        store.commit({"info": b"1"}).result()
    assert (tmp_path / "data").read_bytes() == b"no folder"
