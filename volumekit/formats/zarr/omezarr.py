"""OME-Zarr: multiscale images in zarr v2 (0.1 to 0.4) and v3 (0.5).

Sources: OME-NGFF 0.4 and 0.5; where real data differ from it, what Neuroglancer and ome-zarr-py accept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Self

import numpy as np

from volumekit.errors import MetadataError, VolumekitError
from volumekit.formats.arrays.array import StoredArray
from volumekit.formats.arrays.format import Choices, Have, Reading, fetched
from volumekit.formats.arrays.layer import Layer, broken, describe
from volumekit.formats.arrays.placement import Scaled, in_nm, place
from volumekit.formats.arrays.roles import CHANNEL, Roles, assign
from volumekit.formats.base import AT
from volumekit.formats.zarr import array_v2, array_v3
from volumekit.formats.zarr.choosing import find_image
from volumekit.formats.zarr.multiscale import Dataset, Multiscale, channel_notes, choose_multiscale, sound_omero
from volumekit.formats.zarr.nodes import Group, kept, read_node
from volumekit.formats.zarr.rooted import Rooted
from volumekit.model.axis import Axis
from volumekit.model.level import Level

_ONE = Fraction(1)
SLACK = (2, Fraction(2, 100))
"""By how many voxels, and which share, the extents of two levels may differ: writers round in all ways."""


class OmeZarr(Rooted):
    """An OME-Zarr image.

    Parameters
    ----------
    nodes, layers, kind
        As for `ArrayFormat`.
    group : Group
        The group that holds the image.
    multiscale : Multiscale
        What it says of it.
    channel : Axis, optional
        The channel axis, with names and colours of the channels.

    Attributes
    ----------
    choices : bytes or None
        What was chosen of parts and further axes, as `formats.base.AT` has it.
    """

    name: ClassVar[str] = "ome-zarr"

    def __init__(
        self,
        nodes: Mapping[str, bytes],
        layers: Sequence[Layer | Level],
        kind: str,
        *,
        group: Group,
        multiscale: Multiscale,
        channel: Axis | None = None,
    ) -> None:
        super().__init__(nodes, layers, kind)
        self.group, self.multiscale, self._channel = group, multiscale, channel
        self.path, self.version = group.path, group.version
        self.choices: bytes | None = None

    @classmethod
    def reading(cls, have: Have) -> Reading[Self]:
        """Read an image."""
        choices = Choices(have)
        group = yield from find_image(have, choices)
        multiscale = choose_multiscale(group, choices)
        document = array_v3.DOCUMENT if group.version == 3 else array_v2.DOCUMENT
        yield from fetched(have, *(f"{group.path}{dataset.path}/{document}" for dataset in multiscale.datasets))
        found = yield from _read_arrays(have, group, multiscale)
        arrays = [array for array in found if isinstance(array, StoredArray)]
        if not arrays:
            raise found[0] if isinstance(found[0], Exception) else MetadataError("no levels", key=group.document)
        multiscale = multiscale.of_rank(len(arrays[0].shape))
        roles, channel = _roles(arrays[0], multiscale, group, choices)
        layers = Pyramid(group, multiscale, roles, found).layers()
        kind = "segmentation" if _is_label(group) and arrays[0].dtype.kind in "iu" else "image"
        made = cls(kept(have), layers, kind, group=group, multiscale=multiscale, channel=channel)
        made.choices = have.get(AT)
        return made

    @property
    def omero(self) -> Mapping[str, Any] | None:
        """Names, colours and windows of the channels, as OME-Zarr has them; None if they are not all there."""
        count = next((level.channels for level in self.levels if level.error is None), 0)
        return sound_omero(self.group.ome.get("omero"), count)

    def axes(self, level: Level) -> tuple[Axis, ...]:
        """Return x, y, z and channel, and the axes that are fixed."""
        axes = super().axes(level)
        return axes if self._channel is None else (*axes[:CHANNEL], self._channel, *axes[CHANNEL + 1 :])


def _is_label(group: Group) -> bool:
    return "image-label" in group.ome or "/labels/" in f"/{group.path}"


def _read_arrays(have: Have, group: Group, multiscale: Multiscale) -> Reading[list[StoredArray | VolumekitError]]:
    found = []
    for dataset in multiscale.datasets:
        array = yield from _read_array(have, group, dataset)
        found.append(array)
    return found


def _read_array(have: Have, group: Group, dataset: Dataset) -> Reading[StoredArray | VolumekitError]:
    """Read the array of a level, or return why there is none."""
    folder = f"{group.path}{dataset.path}/"
    try:
        node = yield from read_node(have, folder, group.version)
    except VolumekitError as error:
        return error
    if isinstance(node, StoredArray):
        return node
    document = folder + ("zarr.json" if group.version == 3 else ".zarray")
    problem = "is missing" if node is None else "describes a group, not an array"
    return MetadataError(
        f"{document} {problem}, though {group.document} lists {dataset.path!r} as a level", key=document
    )


def _roles(array: StoredArray, multiscale: Multiscale, group: Group, choices: Choices) -> tuple[Roles, Axis | None]:
    axes = multiscale.axes
    if len(axes) != len(array.shape):
        raise MetadataError(
            f"{array.document} has {len(array.shape)} dimensions, {group.document} {len(axes)} axes", key=array.document
        )
    places, dims = assign([axis.name for axis in axes], [axis.kind for axis in axes])
    if not all(array.shape):
        raise MetadataError(f"{array.document} describes an array without voxels, {array.shape}", key=array.document)
    scale = multiscale.datasets[0].scale or (_ONE,) * len(axes)
    further = tuple(
        Axis(
            axes[dim].name,
            axes[dim].kind or "",
            array.shape[dim],
            _float(scale[dim]),
            axes[dim].unit,
            choices.position(axes[dim].name, array.shape[dim]),
        )
        for dim in dims
    )
    choices.finish(["label", "multiscale", "series", "well", "field", *(axis.name for axis in further)])
    at = places[CHANNEL]
    if at is None:
        return Roles(places, further, dims), None
    labels, colors = channel_notes(group.ome.get("omero"), array.shape[at])
    channel = Axis(axes[at].name, "channel", array.shape[at], labels=labels, colors=colors)
    return Roles(places, further, dims), channel


def _float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return 1.0


class Pyramid:
    """The levels of an image, each checked against the finest one.

    Parameters
    ----------
    group, multiscale
        Where they are listed.
    roles : Roles
        Of the dimensions of all of them.
    found : sequence
        An array per level, or why there is none.
    """

    def __init__(
        self, group: Group, multiscale: Multiscale, roles: Roles, found: Sequence[StoredArray | VolumekitError]
    ) -> None:
        self._group, self._multiscale, self._roles, self._found = group, multiscale, roles, found
        self._first = next(array for array in found if isinstance(array, StoredArray))
        self._sound: dict[int, Scaled] = {}
        self._problems: dict[int, VolumekitError] = {}

    def layers(self) -> list[Layer | Level]:
        """Return the levels; one that does not fit the others says so instead of being opened."""
        for number, (dataset, array) in enumerate(zip(self._multiscale.datasets, self._found, strict=True)):
            try:
                if isinstance(array, VolumekitError):
                    raise array
                self._sound[number] = self._scaled(number, dataset, array)
            except VolumekitError as error:
                self._problems[number] = error
        if not self._sound:
            raise self._problems[0]
        placements = dict(zip(self._sound, place([*self._sound.values()], self._group.document), strict=True))
        return [self._layer(number, placements.get(number)) for number in range(len(self._found))]

    def _layer(self, number: int, placement: Any) -> Layer | Level:
        array, dataset = self._found[number], self._multiscale.datasets[number]
        problem = self._problems.get(number)
        if problem is None and isinstance(array, StoredArray):
            try:
                return describe(array, self._roles, placement)
            except MetadataError as error:
                problem = error
        assert problem is not None
        channels = self._roles.four(self._first.shape)[CHANNEL]
        return broken(f"{self._group.path}{dataset.path}", problem.message, np.dtype(self._first.dtype), channels)

    def _scaled(self, number: int, dataset: Dataset, array: StoredArray) -> Scaled:
        """Return where a level lies, checked."""
        first, key = self._first, array.document
        if array.dtype != first.dtype:
            raise MetadataError(f"{key} says {array.dtype}, {first.document} {first.dtype}", key=key)
        if len(array.shape) != len(first.shape):
            raise MetadataError(
                f"{key} has {len(array.shape)} dimensions, {first.document} {len(first.shape)}", key=key
            )
        if dataset.path in [other.path for other in self._multiscale.datasets[:number]]:
            raise MetadataError(f"{self._group.document} lists {dataset.path!r} twice", key=self._group.document)
        if not all(array.shape):
            raise MetadataError(f"{key} describes an array without voxels, {array.shape}", key=key)
        kept_dims = [*self._roles.dims, *(p for p in self._roles.places[CHANNEL:] if p is not None)]
        if any(array.shape[dim] != first.shape[dim] for dim in kept_dims):
            raise MetadataError(
                f"{key} is {array.shape}, {first.document} {first.shape}: only space may differ", key=key
            )
        self._check_scale(number, dataset, array)
        scale, translation = self._along(dataset, array)
        return Scaled(self._space(scale), self._space(translation, missing=0))

    def _along(self, dataset: Dataset, array: StoredArray) -> tuple[Sequence[Fraction], Sequence[Fraction]]:
        """Return scale and translation per dimension; where nothing is said, the extents tell the scale."""
        ratio = tuple(max(_ONE, Fraction(a, b)) for a, b in zip(self._first.shape, array.shape, strict=True))
        return dataset.scale or ratio, dataset.translation or (0 * _ONE,) * len(array.shape)

    def _space(self, values: Sequence[Fraction], missing: int = 1) -> tuple[Fraction, Fraction, Fraction]:
        axes = self._multiscale.axes
        x, y, z = (
            missing * _ONE if place is None else values[place] * in_nm(1, axes[place].unit)
            for place in self._roles.places[:CHANNEL]
        )
        return x, y, z

    def _check_scale(self, number: int, dataset: Dataset, array: StoredArray) -> None:
        """Refuse a level whose extent is not that of the finest one, or that is finer than the one before it."""
        key, sound = self._group.document, list(self._sound)
        if dataset.scale is None or not sound:
            return
        finest, before = self._multiscale.datasets[sound[0]], self._multiscale.datasets[sound[-1]]
        top = self._found[sound[0]]
        assert isinstance(top, StoredArray)
        for dim in (dim for dim in self._roles.places[:CHANNEL] if dim is not None):
            size, fine = dataset.scale[dim], (finest.scale or (_ONE,) * len(array.shape))[dim]
            extent, whole = array.shape[dim] * size, top.shape[dim] * fine
            name = self._multiscale.axes[dim].name
            if abs(extent - whole) > max(SLACK[0] * max(size, fine), SLACK[1] * whole):
                raise MetadataError(
                    f"level {dataset.path!r} in {key} has {array.shape[dim]} voxels of scale {_float(size):g} along "
                    f"{name}, but {finest.path!r} has {top.shape[dim]} of {_float(fine):g}: one of them is wrong",
                    key=key,
                )
            if size < (before.scale or (_ONE,) * len(array.shape))[dim]:
                raise MetadataError(
                    f"level {dataset.path!r} in {key} is finer along {name} than {before.path!r} before it; levels are "
                    "listed from fine to coarse",
                    key=key,
                )
