"""N5: chunked arrays with attributes, and the pyramids that the field's programs make of them.

Sources: the N5 file-system specification; for pyramids see `conventions` and `finding`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Self

from volumekit.errors import MetadataError
from volumekit.formats.arrays.document import dump, load
from volumekit.formats.arrays.format import ArrayFormat, Choices, Have, Reading
from volumekit.formats.arrays.layer import Layer
from volumekit.formats.arrays.roles import Roles, assign
from volumekit.formats.base import AT
from volumekit.formats.n5.array import DOCUMENT, N5Array, is_dataset, parse_n5
from volumekit.formats.n5.conventions import Statement, plain_statement
from volumekit.formats.n5.finding import PARTS, Node, find
from volumekit.formats.n5.levels import Found, Listing, read_levels
from volumekit.formats.zarr.multiscale import Dataset, Multiscale, OmeAxis
from volumekit.formats.zarr.nodes import Group
from volumekit.formats.zarr.notes import OWN, PROVENANCE, own
from volumekit.formats.zarr.omezarr import Pyramid
from volumekit.model.axis import Axis
from volumekit.model.level import Level

_AXES = ("x", "y", "z", "channel")


class N5(ArrayFormat):
    """A dataset of N5, or a group of them that are the levels of one volume.

    Its first dimensions are x, y and z, and the channel behind them, unless names say otherwise. Pyramids are those of
    n5-viewer, COSEM, Paintera, BigDataViewer (``at={"setup": 1, "timepoint": 0}``) and OME-Zarr's ``multiscales``.

    Attributes
    ----------
    path : str
        Folder of the dataset or group; empty or ends in ``/``.
    number : int or None
        Which entry of ``multiscales`` lists the levels; None: none does.
    paths : tuple of str
        Folders of the levels within the group; empty for a dataset by itself.
    statements : tuple of Statement
        What is said of each level.
    choices : bytes or None
        What was chosen of parts and further axes, as `formats.base.AT` has it.
    """

    name: ClassVar[str] = "n5"
    path: str = ""
    number: int | None = None
    paths: tuple[str, ...] = ()
    statements: tuple[Statement, ...] = ()
    choices: bytes | None = None

    @classmethod
    def reading(cls, have: Have) -> Reading[Self]:
        """Read a dataset or a group."""
        choices = Choices(have)
        node = yield from find(have, choices)
        number: int | None = None
        paths: Sequence[str] = ()
        found: Sequence[Found]
        if is_dataset(node.attributes):
            array = parse_n5(node.path, node.attributes)
            found, statements = [array], [plain_statement(array.attributes, len(array.shape), array.document)]
        else:
            listing = Listing(node, choices)
            paths, found = yield from read_levels(have, listing)
            problems = [level for level in found if not isinstance(level, N5Array)]
            if len(problems) == len(found):
                raise problems[0]
            number, statements = listing.number, listing.statements(paths, found)
        made = cls(_kept(have), _layers(node, paths, found, statements, choices), _kind(node, found))
        made.path, made.number, made.paths, made.choices = node.path, number, tuple(paths), have.get(AT)
        made.statements = tuple(statements)
        return made

    def commits(self) -> Iterator[dict[str, bytes]]:
        """Yield the metadata of coarser levels, of the group, and then of the finest level."""
        finest = f"{self.path}{self.paths[0]}/{DOCUMENT}" if self.paths else self.note
        ends = (self.note, finest)
        below = {key: data for key, data in self.nodes.items() if key not in ends}
        if below:
            yield below
        for key in dict.fromkeys(key for key in ends if key in self.nodes):
            yield {key: self.nodes[key]}

    @property
    def note(self) -> str:
        """The attributes of the dataset or group."""
        return self.path + DOCUMENT

    def noted(self, data: bytes | None, provenance: Mapping[str, Any]) -> bytes:
        """Return the attributes with a provenance."""
        document = {} if data is None else load(data, self.note)
        return dump({**document, OWN: {**own(document), PROVENANCE: dict(provenance)}})

    def provenance(self, data: bytes) -> Mapping[str, Any] | None:
        """Return the provenance in the attributes."""
        found = own(load(data, self.note)).get(PROVENANCE)
        return found if isinstance(found, Mapping) else None


def _kept(have: Have) -> dict[str, bytes]:
    return {key: data for key, data in have.items() if data is not None and key.rpartition("/")[2] == DOCUMENT}


def _layers(
    node: Node, paths: Sequence[str], found: Sequence[Found], statements: Sequence[Statement], choices: Choices
) -> list[Layer | Level]:
    """Return the levels; what is said of the first one that can be read names their dimensions."""
    first = next(number for number, array in enumerate(found) if isinstance(array, N5Array))
    array, said = found[first], statements[first]
    assert isinstance(array, N5Array)
    rank = len(array.shape)
    if not all(array.shape):
        raise MetadataError(f"{array.document} describes an array without voxels, {array.shape}", key=array.document)
    names = said.names or (None,) * rank
    places, dims = assign(names, [None] * rank, reverse=True)
    roles = Roles(places, tuple(_further(dim, array, said, choices) for dim in dims), dims)
    choices.finish([*PARTS, *(axis.name for axis in roles.further)])
    units = said.units or (None,) * rank
    usual = {place: name for place, name in zip(places, _AXES, strict=True) if place is not None}
    axes = tuple(OmeAxis(names[n] or usual.get(n, f"dim_{n}"), None, units[n]) for n in range(rank))
    datasets = [
        Dataset(path, statement.scale, statement.translation)
        for path, statement in zip(paths or [""], statements, strict=True)
    ]
    group = Group(node.path, 0, node.attributes, node.document)
    return Pyramid(group, Multiscale(0, "", "", axes, tuple(datasets)), roles, found).layers()


def _further(dim: int, array: N5Array, said: Statement, choices: Choices) -> Axis:
    name = (said.names or (None,) * len(array.shape))[dim] or f"dim_{dim}"
    size = float((said.scale or (Fraction(1),) * len(array.shape))[dim])
    unit = said.units[dim] if said.units else None
    kind = "time" if name.lower() in ("t", "time") else ""
    return Axis(name, kind, array.shape[dim], size, unit, choices.position(name, array.shape[dim]))


def _kind(node: Node, found: Sequence[Found]) -> str:
    """Return what the voxels mean, as far as that is said."""
    integers = all(array.dtype.kind in "iu" for array in found if isinstance(array, N5Array))
    stated = own(node.attributes).get("layer_type")
    painted = node.attributes.get("painteraData")
    labels = "maxId" in node.attributes or (isinstance(painted, Mapping) and painted.get("type") == "label")
    if stated in ("image", "segmentation"):
        return str(stated)
    return "segmentation" if labels and integers else "image"
