"""Numbering connected components, for the codecs that store one label for each: parts of compiled kernels.

A component is a tree of provisional numbers, each of which points to a smaller one or, at the root, to itself. Because
provisional numbers grow along the raster, so do the numbers of components.
"""

from __future__ import annotations

from typing import Any

from volumekit.compiled import inlined, kernel


@inlined
def join(parents: Any, one: Any, other: Any) -> None:
    """Make one component of two."""
    while parents[one] != one:
        parents[one] = parents[parents[one]]
        one = parents[one]
    while parents[other] != other:
        parents[other] = parents[parents[other]]
        other = parents[other]
    if one < other:
        parents[other] = one
    else:
        parents[one] = other


@kernel
def number(parents: Any, count: Any, first: Any) -> Any:
    """Replace provisional numbers ``first`` … ``count - 1`` by those of their components.

    Components are numbered from ``first`` on; returns one past the last of them.
    """
    found = first
    for provisional in range(first, count):
        parent = parents[provisional]
        if parent == provisional:
            parents[provisional] = found
            found += 1
        else:
            parents[provisional] = parents[parent]
    return found
