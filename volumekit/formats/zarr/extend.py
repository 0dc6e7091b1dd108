"""Coarser levels for an OME-Zarr image that is there; nothing is stored here.

Source: OME-NGFF 0.4 and 0.5. The new levels are laid out and described like those there are; a translation is the place
of the first voxel's centre.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from volumekit.errors import UnsupportedError
from volumekit.formats.arrays.document import Document, dump, load
from volumekit.formats.arrays.layer import Layer
from volumekit.formats.arrays.roles import CHANNEL
from volumekit.formats.zarr import array_v2, array_v3
from volumekit.formats.zarr.create import method_document
from volumekit.formats.zarr.multiscale import read_transforms
from volumekit.formats.zarr.omezarr import OmeZarr
from volumekit.model.bbox import Bbox
from volumekit.model.grid import centre_shift, coarser_bounds

Factor = tuple[int, int, int]

_NUMBER = re.compile(r"(.*?)(\d+)")


def with_coarser(
    image: OmeZarr, mip: int, factors: Sequence[Factor], *, kept: Iterable[int], method: str | None = None
) -> dict[str, bytes]:
    """Return the metadata objects of an image that gets coarser levels.

    Parameters
    ----------
    image : OmeZarr
        The image.
    mip : int
        The level to start from; one of those kept.
    factors : sequence of tuple of int
        From it to the first new level, and from each to the next, (x, y, z).
    kept : iterable of int
        Which of its levels the image keeps, in their order; the others are no longer listed.
    method : str, optional
        How the new levels are made.

    Returns
    -------
    dict
        All metadata of the image; `formats.base.Format.parse` makes the new one of them. New levels stand behind the
        kept ones.

    Raises
    ------
    UnsupportedError
        If the level to start from cannot be read.
    """
    base = image.layers[mip]
    if not isinstance(base, Layer):
        raise UnsupportedError(f"mip {mip} cannot be read: {base.error}")
    group = _Attributes(image)
    listed = [group.datasets[number] for number in kept]
    documents = _without(image, [d["path"] for d in group.datasets if d not in listed])
    paths = _paths([d["path"] for d in listed], len(factors))
    bounds, dataset = base.level.bounds, group.datasets[mip]
    for factor, path in zip(factors, paths, strict=True):
        coarser = coarser_bounds(bounds, factor)
        listed.append(_dataset(dataset, path, base, factor, (bounds, coarser)))
        documents |= _array(image, base, path, coarser)
        bounds, dataset = coarser, listed[-1]
    return documents | group.with_datasets(listed, method_document(method))


class _Attributes:
    """The attributes of an image's group, to be changed."""

    def __init__(self, image: OmeZarr) -> None:
        self._key, self._number = image.group.document, image.multiscale.number
        self._document = load(image.nodes[self._key], self._key)
        self._v3 = image.group.version == 3

    def _entry(self, document: Document) -> Document:
        holder: Document = document["attributes"] if self._v3 else document
        ome: Document = holder["ome"] if self._v3 and isinstance(holder.get("ome"), dict) else holder
        entry: Document = ome["multiscales"][self._number]
        return entry

    @property
    def datasets(self) -> list[Document]:
        """The levels as they are listed."""
        listed: list[Document] = self._entry(self._document)["datasets"]
        return listed

    def with_datasets(self, datasets: Sequence[Document], method: Document) -> dict[str, bytes]:
        """Return the metadata object with other levels, and what is said of how they are made."""
        changed = copy.deepcopy(self._document)
        changed.pop("consolidated_metadata", None)
        self._entry(changed).update({"datasets": list(datasets), **method})
        return {self._key: dump(changed)}


def _without(image: OmeZarr, paths: Sequence[str]) -> dict[str, bytes]:
    folders = tuple(f"{image.group.path}{path.strip('/')}/" for path in paths)
    return {key: data for key, data in image.nodes.items() if not key.startswith(folders)}


def _paths(taken: Sequence[str], count: int) -> list[str]:
    """Return folders of new levels, named on like the last one that ends in a number."""
    matches = [match for match in map(_NUMBER.fullmatch, reversed(taken)) if match]
    lead = matches[0][1] if matches else ""
    highest = max((int(match[2]) for match in matches if match[1] == lead), default=len(taken) - 1)
    return [f"{lead}{highest + n}" for n in range(1, count + 1)]


def _dataset(finer: Document, path: str, base: Layer, factor: Factor, bounds: tuple[Bbox, Bbox]) -> Document:
    """Return a level as it is listed; where the finer one says nothing of its scale, neither does this one."""
    transforms = finer.get("coordinateTransformations")
    if transforms is None:
        return {"path": path}
    rank = len(base.array.shape)
    scale, translation = read_transforms(transforms, rank, base.array.document)
    sizes = list(scale or (Fraction(1),) * rank)
    places = list(translation or (Fraction(0),) * rank)
    low, high = (box.minpt.tolist() for box in bounds)
    for axis, dim in enumerate(base.roles.places[:CHANNEL]):
        if dim is not None:
            places[dim] += centre_shift(factor[axis], low[axis], high[axis]) * sizes[dim]
            sizes[dim] *= factor[axis]
    return {
        "path": path,
        "coordinateTransformations": [
            {"type": "scale", "scale": [float(size) for size in sizes]},
            {"type": "translation", "translation": [float(place) for place in places]},
        ],
    }


def _array(image: OmeZarr, base: Layer, path: str, bounds: Bbox) -> dict[str, bytes]:
    """Return the metadata of a level's array: that of the base, of another shape."""
    array, folder = base.array, f"{image.group.path}{path}/"
    shape = list(array.shape)
    for dim, size in zip(base.roles.places[:CHANNEL], bounds.size().tolist(), strict=True):
        if dim is not None:
            shape[dim] = size
    described = load(image.nodes[array.document], array.document)
    described["shape"] = shape
    if image.group.version == 3:
        return {folder + array_v3.DOCUMENT: dump({**described, "attributes": {}})}
    documents = {folder + array_v2.DOCUMENT: dump(described)}
    if any(array.names):
        notes: dict[str, Any] = {"_ARRAY_DIMENSIONS": list(array.names)}
        documents[folder + array_v2.ATTRIBUTES] = dump(notes)
    return documents
