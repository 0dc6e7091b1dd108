"""pytest fixtures for `volumekit.testing.servers`; import those you want into your ``conftest.py``.

Servers start when a test first asks for one and serve the whole session (each worker of pytest-xdist has its own);
every test gets its own bucket.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from volumekit.testing.servers import BucketServer, FastS3, StrictGcs, WebServer, fake_gcs, fast_s3, moto_s3

__all__ = [
    "gcs_bucket", "gcs_server", "no_credentials", "quick_bucket", "quick_server", "s3_bucket", "s3_server",
    "strict_gcs_bucket", "strict_gcs_server", "web",
]  # fmt: skip

_NUMBERS = itertools.count()
_PREFIXES = ("AWS_", "S3_", "GOOGLE_", "GCSFS_", "STORAGE_EMULATOR", "TENSORSTORE_GCS", "CLOUDSDK_")
_KEPT = ("AWS_CA_BUNDLE",)


@pytest.fixture(scope="session")
def no_credentials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """Hide the credentials and settings for S3 and Google Storage that this machine has."""
    nowhere = tmp_path_factory.mktemp("nowhere")
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(_PREFIXES) and name not in _KEPT:
                patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", str(nowhere / "config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere / "credentials"))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("CLOUDSDK_CONFIG", str(nowhere))
        patch.setenv("NO_GCE_CHECK", "true")
        yield patch


@pytest.fixture(scope="session")
def s3_server(no_credentials: pytest.MonkeyPatch) -> Iterator[BucketServer]:
    """Run moto's S3; the environment has credentials for it from here on."""
    no_credentials.setenv("AWS_ACCESS_KEY_ID", "testing")
    no_credentials.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with moto_s3() as server:
        yield server


@pytest.fixture(scope="session")
def quick_server(no_credentials: pytest.MonkeyPatch) -> Iterator[FastS3]:
    """Run the quick S3 look-alike; the environment has credentials for it from here on."""
    no_credentials.setenv("AWS_ACCESS_KEY_ID", "testing")
    no_credentials.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with fast_s3() as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server(no_credentials: pytest.MonkeyPatch) -> Iterator[BucketServer]:
    """Run the Google Storage look-alike."""
    with fake_gcs() as server:
        yield server


@pytest.fixture
def s3_bucket(s3_server: BucketServer) -> str:
    """Return the URL of a new bucket in moto: ``s3://http://127.0.0.1:port/bucket``."""
    return s3_server.make_bucket(f"bucket-{next(_NUMBERS)}")


@pytest.fixture
def quick_bucket(quick_server: FastS3) -> str:
    """Return the URL of a new bucket in the quick S3 look-alike."""
    return quick_server.make_bucket(f"bucket-{next(_NUMBERS)}")


@pytest.fixture
def gcs_bucket(gcs_server: BucketServer) -> str:
    """Return the URL of a new bucket in fake-gcs-server: ``gs://http://127.0.0.1:port/bucket``."""
    return gcs_server.make_bucket(f"bucket-{next(_NUMBERS)}")


@pytest.fixture(scope="session")
def strict_gcs_server(gcs_server: BucketServer) -> Iterator[StrictGcs]:
    """Run a Google Storage look-alike that honours conditional writes."""
    with StrictGcs(gcs_server.url) as server:
        yield server


@pytest.fixture
def strict_gcs_bucket(gcs_bucket: str, gcs_server: BucketServer, strict_gcs_server: StrictGcs) -> str:
    """Return the URL of a new bucket where conditional writes are honoured."""
    return gcs_bucket.replace(gcs_server.url, strict_gcs_server.url)


@pytest.fixture
def web() -> Iterator[WebServer]:
    """Run a web server, empty and without faults."""
    with WebServer() as server:
        yield server
