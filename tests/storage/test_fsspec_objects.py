"""Objects of S3 and Google Storage through s3fs and gcsfs: headers, compressed ones, long listings, refusals."""

import json
from urllib.parse import quote

import gcsfs
import imagecodecs
import numpy as np
import pytest
import s3fs

from tests.testing.asking import ask
from volumekit import Volume
from volumekit.codecs.compression import compress
from volumekit.errors import (
    ConflictError,
    CorruptChunkError,
    OptionError,
    PermissionDeniedError,
    StorageError,
    UnsupportedError,
)
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.storage.base import ABSENT
from volumekit.storage.headers import Headed, Headers
from volumekit.testing.keys import RANGES
from volumekit.testing.servers import Fault

TEXT = b"0123456789" * 40


class Bucket:
    """A bucket behind a web server, as its filesystem and as HTTP."""

    def __init__(self, kind, web, bucket):
        self.kind, self.web = kind, web
        web.upstream, _, self.name = bucket.partition("://")[2].rpartition("/")
        if kind == "s3":
            how = {"config_kwargs": {"retries": {"max_attempts": 1}}, "client_kwargs": {"region_name": "us-east-1"}}
            self.fs = s3fs.S3FileSystem(key="testing", secret="testing", endpoint_url=web.url, **how)
        else:
            self.fs = gcsfs.GCSFileSystem(endpoint_url=web.url, token="anon")
        self.place = f"{kind}://{self.name}/v"
        self.options = {"filesystem": self.fs}
        self.store = open_store(parse_url(self.place), options=self.options)

    def put(self, key, data, encoding):
        """Store an object with a Content-Encoding behind everybody's back."""
        if self.kind == "s3":
            place = f"{self.web.upstream}/{self.name}/v/{key}"
            assert ask(place, "PUT", data, Content_Encoding=encoding)[0] == 200
        else:
            query = f"uploadType=media&contentEncoding={encoding}&name=v/{key}"
            assert ask(f"{self.web.upstream}/upload/storage/v1/b/{self.name}/o?{query}", "POST", data)[0] == 200

    def headers(self, key):
        """Return type, encoding and cache control of an object, as the server tells them."""
        if self.kind == "s3":
            found = self.fs.call_s3("head_object", Bucket=self.name, Key=f"v/{key}")
            return tuple(found.get(name) for name in ("ContentType", "ContentEncoding", "CacheControl"))
        _, body, _ = ask(f"{self.web.upstream}/storage/v1/b/{self.name}/o/{quote(f'v/{key}', safe='')}")
        return tuple(json.loads(body).get(name) for name in ("contentType", "contentEncoding", "cacheControl"))


@pytest.fixture(params=["s3", "gs"])
def bucket(request, web):
    return Bucket(request.param, web, request.getfixturevalue("s3_bucket" if request.param == "s3" else "gcs_bucket"))


def test_headers_are_stored(bucket):
    for n, headers in enumerate(
        (
            Headers("image/png"),
            Headers("application/json", "no-cache"),
            Headers(encoding="gzip", level=9),
            Headers("image/jpeg", "public, max-age=60", "zstd"),
        )
    ):
        stamps = bucket.store.commit({f"a{n}": Headed(TEXT, headers)}).result()
        assert bucket.headers(f"a{n}") == (headers.content_type, headers.encoding, headers.cache_control)
        value = bucket.store.read(f"a{n}").result()
        assert (value.data, value.stamp) == (TEXT, stamps[f"a{n}"])
    bucket.store.commit({"plain": TEXT}).result()
    assert bucket.headers("plain") == ("application/octet-stream", None, None)


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_compressed_objects_of_others(bucket, encoding):
    bucket.put("a", compress(TEXT, encoding), encoding)
    stamp = bucket.store.read("a").result().stamp
    for part in RANGES if bucket.kind == "s3" else ((None, None), (0, 0), (5, 2), (None, 3), (7, 9)):
        value = bucket.store.read("a", *part).result()
        assert (value.data, value.stamp) == (TEXT[slice(*part)], stamp), part
    stamp = bucket.store.commit({"a": Headed(b"new", Headers(encoding=encoding))}, stamp).result()["a"]
    assert bucket.store.read("a").result().data == b"new"
    with pytest.raises(ConflictError):
        bucket.store.commit({"a": Headed(b"late", Headers(encoding=encoding))}, ABSENT).result()


def test_compressed_objects_that_are_damaged(bucket):
    bucket.put("a", compress(TEXT, "gzip")[:-9], "gzip")
    with pytest.raises((CorruptChunkError, StorageError)) as caught:
        bucket.store.read("a").result()
    assert caught.value.key == "a"


def test_encodings_that_nobody_knows(web, s3_bucket):
    bucket = Bucket("s3", web, s3_bucket)
    bucket.put("a", TEXT, "snappy")
    with pytest.raises(UnsupportedError, match="snappy"):
        bucket.store.read("a").result()
    bucket.put("b", TEXT, "aws-chunked")
    assert bucket.store.read("b").result().data == TEXT
    bucket.put("c", compress(TEXT, "gzip"), "aws-chunked,gzip")
    assert bucket.store.read("c", 3, 8).result().data == TEXT[3:8]


def test_long_listings(bucket):
    names = [f"{n:04}" for n in range(1003)]
    bucket.store.commit(dict.fromkeys([f"many/{name}" for name in names], b"")).result()
    bucket.web.requests.clear()
    assert sorted(bucket.store.list("many/")) == [f"many/{name}" for name in names]
    assert len(bucket.web.requests) == 2
    assert next(bucket.store.list("many/")) == "many/0000"


@pytest.mark.parametrize("status", [401, 403])
def test_refusals_are_not_absence(bucket, status):
    bucket.store.commit({"a": b"1"}).result()
    bucket.web.fault(Fault(status, body=b""))
    for ask_for in (
        lambda: bucket.store.read("a").result(),
        lambda: bucket.store.read("nothing", 0, 0).result(),
        lambda: bucket.store.commit({"a": b"2"}).result(),
        lambda: bucket.store.commit({"a": None}).result(),
        lambda: list(bucket.store.list()),
    ):
        with pytest.raises(PermissionDeniedError):
            ask_for()


def test_a_bucket_that_is_not_there(bucket):
    store = open_store(parse_url(f"{bucket.kind}://{bucket.name}-not/v"), options=bucket.options)
    for ask_for in (
        lambda: store.read("a").result(),
        lambda: store.commit({"a": b"2"}).result(),
        lambda: list(store.list()),
    ):
        with pytest.raises(StorageError, match="no bucket"):
            ask_for()


def test_answers_that_are_cut_short_are_asked_for_again(bucket):
    data = bytes(range(256)) * 4000
    bucket.store.commit({"a": data}).result()
    bucket.web.fault(Fault(cut=5000), ".*a", times=1, method="GET")
    assert bucket.store.read("a").result().data == data


@pytest.mark.parametrize("method", ["gzip", "br", "zstd"])
def test_volumes_are_compressed(bucket, method):
    voxels = np.random.default_rng(1).integers(1, 9, (20, 20, 20, 1), np.uint8)
    how = {"storage_options": bucket.options, "progress": False}
    volume = Volume.from_numpy(voxels, bucket.place, chunk_size=(16, 16, 16), compress=method, cdn_cache=60, **how)
    chunk = "1_1_1/0-16_0-16_0-16"
    assert bucket.headers(chunk) == ("application/octet-stream", method, "public, max-age=60")
    assert bucket.headers("info") == ("application/json", None, "public, max-age=60")
    volume.non_aligned_writes = True
    volume[3:18, 5:9, 7:18] = 7
    voxels[3:18, 5:9, 7:18] = 7
    np.testing.assert_array_equal(Volume(bucket.place, **how)[:], voxels)
    assert bucket.headers(chunk)[1] == method
    assert volume.exists().num_missing == 0
    with pytest.raises(OptionError, match="Content-Encoding"):
        Volume(bucket.place, compress="xz", **how)[:16, :16, :16] = 1


def test_pngs_are_called_so(bucket):
    voxels = np.zeros((16, 16, 16), np.uint8)
    how = {"storage_options": bucket.options, "progress": False}
    Volume.from_numpy(voxels, bucket.place, chunk_size=(16, 16, 16), encoding="png", **how)
    assert bucket.headers("1_1_1/0-16_0-16_0-16")[0] == "image/png"
    assert imagecodecs.png_decode(bucket.store.read("1_1_1/0-16_0-16_0-16").result().data).size == 4096


@pytest.mark.parametrize("change", [None, b"2"])
def test_conditions_on_what_is_gone(bucket, change):
    stamp = bucket.store.commit({"a": b"1"}).result()["a"]
    bucket.store.commit({"a": None}).result()
    if bucket.kind == "gs" and change is not None:
        pytest.skip("fake-gcs-server does not look")
    with pytest.raises(ConflictError):
        bucket.store.commit({"a": change}, stamp).result()
    assert bucket.store.commit({"a": None}, ABSENT).result() == {"a": ABSENT}
    assert bucket.store.read("a").result() is None
