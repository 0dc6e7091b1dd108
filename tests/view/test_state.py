"""The state that Neuroglancer opens with, made from volumes."""

import json
from urllib.parse import unquote

import numpy as np
import pytest

from volumekit import Volume
from volumekit.view.state import MOST_LABELS, MOST_VOXELS, Shown, fitting_scale, fragment, look, viewer_state
from volumekit.volume.card import thumbnail


def shown(volume, name="a"):
    return Shown(volume, f"precomputed://http://127.0.0.1:1/{name}", name)


def memory(array, name, **how):
    return Volume.from_numpy(array, f"memory://state-{name}", **{"chunk_size": (32, 32, 16), "overwrite": True, **how})


def test_dimensions_and_position(rng):
    array = rng.integers(10, 200, (100, 50, 20), np.uint8)
    state = viewer_state([shown(memory(array, "a", resolution=(4, 8, 40), voxel_offset=(-10, 0, 7)))])
    assert {name: (pytest.approx(size * 1e9), unit) for name, (size, unit) in state["dimensions"].items()} == {
        "x": (4, "m"), "y": (8, "m"), "z": (40, "m"),
    }  # fmt: skip
    assert list(state["dimensions"]) == ["x", "y", "z"]
    assert state["position"] == [40.0, 25.0, 17.0]
    # 800 nm along z, in a panel of 235 pixels, 4 nm a voxel.
    assert state["crossSectionScale"] == pytest.approx(800 / 235 / 4)
    (layer,) = state["layers"]
    assert (layer["type"], layer["name"], layer["source"]) == ("image", "a", "precomputed://http://127.0.0.1:1/a")
    low, high = layer["shaderControls"]["normalized"]["range"]
    assert 10 <= low < 15
    assert 195 < high < 200
    assert json.loads(unquote(fragment(state)[2:])) == state


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.uint64])
def test_the_contrast_is_that_of_the_data(rng, dtype):
    array = (1000 + 100 * rng.random((40, 40, 40))).astype(dtype)
    ranges = viewer_state([shown(memory(array, "contrast"))])["layers"][0]["shaderControls"]["normalized"]["range"]
    assert [type(n) for n in ranges] == [float if dtype == np.float32 else int] * 2
    assert 1000 <= ranges[0] < 1010
    assert 1090 < ranges[1] <= 1100


@pytest.mark.parametrize("value", [0, 7, np.nan])
def test_constant_images_have_no_contrast(value):
    layer = viewer_state([shown(memory(np.full((20, 20, 20), value, np.float32), "constant"))])["layers"][0]
    assert "shaderControls" not in layer


def test_channels(rng):
    def layer(array):
        return viewer_state([shown(memory(array, "channels"))])["layers"][0]

    colours = layer(rng.integers(0, 255, (20, 20, 20, 3), np.uint8))
    assert "emitRGB" in colours["shader"]
    assert "shaderControls" not in colours
    several = layer(rng.integers(0, 2000, (20, 20, 20, 2), np.uint16) + np.array([0, 5000], np.uint16))
    assert "invlerp channel1(channel=1)" in several["shader"]
    assert several["shaderControls"]["channel0"]["range"][1] < 2000
    assert several["shaderControls"]["channel1"]["range"][0] > 4999


def test_labels(rng):
    labels = np.zeros((60, 60, 20), np.uint32)
    labels[:30] = 5
    labels[30:45] = 9
    labels[0, 0, 0] = 2**32 - 1
    (layer,) = viewer_state([shown(memory(labels, "labels", layer_type="segmentation"))])["layers"]
    assert layer["type"] == "segmentation"
    assert layer["segments"] == ["5", "9", str(2**32 - 1)]
    many = np.arange(20 * 20 * 20, dtype=np.uint64).reshape(20, 20, 20) + 2**63
    (layer,) = viewer_state([shown(memory(many, "many", layer_type="segmentation"))])["layers"]
    assert len(layer["segments"]) == MOST_LABELS
    assert all(int(label) >= 2**63 for label in layer["segments"])


def test_several_layers(rng):
    image = memory(rng.integers(0, 255, (20, 20, 20), np.uint8), "image")
    labels = memory(np.ones((20, 20, 20), np.uint8), "over", layer_type="segmentation")
    state = viewer_state([shown(image, "one"), shown(labels, "two")])
    assert [(layer["name"], layer["type"]) for layer in state["layers"]] == [("one", "image"), ("two", "segmentation")]


def test_a_look_is_never_large(rng):
    """Of a large volume the middle of the coarsest level is read, in whole chunks."""
    volume = memory(np.zeros((4, 4, 4), np.uint8), "small")
    info = Volume.create_new_info(
        1,
        "image",
        "uint8",
        "raw",
        (4, 4, 4),
        (0, 0, 0),
        (100_000, 100_000, 100_000),
        chunk_size=(64, 64, 64),
        max_mip=2,
    )
    large = Volume("memory://large", info=info, fill_missing=True)
    seen = look(large)
    assert MOST_VOXELS / 8 <= seen.size <= MOST_VOXELS
    assert seen.shape[0] % 64 == 0
    assert look(volume).shape == (4, 4, 4, 1)


def test_data_that_cannot_be_read_are_shown_all_the_same():
    volume = memory(np.ones((16, 16, 16), np.float32), "damaged", encoding="fpzip")
    volume._store.commit({volume.array().fmt.key(volume.levels[0], (0, 0, 0, 0)): b"damaged"}).result()
    (layer,) = viewer_state([shown(volume)])["layers"]
    assert layer["type"] == "image"
    assert "shaderControls" not in layer


def test_levels_that_hold_nothing_yet_are_passed_over(rng):
    """Coarser levels are often described before anybody fills them."""
    volume = memory(rng.integers(500, 900, (64, 64, 16), np.uint16), "unfilled", max_mip=2)
    low, high = viewer_state([shown(volume)])["layers"][0]["shaderControls"]["normalized"]["range"]
    assert 500 <= low < 510
    assert 890 < high < 900
    assert look(memory(np.zeros((64, 64, 16), np.uint8), "nothing", max_mip=1)).any() == np.False_
    assert thumbnail(volume).getextrema()[1] > 200


def test_the_scale_fits_the_page(rng):
    volume = memory(np.ones((1000, 500, 100), np.uint8), "page", resolution=(4, 4, 40))
    usual, large = fitting_scale(volume), fitting_scale(volume, (2000, 1200))
    assert usual == pytest.approx(1000 * 4 / 235 / 4)  # z, 4000 nm, is the height of a panel
    assert large == pytest.approx(1000 * 4 / (1113 / 2) / 4)
    assert fitting_scale(volume, (64, 64)) > usual
