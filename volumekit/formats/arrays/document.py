"""JSON documents of array formats, and the numbers in them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from volumekit.errors import MetadataError

Document = dict[str, Any]

MOST = 2**62 - 2
"""No array is larger along any axis."""

MAX_RANK = 32


def load(data: bytes, key: str) -> Document:
    """Parse a JSON object.

    Raises
    ------
    MetadataError
        If it is none; it names the file.
    """
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise MetadataError(f"{key} is not JSON ({error}); restore it from a backup", key=key) from error
    if not isinstance(found, dict):
        raise MetadataError(f"{key} holds {type(found).__name__}, not a JSON object", key=key)
    return found


def dump(value: Mapping[str, Any]) -> bytes:
    """Return the text of a JSON object, indented by two; NaN, which others put into attributes, stays what it was."""
    return json.dumps(value, indent=2).encode()


def member(value: Any, name: str, key: str) -> Document:
    """Return a value that has to be an object.

    Raises
    ------
    MetadataError
        If it is none.
    """
    if not isinstance(value, dict):
        raise MetadataError(f"{name} in {key} is {value!r}, not an object", key=key)
    return value


def whole(value: Any, name: str, key: str, *, least: int = 0, most: int = MOST) -> int:
    """Return a value that has to be a whole number; 3.0 is one.

    Raises
    ------
    MetadataError
        If it is none, or outside [least, most].
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= most or value != int(value):
        raise MetadataError(f"{name} in {key} is {value!r}, not a whole number from {least} on", key=key)
    return int(value)


def finite(value: Any, name: str, key: str, *, positive: bool = False) -> int | float:
    """Return a value that has to be a finite number.

    Raises
    ------
    MetadataError
        If it is none, or not positive where it has to be.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        good = number and math.isfinite(value) and (value > 0 or not positive)
    except OverflowError:
        good = False
    if not good:
        kind = "positive number" if positive else "number"
        raise MetadataError(f"{name} in {key} is {value!r}, not a {kind}", key=key)
    found: int | float = value
    return found


def numbers(value: Any, name: str, key: str, *, read: Callable[..., Any] = whole, **how: Any) -> tuple[Any, ...]:
    """Return a list of numbers, read by `whole` or `finite`.

    Raises
    ------
    MetadataError
        If it is none.
    """
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > MAX_RANK:
        raise MetadataError(f"{name} in {key} is {value!r}, not a list of numbers", key=key)
    return tuple(read(number, name, key, **how) for number in value)
