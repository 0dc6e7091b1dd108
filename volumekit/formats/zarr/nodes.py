"""Nodes of a zarr hierarchy: groups and arrays, of v2 or v3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from volumekit.errors import MetadataError
from volumekit.formats.arrays.array import StoredArray
from volumekit.formats.arrays.document import Document, load, member
from volumekit.formats.arrays.format import Have, Reading, fetched
from volumekit.formats.zarr import array_v2, array_v3
from volumekit.formats.zarr.array_v2 import parse_v2
from volumekit.formats.zarr.array_v3 import parse_v3


@dataclass(frozen=True)
class Group:
    """A group.

    Attributes
    ----------
    path : str
        Its folder within the dataset; empty or ends in ``/``.
    version : int
        2 or 3.
    attributes : Mapping
        What it says.
    document : str
        Key of the file that holds the attributes, for messages.
    """

    path: str
    version: int
    attributes: Mapping[str, Any]
    document: str

    @property
    def ome(self) -> Mapping[str, Any]:
        """What OME-Zarr says: in v3 it has a member of its own."""
        inner = self.attributes.get("ome")
        return inner if self.version == 3 and isinstance(inner, dict) else self.attributes


Node = Group | StoredArray


def read_node(have: Have, path: str = "", version: int | None = None) -> Reading[Node | None]:
    """Read what is in a folder, None if it is neither group nor array.

    Parameters
    ----------
    have : Mapping
        The metadata fetched so far.
    path : str
        The folder; empty or ends in ``/``.
    version : int, optional
        2 or 3; default: whichever is there, v3 first.

    Raises
    ------
    MetadataError, UnsupportedError
        If it cannot be understood.
    """
    if version != 2:
        (text,) = yield from fetched(have, path + array_v3.DOCUMENT)
        if text is not None:
            return _node_v3(path, load(text, path + array_v3.DOCUMENT))
        if version == 3:
            return None
    array, group, attributes = yield from fetched(
        have, path + array_v2.DOCUMENT, path + array_v2.GROUP, path + array_v2.ATTRIBUTES
    )
    if array is not None:
        return parse_v2(path, array, attributes)
    return None if group is None else _group_v2(path, group, attributes)


def _node_v3(path: str, metadata: Document) -> Node:
    key = path + array_v3.DOCUMENT
    kind = metadata.get("node_type")
    if kind == "array":
        return parse_v3(path, metadata)
    if kind != "group" or metadata.get("zarr_format") != 3:
        raise MetadataError(
            f"{key} is of zarr_format {metadata.get('zarr_format')!r} and node_type {kind!r}; it should be 3, and"
            " group or array",
            key=key,
        )
    return Group(path, 3, member(metadata.get("attributes") or {}, "attributes", key), key)


def _group_v2(path: str, group: bytes, attributes: bytes | None) -> Group:
    key = path + array_v2.GROUP
    version = load(group, key).get("zarr_format")
    if version != 2:
        raise MetadataError(f"zarr_format in {key} is {version!r}, not 2", key=key)
    noted = path + array_v2.ATTRIBUTES
    return Group(path, 2, {} if attributes is None else load(attributes, noted), noted)


def kept(have: Have) -> dict[str, bytes]:
    """Return the metadata objects of zarr among all that was fetched."""
    names = (array_v2.DOCUMENT, array_v2.GROUP, array_v2.ATTRIBUTES, array_v3.DOCUMENT)
    return {key: data for key, data in have.items() if data is not None and key.rpartition("/")[2] in names}


def children(have: Have, path: str) -> Reading[list[str]]:
    """List the folders in a folder, as far as the storage can."""
    (listing,) = yield from fetched(have, path or "/")
    names = (listing or b"").decode("utf-8", "replace").split("\n")
    return [name.rstrip("/") for name in names if name.endswith("/")]
