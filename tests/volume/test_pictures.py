"""Cutouts saved as pictures."""

import pickle

import numpy as np
import pytest
from PIL import Image

from volumekit.errors import OptionError, ShapeError, StorageError
from volumekit.picture.planes import colour_labels
from volumekit.volume.volume import Volume


def make(folder, channels=1, layer_type="image", dtype="uint16"):
    """A volume and its voxels, brighter from plane to plane."""
    array = np.random.default_rng(3).integers(0, 50, (12, 10, 6, channels))
    array = (array + 100 * np.arange(6)[:, None]).astype(dtype)
    return Volume.from_numpy(array, folder / "set" / "layer", layer_type=layer_type, voxel_offset=(1, 2, 97)), array


def names(folder):
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def load(path):
    return np.asarray(Image.open(path)).swapaxes(0, 1)


def test_slices_are_named_by_coordinate_and_stretched_alike(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    volume, _ = make(tmp_path)
    folder = volume[:, :, :].save_images()
    assert folder.parts == ("saved_images", "set", "layer", "1-13_2-12_97-103")
    found = names(folder)
    assert found == ["z097.png", "z098.png", "z099.png", "z100.png", "z101.png", "z102.png"]
    means = [load(folder / name).mean() for name in found]
    assert means == sorted(means)
    assert means[0] < 20
    assert means[-1] > 230
    assert load(folder / "z097.png").shape == (12, 10)


@pytest.mark.parametrize(
    ("axis", "shape", "first"), [("x", (10, 6), "x01"), ("y", (12, 6), "y02"), ("z", (12, 10), "z097")]
)
def test_axes(tmp_path, axis, shape, first):
    volume, _ = make(tmp_path)
    folder = volume[:, :, :].save_images(tmp_path / "out", axis=axis)
    assert load(folder / f"{first}.png").shape == shape


def test_labels_keep_their_colours(tmp_path):
    volume, array = make(tmp_path, layer_type="segmentation", dtype="uint64")
    folder = volume[:, :, :].save_images(tmp_path / "out")
    assert np.array_equal(load(folder / "z099.png"), colour_labels(array[:, :, 2, 0]))


def test_channels(tmp_path):
    volume, _ = make(tmp_path, channels=3)
    whole = volume[:, :, :]
    assert load(whole.save_images(tmp_path / "rgb") / "z099.png").shape == (12, 10, 3)
    assert load(whole.save_images(tmp_path / "one", channel=1) / "z099.png").shape == (12, 10)
    pair = volume[:, :, 97:98, :2].save_images(tmp_path / "pair")
    assert names(pair) == ["z97_0.png", "z97_1.png"]
    with pytest.raises(OptionError, match="channel is 3"):
        whole.save_images(tmp_path / "none", channel=3)


def test_what_slicing_leaves_is_still_voxels(tmp_path):
    volume, _ = make(tmp_path)
    whole = volume[:, :, :]
    expected = load(whole.save_images(tmp_path / "a", axis="y") / "y05.png")
    for n, part in enumerate([whole.T, whole[..., 0], pickle.loads(pickle.dumps(whole)), whole[None]]):
        folder = part.save_images(tmp_path / str(n), axis="y")
        assert np.array_equal(load(folder / "y05.png"), expected)
    plane = volume[:, 5, :]
    assert names(plane.save_images(tmp_path / "plane", axis="y")) == ["y5.png"]
    steps = whole[:, :, ::-2].save_images(tmp_path / "steps")
    assert names(steps) == ["z098.png", "z100.png", "z102.png"]


def test_formats_and_errors(tmp_path):
    volume, _ = make(tmp_path)
    whole = volume[:, :, :]
    assert names(whole.save_images(tmp_path / "j", image_format="jpeg"))[0] == "z097.jpg"
    with pytest.raises(OptionError, match="nope"):
        whole.save_images(tmp_path / "x", image_format="nope")
    with pytest.raises(OptionError, match="axis is"):
        whole.save_images(tmp_path / "x", axis="q")
    with pytest.raises(ShapeError, match="voxels"):
        whole.reshape(-1).save_images(tmp_path / "x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        whole.save_images(tmp_path / "file" / "x")
    assert not (tmp_path / "x").exists()


def test_constant_and_boolean_images(tmp_path):
    flat = Volume.from_numpy(np.full((4, 4, 2), 7, np.uint8), tmp_path / "flat")
    assert load(flat[:, :, :].save_images(tmp_path / "a") / "z0.png").max() == 128
