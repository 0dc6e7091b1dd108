"""Changes to voxels on the way: other axes, and values stretched to another data type; never without being asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.engine.pieces import READ_BYTES, pieces
from volumekit.engine.planes import reads_planes
from volumekit.errors import OptionError
from volumekit.model.bbox import Bbox
from volumekit.ops.inputs import DerivedInput, Input, VolumeInput, shifted
from volumekit.ops.pyramid import Rows
from volumekit.ops.runners import Report

_AXES = "xyz"
_ORDER = (0, 1, 2)
_TABLE_BYTES = 2
"""Bytes of values that are looked up rather than calculated."""


@dataclass(frozen=True)
class Change:
    """What becomes of a source's axes and values.

    Attributes
    ----------
    order : tuple of int
        Which axes of the source become x, y and z.
    rescale : tuple of float, optional
        Values that become the lowest and the highest of the data type.
    """

    order: tuple[int, int, int] = _ORDER
    rescale: tuple[float, float] | None = None

    @classmethod
    def of(cls, axes: Any, rescale: Any) -> Change:
        """Check the options.

        Raises
        ------
        OptionError
            If they are impossible.
        """
        if not isinstance(axes, str) or sorted(axes) != list(_AXES):
            raise OptionError(
                f"axes is {axes!r}; it is x, y and z in the order in which they become x, y and z, as zyx"
            )
        x, y, z = (_AXES.index(axis) for axis in axes)
        return cls((x, y, z), None if rescale is None else _span(rescale))

    def __bool__(self) -> bool:
        return self != Change()

    def check(self, layer_type: str) -> None:
        """Refuse what cannot be changed.

        Raises
        ------
        OptionError
            If labels would be stretched.
        """
        if self.rescale is not None and layer_type == "segmentation":
            raise OptionError("labels are not rescaled: they would be others")

    def told(self) -> dict[str, Any]:
        """Return what the provenance tells of it; None: nothing."""
        axes = "".join(_AXES[axis] for axis in self.order)
        rescale = None if self.rescale is None else list(self.rescale)
        return {"axes": None if self.order == _ORDER else axes, "rescale": rescale}

    def turn(self, values: Sequence[Any]) -> list[Any]:
        """Return three values of the source's axes in the order of the result's."""
        return [values[axis] for axis in self.order]

    def box(self, box: Bbox) -> Bbox:
        """Return a box of the source as one of the result."""
        return Bbox(self.turn(box.minpt.tolist()), self.turn(box.maxpt.tolist()))

    def made(self, voxels: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return voxels (x, y, z, channel) as they should become, a plane at a time; ``dtype`` is the result's."""
        turned = voxels.transpose(*self.order, 3)
        if self.rescale is None:
            return turned
        found = np.empty(turned.shape, dtype)
        for z in range(turned.shape[2]):
            found[:, :, z] = stretch(turned[:, :, z], self.rescale, dtype)
        return found

    def apply(self, base: Input, dtype: np.dtype[Any], shift: Sequence[int]) -> Input:
        """Return the changed input, moved by ``shift``; ``dtype`` is that of the result."""
        if self.rescale is not None:
            base = RescaledInput(base, self.rescale, dtype)
        return shifted(base if self.order == _ORDER else TurnedInput(base, self.order), shift)


def _span(rescale: Any) -> tuple[float, float]:
    try:
        low, high = (float(value) for value in rescale)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise OptionError(f"rescale is {rescale!r}; it is two numbers, the lower one first")
    return low, high


@dataclass(frozen=True)
class TurnedInput(DerivedInput):
    """Another input with its axes in another order.

    Attributes
    ----------
    order : tuple of int
        Which axes of the other one become x, y and z.
    """

    order: tuple[int, int, int] = _ORDER

    @property
    def bounds(self) -> Bbox:
        """The other's voxels, turned."""
        return Change(self.order).box(self.base.bounds)

    @property
    def rows(self) -> Rows | None:
        """Nowhere: rows are something else in the other one."""
        return None

    def there(self, box: Bbox) -> Bbox:
        """Return a box, turned back."""
        return Bbox(*([corner.tolist()[axis] for axis in self._back()] for corner in (box.minpt, box.maxpt)))

    def read(self, box: Bbox, out: NDArray[Any], report: Report) -> None:
        """Fill ``out`` with the voxels of a box."""
        self.base.read(self.there(box), out.transpose(*self._back(), 3), report)

    def _back(self) -> list[int]:
        return [self.order.index(axis) for axis in _ORDER]


@dataclass(frozen=True)
class RescaledInput(DerivedInput):
    """Another input with its values stretched, linearly, to a data type; what lies outside is cut off.

    Attributes
    ----------
    span : tuple of float
        What becomes the lowest and the highest value of the data type: of floating-point numbers 0 and 1.
    wanted : numpy.dtype
        The data type.
    """

    span: tuple[float, float] = (0.0, 1.0)
    wanted: np.dtype[Any] = np.dtype(np.uint8)  # noqa: RUF009 - never changed

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type."""
        return self.wanted

    def read(self, box: Bbox, out: NDArray[Any], report: Report) -> None:
        """Fill ``out`` with the voxels of a box, a few chunks or planes at a time: the other's are held besides."""
        table = self._table()
        for part, at in _parts(self.base, box):
            voxels, view = np.empty(out[at].shape, self.base.dtype.newbyteorder("="), order="F"), out[at]
            self.base.read(part, voxels, lambda _: None)
            if table is None:
                view[...] = stretch(voxels, self.span, self.wanted)
            else:
                view[...] = table[voxels.view(f"u{voxels.itemsize}")]
            report(view.nbytes)

    def _table(self) -> NDArray[Any] | None:
        """Return what each value becomes, by its bits, if there are few."""
        dtype = self.base.dtype
        if dtype.kind not in "ui" or dtype.itemsize > _TABLE_BYTES:
            return None
        values = np.arange(1 << 8 * dtype.itemsize, dtype=f"u{dtype.itemsize}").view(dtype.newbyteorder("="))
        return stretch(values, self.span, self.wanted)


def stretch(voxels: NDArray[Any], span: tuple[float, float], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values stretched linearly to a data type, rounded to the nearest, halves to even.

    Parameters
    ----------
    voxels : numpy.ndarray
        Numbers. NaN becomes the lowest whole number, and stays NaN in floating point.
    span : tuple of float
        What becomes the lowest and the highest value: of floating-point numbers 0 and 1. What lies outside becomes one
        of those, too.
    dtype : numpy.dtype
        The data type.
    """
    low, high = span
    share: NDArray[Any] = np.clip((voxels.astype(np.float64) - low) / (high - low), 0, 1)
    if dtype.kind == "f":
        return share.astype(dtype)
    least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    values = np.rint(np.nan_to_num(share) * float(most - least))
    whole = np.full(values.shape, most - least, np.uint64)
    np.copyto(whole, values, where=values < float(most - least), casting="unsafe")
    whole += np.uint64(least % 2**64)  # in two's complement
    found: NDArray[Any] = whole.view(np.int64 if least else np.uint64).astype(dtype)
    return found


def _parts(base: Input, box: Bbox) -> Iterator[tuple[Bbox, tuple[slice, ...]]]:
    """Cut a box so that little is read at a time, and nothing twice; with where each part is in the box."""
    low, high = box.minpt.tolist(), box.maxpt.tolist()
    if isinstance(base, VolumeInput) and not reads_planes(base.array()):
        level = base.volume.levels[base.mip]
        ends = (low[0], low[1], low[2], 0), (high[0], high[1], high[2], level.channels)
        # A chunk may hold one channel only; what is read has all of them.
        boxes = dict.fromkeys((a[:3], b[:3]) for a, b in pieces(level, *ends, size=READ_BYTES))
    else:
        plane = (high[0] - low[0]) * (high[1] - low[1]) * base.channels * base.dtype.itemsize
        step = max(1, READ_BYTES // plane)
        cuts = ((z, min(z + step, high[2])) for z in range(low[2], high[2], step))
        boxes = dict.fromkeys(((low[0], low[1], a), (high[0], high[1], b)) for a, b in cuts)
    for first, last in boxes:
        yield Bbox(first, last), tuple(slice(a - o, b - o) for a, b, o in zip(first, last, low, strict=True))
