"""Planes of uint8 and Pillow images of them: the one place where the axes are turned round."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from volumekit.errors import CastError, ShapeError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

Picture = NDArray[np.uint8]
"""A plane ready to be shown: uint8, (u, v) or (u, v, 3); u runs rightwards, v downwards."""


def checked_plane(plane: ArrayLike) -> NDArray[Any]:
    """Return a plane as an array; a single channel, (u, v, 1), is dropped.

    Raises
    ------
    ShapeError
        If it is not (u, v) or (u, v, 3), or has no voxels.
    """
    try:
        array = np.asarray(plane)
    except ValueError as error:
        raise ShapeError(f"no plane: {error}") from None
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise ShapeError(f"a plane has the shape (u, v) or (u, v, 3), not {array.shape}")
    if not array.size:
        raise ShapeError(f"a plane of shape {array.shape} has nothing to show")
    return array


def checked_picture(plane: ArrayLike) -> Picture:
    """Return a plane of uint8 as an array.

    Raises
    ------
    ShapeError, CastError
        If it is no plane, or not uint8: `to_uint8` makes it so.
    """
    array = checked_plane(plane)
    if array.dtype != np.uint8:
        raise CastError(f"a picture is uint8, not {array.dtype}: stretch it with to_uint8 first")
    return array


def to_rgb(plane: ArrayLike) -> Picture:
    """Return a uint8 plane as (u, v, 3); grey becomes three equal colours."""
    array = checked_picture(plane)
    return array if array.ndim == 3 else np.repeat(array[:, :, None], 3, axis=2)


def default_font(size: int) -> FreeTypeFont | ImageFont:
    """Return Pillow's own font, so that pictures look the same on every machine."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def to_image(plane: ArrayLike) -> Image:
    """Return a Pillow image of a uint8 plane: u runs rightwards, v downwards.

    Raises
    ------
    ShapeError, CastError
        If this is no plane, or not uint8.
    """
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(checked_picture(plane).swapaxes(0, 1)))


def from_image(image: Image) -> Picture:
    """Return the plane of a grey or RGB image, (u, v) or (u, v, 3): the inverse of `to_image`."""
    return np.array(image).swapaxes(0, 1)


def png_bytes(image: Image | ArrayLike) -> bytes:
    """Return a PNG file of an image, or of a uint8 plane."""
    from PIL.Image import Image as PillowImage

    file = io.BytesIO()
    (image if isinstance(image, PillowImage) else to_image(image)).save(file, "PNG", optimize=True)
    return file.getvalue()


def data_uri(image: Image | ArrayLike) -> str:
    """Return a PNG of an image or a uint8 plane as a ``data:`` URL, for ``<img src=...>``."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(image)).decode("ascii")
