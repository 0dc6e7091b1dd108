"""Buckets through filesystems that the caller passes: s3fs and gcsfs."""

from typing import ClassVar
from urllib.parse import quote

import gcsfs
import numpy as np
import pytest
import s3fs

from tests.testing.asking import ask
from volumekit import Volume
from volumekit.errors import PermissionDeniedError, StorageError
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.storage.fsspec import FsspecStore
from volumekit.testing.keys import KEYS
from volumekit.testing.stores import StoreConformance

LOGIN = {"key": "testing", "secret": "testing"}


def split(bucket):
    server, _, name = bucket.partition("://")[2].rpartition("/")
    return server, name


def s3(server, **how):
    how = {**LOGIN, **how}
    return s3fs.S3FileSystem(endpoint_url=server, client_kwargs={"region_name": "us-east-1"}, **how)


class TestS3(StoreConformance):
    native = False
    keys: ClassVar = tuple(key for key in KEYS if "\n" not in key)  # moto finds none with line ends

    @pytest.fixture(autouse=True)
    def bucket(self, s3_bucket):
        self.server, self.name = split(s3_bucket)
        self.beside = open_store(parse_url(f"{s3_bucket}/a folder/volume"))

    def make_store(self, tmp_path):
        return open_store(parse_url(f"s3://{self.name}/a folder/volume"), options={"filesystem": s3(self.server)})

    def plant(self, store, key, data):
        self.beside.commit({key: data}).result()

    def inspect(self, store, key):
        value = self.beside.read(key).result()
        return None if value is None else value.data


class TestGs(StoreConformance):
    native = False
    keys: ClassVar = tuple(key for key in KEYS if "\n" not in key)

    @pytest.fixture(autouse=True)
    def bucket(self, strict_gcs_bucket):
        self.server, self.name = split(strict_gcs_bucket)

    def make_store(self, tmp_path):
        fs = gcsfs.GCSFileSystem(endpoint_url=self.server, token="anon")
        return open_store(parse_url(f"gs://{self.name}/a folder/volume"), options={"filesystem": fs})

    def plant(self, store, key, data):
        name = quote(f"a folder/volume/{key}", safe="")
        if data is None:
            ask(f"{self.server}/storage/v1/b/{self.name}/o/{name}", "DELETE")
        else:
            ask(f"{self.server}/upload/storage/v1/b/{self.name}/o?uploadType=media&name={name}", "POST", data)

    def inspect(self, store, key):
        place = f"{self.server}/storage/v1/b/{self.name}/o/{quote(f'a folder/volume/{key}', safe='')}?alt=media"
        status, body, _ = ask(place)
        return body if status == 200 else None


def test_a_volume_in_a_filesystem_of_the_caller(s3_bucket):
    server, name = split(s3_bucket)
    voxels = np.random.default_rng(1).integers(1, 200, (40, 30, 20, 1), np.uint8)
    options = {"filesystem": s3(server)}
    volume = Volume.from_numpy(voxels, f"s3://{name}/v", chunk_size=(16, 16, 16), storage_options=options)
    assert isinstance(volume._store, FsspecStore)
    volume.non_aligned_writes = True
    volume[3:20, 5:9, 7:18] = 7
    expected = voxels.copy()
    expected[3:20, 5:9, 7:18] = 7
    for opened in (volume, Volume(f"s3://{name}/v", storage_options=options), Volume(f"{s3_bucket}/v")):
        np.testing.assert_array_equal(opened[:], expected)
    assert volume.exists().num_missing == 0
    volume.delete(volume.bounds)
    assert not volume.has_data()


def test_what_one_reads_the_other_may_write(s3_bucket):
    """Stamps are spelled alike, so that no update is lost between TensorStore and s3fs."""
    server, name = split(s3_bucket)
    native = open_store(parse_url(f"{s3_bucket}/v"))
    other = open_store(parse_url(f"s3://{name}/v"), options={"filesystem": s3(server)})
    stamps = native.commit({"a": b"1"}).result()
    assert other.read("a").result().stamp == stamps["a"] == native.read("a").result().stamp
    newer = other.commit({"a": b"2"}, stamps["a"]).result()
    assert native.read("a").result().stamp == newer["a"]
    native.commit({"a": b"3"}, newer["a"]).result()
    assert other.read("a").result().data == b"3"


def test_who_is_refused_is_told_so(s3_bucket, tmp_path):
    server, _ = split(s3_bucket)
    nowhere = open_store(parse_url("s3://no-such-bucket/v"), options={"filesystem": s3(server)})
    with pytest.raises((StorageError, PermissionDeniedError), match="no-such-bucket"):
        nowhere.read("info").result()
    dead = s3("http://127.0.0.1:9", config_kwargs={"retries": {"max_attempts": 1}, "connect_timeout": 1})
    with pytest.raises(StorageError):
        open_store(parse_url("s3://bucket/v"), options={"filesystem": dead}).read("info").result()
