"""OME-Zarr images: axes, placement, parts to choose from, and everything that can be wrong with the metadata."""

import itertools
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from volumekit import Bbox, Volume
from volumekit.cli.info import summary
from volumekit.errors import (
    DatasetNotFoundError,
    MetadataError,
    OptionError,
    OutOfBoundsError,
    ReadOnlyError,
    ScaleUnavailableError,
    UnsupportedError,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "zarr"
TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
SIZES = {"t": 3, "c": 2, "z": 5, "y": 6, "x": 8}


def voxels(names, dtype="uint16", **sizes):
    shape = [{**SIZES, **sizes}[name] for name in names]
    return np.random.default_rng(shape).integers(1, 200, shape).astype(dtype)


def as_volume(array, names):
    """Return an array with these axes as (x, y, z, channel); axes it does not have are of length 1."""
    order = [names.index(axis) for axis in "xyzc" if axis in names]
    moved = array.transpose(order)
    for place, axis in enumerate("xyzc"):
        if axis not in names:
            moved = np.expand_dims(moved, place)
    return moved


def image(path, names="zyx", levels=1, *, version="0.5", scale=None, translation=None, axes=None, chunks=None, **ome):
    """Write an image with zarr-python; return its arrays."""
    zarr_format = 2 if version < "0.5" else 3
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    arrays, datasets = [], []
    for level in range(levels):
        data = voxels(names)[tuple(slice(None, None, 2**level if TYPES[name] == "space" else 1) for name in names)]
        array = group.create_array(
            str(level), shape=data.shape, dtype=data.dtype,
            chunks=chunks or tuple(3 if n in "zyx" else 1 for n in names),
            chunk_key_encoding={"name": "v2" if zarr_format == 2 else "default", "separator": "/"},
        )  # fmt: skip
        array[...] = data
        arrays.append(data)
        own = scale[level] if scale else [2.0**level if TYPES[name] == "space" else 1.0 for name in names]
        transforms = [{"type": "scale", "scale": list(own)}]
        if translation:
            transforms.append({"type": "translation", "translation": list(translation[level])})
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    multiscale = {
        "axes": axes or [{"name": name, "type": TYPES[name]} for name in names],
        "datasets": datasets,
        **({"version": version} if zarr_format == 2 else {}),
    }
    found = {"multiscales": [multiscale], **ome}
    group.attrs.update(found if zarr_format == 2 else {"ome": {"version": version, **found}})
    return arrays


def edit(path, change):
    """Change the metadata of a group; ``change`` is told what OME-Zarr says."""
    file = path / "zarr.json"
    if file.exists():
        document = json.loads(file.read_text())
        change(document["attributes"]["ome"])
    else:
        file = path / ".zattrs"
        document = json.loads(file.read_text())
        change(document)
    file.write_text(json.dumps(document))


LEGAL = [
    names for rank in range(2, 6) for names in itertools.permutations("tczyx", rank) if len({*names} & {*"zyx"}) >= 2
]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_axes_in_any_order(tmp_path, version):
    for number, names in enumerate(LEGAL[number] for number in range(0, len(LEGAL), 1 if version == "0.5" else 7)):
        (data,) = image(tmp_path / str(number), names, version=version)
        at = {"t": 2} if "t" in names else None
        expected = as_volume(
            data[(slice(None),) * names.index("t") + (2,)] if at else data, [n for n in names if n != "t"]
        )
        volume = Volume(tmp_path / str(number), at=at, non_aligned_writes=True)
        np.testing.assert_array_equal(volume[...], expected, err_msg=str(names))
        box = tuple(slice(n // 3, n // 3 + 2 if n > 2 else n) for n in volume.shape[:3])
        np.testing.assert_array_equal(volume[box], expected[box])
        strides = np.array(volume[...].strides)[list(volume.levels[0].order)]
        assert (np.diff(strides) <= 0).all() or 1 in expected.shape, names
        volume[box] = 7
        assert (volume[box] == 7).all()
        assert [axis.name for axis in volume.axes][:3] == ["x", "y", "z"]
        assert [(axis.name, axis.position, axis.extent) for axis in volume.axes[4:]] == ([("t", 2, 3)] if at else [])
        if at:
            others = Volume(tmp_path / str(number), at={"t": 1})[...]
            rest = data[(slice(None),) * names.index("t") + (1,)]
            np.testing.assert_array_equal(others, as_volume(rest, [n for n in names if n != "t"]))


def test_positions_on_further_axes(tmp_path):
    (data,) = image(tmp_path, "tczyx")
    assert (Volume(tmp_path)[...] == as_volume(data[0], "czyx")).all(), "the first one, if nothing was said"
    volume = Volume(tmp_path, at={"t": np.int64(1)})
    assert (pickle.loads(pickle.dumps(volume))[...] == as_volume(data[1], "czyx")).all()
    volume.refresh_info()
    assert (volume[...] == as_volume(data[1], "czyx")).all()
    for at, message in (
        ({"t": 3}, "0 to 2"), ({"t": -1}, "0 to 2"), ({"t": "a"}, "0 to 2"), ({"q": 1}, "no 'q'.*t"),
        ({"x": 1}, "index it"), ({"channel": 1}, "index it"), ({"t": 1.5}, "whole number"),
        ({"t": True}, "whole number"),
        ([3], "mapping"), ({"label": "cells"}, "no labels"), ({"multiscale": 4}, "no multiscale 4"),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=message):
            Volume(tmp_path, at=at)


def test_chunks_that_hold_several_positions(tmp_path):
    (data,) = image(tmp_path, "tzyx", chunks=(2, 3, 3, 3))
    volume = Volume(tmp_path, at={"t": 1})
    assert volume.levels[0].spans == ("t",)
    assert (volume[...] == as_volume(data[1], "zyx")).all()
    volume.upload((), np.full(volume.shape, 5, "uint16"))
    volume.delete(np.s_[:, :, 3:])
    assert (volume[:, :, :3] == 5).all()
    assert not volume[:, :, 3:].any()
    for t in (0, 2):
        assert (Volume(tmp_path, at={"t": t})[...] == as_volume(data[t], "zyx")).all()


def test_names_and_colours_of_channels(tmp_path):
    channels = [{"label": name, "color": color} for name, color in (("DAPI", "0000FF"), ("GFP", "00FF00"))]
    image(tmp_path, "czyx", omero={"channels": channels})
    axis = Volume(tmp_path).axes[3]
    assert (axis.kind, axis.extent, axis.labels, axis.colors) == ("channel", 2, ("DAPI", "GFP"), ("0000FF", "00FF00"))
    edit(tmp_path, lambda ome: ome["omero"]["channels"].pop())
    assert Volume(tmp_path).axes[3].labels == ()
    for nonsense in (None, 5, [], {"channels": 7}, {"channels": [1, 2]}, {"channels": [{"label": 1}, {}]}):
        edit(tmp_path, lambda ome, nonsense=nonsense: ome.update(omero=nonsense))
        assert Volume(tmp_path).axes[3].labels == ()


UNITS = [
    ("nanometer", 1),
    ("micrometer", 1000),
    ("millimeter", 10**6),
    ("angstrom", 0.1),
    (None, 1),
    ("um", 1000),
    ("inch", 25.4e6),
]


@pytest.mark.parametrize(("unit", "nm"), UNITS)
def test_units(tmp_path, unit, nm):
    axes = [{"name": name, "type": "space", **({"unit": unit} if unit else {})} for name in "zyx"]
    image(tmp_path, axes=axes, scale=[[0.4, 0.3, 0.1]])
    assert Volume(tmp_path).resolution.tolist() == pytest.approx([0.1 * nm, 0.3 * nm, 0.4 * nm], rel=1e-15)


def corner(offset, size):
    return [o * s for o, s in zip(offset, size, strict=True)]


def centre(offset, size):
    return [(o + 0.5) * s for o, s in zip(offset, size, strict=True)]


@pytest.mark.parametrize("offset", [(0, 0, 0), (5, -3, 1000), (-7, 1, 2)])
@pytest.mark.parametrize("convention", [corner, centre])
def test_translations_are_centres_or_corners(tmp_path, convention, offset):
    """Offsets of coarser levels are [floor(min / 2)]; (z, y, x)."""
    sizes = [[4.0, 0.5, 0.25], [8.0, 1.0, 0.5], [16.0, 2.0, 1.0]]
    offsets = [[o // 2**level for o in offset] for level in range(3)]
    translation = [convention(o, s) for o, s in zip(offsets, sizes, strict=True)]
    image(tmp_path, levels=3, scale=sizes, translation=translation)
    volume = Volume(tmp_path)
    assert [volume.mip_voxel_offset(mip).tolist() for mip in range(3)] == [o[::-1] for o in offsets]


@pytest.mark.parametrize("convention", [corner, centre])
def test_translations_by_the_book(tmp_path, convention):
    """What has half voxels of coarser levels right, or leaves all translations out, starts at the same corner."""
    sizes = [[2.0**level] * 3 for level in range(3)]
    first = [4.0, 0.0, 8.0]
    right = [[a + (2**level - 1) / 2 for a in first] for level in range(3)]
    for number, translation in enumerate((right, [first] * 3)):
        image(tmp_path / str(number), levels=3, scale=sizes, translation=translation)
        volume = Volume(tmp_path / str(number))
        found = [volume.mip_voxel_offset(mip).tolist() for mip in range(3)]
        assert found == [[8, 0, 4], [4, 0, 2], [2, 0, 1]], number


def test_transformations_of_the_whole_image(tmp_path):
    image(tmp_path, levels=2)
    over = [{"type": "scale", "scale": [40, 4, 4]}, {"type": "translation", "translation": [80, 0, 12]}]
    edit(tmp_path, lambda ome: ome["multiscales"][0].update(coordinateTransformations=over))
    volume = Volume(tmp_path)
    assert [list(level.resolution) for level in volume.levels] == [[4, 4, 40], [8, 8, 80]]
    assert volume.voxel_offset.tolist() == [3, 0, 2]


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3"])
def test_old_versions(tmp_path, version):
    """Without transformations the extents tell the scale; axes are strings, or not written down at all."""
    data = image(tmp_path, "tczyx", 2, version="0.4")

    def age(ome):
        multiscale = ome["multiscales"][0]
        multiscale.update(version=version, axes=[*"tczyx"])
        if version != "0.3":
            del multiscale["axes"]
        for dataset in multiscale["datasets"]:
            del dataset["coordinateTransformations"]

    edit(tmp_path, age)
    volume = Volume(tmp_path, at={"t": 1})
    for mip in (0, 1):
        assert (volume.download((), mip) == as_volume(data[mip][1], "czyx")).all()
    assert volume.mip_resolution(1).tolist() == [2, 2, 5 / 3]


def test_numbers_as_versions_and_fewer_axes(tmp_path):
    data = image(tmp_path, "zyx", version="0.4")

    def age(ome):
        ome["multiscales"][0].update(version=0.2)
        del ome["multiscales"][0]["axes"]
        del ome["multiscales"][0]["datasets"][0]["coordinateTransformations"]

    edit(tmp_path, age)
    assert (Volume(tmp_path)[...] == as_volume(data[0], "zyx")).all()


@pytest.mark.parametrize("version", ["0.6", "0.10", "0.6rc0", "0.7", "1.0", "nonsense"])
def test_other_versions_are_refused(tmp_path, version):
    image(tmp_path)
    edit(tmp_path, lambda ome: ome.update(version=version))
    with pytest.raises(UnsupportedError, match=f"OME-Zarr {version}, which is not read") as caught:
        Volume(tmp_path)
    assert caught.value.key == "zarr.json"
    assert "zarr.json" in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_names_of_the_format(tmp_path):
    image(tmp_path / "v3")
    image(tmp_path / "v2", version="0.4")
    for where in ("v2", "v3"):
        place = tmp_path / where
        for url in (
            f"zarr://{place}",
            f"ome-zarr://{place}",
            f"{place}|zarr2:",
            f"{place}|zarr3:",
            f"file://{place}|zarr:",
        ):
            assert Volume(url).cloudpath == f"ome-zarr://file://{place}"
        assert Volume(f"{place}|zarr:0").cloudpath == f"zarr://file://{place}/0"
    for wrong in ("precomputed", "stack"):
        with pytest.raises((DatasetNotFoundError, OptionError)):
            Volume(tmp_path / "v3", format=wrong)
    with pytest.raises(DatasetNotFoundError, match="not a group"):
        Volume(tmp_path / "v3/0", format="ome-zarr")


@pytest.mark.parametrize("version", ["04", "05"])
def test_labels_by_name_and_by_path(version):
    path = GOLDEN / f"ome_{version}_tczyx_labels" / "data"
    volume, same = Volume(path, at={"label": "cells"}), Volume(path / "labels/cells")
    assert volume.layer_type == same.layer_type == "segmentation"
    assert volume.dtype == np.uint32
    assert (volume[...] == same[...]).all()
    assert volume.levels[1].key == "labels/cells/s1" or volume.levels[1].key == "labels/cells/1"
    assert Volume(path).layer_type == "image"
    assert Volume(path).axes[3].labels == ("red", "green", "far")
    for wrong in ("nuclei", 3):
        with pytest.raises(OptionError, match="there is cells"):
            Volume(path, at={"label": wrong})
    with pytest.raises(MetadataError, match="a list of labels; open one of what is in it: cells"):
        Volume(path / "labels")


def test_several_multiscales(tmp_path):
    image(tmp_path, levels=2)

    def double(ome):
        first = ome["multiscales"][0]
        first["name"] = "all"
        coarse = {**first, "name": "coarse", "datasets": first["datasets"][1:]}
        ome["multiscales"].append(coarse)

    edit(tmp_path, double)
    assert Volume(tmp_path).shape == Volume(tmp_path, at={"multiscale": 0}).shape == (8, 6, 5, 1)
    for chosen in (1, "coarse"):
        assert Volume(tmp_path, at={"multiscale": chosen}).shape == (4, 3, 3, 1)
    with pytest.raises(OptionError, match="all, coarse"):
        Volume(tmp_path, at={"multiscale": "fine"})


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_series_of_bioformats2raw(tmp_path, version, listed):
    zarr_format = 2 if version == "0.4" else 3
    layout = {"bioformats2raw.layout": 3}
    attributes = layout if zarr_format == 2 else {"ome": {"version": "0.5", **layout}}
    zarr.open_group(tmp_path, mode="w", zarr_format=zarr_format, attributes=attributes)
    if listed:
        series = {"series": ["0", "1"]}
        zarr.open_group(
            tmp_path / "OME", mode="w", zarr_format=zarr_format,
            attributes=series if zarr_format == 2 else {"ome": {"version": "0.5", **series}},
        )  # fmt: skip
    (first,) = image(tmp_path / "0", "zyx", version=version)
    (second,) = image(tmp_path / "1", "czyx", version=version)
    assert (Volume(tmp_path)[...] == as_volume(first, "zyx")).all()
    assert (Volume(tmp_path, at={"series": 1})[...] == as_volume(second, "czyx")).all()
    with pytest.raises(OptionError, match="series are 0 to 1"):
        Volume(tmp_path, at={"series": 2})


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_plates_are_listed(tmp_path, version):
    zarr_format = 2 if version == "0.4" else 3

    def group(path, attributes):
        said = attributes if zarr_format == 2 else {"ome": {"version": "0.5", **attributes}}
        zarr.open_group(path, mode="w", zarr_format=zarr_format, attributes=said)

    wells = [f"{row}/{column}" for row in "ABC" for column in range(1, 7)]
    group(tmp_path, {"plate": {"wells": [{"path": path} for path in wells]}})
    group(tmp_path / "B/2", {"well": {"images": [{"path": "0"}, {"path": "1"}]}})
    fields = [image(tmp_path / "B/2" / name, "zyx", version=version)[0] + int(name) for name in "01"]
    for name in "01":
        zarr.open_array(tmp_path / "B/2" / name / "0", mode="r+")[...] = fields[int(name)]
    with pytest.raises(OptionError, match=r"a plate of 18 wells: A/1, A/2, .*18 in all.*at={'well': 'A/1'}"):
        Volume(tmp_path)
    with pytest.raises(OptionError, match="no well 'Z/9'"):
        Volume(tmp_path, at={"well": "Z/9"})
    assert (Volume(tmp_path, at={"well": "B/2"})[...] == as_volume(fields[0], "zyx")).all()
    assert (Volume(tmp_path, at={"well": "B/2", "field": 1})[...] == as_volume(fields[1], "zyx")).all()
    assert (Volume(tmp_path / "B/2", at={"field": 1})[...] == as_volume(fields[1], "zyx")).all()
    with pytest.raises(OptionError, match="field are 0 to 1"):
        Volume(tmp_path, at={"well": "B/2", "field": 7})
    with pytest.raises(MetadataError, match="no group in A/1/"):
        Volume(tmp_path, at={"well": "A/1"})


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_group_that_is_no_image(tmp_path, zarr_format):
    group = zarr.open_group(tmp_path, mode="w", zarr_format=zarr_format)
    file = "zarr.json" if zarr_format == 3 else ".zattrs"
    with pytest.raises(MetadataError, match=f"{file} describes a zarr group without multiscales") as caught:
        Volume(tmp_path)
    assert (caught.value.key, caught.value.url) == (file, f"file://{tmp_path}")
    group.create_array("first", shape=(4, 4, 4), dtype="u1")
    group.create_array("second", shape=(4, 4, 4), dtype="u1")
    with pytest.raises(MetadataError, match=r"open one of what is in it: (first, second|second, first)"):
        Volume(tmp_path)
    assert Volume(tmp_path / "first").shape == (4, 4, 4, 1)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_missing_levels(tmp_path, version, missing):
    data = image(tmp_path, levels=3, version=version)
    shutil.rmtree(tmp_path / str(missing))
    volume = Volume(tmp_path)
    assert len(volume.levels) == 3
    for mip in {0, 1, 2} - {missing}:
        volume.mip = mip
        assert (volume[...] == as_volume(data[mip], "zyx")).all()
    name = "zarr.json" if version == "0.5" else ".zarray"
    with pytest.raises(MetadataError, match=f"{missing}/{name} is missing, though .* lists '{missing}'") as caught:
        volume.download((), mip=missing)
    assert caught.value.key == str(missing)
    assert str(tmp_path) in caught.value.url
    shutil.rmtree(tmp_path / str((missing + 1) % 3))
    shutil.rmtree(tmp_path / str((missing + 2) % 3))
    with pytest.raises(MetadataError, match="is missing"):
        Volume(tmp_path)


@pytest.mark.parametrize("missing", [0, 1])
def test_nothing_is_said_of_where_a_missing_level_lies(tmp_path, missing):
    image(tmp_path, "czyx", levels=2, scale=[[1, 4, 4, 4], [1, 8, 8, 8]])
    shutil.rmtree(tmp_path / str(missing))
    volume, other = Volume(tmp_path), 1 - missing
    shape = volume.mip_shape(other)
    for name in ("shape", "bounds", "resolution", "chunk_size", "encoding", "scale", "downsample_ratio"):
        with pytest.raises(MetadataError, match=f"mip {missing} cannot be opened: {missing}/zarr.json is missing"):
            getattr(volume, f"mip_{name}")(missing)
    with pytest.raises(MetadataError, match="cannot be opened"):
        volume.mip = missing
    with pytest.raises(MetadataError, match="cannot be opened"):
        volume.bbox_to_mip(Bbox((0, 0, 0), (1, 1, 1)), other, missing)
    with pytest.raises(ScaleUnavailableError):
        volume.mip = (1, 1, 1)
    assert (volume.dtype, volume.num_channels) == (np.dtype("u2"), shape[3])
    assert [volume.mip_key(mip) for mip in range(2)] == ["0", "1"]
    assert [scale["size"] for scale in volume.info["scales"]] == [list(shape[:3])]
    assert f"{missing}/zarr.json is missing" in volume._repr_html_()
    assert "0 × 0 × 0" not in volume._repr_html_()
    known, unknown = (summary(volume)["levels"][mip] for mip in (other, missing))
    assert known["size"] == list(shape[:3])
    assert known.keys() == unknown.keys()
    assert {name for name, value in unknown.items() if value is not None} == {"mip", "key", "error"}


def test_a_missing_level_that_is_asked_for(tmp_path):
    image(tmp_path, levels=2)
    shutil.rmtree(tmp_path / "1")
    with pytest.raises(MetadataError, match="mip 1 cannot be opened"):
        Volume(tmp_path, mip=1)
    image(tmp_path / "other", levels=2)
    shutil.rmtree(tmp_path / "other" / "0")
    volume = Volume(tmp_path / "other")
    assert "mip=0, dtype=uint16, cannot be opened: 0/zarr.json" in repr(volume)
    with pytest.raises(MetadataError, match="mip 0 cannot be opened"):
        volume.shape  # noqa: B018
    volume.mip = 1
    assert "shape=" in repr(volume)


INCONSISTENT = {
    "scale of another size": (lambda sets: _scale(sets[1], [8, 2, 2]), "voxels of scale 8 along z"),
    "finer than the one before": (lambda sets: _scale(sets[2], [2, 4, 1]), "along x"),
    "the same level twice": (lambda sets: sets[1].update(path="0"), "'0'"),
    "coarse before fine": (lambda sets: sets.reverse(), "is finer along x than '2'"),
}


def _scale(dataset, scale):
    dataset["coordinateTransformations"][0]["scale"] = scale


@pytest.mark.parametrize("kind", INCONSISTENT)
def test_levels_of_inconsistent_scale(tmp_path, kind):
    image(tmp_path, levels=3)
    change, message = INCONSISTENT[kind]
    edit(tmp_path, lambda ome: change(ome["multiscales"][0]["datasets"]))
    volume = Volume(tmp_path)
    errors = [level.error for level in volume.levels if level.error]
    assert any(message in error for error in errors), errors
    assert all("zarr.json" in error for error in errors)
    assert volume.levels[0].error is None
    wrong = next(mip for mip, level in enumerate(volume.levels) if level.error)
    with pytest.raises(MetadataError):
        volume.download((), mip=wrong)
    with pytest.raises(MetadataError):
        Volume(tmp_path, mip=wrong)


def test_levels_rounded_in_any_way_are_consistent(tmp_path):
    for number, shapes in enumerate(
        [[(101, 65, 33), (51, 33, 17), (26, 17, 9)], [(101, 65, 33), (50, 32, 16), (25, 16, 8)]]
    ):
        group = zarr.open_group(tmp_path / str(number), mode="w")
        datasets = []
        for level, shape in enumerate(shapes):
            group.create_array(str(level), shape=shape, chunks=(32, 32, 32), dtype="u1")
            transforms = [{"type": "scale", "scale": [2**level] * 3}]
            datasets.append({"path": str(level), "coordinateTransformations": transforms})
        axes = [{"name": name, "type": "space"} for name in "zyx"]
        group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
        assert [level.error for level in Volume(tmp_path / str(number)).levels] == [None] * 3


@pytest.mark.parametrize("what", ["dtype", "rank", "channels", "empty"])
def test_levels_that_do_not_fit(tmp_path, what):
    image(tmp_path, "czyx", levels=2)
    shutil.rmtree(tmp_path / "1")
    shape = {"rank": (3, 3, 4), "channels": (3, 3, 3, 4), "empty": (2, 0, 3, 4)}.get(what, (2, 3, 3, 4))
    zarr.create_array(tmp_path / "1", shape=shape, chunks=(2,) * len(shape), dtype="u1" if what == "dtype" else "u2")
    volume = Volume(tmp_path)
    assert volume.levels[0].error is None
    assert "1/zarr.json" in volume.levels[1].error
    with pytest.raises(MetadataError, match=r"1/zarr\.json"):
        volume.download((), mip=1)


WRONG = {
    "multiscales is no list": lambda ome: ome.update(multiscales={}),
    "no multiscales": lambda ome: ome.update(multiscales=[]),
    "an entry is no object": lambda ome: ome.update(multiscales=["x"]),
    "no datasets": lambda ome: ome["multiscales"][0].update(datasets=[]),
    "a dataset is no object": lambda ome: ome["multiscales"][0].update(datasets=[5]),
    "axes are no list": lambda ome: ome["multiscales"][0].update(axes="zyx"),
    "an axis has no name": lambda ome: ome["multiscales"][0]["axes"][0].pop("name"),
    "two axes of one name": lambda ome: ome["multiscales"][0]["axes"][0].update(name="x"),
    "too few axes": lambda ome: ome["multiscales"][0]["axes"].pop(),
    "path leads out": lambda ome: ome["multiscales"][0]["datasets"][0].update(path="../0"),
    "path is absolute": lambda ome: ome["multiscales"][0]["datasets"][0].update(path="/etc"),
    "path is the group": lambda ome: ome["multiscales"][0]["datasets"][0].update(path="."),
    "path is no text": lambda ome: ome["multiscales"][0]["datasets"][0].update(path=0),
    "scale too short": lambda ome: _scale(ome["multiscales"][0]["datasets"][0], [1, 1]),
    "scale is zero": lambda ome: _scale(ome["multiscales"][0]["datasets"][0], [1, 0, 1]),
    "scale is negative": lambda ome: _scale(ome["multiscales"][0]["datasets"][0], [1, -1, 1]),
    "scale is text": lambda ome: _scale(ome["multiscales"][0]["datasets"][0], ["1", "1", "1"]),
    "scale beyond numbers": lambda ome: _scale(ome["multiscales"][0]["datasets"][0], [1, 1, 1e400]),
    "transformations are no list": lambda ome: ome["multiscales"][0]["datasets"][0].update(coordinateTransformations=1),
    "a rotation": lambda ome: ome["multiscales"][0]["datasets"][0].update(
        coordinateTransformations=[{"type": "rotation"}]
    ),
    "translation beyond any volume": lambda ome: ome["multiscales"][0]["datasets"][0].update(
        coordinateTransformations=[{"type": "translation", "translation": [0, 1e60, 0]}]
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_metadata(tmp_path, kind):
    image(tmp_path)
    edit(tmp_path, WRONG[kind])
    with pytest.raises((MetadataError, UnsupportedError), match=r"zarr\.json") as caught:
        Volume(tmp_path)
    assert caught.value.key == "zarr.json" or caught.value.key == "0/zarr.json"
    assert str(tmp_path) in str(caught.value.url)


def test_damaged_json(tmp_path):
    image(tmp_path, version="0.4")
    for file in (".zgroup", ".zattrs", "0/.zarray"):
        whole = (tmp_path / file).read_text()
        for damage in ("", "{", "[]", whole[: len(whole) // 2], "\xff"):
            (tmp_path / file).write_text(damage, encoding="latin-1")
            with pytest.raises(MetadataError, match=file.replace(".", r"\.")):
                Volume(tmp_path)
        (tmp_path / file).write_text(whole)
    assert Volume(tmp_path).shape == (8, 6, 5, 1)


def test_outside_is_outside(tmp_path):
    image(tmp_path, translation=[[10.5, 20.5, 30.5]])
    volume = Volume(tmp_path, bounded=False)
    assert volume.voxel_offset.tolist() == [30, 20, 10]
    with pytest.raises(OutOfBoundsError):
        Volume(tmp_path)[0:5, 0:5, 0:5]
    assert not volume[0:5, 0:5, 0:5].any()


def test_info_is_equivalent(tmp_path):
    image(
        tmp_path,
        "czyx",
        2,
        axes=[{"name": "c", "type": "channel"}, *({"name": n, "type": "space", "unit": "micrometer"} for n in "zyx")],
    )
    volume = Volume(tmp_path)
    info = volume.info
    assert (info["num_channels"], info["data_type"], info["type"]) == (2, "uint16", "image")
    assert [scale["resolution"] for scale in info["scales"]] == [[1000, 1000, 1000], [2000, 2000, 2000]]
    info["scales"].clear()
    assert len(volume.info["scales"]) == 2
    with pytest.raises(ReadOnlyError):
        volume.info = info
    with pytest.raises(ReadOnlyError):
        volume.commit_info()
