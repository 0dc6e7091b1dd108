"""Labels of a box, chunk by chunk: which there are, where one is, and fewer or smaller ones; decoded where it must be.

Each function is a unit for `engine.drive`. ``box`` is ``low``, ``high`` and ``step``, as for `LevelArray.read`; errors
are those of `LevelArray.visit`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.distinct import distinct, numbered
from volumekit.engine.array import LevelArray, Progress
from volumekit.engine.chunks import Look
from volumekit.engine.drive import Unit
from volumekit.engine.pieces import Point, extent

Box = tuple[Point, Point, Point]
At = tuple[slice, ...]

_FEW = 1 << 14
"""Labels that are gathered, some of them twice, before they are sorted."""


class _Known:
    """The labels found so far."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.sorted: NDArray[Any] = np.empty(0, dtype)
        self._new: list[NDArray[Any]] = []
        self._count = 0

    def add(self, labels: NDArray[Any]) -> None:
        self._new.append(labels)
        self._count += len(labels)
        if self._count > max(_FEW, len(self.sorted)):
            self.sort()

    def sort(self) -> None:
        self.sorted = distinct(np.concatenate([self.sorted, *self._new]))
        self._new, self._count = [], 0


def unique(array: LevelArray, box: Box, *, progress: Progress | None = None) -> Unit[NDArray[Any]]:
    """Find the distinct values of a box, sorted. Memory is that of the values, and of some chunks.

    Chunks that reach over the box are looked at last, and decoded only if they have values not known yet.
    """
    known = _Known(array.level.dtype)
    voxels = np.broadcast_to(np.zeros((), array.level.dtype), extent(*box))

    def see_all(look: Look) -> NDArray[Any]:
        labels = look.labels()
        return distinct(look.voxels()) if labels is None else labels

    def see_part(look: Look) -> NDArray[Any]:
        labels = look.labels()
        if labels is not None and (len(labels) == 1 or np.isin(labels, known.sorted).all()):
            return labels
        return distinct(look.voxels())

    def take(at: At, labels: NDArray[Any]) -> None:
        known.add(labels)
        if progress is not None:
            progress(voxels[at].nbytes)

    yield from array.visit(box, see_all, take, whole=True)
    known.sort()
    yield from array.visit(box, see_part, take, whole=False)
    known.sort()
    return known.sorted


def mask(
    array: LevelArray, box: Box, label: int, out: NDArray[np.bool_], *, progress: Progress | None = None
) -> Unit[None]:
    """Tell where a box has a label; ``out`` has the box's shape."""

    def see(look: Look) -> NDArray[np.bool_]:
        return look.mask(label)

    yield from array.visit(box, see, _into(out, progress, array.level.dtype.itemsize))


def keep(
    array: LevelArray,
    box: Box,
    labels: NDArray[Any],
    other: int,
    out: NDArray[Any],
    *,
    progress: Progress | None = None,
) -> Unit[None]:
    """Read a box with only some labels; all others become ``other``. ``labels`` are sorted."""

    def see(look: Look) -> NDArray[Any]:
        listed = look.labels()
        kept = None if listed is None else np.isin(listed, labels)
        if kept is not None and not kept.any():
            return np.array(other, out.dtype)
        if kept is not None and kept.all():
            return look.voxels()
        values, places = numbered(look.voxels())
        return np.where(np.isin(values, labels), values, np.array(other, out.dtype))[places]

    yield from array.visit(box, see, _into(out, progress, array.level.dtype.itemsize))


def _into(out: NDArray[Any], progress: Progress | None, size: int) -> Any:
    """Return what puts parts where they belong; ``size`` is what a voxel counts for ``progress``."""

    def take(at: At, voxels: NDArray[Any]) -> None:
        out[at] = voxels
        if progress is not None:
            progress(out[at].size * size)

    return take


class Numbering:
    """Gives labels small numbers: 0 stays 0, the others count from 1 in ascending order.

    Parameters
    ----------
    source : LevelArray
        The level to read.
    shape : tuple of int
        (x, y, z, channel) of what is to be numbered.
    """

    def __init__(self, source: LevelArray, shape: tuple[int, ...]) -> None:
        self._source = source
        self._found: dict[int, int] = {0: 0}
        self.array = source.empty(shape, np.dtype(np.uint16))

    def fill(self, label: int) -> None:
        """Give all voxels a label."""
        self.array[...] = self._found.setdefault(label, len(self._found))

    def read(
        self, box: Box, view: At, labels: NDArray[Any] | None, other: int, *, progress: Progress | None = None
    ) -> Unit[None]:
        """Read a box into a part of the array; all but ``labels``, if there are any, are ``other`` there."""
        size = self._source.level.dtype.itemsize

        def see(look: Look) -> tuple[NDArray[Any], NDArray[Any]]:
            values, places = numbered(look.voxels())
            if labels is not None:
                values = np.where(np.isin(values, labels), values, np.array(other, values.dtype))
            return values, places

        def take(at: At, seen: tuple[NDArray[Any], NDArray[Any]]) -> None:
            numbers = np.array([self._found.setdefault(label, len(self._found)) for label in seen[0].tolist()])
            self._widen()
            self.array[view][at] = numbers.astype(self.array.dtype)[seen[1]]
            if progress is not None:
                progress(seen[1].size * size)

        yield from self._source.visit(box, see, take)

    def _widen(self) -> None:
        """Make room for larger numbers."""
        if len(self._found) > np.iinfo(self.array.dtype).max + 1:
            wider = np.dtype(f"u{self.array.itemsize * 2}")
            self.array, narrow = self._source.empty(self.array.shape, wider), self.array
            self.array[...] = narrow

    def finish(self) -> tuple[NDArray[Any], dict[int, int]]:
        """Return the numbers, in the smallest unsigned type, and a mapping of labels to numbers."""
        ascending = sorted(self._found, key=lambda label: (label != 0, label))
        mapping = {label: number for number, label in enumerate(ascending)}
        table = np.array([mapping[label] for label in self._found], np.min_scalar_type(len(mapping) - 1))
        same = table.dtype == self.array.dtype
        out = self.array if same else self._source.empty(self.array.shape, table.dtype)
        slowest = self._source.level.order[0]
        source, target = np.moveaxis(self.array, slowest, 0), np.moveaxis(out, slowest, 0)
        for plane in range(len(source)):  # so that no more than a plane is there twice
            target[plane] = table[source[plane]]
        return out, mapping
