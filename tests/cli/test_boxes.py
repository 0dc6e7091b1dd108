"""``--box`` and ``--box-inclusive``."""

import numpy as np
import pytest

from volumekit import Bbox, Volume
from volumekit.cli.main import run

ARRAY = np.random.default_rng(0).integers(0, 255, (40, 30, 20), np.uint8)
EVERYWHERE = ["0:9,3:7,-2:4", "0 9 3 7 -2 4", "0, 9, 3, 7, -2, 4"]


@pytest.fixture
def volume(tmp_path):
    return str(Volume.from_numpy(ARRAY, tmp_path / "v", voxel_offset=(0, 0, -5), chunk_size=(16, 16, 8)).cloudpath)


@pytest.mark.parametrize("text", EVERYWHERE)
def test_last_voxels_are_part_of_it(volume, tmp_path, text):
    assert run(["convert", volume, str(tmp_path / "w"), "--box-inclusive", text, "--quiet"]) == 0
    part = Volume(tmp_path / "w")
    assert part.bounds == Bbox((0, 3, -2), (10, 8, 5))
    np.testing.assert_array_equal(part[..., 0], ARRAY[0:10, 3:8, 3:10])
    out = tmp_path / "out.npy"
    assert run(["export", volume, str(out), "--box-inclusive", text, "--quiet"]) == 0
    np.testing.assert_array_equal(np.load(out)[..., 0], ARRAY[0:10, 3:8, 3:10])
    assert run(["verify", volume, str(tmp_path / "w"), "--box-inclusive", text, "--quiet"]) == 0


def test_ends_left_out(volume, tmp_path):
    assert run(["export", volume, str(tmp_path / "out.npy"), "--box-inclusive", ":,5:,:-1", "--quiet"]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy")[..., 0], ARRAY[:, 5:, :5])


def test_one_plane(volume, tmp_path):
    assert run(["export", volume, str(tmp_path / "out.png"), "--box-inclusive", ":,:,3:3", "--quiet"]) == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--box-inclusive", "0:9,3:7,4:3"],
        ["--box-inclusive", "0 9 3 7 4"],
        ["--box-inclusive", "0:9,3:7"],
        ["--box-inclusive", "0:40,3:7,0:1"],
        ["--box", "0 9 3 7 2 4"],
        ["--box", "0:9,3:7,4:4"],
        ["--box", "0:9,3:7,4:5", "--box-inclusive", "0:9,3:7,4:5"],
    ],
    ids=str,
)
def test_no_boxes(volume, tmp_path, options):
    assert run(["export", volume, str(tmp_path / "out.npy"), *options, "--quiet"]) == 2
    assert not (tmp_path / "out.npy").exists()
