from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from volumekit.errors import CastError, OptionError, ShapeError
from volumekit.picture.planes import (
    bar_length,
    colour_labels,
    contrast,
    data_uri,
    fit,
    from_image,
    overlay,
    png_bytes,
    scale_bar,
    to_image,
    to_uint8,
)

# Contrast


def test_percentiles_become_black_and_white() -> None:
    plane = np.arange(1000, dtype=np.uint16).reshape(50, 20) + 300
    out = to_uint8(plane, percentiles=(10, 90))
    assert out.dtype == np.uint8
    assert out.shape == (50, 20)
    flat = out.ravel()
    assert (flat[:100] == 0).all()
    assert (flat[-100:] == 255).all()
    assert abs(int(flat[500]) - 128) <= 1
    assert (np.diff(flat.astype(int)) >= 0).all()


def test_outliers_do_not_spoil_the_contrast() -> None:
    plane = np.tile(np.arange(100.0), (100, 1))
    plane[0, 0] = 1e9
    assert float(to_uint8(plane)[50, 50]) == pytest.approx(128, abs=3)


def test_a_given_range_is_linear() -> None:
    plane = np.array([[-10.0, 0.0, 25.0, 50.0, 100.0, 110.0]])
    assert to_uint8(plane, range=(0, 100)).tolist() == [[0, 0, 64, 128, 255, 255]]


def test_nan_and_infinity() -> None:
    plane = np.array([[np.nan, 1.0, 2.0, 3.0, np.inf, -np.inf]], np.float32)
    assert to_uint8(plane, percentiles=(0, 100)).tolist() == [[0, 0, 128, 255, 255, 0]]
    assert to_uint8(np.full((2, 2), np.nan)).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(("value", "shown"), [(0, 0), (1, 128), (255, 128)])
def test_constant_planes(value: int, shown: int) -> None:
    assert (to_uint8(np.full((3, 2), value, np.uint8)) == shown).all()
    assert contrast(np.full((3, 2), value)) is None


def test_a_few_bright_voxels_on_a_flat_ground_are_seen() -> None:
    plane = np.zeros((100, 100), np.uint8)
    plane[3, 4] = 7
    out = to_uint8(plane)
    assert out[3, 4] == 255
    assert out.sum() == 255


def test_contrast_is_what_to_uint8_chooses() -> None:
    plane = np.random.default_rng(0).normal(size=(40, 50))
    np.testing.assert_array_equal(to_uint8(plane), to_uint8(plane, range=contrast(plane)))


def test_colours_are_stretched_together() -> None:
    plane = np.zeros((4, 4, 3), np.uint16)
    plane[..., 0], plane[..., 1] = 100, 200
    assert to_uint8(plane)[0, 0].tolist() == [0 if c == 2 else (128, 255)[c] for c in range(3)]


@given(
    hnp.arrays(
        st.sampled_from(["?", "u1", "i1", "u2", ">i4", "u8", "i8", "f2", "f4", "f8"]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    )
)
def test_any_numbers_stretch_monotonically(plane: np.ndarray) -> None:
    out = to_uint8(plane)
    assert out.shape == plane.shape
    values = plane.astype(np.float64).ravel()
    order = np.argsort(values[~np.isnan(values)], kind="stable")
    assert (np.diff(out.ravel()[~np.isnan(values)][order].astype(int)) >= 0).all()


@pytest.mark.parametrize(
    "plane", [np.zeros((0, 4)), np.zeros((4, 0, 3)), np.zeros(3), np.zeros((2, 2, 2)), [[1], [1, 2]]]
)
def test_no_planes(plane: object) -> None:
    with pytest.raises(ShapeError):
        to_uint8(plane)  # type: ignore[arg-type]


@pytest.mark.parametrize("plane", [np.zeros((2, 2), complex), np.array([["a"]]), np.array([[None]])])
def test_no_numbers(plane: np.ndarray) -> None:
    with pytest.raises(CastError):
        to_uint8(plane)


@pytest.mark.parametrize("limits", [(1, 1), (2, 1), (0, np.nan), (-np.inf, 0)])
def test_impossible_ranges(limits: tuple[float, float]) -> None:
    with pytest.raises(OptionError, match="range"):
        to_uint8(np.eye(3), range=limits)


@pytest.mark.parametrize("percentiles", [(50, 50), (-1, 50), (0, 101), (np.nan, 5)])
def test_impossible_percentiles(percentiles: tuple[float, float]) -> None:
    with pytest.raises(OptionError, match="percentiles"):
        to_uint8(np.eye(3), percentiles=percentiles)


# Orientation


def test_u_runs_rightwards_and_v_downwards() -> None:
    plane = np.zeros((5, 3), np.uint8)
    plane[4, 1] = 200
    image = to_image(plane)
    assert image.size == (5, 3)
    assert image.getpixel((4, 1)) == 200


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (7, 3, 3), (1, 9)])
def test_images_and_planes_are_inverses(shape: tuple[int, ...]) -> None:
    plane = np.asfortranarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    back = from_image(to_image(plane))
    np.testing.assert_array_equal(back, plane)
    assert back.flags.writeable


def test_a_single_channel_is_dropped() -> None:
    assert to_image(np.zeros((4, 3, 1), np.uint8)).mode == "L"


def test_only_uint8_becomes_an_image() -> None:
    with pytest.raises(CastError, match="to_uint8"):
        to_image(np.zeros((4, 3), np.uint16))


# Colours


def hues(labels: np.ndarray) -> np.ndarray:
    colours = colour_labels(labels)
    return np.asarray(to_image(colours).convert("HSV")).swapaxes(0, 1)[..., 0].astype(int)


def test_zero_is_black_and_nothing_else() -> None:
    colours = colour_labels(np.arange(10000, dtype=np.uint64).reshape(100, 100))
    assert colours[0, 0].tolist() == [0, 0, 0]
    assert colours.reshape(-1, 3)[1:].max(1).min() > 150


def test_colours_depend_on_the_label_alone() -> None:
    small = colour_labels(np.array([[5, 9]], np.uint8))
    for dtype in ("i2", ">u4", "u8", "i8"):
        np.testing.assert_array_equal(small, colour_labels(np.array([[5, 9]], dtype)))
    assert small.tolist() == [[[194, 114, 20], [92, 192, 252]]]


def test_neighbouring_ids_have_well_separated_hues() -> None:
    hue = hues(np.arange(1, 2000, dtype=np.uint64)[:, None]).ravel()
    apart = np.abs(np.diff(hue))
    assert np.minimum(apart, 256 - apart).min() > 80


def test_most_colours_differ() -> None:
    labels = np.arange(1, 5001, dtype=np.uint64)[:, None]
    for ids in (labels, labels << np.uint64(40), labels * np.uint64(8)):
        assert len(np.unique(colour_labels(ids).reshape(-1, 3), axis=0)) > 4800


def test_the_largest_and_the_negative_labels() -> None:
    largest = colour_labels(np.array([[2**64 - 1]], np.uint64))
    np.testing.assert_array_equal(largest, colour_labels(np.array([[-1]], np.int8)))
    assert largest.max() > 150


def test_labels_are_integers_on_a_plane() -> None:
    with pytest.raises(CastError):
        colour_labels(np.zeros((2, 2), np.float32))
    with pytest.raises(ShapeError):
        colour_labels(np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(ShapeError):
        colour_labels(np.zeros((0, 2), np.uint8))


def test_overlay_mixes_where_there_are_labels() -> None:
    image = np.full((3, 2), 100, np.uint8)
    labels = np.array([[0, 5], [0, 0], [9, 0]])
    out = overlay(image, labels, 0.25)
    assert (out[labels == 0] == 100).all()
    expected = 75 + 0.25 * colour_labels(labels)[labels > 0]
    np.testing.assert_allclose(out[labels > 0], expected, atol=0.5)
    np.testing.assert_array_equal(overlay(image, labels, 0), np.full((3, 2, 3), 100))
    np.testing.assert_array_equal(overlay(image, labels, 1)[0, 1], colour_labels(labels)[0, 1])


def test_overlay_refuses_what_does_not_match() -> None:
    with pytest.raises(ShapeError, match="cover"):
        overlay(np.zeros((3, 2), np.uint8), np.zeros((2, 3), int))
    for alpha in (-0.1, 1.1, np.nan):
        with pytest.raises(OptionError, match="alpha"):
            overlay(np.zeros((3, 2), np.uint8), np.zeros((3, 2), int), alpha)


# Size


@pytest.mark.parametrize(
    ("shape", "pixel_size", "box", "size"),
    [
        ((100, 100), (4, 4), (200, 200), (200, 200)),
        ((100, 20), (4, 40), (300, 300), (150, 300)),
        ((100, 50), (1, 1), (30, 30), (30, 15)),
        ((1, 1), (1, 1), (7, 9), (7, 7)),
        ((1, 1000), (1, 1), (50, 50), (1, 50)),
        ((3, 2), (1e300, 1e-300), (40, 40), (40, 1)),
    ],
)
@pytest.mark.parametrize("method", ["smooth", "nearest"])
def test_fit_keeps_the_physical_aspect_ratio(shape, pixel_size, box, size, method) -> None:
    out = fit(np.zeros(shape, np.uint8), pixel_size=pixel_size, box=box, method=method)
    assert out.shape == size
    assert out.dtype == np.uint8


def test_nearest_keeps_labels_and_places() -> None:
    labels = np.array([[2**60, 1], [2, 3], [4, 5]], np.uint64)
    large = fit(labels, box=(30, 20), method="nearest")
    np.testing.assert_array_equal(large, labels.repeat(10, 0).repeat(10, 1))
    np.testing.assert_array_equal(fit(large, box=(3, 2), method="nearest"), labels)


def test_nearest_takes_the_middle_when_it_shrinks() -> None:
    ramp = np.arange(81).reshape(9, 9)
    assert fit(ramp, box=(3, 3), method="nearest").tolist() == ramp[1::3, 1::3].tolist()


def test_smooth_averages_when_it_shrinks() -> None:
    board = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)
    assert np.abs(fit(board.astype(np.uint8), box=(8, 8)).astype(int) - 127).max() < 8


def test_fit_keeps_orientation_and_colours() -> None:
    plane = np.zeros((60, 40, 3), np.uint8)
    plane[30:, :20, 0], plane[:30, 20:, 2] = 255, 255
    small = fit(plane, box=(6, 4))
    assert small.shape == (6, 4, 3)
    assert small[5, 0].tolist() == [255, 0, 0]
    assert small[0, 3].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    "options",
    [{"pixel_size": (0, 1)}, {"pixel_size": (1, np.nan)}, {"pixel_size": (1, 1, 1)}, {"box": (0, 5)},
     {"box": (5, 10**9)}, {"box": (5,)}, {"method": "cubic"}],
)  # fmt: skip
def test_impossible_fits(options: dict) -> None:
    with pytest.raises(OptionError):
        fit(np.zeros((4, 4), np.uint8), **options)


def test_smooth_needs_uint8() -> None:
    with pytest.raises(CastError):
        fit(np.zeros((4, 4), np.float32))


# Scale bars


@pytest.mark.parametrize(
    ("width", "nm", "length", "text"),
    [
        (300, 4, 200, "200 nm"),
        (300, 40, 2000, "2 um"),
        (300, 10, 1000, "1 um"),
        (100, 1e6, 2e7, "20 mm"),
        (100, 0.01, 0.2, "0.2 nm"),
        (300, 5, 500, "500 nm"),
        (299, 5, 200, "200 nm"),
    ],
)
def test_bars_have_round_lengths(width: int, nm: float, length: float, text: str) -> None:
    assert bar_length(width, nm) == (pytest.approx(length), text)


@given(st.integers(1, 8192), st.floats(1e-9, 1e15))
def test_bars_cover_between_a_seventh_and_a_third(width: int, nm: float) -> None:
    length, text = bar_length(width, nm)
    assert 0.39 < length / (width * nm / 3) <= 1
    assert text.split()[1] in ("nm", "um", "mm")


@pytest.mark.parametrize("nm", [4, 7.3, 40])
def test_the_bar_is_as_long_as_it_says(nm: float) -> None:
    length, _ = bar_length(300, nm)
    out = scale_bar(np.zeros((300, 200), np.uint8), nm)
    row = (out[:, 200 - 10] == 255).all(-1)
    assert row.sum() == round(length / nm)
    lit = np.flatnonzero(row)
    assert (np.diff(lit) == 1).all()
    assert lit[-1] == 300 - 9
    assert (out[:, :150] == 0).all()


def test_the_bar_shows_on_white_and_leaves_the_input_alone() -> None:
    plane = np.full((300, 200), 255, np.uint8)
    out = scale_bar(plane, 4)
    assert (plane == 255).all()
    assert (out == 0).any()


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (300, 5), (20, 20)])
def test_pictures_too_small_for_a_bar_stay_as_they_are(shape: tuple[int, int]) -> None:
    plane = np.full(shape, 9, np.uint8)
    np.testing.assert_array_equal(scale_bar(plane, 4), np.repeat(plane[..., None], 3, 2))


@pytest.mark.parametrize("nm", [0, -1, np.nan, np.inf])
def test_impossible_pixel_sizes(nm: float) -> None:
    with pytest.raises(OptionError, match="nm_per_pixel"):
        scale_bar(np.zeros((300, 200), np.uint8), nm)


# Files


def test_png_and_data_uri() -> None:
    plane = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)
    for image in (plane, to_image(plane)):
        np.testing.assert_array_equal(from_image(Image.open(io.BytesIO(png_bytes(image)))), plane)
        head, body = data_uri(image).split(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(body) == png_bytes(plane)
