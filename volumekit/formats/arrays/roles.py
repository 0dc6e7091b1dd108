"""Which dimension of an array is x, y, z and channel, and where the others are fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from volumekit.formats.arrays.array import Dims
from volumekit.model.axis import Axis

X, Y, Z, CHANNEL = range(4)

_NAMES = {
    "x": X, "y": Y, "z": Z,
    "c": CHANNEL, "ch": CHANNEL, "channel": CHANNEL, "channels": CHANNEL,
}  # fmt: skip
_TIME = ("t", "time")


@dataclass(frozen=True)
class Roles:
    """What the dimensions of an array are.

    Attributes
    ----------
    places : tuple of int or None
        The dimensions that are x, y, z and channel; None: there is none.
    further : tuple of Axis
        The others, fixed.
    dims : tuple of int
        Which dimension each of ``further`` is.
    """

    places: tuple[int | None, int | None, int | None, int | None]
    further: tuple[Axis, ...] = ()
    dims: Dims = ()

    def four(self, values: Sequence[int], missing: int = 1) -> tuple[int, int, int, int]:
        """Return what belongs to x, y, z and channel of one value per dimension."""
        x, y, z, c = (missing if place is None else values[place] for place in self.places)
        return x, y, z, c

    def spread(self, four: Sequence[int], further: Sequence[int]) -> Dims:
        """Return one value per dimension, of those of x, y, z and channel and those of the further axes."""
        found = dict(zip(self.dims, further, strict=True))
        found.update({place: value for place, value in zip(self.places, four, strict=True) if place is not None})
        return tuple(found[dim] for dim in range(len(found)))

    def order(self, dims: Dims) -> tuple[int, int, int, int]:
        """Return the memory order of (x, y, z, channel) for that of the dimensions, slowest first."""
        present = [self.places.index(dim) for dim in dims if dim in self.places]
        absent = [axis for axis in (CHANNEL, Z, Y, X) if axis not in present]
        a, b, c, d = (*absent, *present)
        return a, b, c, d


def assign(
    names: Sequence[str | None], kinds: Sequence[str | None], *, reverse: bool = False
) -> tuple[tuple[int | None, int | None, int | None, int | None], Dims]:
    """Tell which dimensions are x, y, z and channel, and which are further ones.

    Names decide, then kinds. What neither tells goes by position: the last dimensions are z, y and x, with the channel
    before them, as in all data whose dimensions have no names at all.

    Parameters
    ----------
    names : sequence of str or None
        Names of the dimensions.
    kinds : sequence of str or None
        ``"space"``, ``"time"``, ``"channel"`` or anything else; None: not known.
    reverse : bool
        Whether the first dimensions are x, y and z rather than the last ones.

    Returns
    -------
    tuple
        The dimensions of x, y, z and channel, and the further ones in their order.
    """
    found: dict[int, int] = {}
    for dim, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        role = _role(name, kind)
        if role is not None and role not in found:
            found[role] = dim
    left = [dim for dim in range(len(names)) if dim not in found.values()]
    for dim in left if reverse else left[::-1]:
        free = [role for role in _allowed(names[dim], kinds[dim]) if role not in found]
        if free:
            found[free[0]] = dim
    places = found.get(X), found.get(Y), found.get(Z), found.get(CHANNEL)
    return places, tuple(dim for dim in range(len(names)) if dim not in found.values())


def _plain(name: str | None) -> str:
    """Return a name without Neuroglancer's marks of local and channel dimensions."""
    return (name or "").rstrip("^'").strip().lower()


def _role(name: str | None, kind: str | None) -> int | None:
    if kind == "channel":
        return CHANNEL
    role = _NAMES.get(_plain(name))
    if kind is None or (kind == "space") == (role in (X, Y, Z)):
        return role
    return None


def _allowed(name: str | None, kind: str | None) -> tuple[int, ...]:
    """Return what a dimension may be by its position."""
    if kind == "space":
        return X, Y, Z
    if kind is not None or _plain(name) in _TIME:
        return ()
    return X, Y, Z, CHANNEL
