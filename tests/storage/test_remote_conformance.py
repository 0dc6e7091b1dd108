"""The kit over real servers: S3, Google Storage, the web."""

from typing import ClassVar
from urllib.parse import quote

import pytest

from tests.testing.asking import ask
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.testing.keys import KEYS
from volumekit.testing.stores import StoreConformance

FAST = {"attempts": 3, "delay": 0.02, "longest": 0.05}


class TestS3(StoreConformance):
    """Below a folder of a bucket in moto."""

    keys: ClassVar = tuple(key for key in KEYS if "\n" not in key)  # moto finds none with line ends

    @pytest.fixture(autouse=True)
    def bucket(self, s3_bucket):
        self.url = s3_bucket

    def make_store(self, tmp_path):
        return open_store(parse_url(f"{self.url}/a folder/volume"), options={"retry": FAST})


class TestWholeBucket(TestS3):
    """The bucket itself, in the quick server."""

    keys: ClassVar = KEYS

    @pytest.fixture(autouse=True)
    def bucket(self, quick_bucket):
        self.url = quick_bucket

    def make_store(self, tmp_path):
        return open_store(parse_url(self.url), options={"retry": FAST})


class TestGs(StoreConformance):
    """In fake-gcs-server, behind a server that honours conditions."""

    keys: ClassVar = tuple(key for key in KEYS if "\n" not in key)  # Google Storage has no such names

    @pytest.fixture(autouse=True)
    def bucket(self, strict_gcs_bucket):
        self.url = strict_gcs_bucket
        server, _, self.name = strict_gcs_bucket.removeprefix("gs://").rpartition("/")
        self.objects = f"{server}/storage/v1/b/{self.name}/o"
        self.uploads = f"{server}/upload/storage/v1/b/{self.name}/o"

    def make_store(self, tmp_path):
        return open_store(parse_url(f"{self.url}/a folder/volume"), options={"retry": FAST})

    def plant(self, store, key, data):
        name = quote(f"a folder/volume/{key}", safe="")
        if data is None:
            ask(f"{self.objects}/{name}", "DELETE")
        else:
            ask(f"{self.uploads}?uploadType=media&name={name}", "POST", data)

    def inspect(self, store, key):
        status, body, _ = ask(f"{self.objects}/{quote(f'a folder/volume/{key}', safe='')}?alt=media")
        return body if status == 200 else None


class TestHttp(StoreConformance):
    writable = listable = conditional = False

    @pytest.fixture(autouse=True)
    def server(self, web):
        self.web = web

    def make_store(self, tmp_path):
        return open_store(parse_url(f"{self.web.url}/a%20folder/volume?token=a%26b"), options={"retry": FAST})

    def plant(self, store, key, data):
        if data is None:
            del self.web.objects[f"a folder/volume/{key}"]
        else:
            self.web.objects[f"a folder/volume/{key}"] = data

    def inspect(self, store, key):
        return self.web.objects.get(f"a folder/volume/{key}")
