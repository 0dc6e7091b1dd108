"""Positions on the further axes of datasets, such as time: a job is about one, and says so where nobody chose it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from volumekit.errors import OptionError

if TYPE_CHECKING:
    from volumekit.model.axis import Axis
    from volumekit.volume.volume import Volume

log = logging.getLogger(__name__)


def unchosen(volume: Volume) -> list[Axis]:
    """Return the axes that have several positions of which nobody chose one: the volume is at the first."""
    chosen = volume.at or {}
    return [axis for axis in volume.axes if axis.position is not None and axis.extent > 1 and axis.name not in chosen]


def tell_first(volume: Volume, what: str) -> None:
    """Warn that a job is about the first position alone; ``what`` becomes of it."""
    for axis in unchosen(volume):
        log.warning("of %d positions of %s the first is %s; at= (--at) chooses another", axis.extent, axis.name, what)


def check_chosen(source: Volume, target: Volume) -> None:
    """Refuse to copy the first position of many to the first of many.

    Raises
    ------
    OptionError
        If a position was not chosen of a source or a target that has several.
    """
    for volume, which, how in ((source, "source", "--at"), (target, "target", "--dst-at")):
        for axis in unchosen(volume):
            raise OptionError(
                f"the {which} has {axis.extent} positions of {axis.name}, and one is transferred at a time; say which: "
                f"Volume(url, at={{{axis.name!r}: …}}), or {how} {axis.name}=…",
                url=volume.cloudpath,
            )
