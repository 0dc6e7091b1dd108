"""`Volume.from_numpy` makes N5 groups, and other programs read them."""

import json

import numpy as np
import pytest
import tensorstore as ts

from volumekit import Volume
from volumekit.errors import OptionError

ARRAY = np.random.default_rng(0).integers(0, 200, (20, 17, 9, 2)).astype("uint16")


def by_tensorstore(path):
    return ts.open({"driver": "n5", "kvstore": f"file://{path}/"}, open=True).result()


@pytest.mark.parametrize("protocol", ["file", "memory"])
def test_by_name(tmp_path, protocol):
    url = f"{protocol}://{tmp_path}/a.n5"
    how = {"resolution": (4, 5, 40), "voxel_offset": (3, -2, 1), "chunk_size": (8, 8, 8), "max_mip": 1}
    made = Volume.from_numpy(ARRAY, url, **how)
    assert made.cloudpath == f"n5://{protocol}://{tmp_path}/a.n5".replace("memory:///", "memory://")
    again = Volume(url, mip=1)
    assert (again.shape, again.resolution.tolist()) == ((11, 9, 9, 2), [8, 10, 40])
    again.mip = 0
    assert (again.resolution.tolist(), again.voxel_offset.tolist()) == ([4, 5, 40], [3, -2, 1])
    np.testing.assert_array_equal(again[...], ARRAY)
    assert [axis.name for axis in again.axes] == ["x", "y", "z", "channel"]
    again.provenance.description = "noted"
    again.commit_provenance()
    assert Volume(url).provenance.description == "noted"
    assert Volume(url).levels == again.levels


@pytest.mark.parametrize("compressor", ["raw", "gzip", "zlib", "bzip2", "xz:1", "blosc:zstd:3", "zstd", "lz4"])
@pytest.mark.parametrize("dtype", ["int8", "uint64", "float32", ">i2"])
def test_others_read_it(tmp_path, compressor, dtype):
    data = ARRAY[..., 0].astype(dtype)
    Volume.from_numpy(data, tmp_path / "a.n5", chunk_size=(8, 8, 8), compressor=compressor)
    np.testing.assert_array_equal(Volume(tmp_path / "a.n5")[..., 0], data)
    if compressor == "lz4":
        return
    store = by_tensorstore(tmp_path / "a.n5" / "s0")
    assert store.domain.labels == ("x", "y", "z")
    assert [unit.to_json() for unit in store.dimension_units] == [[1, "nm"]] * 3
    np.testing.assert_array_equal(store.read().result(), data)


def test_blocks_of_zeros_are_not_stored(tmp_path):
    data = ARRAY.copy()
    data[:8, :8] = 0
    made = Volume.from_numpy(data, tmp_path / "a.n5", chunk_size=(8, 8, 8))
    assert made.exists().num_missing == 2
    np.testing.assert_array_equal(Volume(tmp_path / "a.n5")[...], data)
    made.delete(made.bounds)
    assert not made.has_data()
    assert (tmp_path / "a.n5" / "s0" / "attributes.json").exists()


def test_what_makes_it_a_dataset_is_stored_last(tmp_path):
    made = Volume.from_numpy(ARRAY, tmp_path / "a.n5", max_mip=2)
    order = [set(objects) for objects in made._format.commits()]
    assert order == [{"s1/attributes.json", "s2/attributes.json"}, {"attributes.json"}, {"s0/attributes.json"}]


def test_what_was_there(tmp_path):
    path = tmp_path / "a.n5"
    Volume.from_numpy(ARRAY, path, chunk_size=(4, 4, 4), max_mip=2, layer_type="segmentation")
    with pytest.raises(OptionError, match="overwrite=True"):
        Volume.from_numpy(ARRAY, path)
    small = ARRAY[:5, :5, :5, 0]
    Volume.from_numpy(small, path, overwrite=True)
    assert sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()) == [
        "attributes.json",
        "s0/0/0/0",
        "s0/attributes.json",
    ]
    np.testing.assert_array_equal(Volume(path)[..., 0], small)
    for name in ("a.zarr", "b"):
        Volume.from_numpy(ARRAY, tmp_path / name, max_mip=1)
        with pytest.raises(OptionError, match="overwrite=True"):
            Volume.from_numpy(small, tmp_path / name, format="n5")
        Volume.from_numpy(small, tmp_path / name, format="n5", overwrite=True)
        assert Volume(tmp_path / name).cloudpath.startswith("n5://")
        np.testing.assert_array_equal(Volume(tmp_path / name)[..., 0], small)


def test_segmentations(tmp_path):
    Volume.from_numpy(ARRAY[..., 0], tmp_path / "a.n5", layer_type="segmentation")
    assert Volume(tmp_path / "a.n5").layer_type == "segmentation"


def test_what_it_says(tmp_path):
    Volume.from_numpy(ARRAY, tmp_path / "a.n5", resolution=(4, 4, 40), voxel_offset=(1, 2, 3), max_mip=1)
    group = json.loads((tmp_path / "a.n5" / "attributes.json").read_text())
    level = json.loads((tmp_path / "a.n5" / "s1" / "attributes.json").read_text())
    assert group["n5"] == "2.0.0"
    assert group["scales"] == [[1, 1, 1, 1], [2, 2, 1, 1]]
    assert group["pixelResolution"] == {"dimensions": [4, 4, 40], "unit": "nm"}
    assert group["axes"] == ["x", "y", "z", "c"]
    assert level["resolution"] == [8, 8, 40, 1]
    assert level["downsamplingFactors"] == [2, 2, 1, 1]
    assert (
        level["transform"]
        == group["multiscales"][0]["datasets"][1]["transform"]
        == {
            "axes": ["c", "z", "y", "x"],
            "scale": [1, 40, 8, 8],
            "translate": [0, 120, 10, 2],
            "units": ["", "nm", "nm", "nm"],
        }
    )


def test_impossible_options(tmp_path):
    for how in (
        {"zarr_version": 3},
        {"shard": (64, 64, 64)},
        {"compressor": "jpeg"},
        {"encoding": "jpeg"},
        {"compress": "gzip"},
        {"sharding": True},
        {"chunk_size": (0, 1, 1)},
        {"chunk_size": (2048, 2048, 2048)},
    ):
        with pytest.raises(OptionError):
            Volume.from_numpy(ARRAY, tmp_path / "a.n5", **how)
    with pytest.raises(OptionError, match="cannot be stored"):
        Volume.from_numpy(ARRAY.astype("float16"), tmp_path / "a.n5")
    assert not (tmp_path / "a.n5").exists()
    Volume.from_numpy(ARRAY > 100, tmp_path / "b.n5")
    assert Volume(tmp_path / "b.n5").dtype == "uint8"
