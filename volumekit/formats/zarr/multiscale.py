"""The ``multiscales`` of OME-Zarr: axes, and a scale and translation for each level.

Sources: OME-NGFF 0.1 to 0.5.
"""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from volumekit.errors import MetadataError, OptionError, UnsupportedError
from volumekit.formats.arrays.document import MAX_RANK, finite, member, numbers
from volumekit.formats.arrays.format import Choices
from volumekit.formats.zarr.nodes import Group
from volumekit.model.units import exact

_COLOR = re.compile(r"[0-9A-Fa-f]{6}")
_READABLE = re.compile(r"0\.[1-5](\D.*)?")
OLD_AXES = ("t", "c", "z", "y", "x")
"""Axes of OME-Zarr before 0.3, where they were not written down."""

_ONE = Fraction(1)


@dataclass(frozen=True)
class OmeAxis:
    """An axis: its name, ``type`` and ``unit``, as far as they are given."""

    name: str
    kind: str | None
    unit: str | None


@dataclass(frozen=True)
class Dataset:
    """A level: its folder, and scale and translation along each axis; None: nothing is said."""

    path: str
    scale: tuple[Fraction, ...] | None
    translation: tuple[Fraction, ...] | None


@dataclass(frozen=True)
class Multiscale:
    """One entry of ``multiscales``; ``implied`` tells that its axes are not written down."""

    number: int
    version: str
    name: str
    axes: tuple[OmeAxis, ...]
    datasets: tuple[Dataset, ...]
    implied: bool = False

    def of_rank(self, rank: int) -> Multiscale:
        """Return this with the axes of an array of that rank: where they are not written down, they are the last."""
        return replace(self, axes=self.axes[-rank:]) if self.implied else self


def choose_multiscale(group: Group, choices: Choices) -> Multiscale:
    """Return the multiscale wanted, by number or by name; the first one if nothing was chosen.

    Raises
    ------
    MetadataError, UnsupportedError
        If it cannot be understood, or is of a version that is not read.
    OptionError
        If there is none such.
    """
    entries = group.ome.get("multiscales")
    if not isinstance(entries, list) or not entries:
        raise MetadataError(f"multiscales in {group.document} is {entries!r}, not a list of images", key=group.document)
    objects = [member(entry, "an entry of multiscales", group.document) for entry in entries]
    chosen = choices.take("multiscale")
    names = [str(entry.get("name", number)) for number, entry in enumerate(objects)]
    if isinstance(chosen, str) and chosen in names:
        chosen = names.index(chosen)
    number = 0 if chosen is None else chosen
    if not isinstance(number, int) or not 0 <= number < len(objects):
        raise OptionError(f"there is no multiscale {chosen!r}; there are {len(names)}: {', '.join(names)}")
    return _parse(objects[number], number, group)


def _parse(entry: Mapping[str, Any], number: int, group: Group) -> Multiscale:
    key = group.document
    version = str(group.ome.get("version") or entry.get("version") or ("0.5" if group.version == 3 else "0.4"))
    if not _READABLE.fullmatch(version):
        raise UnsupportedError(
            f"{key} is OME-Zarr {version}, which is not read, only 0.1 to 0.5; store it as 0.5, or open one of its "
            "arrays by its own path",
            key=key,
        )
    axes = _axes(entry.get("axes"), key)
    listed = entry.get("datasets")
    if not isinstance(listed, list) or not listed:
        raise MetadataError(f"datasets in {key} is {listed!r}, not a list of levels", key=key)
    over = read_transforms(entry.get("coordinateTransformations"), len(axes), key)
    datasets = tuple(_dataset(dataset, len(axes), over, key) for dataset in listed)
    return Multiscale(number, version, str(entry.get("name") or ""), axes, datasets, entry.get("axes") is None)


def _axes(value: Any, key: str) -> tuple[OmeAxis, ...]:
    if value is None:
        return tuple(OmeAxis(name, _kind(name), None) for name in OLD_AXES)
    if not isinstance(value, list) or not 0 < len(value) <= MAX_RANK:
        raise MetadataError(f"axes in {key} is {value!r}, not a list", key=key)
    axes = tuple(_axis(axis, key) for axis in value)
    if len({axis.name for axis in axes}) < len(axes):
        raise MetadataError(f"two axes in {key} have the same name: {', '.join(a.name for a in axes)}", key=key)
    return axes


def _axis(value: Any, key: str) -> OmeAxis:
    if isinstance(value, str):
        return OmeAxis(value, _kind(value), None)
    found = member(value, "an axis", key)
    name, kind, unit = (found.get(part) for part in ("name", "type", "unit"))
    if not isinstance(name, str) or not all(part is None or isinstance(part, str) for part in (kind, unit)):
        raise MetadataError(f"an axis in {key} is {value!r}, without a name", key=key)
    return OmeAxis(name, kind if kind is not None else _kind(name), unit)


def _kind(name: str) -> str | None:
    return {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}.get(name)


Pair = tuple[tuple[Fraction, ...] | None, tuple[Fraction, ...] | None]


def _dataset(value: Any, rank: int, over: Pair, key: str) -> Dataset:
    found = member(value, "an entry of datasets", key)
    path = found.get("path")
    if not isinstance(path, str) or path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise MetadataError(f"a dataset in {key} has the path {path!r}, not a relative folder", key=key)
    folder = posixpath.normpath(path) if path else "."
    if folder == ".":
        raise MetadataError(f"a dataset in {key} has the path {path!r}, which is the group itself", key=key)
    scale, translation = _compose(read_transforms(found.get("coordinateTransformations"), rank, key), over, rank)
    return Dataset(folder, scale, translation)


def read_transforms(value: Any, rank: int, key: str) -> Pair:
    """Return scale and translation that a list of transformations comes to."""
    if value is None:
        return None, None
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise MetadataError(f"coordinateTransformations in {key} is {value!r}, not a list", key=key)
    total: Pair = (None, None)
    for entry in value:
        transform = member(entry, "a coordinate transformation", key)
        kind = transform.get("type")
        if kind not in ("identity", "scale", "translation"):
            raise UnsupportedError(
                f"a transformation in {key} is {kind!r}; known: identity, scale, translation", key=key
            )
        if kind == "scale":
            total = _compose(total, (_vector(transform, kind, rank, key), None), rank)
        elif kind == "translation":
            total = _compose(total, (None, _vector(transform, kind, rank, key)), rank)
    return total


def _vector(transform: Mapping[str, Any], kind: str, rank: int, key: str) -> tuple[Fraction, ...]:
    values = numbers(transform.get(kind), kind, key, read=finite, positive=kind == "scale")
    if len(values) != rank:
        raise MetadataError(f"a {kind} in {key} has {len(values)} numbers for {rank} axes", key=key)
    return tuple(exact(value) for value in values)


def _compose(first: Pair, second: Pair, rank: int) -> Pair:
    """Return the scale and translation of doing one after the other."""
    ones, zeros = (_ONE,) * rank, (0 * _ONE,) * rank
    (s, t), (a, b) = ((pair[0] or ones, pair[1] or zeros) for pair in (first, second))
    scale = tuple(x * y for x, y in zip(s, a, strict=True))
    translation = tuple(x * y + z for x, y, z in zip(t, a, b, strict=True))
    none = first[0] is None and second[0] is None
    still = first[1] is None and second[1] is None
    return None if none else scale, None if still else translation


def channel_notes(omero: Any, count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return names and colours of channels, as ``omero`` gives them; nothing where it does not give them all."""
    channels = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(channels, list) or len(channels) != count:
        return (), ()
    return _all(channels, "label"), _all(channels, "color")


def _all(channels: Iterable[Any], name: str) -> tuple[str, ...]:
    values = [channel.get(name) if isinstance(channel, Mapping) else None for channel in channels]
    texts = tuple(value for value in values if isinstance(value, str))
    return texts if len(texts) == len(values) else ()


def sound_omero(omero: Any, count: int) -> Mapping[str, Any] | None:
    """Return ``omero`` if it is what OME-Zarr says of so many channels, a colour and a window for each; else None."""
    channels = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(channels, list) or len(channels) != count:
        return None
    return omero if all(isinstance(channel, Mapping) and _is_shown(channel) for channel in channels) else None


def _is_shown(channel: Mapping[str, Any]) -> bool:
    color, window = channel.get("color"), channel.get("window")
    ends = [window.get(name) for name in ("min", "max", "start", "end")] if isinstance(window, Mapping) else [None]
    numbered = all(isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end) for end in ends)
    return isinstance(color, str) and _COLOR.fullmatch(color) is not None and numbered
