"""Label images that are made beside the levels of an OME-Zarr image get into its list of labels."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import Any

from volumekit.formats.base import Format
from volumekit.formats.zarr import OmeZarr, array_v2, array_v3
from volumekit.formats.zarr.labels import (
    FOLDER,
    IMAGE,
    image_in,
    list_group,
    list_key,
    with_label,
    without_copies,
)
from volumekit.model.url import URL
from volumekit.storage import open_store
from volumekit.storage.base import Store, Value

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
    _forget_copies(store, found)
    for key, data in list_group(version).items():
        store.update({key: functools.partial(_kept, data)}).result()
    store.update({list_key(version): functools.partial(_listed, url.name, version)}).result()


def _forget_copies(store: Store, found: Mapping[str, Value | None]) -> None:
    """Remove the image's consolidated metadata, in which there is no such label."""
    v2, v3 = array_v2.CONSOLIDATED, array_v3.DOCUMENT
    document = found[v3]
    if document is None:
        store.commit({v2: None}).result()
    elif b"consolidated_metadata" in document.data:
        store.update({v3: lambda value: None if value is None else without_copies(value.data)}).result()


def _kept(data: bytes, value: Value | None) -> bytes:
    return data if value is None else value.data


def _listed(name: str, version: int, value: Value | None) -> bytes:
    return with_label(None if value is None else value.data, name, version)
