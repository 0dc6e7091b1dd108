"""Conversion to zarr and OME-Zarr: the same voxels as elsewhere, metadata that validators and other readers take."""

import json
import re
from pathlib import Path

import numpy as np
import ome_zarr_models
import pytest
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

from tests.ops.levels import HOW, SHAPE, same_levels, sample
from volumekit import Volume, convert, downsample
from volumekit.cli.main import run
from volumekit.errors import OptionError, ReadOnlyError, TargetExistsError, UnsupportedError
from volumekit.formats.zarr.layout import COMPRESSORS
from volumekit.ops.kernels import downsample as downsample_array
from volumekit.ops.ladder import PROGRAM_BYTES
from volumekit.ops.runners import Stopped

LAYOUTS = {
    "v3": {}, "v2": {"zarr_version": 2}, "sharded": {"shard": (16, 24, 8)},
    "blosc": {"zarr_version": 2, "compressor": "blosc:zstd:5"}, "none": {"compressor": "none"},
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_voxels_in_every_layout(tmp_path, twin, layout):
    path = tmp_path / "a.zarr"
    made = convert(twin, path, **{**HOW, "voxel_size": None}, **LAYOUTS[layout])
    assert made.cloudpath == f"ome-zarr://file://{path}"
    same_levels(Volume(path), twin)
    valid(path)
    assert made.provenance.sources == [twin.cloudpath]
    assert "finished" in Volume(path).provenance.processing[-1]
    assert made.exists().num_missing == 4 * 3, "empty chunks are not stored"
    back = convert(path, tmp_path / "back", chunk_size=8, mips=2, progress=False)
    same_levels(back, twin)
    assert sorted(p.name for p in path.iterdir() if not p.name.startswith(".z")) == ["0", "1", "2"] + (
        [] if LAYOUTS[layout].get("zarr_version") == 2 else ["zarr.json"]
    )


def valid(path):
    """Assert that validators, ome-zarr-py and Neuroglancer take an image."""
    group = zarr.open_group(path, mode="r")
    ome_zarr_models.open_ome_zarr(group)
    (node,) = list(Reader(parse_url(path))())
    for level, array in enumerate(node.data):
        np.testing.assert_array_equal(np.asarray(array), group[str(level)][...])
    neuroglancer_takes(path)


UNITS = ["meter", "micrometer", "nanometer", "millimeter", "angstrom", "second"]


def neuroglancer_takes(path):
    """Check what Neuroglancer asks of OME-Zarr (src/datasource/zarr/ome.ts and metadata/parse.ts)."""
    version = 3 if (path / "zarr.json").exists() else 2
    attributes = json.loads((path / ("zarr.json" if version == 3 else ".zattrs")).read_text())
    ome = attributes["attributes"]["ome"] if version == 3 else attributes
    multiscale = ome["multiscales"][0]
    assert (ome.get("version") or multiscale["version"]) == ("0.5" if version == 3 else "0.4")
    names = [axis["name"] for axis in multiscale["axes"]]
    assert all(axis.get("unit", UNITS[0]) in UNITS for axis in multiscale["axes"])
    for dataset in multiscale["datasets"]:
        kinds = [transform["type"] for transform in dataset["coordinateTransformations"]]
        assert kinds in (["scale"], ["scale", "translation"])
        scale = dataset["coordinateTransformations"][0]["scale"]
        assert len(scale) == len(names)
        assert min(scale) > 0
        folder = path / dataset["path"]
        if version == 2:
            array = json.loads((folder / ".zarray").read_text())
            assert array["filters"] is None
            assert (array["compressor"] or {"id": "zstd"})["id"] in ("blosc", "gzip", "zlib", "zstd")
            assert array["dtype"][1:] in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "f4")
            continue
        array = json.loads((folder / "zarr.json").read_text())
        assert array["dimension_names"] == names
        assert array["data_type"] in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32")
        codecs = [codec["name"] for codec in array["codecs"]]
        assert set(codecs) <= {"bytes", "transpose", "blosc", "gzip", "zstd", "crc32c", "sharding_indexed"}


def test_segmentations_are_labels(tmp_path):
    made = convert(sample(dtype="uint32"), tmp_path / "a.zarr", layer_type="segmentation", **HOW)
    assert Volume(tmp_path / "a.zarr").layer_type == made.layer_type == "segmentation"
    twin = convert(sample(dtype="uint32"), tmp_path / "twin", layer_type="segmentation", **HOW)
    same_levels(made, twin)
    valid(tmp_path / "a.zarr")
    assert type(ome_zarr_models.open_ome_zarr(zarr.open_group(tmp_path / "a.zarr", mode="r"))).__name__ == "ImageLabel"


WINDOW = {"min": 0, "max": 65535, "start": 5, "end": 200.5}
CHANNELS = [{"label": f"dye {n}", "color": f"{n}0ff00", "window": WINDOW, "active": n != 1} for n in range(3)]


@pytest.mark.parametrize("version", [2, 3])
def test_names_and_colours_of_channels_go_along(tmp_path, version):
    source = convert(sample(3), tmp_path / "a.zarr", zarr_version=version, **HOW)
    document = tmp_path / "a.zarr" / (".zattrs" if version == 2 else "zarr.json")
    whole = json.loads(document.read_text())
    ome = whole if version == 2 else whole["attributes"]["ome"]
    ome["omero"] = {"channels": CHANNELS, "rdefs": {"model": "color"}}
    document.write_text(json.dumps(whole))
    for other in (2, 3):
        made = convert(source.cloudpath, tmp_path / f"{other}.zarr", zarr_version=other, chunk_size=8, progress=False)
        valid(tmp_path / f"{other}.zarr")
        attributes = dict(zarr.open_group(tmp_path / f"{other}.zarr", mode="r").attrs)
        assert (attributes if other == 2 else attributes["ome"])["omero"] == ome["omero"]
        assert made.axes[3].labels == ("dye 0", "dye 1", "dye 2")
        assert made.axes[3].colors == ("00ff00", "10ff00", "20ff00")
    for bad in ({"color": "red"}, {"window": None}, {"window": {**WINDOW, "end": "x"}}, {"window": {"min": 0}}):
        ome["omero"] = {"channels": [CHANNELS[0], CHANNELS[1], {**CHANNELS[2], **bad}]}
        document.write_text(json.dumps(whole))
        convert(source.cloudpath, tmp_path / "b.zarr", overwrite=True, chunk_size=8, progress=False)
        valid(tmp_path / "b.zarr")
        assert "omero" not in zarr.open_group(tmp_path / "b.zarr", mode="r").attrs["ome"]


@pytest.mark.parametrize("compressor", ["none", *COMPRESSORS])
@pytest.mark.parametrize("zarr_version", [2, 3])
def test_a_single_array(tmp_path, compressor, zarr_version):
    path = tmp_path / "a.zarr"
    how = {"compressor": compressor, "zarr_version": zarr_version}
    made = convert(sample(), path, format="zarr", **{**HOW, "mips": 0}, **how)
    assert made.cloudpath == f"zarr://file://{path}"
    again = Volume(path)
    assert (again.resolution.tolist(), again.dtype) == ([4, 4, 40], np.uint16)
    np.testing.assert_array_equal(again[...][..., 0], sample())
    with pytest.warns() if compressor in ("bz2", "lz4", "lzma", "zlib") and zarr_version == 3 else _nothing():
        np.testing.assert_array_equal(zarr.open_array(path, mode="r")[...], sample().T)
    with pytest.raises(OptionError, match="has one level"):
        convert(sample(), tmp_path / "b.zarr", format="zarr", **HOW)


class _nothing:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False


@pytest.mark.parametrize("dtype", ["bool", "int64", "uint64", "float16", "float64"])
def test_data_types_that_precomputed_lacks(tmp_path, dtype):
    made = convert(sample(dtype=dtype), tmp_path / "a.zarr", **{**HOW, "mips": 0})
    assert made.dtype == dtype
    np.testing.assert_array_equal(made[...][..., 0], sample(dtype=dtype))
    assert convert(sample(dtype=dtype), tmp_path / "b.zarr", **HOW).dtype == dtype


def test_impossible_options(tmp_path):
    for how, message in (
        ({"encoding": "jpeg"}, "encoding is no option of ome-zarr"), ({"compress": "gzip"}, "compress is no option"),
        ({"jpeg_quality": 5}, "jpeg_quality"), ({"zarr_version": 4}, "2 or 3"), ({"shard": (9, 8, 8)}, "whole chunks"),
        ({"shard": 5}, "whole chunks"), ({"shard": "a"}, "three integers"),
        ({"compressor": "rar"}, "none, blosc"), ({"compressor": "zstd:x"}, "'x'"),
        ({"compressor": {"name": "zstd", "configuration": {"level": "high"}}}, "cannot be used"),
        ({"zarr_version": 2, "shard": (16, 16, 16)}, "has no shards"), ({"compressor": "blosc:snappy"}, "snappy"),
        ({"compressor": "zstd:99"}, "to 22"), ({"compressor": "blosc:zstd:10"}, "0 to 9"),
        ({"compressor": "bz2:0"}, "1 to 9"), ({"compressor": "lzma:-1"}, "0 to 9"),
        ({"zarr_version": 2, "compressor": "gzip:12"}, "to 9"), ({"compressor": "none:5"}, "none:5"),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=message):
            convert(sample(), tmp_path / "a.zarr", **{**HOW, **how})
    for how in ({"zarr_version": 2}, {"shard": (16, 16, 16)}, {"compressor": "zstd"}, {"empty_chunks": True}):
        with pytest.raises(OptionError, match="no option of precomputed"):
            convert(sample(), tmp_path / "a", **{**HOW, **how})
    for fmt in ("stack",):
        with pytest.raises(UnsupportedError):
            convert(sample(), tmp_path / "a", format=fmt, **HOW)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten_unasked(tmp_path):
    path = tmp_path / "a.zarr"
    first = convert(sample(), path, **{**HOW, "mips": 3})
    for fmt in (None, "zarr", "ome-zarr"):
        with pytest.raises(TargetExistsError, match="--overwrite"):
            convert(sample()[:20], path, format=fmt, **{**HOW, "mips": 0})
    same_levels(Volume(path), first)
    (path / "notes.txt").write_text("mine")
    smaller = convert(sample()[:20], path, overwrite=True, zarr_version=2, **{**HOW, "mips": 0})
    assert smaller.shape == (20, 38, 21, 1)
    assert sorted(p.name for p in path.iterdir()) == [".zattrs", ".zgroup", "0", "notes.txt"]
    plain = convert(sample(), path, overwrite=True, format="zarr", **{**HOW, "mips": 0})
    np.testing.assert_array_equal(plain[...][..., 0], sample())
    image = convert(sample(), path, overwrite=True, **HOW)
    np.testing.assert_array_equal(image[...][..., 0], sample())
    assert sorted(p.name for p in path.iterdir() if not p.is_dir()) == ["notes.txt", "zarr.json"]
    assert not list((path / "c").rglob("*.*"))
    other = tmp_path / "b.zarr"
    convert(sample(), other, format="precomputed", **HOW)
    with pytest.raises(TargetExistsError):
        convert(sample(), other, **HOW)
    zarr_now = convert(sample(), other, overwrite=True, **HOW)
    same_levels(Volume(other), zarr_now)


def test_chunks_without_metadata_are_not_overwritten_unasked(tmp_path):
    (tmp_path / "a.zarr/0/c/0").mkdir(parents=True)
    (tmp_path / "a.zarr/0/c/0/0").write_text("precious")
    with pytest.raises(TargetExistsError, match="chunks but no metadata"):
        convert(sample(), tmp_path / "a.zarr", **HOW)
    assert (tmp_path / "a.zarr/0/c/0/0").read_text() == "precious"
    assert convert(sample(), tmp_path / "a.zarr", overwrite=True, **HOW).shape[:3] == SHAPE


@pytest.fixture
def fails_after(monkeypatch):
    """Make the job end before so many tasks are done."""
    from volumekit.ops.build import Build

    real = Build.__call__

    def limit(count):
        done = []

        def work(self, task, report):
            if len(done) >= count:
                raise Stopped
            found = real(self, task, report)
            done.append(task.number)
            return found

        monkeypatch.setattr(Build, "__call__", work)
        return done

    return limit


@pytest.mark.parametrize("version", [2, 3])
def test_what_was_cut_off_is_no_dataset_and_goes_on(tmp_path, version, fails_after):
    twin = convert(np.tile(sample(), (1, 1, 20)), tmp_path / "twin", **HOW)
    path, how = (
        tmp_path / "a.zarr",
        {**HOW, "voxel_size": None, "zarr_version": version, "memory": PROGRAM_BYTES + (1 << 20), "jobs": 1},
    )
    fails_after(1)
    with pytest.raises(Stopped):
        convert(twin, path, **how)
    with pytest.raises(Exception, match=r"without multiscales|no dataset"):
        Volume(path)
    with pytest.raises(TargetExistsError, match="unfinished job with other parameters"):
        convert(twin, path, **{**how, "chunk_size": 16})
    more = fails_after(1 << 30)
    made = convert(twin, path, **how)
    assert more
    same_levels(made, twin)
    done = fails_after(1 << 30)
    same_levels(convert(twin, path, **how), twin)
    assert done == [], "nothing is left to do"
    convert(twin, path, overwrite=True, **how)
    assert done


def test_processes(tmp_path, twin):
    made = convert(twin, tmp_path / "a.zarr", processes=2, **{**HOW, "voxel_size": None})
    same_levels(made, twin)


def test_dry_run(tmp_path):
    told = convert(sample(), tmp_path / "a.zarr", dry_run=True, **HOW)
    assert [level.key for level in told.levels] == ["0", "1", "2"]
    assert not (tmp_path / "a.zarr").exists()


GOLDEN = Path(__file__).parents[1] / "golden" / "zarr"


@pytest.mark.parametrize("zarr_version", [2, 3])
def test_levels_of_scroll2zarr(tmp_path, zarr_version):
    source = Volume(GOLDEN / "s2z_u16_mean/data")
    made = convert(source, tmp_path / "a.zarr", chunk_size=16, mips=2, zarr_version=zarr_version, progress=False)
    for mip in range(3):
        np.testing.assert_array_equal(made.download((), mip), np.load(GOLDEN / f"s2z_u16_mean/expected_{mip}.npy"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_levels_are_added(tmp_path, twin, layout):
    path = tmp_path / "a.zarr"
    convert(twin, path, **{**HOW, "voxel_size": None, "mips": 0}, **LAYOUTS[layout])
    grown = downsample(path, mips=1, progress=False)
    assert len(grown.levels) == 2
    grown = downsample(path, mips=1, mip=1, progress=False)
    same_levels(grown, twin)
    valid(path)
    assert len(downsample(path, mips=1, mip=1, progress=False).levels) == 3, "nothing is left to do"
    with pytest.raises(TargetExistsError, match=r"mip 1 \(1\) already holds data"):
        downsample(path, mips=2, mip=0, progress=False)
    same_levels(downsample(path, mips=2, mip=0, overwrite=True, progress=False), twin)
    tasks = [entry["method"]["task"] for entry in Volume(path).provenance.processing]
    assert tasks == ["convert", "convert", "downsample", "downsample", "downsample"]


@pytest.mark.parametrize("version", ["04", "05"])
def test_levels_of_every_position_in_time(tmp_path, version):
    import shutil

    path = tmp_path / "a.zarr"
    shutil.copytree(GOLDEN / f"ome_{version}_tczyx_labels/data", path)
    before = [Volume(path, at={"t": t})[...] for t in range(2)]
    grown = downsample(Volume(path, at={"t": 1}), mip=0, mips=2, factor=(2, 2, 1), overwrite=True, progress=False)
    assert grown.at == {"t": 1}
    assert len(grown.levels) == 3
    for t in range(2):
        volume = Volume(path, at={"t": t})
        np.testing.assert_array_equal(volume[...], before[t])
        twin = downsample(Volume.from_numpy(before[t], tmp_path / f"twin{t}"), mips=2, factor=(2, 2, 1), progress=False)
        for mip in (1, 2):
            np.testing.assert_array_equal(volume.download((), mip), twin.download((), mip))
    assert Volume(path).axes[3].labels == ("red", "green", "far"), "what else the metadata say is kept"
    cells = downsample(Volume(path, at={"label": "cells"}), mip=0, overwrite=True, progress=False)
    assert (cells.layer_type, len(cells.levels)) == ("segmentation", 2)


def test_levels_that_cannot_be_added(tmp_path):
    convert(sample(), tmp_path / "a.zarr", format="zarr", **{**HOW, "mips": 0})
    with pytest.raises(ReadOnlyError, match="levels cannot be added to zarr data"):
        downsample(tmp_path / "a.zarr", progress=False)


def test_command_line(tmp_path, capsys):
    np.save(tmp_path / "x.npy", sample())
    Volume.from_numpy(sample(), tmp_path / "src")
    options = ["--mips", "1", "--chunk-size", "8", "--shard", "16", "--compressor", "blosc:lz4:3", "--quiet"]
    assert run(["convert", f"{tmp_path}/src", f"{tmp_path}/a.zarr", *options]) == 0
    assert "ome-zarr://" in capsys.readouterr().out
    volume = Volume(tmp_path / "a.zarr")
    assert (volume.levels[1].sharding.shape, volume.encoding) == ((16, 16, 16), "blosc")
    assert (
        run(["convert", f"{tmp_path}/src", f"{tmp_path}/b", "--format", "zarr", "--zarr-version", "2", "--quiet"]) == 0
    )
    assert (tmp_path / "b/.zarray").exists()
    assert run(["convert", f"{tmp_path}/src", f"{tmp_path}/a.zarr", "--quiet"]) == 1
    assert run(["downsample", f"{tmp_path}/a.zarr", "--quiet"]) == 0
    assert len(Volume(tmp_path / "a.zarr").levels) == 3
    assert run(["info", f"{tmp_path}/a.zarr"]) == 0
    assert "blosc" in capsys.readouterr().out
    assert run(["exists", f"{tmp_path}/a.zarr"]) in (0, 1)


@pytest.mark.filterwarnings("ignore:.*onsolidated metadata")
@pytest.mark.parametrize("version", [2, 3])
def test_copies_of_the_metadata_do_not_outlive_them(tmp_path, version):
    """zarr-python believes consolidated metadata: they go when levels or labels are added. NaN in attributes stays."""
    path, how = tmp_path / "a.zarr", {"zarr_version": version, "chunk_size": 8, "progress": False}
    convert(sample(), path, **how)
    zarr.open_group(path, mode="r+").attrs["nothing"] = float("nan")
    zarr.consolidate_metadata(path, zarr_format=version)
    downsample(path, mips=1, progress=False)
    assert set(zarr.open_group(path, mode="r").array_keys()) == {"0", "1"}
    zarr.consolidate_metadata(path, zarr_format=version)
    convert(sample(dtype="uint32"), path / "labels" / "x", layer_type="segmentation", mips=1, **how)
    group = zarr.open_group(path, mode="r")
    np.testing.assert_array_equal(group["labels/x/0"][...], sample().T)
    assert np.isnan(group.attrs["nothing"])
    volume = Volume(path)
    volume.provenance.description = "seen"
    volume.commit_provenance()
    assert Volume(path).provenance.description == "seen"
    assert np.isnan(zarr.open_group(path, mode="r").attrs["nothing"])


def film(path):
    """Write an image of three points in time."""
    group = zarr.open_group(path, mode="w")
    data = np.random.default_rng(0).integers(1, 99, (3, 8, 8, 8), dtype=np.uint8)
    group.create_array("0", data=data, chunks=(1, 8, 8, 8))
    axes = [{"name": "t", "type": "time"}, *({"name": name, "type": "space"} for name in "zyx")]
    scale = {"type": "scale", "scale": [1, 4, 4, 4]}
    datasets = [{"path": "0", "coordinateTransformations": [scale]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    return data


def test_another_position_is_another_conversion(tmp_path):
    data = film(tmp_path / "film.zarr")
    first, second = (Volume(tmp_path / "film.zarr", at={"t": t}) for t in (1, 2))
    for target in ("a", "a.zarr"):
        for _ in range(2):
            made = convert(first, tmp_path / target, progress=False)
            np.testing.assert_array_equal(made[..., 0], data[1].T)
        with pytest.raises(TargetExistsError):
            convert(second, tmp_path / target, progress=False)
        made = convert(second, tmp_path / target, progress=False, overwrite=True)
        np.testing.assert_array_equal(made[..., 0], data[2].T)
    first.map(np.asarray, out=tmp_path / "mapped")
    with pytest.raises(TargetExistsError):
        second.map(np.asarray, out=tmp_path / "mapped")


def test_positions_that_are_left_out_are_told(tmp_path, caplog, capsys):
    film(tmp_path / "film.zarr")
    convert(Volume(tmp_path / "film.zarr", at={"t": 0}), tmp_path / "a", progress=False)
    assert not caplog.text
    convert(tmp_path / "film.zarr", tmp_path / "b", progress=False)
    assert "of 3 positions of t the first is converted" in caplog.text
    assert run(["info", str(tmp_path / "film.zarr")]) == 0
    assert "t: 3 positions, this is 0" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["mode", "mean"])
def test_truth_values_stay_what_they_are(tmp_path, method):
    array = np.random.default_rng(4).random((40, 30, 20)) < 0.4
    made = convert(array, tmp_path / "v", format="zarr", chunk_size=16, progress=False)
    assert made.dtype == bool
    two = convert(array, tmp_path / "w", format="ome-zarr", chunk_size=16, mips=1, method=method, progress=False)
    expected = downsample_array(array, (2, 2, 2), method=method)
    assert two.dtype == bool
    np.testing.assert_array_equal(Volume(tmp_path / "w", 1)[:][..., 0], expected)
    convert(array, tmp_path / "x", format="ome-zarr", chunk_size=16, progress=False)
    downsample(tmp_path / "x", mips=1, method=method, progress=False)
    np.testing.assert_array_equal(Volume(tmp_path / "x", 1)[:][..., 0], expected)


def test_the_memory_that_is_told_for_shards_is_enough(tmp_path):
    array = np.zeros((256, 256, 128), np.uint16)
    how = {
        "format": "ome-zarr",
        "chunk_size": 32,
        "shard": (256, 256, 128),
        "mips": 1,
        "progress": False,
        "dry_run": True,
    }
    with pytest.raises(OptionError, match="is too little") as caught:
        convert(array, tmp_path / "v", memory="240MB", **how)
    told = re.search(r'memory="(\d+MB)"', str(caught.value))[1]
    assert convert(array, tmp_path / "v", memory=told, **how).memory_bytes <= int(told[:-2]) * 10**6
    shard = array.nbytes
    assert int(told[:-2]) * 10**6 > PROGRAM_BYTES + 4 * shard, "two shards at once, as they were and as they become"
