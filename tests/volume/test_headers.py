"""What object stores are told of the objects that volumes write."""

from __future__ import annotations

import gzip
import urllib.request

import boto3
import numpy as np
import pytest

import volumekit
from volumekit import Volume
from volumekit.errors import OptionError
from volumekit.storage.filesystem_s3 import S3Filesystem

SHAPE = (40, 30, 20, 1)


@pytest.fixture
def voxels():
    return np.random.default_rng(1).integers(1, 200, SHAPE, np.uint8)


@pytest.fixture
def head(s3_bucket, s3_server):
    """Ask the server itself for an object's headers and stored bytes."""
    endpoint, _, bucket = s3_bucket.removeprefix("s3://").rpartition("/")
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )

    def ask(key):
        reply = client.get_object(Bucket=bucket, Key=key)
        told = {name: reply.get(name) for name in ("ContentType", "ContentEncoding", "CacheControl")}
        return told, reply["Body"].read()

    return ask


def make(url, voxels, **how):
    return Volume.from_numpy(voxels, url, chunk_size=(16, 16, 16), progress=False, **how)


FIRST = "v/1_1_1/0-16_0-16_0-16"


@pytest.mark.parametrize(("encoding", "kind"), [("png", "image/png"), ("raw", "application/octet-stream")])
def test_content_types(s3_bucket, head, voxels, encoding, kind):
    volume = make(f"{s3_bucket}/v", voxels, encoding=encoding)
    told, _ = head(FIRST)
    assert told["ContentType"] in (kind, "binary/octet-stream" if encoding == "raw" else kind)
    assert told["CacheControl"] is None
    told, _ = head("v/info")
    assert (told["ContentType"], told["CacheControl"]) == ("application/json", "no-cache")
    assert head("v/provenance")[0]["ContentType"] == "application/json"
    np.testing.assert_array_equal(Volume(volume.cloudpath)[:], voxels)


@pytest.mark.parametrize("method", ["gzip", "br", "zstd"])
def test_compression_is_a_content_encoding(s3_bucket, head, voxels, method):
    volume = make(f"{s3_bucket}/v", voxels, compress=method, non_aligned_writes=True)
    told, data = head(FIRST)
    assert told["ContentEncoding"] == method
    if method == "gzip":
        assert gzip.decompress(data) == voxels[:16, :16, :16].tobytes(order="F")
    for opened in (volume, Volume(volume.cloudpath)):
        np.testing.assert_array_equal(opened[:], voxels)
    volume[3:20, 5:9, 7:18] = 7
    expected = voxels.copy()
    expected[3:20, 5:9, 7:18] = 7
    np.testing.assert_array_equal(Volume(volume.cloudpath)[:], expected)
    assert head(FIRST)[0]["ContentEncoding"] == method
    assert volume.exists().num_missing == 0
    Volume(volume.cloudpath, compress=False)[:16, :16, :16] = 5
    assert head(FIRST)[0]["ContentEncoding"] is None
    assert (np.asarray(Volume(volume.cloudpath)[:16, :16, :16]) == 5).all()


def test_compression_levels(s3_bucket, head, tmp_path):
    smooth = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None] // 3, (64, 64, 64))
    smooth = smooth + np.random.default_rng(1).integers(0, 4, smooth.shape, np.uint8)
    sizes = []
    for level in (1, 9):
        how = {"chunk_size": (64, 64, 64), "compress": "gzip", "compress_level": level, "progress": False}
        Volume.from_numpy(smooth, f"{s3_bucket}/l{level}", **how)
        Volume.from_numpy(smooth, tmp_path / f"l{level}", **how)
        stored = head(f"l{level}/1_1_1/0-64_0-64_0-64")[1]
        assert stored == (tmp_path / f"l{level}/1_1_1/0-64_0-64_0-64.gz").read_bytes()
        sizes.append(len(stored))
    assert sizes[0] > sizes[1]
    with pytest.raises(OptionError, match="levels 1 to 9"):
        Volume(tmp_path / "l1", compress="gzip", compress_level=77)


@pytest.mark.parametrize("level", [-1, 23, "9", 2.5, True])
@pytest.mark.parametrize("method", [None, False, "gzip", True, "zstd"])
def test_impossible_levels_are_refused_when_they_are_given(tmp_path, method, level):
    made = Volume.from_numpy(np.zeros((8, 8, 8), np.uint8), tmp_path / "v")
    with pytest.raises(OptionError, match="level"):
        Volume(tmp_path / "v", compress=method, compress_level=level)
    made.compress = method
    with pytest.raises(OptionError, match="level"):
        made.compress_level = level
    made.compress_level = 9
    assert (made.compress, made.compress_level) == ("gzip" if method is True else method, 9)


def test_a_level_of_another_method(tmp_path):
    made = Volume.from_numpy(np.zeros((8, 8, 8), np.uint8), tmp_path / "v", compress="zstd", compress_level=22)
    with pytest.raises(OptionError, match="gzip has levels 1 to 9, not 22"):
        made.compress = "gzip"
    assert made.compress == "zstd"
    assert volumekit.recompress(made, "gzip").compress == "gzip"


@pytest.mark.parametrize("method", ["xz", "bz2"])
def test_what_no_web_client_undoes_is_refused(s3_bucket, voxels, method):
    with pytest.raises(OptionError, match="Content-Encoding"):
        make(f"{s3_bucket}/v", voxels, compress=method)


@pytest.mark.parametrize(
    ("cdn_cache", "header"), [(True, "public, max-age=3600"), (60, "public, max-age=60"), ("private", "private")]
)
def test_cdn_cache(s3_bucket, head, voxels, cdn_cache, header):
    volume = make(f"{s3_bucket}/v", voxels, cdn_cache=cdn_cache)
    assert head(FIRST)[0]["CacheControl"] == header
    assert head("v/info")[0]["CacheControl"] == header
    np.testing.assert_array_equal(volume[:], voxels)
    with pytest.raises(OptionError, match="cdn_cache"):
        Volume(volume.cloudpath, cdn_cache=-5)


def test_google_storage(gcs_bucket, voxels):
    volume = make(f"{gcs_bucket}/v", voxels, compress="gzip", cdn_cache=60)
    np.testing.assert_array_equal(Volume(volume.cloudpath)[:], voxels)
    endpoint, _, bucket = gcs_bucket.removeprefix("gs://").rpartition("/")
    name = FIRST.replace("/", "%2F")
    with urllib.request.urlopen(f"{endpoint}/storage/v1/b/{bucket}/o/{name}") as reply:
        told = reply.read().decode()
    assert '"contentEncoding":"gzip"' in told.replace(" ", "")


def test_without_s3fs_plain_chunks_are_still_written(s3_bucket, voxels, monkeypatch):
    def missing(self, *args, **how):
        raise AssertionError("not asked for")

    monkeypatch.setattr(S3Filesystem, "__init__", missing)
    monkeypatch.setattr("volumekit.storage.headed.CONTENT_TYPES", {})
    info = Volume.create_new_info(1, "image", "uint8", "raw", (1, 1, 1), (0, 0, 0), SHAPE[:3], chunk_size=(16, 16, 16))
    volume = Volume(f"{s3_bucket}/v", info=info, progress=False)
    volume[:] = voxels
    np.testing.assert_array_equal(volume[:], voxels)


def test_compressing_otherwise_in_place(s3_bucket, head, voxels):
    volume = make(f"{s3_bucket}/v", voxels, compress="gzip")
    for method in ("zstd", False, "br"):
        volumekit.recompress(volume.cloudpath, method)
        assert (head(FIRST)[0]["ContentEncoding"] or None) == (method or None)
        np.testing.assert_array_equal(Volume(volume.cloudpath)[:], voxels)
    with pytest.raises(OptionError, match="Content-Encoding"):
        volumekit.recompress(volume.cloudpath, "xz")
    np.testing.assert_array_equal(Volume(volume.cloudpath)[:], voxels)
