"""Coarser levels for an N5 group that is there; nothing is stored here.

The new levels are laid out like the one they start from, and described in all the ways in which that one and its group
are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from volumekit.errors import UnsupportedError
from volumekit.formats.arrays.document import Document, dump, load
from volumekit.formats.arrays.layer import Layer
from volumekit.formats.arrays.roles import CHANNEL
from volumekit.formats.n5.array import DOCUMENT
from volumekit.formats.n5.conventions import Statement, listed_factors, x_first
from volumekit.formats.n5.n5 import N5
from volumekit.model.grid import centre_shift, coarser_bounds
from volumekit.model.units import exact

Factor = tuple[int, int, int]

_NUMBER = re.compile(r"(.*?)(\d+)")


def with_coarser_datasets(
    group: N5, mip: int, factors: Sequence[Factor], *, kept: Iterable[int], method: str | None = None
) -> dict[str, bytes]:
    """Return the metadata objects of a group that gets coarser levels.

    Parameters
    ----------
    group : N5
        The group.
    mip : int
        The level to start from; the last of those kept.
    factors : sequence of tuple of int
        From it to the first new level, and from each to the next, (x, y, z).
    kept : iterable of int
        Which of its levels the group keeps; the others are no longer listed.
    method : str, optional
        How the new levels are made.

    Returns
    -------
    dict
        All metadata of the group.

    Raises
    ------
    UnsupportedError
        If the level to start from cannot be read, or its levels are described for other data too.
    """
    base = group.layers[mip]
    if not isinstance(base, Layer):
        raise UnsupportedError(f"mip {mip} cannot be read: {base.error}")
    if "timepoint" in group.path:
        raise UnsupportedError("levels of BigDataViewer's data are listed for all timepoints at once, elsewhere")
    kept = [*kept]
    paths = [group.paths[n] for n in kept]
    paths += _named_on(paths[-1], len(factors))
    gone = tuple(f"{group.path}{path}/" for path in group.paths if path not in paths[: len(kept)])
    documents = {key: data for key, data in group.nodes.items() if not key.startswith(gone)}
    document = load(group.nodes[base.array.document], base.array.document)
    ladder = _Ladder(base, group.statements[mip], document, group.statements[0])
    for factor, path in zip(factors, paths[len(kept) :], strict=True):
        ladder.descend(factor, listed=group.note in group.nodes and _lists(load(group.nodes[group.note], group.note)))
        documents[f"{group.path}{path}/{DOCUMENT}"] = dump(ladder.document)
        ladder.made.append((path, ladder.said, ladder.total))
    if group.note in group.nodes:
        documents[group.note] = dump(_listed(load(group.nodes[group.note], group.note), group, kept, ladder, method))
    return documents


def _lists(root: Document) -> bool:
    return "multiscales" in root or listed_factors(root) is not None


def _named_on(last: str, count: int) -> list[str]:
    """Return folders of new levels, named on from the last one that stays."""
    match = _NUMBER.fullmatch(last)
    lead, number = (match[1], int(match[2])) if match else (f"{last}_", 0)
    return [f"{lead}{number + n}" for n in range(1, count + 1)]


class _Ladder:
    """Goes from one level to the next coarser one.

    Parameters
    ----------
    base : Layer
        Where it starts.
    said : Statement
        What is said of that level.
    document : dict
        Its attributes.
    finest : Statement
        What is said of the finest level.
    """

    def __init__(self, base: Layer, said: Statement, document: Document, finest: Statement) -> None:
        self._base, self._bounds, self._finest = base, base.level.bounds, finest
        self.said, self.document = said, document
        self.total = (1,) * len(base.array.shape)
        self.made: list[tuple[str, Statement, tuple[int, ...]]] = []

    def descend(self, factor: Factor, *, listed: bool) -> None:
        """Go on; where no group lists factors, the dataset itself has to say its own."""
        rank, finer = len(self._base.array.shape), self._bounds
        self._bounds = coarser_bounds(finer, factor)
        along, moved, shape = [1] * rank, [Fraction(0)] * rank, [*self.document["dimensions"]]
        corners = zip(self._base.roles.places[:CHANNEL], factor, finer.minpt.tolist(), strict=False)
        sizes = zip(corners, self._bounds.minpt.tolist(), self._bounds.size().tolist(), strict=True)
        for (dim, f, low), high, size in sizes:
            if dim is not None:
                along[dim], moved[dim], shape[dim] = f, centre_shift(f, low, high), size
        self.said = self._moved(along, moved)
        self.total = tuple(a * b for a, b in zip(self.total, along, strict=True))
        self.document = {**self.document, "dimensions": shape, **self._described(along, listed=listed)}

    def _moved(self, along: Sequence[int], moved: Sequence[Fraction]) -> Statement:
        scale = self.said.scale or (Fraction(1),) * len(along)
        start = self.said.translation or (Fraction(0),) * len(along)
        place = tuple(t + m * s for t, m, s in zip(start, moved, scale, strict=True))
        size = tuple(s * f for s, f in zip(scale, along, strict=True))
        return self.said._replace(scale=size, translation=place)

    def _described(self, along: Sequence[int], *, listed: bool) -> Document:
        """Return the members of the attributes that change."""
        old = self.document
        found: Document = {}
        if "transform" in old:
            found["transform"] = transform_of(self.said)
        if isinstance(old.get("resolution"), list):
            found["resolution"] = scaled(old["resolution"], along)
        factors = old.get("downsamplingFactors")
        if factors is not None:
            found["downsamplingFactors"] = scaled(factors, along)
        elif not listed and "transform" not in old:
            found["downsamplingFactors"] = self._factors()
        pixel = old.get("pixelResolution")
        if "downsamplingFactors" not in found and pixel is not None:
            inner = isinstance(pixel, dict)
            size = scaled(pixel["dimensions"] if inner else pixel, along)
            found["pixelResolution"] = {**pixel, "dimensions": size} if inner else size
        return found

    def _factors(self) -> list[int | float]:
        """Return how much coarser this level is than the finest."""
        ones = (Fraction(1),) * len(self.total)
        ratios = [a / b for a, b in zip(self.said.scale or ones, self._finest.scale or ones, strict=True)]
        return [int(ratio) if ratio.denominator == 1 else float(ratio) for ratio in ratios]


def transform_of(said: Statement) -> Document:
    """Return a ``transform``: its lists begin with the slowest dimension."""
    parts: dict[str, Any] = {
        "axes": said.names,
        "scale": said.scale,
        "translate": said.translation,
        "units": said.units,
    }
    return {
        name: [(value or "") if name in ("axes", "units") else float(value) for value in part[::-1]]
        for name, part in parts.items()
        if part is not None
    }


def scaled(values: Sequence[Any], factors: Sequence[int]) -> list[Any]:
    """Return numbers times factors, as far as there are such."""
    return [n * f if isinstance(n, int) else float(exact(n) * f) for n, f in zip(values, factors, strict=False)]


def _listed(root: Document, group: N5, kept: Sequence[int], ladder: _Ladder, method: str | None) -> Document:
    """Return the attributes of the group with the new levels, in each of the ways in which it lists levels."""
    for name in ("scales", "downsamplingFactors"):
        old = root.get(name)
        if old and listed_factors({name: old}) is not None:
            levels = [old[n] for n in kept]
            root[name] = [*levels, *(scaled(levels[-1], total) for _, _, total in ladder.made)]
    if group.number is not None:
        entry = root["multiscales"][group.number]
        levels = [entry["datasets"][n] for n in kept]
        turned = x_first([axis.get("name") if isinstance(axis, dict) else axis for axis in entry.get("axes") or ()])
        made = (_dataset(levels[-1], path, said, turned=turned) for path, said, _ in ladder.made)
        entry["datasets"] = [*levels, *made]
        entry |= {"type": method} if method else {}
    return root


def _dataset(like: Document, path: str, said: Statement, *, turned: bool) -> Document:
    """Return a level as ``multiscales`` list it, in the way of another one; ``turned``: x comes first there."""
    found = transform_of(said)
    if "coordinateTransformations" not in like:
        return {"path": path, "transform": found}
    turn = slice(None, None, -1 if turned else 1)
    return {
        "path": path,
        "coordinateTransformations": [
            {"type": "scale", "scale": found["scale"][turn]},
            {"type": "translation", "translation": found["translate"][turn]},
        ],
    }
