"""Factors from level to level: the same, one by one, or chosen from the voxel size."""

import json
import tracemalloc

import numpy as np
import pytest
import tifffile

import volumekit
from volumekit import Volume
from volumekit.cli.main import run
from volumekit.errors import OptionError
from volumekit.model.bbox import Bbox
from volumekit.ops.factors import check_factor, shrinking, steps
from volumekit.ops.kernels import downsample

ARRAY = np.random.default_rng(0).integers(0, 255, (40, 37, 23, 1)).astype(np.uint8)


def sizes(volume):
    return [list(level.resolution) for level in volume.levels]


def check(volume, factors):
    """Compare each level with what the one before gives."""
    for mip, factor in enumerate(factors):
        finer, coarser = (np.asarray(volume.download((), mip=n)) for n in (mip, mip + 1))
        np.testing.assert_array_equal(coarser, downsample(finer, factor, method="mean"))


@pytest.mark.parametrize(
    ("name", "size", "wanted"),
    [
        ("isotropic", (4, 4, 40), [(2, 2, 1)] * 3 + [(2, 2, 2)] * 2),
        ("isotropic", (4, 4, 4), [(2, 2, 2)] * 5),
        ("isotropic", (4, 4, 6), [(2, 2, 1)] + [(2, 2, 2)] * 4),
        ("isotropic", (4, 4, 5), [(2, 2, 2)] * 5),
        ("isotropic", (30, 1.5, 7), [(1, 2, 1), (1, 2, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2)]),
        ("anisotropic", (4, 4, 40), [(2, 2, 2)] * 5),
        ("constant-z", (4, 4, 40), [(2, 2, 1)] * 5),
    ],
)
def test_ladders(name, size, wanted):
    assert steps(check_factor(name, 5), 5, size) == wanted


@pytest.mark.parametrize("name", ["v", "v.zarr", "v.n5"])
def test_isotropic_levels(tmp_path, name):
    how = {"voxel_size": (4, 4, 10), "factor": "isotropic", "chunk_size": (16, 16, 16)}
    volume = volumekit.convert(ARRAY, tmp_path / name, mips=3, offset=(16, 8, 24), **how)
    assert sizes(volume) == [[4, 4, 10], [8, 8, 10], [16, 16, 20], [32, 32, 40]]
    check(volume, [(2, 2, 1), (2, 2, 2), (2, 2, 2)])


@pytest.mark.parametrize("name", ["v", "v.zarr", "v.n5"])
def test_levels_that_are_added(tmp_path, name):
    how = {"voxel_size": (4, 4, 10), "chunk_size": (16, 16, 16)}
    volumekit.convert(ARRAY, tmp_path / name, **how)
    volume = volumekit.downsample(tmp_path / name, mips=2, factor="isotropic")
    assert sizes(volume) == [[4, 4, 10], [8, 8, 10], [16, 16, 20]]
    check(volume, [(2, 2, 1), (2, 2, 2)])
    volume = volumekit.downsample(tmp_path / name, mip=2, mips=2, factor=[(1, 1, 2), (2, 1, 1)])
    assert sizes(volume)[3:] == [[16, 16, 40], [32, 16, 40]]
    check(volume, [(2, 2, 1), (2, 2, 2), (1, 1, 2), (2, 1, 1)])


def test_the_command(tmp_path):
    volumekit.convert(ARRAY, tmp_path / "v", voxel_size=(4, 4, 40))
    assert run(["downsample", str(tmp_path / "v"), "--mips", "2", "--factor", "constant-z", "--quiet"]) == 0
    assert sizes(Volume(tmp_path / "v"))[-1] == [16, 16, 40]
    assert run(["downsample", str(tmp_path / "v"), "--factor", "cubic", "--quiet"]) == 2


def test_the_same_call_goes_on_only_with_the_same_factor(tmp_path):
    how = {"voxel_size": (4, 4, 40), "mips": 1}
    for _ in range(2):
        volumekit.convert(
            Volume.from_numpy(ARRAY, tmp_path / "s", overwrite=True), tmp_path / "v", overwrite=True, **how
        )
    for factor in ("isotropic", [(2, 2, 1)]):
        with pytest.raises(OptionError, match="overwrite"):
            volumekit.convert(Volume(tmp_path / "s"), tmp_path / "v", factor=factor, **how)


@pytest.mark.parametrize(
    "factor", ["cubic", (1, 1, 1), (2, 2), (0, 2, 2), [(2, 2, 2)], [(2, 2, 2), (1, 1, 1)], [], None, 1.5]
)
def test_no_factors(tmp_path, factor):
    with pytest.raises(OptionError, match="factor"):
        volumekit.convert(ARRAY, tmp_path / "v", mips=2, factor=factor)
    assert not list(tmp_path.iterdir())


def test_infos_with_a_factor_for_each_level():
    info = Volume.create_new_info(
        1, "image", "uint8", "raw", (4, 4, 40), (0, 0, 0), (64, 64, 64), max_mip=2, factor=[(2, 2, 1), (2, 2, 2)]
    )
    assert [scale["resolution"] for scale in info["scales"]] == [[4, 4, 40], [8, 8, 40], [16, 16, 80]]
    with pytest.raises(OptionError, match="factor"):
        Volume.create_new_info(
            1, "image", "uint8", "raw", (4, 4, 40), (0, 0, 0), (64, 64, 64), max_mip=1, factor=[(2, 2, 1), (2, 2, 2)]
        )


@pytest.mark.parametrize("factor", [(1025, 1, 1), 10**30, [[2, 2, 2], [2, 2, 10**6]]])
def test_absurd_factors_are_refused_before_anything_is_written(tmp_path, factor):
    volume = Volume.from_numpy(np.ones((8, 8, 8), np.uint8), tmp_path / "v", chunk_size=(8, 8, 8))
    before = sorted(tmp_path.rglob("*"))
    mips = 2 if isinstance(factor, list) else 1
    with pytest.raises(OptionError, match="at most 1024"):
        volumekit.downsample(volume, factor=factor, mips=mips)
    with pytest.raises(OptionError, match="at most 1024"):
        volumekit.convert(volume, tmp_path / "other", factor=factor, mips=mips)
    with pytest.raises(OptionError, match="no coarser level; give one above 1"):
        volumekit.downsample(volume, factor=(1, 1, 1))
    assert sorted(tmp_path.rglob("*")) == before


def test_cells_much_larger_than_the_volume_take_no_more_memory_than_it(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 255, (20, 30, 10), np.uint8)
    volume = Volume.from_numpy(voxels, tmp_path / "v", chunk_size=(8, 8, 8))
    tracemalloc.start()
    try:
        made = volumekit.downsample(volume, factor=1024, progress=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert Volume(made.cloudpath, 1)[:].ravel().tolist() == [round(voxels.mean())]
    assert peak < 100 << 20, "not a gigabyte for a cell"


@pytest.mark.parametrize(
    ("ladder", "bounds", "made"),
    [
        ([(2, 2, 2)] * 9, ((0, 0, 0), (40, 37, 23)), 6),
        ([(2, 2, 1)] * 9, ((0, 0, 0), (4, 4, 23)), 2),
        ([(2, 2, 2)] * 9, ((3, 0, 0), (5, 1, 1)), 3),  # of two voxels again before it is one
        ([(2, 2, 2)] * 9, ((-1, 0, 0), (1, 1, 1)), 0),  # two for ever, on both sides of 0
        ([(2, 2, 2)] * 2, ((0, 0, 0), (40, 37, 23)), 2),
        ([(1, 1, 2), (2, 1, 1), (2, 2, 2)], ((0, 0, 0), (1, 1, 9)), 3),
        ([], ((0, 0, 0), (1, 1, 1)), 0),
    ],
)
def test_ladders_end_where_nothing_shrinks(ladder, bounds, made, caplog):
    assert shrinking(ladder, Bbox(*bounds)) == ladder[:made]
    assert ("nothing shrinks" in caplog.text) == (made < len(ladder))


@pytest.mark.parametrize("name", ["v", "v.zarr", "v.n5"])
def test_levels_that_would_be_the_same(tmp_path, caplog, name):
    """Asked for more levels than there can be, those that there can be are made; that is said, and done once."""
    place = tmp_path / name
    for _ in range(2):
        assert run(["convert", str(stack(tmp_path)), str(place), "--mips", "30", "--quiet"]) == 0
        assert "5 of 30 coarser levels are made: beyond 1x1x1 voxels nothing shrinks" in caplog.text
        caplog.clear()
    volume = Volume(place)
    assert [level.shape[0] for level in volume.levels] == [20, 10, 5, 3, 2, 1]
    assert volume.provenance.processing[-1]["method"]["mips"] == 5
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    assert volumekit.downsample(place, mips=3).levels == volume.levels
    assert "0 of 3 coarser levels" in caplog.text
    assert "nothing" in str(volumekit.downsample(place, mips=3, dry_run=True))
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before


def test_levels_that_would_be_the_same_are_not_estimated(tmp_path, capsys):
    """A dry run tells of the levels that would be made; levels are added up to the last one that shrinks."""
    given = ["convert", str(stack(tmp_path)), str(tmp_path / "v"), "--dry-run", "--json", "--quiet", "--mips"]
    assert run([*given, "30"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [level["shape"][0] for level in told["levels"]] == [20, 10, 5, 3, 2, 1]
    volumekit.convert(np.zeros((20, 18, 8), np.uint8), tmp_path / "w", mips=1)
    assert run(["downsample", str(tmp_path / "w"), "--mips", "30", "--quiet"]) == 0
    made = Volume(tmp_path / "w")
    assert [level.shape[0] for level in made.levels] == [20, 10, 5, 3, 2, 1]
    assert made.provenance.processing[-1]["method"]["mips"] == 4


def stack(folder):
    """Write a small image stack once."""
    place = folder / "images"
    if not place.exists():
        place.mkdir()
        for z in range(8):
            tifffile.imwrite(place / f"{z}.tif", np.full((18, 20), z, np.uint8))
    return place
