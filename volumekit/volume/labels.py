"""The labels of a selection, in whatever form they are wanted."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Set
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from volumekit.engine import labels as engine
from volumekit.engine.array import LevelArray, Progress
from volumekit.engine.drive import run
from volumekit.errors import OptionError
from volumekit.volume.index import Selection
from volumekit.volume.reading import inside


class Wanted(NamedTuple):
    """Labels that are kept.

    Attributes
    ----------
    labels : numpy.ndarray
        Sorted, of the level's data type.
    other : int
        What all others become.
    """

    labels: NDArray[Any]
    other: int


class Labels:
    """Reads the labels of a selection; what lies outside the bounds is background.

    Parameters
    ----------
    array : LevelArray
        The level.
    chosen : Selection
        What to read.
    """

    def __init__(self, array: LevelArray, chosen: Selection) -> None:
        self._array, self._shape, self._dtype = array, chosen.shape, array.level.dtype
        self._background: int = np.array(array.options.background, self._dtype).item()
        low, high = (*array.level.offset, 0), (*array.level.end, array.level.channels)
        self._read = None if 0 in chosen.shape else inside(chosen, low, high)
        self._step = chosen.step
        read = () if self._read is None else tuple(part.stop - part.start for part in self._read[2])
        self._beyond = 0 not in chosen.shape and read != chosen.shape

    @property
    def _box(self) -> engine.Box | None:
        return None if self._read is None else (self._read[0], self._read[1], self._step)

    def unique(self, progress: Progress | None = None) -> set[Any]:
        """Return the distinct values."""
        found = {self._background} if self._beyond else set()
        if self._box is not None:
            found.update(run(engine.unique(self._array, self._box, progress=progress)).tolist())
        return found

    def mask(
        self, label: Any, out: NDArray[np.bool_] | None = None, progress: Progress | None = None
    ) -> NDArray[np.bool_]:
        """Return where a label is.

        Raises
        ------
        OptionError
            If it is none that the data type can hold.
        """
        label = as_label(label, self._dtype)
        out = self._array.empty(self._shape, np.dtype(bool)) if out is None else out
        out[...] = label == self._background
        if self._read is not None and self._box is not None:
            run(engine.mask(self._array, self._box, label, out[self._read[2]], progress=progress))
        return out

    def wanted(self, segids: ArrayLike, *, preserve_zeros: bool) -> Wanted:
        """Check labels that are to be kept.

        Raises
        ------
        OptionError
            If one of them is none that the data type can hold.
        """
        listed = list(segids) if isinstance(segids, Set | Iterator) else segids
        labels = {as_label(label, self._dtype) for label in np.asarray(listed, object).ravel()}
        if preserve_zeros and self._dtype.kind != "b":
            return Wanted(np.array(sorted(labels | {0}), self._dtype), int(np.iinfo(self._dtype).max))
        return Wanted(np.array(sorted(labels), self._dtype), 0)

    def keep(self, wanted: Wanted, out: NDArray[Any] | None = None, progress: Progress | None = None) -> NDArray[Any]:
        """Return some labels."""
        out = self._array.empty(self._shape) if out is None else out
        out[...] = self._background if self._background in wanted.labels else wanted.other
        if self._read is not None and self._box is not None:
            run(engine.keep(self._array, self._box, *wanted, out[self._read[2]], progress=progress))
        return out

    def renumber(self, wanted: Wanted | None, progress: Progress | None = None) -> tuple[NDArray[Any], dict[int, int]]:
        """Return small numbers, and which label each stands for.

        Raises
        ------
        OptionError
            If voxels are no whole numbers.
        """
        check_labels(self._dtype)
        numbering = engine.Numbering(self._array, self._shape)
        if self._beyond:
            kept = wanted is None or self._background in wanted.labels
            numbering.fill(self._background if kept or wanted is None else wanted.other)
        if self._read is not None and self._box is not None:
            run(numbering.read(self._box, self._read[2], *(wanted or (None, 0)), progress=progress))
        return numbering.finish()


def check_labels(dtype: np.dtype[Any]) -> None:
    """Raise unless values of a data type may be labels: whole numbers.

    Raises
    ------
    OptionError
        If they may not.
    """
    if dtype.kind not in "bui":
        raise OptionError(f"labels are whole numbers, and this volume holds {dtype}; compare what you read instead")


def as_label(label: Any, dtype: np.dtype[Any]) -> int:
    """Return a label as a number.

    Raises
    ------
    OptionError
        If it is none that the data type can hold.
    """
    check_labels(dtype)
    try:
        if isinstance(label, bool | np.bool_) and dtype.kind != "b":
            raise TypeError
        number = operator.index(label)
    except TypeError:
        raise OptionError(f"{label!r} ({type(label).__name__}) is no label; labels are whole numbers") from None
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if not low <= number <= high:
        raise OptionError(f"no voxel of {dtype} has the label {number}; labels here are {low} to {high}")
    return number
