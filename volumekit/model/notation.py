"""Ways to write a box: chunk names and slices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from volumekit.errors import OptionError
from volumekit.model.vec import Number, Point, number

_NUMBER = r"-?[0-9]{1,400}(?:\.[0-9]{1,400})?"
_PAIR = f"({_NUMBER})-({_NUMBER})"
_NAME = re.compile(rf"({_PAIR}(?:_{_PAIR}){{0,7}})(?:\.[A-Za-z][A-Za-z0-9]*)*")


def parse_chunk_name(name: str) -> tuple[list[Number], list[Number]]:
    """Return the corners in a chunk name such as ``"0-64_-3-13_7-39.gz"``.

    Directories, anything up to a colon, and suffixes are ignored.

    Raises
    ------
    OptionError
        If this is no chunk name.
    """
    match = _NAME.fullmatch(re.split("[/:]", name)[-1])
    if match is None:
        raise OptionError(f"not a chunk name: {name!r}; expected x0-x1_y0-y1_z0-z1")
    pairs = [(_parse(a), _parse(b)) for a, b in re.findall(_PAIR, match[1])]
    if any(a > b for a, b in pairs):
        raise OptionError(f"not a chunk name: {name!r} ends before it starts")
    return [a for a, _ in pairs], [b for _, b in pairs]


def chunk_name(lo: Point, hi: Point) -> str:
    """Return the chunk name of a box, ``x0-x1_y0-y1_z0-z1``."""
    return "_".join(f"{_text(a)}-{_text(b)}" for a, b in zip(lo, hi, strict=True))


def slice_corners(items: Sequence[Any], context: tuple[Point, Point] | None) -> tuple[list[Number], list[Number]]:
    """Return the corners that slices and ints select.

    Parameters
    ----------
    items : sequence of slice, int or Ellipsis
        One per axis; an int is a slice of length one, a stop before the start is empty.
    context : tuple of corners, optional
        Gives open ends and the axes left out.

    Raises
    ------
    OptionError
        For a step, more items than axes, or an open end or ``...`` without ``context``.
    TypeError
        For anything that is no slice or int.
    """
    axes = _all_axes(list(items), context)
    ranges = list(zip(*context, strict=True)) if context else [(None, None)] * len(axes)
    ends = [_ends(item, *limits) for item, limits in zip(axes, ranges, strict=True)]
    return [a for a, _ in ends], [b for _, b in ends]


def _all_axes(items: list[Any], context: tuple[Point, Point] | None) -> list[Any]:
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if context is None:
        if dots:
            raise OptionError("'...' needs a volume or box to take its axes from")
        return items
    missing = len(context[0]) - len(items) + len(dots)
    if missing < 0 or len(dots) > 1:
        raise OptionError(f"{len(items)} slices for a box of {len(context[0])} axes")
    at = dots[0] if dots else len(items)
    return items[:at] + [slice(None)] * missing + items[at + 1 :]


def _ends(item: Any, lo: Number | None, hi: Number | None) -> tuple[Number, Number]:
    if not isinstance(item, slice):
        value = number(item)
        return value, value + 1
    if item.step not in (None, 1):
        raise OptionError(f"a box has no step: {item}")
    start = lo if item.start is None else number(item.start)
    stop = hi if item.stop is None else number(item.stop)
    if start is None or stop is None:
        raise OptionError(f"an open end needs a volume or box to take it from: {item}")
    return start, max(start, stop)


def _parse(text: str) -> Number:
    return float(text) if "." in text else int(text)


def _text(value: Number) -> str:
    return str(value) if isinstance(value, int) else np.format_float_positional(value, trim="0")
