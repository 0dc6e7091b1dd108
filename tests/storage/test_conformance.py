"""Every store passes the kit, plain and wrapped; where a wrapper hides the bytes, they are planted in its base."""

from pathlib import Path
from typing import Any

import pytest

from volumekit.codecs.compression import SUFFIXES, compress, decompress
from volumekit.model.url import URL, parse_url
from volumekit.storage import open_store
from volumekit.storage.suffix import SuffixStore
from volumekit.storage.wrap import CountedStore, FaultyStore, PrefixStore, ReadOnlyStore, SlowStore
from volumekit.testing.stores import StoreConformance


def file_store(folder: Path):
    return open_store(parse_url(folder))


def memory_store(folder: Path):
    return open_store(URL(None, "memory", str(folder).strip("/")))


class FileBytes:
    """Looks at the files themselves, not through TensorStore."""

    below = ""

    def path(self, store: Any, key: str) -> Path:
        return self.folder / self.below / key

    def plant(self, store, key, data):
        path = self.path(store, key)
        if data is None:
            path.unlink()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name("new").write_bytes(data)
        path.with_name("new").rename(path)

    def inspect(self, store, key):
        path = self.path(store, key)
        return path.read_bytes() if path.exists() else None


class TestFileStore(FileBytes, StoreConformance):
    suffixed = files = True

    def make_store(self, tmp_path):
        self.folder = tmp_path / "a b%20#?|é"
        return file_store(self.folder)


class TestMemoryStore(StoreConformance):
    suffixed = True

    def make_store(self, tmp_path):
        return memory_store(tmp_path)


class TestPrefixOverFile(FileBytes, StoreConformance):
    suffixed = files = True
    below = "folder/level %41"

    def make_store(self, tmp_path):
        self.folder = tmp_path
        beside = file_store(tmp_path)
        beside.commit({"folder/level %41more": b"beside", "info": b"above"}).result()
        return PrefixStore(beside, self.below)


class TestPrefixOverMemory(StoreConformance):
    suffixed = True

    def make_store(self, tmp_path):
        store = memory_store(tmp_path)
        store.commit({"a": b"above", "folder!": b"beside"}).result()
        return PrefixStore(PrefixStore(store, "folder/"), "below")


class TestReadOnlyFiles(FileBytes, StoreConformance):
    suffixed = files = True
    writable = False

    def make_store(self, tmp_path):
        self.folder = tmp_path
        return ReadOnlyStore(file_store(tmp_path))


class OverBase(StoreConformance):
    """Bytes are planted in the store below."""

    native = False

    def make_store(self, tmp_path):
        self.base = memory_store(tmp_path)
        return self.wrap(self.base)

    def plant(self, store, key, data):
        self.base.commit({key: data}).result()

    def inspect(self, store, key):
        value = self.base.read(key).result()
        return None if value is None else value.data


class TestCountedStore(OverBase):
    suffixed = True
    wrap = CountedStore


class TestSlowStore(OverBase):
    suffixed = True

    def wrap(self, base):
        return SlowStore(base, 0.0005)


class TestFaultyStore(OverBase):
    suffixed = True

    def wrap(self, base):
        return FaultyStore(base, lambda operation, key: None)


class TestSuffixStore(OverBase):
    """Each way to store, over files and over memory, planted bytes in each variant."""

    @pytest.fixture(
        params=[
            *((memory_store, compress) for compress in (None, False, *SUFFIXES)),
            *((file_store, compress) for compress in (None, "gzip", "zstd")),
        ],
        ids=lambda param: f"{param[0].__name__}-{param[1]}",
        autouse=True,
    )
    def setting(self, request):
        self.kind, self.compress = request.param

    def make_store(self, tmp_path):
        self.base = self.kind(tmp_path)
        return SuffixStore(self.base, compress=self.compress)

    def plant(self, store, key, data):
        names = [key, *(key + suffix for suffix in SUFFIXES.values())]
        there = self.base.find(names).result()
        if data is None:
            self.base.commit({there: None}).result()
            return
        method = self.compress or None
        name = there or key + SUFFIXES.get(method, "")
        self.base.commit({name: compress(data, method) if method and name != key else data}).result()

    def inspect(self, store, key):
        found = {m: self.base.read(key + s).result() for m, s in {None: "", **SUFFIXES}.items()}
        there = {method: value.data for method, value in found.items() if value is not None}
        assert set(there) <= {self.compress or None}, "a variant nobody asked for"
        for method, data in there.items():
            return decompress(data, method) if method else data
        return None
