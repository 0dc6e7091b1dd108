"""Pictures that a page drew: what can be asked for is found out before anything is drawn."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volumekit.errors import OptionError
from volumekit.storage.kvstore import os_error

if TYPE_CHECKING:
    from PIL.Image import Image

SIDES = (64, 4096)
"""The shortest and the longest side of a picture, in pixels."""


def saving(path: Any, size: tuple[int, int]) -> Callable[[bytes], Image]:
    """Return a function that opens a picture, and saves it if a path is given.

    Parameters
    ----------
    path : path or None
        Where to.
    size : tuple of int
        Width and height in pixels.

    Raises
    ------
    OptionError
        If the ending of the path stands for no format, its folder is not there, or no picture has this size.
    """
    from PIL import Image as Pillow

    if not all(SIDES[0] <= side <= SIDES[1] for side in size):
        raise OptionError(f"a picture of {size[0]} by {size[1]} pixels: each side has {SIDES[0]} to {SIDES[1]}")
    place = None if path is None else Path(path)
    if place is not None:
        _check(place)

    def save(data: bytes) -> Image:
        picture = Pillow.open(io.BytesIO(data)).convert("RGB")
        if place is not None:
            try:
                picture.save(place)
            except OSError as error:
                raise os_error(error, key=str(place)) from error
        return picture

    return save


def _check(place: Path) -> None:
    from PIL import Image as Pillow

    if Pillow.registered_extensions().get(place.suffix.lower()) not in Pillow.SAVE:
        raise OptionError(f"{place.name!r} tells no format of a picture; name it something.png")
    if not place.parent.is_dir():
        raise OptionError(f"there is no folder {place.parent} to save {place.name} in")
