"""What zarr has no words for: provenance, offsets and layer types, in an attribute of our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from volumekit.errors import MetadataError
from volumekit.formats.arrays.document import Document, dump, load
from volumekit.formats.zarr import array_v2, array_v3

OWN = "volumekit"
"""The attribute."""

PROVENANCE = "provenance"


def own(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return our attribute, empty if there is none."""
    found = attributes.get(OWN)
    return found if isinstance(found, Mapping) else {}


def document_key(path: str, version: int) -> str:
    """Return the key of the object that holds the attributes of a node."""
    return path + (array_v2.ATTRIBUTES if version == 2 else array_v3.DOCUMENT)


def noted(data: bytes | None, key: str, provenance: Mapping[str, Any]) -> bytes:
    """Return the object that holds a node's attributes with a provenance in them.

    Parameters
    ----------
    data : bytes or None
        The object; None: there is none, and a group without anything else is made.
    key : str
        Its key.
    provenance : Mapping
        JSON values.
    """
    if key.endswith(array_v2.ATTRIBUTES):
        document = {} if data is None else load(data, key)
        return dump({**document, OWN: {**own(document), PROVENANCE: dict(provenance)}})
    document = {"zarr_format": 3, "node_type": "group"} if data is None else load(data, key)
    attributes = document.get("attributes") or {}
    if not isinstance(attributes, dict):
        raise MetadataError(f"attributes in {key} is {attributes!r}, not an object", key=key)
    inner: Document = {**attributes, OWN: {**own(attributes), PROVENANCE: dict(provenance)}}
    return dump({**document, "attributes": inner})


def provenance_in(data: bytes, key: str) -> Mapping[str, Any] | None:
    """Return the provenance in the object that holds a node's attributes, None if there is none."""
    document = load(data, key)
    attributes = document if key.endswith(array_v2.ATTRIBUTES) else document.get("attributes")
    found = own(attributes).get(PROVENANCE) if isinstance(attributes, Mapping) else None
    return found if isinstance(found, Mapping) else None
