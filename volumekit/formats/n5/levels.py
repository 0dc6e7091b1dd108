"""The levels of a group: which datasets they are, and where they lie."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from volumekit.errors import MetadataError, OptionError, VolumekitError
from volumekit.formats.arrays.document import member
from volumekit.formats.arrays.format import Choices, Have, Reading, fetched
from volumekit.formats.n5.array import DOCUMENT, N5Array, is_dataset, parse_n5
from volumekit.formats.n5.conventions import (
    Statement,
    coarser,
    factors_of,
    listed_factors,
    ome_statement,
    plain_statement,
)
from volumekit.formats.n5.finding import Node, read_attributes

MOST_LEVELS = 64
_AHEAD = 4
"""Levels that are asked for at a time where nothing says how many there are."""

Found = N5Array | VolumekitError


class Listing:
    """What a group says of its levels.

    Parameters
    ----------
    node : Node
        The group.
    choices : Choices
        Which of several ``multiscales`` is wanted.

    Attributes
    ----------
    number : int or None
        Which entry of ``multiscales`` lists them; None: none does.
    paths : tuple of str or None
        Their folders within the group; None: they are ``s0``, ``s1``, …, as many as there are.
    """

    def __init__(self, node: Node, choices: Choices) -> None:
        self.node, self.number = node, None
        self._factors = listed_factors(node.attributes)
        entries = node.attributes.get("multiscales")
        if entries is None:
            count = len(self._factors or ())
            self.paths = tuple(f"s{n}" for n in range(count)) or None
            return
        if not isinstance(entries, list) or not entries:
            raise MetadataError(f"multiscales in {node.document} is {entries!r}, not a list", key=node.document)
        self.number = _chosen(entries, choices, node.document)
        self._entry = member(entries[self.number], "an entry of multiscales", node.document)
        self.paths = tuple(_path(dataset, node.document) for dataset in self._datasets())

    def _datasets(self) -> list[Any]:
        listed = self._entry.get("datasets")
        if not isinstance(listed, list) or not listed or len(listed) > MOST_LEVELS:
            raise MetadataError(f"datasets in {self.node.document} is {listed!r}, not a list of levels")
        return listed

    def statements(self, paths: Sequence[str], found: Sequence[Found]) -> list[Statement]:
        """Return what is said of each level; of one that cannot be read, nothing.

        Raises
        ------
        MetadataError
            If it makes no sense.
        """
        arrays = [array for array in found if isinstance(array, N5Array)]
        base = self._base(arrays[0])
        return [
            Statement() if not isinstance(array, N5Array) else self._statement(number, array, arrays[0], base)
            for number, array in enumerate(found)
        ]

    def _base(self, first: N5Array) -> Statement:
        """Return what is said of the finest level by the group, or by that level itself."""
        rank = len(first.shape)
        group = plain_statement(self.node.attributes, rank, self.node.document, base=True)
        return group.over(plain_statement(first.attributes, rank, first.document, base=True))

    def _statement(self, number: int, array: N5Array, first: N5Array, base: Statement) -> Statement:
        key, rank = self.node.document, len(array.shape)
        factors = self._factors[number : number + 1] if self._factors else []
        by_factor = coarser(base, _factors(array, first, factors[0] if factors else None, key))
        made = Statement()
        if self.number is not None:
            dataset = member(self._datasets()[number], "a dataset", key)
            made = ome_statement(self._entry, dataset, rank, key)
        if "transform" in array.attributes:
            made = made.over(plain_statement(array.attributes, rank, array.document))
        return made.over(by_factor)


def _factors(array: N5Array, first: N5Array, listed: Any, key: str) -> tuple[Fraction, ...]:
    """Return how much coarser a level is than the finest: as the group or it itself says, else by the extents."""
    rank = len(array.shape)
    told = factors_of(listed, rank, key) or factors_of(
        array.attributes.get("downsamplingFactors"), rank, array.document
    )
    if told is not None or rank != len(first.shape) or not all(array.shape):
        return told or (Fraction(1),) * rank
    return tuple(Fraction(max(1, round(a / b))) for a, b in zip(first.shape, array.shape, strict=True))


def _chosen(entries: Sequence[Any], choices: Choices, key: str) -> int:
    chosen = choices.take("multiscale")
    names = [str(e.get("name", n)) if isinstance(e, Mapping) else str(n) for n, e in enumerate(entries)]
    if isinstance(chosen, str) and chosen in names:
        chosen = names.index(chosen)
    number = 0 if chosen is None else chosen
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(entries):
        raise OptionError(f"there is no multiscale {chosen!r}; there are {len(names)}: {', '.join(names)}")
    return number


def _path(dataset: Any, key: str) -> str:
    path = member(dataset, "a dataset", key).get("path")
    if not isinstance(path, str) or path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise MetadataError(f"a dataset in {key} has the path {path!r}, not a relative folder", key=key)
    folder = posixpath.normpath(path) if path else "."
    if folder == ".":
        raise MetadataError(f"a dataset in {key} has the path {path!r}, which is the group itself", key=key)
    return folder


def read_levels(have: Have, listing: Listing) -> Reading[tuple[list[str], list[Found]]]:
    """Read the datasets of a group.

    Returns
    -------
    tuple
        Their folders within the group, and the datasets; where one cannot be read, why.
    """
    node, paths = listing.node, listing.paths
    if paths is None:
        count = yield from _count(have, node.path)
        paths = tuple(f"s{n}" for n in range(count))
    yield from fetched(have, *(f"{node.path}{path}/{DOCUMENT}" for path in paths))
    found = []
    for path in paths:
        level = yield from _read(have, node, path)
        found.append(level)
    return [*paths], found


def _count(have: Have, folder: str) -> Reading[int]:
    for number in range(MOST_LEVELS):
        ahead = range(number, number - number % _AHEAD + _AHEAD)
        yield from fetched(have, *(f"{folder}s{n}/{DOCUMENT}" for n in ahead))
        if have[f"{folder}s{number}/{DOCUMENT}"] is None:
            return number
    return MOST_LEVELS


def _read(have: Have, node: Node, path: str) -> Reading[Found]:
    folder = f"{node.path}{path}/"
    key = folder + DOCUMENT
    try:
        attributes = yield from read_attributes(have, folder)
        if is_dataset(attributes) and attributes is not None:
            return parse_n5(folder, attributes)
    except VolumekitError as error:
        return error
    problem = "is missing" if attributes is None else "describes a group, not a dataset"
    return MetadataError(f"{key} {problem}, though {node.document} lists {path!r} as a level", key=key)
