"""Formats pass the kit over S3 and Google Storage, and what is read there reads the same from a web server."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from tests.formats.test_conformance import PrecomputedConformance
from tests.formats.test_sharded_conformance import ShardedConformance
from tests.formats.test_zarr_conformance import ZarrConformance
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.storage.base import Store
from volumekit.testing.datasets import Place
from volumekit.testing.formats import FormatConformance


class RawConformance(PrecomputedConformance):
    dtypes = ("uint16",)
    channels = (2,)
    offsets = ((-9, 7, -1000),)
    compressions = (None,)


class TestS3(RawConformance):
    protocols = ("s3",)

    @pytest.fixture(autouse=True)
    def bucket(self, s3_bucket):
        self.place = s3_bucket

    def url(self, protocol, folder):
        return f"{self.place}{folder}"


class TestGs(TestS3):
    protocols = ("gs",)

    @pytest.fixture(autouse=True)
    def bucket(self, strict_gcs_bucket):
        self.place = strict_gcs_bucket


class TestShardsInS3(ShardedConformance):
    native = False
    sharding: ClassVar = {
        "preshift_bits": 0, "hash": "murmurhash3_x86_128", "minishard_bits": 2, "shard_bits": 1,
        "minishard_index_encoding": "gzip", "data_encoding": "gzip",
    }  # fmt: skip
    dtypes = ("uint16",)
    offsets = ((-9, 7, -1000),)
    protocols = ("s3",)

    @pytest.fixture(autouse=True)
    def bucket(self, quick_bucket):
        self.place = quick_bucket

    def url(self, protocol, folder):
        return f"{self.place}{folder}"


class TestZarrInS3(ZarrConformance):
    version = 3
    dtypes = ("uint16",)
    channels = (2,)
    offsets = ((0, 0, 0),)
    protocols = ("s3",)

    @pytest.fixture(autouse=True)
    def bucket(self, quick_bucket):
        self.place = quick_bucket

    def url(self, protocol, folder):
        return f"{self.place}{folder}"


@dataclass(frozen=True)
class Behind(Place):
    """A dataset that is changed behind the web server that serves it."""

    behind: Store | None = None

    def plant(self, fmt, objects):
        self.behind.commit(objects).result()


KEPT = ("test_reads_what_others_wrote", "test_missing_chunks", "test_damaged_chunks")


class TestHttp(RawConformance):
    """What the kit does without writing."""

    @pytest.fixture(autouse=True)
    def bucket(self, quick_bucket):
        self.place = quick_bucket

    def places(self, tmp_path):
        behind = f"{self.place}{tmp_path}"
        url = behind.removeprefix("s3://")
        yield Behind(url, open_store(parse_url(url)), None, behind=open_store(parse_url(behind)))


for name in vars(FormatConformance):
    if name.startswith("test_") and name not in KEPT:
        setattr(TestHttp, name, None)
