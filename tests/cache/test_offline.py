"""A storage that cannot be reached: what the cache has is used, with one warning, and nobody waits again and again."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import zarr

from tests.cache.conftest import CHUNKS
from volumekit import Cache, Volume
from volumekit.cache import outage
from volumekit.errors import PermissionDeniedError, StorageError
from volumekit.storage.retry import Retry
from volumekit.storage.wrap import FaultyStore
from volumekit.testing.servers import Fault, Stored
from volumekit.volume import source as volume_source

FIRST = np.s_[-5:27, 3:35, 8:40]


class Network:
    """Whether storages can be reached, and how often that was tried in vain."""

    def __init__(self):
        self.up, self.failures, self.error = True, 0, StorageError("the network is unreachable")

    def __call__(self, operation, key):
        self.failures += not self.up
        return None if self.up else self.error


@pytest.fixture
def network(monkeypatch):
    """Let volumes reach their storages only while the network is up."""
    real, network = volume_source.open_store, Network()
    monkeypatch.setattr(volume_source, "open_store", lambda *args, **how: FaultyStore(real(*args, **how), network))
    monkeypatch.setattr(outage, "_began", {})
    return network


def unreachable(read, voxels):
    """Read; return how many warnings there were that the storage cannot be reached."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(read(), voxels)
    assert all("cannot be reached" in str(w.message) for w in told)
    return len(told)


@pytest.mark.parametrize("lru_bytes", [0, 10**8])
@pytest.mark.parametrize("revalidate", ["open", "always", "never", 0])
def test_it_works_once_filled(source, opened, voxels, tmp_path, network, revalidate, lru_bytes):
    opened()[:]
    network.up = False

    def read():
        cache = Cache(tmp_path / "cache", revalidate=revalidate)
        volume = Volume(source.cloudpath, cache=cache, progress=False, lru_bytes=lru_bytes)
        volume[:]
        np.testing.assert_array_equal(volume[[-5], [3], [8]], voxels[:1, 0, 0])
        return volume[:]

    assert unreachable(read, voxels) == 1
    assert network.failures == 1


def test_the_storage_is_asked_again_after_a_while(source, opened, voxels, tmp_path, network, monkeypatch):
    opened()[:]
    network.up = False
    volume = Volume.__new__(Volume)
    assert unreachable(lambda: volume.__init__(source.cloudpath, cache=tmp_path / "cache") or volume[:], voxels) == 1
    network.up = True
    source[FIRST] = 9
    assert np.asarray(volume[FIRST]).max() > 9
    now = outage.time.monotonic() + outage.SECONDS
    monkeypatch.setattr(outage.time, "monotonic", lambda: now)
    assert (np.asarray(volume[FIRST]) == 9).all()


def test_what_is_not_in_the_cache_is_an_error(source, opened, voxels, tmp_path, network):
    opened()[FIRST]
    network.up = False
    with pytest.warns(RuntimeWarning, match="cannot be reached"):
        volume = Volume(source.cloudpath, cache=tmp_path / "cache", progress=False)
    np.testing.assert_array_equal(volume[FIRST], voxels[:32, :32, :32])
    with pytest.raises(StorageError, match="unreachable"):
        volume[:]


def test_a_refusal_is_no_outage(source, opened, tmp_path, network):
    opened()[:]
    network.up, network.error = False, PermissionDeniedError("no")
    with pytest.raises(PermissionDeniedError):
        Volume(source.cloudpath, cache=tmp_path / "cache")


def test_zarr_and_provenance(tmp_path, voxels, network):
    """Several documents, some of which are not there."""
    zarr.create_array(tmp_path / "z", shape=(50, 70, 100), chunks=(25, 35, 50), dtype="uint8")[:] = voxels[..., 0].T
    Volume(tmp_path / "z", cache=tmp_path / "cache", progress=False)[...]
    network.up = False
    assert unreachable(lambda: Volume(tmp_path / "z", cache=tmp_path / "cache", progress=False)[...], voxels) == 1


def test_listings(tmp_path, network):
    store = volume_source.open_store(volume_source.resolve(str(tmp_path)))
    store.commit({"a/1": b"", "a/2": b"", "b/c/1": b"", "top": b""}).result()
    remembered = volume_source.remembered(store, volume_source.resolve(str(tmp_path)), Cache(tmp_path / "cache"))
    before = set(remembered.list("")) & {"a/1", "a/2", "b/c/1", "top"}
    assert len(before) == 4
    network.up = False
    with pytest.warns(RuntimeWarning, match="cannot be reached"):
        heads = {key.partition("/")[0] for key in remembered.list("")}
    assert {"a", "b", "top"} <= heads
    with pytest.raises(StorageError):
        list(remembered.list("never seen/"))


def test_a_web_server_that_is_gone(web, source, tmp_path, voxels):
    """Nothing of this is simulated."""
    from pathlib import Path

    root = Path(source._url.path)
    for path in root.rglob("*"):
        if path.is_file():
            web.objects[f"v/{path.relative_to(root)}"] = Stored(path.read_bytes())
    how = {"cache": tmp_path / "cache", "progress": False, "storage_options": {"retry": Retry(attempts=2, delay=0.01)}}
    Volume(f"{web.url}/v", **how)[:]
    web.fault(Fault(drop=True), ".*")
    assert unreachable(lambda: Volume(f"{web.url}/v", **how)[:], voxels) == 1
    assert len(Volume(f"{web.url}/v", **how).cache.list()) == CHUNKS
    outage.end(f"{web.url}/v")
