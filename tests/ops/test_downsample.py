"""Adding levels to a volume that is there."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from volumekit import Volume, convert, downsample
from volumekit.errors import (
    DatasetNotFoundError,
    MissingChunkError,
    NoSpaceError,
    OptionError,
    ReadOnlyError,
)
from volumekit.ops import kernels
from volumekit.ops.ladder import PROGRAM_BYTES
from volumekit.storage.kvstore import FileStore, KvStore

LOW = (-3, 5, 8)


def image(shape=(70, 61, 45), dtype="uint8"):
    return np.random.default_rng(0).integers(0, 7, shape).astype(dtype)


def check(volume, array, factor, mips, method="mean", low=LOW):
    assert len(volume.levels) == mips + 1
    for mip in range(mips + 1):
        volume.mip = mip
        assert volume.voxel_offset.tolist() == list(low)
        np.testing.assert_array_equal(np.asarray(volume[:])[..., 0], array)
        array = kernels.downsample(array, factor, method=method, origin=low)
        low = [a // f for a, f in zip(low, factor, strict=True)]


@pytest.fixture
def volume(tmp_path):
    return convert(image(), tmp_path / "v", offset=LOW, chunk_size=(16, 8, 16), voxel_size=(4, 4, 40))


@pytest.mark.parametrize("memory", ["1GB", PROGRAM_BYTES + 300_000, PROGRAM_BYTES + 150_000])
def test_levels_equal_those_of_the_whole_array(volume, memory):
    check(downsample(volume, mips=3, factor=(2, 2, 1), memory=memory), image(), (2, 2, 1), 3)


def test_level_after_level_is_the_same_as_all_at_once(volume):
    url = volume.cloudpath
    for mip in range(3):
        downsample(url, mip=mip)
    check(Volume(url), image(), (2, 2, 2), 3)


def test_gaussian_starts_from_what_is_there(volume):
    made = downsample(volume, method="gaussian")
    made.mip = 1
    expected = kernels.downsample_gaussian(image(), (2, 2, 2), origin=LOW)
    np.testing.assert_array_equal(np.asarray(made[:])[..., 0], expected)


def test_segmentations_take_the_most_frequent_label(tmp_path):
    array = image(dtype="uint32")
    convert(array, tmp_path / "v", offset=LOW, chunk_size=16, encoding="compressed_segmentation")
    made = downsample(tmp_path / "v", mips=2)
    assert made.mip_encoding(2) == "compressed_segmentation"
    check(made, array, (2, 2, 2), 2, "mode")


@pytest.mark.parametrize(("dtype", "kind", "method"), [("uint8", "image", "mean"), ("uint32", "segmentation", "mode")])
def test_sparse_is_of_what_is_not_zero(tmp_path, dtype, kind, method):
    array = np.where(np.random.default_rng(5).random(image().shape) < 0.3, image(dtype=dtype), 0).astype(dtype)
    how = {"offset": LOW, "chunk_size": 16, "layer_type": kind}
    convert(array, tmp_path / "v", **how)
    made = downsample(tmp_path / "v", mips=2, sparse=True)
    check(made, array, (2, 2, 2), 2, f"sparse_{method}")
    check(convert(array, tmp_path / "w", mips=2, sparse=True, **how), array, (2, 2, 2), 2, f"sparse_{method}")
    assert downsample(tmp_path / "v", mips=2, sparse=True).provenance == made.provenance  # nothing left to do


def test_a_level_that_is_only_described_is_filled(tmp_path):
    array = image()
    volume = Volume.from_numpy(array, tmp_path / "v", voxel_offset=LOW, chunk_size=(16, 16, 16), max_mip=2)
    assert len(volume.levels) == 3
    volume.info["scales"][1]["size"][0] -= 1  # CloudVolume's add_scale loses a voxel at odd offsets
    volume.commit_info()
    made = downsample(volume, mips=2, factor=(2, 2, 1))
    check(made, array, (2, 2, 1), 2)


def test_a_level_with_data_is_only_replaced_when_asked(volume):
    downsample(volume, method="max")
    with pytest.raises(OptionError, match="overwrite"):
        downsample(volume.cloudpath, mip=0)
    made = downsample(volume.cloudpath, mip=0, method="min", overwrite=True)
    check(made, image(), (2, 2, 2), 1, "min")


def test_levels_that_readers_see_get_whole_chunks_only(volume, monkeypatch):
    """What is written under its own name from the beginning may be seen in part: only levels that nobody knows of."""
    put, make, used = FileStore.put, FileStore.make, []
    monkeypatch.setattr(FileStore, "put", lambda self, key, data: used.append(key) or put(self, key, data))
    monkeypatch.setattr(FileStore, "make", lambda self, keys, sizes: used.extend(keys) or make(self, keys, sizes))
    downsample(volume)
    assert used
    used.clear()
    made = downsample(volume.cloudpath, mip=0, method="min", overwrite=True)
    assert not used
    check(made, image(), (2, 2, 2), 1, "min")


def test_the_info_changes_only_at_the_end(volume, tmp_path, monkeypatch):
    before = (tmp_path / "v" / "info").read_bytes()

    def full(self, *args, **how):
        raise NoSpaceError("No space left on device", url=self.url)

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "put", full)
        patch.setattr(FileStore, "make", full)
        with pytest.raises(NoSpaceError, match=str(tmp_path)):
            downsample(volume)
    assert (tmp_path / "v" / "info").read_bytes() == before
    check(downsample(volume), image(), (2, 2, 2), 1)


def test_missing_chunks_are_an_error_unless_filled(volume, tmp_path):
    name = "_".join(f"{a}-{a + n}" for a, n in zip(LOW, (16, 8, 16), strict=True))
    (tmp_path / "v" / "4_4_40" / name).unlink()
    with pytest.raises(MissingChunkError):
        downsample(volume)
    array = image()
    array[:16, :8, :16] = 0
    made = downsample(volume, fill_missing=True)
    made.mip = 1
    np.testing.assert_array_equal(
        np.asarray(made[:])[..., 0], kernels.downsample(array, (2, 2, 2), method="mean", origin=LOW)
    )


def test_provenance_and_unknown_members_are_kept(volume, tmp_path):
    volume.info["curator"] = "ada"
    volume.commit_info()
    downsample(volume)
    assert json.loads((tmp_path / "v" / "info").read_text())["curator"] == "ada"
    tasks = [entry["method"]["task"] for entry in Volume(tmp_path / "v").provenance.processing]
    assert tasks == ["convert", "downsample"]


@pytest.mark.parametrize(
    "options",
    [
        {"mips": 0},
        {"factor": (1, 1, 1)},
        {"method": "best"},
        {"method": "max", "sparse": True},
        {"memory": "1MB"},
        {"jobs": 0},
    ],
)
def test_impossible_options(volume, tmp_path, options):
    before = (tmp_path / "v" / "info").read_bytes()
    with pytest.raises(OptionError):
        downsample(volume, **options)
    assert (tmp_path / "v" / "info").read_bytes() == before


def test_other_places(tmp_path):
    with pytest.raises(DatasetNotFoundError):
        downsample(tmp_path / "nothing")
    (tmp_path / "stack").mkdir()
    tifffile.imwrite(tmp_path / "stack" / "0.tif", image()[:, :, 0])
    with pytest.raises(ReadOnlyError):
        downsample(tmp_path / "stack")
    info = Volume.create_new_info(1, "image", "uint8", "raw", (1, 1, 1), (0, 0, 0), (8, 8, 8))
    empty = Volume(tmp_path / "empty", info=info)
    with pytest.raises(OptionError, match="no data"):
        downsample(empty)


SHARDING = {"preshift_bits": 2, "hash": "identity", "minishard_bits": 1, "shard_bits": 9}


@pytest.mark.parametrize("memory", ["1GB", PROGRAM_BYTES + 300_000])
@pytest.mark.parametrize("factor", [(2, 2, 1), (3, 2, 2)])
def test_levels_of_a_sharded_volume_are_sharded(tmp_path, memory, factor):
    layout = {"offset": LOW, "chunk_size": (16, 8, 16), "sharding": SHARDING}
    volume = convert(image(), tmp_path / "v", mips=1, factor=factor, memory=memory, **layout)
    made = downsample(volume, mip=1, mips=2, factor=factor, memory=memory)
    check(made, image(), factor, 3)
    assert all(made.is_sharded(mip) for mip in range(4))
    stored = [path for level in made.levels for path in (tmp_path / "v" / level.key).iterdir()]
    assert {path.suffix for path in stored} == {".shard"}


def test_each_shard_is_written_once(tmp_path, monkeypatch):
    written = []
    commit = KvStore.commit

    def note(self, changes, if_match=None):
        written.extend(key for key in changes if key.endswith(".shard"))
        return commit(self, changes, if_match)

    monkeypatch.setattr(KvStore, "commit", note)
    layout = {"offset": LOW, "chunk_size": (8, 8, 8), "sharding": SHARDING, "mips": 2, "voxel_size": (4, 4, 4)}
    volume = convert(image(), tmp_path / "v", **layout)
    assert len(written) == len(set(written)) == sum(len(list(volume.shard_boxes(mip=mip))) for mip in range(3))
