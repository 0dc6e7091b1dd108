"""What differs between the parameters of two jobs, for a message: no more than that, old and new."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

SHOWN = 6
"""Differences that a message names."""

STATE = "the source has changed since, by the sizes and times of its files or its metadata"


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between two jobs, one text for each; empty if nothing does.

    Parameters
    ----------
    before, now : Mapping
        Jobs, as JSON values. Of ``metadata``, documents of the target by name, only the members that differ are named,
        and what the other parameters explain comes last.
    """
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    names.sort(key=lambda name: name == "metadata")
    found = [text for name in names for text in _change(name, before.get(name), now.get(name))]
    more = len(found) - SHOWN
    return [*found[:SHOWN], f"and {more} more"] if more > 0 else found


def _change(name: str, before: Any, now: Any) -> Iterator[str]:
    if name == "state":
        yield STATE
    elif name != "metadata":
        yield _told(name, before, now)
    else:
        for document in sorted({**(before or {}), **(now or {})}):
            one, two = ((side or {}).get(document) for side in (before, now))
            yield from _members(document, _parsed(one), _parsed(two))


def _members(path: str, before: Any, now: Any) -> Iterator[str]:
    """Yield the members of two JSON values that differ, each by its path."""
    if before == now:
        return
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            yield from _members(f"{path} {name}", before.get(name), now.get(name))
    elif _nested(before) and _nested(now):
        if len(before) != len(now):
            yield f"{path} were {len(before)}, now {len(now)}"
        pairs = enumerate(zip(before, now, strict=False))
        first = next(((number, *pair) for number, pair in pairs if pair[0] != pair[1]), None)
        if first is not None:  # the coarser levels differ as the finest does
            yield from _members(f"{path}[{first[0]}]", *first[1:])
    else:
        yield _told(path, before, now)


def _nested(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(part, dict) for part in value)


def _told(name: str, before: Any, now: Any) -> str:
    return f"{name} was {_short(before)}, now {_short(now)}"


def _short(value: Any) -> str:
    if value is None:
        return "not given"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:180]} …"


def _parsed(document: Any) -> Any:
    """Return what a document holds if it is JSON."""
    try:
        return json.loads(document)
    except (TypeError, ValueError):
        return document
