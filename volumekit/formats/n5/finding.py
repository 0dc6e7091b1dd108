"""Finding the volume in a container: datasets, pyramids, Paintera's and BigDataViewer's folders.

Sources: n5-viewer, Paintera's data format, bigdataviewer-core's ``bdv.n5``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from volumekit.errors import MetadataError, OptionError, UnsupportedError
from volumekit.formats.arrays.document import load
from volumekit.formats.arrays.format import Choices, Have, Reading, fetched
from volumekit.formats.base import WrongFormat
from volumekit.formats.n5.array import DOCUMENT, is_dataset
from volumekit.formats.zarr.nodes import children

PARTS = ("setup", "timepoint", "multiscale")
"""What can be chosen of a container."""

NEWEST = 4
"""The newest version of the format, as containers tell it; n5-java refuses greater ones too."""

_LISTED = 12


@dataclass(frozen=True)
class Node:
    """A folder.

    Attributes
    ----------
    path : str
        The folder within the dataset; empty or ends in ``/``.
    attributes : Mapping
        What its ``attributes.json`` says, and what the folders above say for it.
    """

    path: str
    attributes: Mapping[str, Any]

    @property
    def document(self) -> str:
        """Key of its attributes."""
        return self.path + DOCUMENT


def read_attributes(have: Have, path: str) -> Reading[dict[str, Any] | None]:
    """Read the attributes of a folder, None if it has none.

    Raises
    ------
    MetadataError
        If they are no JSON object.
    """
    (text,) = yield from fetched(have, path + DOCUMENT)
    return None if text is None else load(text, path + DOCUMENT)


def find(have: Have, choices: Choices) -> Reading[Node]:
    """Find the dataset, or the group that holds the levels.

    Raises
    ------
    WrongFormat
        If this is no N5.
    MetadataError
        If it is a container without a volume at its root; it names what there is.
    OptionError
        If a part was chosen that is not there.
    """
    yield from fetched(have, *(path + DOCUMENT for path in ("", "s0/", "data/", "setup0/")))
    root = yield from read_attributes(have, "")
    attributes = root or {}
    _check_version(attributes)
    if is_dataset(root) or "multiscales" in attributes or (yield from _leveled(have, "")):
        return Node("", attributes)
    inner = yield from read_attributes(have, "data/")
    if is_dataset(inner) or (yield from _leveled(have, "data/")):
        return Node("data/", {**attributes, **(inner or {})})
    found = yield from _setup(have, choices, attributes)
    if found is not None:
        return found
    if "n5" in attributes:
        raise (yield from _no_volume(have))
    raise WrongFormat("there is no attributes.json of a dataset, and no s0")


def _check_version(attributes: Mapping[str, Any]) -> None:
    major = str(attributes.get("n5", NEWEST)).partition(".")[0]
    if not major.isdecimal() or int(major) > NEWEST:
        told = attributes["n5"]
        raise UnsupportedError(f"{DOCUMENT} is of version {told} of N5; up to {NEWEST} is read", key=DOCUMENT)


def _leveled(have: Have, path: str) -> Reading[bool]:
    """Tell whether a folder has a finest level."""
    return is_dataset((yield from read_attributes(have, f"{path}s0/")))


def _setup(have: Have, choices: Choices, attributes: Mapping[str, Any]) -> Reading[Node | None]:
    """Choose a setup and a timepoint of BigDataViewer's; the dataset may be a setup by itself."""
    setup, timepoint = _number(choices, "setup"), _number(choices, "timepoint")
    told = yield from read_attributes(have, f"setup{setup or 0}/")
    if told is None and setup is not None:
        raise (yield from _no_part(have, "", "setup", setup))
    folder = "" if told is None else f"setup{setup or 0}/"
    path = f"{folder}timepoint{timepoint or 0}/"
    if (yield from _leveled(have, path)):
        inner = yield from read_attributes(have, path)
        return Node(path, {**attributes, **(told or {}), **(inner or {})})
    if timepoint is not None or told is not None:
        raise (yield from _no_part(have, folder, "timepoint", timepoint or 0))
    return None


def _number(choices: Choices, name: str) -> int | None:
    chosen = choices.take(name)
    if chosen is None or (isinstance(chosen, int) and not isinstance(chosen, bool) and chosen >= 0):
        return chosen
    raise OptionError(f"at {name}={chosen!r}: it is a number from 0 on")


def _no_part(have: Have, folder: str, name: str, number: int) -> Reading[OptionError]:
    inside = yield from children(have, folder)
    there = sorted(child for child in inside if child.startswith(name))
    return OptionError(
        f"there is no {name}{number} in {folder or '/'}" + (f"; there is {_few(there)}" if there else "")
    )


def _no_volume(have: Have) -> Reading[MetadataError]:
    inside = yield from children(have, "")
    hint = f"; open one of what is in it: {_few(inside)}" if inside else ""
    return MetadataError(f"this is an N5 container without a volume at its root{hint}", key=DOCUMENT)


def _few(names: list[str]) -> str:
    more = f", … ({len(names)} in all)" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
