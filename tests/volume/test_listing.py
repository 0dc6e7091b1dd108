"""Segmentations made at ``labels/NAME`` of an OME-Zarr image are labels of it."""

import json

import dask.array as da
import numpy as np
import ome_zarr_models
import pytest
import zarr

from volumekit import Volume, convert, downsample, from_dask
from volumekit.cli.main import run
from volumekit.errors import MetadataError
from volumekit.model.url import parse_url
from volumekit.volume.create import new_format

CELLS = np.random.default_rng(0).integers(0, 9, (20, 18, 14), dtype=np.uint32)


@pytest.fixture(params=[2, 3])
def image(request, tmp_path):
    """An image of two levels, and its version of zarr."""
    convert(CELLS.astype("u2"), tmp_path / "a.zarr", chunk_size=8, mips=1, zarr_version=request.param)
    return tmp_path / "a.zarr", request.param


def listed(path):
    attributes = dict(zarr.open_group(path / "labels", mode="r").attrs)
    return attributes.get("ome", attributes)["labels"]


def how(version):
    return {"layer_type": "segmentation", "zarr_version": version, "chunk_size": (8, 8, 8)}


def test_every_way_of_making_them(image):
    path, version = image
    convert(CELLS, path / "labels" / "a", mips=1, **how(version))
    Volume.from_numpy(CELLS, path / "labels" / "b", max_mip=1, factor=(2, 2, 2), **how(version))
    from_dask(da.from_array(CELLS, chunks=8), path / "labels" / "c", max_mip=1, factor=(2, 2, 2), **how(version))
    options = ["--layer-type", "segmentation", "--zarr-version", str(version), "--chunk-size", "8", "--mips", "1"]
    convert(CELLS, path.parent / "d", layer_type="segmentation", chunk_size=8)
    assert run(["convert", str(path.parent / "d"), str(path / "labels/d"), "--quiet", *options]) == 0
    assert listed(path) == ["a", "b", "c", "d"]
    group = zarr.open_group(path, mode="r")
    assert ome_zarr_models.open_ome_zarr(group)
    assert ome_zarr_models.open_ome_zarr(group["labels"])
    for name in "abcd":
        volume = Volume(path, at={"label": name})
        assert (volume.layer_type, len(volume.levels)) == ("segmentation", 2)
        np.testing.assert_array_equal(volume[...][..., 0], CELLS)
    np.testing.assert_array_equal(Volume(path)[...][..., 0], CELLS)
    convert(CELLS[:9], path / "labels" / "a", mips=1, overwrite=True, **how(version))
    assert listed(path) == ["a", "b", "c", "d"]


def test_fewer_levels_are_told_until_they_are_added(image, caplog):
    path, version = image
    Volume.from_numpy(CELLS, path / "labels" / "a", **how(version))
    assert "has 1 levels, its image 2" in caplog.text
    downsample(path / "labels" / "a")
    assert listed(path) == ["a"]
    assert ome_zarr_models.open_ome_zarr(zarr.open_group(path, mode="r"))


def test_what_is_no_label_is_not_listed(image, caplog):
    path, version = image
    convert(CELLS, path / "labels" / "a", **{**how(version), "layer_type": "image"})
    convert(CELLS, path / "others" / "a", **how(version))
    convert(CELLS, path.parent / "b.zarr" / "labels" / "a", **how(version))
    assert not any((path / "labels" / name).exists() for name in ("zarr.json", ".zattrs", ".zgroup"))
    assert not any((path.parent / "b.zarr" / "labels" / name).exists() for name in ("zarr.json", ".zattrs", ".zgroup"))
    convert(CELLS, path / "labels" / "b", **how(5 - version))
    assert f"is in zarr v{5 - version}, its image in v{version}" in caplog.text
    assert not any((path / "labels" / name).exists() for name in ("zarr.json", ".zattrs", ".zgroup"))


def test_what_others_listed_stays(image):
    path, version = image
    group = zarr.open_group(path / "labels", mode="w", zarr_format=version)
    group.attrs.update({"ome": {"labels": ["x"], "version": "0.5"}} if version == 3 else {"labels": ["x"]})
    group.attrs["mine"] = 5
    convert(CELLS, path / "labels" / "a", mips=1, **how(version))
    assert listed(path) == ["x", "a"]
    assert zarr.open_group(path / "labels", mode="r").attrs["mine"] == 5
    document = path / "labels" / ("zarr.json" if version == 3 else ".zattrs")
    whole = json.loads(document.read_text())
    (whole["attributes"]["ome"] if version == 3 else whole)["labels"] = 7
    document.write_text(json.dumps(whole))
    with pytest.raises(MetadataError, match=r"labels in labels/.* is 7"):
        convert(CELLS, path / "labels" / "b", mips=1, **how(version))


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/a.zarr", "ome-zarr"), ("/a.zarr/labels/x", "ome-zarr"), ("/a.zarr/b.n5", "n5"), ("/a.n5/x", "n5"),
     ("/a/x", "precomputed"), ("/zarr/x", "precomputed"), ("/a.ZARR/x", "ome-zarr")],
)  # fmt: skip
def test_formats_inside_of_others(path, expected):
    assert new_format(parse_url(path)) == expected
