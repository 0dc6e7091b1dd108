"""Pages of multi-page TIFF files as keys."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile

from tests.formats.images import planes, write_folder
from volumekit.codecs.images import Bytes
from volumekit.errors import CorruptChunkError, ReadOnlyError, StorageError, UnknownProtocolError
from volumekit.formats.base import Container
from volumekit.model.url import parse_url
from volumekit.storage import open_container, open_store
from volumekit.storage.base import Store
from volumekit.storage.pages import PagesStore, describe_image, open_bytes


@pytest.fixture(params=["file", "memory"])
def store(request, tmp_path) -> Store:
    """A store with a stack of six pages, ``x.tif``."""
    tifffile.imwrite(tmp_path / "x.tif", planes(6, dtype=np.uint16), compression="zlib", rowsperstrip=9)
    data = (tmp_path / "x.tif").read_bytes()
    if request.param == "file":
        return open_store(parse_url(str(tmp_path)))
    memory = open_store(parse_url(f"memory://pages/{tmp_path.name}"))
    memory.commit({"x.tif": data}).result()
    return memory


@pytest.mark.parametrize("threads", [0, 1])
def test_values_are_stored_bytes_that_decode(store, threads):
    with ThreadPoolExecutor(threads or 1) as executor:
        pages = open_container(store, Container("pages"), executor=executor if threads else None)
        assert isinstance(pages, PagesStore)
        for z, expected in enumerate(planes(6, dtype=np.uint16)):
            value = pages.read(f"x.tif#{z}").result()
            assert value is not None
            page = value.attrs["page"]
            assert len(value.data) <= sum(page.counts) + 64
            array = page.image(Bytes(value.data, spans=value.attrs["spans"]))
            assert np.array_equal(array[..., 0], expected)
            part = pages.read(f"x.tif#{z}", 3, 9).result()
            assert part is not None
            assert part.data == value.data[3:9]
            assert pages.read(f"x.tif#{z}", 0, 0).result().data == b""
        assert pages.read("x.tif#6").result() is None
        assert pages.read("y.tif#0").result() is None
        assert sorted(pages.list()) == [f"x.tif#{z}" for z in range(6)]
        assert pages.group("x.tif#3") == "x.tif"


def test_it_is_read_only_and_says_what_is_no_page(store):
    pages = PagesStore(store)
    with pytest.raises(ReadOnlyError):
        pages.commit({"x.tif#0": b""}).result()
    with pytest.raises(StorageError, match="no page"):
        pages.read("x.tif").result()
    with pytest.raises(UnknownProtocolError, match="nope"):
        open_container(store, Container("nope"))


def test_descriptions(store):
    said = json.loads(describe_image(store, "x.tif") or b"")
    assert said == {"pages": 6, "dtype": "uint16", "height": 25, "width": 37, "channels": 1, "note": ""}
    assert describe_image(store, "y.tif") is None
    with pytest.raises(FileNotFoundError), open_bytes(store, "y.tif") as source:
        source.read(0, 1)


def test_damaged_indexes_are_errors_every_time(tmp_path):
    folder = write_folder(tmp_path, planes(1))
    data = (folder / "000.tif").read_bytes()
    (folder / "000.tif").write_bytes(data[:100])
    pages = PagesStore(open_store(parse_url(str(folder))))
    for _ in range(2):
        with pytest.raises(CorruptChunkError, match="cut short"):
            pages.read("000.tif#0").result()
    with pytest.raises(CorruptChunkError) as caught:
        describe_image(open_store(parse_url(str(folder))), "000.tif")
    assert caught.value.key == "000.tif"


def test_bytes_of_files_and_of_other_stores_are_the_same(store, tmp_path):
    data = (tmp_path / "x.tif").read_bytes()
    with open_bytes(store, "x.tif") as source:
        for start, size in [(0, 8), (5, 70_000), (len(data) - 3, 10), (len(data) + 5, 4), (0, 0)]:
            assert source.read(start, size) == data[start : start + size]
            buffer = bytearray(size)
            count = source.readinto(start, memoryview(buffer))
            assert bytes(buffer[:count]) == data[start : start + size]
