"""What a read returns: an array that knows where it comes from."""

import copy
import pickle

import numpy as np
import pytest

from tests.volume.sample import END, OFFSET, make
from volumekit import Bbox, VolumeCutout


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return make(
        tmp_path_factory.mktemp("set") / "layer", channels=3, max_mip=1, layer_type="segmentation", dtype="uint32"
    )


@pytest.fixture
def cutout(three):
    return three[0][-4:30, 8:36, 101:118]


BOX = Bbox((-4, 8, 101), (30, 36, 118))


def same_source(a, b):
    return all(
        getattr(a, name) == getattr(b, name) for name in ("mip", "cloudpath", "dataset_name", "layer", "layer_type")
    ) and (tuple(a.resolution) == tuple(b.resolution))


def test_members(three, cutout):
    volume, _ = three
    assert cutout.bounds == BOX
    assert (cutout.mip, cutout.num_channels, cutout.layer_type) == (0, 3, "segmentation")
    assert (cutout.dataset_name, cutout.layer) == (volume.dataset_name, "layer")
    assert cutout.cloudpath == volume.cloudpath
    assert cutout.resolution.tolist() == [4, 4, 40]
    assert volume[:].bounds == volume.bounds


@pytest.mark.parametrize(
    ("index", "box"),
    [
        (np.s_[2:5], ((-2, 8, 101), (1, 36, 118))),
        (np.s_[-3:], ((27, 8, 101), (30, 36, 118))),
        (np.s_[0], ((-4, 8, 101), (-3, 36, 118))),
        (np.s_[-1, -1, -1], ((29, 35, 117), (30, 36, 118))),
        (np.s_[..., 1], ((-4, 8, 101), (30, 36, 118))),
        (np.s_[:, 3, ..., 0], ((-4, 11, 101), (30, 12, 118))),
        (np.s_[::-1], ((-4, 8, 101), (30, 36, 118))),
        (np.s_[::5], ((-4, 8, 101), (27, 36, 118))),
        (np.s_[20:3:-4, None, 2:4], ((0, 10, 101), (17, 12, 118))),
        (np.s_[5:5], ((1, 8, 101), (1, 36, 118))),
    ],
    ids=str,
)
def test_slicing_keeps_the_bounds(cutout, index, box):
    part = cutout[index]
    assert part.bounds == Bbox(*box)
    assert same_source(part, cutout)


def test_slices_of_slices(three, cutout):
    volume, _ = three
    part = cutout[::-1][3:9][:, ::2][:, 4:][..., 1][0]
    assert part.bounds == Bbox((26, 16, 101), (27, 35, 118))
    np.testing.assert_array_equal(part, volume[26, 16:36:2, 101:118, 1])


def test_channels_are_counted(cutout):
    assert [cutout[..., i].num_channels for i in (0, slice(0, 2), slice(None))] == [1, 2, 3]


def test_volume_indices_keep_the_bounds_too(three):
    volume, _ = three
    assert volume[3, 10:20].bounds == Bbox((3, 10, 100), (4, 20, END[2]))
    assert volume[::-7].bounds == Bbox((-4, 7, 100), (32, *END[1:]))
    assert volume[None, ..., 0].bounds == volume.bounds
    assert volume[20:20].bounds == Bbox((20, *OFFSET[1:]), (20, *END[1:]))


@pytest.mark.parametrize(
    "do",
    [
        copy.copy,
        copy.deepcopy,
        lambda c: pickle.loads(pickle.dumps(c)),
        lambda c: pickle.loads(pickle.dumps(c, protocol=5)),
        lambda c: c.copy(),
        lambda c: c.copy(order="C"),
        lambda c: c + 1,
        lambda c: c > 3,
        lambda c: -c.astype(np.float32),
        lambda c: np.sqrt(c),
        lambda c: c.view(),
        lambda c: np.asanyarray(c),
    ],
)
def test_what_keeps_everything(cutout, do):
    again = do(cutout)
    assert isinstance(again, VolumeCutout)
    assert again.bounds == BOX
    assert same_source(again, cutout)
    assert again[2:5].bounds == Bbox((-2, 8, 101), (1, 36, 118))


def test_pickling_keeps_the_voxels(cutout):
    for part in (cutout, cutout[::2, 3], cutout.T):
        again = pickle.loads(pickle.dumps(part))
        np.testing.assert_array_equal(again, part)
        assert again.bounds == part.bounds
        assert again.T.bounds == part.bounds


@pytest.mark.parametrize(
    "do",
    [
        lambda c: c.T,
        lambda c: c.transpose(),
        lambda c: c.transpose(2, 1, 0, 3),
        lambda c: c.transpose((3, 2, 1, 0)),
        lambda c: np.transpose(c, (1, 0, 2, 3)),
        lambda c: np.moveaxis(c, 3, 0),
        lambda c: c.swapaxes(0, 2),
        lambda c: np.swapaxes(c, -4, -1),
        lambda c: np.rot90(c, 2, (0, 1))[::-1],
    ],
)
def test_transposing_keeps_the_bounds(cutout, do):
    turned = do(cutout)
    assert turned.bounds == BOX
    axis = turned.shape.index(34)
    part = turned[(slice(None),) * axis + (slice(2, 5),)]
    assert part.bounds == Bbox((-2, 8, 101), (1, 36, 118))


@pytest.mark.parametrize(
    "do",
    [
        lambda c: c.reshape(-1),
        lambda c: c[[0, 1]],
        lambda c: c[c > 3],
        lambda c: c.sum(axis=0),
        lambda c: c.ravel(),
        lambda c: np.concatenate([c, c]),
    ],
)
def test_what_loses_track_says_so(cutout, do):
    out = do(cutout)
    assert getattr(out, "bounds", None) is None
    out[:1]  # still an array


def test_a_cube_that_is_turned_does_not_lie(three):
    volume, _ = three
    cube = volume[0:9, 10:19, 105:114]
    for turned in (cube.swapaxes(0, 1), np.swapaxes(cube, 0, 1), cube.transpose(1, 0, 2, 3), np.rot90(cube)[::-1]):
        assert turned.bounds == cube.bounds
        assert turned[0].bounds == Bbox((0, 10, 105), (9, 11, 114))


def test_scalars_are_scalars(cutout):
    assert isinstance(cutout[0, 0, 0, 0], np.uint32)
    assert isinstance(cutout.sum(), np.integer)


def test_an_array_of_ones_own():
    bare = np.zeros((2, 2)).view(VolumeCutout)
    assert bare.bounds is bare.mip is bare.resolution is bare.layer is bare.dataset_name is bare.cloudpath is None
    assert bare[0].bounds is None
    assert pickle.loads(pickle.dumps(bare)).shape == (2, 2)


def test_a_cutout_of_another_mip(three):
    volume, _ = three
    volume.upload((), 1, mip=1)
    cutout = volume.download((), 1)
    assert (cutout.mip, cutout.bounds) == (1, volume.mip_bounds(1))
    assert cutout.resolution.tolist() == [8, 8, 40]


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_save_images(three, tmp_path, axis):
    from PIL import Image

    cutout = three[0][0:4, 10:15, 105:108]
    folder = cutout.save_images(tmp_path / "out", axis=axis, channel=0)
    pictures = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(pictures) == {"x": 4, "y": 5, "z": 3}[axis]
    with Image.open(pictures[0]) as picture:
        assert sorted(picture.size) == sorted({"x": (5, 3), "y": (4, 3), "z": (4, 5)}[axis])


def test_save_images_goes_to_saved_images(three, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    three[0][0:4, 10:15, 105:107].save_images(channel=0)
    pictures = list((tmp_path / "saved_images").rglob("*.png"))
    assert len(pictures) == 2
