"""Slicing rules: NumPy's, in global voxel coordinates.

Negative numbers are coordinates, never "from the end"; ``:`` is the volume's extent; an integer drops its axis.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import InvalidIndexError, OutOfBoundsError
from volumekit.model.bbox import Bbox

AXES = ("x", "y", "z", "channel")
Four = tuple[int, int, int, int]


def four(values: Sequence[int]) -> Four:
    """Return four numbers as a tuple of four."""
    x, y, z, c = values
    return x, y, z, c


class Selection(NamedTuple):
    """A basic index, worked out.

    Attributes
    ----------
    low, high : tuple of int
        Hull of the voxels selected, (x, y, z, channel), half-open, ``high`` one past the last voxel touched.
    step : tuple of int
        Positive steps.
    post : tuple
        What turns the 4-D array of the selected voxels into the result: drops, reversals, new axes.
    plain : bool
        Whether ``post`` changes nothing.
    """

    low: Four
    high: Four
    step: Four
    post: tuple[Any, ...]
    plain: bool

    @property
    def shape(self) -> Four:
        """Shape of the selected voxels, 4-D."""
        x, y, z, c = (-(-(b - a) // s) for a, b, s in zip(self.low, self.high, self.step, strict=True))
        return max(0, x), max(0, y), max(0, z), max(0, c)

    @property
    def box(self) -> Bbox:
        """Hull of the voxels selected, (x, y, z)."""
        return Bbox(self.low[:3], self.high[:3])


_PLAIN = (slice(None),) * len(AXES)


def box_of(index: Any, low: Four, high: Four) -> Selection | None:
    """Work out an index of slices that lie inside the bounds; None: `select` knows what it is.

    This is what most indices are, and where chunks are near, reading a small box takes not much longer than working out
    its index by all the rules.
    """
    if type(index) is not tuple or not 3 <= len(index) <= len(AXES):
        return None
    first, last = [], []
    for part, start, stop in zip(index, low, high, strict=False):
        if type(part) is not slice or part.step is not None:
            return None
        a = start if part.start is None else part.start
        b = stop if part.stop is None else part.stop
        if type(a) is not int or type(b) is not int or not start <= a < b <= stop:
            return None
        first.append(a)
        last.append(b)
    if len(index) < len(AXES):
        first.append(low[3])
        last.append(high[3])
    return Selection(tuple(first), tuple(last), (1, 1, 1, 1), _PLAIN, plain=True)  # type: ignore[arg-type]


def is_advanced(index: Any) -> bool:
    """Tell whether an index selects points: integer arrays, lists or a boolean mask."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, list) or (isinstance(part, np.ndarray) and part.ndim > 0) for part in parts)


def expand(index: Any, bounds: Bbox, resolution: Sequence[float]) -> tuple[Any, ...]:
    """Return an index with one entry per axis (and Nones): Bboxes, ``...`` and missing axes spelled out."""
    if type(index) is tuple and len(index) <= len(AXES) and all(type(part) is slice for part in index):
        return index + (slice(None),) * (len(AXES) - len(index))
    parts: list[Any] = []
    for part in index if isinstance(index, tuple) else (index,):
        parts.extend(_box_slices(part, resolution) if isinstance(part, Bbox) else (part,))
    if sum(part is Ellipsis for part in parts) > 1:
        raise InvalidIndexError("an index can hold only one '...'")
    used = sum(part is not None and part is not Ellipsis for part in parts)
    if used > len(AXES):
        raise InvalidIndexError(f"{used} indices for a volume of 4 axes (x, y, z, channel)")
    full = [slice(None)] * (len(AXES) - used)
    at = next((n for n, part in enumerate(parts) if part is Ellipsis), len(parts))
    return (*parts[:at], *full, *parts[at + 1 :])


def _box_slices(box: Bbox, resolution: Sequence[float]) -> tuple[slice, ...]:
    if box.unit != "vx":
        box = box.convert_units("vx", resolution)
    box = box.astype(np.int64)
    return tuple(slice(int(a), int(b)) for a, b in zip(box.minpt, box.maxpt, strict=True))


def select(
    index: Any,
    bounds: Bbox,
    channels: int,
    *,
    resolution: Sequence[float] = (1, 1, 1),
    bounded: bool = True,
) -> Selection:
    """Work out a basic index.

    Parameters
    ----------
    index : int, slice, Bbox, None, Ellipsis or tuple of them
        What stands between the brackets.
    bounds : Bbox
        Voxels of the volume, (x, y, z).
    channels : int
        Number of channels.
    resolution : sequence of float
        Voxel size in nm, for boxes in units.
    bounded : bool
        Whether voxels outside the bounds are an error; channels outside always are.

    Raises
    ------
    InvalidIndexError
        If this is no index.
    OutOfBoundsError
        If voxels outside are selected.
    """
    lows, highs = _limits(bounds, channels)
    post: list[Any] = []
    spans: list[tuple[int, int, int]] = []
    plain = True
    for part in expand(index, bounds, resolution):
        if part is None:
            post.append(None)
            plain = False
            continue
        axis = len(spans)
        check = bounded or axis == len(AXES) - 1
        if type(part) is slice:
            span, reverse = _span(part, lows[axis], highs[axis], axis, check)
            post.append(slice(None, None, -1) if reverse else slice(None))
            plain = plain and not reverse
        else:
            span = _single(part, lows[axis], highs[axis], axis, check)
            post.append(0)
            plain = False
        spans.append(span)
    low, high, step = zip(*spans, strict=True)
    return Selection(low, high, step, tuple(post), plain)


def _limits(bounds: Bbox, channels: int) -> tuple[Four, Four]:
    """Return the lowest coordinate per axis and one past the highest, as plain numbers."""
    x0, y0, z0, x1, y1, z1 = map(int, bounds.to_list())
    return (x0, y0, z0, 0), (x1, y1, z1, channels)


def _single(part: Any, low: int, high: int, axis: int, check: bool) -> tuple[int, int, int]:
    at = whole(part, axis)
    if check and not low <= at < high:
        raise _outside(str(at), low, high, axis)
    return at, at + 1, 1


def _span(part: slice, low: int, high: int, axis: int, check: bool) -> tuple[tuple[int, int, int], bool]:
    """Return (first, one past the last voxel touched, positive step) and whether to reverse."""
    step = 1 if part.step is None else whole(part.step, axis)
    if step == 0:
        raise InvalidIndexError("a slice step cannot be zero")
    if step > 0:
        start = low if part.start is None else whole(part.start, axis)
        stop = high if part.stop is None else whole(part.stop, axis)
        count = max(0, -(-(stop - start) // step))
        first, last = start, start + (count - 1) * step
    else:
        start = high - 1 if part.start is None else whole(part.start, axis)
        stop = low - 1 if part.stop is None else whole(part.stop, axis)
        count = max(0, -(-(start - stop) // -step))
        first, last = start + (count - 1) * step, start
    if count == 0:
        inside = min(max(start, low), high)
        return (inside, inside, abs(step)), False
    stepped = abs(step) != 1
    end = last + 1 if stepped or step < 0 else stop
    if check and (first < low or end > high):
        raise _outside(f"{first}:{end}", low, high, axis)
    return (first, end, abs(step)), step < 0


def whole(value: Any, axis: int) -> int:
    """Return a coordinate as an int; floats and booleans are no coordinates."""
    if type(value) is int:  # nearly always
        return value
    if isinstance(value, bool | np.bool_):
        raise InvalidIndexError(f"a boolean is no {AXES[axis]} coordinate")
    try:
        return operator.index(value)
    except TypeError:
        raise InvalidIndexError(
            f"{value!r} ({type(value).__name__}) is no {AXES[axis]} coordinate; use integers, slices, a Bbox or arrays"
        ) from None


def _outside(text: str, low: int, high: int, axis: int) -> OutOfBoundsError:
    return OutOfBoundsError(
        f"{AXES[axis]} {text} reaches outside the volume, which spans {low}:{high} there; "
        "coordinates are global voxels of this mip"
        + ("" if axis == len(AXES) - 1 else " (bounded=False reads background outside)")
    )


def select_points(
    index: Any, bounds: Bbox, channels: int, *, resolution: Sequence[float] = (1, 1, 1), bounded: bool = True
) -> tuple[Any, ...]:
    """Work out an index with integer arrays or a boolean mask, by NumPy's rules.

    Parameters
    ----------
    index, bounds, channels, resolution, bounded
        As for `select`; arrays hold global coordinates, a mask starts at the volume's lowest voxel.

    Returns
    -------
    tuple
        One entry per axis: int64 arrays of coordinates, or slices with explicit ends.

    Raises
    ------
    InvalidIndexError
        If this is no index, or a mask of another shape.
    OutOfBoundsError
        If points outside are selected.
    """
    parts = expand(_without_mask(index, bounds, channels), bounds, resolution)
    if any(part is None for part in parts):
        raise InvalidIndexError("new axes cannot be combined with arrays of points")
    lows, highs = _limits(bounds, channels)
    out: list[Any] = []
    for axis, part in enumerate(parts):
        check = bounded or axis == len(AXES) - 1
        if type(part) is slice:
            (first, end, step), reverse = _span(part, lows[axis], highs[axis], axis, check)
            out.append(slice(end - 1, first - 1, -step) if reverse else slice(first, end, step))
        else:
            out.append(_coordinates(part, lows[axis], highs[axis], axis, check))
    _check_broadcast([part.shape for part in out if not isinstance(part, slice)])
    return tuple(out)


def _check_broadcast(shapes: list[tuple[int, ...]]) -> None:
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        raise InvalidIndexError(f"index arrays of shapes {shapes} do not go together") from None


def _array(part: Any) -> NDArray[Any]:
    try:
        return np.asarray(part)
    except ValueError as error:
        raise InvalidIndexError(f"{part!r} is no index: {error}") from None


def _without_mask(index: Any, bounds: Bbox, channels: int) -> Any:
    """Replace a boolean mask that stands first by the coordinates of its true voxels."""
    first, *others = index if isinstance(index, tuple) else (index,)
    mask = _array(first) if isinstance(first, list | np.ndarray) else None
    if mask is None or mask.dtype != bool:
        return index
    shape = (*(int(n) for n in bounds.size3()), channels)
    if mask.shape not in (shape, shape[:3]):
        raise InvalidIndexError(f"a mask of shape {mask.shape} for a volume of shape {shape}")
    lows = (*bounds.minpt.tolist(), 0)
    return (*(found + low for found, low in zip(np.nonzero(mask), lows, strict=False)), *others)


def _coordinates(part: Any, low: int, high: int, axis: int, check: bool) -> NDArray[np.int64]:
    values = _array(part)
    if values.size == 0:
        values = values.astype(np.int64)
    if values.dtype.kind not in "iu":
        raise InvalidIndexError(f"{values.dtype} values are no {AXES[axis]} coordinates")
    if check and values.size and (int(values.min()) < low or int(values.max()) >= high):
        raise _outside(f"{values.min()}..{values.max()}", low, high, axis)
    return values.astype(np.int64)


def spread(parts: tuple[Any, ...]) -> tuple[NDArray[np.int64], ...]:
    """Spell out what `select_points` returned: one array of coordinates per axis, shaped like the result.

    NumPy itself places the axes, by indexing arrays of coordinates that take no memory.
    """
    arrays = [np.arange(p.start, p.stop, p.step) if isinstance(p, slice) else p for p in parts]
    index = tuple(
        slice(None) if isinstance(part, slice) else np.arange(a.size).reshape(a.shape)
        for part, a in zip(parts, arrays, strict=True)
    )
    lengths = [a.size for a in arrays]
    out = []
    for axis, a in enumerate(arrays):
        shape = [a.size if n == axis else 1 for n in range(len(arrays))]
        out.append(np.broadcast_to(a.reshape(shape), lengths)[index])
    return tuple(out)
