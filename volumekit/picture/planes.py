"""Planes of voxels as pictures: contrast, label colours, overlays, physical aspect ratio, scale bars.

A *plane* is an array (u, v) or (u, v, 3), as slicing a volume gives it: u runs rightwards and v downwards in
the picture, so (x, y), (x, z) and (y, z) planes all look as one expects.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from volumekit.errors import CastError, OptionError, ShapeError
from volumekit.picture.image import (
    Picture,
    checked_picture,
    checked_plane,
    data_uri,
    default_font,
    from_image,
    png_bytes,
    to_image,
    to_rgb,
)

__all__ = [
    "Picture",
    "bar_length",
    "colour_labels",
    "contrast",
    "data_uri",
    "fit",
    "from_image",
    "overlay",
    "png_bytes",
    "scale_bar",
    "to_image",
    "to_rgb",
    "to_uint8",
]

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
LONGEST_SIDE = 8192
"""Of a picture, in pixels."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_NM = {"nm": 1.0, "um": 1e3, "mm": 1e6}


def to_uint8(
    plane: ArrayLike,
    *,
    range: tuple[float, float] | None = None,  # noqa: A002  the word every plotting library uses
    percentiles: tuple[float, float] = (0.5, 99.5),
) -> Picture:
    """Stretch the contrast of a plane to 0..255.

    Parameters
    ----------
    plane : array_like
        (u, v) or (u, v, 3), any integer, boolean or floating type; the three colours are stretched together.
    range : tuple of float, optional
        The values that become black and white. Default: the percentiles.
    percentiles : tuple of float
        Percentiles of the finite values that become black and white; where they are equal (a few bright
        voxels on a flat ground), the extremes.

    Returns
    -------
    numpy.ndarray
        uint8, same shape. NaN is black; infinities are black and white. A constant plane is mid-grey, or
        black if it is zero.

    Raises
    ------
    ShapeError
        If this is no plane, or an empty one.
    CastError
        If these are no numbers.
    OptionError
        If a range does not ascend or percentiles are not within 0..100.
    """
    values = _numbers(plane)
    low, high = _checked_range(range) if range is not None else _spread(values, percentiles)
    if low == high:
        return np.where(np.nan_to_num(values, nan=0.0) == 0, 0, 128).astype(np.uint8)
    with np.errstate(all="ignore"):
        # Halved, because the difference of two large floats may overflow.
        scaled = (values / 2 - low / 2) / (high / 2 - low / 2) * 255
    stretched: Picture = np.rint(np.nan_to_num(scaled, nan=0.0).clip(0, 255)).astype(np.uint8)
    return stretched


def contrast(plane: ArrayLike, *, percentiles: tuple[float, float] = (0.5, 99.5)) -> tuple[float, float] | None:
    """Return the range `to_uint8` would choose, to use it for other planes too; None for a constant plane.

    Raises
    ------
    ShapeError, CastError, OptionError
        As `to_uint8`.
    """
    low, high = _spread(_numbers(plane), percentiles)
    return (low, high) if low < high else None


def _numbers(plane: ArrayLike) -> NDArray[np.float64]:
    values = checked_plane(plane)
    if values.dtype.kind not in "buif":
        raise CastError(f"a picture is made of real numbers, not {values.dtype}")
    with np.errstate(over="ignore"):
        return values.astype(np.float64)


def _checked_range(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = float(limits[0]), float(limits[1])
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise OptionError(f"range is (black, white) with black < white, not {limits!r}")
    return low, high


def _spread(values: NDArray[np.float64], percentiles: tuple[float, float]) -> tuple[float, float]:
    low, high = percentiles
    if not 0 <= low < high <= 100:
        raise OptionError(f"percentiles ascend within 0..100, not {percentiles!r}")
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 0.0
    black, white = np.percentile(finite, (low, high), method="nearest")
    if black == white:
        black, white = finite.min(), finite.max()
    return float(black), float(white)


def colour_labels(plane: ArrayLike) -> Picture:
    """Give every label a colour of its own; the same label has the same colour everywhere.

    The hue is the label times the golden ratio (Knuth's multiplicative hashing), so that labels which follow
    one another lie 137 degrees apart; saturation and brightness come from a second hash.

    Parameters
    ----------
    plane : array_like
        (u, v) of integers; negative ones count as their unsigned 64-bit pattern.

    Returns
    -------
    numpy.ndarray
        uint8, (u, v, 3). Label 0 is black, no other is.

    Raises
    ------
    ShapeError, CastError
        If this is no plane of integers.
    """
    labels = _checked_labels(plane).astype(np.uint64)
    hue = labels * _GOLDEN
    mixed = (hue ^ (hue >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    saturation = 0.5 + 0.4 * _fraction(mixed)
    value = 0.72 + 0.28 * _fraction(mixed << np.uint64(24))
    colours = _from_hsv(_fraction(hue), saturation, value)
    colours[labels == 0] = 0
    return colours


def _checked_labels(plane: ArrayLike) -> NDArray[Any]:
    labels = checked_plane(plane)
    if labels.ndim != 2:
        raise ShapeError(f"labels have the shape (u, v), not {labels.shape}")
    if labels.dtype.kind not in "bui":
        raise CastError(f"labels are integers, not {labels.dtype}")
    return labels


def _fraction(bits: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Return the upper 24 bits as a number in [0, 1)."""
    return (bits >> np.uint64(40)).astype(np.float32) / np.float32(2**24)


def _from_hsv(hue: NDArray[np.float32], saturation: NDArray[np.float32], value: NDArray[np.float32]) -> Picture:
    colours = np.empty((*hue.shape, 3), np.uint8)
    for channel, turn in enumerate((5, 3, 1)):
        sector = (turn + 6 * hue) % 6
        share = np.minimum(sector, 4 - sector).clip(0, 1)
        colours[..., channel] = np.rint(255 * value * (1 - saturation * share))
    return colours


def overlay(image: ArrayLike, labels: ArrayLike, alpha: float = 0.4) -> Picture:
    """Lay the colours of labels over an image.

    Parameters
    ----------
    image : array_like
        uint8, (u, v) or (u, v, 3).
    labels : array_like
        Integers, (u, v) of the same size; where they are 0 the image stays as it is.
    alpha : float
        0 shows the image, 1 the colours.

    Returns
    -------
    numpy.ndarray
        uint8, (u, v, 3).

    Raises
    ------
    ShapeError, CastError, OptionError
        If the sizes differ, the types are wrong, or ``alpha`` is not within 0..1.
    """
    if not 0 <= alpha <= 1:
        raise OptionError(f"alpha is from 0 to 1, not {alpha!r}")
    ground, ids = to_rgb(image), _checked_labels(labels)
    if ground.shape[:2] != ids.shape:
        raise ShapeError(f"an image of {ground.shape[:2]} and labels of {ids.shape} do not cover each other")
    mixed = np.rint(ground * (1 - alpha) + colour_labels(ids) * alpha).astype(np.uint8)
    return np.where((ids != 0)[..., None], mixed, ground)


def fit(
    plane: ArrayLike,
    *,
    pixel_size: tuple[float, float] = (1, 1),
    box: tuple[int, int] = (256, 256),
    method: Literal["smooth", "nearest"] = "smooth",
) -> NDArray[Any]:
    """Resize a plane to the largest picture of the right physical aspect ratio that fits into a box.

    Parameters
    ----------
    plane : array_like
        (u, v) or (u, v, 3).
    pixel_size : tuple of float
        Size of a voxel along u and v, in any unit.
    box : tuple of int
        Largest width and height in pixels, up to 8192 each.
    method : {"smooth", "nearest"}
        ``"smooth"`` averages where it shrinks and interpolates where it enlarges (Lanczos; uint8 only);
        ``"nearest"`` keeps values as they are: labels, or pixels one wants to see.

    Returns
    -------
    numpy.ndarray
        Same type; at least one pixel along each axis.

    Raises
    ------
    ShapeError, CastError, OptionError
        If this is no plane, ``"smooth"`` is asked of another type than uint8, or sizes are not positive.
    """
    array = checked_plane(plane) if method == "nearest" else checked_picture(plane)
    size = _fitted((array.shape[0], array.shape[1]), pixel_size, box)
    if method == "nearest":
        u, v = (_nearest(n, target) for n, target in zip(array.shape, size, strict=False))
        return array[u[:, None], v]
    if method != "smooth":
        raise OptionError(f"method is 'smooth' or 'nearest', not {method!r}")
    from PIL.Image import Resampling

    return from_image(to_image(array).resize(size, Resampling.LANCZOS))


def _fitted(shape: tuple[int, int], pixel_size: tuple[float, float], box: tuple[int, int]) -> tuple[int, int]:
    if len(pixel_size) != 2 or not all(math.isfinite(size) and size > 0 for size in pixel_size):
        raise OptionError(f"pixel_size is two positive lengths, not {pixel_size!r}")
    if len(box) != 2 or not all(1 <= side <= LONGEST_SIDE for side in box):
        raise OptionError(f"box is a width and a height from 1 to {LONGEST_SIDE} pixels, not {box!r}")
    extent = [n * size / max(pixel_size) for n, size in zip(shape, pixel_size, strict=True)]
    # Compared in this form because an extent may be as small as a float can be.
    scale = box[0] / extent[0] if extent[0] * box[1] >= extent[1] * box[0] else box[1] / extent[1]
    width, height = (min(max(1, round(e * scale)), side) for e, side in zip(extent, box, strict=True))
    return width, height


def _nearest(samples: int, target: int) -> NDArray[np.intp]:
    return (2 * np.arange(target) + 1) * samples // (2 * target)


def scale_bar(picture: ArrayLike, nm_per_pixel: float) -> Picture:
    """Draw a bar of a round length, with its length in nm, um or mm, into the lower right corner.

    Parameters
    ----------
    picture : array_like
        uint8, (u, v) or (u, v, 3).
    nm_per_pixel : float
        Width of a pixel in nm.

    Returns
    -------
    numpy.ndarray
        uint8, (u, v, 3): a copy with a white bar, 1, 2 or 5 times a power of ten long and at most a third of
        the width, or without one where the picture is too small to hold it.

    Raises
    ------
    ShapeError, CastError, OptionError
        If this is no picture, or the pixel size is not positive.
    """
    from PIL import ImageDraw

    image = to_image(to_rgb(picture))
    length, text = bar_length(image.width, nm_per_pixel)
    pixels = round(length / nm_per_pixel)
    font, margin = default_font(12), 8
    if pixels < 4 or image.height < 40 or font.getlength(text) > image.width - 2 * margin:
        return from_image(image)
    draw = ImageDraw.Draw(image)
    right, bottom = image.width - margin, image.height - margin
    left, top = right - pixels, bottom - 4
    draw.rectangle((left - 1, top - 1, right, bottom), fill=BLACK)
    draw.rectangle((left, top, right - 1, bottom - 1), fill=WHITE)
    middle = min((left + right) / 2, image.width - margin - font.getlength(text) / 2)
    draw.text((middle, top - 4), text, WHITE, font, "mb", stroke_width=1, stroke_fill=BLACK)
    return from_image(image)


def bar_length(width: int, nm_per_pixel: float) -> tuple[float, str]:
    """Return the longest round length that covers at most a third of a width, in nm and as text.

    Raises
    ------
    OptionError
        If the pixel size is not a positive length.
    """
    if not 1e-9 <= nm_per_pixel <= 1e15:
        raise OptionError(f"nm_per_pixel is a length from 1e-9 to 1e15 nm, not {nm_per_pixel!r}")
    room = width * nm_per_pixel / 3
    decade = math.floor(math.log10(room))
    steps = (mantissa * 10.0**power for power in (decade - 1, decade, decade + 1) for mantissa in (1, 2, 5))
    length = max(step for step in steps if step <= room)
    unit = max((unit for unit in _NM if _NM[unit] <= length), key=_NM.__getitem__, default="nm")
    return length, f"{length / _NM[unit]:g} {unit}"
