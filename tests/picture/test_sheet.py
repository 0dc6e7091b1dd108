from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from volumekit.errors import CastError, OptionError, ShapeError
from volumekit.picture.planes import colour_labels, from_image
from volumekit.picture.sheet import View, across, contact_sheet, depths, ladder, panel, sheet_of

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def flat(colour: tuple[int, int, int], shape: tuple[int, int] = (60, 40)) -> np.ndarray:
    return np.full((*shape, 3), colour, np.uint8)


def where(sheet: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """First and last (x, y) of a colour."""
    places = np.argwhere((from_image(sheet) == colour).all(-1))
    return np.array([places.min(0), places.max(0)])


def test_panels_lie_row_by_row_and_whole() -> None:
    sheet = contact_sheet([("a", flat(RED)), ("b", flat(GREEN)), ("c", flat(BLUE))], columns=2)
    red, green, blue = (where(sheet, colour) for colour in (RED, GREEN, BLUE))
    for box in (red, green, blue):
        assert (box[1] - box[0] + 1).tolist() == [60, 40]
    assert red[0, 1] == green[0, 1]
    assert red[1, 0] < green[0, 0]
    assert red[0, 0] == blue[0, 0]
    assert red[1, 1] < blue[0, 1]


def test_margins_and_ground_are_dark() -> None:
    picture = from_image(contact_sheet([("", flat(RED))]))
    for edge in (picture[:20], picture[-20:], picture[:, :20], picture[:, -20:]):
        assert (edge == picture[0, 0]).all()
    assert picture[0, 0].max() < 40


def test_captions_are_below_their_picture_and_legible() -> None:
    sheet = contact_sheet([("caption", flat(RED))])
    blank = contact_sheet([("", flat(RED))])
    assert sheet.height > blank.height
    bottom = where(sheet, RED)[1, 1]
    text = from_image(sheet)[:, bottom + 3 :].min(-1)
    assert text.max() > 180
    assert (text > 100).sum() > 100


def test_title_and_footer_take_room() -> None:
    plain, both = (contact_sheet([("", flat(RED))], title=t, footer=t) for t in ("", "Title"))
    assert where(both, RED)[0, 1] > where(plain, RED)[0, 1] + 20
    assert both.height - where(both, RED)[1, 1] > plain.height - where(plain, RED)[1, 1]


@pytest.mark.parametrize("text", ["word " * 60, "x" * 300, "a\nb\nc", "y" * 10**6, "\n" * 10**5])
def test_long_texts_are_wrapped_within_the_sheet(text: str) -> None:
    sheet = contact_sheet([(text, flat(RED))], title=text, footer=text)
    assert sheet.width == contact_sheet([("", flat(RED))]).width
    assert (from_image(sheet)[-20:] == from_image(sheet)[0, 0]).all()
    assert sheet.height < 1300


@pytest.mark.parametrize("text", ["\udc80\udcff", "\x00\x07\x1b[31m", "細胞 膜", "tab\tbed"])
def test_strange_texts_do_no_harm(text: str) -> None:
    assert contact_sheet([(text, flat(RED))], title=text).height > 0


def test_odd_and_tiny_panels() -> None:
    grey = np.full((1, 1), 77, np.uint8)
    sheet = contact_sheet([("one", grey), ("tall", flat(GREEN, (3, 301)))], columns=1)
    assert (where(sheet, (77, 77, 77))[1] - where(sheet, (77, 77, 77))[0]).tolist() == [0, 0]
    assert (where(sheet, GREEN)[1] - where(sheet, GREEN)[0] + 1).tolist() == [3, 301]


def test_columns_default_to_a_square() -> None:
    nine = contact_sheet([("", flat(RED, (150, 150)))] * 9)
    assert abs(nine.width - nine.height) < 40


def test_impossible_sheets() -> None:
    with pytest.raises(ShapeError, match="at least one"):
        contact_sheet([])
    with pytest.raises(OptionError, match="columns"):
        contact_sheet([("", flat(RED))], columns=0)
    with pytest.raises(ShapeError, match="fit"):
        contact_sheet([("", np.zeros((9000, 1), np.uint8))])
    with pytest.raises(ShapeError, match="too large"):
        contact_sheet([("", np.zeros((8192, 1), np.uint8)), ("", np.zeros((1, 8192), np.uint8))] * 2)
    with pytest.raises(CastError):
        contact_sheet([("", np.zeros((4, 4), np.uint16))])
    with pytest.raises(ShapeError):
        contact_sheet([("", np.zeros((0, 4), np.uint8))])


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((0, 100, 4), [12, 37, 62, 87]),
        ((0, 5, 1), [2]),
        ((-10, -7, 9), [-10, -9, -8]),
        ((3, 3, 4), []),
        ((0, 9, 0), []),
    ],
)
def test_depths_are_even_and_within(span: tuple[int, int, int], expected: list[int]) -> None:
    assert depths(*span) == expected


@pytest.mark.parametrize(("axis", "shape", "name"), [("x", (3, 4), "yz"), ("y", (2, 4), "xz"), ("z", (2, 3), "xy")])
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_slices_across_each_axis(axis, shape, name, channels) -> None:
    volume = np.arange(2 * 3 * 4 * max(channels, default=1)).reshape(2, 3, 4, *channels)
    cut = "xyz".index(axis)
    view = across(axis, 17, image=volume.take([1], cut), resolution=(4, 5, 40))
    assert view.caption == f"{name}, {axis} = 17"
    np.testing.assert_array_equal(view.image, volume.take(1, cut))
    assert view.image.shape[:2] == shape
    assert view.pixel_size == tuple(size for i, size in enumerate((4, 5, 40)) if i != cut)
    assert view.labels is None


def test_across_wants_one_slice_of_an_axis() -> None:
    with pytest.raises(ShapeError, match="thick along z"):
        across("z", 0, image=np.zeros((4, 4, 2)))
    with pytest.raises(OptionError, match="axis"):
        across("t", 0, image=np.zeros((4, 4, 1)))  # type: ignore[arg-type]


def test_a_reslice_is_shown_as_tall_as_it_is() -> None:
    _, picture = panel(View("", np.eye(100, 20), pixel_size=(4, 40)), box=(300, 300))
    assert picture.shape == (150, 300, 3)


def test_labels_and_images_cover_each_other_when_resized() -> None:
    labels = np.zeros((101, 67), np.uint64)
    labels[50:, 30:] = 7
    image = np.where(labels > 0, 200, 50)
    for blocky in (False, True):
        _, plain = panel(View("", image, range=(0, 255), blocky=blocky), box=(37, 37))
        _, mixed = panel(View("", image, labels, range=(0, 255), alpha=1, blocky=blocky), box=(37, 37))
        changed = (plain != mixed).any(-1)
        colour = colour_labels(labels)[100, 66]
        assert (mixed[changed] == colour).all()
        assert plain[changed].mean() > 170
        assert plain[~changed].mean() < 80


def test_labels_alone_keep_their_colours() -> None:
    labels = np.array([[1, 2], [0, 3]], np.uint64)
    _, picture = panel(View("", labels=labels), box=(10, 10))
    np.testing.assert_array_equal(picture, colour_labels(labels).repeat(5, 0).repeat(5, 1))


def test_a_scale_bar_measures_the_resized_picture() -> None:
    _, picture = panel(View("", np.zeros((100, 100)), pixel_size=(4, 4)), box=(300, 300))
    bar = (picture[:, 300 - 10] == 255).all(-1).sum()
    assert bar == 100 * 3 // 4 * 1  # 100 nm at 4/3 nm a pixel


def test_a_ladder_has_common_contrast_and_tells_its_mips() -> None:
    fine = np.arange(64.0).reshape(8, 8)
    coarse = fine.reshape(4, 2, 4, 2).mean((1, 3))
    views = ladder([View("", fine, pixel_size=(4, 4)), View("", coarse, pixel_size=(8, 8))])
    assert [view.caption for view in views] == ["mip 0, 4 x 4 nm, 8 x 8", "mip 1, 8 x 8 nm, 4 x 4"]
    assert views[0].range == views[1].range == (0.0, 63.0)
    pictures = [panel(view, box=(32, 32))[1] for view in views]
    assert pictures[0].shape == pictures[1].shape
    assert len(np.unique(pictures[1])) == 16
    assert ladder([]) == []


def test_views_that_cannot_be_shown() -> None:
    with pytest.raises(ShapeError, match="neither"):
        panel(View("empty"))
    with pytest.raises(ShapeError, match="differ in size"):
        panel(View("", np.zeros((4, 4)), np.zeros((2, 2), int)))
    with pytest.raises(ShapeError, match="nothing to show"):
        sheet_of([View("", np.zeros((0, 4)))])


def test_a_sheet_of_views() -> None:
    views = [View("a", np.eye(9)), View("b", labels=np.eye(9, dtype=int))]
    sheet = sheet_of(views, columns=2, title="t", footer="f", box=(180, 90))
    assert sheet.mode == "RGB"
    assert sheet.width > 2 * 150
