"""Slices of volumes as figures of matplotlib: true proportions, a scale bar, labels in colours of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import OptionError, OutOfBoundsError, ShapeError
from volumekit.model.level import Level
from volumekit.picture.image import Picture
from volumekit.picture.planes import bar_length, colour_labels, contrast, to_uint8
from volumekit.registry import missing_extra
from volumekit.volume.pictures import voxels_of

if TYPE_CHECKING:
    from volumekit.volume.cutout import VolumeCutout
    from volumekit.volume.volume import Volume

AXES = "xyz"
ENOUGH = 1200
"""Pixels along the longer side of a slice, beyond which a coarser level is drawn instead."""

_PANEL, _SMALLEST = 4.0, 1.2
"""Inches of the longest side in a figure, and of the shortest side of a panel."""

_MARGINS = (0.85, 0.15, 0.6, 0.65)
"""Inches at the left, the right, the bottom and the top of a panel, for what is written there."""

_WIDE = 0.35
"""Share of a panel from which on a bar is long enough for what is written above it."""


@dataclass(frozen=True)
class Slice:
    """A plane across one axis.

    Attributes
    ----------
    axis : int
        The axis that is cut.
    at : int
        Where, in global voxels of the level.
    voxels : numpy.ndarray
        (u, v, channel); u runs rightwards, v downwards.
    low : tuple of int
        Global voxels of its corner, along u and v.
    size : tuple of float
        Voxel size in nm, along u and v.
    """

    axis: int
    at: int
    voxels: NDArray[Any]
    low: tuple[int, int]
    size: tuple[float, float]


def plot_volume(
    volume: Volume,
    positions: Mapping[str, int | None],
    *,
    box: Any = None,
    mip: Any = None,
    **how: Any,
) -> list[Any]:
    """Draw slices of a volume; see `Volume.plot`."""
    finest = mip is None and box is None  # a box is given in voxels of the current mip
    number = _enough(volume) if finest else volume.mip if mip is None else volume.to_mip(mip)
    bounds = volume.mip_bounds(number) if box is None else volume._grid_box(box, volume.array(number).level)
    level = volume.array(number).level
    given = {AXES.index(axis): int(at) for axis, at in positions.items() if at is not None}
    if finest:
        given = {axis: _moved(volume, at, axis, number) for axis, at in given.items()}
    low, high = bounds.minpt.tolist(), bounds.maxpt.tolist()
    slices = []
    for axis, at in (given or _middles(low, high)).items():
        if not low[axis] <= at < high[axis]:
            raise OutOfBoundsError(f"{AXES[axis]}={at} lies outside {bounds}", url=volume.cloudpath)
        spans = [slice(at, at + 1) if n == axis else slice(low[n], high[n]) for n in (0, 1, 2)]
        voxels = volume.download(tuple(spans), number, progress=False)
        slices.append(_cut(np.asarray(voxels), axis, 0, at, low, level.resolution))
    labels = volume.layer_type == "segmentation" and level.dtype.kind in "iu"
    return draw(slices, labels=labels, title=f"{volume.layer}, mip {number}", **how)


def _enough(volume: Volume) -> int:
    """Return the current mip, or the first coarser one that is not larger than a figure shows."""
    usable = [mip for mip in volume.available_mips if mip >= volume.mip and volume.levels[mip].error is None]
    return next((mip for mip in usable if _longest(volume.levels[mip]) <= ENOUGH), usable[-1] if usable else volume.mip)


def _longest(level: Level) -> int:
    return max(level.shape[:3])


def _moved(volume: Volume, at: int, axis: int, mip: int) -> int:
    """Return a coordinate of the current mip in another one."""
    point = volume.bounds.minpt.tolist()
    point[axis] = at
    return int(volume.point_to_mip(point, volume.mip, mip)[axis])


def _middles(low: Sequence[int], high: Sequence[int]) -> dict[int, int]:
    """Return where to cut each axis if nobody says: in the middle, across z first."""
    return {axis: (low[axis] + high[axis]) // 2 for axis in (2, 1, 0)}


def plot_cutout(cutout: VolumeCutout, positions: Mapping[str, int | None], **how: Any) -> list[Any]:
    """Draw slices of a cutout; see `VolumeCutout.show`."""
    voxels = voxels_of(cutout)
    place = cutout._place
    low = list(place.first[:3]) if place is not None else [0, 0, 0]
    if place is not None and any(step != 1 for step in place.step[:3]):
        raise ShapeError("this cutout leaves out voxels; show one without steps, or its plain array with matplotlib")
    high = [a + n for a, n in zip(low, voxels.shape, strict=False)]
    given = {AXES.index(axis): int(at) for axis, at in positions.items() if at is not None}
    thin = {axis: low[axis] for axis in (2, 1, 0) if voxels.shape[axis] == 1}
    resolution = tuple(float(n) for n in cutout.resolution) if cutout.resolution is not None else (1.0, 1.0, 1.0)
    slices = []
    for axis, at in (given or dict(list(thin.items())[:1]) or _middles(low, high)).items():
        if not low[axis] <= at < high[axis]:
            raise OutOfBoundsError(f"{AXES[axis]}={at} lies outside {low[axis]} to {high[axis]}")
        slices.append(_cut(voxels, axis, at - low[axis], at, low, resolution))
    labels = cutout.layer_type == "segmentation" and voxels.dtype.kind in "bui"
    return draw(slices, labels=labels, title=cutout.layer or "", physical=cutout.resolution is not None, **how)


def _cut(
    voxels: NDArray[Any], axis: int, index: int, at: int, low: Sequence[int], resolution: Sequence[float]
) -> Slice:
    u, v = (n for n in (0, 1, 2) if n != axis)
    return Slice(axis, at, voxels.take(index, axis=axis), (low[u], low[v]), (resolution[u], resolution[v]))


def draw(
    slices: Sequence[Slice],
    *,
    labels: bool,
    title: str = "",
    channel: int | None = None,
    range: tuple[float, float] | None = None,  # noqa: A002  the word every plotting library uses
    ax: Any = None,
    physical: bool = True,
) -> list[Any]:
    """Draw slices side by side; return the axes of matplotlib, one for each."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise missing_extra("view", error) from error
    shown = [_chosen(part.voxels, channel, labels) for part in slices]
    limits = None if labels else range or _limits(shown)
    given = ax is not None
    axes = list(np.atleast_1d(np.asarray(ax, dtype=object)).ravel()) if given else _panels(plt, slices)
    if len(axes) != len(slices):
        raise OptionError(f"there are {len(slices)} slices to draw, and {len(axes)} axes to draw them into")
    for axis, part, plane in zip(axes, slices, shown, strict=True):
        picture = colour_labels(plane[..., 0]) if labels else to_uint8(plane, range=limits)
        _draw(axis, part, picture, physical=physical)
    if not given and title:
        axes[0].figure.suptitle(title)
    return axes


def _panels(plt: Any, slices: Sequence[Slice]) -> list[Any]:
    """Return axes side by side in a new figure, all at the same scale; a panel that is small that way gets more room.

    Placed here, because matplotlib's layout engines settle on true proportions only when they draw again and again.
    """
    sides = [[n * size for n, size in zip(part.voxels.shape, part.size, strict=False)] for part in slices]
    scale = _PANEL / max(map(max, sides))
    sizes = [[max(side * scale, _SMALLEST) for side in pair] for pair in sides]
    left, right, bottom, top = _MARGINS
    width = sum(w for w, _ in sizes) + (left + right) * len(sizes)
    tallest = max(h for _, h in sizes)
    height = tallest + bottom + top
    figure, axes, x = plt.figure(figsize=(width, height)), [], left
    for w, h in sizes:
        y = bottom + (tallest - h) / 2
        axes.append(figure.add_axes((x / width, y / height, w / width, h / height)))
        x += w + left + right
    return axes


def _chosen(plane: NDArray[Any], channel: int | None, labels: bool) -> NDArray[Any]:
    """Return one channel of a plane, or three that make colours."""
    count = plane.shape[2]
    if channel is None:
        return plane if count == 3 and not labels else plane[..., :1]
    if not 0 <= channel < count:
        raise OptionError(f"channel is {channel}; there are {count}, counted from 0")
    return plane[..., channel : channel + 1]


def _limits(planes: Sequence[NDArray[Any]]) -> tuple[float, float] | None:
    """Return what becomes black and white in all slices alike."""
    parts = []
    for plane in planes:
        step = max(1, math.isqrt(plane.size // 1_000_000))
        parts.append(plane[::step, ::step].reshape(-1, 1))
    return contrast(np.concatenate(parts))


def _draw(axis: Any, part: Slice, picture: Picture, *, physical: bool) -> None:
    u, v = (name for name in AXES if name != AXES[part.axis])
    width, height = picture.shape[:2]
    left, top = part.low
    flat = {"cmap": "gray", "vmin": 0, "vmax": 255} if picture.ndim == 2 else {}
    axis.imshow(
        picture.swapaxes(0, 1),
        extent=(left, left + width, top + height, top),
        aspect=part.size[1] / part.size[0],
        interpolation="nearest",
        **flat,
    )
    axis.set(xlabel=u, ylabel=v, title=f"{AXES[part.axis]} = {part.at}")
    if physical:
        _bar(axis, width, part.size[0])


def _bar(axis: Any, width: int, nm: float) -> None:
    """Draw a bar of a round length into the lower right corner, and say how long it is."""
    from matplotlib import patheffects
    from matplotlib.patches import Rectangle

    length, text = bar_length(width, nm)
    share = length / nm / width
    edge = [patheffects.withStroke(linewidth=2, foreground="black")]
    bar = Rectangle(
        (0.97 - share, 0.03), share, 0.015, transform=axis.transAxes, color="white", ec="black", lw=0.5, label=text
    )
    axis.add_patch(bar)
    middle = share > _WIDE
    axis.text(
        0.97 - share / 2 if middle else 0.97,
        0.055,
        text,
        transform=axis.transAxes,
        color="white",
        ha="center" if middle else "right",
        va="bottom",
        path_effects=edge,
    )
