"""Mips and their geometry."""

import numpy as np
import pytest

from tests.volume.sample import empty
from volumekit import Bbox, Vec, Volume
from volumekit.errors import MetadataError, OptionError, ScaleUnavailableError


@pytest.fixture
def volume(tmp_path):
    made = empty(tmp_path / "set" / "layer", shape=(100, 90, 40), offset=(3, 5, 7), chunk=(64, 64, 32))
    made.add_scale((2, 2, 1))
    made.add_scale((4, 4, 1), encoding="png", chunk_size=(32, 32, 16))
    made.commit_info()
    return made


@pytest.mark.parametrize(
    ("mip", "number"),
    [
        (0, 0),
        (1, 1),
        (-1, 2),
        (np.int64(2), 2),
        (1.7, 1),
        ([8, 8, 40], 1),
        ((16, 16, 40), 2),
        ([8.0, 8.0, 40.0], 1),
        (np.array([8, 8, 40]), 1),
        (Vec(16, 16, 40), 2),
    ],
    ids=repr,
)
def test_a_mip_by_number_or_resolution(volume, mip, number):
    volume.mip = mip
    assert volume.mip == number
    assert Volume(volume.cloudpath, mip).mip == number
    assert volume.mip_key(mip) == ["4_4_40", "8_8_40", "16_16_40"][number]


@pytest.mark.parametrize(
    ("mip", "error"),
    [
        (3, ScaleUnavailableError),
        (-4, ScaleUnavailableError),
        ([5, 5, 40], ScaleUnavailableError),
        ("1", ScaleUnavailableError),
        (None, TypeError),
        ([1, 2], ScaleUnavailableError),
        (10**30, ScaleUnavailableError),
        (float("inf"), TypeError),
        (float("nan"), TypeError),
        ("one", TypeError),
        (["a", "b", "c"], ScaleUnavailableError),
        ({}, TypeError),
        ([[4, 4, 40]], TypeError),
    ],
    ids=repr,
)
def test_no_such_mip(volume, mip, error):
    volume.mip = 1
    with pytest.raises(error):
        volume.mip = mip
    assert volume.mip == 1
    with pytest.raises(error):
        Volume(volume.cloudpath, mip)
    with pytest.raises(error):
        volume.mip_bounds(mip)


def test_the_error_is_an_index_error(volume):
    with pytest.raises(IndexError, match="0 to 2"):
        volume.mip = 3


MEMBERS = {
    "key": ["4_4_40", "8_8_40", "16_16_40"],
    "shape": [(100, 90, 40, 1), (51, 46, 40, 1), (26, 23, 40, 1)],
    "volume_size": [Vec(100, 90, 40), Vec(51, 46, 40), Vec(26, 23, 40)],
    "voxel_offset": [Vec(3, 5, 7), Vec(1, 2, 7), Vec(0, 1, 7)],
    "bounds": [Bbox((3, 5, 7), (103, 95, 47)), Bbox((1, 2, 7), (52, 48, 47)), Bbox((0, 1, 7), (26, 24, 47))],
    "resolution": [Vec(4, 4, 40), Vec(8, 8, 40), Vec(16, 16, 40)],
    "chunk_size": [Vec(64, 64, 32), Vec(64, 64, 32), Vec(32, 32, 16)],
    "underlying": [Vec(64, 64, 32), Vec(64, 64, 32), Vec(32, 32, 16)],
    "encoding": ["raw", "raw", "png"],
    "downsample_ratio": [Vec(1, 1, 1), Vec(2, 2, 1), Vec(4, 4, 1)],
}


@pytest.mark.parametrize("member", MEMBERS)
def test_members_of_every_mip(volume, member):
    for mip, expected in enumerate(MEMBERS[member]):
        volume.mip = mip
        for found in (getattr(volume, member), getattr(Volume(volume.cloudpath), f"mip_{member}")(mip)):
            assert np.array_equal(found, expected) if isinstance(expected, Vec) else found == expected
            assert type(found) is type(expected)


def test_members_of_the_whole(volume):
    assert volume.available_mips == range(3)
    assert volume.available_resolutions[1].tolist() == [8, 8, 40]
    assert (volume.num_channels, volume.layer_type, volume.data_type) == (1, "image", "uint16")
    assert volume.dtype == np.uint16
    assert volume.resolution.dtype == np.int64
    assert volume.downsample_ratio.dtype == np.float64
    assert volume.scale is volume.info["scales"][0]
    assert volume.mip_scale(2) is volume.scales[2] is volume.info["scales"][2]
    assert (volume.dataset_name, volume.layer) == ("set", "layer")


def test_fractional_resolutions(tmp_path):
    volume = empty(tmp_path / "v", resolution=(4.5, 4.5, 40))
    assert volume.resolution.tolist() == [4.5, 4.5, 40.0]
    assert volume.key == "4.5_4.5_40.0"
    volume.mip = (4.5, 4.5, 40)


@pytest.mark.parametrize("name", ["shape", "bounds", "resolution", "key", "chunk_size", "layer_type", "ndim"])
def test_geometry_cannot_be_assigned(volume, name):
    with pytest.raises(AttributeError):
        setattr(volume, name, 1)


def test_each_mip_has_its_own_voxels(volume):
    for mip in volume.available_mips:
        volume.mip = mip
        volume[:] = mip + 1
    for mip in volume.available_mips:
        volume.mip = mip
        assert (volume[:] == mip + 1).all()
        assert volume[:].mip == mip
        assert volume[:].bounds == volume.bounds
        assert volume.download(volume.mip_bounds(1), 1).mip == 1


def test_assigning_a_scale_is_live(volume):
    volume.info["scales"][0]["resolution"] = [5, 5, 50]
    assert volume.resolution.tolist() == [5, 5, 50]
    volume.scale["chunk_sizes"] = [[32, 32, 16]]
    assert volume.chunk_size.tolist() == [32, 32, 16]
    volume.scales[1]["voxel_offset"] = [0, 0, 0]
    assert volume.mip_voxel_offset(1).tolist() == [0, 0, 0]


def test_live_edits_reach_reads(volume):
    volume[:] = 3
    volume.scale["voxel_offset"] = [0, 0, 0]
    assert volume.bounds == Bbox((0, 0, 0), (100, 90, 40))
    with pytest.raises(LookupError):
        volume[:]


def test_nonsense_edits_are_errors(volume):
    volume.info["scales"][0]["size"] = [0, 1, 1]
    for use in (
        lambda: volume[:],
        lambda: volume[5:7],
        lambda: volume.points([[5, 6, 8]]),
        volume.exists,
        lambda: volume.delete(()),
    ):
        with pytest.raises(MetadataError, match="size"):
            use()
    with pytest.raises(MetadataError, match="size"):
        volume[5:7] = 1
    volume.mip = 1
    volume[:] = 1
    volume.info["scales"].clear()
    with pytest.raises(MetadataError):
        volume.shape  # noqa: B018


def test_the_current_mip_may_vanish(volume):
    volume.mip = 2
    del volume.info["scales"][1:]
    with pytest.raises(ScaleUnavailableError, match="mip 2"):
        volume.shape  # noqa: B018
    volume.mip = 0
    assert volume.shape == (100, 90, 40, 1)


@pytest.mark.parametrize("offset", [(0, 0, 0), (3, 5, 7), (-3, -5, -7), (-4, 6, -8)])
@pytest.mark.parametrize("factor", [(2, 2, 1), (4, 4, 1), (3, 5, 7), (2, 2, 2)])
def test_coarser_levels_lose_no_voxel(tmp_path, offset, factor):
    volume = empty(tmp_path / "v", shape=(99, 90, 41), offset=offset)
    scale = volume.add_scale(factor)
    low = [o // f for o, f in zip(offset, factor, strict=True)]
    high = [-(-(o + n) // f) for o, n, f in zip(offset, (99, 90, 41), factor, strict=True)]
    assert volume.mip_bounds(1) == Bbox(low, high)
    assert scale is volume.scales[1]
    assert "8_8_40" not in Volume(volume.cloudpath).info["scales"][0]["key"]
    assert len(Volume(volume.cloudpath).scales) == 1, "add_scale does not commit"


def test_create_new_info_makes_the_same_pyramid(volume):
    info = Volume.create_new_info(
        1, "image", "uint16", "raw", (4, 4, 40), (3, 5, 7), (100, 90, 40), chunk_size=(64, 64, 32), max_mip=2
    )
    for scale, mip in zip(info["scales"], volume.available_mips, strict=True):
        assert Bbox.from_delta(scale["voxel_offset"], scale["size"]) == volume.mip_bounds(mip)


def test_adding_a_scale_of_the_same_resolution_replaces_it(volume):
    volume.add_scale((2, 2, 1), encoding="png", chunk_size=(16, 16, 16))
    assert [s["key"] for s in volume.scales] == ["4_4_40", "8_8_40", "16_16_40"]
    assert volume.mip_encoding(1) == "png"
    assert volume.mip_chunk_size(1).tolist() == [16, 16, 16]


def test_scales_are_kept_in_order(tmp_path):
    volume = empty(tmp_path / "v")
    for factor in ((8, 8, 1), (2, 2, 1), (4, 4, 1)):
        volume.add_scale(factor)
    assert [s["resolution"] for s in volume.scales] == [[4, 4, 40], [8, 8, 40], [16, 16, 40], [32, 32, 40]]


@pytest.mark.parametrize("factor", [(0, 1, 1), (-2, 2, 1), (2, 2), (1.5, 2, 1), "222", (2, 2, 2, 2), 2])
def test_impossible_factors(volume, factor):
    before = [dict(s) for s in volume.scales]
    with pytest.raises((OptionError, TypeError)):
        volume.add_scale(factor)
    assert volume.scales == before


def test_reset_scales_does_not_commit(volume):
    volume.mip = 2
    volume.reset_scales()
    assert (len(volume.scales), volume.mip) == (1, 0)
    assert len(Volume(volume.cloudpath).scales) == 3
    volume.refresh_info()
    assert len(volume.scales) == 3


def test_conversion_between_mips(volume):
    box = Bbox((3, 5, 7), (10, 11, 9))
    assert volume.bbox_to_mip(box, 0, 1) == Bbox((1, 2, 7), (5, 6, 9))
    assert volume.bbox_to_mip(box, 1, 0) == Bbox((6, 10, 7), (20, 22, 9))
    assert volume.bbox_to_mip(box, 0, 0) == box
    assert volume.bbox_to_mip(np.s_[3:10, 5:11, 7:9], 0, [16, 16, 40]) == Bbox((0, 1, 7), (3, 3, 9))
    assert volume.bbox_to_mip(Bbox((12, 20, 280), (40, 44, 360), unit="nm"), 0, 1) == Bbox((1, 2, 7), (5, 6, 9))
    assert volume.bbox_to_mip(box - (20, 20, 0), 0, 1) == Bbox((-9, -8, 7), (-5, -4, 9))
    big = 2**59 + 1
    assert volume.bbox_to_mip(Bbox((big, 0, 0), (big + 1, 1, 1)), 0, 1).minpt[0] == 2**58
    assert volume.point_to_mip((3, 5, 7), 0, 1).tolist() == [1, 2, 7]
    assert volume.point_to_mip((-3, 5, 7), 0, 1).tolist() == [-2, 2, 7]
    assert volume.point_to_mip((big, 5, 7), 0, 1).tolist() == [2**58, 2, 7]
    assert volume.point_to_mip((3, 5, 7), 2, 0).tolist() == [12, 20, 7]


def test_conversion_is_exact_for_decimal_resolutions(tmp_path):
    volume = empty(tmp_path / "v", resolution=(0.1, 0.7, 0.3))
    volume.add_scale((3, 3, 3))
    for n in range(1, 50):
        assert volume.bbox_to_mip(Bbox((n,) * 3, (n + 1,) * 3), 1, 0) == Bbox((3 * n,) * 3, (3 * n + 3,) * 3)
        assert volume.point_to_mip((n, n, n), 1, 0).tolist() == [3 * n] * 3
        assert volume.point_to_mip((3 * n, 3 * n, 3 * n), 0, 1).tolist() == [n] * 3


def test_slices_in_global_coordinates(volume):
    volume.mip = 1
    assert volume.slices_from_global_coords(np.s_[3:10, 5:11, 7:9])[:3] == np.s_[1:5, 2:6, 7:9]
    assert volume.slices_to_global_coords(np.s_[1:5, 2:6, 7:9])[:3] == np.s_[2:10, 4:12, 7:9]
    volume.mip = 0
    assert volume.slices_to_global_coords(np.s_[3:5])[:3] == np.s_[3:5, 5:95, 7:47]


def test_download_point(volume):
    volume[:] = np.arange(100, dtype=np.uint16)[:, None, None, None]
    assert volume.download_point((50, 50, 20), size=16).bounds == Bbox((42, 42, 12), (58, 58, 28))
    assert volume.download_point((50, 50, 20), size=15).shape == (14, 14, 14, 1)
    assert volume.download_point((50, 50, 20), size=1).bounds == Bbox((50, 50, 20), (51, 51, 21))
    assert volume.download_point((50, 50, 20), size=(4, 6, 8)).shape == (4, 6, 8, 1)
    volume.mip = 1
    volume[:] = 1
    assert volume.download_point((50, 50, 20), size=16).bounds == Bbox((17, 17, 12), (33, 33, 28))
