"""Cutouts as pictures in a folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import OptionError, ShapeError
from volumekit.picture.image import to_image
from volumekit.picture.planes import colour_labels, contrast, to_uint8
from volumekit.storage.kvstore import os_error

if TYPE_CHECKING:
    from volumekit.volume.cutout import VolumeCutout

_AXES = "xyz"
_SAMPLE = 1 << 22
_SUFFIXES = {"JPEG": "jpg", "TIFF": "tif", "JPEG2000": "jp2"}


def save_images(
    cutout: VolumeCutout,
    directory: str | Path | None = None,
    *,
    axis: str = "z",
    channel: int | None = None,
    image_format: str = "PNG",
) -> Path:
    """Save the slices of a cutout along an axis as pictures to look at.

    Labels are coloured, each label alike in all slices. Images are stretched to black and white, all slices
    alike; three channels make a colour picture, any other number one picture each.

    Parameters
    ----------
    cutout : VolumeCutout
        (x, y, z, channel), or what slicing and transposing makes of it.
    directory : path, optional
        Folder to write to; default ``./saved_images/<dataset>/<layer>/<bounds>``.
    axis : {"x", "y", "z"}
        Axis to slice along. Of the others the first runs rightwards, the second downwards.
    channel : int, optional
        Only this channel.
    image_format : str
        Any format Pillow writes, such as PNG or JPEG.

    Returns
    -------
    pathlib.Path
        The folder. Pictures are named by axis and coordinate, ``z0012.png``.

    Raises
    ------
    OptionError
        If an option is wrong, or Pillow cannot write the format.
    ShapeError
        If the array is empty, or is no longer one of voxels.
    StorageError
        If the folder cannot be written.
    """
    if axis not in _AXES or len(axis) != 1:
        raise OptionError(f"axis is {axis!r}; it is x, y or z")
    suffix = _suffix(image_format)
    voxels = voxels_of(cutout)
    if channel is not None and not 0 <= channel < voxels.shape[3]:
        raise OptionError(f"channel is {channel}; the cutout has {voxels.shape[3]}, counted from 0")
    shown = voxels if channel is None else voxels[..., channel : channel + 1]
    along = _AXES.index(axis)
    numbers = _coordinates(cutout, along, voxels.shape[along])
    folder = Path(directory) if directory is not None else _folder(cutout)
    labels = cutout.layer_type == "segmentation" and voxels.dtype.kind in "bui"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for mark, part in _parts(shown, labels, channel):
            limits = None if labels else _limits(part)
            for number, plane in zip(numbers, np.moveaxis(part, along, 0), strict=True):
                picture = colour_labels(plane) if labels else to_uint8(plane, range=limits)
                to_image(picture).save(folder / f"{axis}{number}{mark}.{suffix}", image_format)
    except OSError as error:
        raise os_error(error, key=str(folder)) from error
    return folder


def _suffix(image_format: str) -> str:
    from PIL import Image

    Image.init()
    if image_format.upper() not in Image.SAVE:
        raise OptionError(f"Pillow writes no {image_format!r}; try PNG, JPEG or TIFF")
    return _SUFFIXES.get(image_format.upper(), image_format.lower())


def voxels_of(cutout: VolumeCutout) -> NDArray[Any]:
    """Return the array as (x, y, z, channel), whatever axes were dropped, added or exchanged."""
    array: NDArray[Any] = cutout.view(np.ndarray)
    if cutout._place is not None:
        axes = cutout._place.axes
        array = array[tuple(0 if axis is None else slice(None) for axis in axes)]
        kept = [axis for axis in axes if axis is not None]
        array = array.transpose([kept.index(axis) for axis in sorted(kept)])
        array = array[tuple(slice(None) if axis in kept else None for axis in range(4))]
    elif array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or not array.size:
        raise ShapeError(f"pictures are made of voxels (x, y, z, channel), not of an array of shape {array.shape}")
    return array


def _coordinates(cutout: VolumeCutout, along: int, count: int) -> list[str]:
    """Return what the slices are named by: their coordinates, as wide as the widest."""
    place = cutout._place
    first, step = (place.first[along], place.step[along]) if place is not None else (0, 1)
    values = [first + n * step for n in range(count)]
    digits = max(len(str(abs(value))) for value in values)
    return [f"{'-' if value < 0 else ''}{abs(value):0{digits}}" for value in values]


def _folder(cutout: VolumeCutout) -> Path:
    bounds = cutout.bounds
    parts = [cutout.dataset_name or "", cutout.layer or "", bounds.to_filename() if bounds is not None else ""]
    return Path("saved_images", *(part for part in parts if part and part not in ("/", "..")))


def _parts(voxels: NDArray[Any], labels: bool, channel: int | None) -> list[tuple[str, NDArray[Any]]]:
    """Return what becomes a series of pictures each, with the ending of its names."""
    channels = voxels.shape[3]
    if channels == 1 or (channels == 3 and not labels):
        return [("", voxels)]
    return [(f"_{n}", voxels[..., n : n + 1]) for n in range(channels)]


def _limits(voxels: NDArray[Any]) -> tuple[float, float] | None:
    """Return the range to stretch, from a sample of all slices."""
    step = math.ceil((voxels.size / _SAMPLE) ** (1 / 3))
    return contrast(voxels[::step, ::step, ::step].reshape(-1, 1))
