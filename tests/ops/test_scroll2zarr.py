"""What scroll_to_ome of scroll2zarr does, by ``volumekit convert``: the same voxels, read by zarr-python."""

import json
from pathlib import Path

import numpy as np
import ome_zarr_models
import pytest
import tifffile
import zarr

import volumekit
from tests.volume.sample import files
from volumekit import Volume, convert, downsample
from volumekit.cli.main import run
from volumekit.errors import OptionError, TargetExistsError
from volumekit.ops.estimate import Estimate

GOLDEN = Path(__file__).parents[1] / "golden" / "scroll2zarr"
LAYOUTS = {"v2": ["--zarr-version", "2", "--compressor", "none"], "v3": ["--shard", "32,32,32"]}


def expected(name):
    return np.load(GOLDEN / f"{name}.npy")


def write_stack(folder, voxels, numbers=None):
    folder.mkdir()
    for z, plane in zip(numbers or range(len(voxels)), voxels, strict=True):
        tifffile.imwrite(folder / f"{z:05}.tif", plane, compression="lzw")
    return folder


@pytest.fixture
def u16(tmp_path):
    return write_stack(tmp_path / "u16", expected("u16_level0"))


@pytest.fixture
def u8(tmp_path):
    return write_stack(tmp_path / "u8", expected("u8_level0"))


def command(*arguments):
    return run(["convert", *map(str, arguments), "--chunk-size", "16", "--voxel-size", "1", "--quiet"])


def levels(path):
    group = zarr.open_group(path, mode="r")
    version = "0.4" if group.metadata.zarr_format == 2 else "0.5"
    ome_zarr_models.open_ome_zarr(group, version=version)
    attributes = group.attrs.asdict()
    multiscales = attributes.get("ome", attributes)["multiscales"]
    return [group[dataset["path"]][:] for dataset in multiscales[0]["datasets"]]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", ["mean", "nearest"])
def test_levels(tmp_path, u16, method, layout):
    count = 2 if method == "mean" else 1
    options = ["--mips", count, "--method", method, *LAYOUTS[layout]]
    assert command(u16, tmp_path / "a.zarr", *options) == 0
    found = levels(tmp_path / "a.zarr")
    assert len(found) == 1 + count
    np.testing.assert_array_equal(found[0], expected("u16_level0"))
    for level in range(1, 1 + count):
        np.testing.assert_array_equal(found[level], expected(f"u16_{method}_level{level}"))


def test_gaussian_has_no_seams(tmp_path, u16):
    """The peer filters blocks of 32 voxels by themselves; away from where they meet the voxels are the same."""
    assert command(u16, tmp_path / "a.zarr", "--mips", 2, "--method", "gaussian") == 0
    _, first, second = levels(tmp_path / "a.zarr")
    theirs = expected("u16_gaussian_level1"), expected("u16_gaussian_level2")
    beside_the_seam = [15, 16]
    np.testing.assert_array_equal(np.delete(first, beside_the_seam, 2), np.delete(theirs[0], beside_the_seam, 2))
    assert (first != theirs[0])[..., beside_the_seam].any()
    np.testing.assert_array_equal(second[..., :6], theirs[1][..., :6])


def test_gaussian_does_not_depend_on_the_chunks(tmp_path, u16):
    made = [
        convert(u16, tmp_path / f"{size}.zarr", chunk_size=size, mips=2, method="gaussian", voxel_size=(1, 1, 1))
        for size in (8, 16, 64)
    ]
    for mip in range(3):
        first, *others = [volume.download((), mip) for volume in made]
        for other in others:
            np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize("memory", ["260MB", "1GB"])
def test_ranges_and_memory(tmp_path, u16, memory):
    options = ["--box", "5:30,2:18,3:10", "--offset", "0,0,0", "--mips", 1, "--memory", memory]
    assert command(u16, tmp_path / "a.zarr", *options) == 0
    for level, voxels in enumerate(levels(tmp_path / "a.zarr")):
        np.testing.assert_array_equal(voxels, expected(f"u16_ranges_level{level}"))


def test_ranges_keep_their_place(tmp_path, u16):
    assert command(u16, tmp_path / "a.zarr", "--box", "5:30,:,3:") == 0
    volume = Volume(tmp_path / "a.zarr")
    assert volume.bounds == volumekit.Bbox((5, 0, 3), (30, 25, 11))
    np.testing.assert_array_equal(levels(tmp_path / "a.zarr")[0], expected("u16_level0")[3:, :, 5:30])


def test_a_single_array(tmp_path, u16):
    assert command(u16, tmp_path / "a.zarr", "--format", "zarr", "--zarr-version", "2", "--compressor", "none") == 0
    array = zarr.open_array(tmp_path / "a.zarr", mode="r")
    assert (array.chunks, array.compressors, array.metadata.dimension_separator) == ((16,) * 3, (), "/")
    np.testing.assert_array_equal(array[:], expected("u16_level0"))
    assert command(u16, tmp_path / "b.zarr", "--format", "zarr", "--mips", 1) == 2


def test_gaps_are_zeros_wherever_they_end(tmp_path):
    """The peer crashes when a gap goes past the end of a chunk, and begins at z = 0 whatever the first number is."""
    voxels = expected("u8_level0")
    stack = write_stack(tmp_path / "gaps", voxels, [*range(7, 13), *range(45, 50)])
    how = {"z_from_name": True, "mips": 1, "chunk_size": 16, "voxel_size": (1, 1, 1)}
    with pytest.warns(UserWarning, match="no image has the number 13 to 44"):
        convert(stack, tmp_path / "a.zarr", **how)
    volume = Volume(tmp_path / "a.zarr")
    assert (volume.voxel_offset.z, volume.shape[2]) == (7, 43)
    (full, _) = levels(tmp_path / "a.zarr")
    np.testing.assert_array_equal(full[:6], voxels[:6])
    np.testing.assert_array_equal(full[-5:], voxels[6:])
    assert not full[6:-5].any()


def test_what_is_there_is_replaced_only_when_asked(tmp_path, u16, u8):
    assert command(u16, tmp_path / "a.zarr") == 0
    assert command(u8, tmp_path / "a.zarr") == 1
    np.testing.assert_array_equal(levels(tmp_path / "a.zarr")[0], expected("u16_level0"))
    assert command(u8, tmp_path / "a.zarr", "--overwrite") == 0
    np.testing.assert_array_equal(levels(tmp_path / "a.zarr")[0], expected("u8_level0"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_first_new_level(tmp_path, u8, layout):
    assert command(u8, tmp_path / "a.zarr", "--mips", 1, *LAYOUTS[layout]) == 0
    before = {name: (tmp_path / "a.zarr" / name).read_bytes() for name in files(tmp_path / "a.zarr") if name[0] in "01"}
    again = ["convert", "no such stack", str(tmp_path / "a.zarr"), "--first-new-level", "2", "--mips", "3", "--quiet"]
    assert run(again) == 0
    found = levels(tmp_path / "a.zarr")
    assert len(found) == 4
    np.testing.assert_array_equal(found[0], expected("u8_level0"))
    for level in range(1, 4):
        np.testing.assert_array_equal(found[level], expected(f"u8_mean_level{level}"))
    assert {name: (tmp_path / "a.zarr" / name).read_bytes() for name in before} == before
    assert run(again) == 0, "nothing is left to do"


@pytest.fixture(params=["a.zarr", "a"])
def pyramid(request, tmp_path, u8):
    convert(u8, tmp_path / request.param, chunk_size=16, mips=3, voxel_size=(1, 1, 1))
    return tmp_path / request.param


def test_levels_that_are_there_are_replaced_only_when_asked(pyramid):
    with pytest.raises(TargetExistsError, match="--overwrite"):
        convert("", pyramid, first_new_level=1, mips=2, method="nearest")
    made = convert("", pyramid, first_new_level=1, mips=2, method="nearest", overwrite=True)
    assert [level.shape[:3] for level in made.levels] == [(37, 25, 11), (19, 13, 6), (10, 7, 3)]
    voxels = expected("u8_level0").T[..., None]
    for mip in range(3):
        np.testing.assert_array_equal(made.download((), mip), voxels[:: 2**mip, :: 2**mip, :: 2**mip])
    assert len(Volume(pyramid).levels) == 3
    gone = "3" if pyramid.suffix else "8_8_8"
    assert not any(name.startswith(f"{gone}/") for name in files(pyramid))


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(("first", "mips"), [(0, 3), (-1, 3), (5, 6), (2, 1), (True, 3), ("2", 3), (1.0, 3)], ids=str)
def test_levels_that_cannot_be_built(pyramid, first, mips, dry_run):
    before = {name: (pyramid / name).read_bytes() for name in files(pyramid)}
    with pytest.raises(OptionError, match="first_new_level"):
        convert("", pyramid, first_new_level=first, mips=mips, overwrite=True, dry_run=dry_run)
    assert {name: (pyramid / name).read_bytes() for name in files(pyramid)} == before


@pytest.mark.parametrize(
    ("name", "value"),
    [("chunk_size", (32, 32, 32)), ("voxel_size", (4, 4, 4)), ("box", np.s_[:5, :5, :5]), ("encoding", "png"),
     ("shard", (32, 32, 32)), ("format", "zarr"), ("offset", (1, 1, 1)), ("data_type", "uint32")],
)  # fmt: skip
def test_options_that_new_levels_cannot_have(pyramid, name, value):
    with pytest.raises(OptionError, match=f"{name} cannot be chosen"):
        convert("", pyramid, first_new_level=4, mips=4, **{name: value})


def test_dry_run_of_new_levels(pyramid):
    before = {name: (pyramid / name).read_bytes() for name in files(pyramid)}
    told = convert("", pyramid, first_new_level=3, mips=4, overwrite=True, dry_run=True)
    assert isinstance(told, Estimate)
    assert [level.shape[:3] for level in told.levels] == [(5, 4, 2), (3, 2, 1)]
    assert {name: (pyramid / name).read_bytes() for name in files(pyramid)} == before
    assert isinstance(downsample(pyramid, mip=3, dry_run=True), Estimate)
    assert run(["downsample", str(pyramid), "--mip", "3", "--dry-run"]) == 0
    assert {name: (pyramid / name).read_bytes() for name in files(pyramid)} == before


def test_dry_run_counts_every_position_in_time(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("0", shape=(3, 16, 16, 16), chunks=(1, 8, 8, 8), dtype="u1")[...] = 1
    axes = [{"name": name, "type": "space" if name != "t" else "time"} for name in "tzyx"]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1, 1]}]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    (level,) = downsample(tmp_path / "a.zarr", dry_run=True).levels
    assert (level.voxel_bytes, level.chunks) == (3 * 8**3, 3)


def test_the_command_says_what_is_wrong(tmp_path, u16, capsys):
    assert command(u16, tmp_path / "a.zarr", "--mips", 1) == 0
    for options, text in ((["0", "--mips", "2"], "it is 1 to 2"), (["2", "--mips", "1"], "nothing is to be built")):
        assert run(["convert", "", str(tmp_path / "a.zarr"), "--first-new-level", *options]) == 2
        assert text in capsys.readouterr().err
    assert json.loads((tmp_path / "a.zarr/zarr.json").read_text())["attributes"]["ome"]["version"] == "0.5"
