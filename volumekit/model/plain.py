"""Numbers as Python and JSON have them."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Number
from typing import Any


def each_axis(values: Any) -> Any:
    """Return what holds for each of x, y and z, of which one number may stand for all."""
    return (values,) * 3 if isinstance(values, Number) else values


def plain(value: Any) -> Any:
    """Return a value without NumPy's types, also within mappings, lists and tuples; arrays become lists.

    Anything else is returned as it is.
    """
    if isinstance(value, Mapping):
        return {key: plain(member) for key, member in value.items()}
    if type(value) in (list, tuple):
        return type(value)(plain(member) for member in value)
    of_numpy = type(value).__module__.partition(".")[0] == "numpy"
    return value.tolist() if of_numpy and hasattr(value, "tolist") else value
