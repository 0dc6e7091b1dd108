"""Coarser levels for OME-Zarr images that are there."""

import json

import numpy as np
import ome_zarr_models
import pytest
import zarr

from volumekit import Volume
from volumekit.errors import UnsupportedError
from volumekit.formats.zarr.extend import with_coarser
from volumekit.model.bbox import Bbox

SHAPE = (2, 3, 9, 21, 30)
AXES = [
    {"name": "t", "type": "time", "unit": "second"},
    {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "micrometer"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "micrometer"},
]


def image(folder, version, *, rank=5, paths=("0",), translation=None, **how):
    """Write an OME-Zarr image with zarr-python; return its voxels."""
    group = zarr.create_group(folder, zarr_format=version)
    values = np.random.default_rng(1).integers(0, 255, SHAPE[-rank:]).astype("uint16")
    names = [axis["name"] for axis in AXES[-rank:]]
    datasets = []
    for level, path in enumerate(paths):
        step = 2**level
        part = values[..., ::step, ::step, ::step]
        named = {"dimension_names": names} if version == 3 else {}
        group.create_array(path, data=part, chunks=(1, 1, 4, 8, 8)[-rank:], **named, **how)
        scale = [1.0, 1.0, 0.5 * step, 0.1 * step, 0.1 * step][-rank:]
        transforms = [{"type": "scale", "scale": scale}]
        if translation is not None:
            transforms.append({"type": "translation", "translation": translation[-rank:]})
        datasets.append({"path": path, "coordinateTransformations": transforms})
    entry = {"name": "cells", "axes": AXES[-rank:], "datasets": datasets, "custom": 5}
    if version == 3:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [entry], "other": 1}
    else:
        group.attrs["multiscales"] = [{**entry, "version": "0.4"}]
        group.attrs["other"] = 1
    return values


def extend(folder, mip, factors, kept, at=None):
    volume = Volume(folder, at=at)
    documents = with_coarser(volume._format, mip, factors, kept=kept)
    for key, data in documents.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(data)
    return Volume(folder, at=at)


def entry(folder, version):
    attributes = zarr.open_group(folder, mode="r").attrs.asdict()
    return (attributes["ome"] if version == 3 else attributes)["multiscales"][0]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("rank", [3, 4, 5])
def test_new_levels(tmp_path, version, rank):
    values = image(tmp_path / "a.zarr", version, rank=rank)
    volume = extend(tmp_path / "a.zarr", 0, [(2, 2, 1), (2, 2, 2), (3, 1, 1)], [0])
    assert [level.key for level in volume.levels] == ["0", "1", "2", "3"]
    assert [level.shape[:3] for level in volume.levels] == [(30, 21, 9), (15, 11, 9), (8, 6, 5), (3, 6, 5)]
    assert [level.resolution for level in volume.levels] == [
        (100, 100, 500), (200, 200, 500), (400, 400, 1000), (1200, 400, 1000)
    ]  # fmt: skip
    assert {level.chunk for level in volume.levels} == {volume.levels[0].chunk}
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    assert [group[str(n)].shape[: rank - 3] for n in range(4)] == [values.shape[: rank - 3]] * 4
    np.testing.assert_array_equal(group["0"][:], values)
    group["2"][:] = 7
    assert (Volume(tmp_path / "a.zarr", mip=2)[:] == 7).all()
    assert ome_zarr_models.open_ome_zarr(group)
    assert entry(tmp_path / "a.zarr", version)["custom"] == 5
    attributes = group.attrs.asdict()
    assert (attributes["ome"] if version == 3 else attributes)["other"] == 1


@pytest.mark.parametrize("version", [2, 3])
def test_layout_is_that_of_the_level_above(tmp_path, version):
    image(tmp_path / "a.zarr", version, fill_value=9, compressors=None)
    volume = extend(tmp_path / "a.zarr", 0, [(2, 2, 2)], [0])
    first, second = (zarr.open_array(tmp_path / "a.zarr" / str(n), mode="r") for n in range(2))
    assert (second.dtype, second.chunks, second.fill_value) == (first.dtype, first.chunks, 9)
    assert second.compressors == first.compressors == ()
    if version == 3:
        assert second.metadata.dimension_names == ("t", "c", "z", "y", "x")
    assert (volume[0, 0, 0] == Volume(tmp_path / "a.zarr")[0, 0, 0]).all()


def test_shards(tmp_path):
    image(tmp_path / "a.zarr", 3, shards=(1, 1, 8, 16, 16))
    volume = extend(tmp_path / "a.zarr", 0, [(2, 2, 2)], [0])
    assert zarr.open_array(tmp_path / "a.zarr/1", mode="r").shards == (1, 1, 8, 16, 16)
    assert volume.levels[1].sharding.shape == (16, 16, 8)


def test_places_are_the_centres_of_voxels(tmp_path):
    image(tmp_path / "a.zarr", 3)
    extend(tmp_path / "a.zarr", 0, [(2, 2, 1), (2, 2, 2)], [0])
    found = [dataset["coordinateTransformations"][1:] for dataset in entry(tmp_path / "a.zarr", 3)["datasets"]]
    assert found[0] == []
    assert found[1][0]["translation"] == pytest.approx([0, 0, 0, 0.05, 0.05])
    assert found[2][0]["translation"] == pytest.approx([0, 0, 0.25, 0.15, 0.15])


@pytest.mark.parametrize("version", [2, 3])
def test_offsets_are_rounded_as_for_other_formats(tmp_path, version):
    image(tmp_path / "a.zarr", version, translation=[0, 0, 3.5 * 0.5, 7.5 * 0.1, -4.5 * 0.1])
    volume = extend(tmp_path / "a.zarr", 0, [(2, 2, 2), (2, 2, 2)], [0])
    assert volume.levels[0].offset == (-5, 7, 3)
    assert [volume.levels[n].bounds for n in (1, 2)] == [
        Bbox((-3, 3, 1), (13, 14, 6)), Bbox((-2, 1, 0), (7, 7, 3))
    ]  # fmt: skip


def test_levels_that_are_not_kept_are_no_longer_listed(tmp_path):
    image(tmp_path / "a.zarr", 3, paths=("0", "1", "2"))
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    volume = extend(tmp_path / "a.zarr", 1, [(2, 2, 1), (2, 2, 1), (2, 2, 1)], [0, 1])
    assert [level.key for level in volume.levels] == ["0", "1", "2", "3", "4"]
    assert volume.levels[2].resolution == (400, 400, 1000)
    assert volume.levels[2].shape[:3] == (8, 6, 5)
    assert group["1"].shape == (2, 3, 5, 11, 15)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [(("s0",), ["s1", "s2"]), (("scale/0", "scale/1"), ["scale/2", "scale/3"]), (("full",), ["1", "2"]),
     (("a9", "10"), ["11", "12"])],
)  # fmt: skip
def test_names(tmp_path, paths, expected):
    image(tmp_path / "a.zarr", 3, paths=paths)
    volume = extend(tmp_path / "a.zarr", len(paths) - 1, [(2, 2, 2), (2, 2, 2)], range(len(paths)))
    assert [level.key for level in volume.levels] == [*paths, *expected]


def test_labels(tmp_path):
    image(tmp_path / "a.zarr", 3)
    zarr.open_group(tmp_path / "a.zarr").create_group("labels").attrs["ome"] = {"version": "0.5", "labels": ["cells"]}
    image(tmp_path / "a.zarr/labels/cells", 3, rank=3)
    volume = extend(tmp_path / "a.zarr", 0, [(2, 2, 2)], [0], at={"label": "cells"})
    assert [level.key for level in volume.levels] == ["labels/cells/0", "labels/cells/1"]
    assert (tmp_path / "a.zarr/labels/cells/1/zarr.json").exists()
    assert len(Volume(tmp_path / "a.zarr").levels) == 1


def test_consolidated_metadata_are_dropped(tmp_path):
    image(tmp_path / "a.zarr", 3)
    with pytest.warns(UserWarning, match="onsolidated"):
        zarr.consolidate_metadata(tmp_path / "a.zarr")
    extend(tmp_path / "a.zarr", 0, [(2, 2, 2)], [0])
    assert "consolidated_metadata" not in json.loads((tmp_path / "a.zarr/zarr.json").read_text())
    assert set(zarr.open_group(tmp_path / "a.zarr", mode="r").array_keys()) == {"0", "1"}


def test_old_versions_without_scales(tmp_path):
    image(tmp_path / "a.zarr", 2)
    notes = {"multiscales": [{"version": "0.2", "datasets": [{"path": "0"}]}]}
    (tmp_path / "a.zarr/.zattrs").write_text(json.dumps(notes))
    volume = extend(tmp_path / "a.zarr", 0, [(2, 2, 2)], [0])
    assert entry(tmp_path / "a.zarr", 2)["datasets"] == [{"path": "0"}, {"path": "1"}]
    assert volume.levels[1].shape[:3] == (15, 11, 5)


def test_a_level_that_cannot_be_read(tmp_path):
    image(tmp_path / "a.zarr", 3, paths=("0", "1"))
    (tmp_path / "a.zarr/1/zarr.json").unlink()
    with pytest.raises(UnsupportedError, match="mip 1"):
        extend(tmp_path / "a.zarr", 1, [(2, 2, 2)], [0, 1])
