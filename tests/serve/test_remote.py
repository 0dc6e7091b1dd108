"""Data behind credentials is served to those who have none: the server has them."""

import numpy as np
import pytest

from tests.serve.client import get
from volumekit import Volume
from volumekit.errors import OptionError
from volumekit.serve.objects import FAR_PIECE
from volumekit.serve.sources import Source
from volumekit.testing.servers import Fault, WebServer


@pytest.fixture
def array(rng):
    return rng.integers(1, 250, (40, 33, 21), np.uint8)


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_s3(running, s3_bucket, array):
    url = f"{s3_bucket}/some/brain"
    how = {"resolution": (4, 4, 40), "voxel_offset": (-3, 7, 100), "chunk_size": (16, 16, 8), "compress": "gzip"}
    Volume.from_numpy(array, url, **how)
    server = running(url)
    for shown in ("precomputed", "zarr"):
        assert np.array_equal(Volume(server.source(format=shown))[:][..., 0], array)
    path = "/brain/4_4_40/-3-13_7-23_100-108"
    whole = get(server, path)
    assert whole.body == array[:16, :16, :8].tobytes("F")
    assert get(server, path, headers={"If-None-Match": whole.headers["etag"]}).status == 304
    assert get(server, path, headers={"Range": "bytes=100-199"}).body == whole.body[100:200]
    assert get(server, path + "0").status == 404
    made = get(server, "/brain.zarr/0/c/0/0/0")
    assert get(server, "/brain.zarr/0/c/0/0/0", headers={"If-None-Match": made.headers["etag"]}).status == 304


def test_shards_and_sizes_on_s3(running, quick_bucket, array):
    """A storage that tells no sizes is asked for parts until they are known."""
    url = f"{quick_bucket}/sharded"
    volume = Volume.from_numpy(array, url, chunk_size=(16, 16, 8), sharding=True)
    sizes = (0, 1, 65535, 65536, 65537, 1 << 20, (1 << 20) + 1, 3 * FAR_PIECE - 7)
    large = np.random.default_rng(0).bytes(max(sizes))
    volume._store.commit({f"mesh/{size}": large[:size] for size in sizes}).result()
    server = running(url)
    assert np.array_equal(Volume(server.source())[:][..., 0], array)
    for size in sizes:
        path, expected = f"/sharded/mesh/{size}", large[:size]
        assert get(server, path, "HEAD").headers["content-length"] == str(size)
        assert get(server, path).body == expected
        if size:
            assert get(server, path, headers={"Range": "bytes=-5"}).body == expected[-5:]
        part = get(server, path, headers={"Range": "bytes=60000-"})
        assert (part.status, part.body) == ((206, expected[60000:]) if size > 60000 else (416, part.body))
    assert get(server, "/sharded/mesh/7", "HEAD").status == 404


def test_a_web_server_that_wants_a_token(running, array, tmp_path):
    Volume.from_numpy(array, tmp_path / "brain", chunk_size=(16, 16, 8))
    protected = running(tmp_path / "brain", token="secret").url.removesuffix("/~secret")
    with pytest.raises(OptionError, match="source 'brain': the storage refused access"):
        running(f"{protected}/brain")
    server = running(Source("brain", f"{protected}/brain", storage_options={"token": "secret"}))
    assert np.array_equal(Volume(server.source())[:][..., 0], array)
    whole = get(server, "/brain/1_1_1/0-16_0-16_0-8")
    assert get(server, "/brain/1_1_1/0-16_0-16_0-8", "HEAD").headers["content-length"] == str(16 * 16 * 8)
    assert get(server, "/brain/1_1_1/0-16_0-16_0-8", headers={"Range": "bytes=-9"}).body == whole.body[-9:]
    assert "secret" not in get(server, "/").body.decode()


@pytest.mark.parametrize(("status", "expected"), [(403, 403), (401, 403), (500, 502), (410, 404)])
def test_a_storage_that_refuses_or_fails(running, array, tmp_path, status, expected):
    Volume.from_numpy(array, tmp_path / "brain", chunk_size=(16, 16, 8))
    stored = {f"brain/{path.relative_to(tmp_path / 'brain')}": path.read_bytes() for path in files(tmp_path / "brain")}
    with WebServer(stored) as web:
        retry = {"attempts": 1, "delay": 0.01, "longest": 0.01}
        server = running(Source("brain", f"{web.url}/brain", storage_options={"retry": retry}))
        web.fault(Fault(status), "brain/1_1_1/.*")
        for path in ("/brain/1_1_1/0-16_0-16_0-8", "/brain.zarr/0/c/0/0/0"):
            reply = get(server, path)
            assert reply.status == expected
            assert b"injected" not in reply.body
