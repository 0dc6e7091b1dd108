"""The disk cache over every kind of storage and format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import fsspec
import numpy as np
import pytest
import tifffile
import zarr
from fsspec.implementations.dirfs import DirFileSystem

from tests.cache.conftest import CHUNKS
from volumekit import Cache, Volume
from volumekit.errors import OptionError, PermissionDeniedError
from volumekit.storage.base import Value, done
from volumekit.storage.retry import Retry
from volumekit.storage.wrap import CountedStore
from volumekit.testing.servers import Fault, Stored

FIRST = np.s_[-5:27, 3:35, 8:40]
QUICK = {"retry": Retry(attempts=2, delay=0.01)}


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_shards_are_kept_chunk_by_chunk(tmp_path, opened, voxels, encoding):
    how = {"chunk_size": (32, 32, 32), "encoding": encoding, "sharding": True, "overwrite": True}
    Volume.from_numpy(voxels, tmp_path / "remote", **how)
    volume = opened(non_aligned_writes=True)
    assert all(volume.exists().values())
    np.testing.assert_array_equal(volume[0:33, 0:10, 0:10], voxels[0:33, 0:10, 0:10])
    assert volume.cache.list() == ["0-32_0-32_0-32", "32-64_0-32_0-32"]
    volume[3:50, 4:60, 5:33] = 7
    expected = voxels.copy()
    expected[3:50, 4:60, 5:33] = 7
    for _ in range(2):
        np.testing.assert_array_equal(volume[:], expected)
    copy = Volume(volume.cache.path)
    assert "sharding" not in copy.scale
    np.testing.assert_array_equal(copy[:], expected)
    np.testing.assert_array_equal(Volume(tmp_path / "remote")[:], expected)
    assert all(volume.exists().values())


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("sharded", [False, True])
def test_zarr(tmp_path, voxels, version, sharded):
    layout = {"chunks": (20, 30, 50), "dtype": "uint8", "zarr_format": version}
    if sharded and version == 3:
        layout["shards"] = (40, 60, 100)
    zarr.create_array(tmp_path / "z", shape=voxels.shape[2::-1], fill_value=0, **layout)[:] = voxels[..., 0].T
    volume = Volume(tmp_path / "z", cache=tmp_path / "cache", progress=False)
    for _ in range(2):
        np.testing.assert_array_equal(volume[...], voxels)
    assert volume.cache.stats().misses == volume.cache.num_files() == 2 * 3 * 3
    np.testing.assert_array_equal(Volume(volume.cache.path)[...], voxels)


@pytest.mark.parametrize("version", [2, 3])
def test_chunks_of_zarr_that_are_evicted_are_not_taken_for_its_fill_value(tmp_path, voxels, version, monkeypatch):
    """There a missing chunk is no error, but in the mirror it is."""
    zarr.create_array(
        tmp_path / "z", shape=voxels.shape[2::-1], chunks=(20, 30, 50), dtype="uint8", fill_value=0, zarr_format=version
    )[:] = voxels[..., 0].T
    volume = Volume(tmp_path / "z", cache=tmp_path / "cache", progress=False)
    volume[...]
    mirror = volume._mirror()
    real, root = mirror.holds, Path(volume.cache.path)

    def holds(keys):
        keys = list(keys)
        held = real(keys)
        for key in keys:
            (root / key).unlink(missing_ok=True)
        return held

    monkeypatch.setattr(mirror, "holds", holds)
    np.testing.assert_array_equal(volume[...], voxels)


def test_missing_chunks_of_zarr(tmp_path):
    zarr.create_array(tmp_path / "z", shape=(8, 8, 8), chunks=(4, 4, 4), dtype="uint8", fill_value=3)[:4] = 5
    volume = Volume(tmp_path / "z", cache=tmp_path / "cache", progress=False)
    expected = np.full((8, 8, 8, 1), 3)
    expected[:, :, :4] = 5
    for _ in range(3):
        np.testing.assert_array_equal(volume[...], expected)
    assert volume.cache.stats().misses == 8
    assert volume.cache.num_files() == 4


def bucket_test(bucket, directory, voxels, **how):
    Volume.from_numpy(voxels, f"{bucket}/v", chunk_size=(32, 32, 32), compress="gzip", progress=False, **how)
    cache = Cache(directory)
    for _ in range(2):
        volume = Volume(f"{bucket}/v", cache=cache, progress=False, non_aligned_writes=True, **how)
        np.testing.assert_array_equal(volume[:], voxels)
    assert volume.cache.stats().misses == 0
    volume[32:64, 0:32, 0:32] = 8
    Volume(f"{bucket}/v", non_aligned_writes=True, progress=False, **how)[0:5, 0:5, 0:5] = 3
    voxels[:5, :5, :5] = 3
    voxels[32:64, 0:32, 0:32] = 8
    again = Volume(f"{bucket}/v", cache=cache, progress=False, **how)
    np.testing.assert_array_equal(again[:], voxels)
    assert again.cache.stats().misses == 1
    np.testing.assert_array_equal(Volume(again.cache.path)[:], voxels)


def test_s3(s3_bucket, tmp_path, voxels):
    bucket_test(s3_bucket, tmp_path / "cache", voxels)


def test_gs(strict_gcs_bucket, tmp_path, voxels):
    bucket_test(strict_gcs_bucket, tmp_path / "cache", voxels)


def test_fsspec(tmp_path, voxels):
    bucket_test(
        "memory://cached", tmp_path / "cache", voxels, storage_options={"filesystem": fsspec.filesystem("memory")}
    )


def test_endpoints_that_only_the_options_tell_do_not_mix(s3_server, quick_server, tmp_path, voxels, monkeypatch):
    """The same bucket and path at two servers."""
    cache, servers = Cache(tmp_path / "cache", revalidate="never"), (s3_server, quick_server)
    for number, server in enumerate(servers):
        server.make_bucket("samename")
        Volume.from_numpy(voxels + number, "s3://samename/v", storage_options={"endpoint": server.url})
    for _ in range(2):
        for number, server in enumerate(servers):
            found = Volume("s3://samename/v", cache=cache, storage_options={"endpoint": server.url})
            np.testing.assert_array_equal(found[:], voxels + number)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.url)
    found = Volume("s3://samename/v", cache=cache)
    np.testing.assert_array_equal(found[:], voxels)
    assert found.cache.stats().misses == 0


@pytest.fixture
def served(web, source):
    """The dataset on a web server; a function that changes the first chunk there."""
    root = Path(source._url.path)
    headers = {}

    def serve(**more):
        headers.update(more)
        for path in root.rglob("*"):
            if path.is_file():
                web.objects[f"v/{path.relative_to(root)}"] = Stored(path.read_bytes(), dict(headers))

    def change(value):
        web.objects["v/1_1_1/-5-27_3-35_8-40"] = Stored(bytes([value]) * 32**3, dict(headers))

    serve()
    return serve, change


def test_http(web, served, tmp_path, voxels):
    cache = Cache(tmp_path / "cache")
    for _ in range(2):
        volume = Volume(f"{web.url}/v", cache=cache, progress=False)
        np.testing.assert_array_equal(volume[:], voxels)
    assert volume.cache.stats().misses == 0
    before = len(web.requests)
    np.testing.assert_array_equal(volume[:], voxels)
    assert len(web.requests) == before
    served[1](9)
    found = Volume(f"{web.url}/v", cache=cache, progress=False)[FIRST]
    assert (np.asarray(found) == 9).all()


@pytest.mark.parametrize("tag", ["", 'W/"weak"'])
def test_web_servers_that_do_not_tell_what_changed(web, served, tmp_path, voxels, tag):
    """What is to be compared is fetched again; both caches."""
    serve, change = served
    serve(ETag=tag)
    cache = Cache(tmp_path / "cache", revalidate="always")
    volume = Volume(f"{web.url}/v", cache=cache, progress=False)
    np.testing.assert_array_equal(volume[:], voxels)
    for value in (9, 10):
        change(value)
        assert (np.asarray(volume[FIRST]) == value).all()
    remembering = Volume(f"{web.url}/v", cache=tmp_path / "cache", progress=False)
    remembering[FIRST]
    before = len(web.requests)
    remembering[FIRST]
    assert len(web.requests) == before


def test_a_refusal_is_an_error_and_no_outage(web, served, tmp_path):
    Volume(f"{web.url}/v", cache=tmp_path / "cache", progress=False)[:]
    volume = Volume(f"{web.url}/v", cache=tmp_path / "cache", progress=False, storage_options=QUICK)
    web.fault(Fault(403), "v/1_1_1.*")
    with pytest.raises(PermissionDeniedError):
        volume[:]


def test_a_server_that_dies_while_it_is_read(web, served, tmp_path, voxels):
    cache = Cache(tmp_path / "cache", revalidate="always")
    volume = Volume(f"{web.url}/v", cache=cache, progress=False, storage_options=QUICK)
    volume[:]
    web.fault(Fault(drop=True), "v/1_1_1.*")
    with pytest.warns(RuntimeWarning, match="cannot be reached"):
        np.testing.assert_array_equal(volume[:], voxels)


def test_image_stacks(tmp_path):
    """Pages of a multi-page TIFF cannot be read apart from it: they are not kept."""
    planes = np.random.default_rng(1).integers(0, 255, (5, 20, 30), np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", planes)
    volume = Volume(tmp_path / "stack.tif", cache=tmp_path / "cache")
    for _ in range(2):
        np.testing.assert_array_equal(np.asarray(volume[...])[..., 0], planes.T)
    assert volume.cache.num_files() == 0
    with pytest.raises(OptionError, match="apart from their files"):
        volume.cache.prefetch()


def test_keys_that_lead_out_of_the_dataset_are_not_kept(tmp_path, source, voxels):
    """An info may say that its chunks lie beside it; the cache is not to be led astray by that."""
    root = Path(source._url.path)
    shutil.copytree(root / "1_1_1", tmp_path / "beside")
    info = source.copy_info()
    info["scales"][0]["key"] = "../beside"
    (root / "info").write_text(json.dumps(info))
    volume = Volume(source.cloudpath, cache=tmp_path / "cache")
    for _ in range(2):
        np.testing.assert_array_equal(volume[:], voxels)
    assert [path for path in (tmp_path / "cache").rglob("*_*-*") if path.is_file()] == []


@pytest.mark.parametrize("key", ["../" * 4 + "victim", "a/../../../../victim", "../x", ".volumekit/metadata"])
def test_hostile_keys_leave_no_files_elsewhere(tmp_path, source, key):
    info = source.copy_info()
    info["scales"][0]["key"] = key
    data = bytes(32**3)

    class Hostile(CountedStore):
        def read(self, key, start=None, stop=None):
            return done(Value(data, b"\0stamp"))

    volume = Volume(source.cloudpath, info=info, cache=tmp_path / "deep/er/cache")
    volume._store = Hostile(volume._store)
    before = {path for path in tmp_path.rglob("*") if "deep" not in path.parts}
    for _ in range(2):
        assert not np.asarray(volume[FIRST]).any()
    volume.cache.flush_region(FIRST)
    assert {path for path in tmp_path.rglob("*") if "deep" not in path.parts} == before
    assert [path for path in tmp_path.rglob("*-*_*-*") if "deep" in path.parts and path.is_file()] == []


def test_no_credentials_in_the_directory(web, served, tmp_path):
    url = web.url.replace("//", "//somebody:topsecret@")
    volume = Volume(f"{url}/v?signature=topsecret", cache=tmp_path / "cache", progress=False)
    volume[:]
    assert volume.cache.num_files() == CHUNKS
    assert not any("topsecret" in str(path) for path in tmp_path.rglob("*"))
    for path in (tmp_path / "cache").rglob("*"):
        assert not path.is_file() or b"topsecret" not in path.read_bytes()


def test_filesystems_of_one_name_do_not_mix(tmp_path, voxels):
    folders = []
    for n, fill in enumerate((voxels, 255 - voxels)):
        fs = DirFileSystem(str(tmp_path / str(n)), fs=fsspec.filesystem("file"))
        options = {"filesystem": fs}
        Volume.from_numpy(fill, "dir://brain/v", chunk_size=(32, 32, 32), storage_options=options, progress=False)
        how = {"cache": Cache(tmp_path / "cache", revalidate="never"), "storage_options": options, "progress": False}
        for _ in range(2):
            volume = Volume("dir://brain/v", **how)
            np.testing.assert_array_equal(volume[:], fill)
        folders.append(volume.cache.path)
    assert len(set(folders)) == 2
