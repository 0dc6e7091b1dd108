"""What Neuroglancer shows when it opens: its state, made from volumes.

Source: the JSON state of Neuroglancer 2.41 (``python/neuroglancer/viewer_state.py``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import VolumekitError
from volumekit.model.level import Level
from volumekit.picture.planes import contrast

if TYPE_CHECKING:
    from volumekit.volume.volume import Volume

MOST_VOXELS = 1 << 20
"""A look at the data, for the contrast and the labels, never reads more than this."""

MOST_LABELS = 200
"""Labels that are selected at most."""

PAGE = (1000, 557)
"""Width and height of a page in pixels, unless somebody knows better."""

MARGINS = (60, 87)
"""Pixels of a page, in all, that no volume should cover."""

COLOURS = ((1, 0, 1), (0, 1, 0), (0, 1, 1), (1, 1, 0), (1, 0, 0), (0, 0, 1), (1, 1, 1))
_NM = 1e-9
_SAFE = "~@$&()*!+=:;,.?/'"
_RGB = "void main() {\n  emitRGB(vec3(toNormalized(getDataValue(0)), toNormalized(getDataValue(1)), toNormalized(getDataValue(2))));\n}\n"  # fmt: skip  # noqa: E501


@dataclass(frozen=True)
class Shown:
    """A volume that is shown.

    Attributes
    ----------
    volume : Volume
        Read for the contrast and the labels.
    source : str
        Where Neuroglancer finds it: ``precomputed://http://…``.
    name : str
        Name of the layer.
    labels : bool
        Whether it is shown as labels; by default it is if its metadata say so.
    """

    volume: Volume
    source: str
    name: str
    labels: bool = False

    @property
    def as_labels(self) -> bool:
        """Whether it is shown as labels after all."""
        return self.volume.num_channels == 1 and (self.labels or self.volume.layer_type == "segmentation")


def viewer_state(shown: Sequence[Shown]) -> dict[str, Any]:
    """Return a state that shows volumes over each other: all of the first one, from its centre.

    Parameters
    ----------
    shown : sequence of Shown
        Images first makes for labels that lie over them.

    Returns
    -------
    dict
        As Neuroglancer's pages take it behind ``#!``.
    """
    finest = _finest(shown[0].volume)
    extents = _extents(finest)
    return {
        "dimensions": {axis: [size * _NM, "m"] for axis, size in zip("xyz", finest.resolution, strict=True)},
        "position": [(low + high) / 2 for low, high in zip(finest.offset, finest.end, strict=True)],
        "crossSectionScale": fitting_scale(shown[0].volume),
        "projectionScale": 1.5 * max(extents) / min(finest.resolution),
        "layers": [layer(item) for item in shown],
        "selectedLayer": {"layer": shown[0].name, "visible": False},
        "layout": "4panel",
    }


def fitting_scale(volume: Volume, page: tuple[int, int] = PAGE) -> float:
    """Return the ``crossSectionScale`` at which three sections through a volume fit into a panel each.

    Parameters
    ----------
    volume : Volume
        Its finest level counts.
    page : tuple of int
        Width and height of the page in pixels.
    """
    finest = _finest(volume)
    x, y, z = _extents(finest)
    width, height = (max(side - margin, side // 4) / 2 for side, margin in zip(page, MARGINS, strict=True))
    return max(max(u / width, v / height) for u, v in ((x, y), (x, z), (z, y))) / min(finest.resolution)


def _finest(volume: Volume) -> Level:
    """Return the finest level that is known where it lies."""
    return next((level for level in volume.levels if level.placed), volume.levels[0])


def _extents(level: Level) -> list[float]:
    """Return the sides of a level in nm."""
    return [n * size for n, size in zip(level.shape, level.resolution, strict=False)]


def layer(item: Shown) -> dict[str, Any]:
    """Return a layer; what cannot be read is shown as it is."""
    try:
        sample = look(item.volume)
    except (VolumekitError, OSError):
        sample = None
    common = {"source": item.source, "name": item.name}
    if item.as_labels:
        return {"type": "segmentation", **common, **_of_labels(sample)}
    return {"type": "image", **common, **_of_image(item.volume.levels[0], sample)}


def look(volume: Volume) -> NDArray[Any]:
    """Return voxels of the middle of a volume, (x, y, z, channel), from the coarsest level that holds something."""
    usable = [mip for mip, level in enumerate(volume.levels) if level.error is None] or [0]
    for mip in reversed(usable):
        low, high = _middle(volume.levels[mip])
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        seen = np.asarray(volume.download(box, mip, fill_missing=True, progress=False))
        if seen.any():
            break
    return seen


def _middle(level: Level) -> tuple[list[int], list[int]]:
    """Return a box of whole chunks about the centre, as large as one may read."""
    counts = [-(-n // size) for n, size in zip(level.shape[:3], level.chunk[:3], strict=True)]
    taken = [1, 1, 1]
    step = 1
    while step:
        step = 0
        for axis in (0, 1, 2):
            more = [n + (at == axis) for at, n in enumerate(taken)]
            if taken[axis] < counts[axis] and _voxels(level, more) <= MOST_VOXELS:
                taken, step = more, 1
    first = [(count - n) // 2 for count, n in zip(counts, taken, strict=True)]
    low = [o + n * size for o, n, size in zip(level.offset, first, level.chunk, strict=False)]
    high = [min(a + n * size, end) for a, n, size, end in zip(low, taken, level.chunk, level.end, strict=False)]
    return low, high


def _voxels(level: Level, chunks: Sequence[int]) -> int:
    sides = [min(n * size, extent) for n, size, extent in zip(chunks, level.chunk, level.shape, strict=False)]
    return int(np.prod(sides, dtype=object)) * level.channels


def _of_labels(sample: NDArray[Any] | None) -> dict[str, Any]:
    """Select the largest labels; the others are shown faintly."""
    if sample is None or sample.dtype.kind not in "iu":
        return {}
    labels, counts = np.unique(sample, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    chosen = [str(label) for label in labels[order].tolist() if label > 0][:MOST_LABELS]
    return {"segments": chosen, "notSelectedAlpha": 0.2, "tab": "segments"}


def _of_image(level: Level, sample: NDArray[Any] | None) -> dict[str, Any]:
    """Choose a shader, with its range from the percentiles of the data."""
    if level.channels == 1:
        return _controls({"normalized": _range(sample, 0)})
    if level.channels == 3 and level.dtype.name == "uint8":
        return {"shader": _RGB}
    names = [f"channel{n}" for n in range(min(level.channels, len(COLOURS)))]
    lines = [f"#uicontrol invlerp {name}(channel={n})" for n, name in enumerate(names)]
    terms = [f"{name}() * vec3({r}, {g}, {b})" for name, (r, g, b) in zip(names, COLOURS, strict=False)]
    shader = "\n".join([*lines, "void main() {", f"  emitRGB({' + '.join(terms)});", "}", ""])
    return {"shader": shader, **_controls({name: _range(sample, n) for n, name in enumerate(names)})}


def _controls(ranges: dict[str, list[float] | None]) -> dict[str, Any]:
    found = {name: {"range": limits} for name, limits in ranges.items() if limits is not None}
    return {"shaderControls": found} if found else {}


def _range(sample: NDArray[Any] | None, channel: int) -> list[float] | None:
    """Return the values that become black and white, None if there is no telling."""
    if sample is None:
        return None
    limits = contrast(sample[..., channel].reshape(-1, 1))
    if limits is None:
        return None
    return [int(n) if sample.dtype.kind in "biu" else n for n in limits]


def fragment(state: dict[str, Any]) -> str:
    """Return what follows the address of a page: ``#!`` and the state."""
    return "#!" + quote(json.dumps(state, separators=(",", ":")), safe=_SAFE)
