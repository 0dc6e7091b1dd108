"""Amounts of memory: what users type, and what a process needs before it holds a single voxel."""

from __future__ import annotations

import re

from volumekit.errors import OptionError
from volumekit.model.plain import plain

_AMOUNT = re.compile(r"\s*(?P<number>\d{1,15}(?:\.\d{1,6})?)\s*(?P<unit>[kmgt]?)(?P<binary>i?)b?\s*", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_amount(amount: str | int) -> int:
    """Return a number of bytes.

    Parameters
    ----------
    amount : str or int
        ``"1GB"`` (10**9), ``"1GiB"`` (2**30), ``"500M"``, or a number of bytes.

    Raises
    ------
    OptionError
        If it is no positive amount.
    """
    amount = plain(amount)
    if isinstance(amount, int) and not isinstance(amount, bool):
        count = amount
    else:
        match = _AMOUNT.fullmatch(amount) if isinstance(amount, str) else None
        if match is None:
            raise OptionError(f"memory is {amount!r}; write it like 1GB, 500MB or 2GiB, or as a number of bytes")
        base = 1024 if match["binary"] else 1000
        count = int(float(match["number"]) * base ** _POWERS[match["unit"].lower()])
    if count <= 0:
        raise OptionError(f"memory is {amount!r}; it is a positive amount")
    return count


def format_amount(count: int) -> str:
    """Return a number of bytes for reading, such as ``"1.5 GB"``; units are powers of 1000."""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 999.5 or unit == "PB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 99.5 else f"{size:.2g} {unit}"
