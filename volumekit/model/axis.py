"""An axis of a dataset: one of x, y, z and channel, or one that is fixed when a volume is opened."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """An axis of a dataset.

    Attributes
    ----------
    name : str
        As the data call it.
    kind : str
        ``"space"``, ``"time"``, ``"channel"``, or whatever else the data say; empty if they do not.
    extent : int
        Number of positions.
    step : float
        Distance from one position to the next, in ``unit``.
    unit : str or None
        Unit of ``step``; ``"nm"`` for x, y and z.
    position : int or None
        Where the axis is fixed; None: it is an axis of the volume.
    labels : tuple of str
        Names of the positions, if they have any: of channels, mostly.
    colors : tuple of str
        Colours of the positions, six hexadecimal digits each.
    """

    name: str
    kind: str
    extent: int
    step: float = 1.0
    unit: str | None = None
    position: int | None = None
    labels: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
