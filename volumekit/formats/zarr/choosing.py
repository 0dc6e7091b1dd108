"""Finding the image in a hierarchy: labels, series, wells and fields.

Sources: OME-NGFF 0.4 and 0.5 (``labels``, ``plate``, ``well``, ``bioformats2raw.layout``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from volumekit.errors import MetadataError, OptionError
from volumekit.formats.arrays.array import StoredArray
from volumekit.formats.arrays.format import Choices, Have, Reading
from volumekit.formats.base import WrongFormat
from volumekit.formats.zarr.nodes import Group, children, read_node

_LISTED = 12
"""More wells, series or arrays are not named in a message."""


def find_image(have: Have, choices: Choices) -> Reading[Group]:
    """Find the group that holds the multiscales wanted.

    Raises
    ------
    WrongFormat
        If the root is no zarr group.
    MetadataError
        If there is no multiscale; it names what there is.
    OptionError
        If something has to be chosen, or what was chosen is not there.
    """
    node = yield from read_node(have)
    if node is None:
        raise WrongFormat("there is no zarr.json or .zgroup")
    if isinstance(node, StoredArray):
        raise WrongFormat("it is a zarr array, not a group")
    group: Group = node
    if "plate" in group.ome:
        group = yield from _well(have, group, choices)
    if "well" in group.ome:
        group = yield from _field(have, group, choices)
    if "bioformats2raw.layout" in group.ome and "multiscales" not in group.ome:
        group = yield from _series(have, group, choices)
    label = choices.take("label")
    if label is not None:
        group = yield from _label(have, group, label)
    if "multiscales" not in group.ome:
        raise (yield from _no_image(have, group))
    return group


def _no_image(have: Have, group: Group) -> Reading[MetadataError]:
    """Return the error for a group without multiscales, with what is in it."""
    inside = yield from children(have, group.path)
    labels = group.ome.get("labels")
    what = "a list of labels" if isinstance(labels, list) else "a zarr group without multiscales, so no image"
    names = [str(name) for name in labels] if isinstance(labels, list) else inside
    hint = f"; open one of what is in it: {_few(names)}" if names else ""
    return MetadataError(f"{group.document} describes {what}{hint}", key=group.document)


def _few(names: Sequence[str]) -> str:
    more = f", … ({len(names)} in all)" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _paths(group: Group, member: str, entries: str) -> list[str]:
    """Return the ``path`` of each entry of a list, ``entries``, in ``member`` of a group."""
    holder = group.ome.get(member)
    found = holder.get(entries) if isinstance(holder, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(e, Mapping) and isinstance(e.get("path"), str) for e in found):
        raise MetadataError(f"{member} in {group.document} lists no {entries} with a path", key=group.document)
    return [str(entry["path"]).strip("/") for entry in found]


def _enter(have: Have, group: Group, path: str) -> Reading[Group]:
    """Return a group inside a group."""
    folder = f"{group.path}{path}/"
    if ".." in path.split("/"):
        raise MetadataError(f"{group.document} refers to {path!r}, outside the dataset", key=group.document)
    node = yield from read_node(have, folder, group.version)
    if not isinstance(node, Group):
        raise MetadataError(
            f"{group.document} refers to {path!r}, but there is no group in {folder}", key=group.document
        )
    return node


def _well(have: Have, group: Group, choices: Choices) -> Reading[Group]:
    wells = _paths(group, "plate", "wells")
    chosen = choices.take("well")
    if chosen not in wells:
        example = wells[0] if wells else "A/1"
        found = "" if chosen is None else f" has no well {chosen!r}; it"
        fields = yield from _fields_of(have, group, example)
        raise OptionError(
            f"this{found} is a plate of {len(wells)} wells: {_few(wells)}, each with images, its fields; open one with "
            f"at={{'well': {example!r}}}, and at={{'field': n}} for its other fields; or by the path of a field, "
            f"such as {_few([f'{example}/{name}' for name in fields])}"
        )
    return (yield from _enter(have, group, chosen))


def _fields_of(have: Have, plate: Group, well: str) -> Reading[list[str]]:
    """Return the paths of the fields of a well, one as they usually are if it cannot be read."""
    try:
        found = _paths((yield from _enter(have, plate, well)), "well", "images")
    except MetadataError:
        return ["0"]
    return found or ["0"]


def _field(have: Have, group: Group, choices: Choices) -> Reading[Group]:
    fields = _paths(group, "well", "images")
    number = choices.position("field", len(fields))
    if not fields:
        raise MetadataError(f"the well in {group.document} has no fields", key=group.document)
    return (yield from _enter(have, group, fields[number]))


def _series(have: Have, group: Group, choices: Choices) -> Reading[Group]:
    """Choose one of several images side by side; they are listed in ``OME``, or numbered."""
    listed: Any = None
    node = yield from read_node(have, f"{group.path}OME/", group.version)
    if isinstance(node, Group):
        listed = node.ome.get("series")
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        inside = yield from children(have, group.path)
        listed = sorted((name for name in inside if name.isdecimal()), key=int) or ["0"]
    number = choices.position("series", len(listed))
    if not listed:
        raise MetadataError(f"{group.path}OME lists no series", key=group.document)
    return (yield from _enter(have, group, listed[number].strip("/")))


def _label(have: Have, group: Group, label: Any) -> Reading[Group]:
    node = yield from read_node(have, f"{group.path}labels/", group.version)
    listed = node.ome.get("labels") if isinstance(node, Group) else None
    names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    if isinstance(node, Group) and isinstance(label, str) and label in names:
        return (yield from _enter(have, node, label))
    raise OptionError(
        f"there is no label {label!r}; " + (f"there is {_few(names)}" if names else "there are no labels")
    )
