"""``vol.cache``: what is in it, filling and emptying it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.cache.conftest import CHUNKS, asked
from volumekit import Bbox, Cache, Volume
from volumekit.cache.options import folder_of
from volumekit.cache.remembered import RememberedStore
from volumekit.errors import OptionError
from volumekit.model.url import parse_url

FIRST = np.s_[-5:27, 3:35, 8:40]


@pytest.fixture
def two_mips(source, opened):
    """A volume whose two mips are in the cache."""
    coarse = np.random.default_rng(2).integers(1, 255, source.mip_shape(1), np.uint8)
    Volume(source.cloudpath, 1)[:] = coarse
    volume = opened()
    volume[:]
    volume.mip = 1
    volume[:]
    return volume, coarse


def test_counting(two_mips, voxels):
    volume, coarse = two_mips
    assert (volume.cache.num_files(mip=0), volume.cache.num_files(), volume.cache.num_files([2, 2, 2])) == (
        CHUNKS,
        4,
        4,
    )
    assert volume.cache.num_files(all_mips=True) == [CHUNKS, 4]
    assert volume.cache.num_bytes(mip=0) == voxels.nbytes
    assert volume.cache.num_bytes(all_mips=True) == [voxels.nbytes, coarse.nbytes]
    assert "-3-29_1-33_4-29" in volume.cache.list()
    assert [len(names) for names in volume.cache.list(all_mips=True)] == [CHUNKS, 4]
    assert sorted(path.name for path in Path(volume.cache.path, "1_1_1").iterdir()) == volume.cache.list(0)
    assert "28 chunks" in repr(volume.cache)


def test_flushing_a_region(two_mips):
    volume, _ = two_mips
    volume.cache.flush_region(Bbox((-5, 3, 8), (0, 10, 12)), mips=[1])
    assert volume.cache.num_files(all_mips=True) == [CHUNKS, 3]
    volume.mip = 0
    volume.cache.flush_region(np.s_[-5:28, 3:4, 8:9])
    assert volume.cache.num_files(all_mips=True) == [CHUNKS - 2, 3]
    volume.cache.flush_region(Bbox((90, 3, 8), (95, 4, 9), unit="nm"), mips=[0, [2, 2, 2]])
    assert volume.cache.num_files(all_mips=True) == [CHUNKS - 4, 2]


def test_flushing_all_but_a_region(two_mips):
    volume, coarse = two_mips
    volume.cache.flush(preserve=Bbox((50, 50, 40), (95, 73, 58)))
    assert volume.cache.list(all_mips=True) == [
        [f"{x}_{y}_40-58" for x in ("27-59", "59-91", "91-95") for y in ("35-67", "67-73")],
        ["-3-29_1-33_4-29", "-3-29_33-37_4-29", "29-48_1-33_4-29", "29-48_33-37_4-29"],
    ]
    volume.cache.flush()
    assert volume.cache.num_files(all_mips=True) == [0, 0]
    assert volume._mirror().index.total() == 0
    np.testing.assert_array_equal(volume[:], coarse)


def test_other_volumes_notice_what_is_flushed(opened, voxels):
    volume, other = opened(), opened()
    volume[:]
    other[:]
    volume.cache.flush()
    np.testing.assert_array_equal(other[:], voxels)
    assert other.cache.num_files() == CHUNKS


def test_prefetch(opened, voxels):
    volume = opened()
    volume.cache.prefetch(np.s_[-5:60, 3:35, 8:40])
    assert volume.cache.num_files() == 3
    before = asked(volume)
    np.testing.assert_array_equal(volume[-5:60, 3:35, 8:40], voxels[:65, :32, :32])
    volume.cache.prefetch(np.s_[-5:60, 3:35, 8:40])
    assert asked(volume) == before
    again = opened()
    again.cache.prefetch()
    assert again._store.counts.bytes_read == (CHUNKS - 3) / CHUNKS * 0 + voxels.nbytes - 3 * 32**3
    assert again.cache.stats().hits == 3
    volume.cache.enabled = False
    with pytest.raises(OptionError, match="cache=True"):
        volume.cache.prefetch()


def test_prefetch_of_what_is_not_stored(source, opened):
    source.delete(FIRST)
    volume = opened()
    volume.cache.prefetch()
    assert volume.cache.num_files() == CHUNKS - 1


def test_stats(opened, voxels):
    volume = opened()
    assert (volume.cache.stats().hits, volume.cache.stats().misses) == (0, 0)
    volume[:]
    volume[:]
    stats = volume.cache.stats()
    assert (stats.hits, stats.misses, stats.hit_bytes, stats.missed_bytes) == (
        CHUNKS,
        CHUNKS,
        voxels.nbytes,
        voxels.nbytes,
    )
    assert repr(stats) == f"Stats(hits={CHUNKS}, misses={CHUNKS}, hit_bytes=350000, missed_bytes=350000)"


def test_enabling_and_where_it_is(source, tmp_path, monkeypatch):
    monkeypatch.setenv("VOLUMEKIT_CACHE_DIR", str(tmp_path / "usual"))
    volume = Volume(source.cloudpath)
    assert not volume.cache.enabled
    assert "not enabled" in repr(volume.cache)
    assert (volume.cache.num_files(), volume.cache.list()) == (0, [])
    volume.cache.flush()
    assert not (tmp_path / "usual").exists()
    volume.cache.enabled = True
    volume[:]
    assert volume.cache.path.startswith(str(tmp_path / "usual/file"))
    assert volume.cache.num_files() == CHUNKS
    volume.cache.enabled = tmp_path / "other"
    assert volume.cache.path.startswith(str(tmp_path / "other"))
    assert volume.cache.num_files() == 0
    volume[FIRST]
    volume.cache.enabled = False
    volume[:]
    assert volume.cache.path.startswith(str(tmp_path / "other"))
    assert volume.cache.num_files() == 1
    volume.cache.enabled = True
    assert volume.cache.path.startswith(str(tmp_path / "other"))
    again = pickle.loads(pickle.dumps(Volume(source.cloudpath, cache=True)))
    assert again.cache.enabled
    assert again.cache.num_files() == CHUNKS


def test_the_usual_place(monkeypatch):
    monkeypatch.delenv("VOLUMEKIT_CACHE_DIR", raising=False)
    assert Cache().directory == str(Path("~/.cache/volumekit").expanduser())
    assert Cache("~/x").directory == str(Path("~/x").expanduser())


@pytest.mark.parametrize("wrong", [3, "", object(), [1]])
def test_what_is_no_cache(source, wrong):
    with pytest.raises(OptionError, match="cache"):
        Volume(source.cloudpath, cache=wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_bytes": -1}, {"max_bytes": 1.5}, {"max_bytes": True}, {"revalidate": "sometimes"}, {"revalidate": -3},
        {"revalidate": float("nan")}, {"revalidate": None}, {"missing_seconds": -1}, {"missing_seconds": "long"},
        {"path": 3}, {"path": ""},
    ],
)  # fmt: skip
def test_impossible_settings(wrong):
    with pytest.raises(OptionError, match="is"):
        Cache(**wrong)


def test_revalidation_as_a_keyword(source, tmp_path):
    volume = Volume(source.cloudpath, cache=Cache(tmp_path, max_bytes=5), cache_revalidate="never")
    assert volume._options.cache == Cache(tmp_path, max_bytes=5, revalidate="never")
    assert Volume(source.cloudpath, cache_revalidate="never")._options.cache is None


def test_folders_are_readable_and_their_own():
    folders = {
        "/data/brain": "file/data/brain",
        "s3://bucket/a b/ü": "s3/bucket/a b/%C3%BC",
        "s3://http://user:pw@127.0.0.1:9000/bucket/a": "s3+127.0.0.1%3A9000/bucket/a",
        "https://user:pw@host:80/x?token=secret": "https/host%3A80/x/%query-",
        "/data/.hidden": "file/data/%2Ehidden",
        "/data/%2Ehidden": "file/data/%252Ehidden",
        "/data/" + "x" * 300: "file/data/%long-",
    }
    for url, folder in folders.items():
        found = folder_of(parse_url(url))
        assert found.startswith(folder)
        assert "secret" not in found
        assert "pw" not in found
        assert len(found) < len(folder) + 17
    assert folder_of(parse_url("s3://b/a"), "http://x:1") == "s3+x%3A1/b/a"
    urls = [
        "s3://b/a",
        "s3://http://h/b/a",
        "gs://b/a",
        "zip://a::s3://b/a",
        "zip://a::s3://b/b",
        "https://h/a?x",
        "https://h/a?y",
    ]
    assert len({folder_of(parse_url(url)) for url in urls}) == len(urls)


def test_metadata_of_hostile_names_stays_inside(tmp_path, source):
    store = RememberedStore(source._store, str(tmp_path / "mirror"))
    for key in ("../../outside", "/etc/x", ".", "..", "a/../../b", "x" * 300, "\udcff"):
        store._save(key, b"data")
    assert not [path for path in tmp_path.rglob("*outside*") if "mirror" not in path.parts]
    assert {path.parent for path in tmp_path.rglob("*.value")} == {tmp_path / "mirror/.volumekit/metadata"}
