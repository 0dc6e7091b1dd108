"""The list of label images beside the levels of an OME-Zarr image, in the group ``labels``; nothing is stored here.

Source: OME-NGFF 0.4 and 0.5.
"""

from __future__ import annotations

from collections.abc import Mapping

from volumekit.errors import MetadataError
from volumekit.formats.arrays.document import Document, dump, load, member
from volumekit.formats.arrays.format import Choices
from volumekit.formats.zarr import array_v2, array_v3
from volumekit.formats.zarr.multiscale import choose_multiscale
from volumekit.formats.zarr.nodes import Group, read_node

FOLDER = "labels"
IMAGE = (array_v3.DOCUMENT, array_v2.DOCUMENT, array_v2.GROUP, array_v2.ATTRIBUTES)
"""Keys within the image's group of what `image_in` looks at."""


def image_in(have: Mapping[str, bytes | None]) -> tuple[int, int] | None:
    """Return the version of zarr that an image is in, and how many levels it has; None if there is no image.

    Parameters
    ----------
    have : Mapping
        The objects `IMAGE`; None: it does not exist.

    Raises
    ------
    MetadataError, UnsupportedError
        If they cannot be understood.
    """
    try:
        missing = next(read_node(have))
    except StopIteration as stop:
        node = stop.value
        if not isinstance(node, Group) or "multiscales" not in node.ome:
            return None
        return node.version, len(choose_multiscale(node, Choices({})).datasets)
    raise AssertionError(f"{missing} was not looked up")


def list_key(version: int) -> str:
    """Return the key, within the image's group, of the object that holds the list."""
    return f"{FOLDER}/{array_v2.ATTRIBUTES if version == 2 else array_v3.DOCUMENT}"


def list_group(version: int) -> dict[str, bytes]:
    """Return what makes ``labels`` a group, by key within the image's group, where it is not the list itself."""
    return {f"{FOLDER}/{array_v2.GROUP}": dump({"zarr_format": 2})} if version == 2 else {}


def without_copies(data: bytes) -> bytes:
    """Return the ``zarr.json`` of a group without the consolidated metadata of what is in it."""
    whole = load(data, array_v3.DOCUMENT)
    whole.pop("consolidated_metadata", None)
    return dump(whole)


def with_label(data: bytes | None, name: str, version: int) -> bytes:
    """Return the object that holds the list, with a label in it.

    Parameters
    ----------
    data : bytes or None
        The object; None: there is none yet.
    name : str
        The label; it may be in the list.
    version : int
        Of zarr.

    Raises
    ------
    MetadataError
        If the list cannot be understood.
    """
    key = list_key(version)
    new: Document = {} if version == 2 else {"zarr_format": 3, "node_type": "group"}
    whole = new if data is None else load(data, key)
    ome = whole
    if version == 3:
        attributes = member(whole.setdefault("attributes", {}), "attributes", key)
        ome = member(attributes.setdefault("ome", {}), "ome", key)
        ome.setdefault("version", "0.5")
    names = ome.setdefault("labels", [])
    if not isinstance(names, list):
        raise MetadataError(f"labels in {key} is {names!r}, not a list", key=key)
    if name not in names:
        names.append(name)
    return dump(whole)
