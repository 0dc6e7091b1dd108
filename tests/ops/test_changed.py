"""Conversions that change axes or values, because they are asked to."""

import json

import numpy as np
import pytest
import tifffile

import volumekit
from volumekit import Bbox, Volume
from volumekit.cli.main import run
from volumekit.errors import CastError, CorruptChunkError, OptionError
from volumekit.ops import changed
from volumekit.ops.changed import stretch
from volumekit.ops.kernels import downsample

SHAPE = (40, 30, 21)
PLACE = {"voxel_offset": (5, 6, 7), "resolution": (2, 4, 8)}
ORDERS = ["zyx", "yxz", "xzy", "yzx", "zxy"]


def voxels(dtype="uint16", channels=1):
    rng = np.random.default_rng(4)
    if np.dtype(dtype).kind == "f":
        return rng.normal(100, 80, (*SHAPE, channels)).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, (*SHAPE, channels), dtype, endpoint=True)


def expected(array, low, high, dtype):
    """The definition, in Python's own whole numbers where that matters."""
    share = np.clip((array.astype(float) - low) / (high - low), 0, 1)
    if np.dtype(dtype).kind == "f":
        return share.astype(dtype)
    least, most = (int(n) for n in (np.iinfo(dtype).min, np.iinfo(dtype).max))
    exact = [min(most, least + int(np.rint(s * float(most - least)))) for s in share.ravel().tolist()]
    return np.array(exact, dtype).reshape(array.shape)


def turned(array, order):
    return array.transpose(*("xyz".index(axis) for axis in order), 3)


# Values


@pytest.mark.parametrize("source", ["uint8", "int8", "uint16", "int16", "int32", "uint64", "float32"])
@pytest.mark.parametrize("target", ["uint8", "int8", "uint16", "int32", "uint64", "float32"])
def test_stretching(tmp_path, source, target):
    array = voxels(source)
    low, high = np.percentile(array.astype(float), [3, 90]).tolist()
    volume = volumekit.convert(array, tmp_path / "v", data_type=target, rescale=(low, high), chunk_size=(16, 16, 16))
    assert volume.dtype == target
    np.testing.assert_array_equal(volume[:], expected(array, low, high, target))


def test_ends_are_met_exactly():
    values = np.array([-1, 0, 1, 127, 128, 65534, 65535, 65536], np.int32)
    assert stretch(values, (0, 65535), np.dtype("u1")).tolist() == [0, 0, 0, 0, 0, 255, 255, 255]
    assert stretch(values, (0, 65535), np.dtype("i1")).tolist() == [-128, -128, -128, -128, -128, 127, 127, 127]
    assert stretch(values, (0, 65535), np.dtype("u8"))[-2:].tolist() == [2**64 - 1] * 2
    assert stretch(values, (0, 65535), np.dtype("i8"))[:2].tolist() == [-(2**63)] * 2
    assert stretch(values, (0, 65535), np.dtype("i8"))[-2:].tolist() == [2**63 - 1] * 2
    odd = np.array([np.nan, np.inf, -np.inf, 0.5], np.float32)
    assert stretch(odd, (0, 1), np.dtype("u1")).tolist() == [0, 255, 0, 128]
    found = stretch(odd, (0, 1), np.dtype("f4"))
    assert np.isnan(found[0])
    assert found[1:].tolist() == [1, 0, 0.5]


def test_other_byte_orders(tmp_path):
    array = voxels("uint16")
    volume = volumekit.convert(array.astype(">u2"), tmp_path / "v", data_type="uint8", rescale=(100, 60000))
    np.testing.assert_array_equal(volume[:], expected(array, 100, 60000, "uint8"))


@pytest.mark.parametrize("name", ["v", "v.zarr"])
@pytest.mark.parametrize("read_bytes", [1 << 22, 5000])
def test_volumes_and_pyramids(tmp_path, name, read_bytes, monkeypatch):
    monkeypatch.setattr(changed, "READ_BYTES", read_bytes)
    array = voxels("uint16", channels=2)
    source = Volume.from_numpy(
        array, tmp_path / "s", voxel_offset=(5, 6, 7), chunk_size=(16, 16, 8), resolution=(4, 4, 8)
    )
    how = {"data_type": "uint8", "rescale": (0, 65535), "mips": 1, "chunk_size": (16, 16, 16), "factor": (2, 2, 1)}
    box = Bbox((6, 8, 8), (40, 34, 28))
    volume = volumekit.convert(source, tmp_path / name, box=box, **how)
    wanted = expected(array, 0, 65535, "uint8")[1:35, 2:28, 1:21]
    assert volume.bounds == box
    np.testing.assert_array_equal(volume[:], wanted)
    np.testing.assert_array_equal(volume.download((), mip=1), downsample(wanted, (2, 2, 1), method="mean"))
    method = volume.provenance.processing[-1]["method"]
    assert method["rescale"] == [0, 65535]
    assert "axes" not in method


def test_nothing_is_stretched_unasked(tmp_path):
    with pytest.raises(CastError, match="rescale"):
        volumekit.convert(voxels(), tmp_path / "v", data_type="uint8")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        {"rescale": (0, 100)},
        {"rescale": (100, 0), "data_type": "uint8"},
        {"rescale": (5, 5), "data_type": "uint8"},
        {"rescale": 5, "data_type": "uint8"},
        {"rescale": (0, float("nan")), "data_type": "uint8"},
        {"rescale": (0, float("inf")), "data_type": "uint8"},
        {"rescale": ("a", "b"), "data_type": "uint8"},
        {"rescale": (0, 9), "data_type": "uint8", "layer_type": "segmentation"},
        {"rescale": (0, 9), "data_type": "complex64"},
        {"rescale": (0, 9), "data_type": "bool", "format": "zarr"},
        *({"axes": axes} for axes in ("xy", "xyzz", "xxz", "", 7, None, "XYZ")),
    ],
    ids=str,
)
def test_wrong_wishes(tmp_path, options):
    with pytest.raises(OptionError):
        volumekit.convert(voxels(), tmp_path / "v", **options)
    assert not list(tmp_path.iterdir())


# Axes


@pytest.mark.parametrize("order", ORDERS)
def test_other_axes(tmp_path, order):
    array = voxels(channels=2)
    source = Volume.from_numpy(
        array, tmp_path / "s", voxel_offset=(5, 6, 7), chunk_size=(16, 16, 8), resolution=(2, 4, 8)
    )
    volume = volumekit.convert(source, tmp_path / "v", axes=order, mips=1, chunk_size=(16, 16, 16))
    wanted = turned(array, order)
    np.testing.assert_array_equal(volume[:], wanted)
    at = ["xyz".index(axis) for axis in order]
    assert volume.voxel_offset.tolist() == [(5, 6, 7)[axis] for axis in at]
    assert volume.resolution.tolist() == [(2, 4, 8)[axis] for axis in at]
    again = Volume.from_numpy(wanted, tmp_path / "w", voxel_offset=volume.voxel_offset)
    coarse = volumekit.downsample(again)
    np.testing.assert_array_equal(volume.download((), mip=1), coarse.download((), mip=1))


@pytest.mark.parametrize("order", ["zyx", "yzx"])
def test_box_is_the_sources_and_the_rest_is_the_results(tmp_path, order):
    array = voxels()
    how = {"box": np.s_[3:33, 1:29, 0:20], "voxel_size": (1, 2, 3), "offset": (9, 8, 7), "chunk_size": (8, 16, 32)}
    volume = volumekit.convert(array, tmp_path / "v", axes=order, **how)
    np.testing.assert_array_equal(volume[:], turned(array[3:33, 1:29, 0:20], order))
    assert (volume.voxel_offset.tolist(), volume.resolution.tolist()) == ([9, 8, 7], [1, 2, 3])


def test_image_stacks_turned_and_stretched_in_little_memory(tmp_path):
    array = voxels()
    (tmp_path / "s").mkdir()
    for z in range(SHAPE[2]):
        tifffile.imwrite(tmp_path / "s" / f"{z:03}.tif", array[:, :, z, 0].T, compression="zlib")
    how = {"axes": "zyx", "data_type": "uint8", "rescale": (1000, 50000), "chunk_size": (16, 16, 16)}
    volume = volumekit.convert(tmp_path / "s", tmp_path / "v", **how)
    np.testing.assert_array_equal(volume[:], turned(expected(array, 1000, 50000, "uint8"), "zyx"))


# Going on, and the command


def test_the_same_call_goes_on_and_another_does_not(tmp_path, caplog):
    source = Volume.from_numpy(voxels(), tmp_path / "s")
    how = {"axes": "zyx", "data_type": "uint8", "rescale": (0, 60000)}
    for _ in range(2):
        volumekit.convert(source, tmp_path / "v", **how)
    assert "nothing is left to do" in caplog.text
    for other in ({"axes": "zxy"}, {"rescale": (0, 60001)}):
        with pytest.raises(OptionError, match="overwrite"):
            volumekit.convert(source, tmp_path / "v", **{**how, **other})


@pytest.mark.parametrize("processes", [None, 1])
def test_it_is_verified(tmp_path, processes, monkeypatch):
    source = Volume.from_numpy(voxels(channels=2), tmp_path / "s", chunk_size=(16, 16, 16), **PLACE)
    how = {"axes": "zxy", "data_type": "uint8", "rescale": (1000, 60000), "offset": (1, 2, 3), "mips": 1}
    how = {**how, "box": Bbox((6, 7, 8), (30, 29, 28)), "verify": True, "processes": processes, "progress": False}
    made = volumekit.convert(source, tmp_path / "v", **how)
    sizes = 24 * 22 * 20 * 2, int(made.levels[1].bounds.volume()) * 2
    told = (f"equal: {size:,} voxels of mip {mip}" for mip, size in enumerate(sizes))
    assert made.provenance.processing[-1]["verified"] == "; ".join(told)
    real = changed.Change.apply
    for name in ("axes", "rescale"):
        other = {"axes": changed.Change.of("yxz", how["rescale"]), "rescale": changed.Change.of("zxy", (1000, 50000))}
        monkeypatch.setattr(changed.Change, "apply", lambda self, *args, other=other[name]: real(other, *args))
        cube = {"box": Bbox((6, 7, 8), (26, 27, 28)), "processes": None}
        with pytest.raises(CorruptChunkError, match="voxels differ"):
            volumekit.convert(source, tmp_path / name, **{**how, **cube})
        assert not (tmp_path / name / "info").exists()


def test_what_is_filled_in_is_verified_as_such(tmp_path):
    source = Volume.from_numpy(voxels(), tmp_path / "s", chunk_size=(16, 16, 16))
    source.delete(Bbox((0, 0, 0), (16, 16, 16)))
    made = volumekit.convert(tmp_path / "s", tmp_path / "v", fill_missing=True, verify=True, axes="zyx")
    assert "equal" in made.provenance.processing[-1]["verified"]


def test_dry_runs_and_processes(tmp_path):
    source = Volume.from_numpy(voxels(), tmp_path / "s")
    how = {"axes": "zyx", "data_type": "uint8", "rescale": (0, 65535)}
    estimate = volumekit.convert(source, tmp_path / "v", dry_run=True, **how)
    assert estimate.to_json()["levels"]
    assert not (tmp_path / "v").exists()
    volume = volumekit.convert(source, tmp_path / "v", processes=1, **how)
    np.testing.assert_array_equal(volume[:], turned(expected(voxels(), 0, 65535, "uint8"), "zyx"))


def test_the_command(tmp_path, capsys):
    array = voxels()
    Volume.from_numpy(array, tmp_path / "s")
    words = ["convert", str(tmp_path / "s"), str(tmp_path / "v"), "--quiet"]
    assert run([*words, "--data-type", "uint8"]) == 1
    assert "--rescale low:high" in capsys.readouterr().err
    assert run([*words, "--data-type", "uint8", "--rescale", "0-9"]) == 2
    assert run([*words, "--data-type", "uint8", "--rescale", "0:65535", "--axes", "zyx"]) == 0
    np.testing.assert_array_equal(Volume(tmp_path / "v")[:], turned(expected(array, 0, 65535, "uint8"), "zyx"))
    processing = json.loads((tmp_path / "v" / "provenance").read_text())["processing"][-1]
    assert processing["method"]["axes"] == "zyx"
