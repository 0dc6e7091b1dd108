"""Label images that are made beside the levels of an OME-Zarr image get into its list of labels."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import Any

from volumekit.formats.base import Format
from volumekit.formats.zarr import OmeZarr
from volumekit.formats.zarr.labels import FOLDER, IMAGE, image_in, list_group, list_key, with_label
from volumekit.model.url import URL
from volumekit.storage import open_store
from volumekit.storage.base import Value

log = logging.getLogger(__name__)


def list_label(url: URL, fmt: Format, *, options: Mapping[str, Any] | None, durable: bool) -> None:
    """Enter a segmentation at ``…/labels/NAME`` of an OME-Zarr image into the image's list, if it is not in it.

    Parameters
    ----------
    url : URL
        Where the new volume is.
    fmt : Format
        Its format.
    options, durable
        As for `open_store`.

    Raises
    ------
    MetadataError
        If the image's metadata cannot be understood.
    StorageError
        If the list cannot be read or written.
    """
    if not isinstance(fmt, OmeZarr) or fmt.layer_type != "segmentation" or url.base.name != FOLDER:
        return
    store, version = open_store(url.base.base, durable=durable, options=options), fmt.version
    found = {key: store.read(key).result() for key in IMAGE}
    image = image_in({key: None if value is None else value.data for key, value in found.items()})
    if image is None:
        return
    if image[0] != version:
        log.warning("%s is in zarr v%d, its image in v%d: its list of labels stays as it is", url, version, image[0])
        return
    if image[1] != len(fmt.levels):
        log.warning("%s has %d levels, its image %d; OME-Zarr wants as many", url, len(fmt.levels), image[1])
    for key, data in list_group(version).items():
        store.update({key: functools.partial(_kept, data)}).result()
    store.update({list_key(version): functools.partial(_listed, url.name, version)}).result()


def _kept(data: bytes, value: Value | None) -> bytes:
    return data if value is None else value.data


def _listed(name: str, version: int, value: Value | None) -> bytes:
    return with_label(None if value is None else value.data, name, version)
