"""A reader plug-in for napari: volumes become multiscale layers that read what is looked at.

``napari.yaml`` tells napari of it, through the entry point ``napari.manifest``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from volumekit.errors import (
    DatasetNotFoundError,
    MetadataError,
    MissingExtraError,
    OptionError,
    UnsupportedError,
    VolumekitError,
)
from volumekit.registry import load
from volumekit.volume.volume import Volume
from volumekit.volume.zero_based import ZeroBased

_COLOR = re.compile(r"[0-9A-Fa-f]{6}")

LayerData = tuple[Any, dict[str, Any], str]
"""What napari makes a layer of: the data, arguments of the layer, and its kind."""

Reader = Callable[[str | Sequence[str]], list[LayerData]]


def napari_get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return what reads a path, or None if that is no volume.

    Files that are no folders, folders of images, and what is no volume are left to other readers. Plates, their rows
    and versions of formats that are not read are no volumes either, but reading them tells why, and what could be
    opened.

    Parameters
    ----------
    path : str or sequence of str
        Path or URL; several of them make no volume.
    """
    if not isinstance(path, str) or os.path.isfile(path):  # noqa: PTH113 - it may be a URL
        return None
    try:
        volume = _opened(path)
    except MissingExtraError:
        raise
    except (OptionError, UnsupportedError):
        return read_layers  # which says what has to be chosen, or cannot be read
    except VolumekitError:
        return None
    return None if volume.cloudpath.startswith("stack:") else read_layers


def read_layers(path: str | Sequence[str]) -> list[LayerData]:
    """Return the layers of a volume.

    Parameters
    ----------
    path : str or sequence of str
        Path or URL, or a list of one.

    Returns
    -------
    list of tuple
        One layer (data, arguments, kind): dask arrays (z, y, x), or (channel, z, y, x) that napari makes one layer per
        channel of, with names and colours where the volume gives them. ``scale`` is the voxel size and
        ``translate`` the centre of the lowest voxel, in nm.

    Raises
    ------
    OptionError
        If it is a plate, or a row of one; lists the wells and tells the paths of fields.
    VolumekitError
        If it cannot be opened, or dask is not installed.
    """
    volume = _opened(path if isinstance(path, str) else path[0])
    levels = {mip: level for mip, level in enumerate(volume.levels) if level.error is None}
    data = [_lazily(volume, mip) for mip in levels]
    finest = next(iter(levels.values()))
    labels = volume.layer_type == "segmentation" and volume.num_channels == 1 and volume.dtype.kind in "iu"
    arguments: dict[str, Any] = {
        "name": volume.layer,
        "multiscale": len(data) > 1,
        "scale": finest.resolution[::-1],
        "translate": tuple((n + 0.5) * size for n, size in zip(finest.offset, finest.resolution, strict=True))[::-1],
        "metadata": {"url": volume.cloudpath, "unit": "nm"},
    }
    if not labels:
        arguments["rgb"] = False
    if volume.num_channels > 1:
        arguments |= {"channel_axis": 0, **_channels(volume)}
    return [(data if len(data) > 1 else data[0], arguments, "labels" if labels else "image")]


def _opened(path: str) -> Volume:
    """Open a volume; of the row of a plate the error is that of the plate."""
    try:
        return Volume(path)
    except (MetadataError, DatasetNotFoundError):
        plate, _, row = path.rstrip("/").rpartition("/")
        if plate and row:
            _refuse_plate(plate)
        raise


def _refuse_plate(path: str) -> None:
    try:
        Volume(path)
    except OptionError as error:
        raise OptionError(f"this lies in {path}, which cannot be opened whole: {error.message}", url=path) from None
    except VolumekitError:
        return


def _channels(volume: Volume) -> dict[str, list[str]]:
    """Return names and colours of the channels, as far as the volume has them."""
    channel = volume.axes[3]
    named = {"name": [f"{volume.layer} {label}" for label in channel.labels]} if channel.labels else {}
    colored = all(_COLOR.fullmatch(color) for color in channel.colors)
    return {**named, **({"colormap": [f"#{color}" for color in channel.colors]} if channel.colors and colored else {})}


def _lazily(volume: Volume, mip: int) -> Any:
    """Return a mip as a dask array, (z, y, x) or (channel, z, y, x)."""
    volume.mip = mip
    axes = "czyx" if volume.num_channels > 1 else "zyx"
    return load("volumekit.volume.dask:as_dask[dask]")(ZeroBased(volume._snapshot(), axes), "auto")
