"""Contact sheets: sections, reslices and mips of a volume side by side, captioned, on one picture."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from volumekit.errors import OptionError, ShapeError
from volumekit.picture.image import Picture, default_font, to_image, to_rgb
from volumekit.picture.planes import LONGEST_SIDE, colour_labels, contrast, fit, overlay, scale_bar, to_uint8

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Panel = tuple[str, ArrayLike]
"""A caption and a picture, uint8, (u, v) or (u, v, 3)."""

_GROUND, _FRAME = (24, 26, 30), (58, 62, 70)
_MARGIN, _GAP, _NARROWEST = 28, 18, 150
_MOST_PIXELS, _MOST_TEXT, _MOST_LINES = 2**26, 1000, 12


class _Style(NamedTuple):
    size: int
    leading: int
    colour: tuple[int, int, int]


_TITLE = _Style(24, 31, (240, 241, 243))
_CAPTION = _Style(14, 19, (205, 208, 213))
_FOOTER = _Style(13, 19, (140, 145, 153))


@dataclass(frozen=True, eq=False)
class View:
    """A plane of a volume, to be shown on a sheet.

    Attributes
    ----------
    caption : str
        What is written below it.
    image : array_like, optional
        (u, v) or (u, v, 3) of numbers.
    labels : array_like, optional
        (u, v) of integers, laid over the image, or shown by themselves where there is none.
    pixel_size : tuple of float
        Size of a voxel along u and v in nm.
    range : tuple of float, optional
        Values that become black and white; default: by percentiles.
    blocky : bool
        Show pixels as they are instead of smoothing them.
    alpha : float
        How much the labels cover the image, 0 to 1.
    """

    caption: str
    image: ArrayLike | None = None
    labels: ArrayLike | None = None
    pixel_size: tuple[float, float] = (1.0, 1.0)
    range: tuple[float, float] | None = None
    blocky: bool = False
    alpha: float = 0.4


def across(
    axis: Literal["x", "y", "z"],
    position: int,
    *,
    image: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    resolution: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> View:
    """Return a view of the slice of a volume at one position of an axis: across z shows (x, y), and so on.

    Parameters
    ----------
    axis : {"x", "y", "z"}
        The axis that is cut.
    position : int
        Where; for the caption.
    image, labels : array_like, optional
        Blocks (x, y, z) or (x, y, z, channel), one voxel thick along the axis, as slicing a volume
        gives them.
    resolution : tuple of float
        Voxel size in nm, (x, y, z).

    Returns
    -------
    View
        Captioned "xy, z = 12" or the like.

    Raises
    ------
    OptionError, ShapeError
        If there is no such axis, or a block is thicker.
    """
    if axis not in ("x", "y", "z"):
        raise OptionError(f"axis is 'x', 'y' or 'z', not {axis!r}")
    cut = "xyz".index(axis)
    shown = [i for i in (0, 1, 2) if i != cut]
    caption = f"{'xyz'[shown[0]]}{'xyz'[shown[1]]}, {axis} = {position}"
    pixel_size = float(resolution[shown[0]]), float(resolution[shown[1]])
    return View(caption, _flattened(image, cut), _flattened(labels, cut), pixel_size)


def _flattened(array: ArrayLike | None, cut: int) -> NDArray[Any] | None:
    if array is None:
        return None
    block = np.asarray(array)
    if block.ndim not in (3, 4) or block.shape[cut] != 1:
        raise ShapeError(f"a block of shape {block.shape} is not one voxel thick along {'xyz'[cut]}")
    plane: NDArray[Any] = block.take(0, axis=cut)
    return plane


def depths(start: int, stop: int, count: int) -> list[int]:
    """Return up to ``count`` evenly spaced positions in start <= position < stop, ascending.

    They are the middles of equal parts, so a single one is the middle.
    """
    count = max(0, min(count, stop - start))
    return [start + (2 * i + 1) * (stop - start) // (2 * count) for i in range(count)]


def ladder(views: Sequence[View]) -> list[View]:
    """Return views of one region at mips 0, 1, ...: common contrast, visible pixels, telling captions.

    Parameters
    ----------
    views : sequence of View
        Finest first, all of the same region; their captions are replaced, their pixel sizes used.

    Returns
    -------
    list of View
        Captioned "mip 1, 8 x 8 nm, 128 x 128".
    """
    first = next((view.image for view in views if view.image is not None), None)
    common = None if first is None else contrast(first)
    return [replace(view, caption=_mip_caption(mip, view), range=common, blocky=True) for mip, view in enumerate(views)]


def _mip_caption(mip: int, view: View) -> str:
    u, v = np.shape(_shown(view))[:2]
    return f"mip {mip}, {view.pixel_size[0]:g} x {view.pixel_size[1]:g} nm, {u} x {v}"


def _shown(view: View) -> ArrayLike:
    shown = view.labels if view.image is None else view.image
    if shown is None:
        raise ShapeError(f"view {view.caption!r} has neither an image nor labels")
    return shown


def panel(view: View, *, box: tuple[int, int] = (320, 320)) -> tuple[str, Picture]:
    """Draw a view: contrast, physical aspect ratio, labels, scale bar.

    Parameters
    ----------
    view : View
        What to draw.
    box : tuple of int
        Largest width and height in pixels.

    Returns
    -------
    caption : str
        The view's.
    picture : numpy.ndarray
        uint8, (u, v, 3).

    Raises
    ------
    ShapeError, CastError, OptionError
        If the view holds nothing, or something that cannot be shown.
    """
    picture = _drawn(view, box)
    nm_per_pixel = np.shape(_shown(view))[0] * view.pixel_size[0] / picture.shape[0]
    return view.caption, scale_bar(picture, nm_per_pixel)


def _drawn(view: View, box: tuple[int, int]) -> Picture:
    ids = None
    if view.labels is not None:
        ids = fit(view.labels, pixel_size=view.pixel_size, box=box, method="nearest")
    if view.image is None:
        return colour_labels(_shown(view) if ids is None else ids)
    if view.labels is not None and np.shape(view.image)[:2] != np.shape(view.labels)[:2]:
        raise ShapeError(f"image and labels of view {view.caption!r} differ in size")
    grey = to_uint8(view.image, range=view.range)
    method: Literal["nearest", "smooth"] = "nearest" if view.blocky else "smooth"
    picture = fit(grey, pixel_size=view.pixel_size, box=box, method=method)
    return to_rgb(picture) if ids is None else overlay(picture, ids, view.alpha)


def sheet_of(
    views: Sequence[View],
    *,
    columns: int | None = None,
    title: str = "",
    footer: str = "",
    box: tuple[int, int] = (320, 320),
) -> Image:
    """Draw views side by side: `panel` for each, then `contact_sheet`.

    Parameters
    ----------
    views : sequence of View
        Row by row.
    columns, title, footer
        As in `contact_sheet`.
    box : tuple of int
        Largest width and height of one picture in pixels.

    Raises
    ------
    ShapeError, CastError, OptionError
        As `panel` and `contact_sheet`.
    """
    panels = [panel(view, box=box) for view in views]
    return contact_sheet(panels, columns=columns, title=title, footer=footer)


def contact_sheet(panels: Sequence[Panel], *, columns: int | None = None, title: str = "", footer: str = "") -> Image:
    """Arrange pictures in rows on a dark ground, each above its caption.

    Parameters
    ----------
    panels : sequence of (str, array_like)
        Captions and pictures, uint8, (u, v) or (u, v, 3), up to 8192 pixels a side; row by row.
    columns : int, optional
        Pictures in a row; default: about as many as rows.
    title, footer : str
        Text above and below; long lines are wrapped.

    Returns
    -------
    PIL.Image.Image
        RGB.

    Raises
    ------
    ShapeError, CastError
        If there are no panels, one is no picture, or the sheet would have more than 2**26 pixels.
    OptionError
        If ``columns`` is not positive.
    """
    if columns is not None and columns < 1:
        raise OptionError(f"columns is at least 1, not {columns!r}")
    if not panels:
        raise ShapeError("a contact sheet needs at least one picture")
    images = [to_image(to_rgb(picture)) for _, picture in panels]
    if max(max(image.size) for image in images) > LONGEST_SIDE:
        raise ShapeError(f"a picture of the sheet is longer than {LONGEST_SIDE} pixels: use fit")
    across_count = min(columns or math.ceil(math.sqrt(len(images))), len(images))
    return _Sheet(images, [caption for caption, _ in panels], across_count, title, footer).draw()


class _Sheet:
    """The places of everything on a sheet, in pixels."""

    def __init__(self, images: list[Image], captions: list[str], columns: int, title: str, footer: str) -> None:
        self.images, self.columns = images, columns
        widths = [max([_NARROWEST, *(i.width for i in images[c::columns])]) for c in range(columns)]
        self.left = _running([_MARGIN, *(width + _GAP for width in widths)])
        self.inner = self.left[-1] - _GAP - _MARGIN
        self.title = _wrapped(title, _TITLE, self.inner)
        self.footer = _wrapped(footer, _FOOTER, self.inner)
        self.captions = [_wrapped(text, _CAPTION, widths[n % columns]) for n, text in enumerate(captions)]
        top = _MARGIN + (len(self.title) * _TITLE.leading + 10 if self.title else 0)
        self.top = _running([top, *(self._row_height(row) for row in range(0, len(images), columns))])
        end = len(self.footer) * _FOOTER.leading + _MARGIN - (0 if self.footer else _GAP)
        self.size = self.inner + 2 * _MARGIN, self.top[-1] + end

    def _row_height(self, start: int) -> int:
        row = slice(start, start + self.columns)
        lines = max(len(caption) for caption in self.captions[row])
        return max(image.height for image in self.images[row]) + 8 + _CAPTION.leading * lines + _GAP

    def draw(self) -> Image:
        from PIL import Image, ImageDraw

        if self.size[0] * self.size[1] > _MOST_PIXELS:
            raise ShapeError(f"a sheet of {self.size[0]} x {self.size[1]} pixels is too large: use fit")
        sheet = Image.new("RGB", self.size, _GROUND)
        pen = ImageDraw.Draw(sheet)
        _write(pen, self.title, (_MARGIN, _MARGIN - 4), _TITLE)
        for n, image in enumerate(self.images):
            x, y = self.left[n % self.columns], self.top[n // self.columns]
            pen.rectangle((x - 1, y - 1, x + image.width, y + image.height), outline=_FRAME)
            sheet.paste(image, (x, y))
            _write(pen, self.captions[n], (x, y + image.height + 7), _CAPTION)
        _write(pen, self.footer, (_MARGIN, self.top[-1]), _FOOTER)
        return sheet


def _running(steps: list[int]) -> list[int]:
    return [int(end) for end in np.cumsum(steps)]


def _write(pen: ImageDraw, lines: list[str], at: tuple[int, int], style: _Style) -> None:
    for n, line in enumerate(lines):
        pen.text((at[0], at[1] + n * style.leading), line, style.colour, default_font(style.size))


def _wrapped(text: str, style: _Style, width: int) -> list[str]:
    """Break text into lines of at most ``width`` pixels; what exceeds a dozen lines is left out."""
    font = default_font(style.size)
    lines = [
        line
        for paragraph in text[:_MOST_TEXT].splitlines()
        for line in _broken(_printable(paragraph), lambda piece: font.getlength(piece) <= width)
    ]
    return lines if len(lines) <= _MOST_LINES else [*lines[: _MOST_LINES - 1], "..."]


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text.expandtabs(1))


def _broken(text: str, fits: Callable[[str], bool]) -> Iterator[str]:
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if fits(joined):
            line = joined
            continue
        if line:
            yield line
        *pieces, line = _chopped(word, fits)
        yield from pieces
    yield line


def _chopped(word: str, fits: Callable[[str], bool]) -> list[str]:
    pieces = []
    while not fits(word) and len(word) > 1:
        cut = bisect_left(range(2, len(word)), True, key=lambda n: not fits(word[:n])) + 1
        pieces.append(word[:cut])
        word = word[cut:]
    return [*pieces, word]
