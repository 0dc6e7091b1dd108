"""Web servers: credentials, redirects, and objects that are stored compressed, here and in buckets."""

import base64
import itertools
import time
import uuid

import numpy as np
import pytest

from tests.storage.remotes import FAST, remote
from volumekit import Volume
from volumekit.codecs.compression import compress
from volumekit.errors import (
    CorruptChunkError,
    DatasetNotFoundError,
    OptionError,
    PermissionDeniedError,
    StorageError,
    VolumekitError,
)
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.testing.keys import RANGES
from volumekit.testing.servers import Fault, Stored, WebServer

PLAIN = bytes(range(256)) * 40


def store_at(url, **options):
    return open_store(parse_url(url), options={"retry": FAST, **options})


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("options", "header", "value"),
    [
        ({"token": "abc"}, "authorization", "Bearer abc"),
        ({"secrets": "abc"}, "authorization", "Bearer abc"),
        ({"secrets": {"token": "abc"}}, "authorization", "Bearer abc"),
        ({"user": "me", "password": "a:b ü"}, "authorization", basic("me", "a:b ü")),
        ({"secrets": {"user": "me", "password": "x"}}, "authorization", basic("me", "x")),
        ({"headers": {"X-Key": "let me in", "Cookie": "a=b"}}, "x-key", "let me in"),
        ({"headers": {"Authorization": "Odd scheme"}}, "authorization", "Odd scheme"),
    ],
)
def test_who_asks(options, header, value, web):
    web.objects["volume/a"] = b"1"
    web.demand(header, value)
    with pytest.raises(PermissionDeniedError, match="HTTP status 401"):
        store_at(f"{web.url}/volume").read("a").result()
    assert store_at(f"{web.url}/volume", **options).read("a").result().data == b"1"


def test_passwords_in_the_url(web):
    web.objects["volume/a"] = b"1"
    web.demand("authorization", basic("m e", "p@ss"))
    url = web.url.replace("://", "://m%20e:p%40ss@")
    store = store_at(f"{url}/volume")
    assert store.read("a").result().data == b"1"
    assert "ss" not in store.url.removeprefix(web.url)
    web.demand("authorization", "other", 403)
    for ask in (lambda: store.read("a").result(), lambda: Volume(f"{url}/volume", storage_options={"retry": FAST})):
        with pytest.raises(PermissionDeniedError) as caught:
            ask()
        assert "p%40ss" not in str(caught.value)
        assert "the password of m e" in str(caught.value)
    web.rules.clear()
    with pytest.raises(DatasetNotFoundError) as caught:
        Volume(f"{url}/volume", storage_options={"retry": FAST})
    assert "m%20e:…@" in str(caught.value)
    assert "p%40ss" not in str(caught.value)
    make(web)
    volume = Volume(f"{url}/volume", storage_options={"retry": FAST})
    assert "p%40ss" not in repr(volume)
    assert "p%40ss" in volume.cloudpath


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"headers": {"A": "b\r\nC: d"}}, "cannot be sent"),
        ({"headers": {"A b": "c"}}, "cannot be sent"),
        ({"headers": {"A": 1}}, "cannot be sent"),
        ({"headers": ["A: b"]}, "dictionary"),
        ({"token": "a\nb"}, "cannot be sent"),
        ({"token": "a", "user": "b"}, "both"),
        ({"header": {}}, "did you mean 'headers'"),
    ],
)
def test_impossible_options(options, hint):
    with pytest.raises(OptionError, match=hint):
        store_at("http://host/a", **options)


def test_the_query_goes_along(web):
    web.objects["a b/volume/x"] = b"1"
    store = store_at(f"{web.url}/a%20b/volume/?Signature=a%2Fb%3D&n=1")
    assert store.read("x").result().data == b"1"
    assert store.read("x", 0, 0).result().data == b""
    assert {asked.query for asked in web.requests} == {"Signature=a%2Fb%3D&n=1"}
    assert store.join("x").startswith(f"{web.url}/a%20b/volume")


def make(web, folder="volume"):
    """Store a volume of two levels below a folder of the web server; return its voxels."""
    voxels = np.random.default_rng(3).integers(1, 255, (20, 20, 20), np.uint8)
    volume = Volume.from_numpy(voxels, f"memory://web/{uuid.uuid4()}", chunk_size=(8, 8, 8))
    for key in volume._store.list():
        web.objects[f"{folder}/{key}"] = volume._store.read(key).result().data
    return voxels


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_folder_that_has_moved(status, web):
    """Only the first request takes the detour; TensorStore's own reading goes straight to the new place."""
    voxels = make(web, "new/volume")
    web.redirect("old/", f"{web.url}/new/", status)
    volume = Volume(f"{web.url}/old/volume", storage_options={"retry": FAST})
    assert (volume[:][..., 0] == voxels).all()
    assert volume.exists().num_missing == 0
    assert {asked.path for asked in web.requests if asked.path.startswith("old/")} == {"old/volume/info"}
    assert volume._store.native()["path"] == "/new/volume/"
    assert volume._store.read("none").result() is None


def test_a_server_that_has_moved(web):
    """What the first server was told the second must not know."""
    with WebServer() as new:
        voxels = make(new)
        web.redirect("", f"{new.url}/")
        for options in ({"token": "private"}, {"headers": {"Cookie": "private", "X-Odd": "shared"}}):
            volume = Volume(f"{web.url}/volume", storage_options={"retry": FAST, **options})
            assert (volume[:][..., 0] == voxels).all()
        assert any("private" in value for asked in web.requests for value in asked.headers.values())
        assert not any("private" in value for asked in new.requests for value in asked.headers.values())


def test_each_object_is_somewhere_else(web):
    """As from servers that redirect to signed addresses: objects come one by one, and the caller sees no difference."""
    voxels = make(web, "hidden")

    def somewhere(asked):
        if not asked.path.startswith("volume/"):
            return None
        return Fault(302, {"Location": f"{web.url}/hidden/{asked.path[7:]}?signature={len(asked.path)}"}, b"")

    web.rules.append(somewhere)
    volume = Volume(f"{web.url}/volume", storage_options={"retry": FAST})
    assert (volume[:][..., 0] == voxels).all()
    assert (volume[3:17, 5:6, ::2][..., 0] == voxels[3:17, 5:6, ::2]).all()
    assert volume._store.native() is None
    store, chunk = volume._store, "1_1_1/0-8_0-8_0-8"
    data = web.objects[f"hidden/{chunk}"]
    for start, stop in RANGES:
        assert store.read(chunk, start, stop).result().data == data[start:stop], (start, stop)
        assert store.read("none", start, stop).result() is None
    del web.objects[f"hidden/{chunk}"]
    assert volume.exists().missing == [chunk]
    web.fault(Fault(503), "hidden/.*8-16")
    web.rules.reverse()
    with pytest.raises(StorageError, match=r"HTTP status 503 .*asked 3 times"):
        volume[8:, 8:, 8:]


def test_chunks_that_are_elsewhere_though_the_info_is_not(web):
    voxels = make(web)
    make(web, "chunks")
    web.redirect("volume/1_1_1/", f"{web.url}/chunks/1_1_1/")
    volume = Volume(f"{web.url}/volume", storage_options={"retry": FAST})
    assert (volume[:][..., 0] == voxels).all()


def test_holes_are_not_asked_for_twice(web):
    """Where chunks are missing TensorStore is not let read first, and fail, every time."""
    voxels = make(web)
    for key in [key for key in web.objects if key.endswith("0-8")]:
        del web.objects[key]
    volume = Volume(f"{web.url}/volume", fill_missing=True, storage_options={"retry": FAST})
    for first in (True, False):
        before = _settled(web)
        assert (volume[:][..., 0] == np.where(np.arange(20) < 8, 0, voxels)).all()
        asked = len(web.requests) - before
        assert first or asked == volume.exists().total


def _settled(web):
    """Return how many requests there were, once those have arrived that TensorStore had under way when it gave up."""
    before = -1
    while before != len(web.requests):
        before = len(web.requests)
        time.sleep(0.5)
    return before


@pytest.mark.parametrize(
    "target", ["/round", "http://no-such-host.invalid/a", "ftp://host/a", "file:///etc/passwd", "http://[", ""]
)
def test_redirects_that_lead_nowhere(target, web):
    web.rules.append(lambda asked: Fault(302, {"Location": target or asked.path}, b"") if target else Fault(302))
    store = store_at(f"{web.url}/volume")
    for _ in range(2):
        with pytest.raises(VolumekitError) as caught:
            store.read("a").result()
        assert (caught.value.key, caught.value.url) == ("a", store.url)


def test_what_is_gone_is_absent(web):
    web.fault(Fault(410))
    assert store_at(f"{web.url}/volume").read("a").result() is None


@pytest.fixture(params=["http", "s3", "gs"])
def place(request, web, quick_bucket, gcs_bucket):
    return remote(request.param, web, quick_bucket, gcs_bucket)


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_objects_stored_compressed(encoding, place):
    """All of an object or a part of it, however it is stored; TensorStore fails at parts."""
    packed = compress(PLAIN, encoding)
    place.put("a", packed, encoding)
    store = place.open()
    assert store.read("a").result().data == PLAIN
    assert store.read("a", 0, 0).result().data == b""
    size = len(packed)
    ends = (0, 1, 5, size - 1, size, size + 1, 4 * size, len(PLAIN) - 1, len(PLAIN), len(PLAIN) + 5)
    for start, stop in [*itertools.product((0, 3, size, size + 7, len(PLAIN)), ends), (-7, None), (5, None), (None, 9)]:
        assert store.read("a", start, stop).result().data == PLAIN[start:stop], (start, stop)


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_volumes_stored_compressed(encoding, web):
    """As CloudVolume and gsutil keep them in buckets."""
    voxels = make(web)
    for key, data in web.objects.items():
        web.objects[key] = Stored(compress(data, encoding), {"Content-Encoding": encoding})
    volume = Volume(f"{web.url}/volume", storage_options={"retry": FAST})
    assert (volume[:][..., 0] == voxels).all()
    web.redirect("volume/", f"{web.url}/far/")
    web.rules.append(lambda asked: None)
    for key in list(web.objects):
        web.objects[key.replace("volume/", "far/")] = web.objects[key]
    assert (Volume(f"{web.url}/volume", storage_options={"retry": FAST})[:][..., 0] == voxels).all()


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_compressed_objects_that_are_damaged(encoding, place):
    place.put("a", b"garbage" * 9, encoding)
    with pytest.raises(CorruptChunkError, match="Content-Encoding") as caught:
        place.open().read("a").result()
    assert caught.value.key == "a"


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_compressed_chunks_that_are_damaged(encoding, web):
    """Cut ones as well, which libcurl gives out as far as they go."""
    voxels = make(web)
    chunk = "volume/1_1_1/0-8_0-8_0-8"
    packed = compress(web.objects[chunk], encoding)
    volume = Volume(f"{web.url}/volume", fill_missing=True, storage_options={"retry": FAST})
    for damaged in (packed[: len(packed) // 2], packed[:-40], b"", b"garbage" * 9):
        web.objects[chunk] = Stored(damaged, {"Content-Encoding": encoding})
        with pytest.raises(CorruptChunkError) as caught:
            volume[:]
        assert caught.value.key == chunk.removeprefix("volume/")
        assert (volume[8:, :, :][..., 0] == voxels[8:]).all()


def test_a_content_encoding_that_nobody_knows(web):
    web.objects["volume/a"] = Stored(b"123", {"Content-Encoding": "quantum"})
    with pytest.raises(VolumekitError):
        store_at(f"{web.url}/volume").read("a").result()
