"""Data types and fill values, as zarr v2 and v3 spell them."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np

from volumekit.errors import MetadataError

NAMES = (
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64",
)  # fmt: skip
"""Data types that volumes can have."""

_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def data_type(text: Any, key: str, *, version: int) -> np.dtype[Any]:
    """Return a data type, in the byte order it is stored in.

    Parameters
    ----------
    text : object
        ``"<u2"`` in v2, ``"uint16"`` in v3.
    key : str
        The metadata, for messages.
    version : int
        2 or 3.

    Raises
    ------
    MetadataError
        If it is none that a volume can have.
    """
    found = None
    if isinstance(text, str) and (version == 2 or text in NAMES):
        with contextlib.suppress(TypeError, ValueError, SyntaxError):
            found = np.dtype(text)
    if found is None or found.name not in NAMES:
        raise MetadataError(f"the data type in {key} is {text!r}; known: {', '.join(NAMES)}", key=key)
    return found


def parse_fill(value: Any, dtype: np.dtype[Any], key: str) -> int | float:
    """Return a fill value as a Python number; null is zero.

    Raises
    ------
    MetadataError
        If the data type cannot hold it.
    """
    if value is None:
        value = 0
    number = _float(value, dtype) if dtype.kind == "f" else _integer(value, dtype)
    if number is None:
        raise MetadataError(f"the fill value in {key} is {value!r}, no {dtype.name}", key=key)
    return number


def _float(value: Any, dtype: np.dtype[Any]) -> float | None:
    if isinstance(value, str):
        if value in _SPECIAL:
            return _SPECIAL[value]
        with contextlib.suppress(ValueError, OverflowError):
            if value.startswith("0x") and len(value) == 2 + 2 * dtype.itemsize:
                bits = int(value, 16).to_bytes(dtype.itemsize, "little")
                return float(np.frombuffer(bits, dtype.newbyteorder("<"))[0])
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with contextlib.suppress(OverflowError), np.errstate(all="ignore"):
        return float(np.array(value).astype(dtype))
    return None


def _integer(value: Any, dtype: np.dtype[Any]) -> int | None:
    """Return an integer or a boolean; 0.0 and false, which some writers give, are 0."""
    if not isinstance(value, bool | int | float) or not math.isfinite(value) or value != int(value):
        return None
    if dtype.kind == "b":
        return bool(value) if value in (0, 1) else None
    limits = np.iinfo(dtype)
    return int(value) if limits.min <= value <= limits.max else None


def dump_fill(value: float, dtype: np.dtype[Any]) -> Any:
    """Return how a fill value is spelled."""
    if dtype.kind == "b":
        return bool(value)
    if dtype.kind != "f":
        return int(value)
    if math.isnan(value):
        return "NaN"
    return float(value) if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"
