"""Figures: the right voxels at the right places, true proportions, a scale bar, labels in colours of their own."""

import sys

import matplotlib
import numpy as np
import pytest

from volumekit import Volume
from volumekit.errors import MissingExtraError, OptionError, OutOfBoundsError, ShapeError
from volumekit.picture.planes import colour_labels, to_uint8

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def no_figures():
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


@pytest.fixture
def volume(rng, tmp_path):
    array = rng.integers(0, 2000, (30, 20, 10), np.uint16)
    return Volume.from_numpy(array, tmp_path / "brain", resolution=(4, 8, 40), voxel_offset=(-5, 7, 100))


def drawn(axis):
    """Return what a panel shows, as (u, v)."""
    return np.asarray(axis.images[0].get_array()).swapaxes(0, 1)


def test_one_slice(volume):
    (axis,) = volume.plot(z=103)
    assert np.array_equal(drawn(axis), to_uint8(volume[:, :, 103, 0]))
    assert axis.images[0].get_extent() == [-5, 25, 27, 7]
    assert axis.get_aspect() == 2.0
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_title()) == ("x", "y", "z = 103")
    assert axis.figure.get_suptitle() == "brain, mip 0"
    axis.figure.canvas.draw()


@pytest.mark.parametrize(("where", "names"), [({"x": 0}, "yz"), ({"y": 9}, "xz"), ({"z": 100}, "xy")])
def test_each_axis(volume, where, names):
    (axis,) = volume.plot(**where)
    ((cut, at),) = where.items()
    index = [at if name == cut else slice(None) for name in "xyz"]
    assert np.array_equal(drawn(axis), to_uint8(volume[(*index, 0)]))
    assert axis.get_xlabel() + axis.get_ylabel() == names
    size = dict(zip("xyz", (4, 8, 40), strict=True))
    assert axis.get_aspect() == size[names[1]] / size[names[0]]


def test_orthogonal_views(volume):
    axes = volume.plot()
    assert [axis.get_title() for axis in axes] == ["z = 105", "y = 17", "x = 10"]
    assert len({axis.figure for axis in axes}) == 1
    given = volume.plot(x=1, z=101)
    assert [axis.get_title() for axis in given] == ["x = 1", "z = 101"]


@pytest.mark.parametrize(
    ("shape", "alike"), [((60, 20, 10), True), ((90, 40, 12), True), ((90, 10, 60), False), ((10, 10, 40), False)]
)
def test_panels_have_one_scale_and_nothing_is_cut_off(tmp_path, shape, alike):
    """But a panel that would be too thin for its labels is larger."""
    volume = Volume.from_numpy(np.ones(shape, np.uint8), tmp_path / "v", resolution=(4, 8, 40))
    axes = volume.plot()
    figure = axes[0].figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    scales = []
    for axis in axes:
        left, right = axis.get_xlim()
        size = {"x": 4, "y": 8}[axis.get_xlabel()]
        scales.append(axis.get_window_extent(renderer).width / ((right - left) * size))
        whole = axis.get_tightbbox(renderer)
        assert whole.x0 >= 0
        assert whole.y0 >= 0
        assert whole.y1 <= figure.bbox.height
    assert (max(scales) <= 1.001 * min(scales)) == alike


def test_all_slices_have_the_same_contrast(tmp_path):
    array = np.zeros((20, 20, 20), np.uint8)
    array[:, :, 10] = 100
    array[10, 10, :] = 200
    volume = Volume.from_numpy(array, tmp_path / "contrast")
    across_z, across_y, _ = volume.plot()
    assert drawn(across_z)[0, 0] == drawn(across_y)[0, 10]
    (axis,) = volume.plot(z=0, range=(0, 400))
    assert drawn(axis)[10, 10] == 128


def bar_of(axis):
    (bar,) = axis.patches
    return bar


def test_the_scale_bar_is_as_long_as_it_says(volume):
    (axis,) = volume.plot(z=103)
    bar = bar_of(axis)
    assert (bar.get_label(), axis.texts[0].get_text()) == ("20 nm", "20 nm")
    assert bar.get_width() * 30 * 4 == pytest.approx(20)
    (axis,) = volume.plot(x=0)
    assert bar_of(axis).get_label() == "50 nm"
    assert bar_of(axis).get_width() * 20 * 8 == pytest.approx(50)


def test_labels(tmp_path, rng):
    labels = rng.integers(0, 5, (20, 20, 5), np.uint64) << 40
    volume = Volume.from_numpy(labels, tmp_path / "labels", layer_type="segmentation")
    (axis,) = volume.plot(z=2)
    assert np.array_equal(drawn(axis), colour_labels(labels[:, :, 2]))
    (again,) = volume[5:15, :, :].show(z=2)
    assert np.array_equal(drawn(again), colour_labels(labels[5:15, :, 2]))


def test_channels(tmp_path, rng):
    array = rng.integers(0, 255, (20, 20, 5, 3), np.uint8)
    volume = Volume.from_numpy(array, tmp_path / "rgb")
    (axis,) = volume.plot(z=2)
    assert drawn(axis).shape == (20, 20, 3)
    (axis,) = volume.plot(z=2, channel=1)
    assert np.array_equal(drawn(axis), to_uint8(array[:, :, 2, 1]))
    with pytest.raises(OptionError, match="channel is 3"):
        volume.plot(z=2, channel=3)


def test_large_levels_are_drawn_from_a_coarser_one(tmp_path):
    fine = np.repeat(np.arange(1500, dtype=np.uint16)[:, None, None], 4, axis=1)
    volume = Volume.from_numpy(fine, tmp_path / "fine", max_mip=1, factor=(2, 2, 1), resolution=(4, 4, 4))
    Volume(tmp_path / "fine", mip=1)[:] = fine[::2, ::2]
    (axis,) = volume.plot(z=0)
    assert drawn(axis).shape == (750, 2)
    assert axis.figure.get_suptitle() == "fine, mip 1"
    (axis,) = volume.plot(x=1000)
    assert axis.get_title() == "x = 500"
    (axis,) = volume.plot(z=0, mip=0)
    assert drawn(axis).shape == (1500, 4)
    (axis,) = volume.plot(z=0, box=np.s_[100:200, 0:4, 0:1])
    assert axis.images[0].get_extent() == [100, 200, 4, 0]


def test_cutouts(volume):
    (axis,) = volume[0:10, 8:20, 103:104].show()
    assert axis.images[0].get_extent() == [0, 10, 20, 8]
    assert axis.get_title() == "z = 103"
    (axis,) = volume[3, :, :].show()
    assert (axis.get_title(), axis.get_xlabel(), axis.get_ylabel()) == ("x = 3", "y", "z")
    assert [axis.get_title() for axis in volume[0:10, 8:20, 101:109].show()] == ["z = 105", "y = 14", "x = 5"]
    (axis,) = volume[:].show(y=8)
    assert np.array_equal(drawn(axis), to_uint8(volume[:, 8, :, 0]))
    (axis,) = (volume[:] + 1).show(z=101)
    assert axis.images[0].get_extent() == [-5, 25, 27, 7]


def test_what_cannot_be_drawn(volume):
    for index in ({"z": 99}, {"z": 110}, {"x": -6}):
        with pytest.raises(OutOfBoundsError):
            volume.plot(**index)
    with pytest.raises(OutOfBoundsError):
        volume[0:5, :, :].show(x=7)
    with pytest.raises(OutOfBoundsError):
        volume.plot(box=np.s_[0:500, 8:9, 101:102])
    with pytest.raises(ShapeError, match="leaves out voxels"):
        volume[::2].show()


def test_axes_that_are_there_already(volume):
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2)
    assert volume.plot(z=103, ax=left) == [left]
    assert volume.plot(x=0, y=8, ax=[left, right]) == [left, right]
    assert figure.get_suptitle() == ""
    with pytest.raises(OptionError, match="3 slices to draw, and 2 axes"):
        volume.plot(ax=[left, right])


def test_without_matplotlib(volume, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingExtraError, match=r"volumekit\[view\]"):
        volume.plot(z=103)
