"""`Volume.from_numpy` makes zarr arrays and OME-Zarr images."""

import json

import numpy as np
import pytest
import zarr

from volumekit import Volume
from volumekit.errors import OptionError, UnsupportedError

ARRAY = np.random.default_rng(0).integers(0, 200, (20, 17, 9, 2)).astype("uint16")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("protocol", ["file", "memory"])
def test_by_name(tmp_path, protocol, version):
    url = f"{protocol}://{tmp_path}/a.zarr"
    made = Volume.from_numpy(
        ARRAY,
        url,
        resolution=(4, 5, 40),
        voxel_offset=(3, -2, 1),
        chunk_size=(8, 8, 8),
        zarr_version=version,
        max_mip=1,
    )
    assert made.cloudpath == f"ome-zarr://{protocol}://{tmp_path}/a.zarr".replace("memory:///", "memory://")
    again = Volume(url, mip=1)
    assert (again.shape, again.resolution.tolist()) == ((11, 9, 9, 2), [8, 10, 40])
    again.mip = 0
    assert (again.resolution.tolist(), again.voxel_offset.tolist()) == ([4, 5, 40], [3, -2, 1])
    np.testing.assert_array_equal(again[...], ARRAY)
    assert [axis.name for axis in again.axes] == ["x", "y", "z", "c"]


def test_formats(tmp_path):
    for fmt in ("zarr", "ome-zarr", "precomputed"):
        made = Volume.from_numpy(ARRAY, tmp_path / fmt, format=fmt)
        assert made.cloudpath.startswith(f"{fmt}://")
        np.testing.assert_array_equal(Volume(tmp_path / fmt)[...], ARRAY)
    assert Volume.from_numpy(ARRAY, f"zarr://{tmp_path}/x").cloudpath.startswith("zarr://")
    assert Volume.from_numpy(ARRAY, tmp_path / "y").cloudpath.startswith("precomputed://")
    for fmt in ("stack",):
        with pytest.raises(UnsupportedError):
            Volume.from_numpy(ARRAY, tmp_path / "z", format=fmt)


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "float16", "float64", ">u2"])
def test_data_types(tmp_path, dtype):
    data = ARRAY.astype(dtype)
    Volume.from_numpy(data, tmp_path / "a.zarr", layer_type="segmentation" if dtype == "int64" else "image")
    found = Volume(tmp_path / "a.zarr")
    assert found.dtype == data.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found[...], data)
    assert found.layer_type == ("segmentation" if dtype == "int64" else "image")
    with pytest.raises(OptionError, match="cannot be stored"):
        Volume.from_numpy(ARRAY.astype("complex64"), tmp_path / "b.zarr")


def test_layout(tmp_path):
    made = Volume.from_numpy(
        ARRAY, tmp_path / "a.zarr", chunk_size=(4, 4, 4), shard=(8, 8, 12), compressor="blosc:zstd:3"
    )
    array = zarr.open_array(tmp_path / "a.zarr/0", mode="r")
    assert (array.chunks, array.shards) == ((1, 4, 4, 4), (1, 12, 8, 8))
    codec = json.loads((tmp_path / "a.zarr/0/zarr.json").read_text())["codecs"][0]["configuration"]["codecs"][1]
    assert codec["configuration"]["cname"] == "zstd"
    assert (made.encoding, made.chunk_size.tolist()) == ("blosc", [4, 4, 4])
    np.testing.assert_array_equal(array[...], ARRAY.transpose(3, 2, 1, 0))


def test_overwriting(tmp_path):
    path = tmp_path / "a.zarr"
    Volume.from_numpy(ARRAY, path, chunk_size=(4, 4, 4), max_mip=2)
    with pytest.raises(OptionError, match="overwrite=True"):
        Volume.from_numpy(ARRAY, path)
    small = Volume.from_numpy(np.zeros((4, 4, 4), "u1"), path, overwrite=True, zarr_version=2)
    assert not small[...].any()
    assert small.exists().num_present == 0
    assert sorted(p.name for p in path.iterdir() if not p.is_dir()) == [".zattrs", ".zgroup"]
    assert len(Volume(path).levels) == 1


def test_options_of_the_other_format(tmp_path):
    for how in ({"encoding": "png"}, {"sharding": True}, {"compress": "gzip"}):
        with pytest.raises(OptionError, match="no option of ome-zarr"):
            Volume.from_numpy(ARRAY, tmp_path / "a.zarr", **how)
    for how in ({"zarr_version": 3}, {"shard": (8, 8, 8)}, {"compressor": "zstd"}):
        with pytest.raises(OptionError, match="no option of precomputed"):
            Volume.from_numpy(ARRAY, tmp_path / "a", **how)


def test_provenance(tmp_path):
    made = Volume.from_numpy(ARRAY, tmp_path / "a.zarr", zarr_version=2)
    assert made.provenance == {"sources": [], "owners": [], "processing": [], "description": ""}
    made.provenance.description = "cells"
    made.provenance.owners = ["ada@example.org"]
    made.commit_provenance()
    assert Volume(tmp_path / "a.zarr").provenance.description == "cells"
    np.testing.assert_array_equal(Volume(tmp_path / "a.zarr")[...], ARRAY)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert group.attrs["volumekit"]["provenance"]["owners"] == ["ada@example.org"]
    assert "multiscales" in group.attrs
