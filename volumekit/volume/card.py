"""How a volume presents itself in a notebook."""

from __future__ import annotations

import base64
import html
import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from volumekit.errors import VolumekitError
from volumekit.picture.grid import grid_svg
from volumekit.registry import load
from volumekit.volume.showing import in_notebook

if TYPE_CHECKING:
    from volumekit.model.level import Level
    from volumekit.volume.volume import Volume

THUMBNAIL = 160
MOST_VOXELS = 4 << 20
"""A thumbnail never reads more than this."""


def image_tag(picture: Any) -> str:
    """Return an HTML image of a Pillow picture."""
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<img style="image-rendering:pixelated;max-width:{2 * THUMBNAIL}px" src="data:image/png;base64,{data}">'


def card(volume: Volume) -> str:
    """Return the card: bounds, levels, encoding, and a small picture where one is cheap."""
    head = f"<b>{html.escape(volume.cloudpath)}</b>"
    level = volume.levels[volume.mip]
    where = repr(level.bounds) if level.placed else f"mip {volume.mip} cannot be opened"
    kind = f"{volume.layer_type}, {volume.dtype}, {volume.num_channels} channel(s), {where}"
    picture = thumbnail(volume)
    image = f"<td>{image_tag(picture)}</td>" if picture is not None else ""
    return (
        f"<table><tr>{image}<td style='text-align:left;vertical-align:top'>{head}<br>{html.escape(kind)}"
        f"{_levels(volume)}{_link(volume)}</td><td>{_grid(volume)}</td></tr></table>"
    )


def _levels(volume: Volume) -> str:
    names = ("mip", "key", "size", "voxel (nm)", "chunk", "chunks", "encoding")
    rows = ["<tr>" + "".join(f"<th>{name}</th>" for name in names) + "</tr>"]
    for mip, level in enumerate(volume.levels):
        cells = (
            f"<b>{mip}</b>" if mip == volume.mip else str(mip),
            html.escape(level.key),
            *(_sizes(level) if level.placed else "––––"),
            html.escape(level.error or level.codec.name) + (", sharded" if level.sharding else ""),
        )
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table>{''.join(rows)}</table>"


def _sizes(level: Level) -> tuple[str, ...]:
    """Return size, voxel size, chunk and number of chunks, for people."""
    counts = _counts(level)
    return (
        " × ".join(f"{n:,}" for n in level.shape[:3]),
        " × ".join(f"{n:g}" for n in level.resolution),
        " × ".join(str(n) for n in level.chunk[:3]),
        f"{' × '.join(f'{n:,}' for n in counts)} = {math.prod(counts):,}",
    )


def _counts(level: Level) -> list[int]:
    """Return how many chunks a level has along x, y and z."""
    return [-(-n // size) for n, size in zip(level.shape, level.chunk, strict=False)][:3]


def _grid(volume: Volume) -> str:
    """Return a drawing of the chunks of the current mip."""
    level = volume.levels[volume.mip]
    if not level.placed:
        return ""
    lengths = [n * size for n, size in zip(level.shape, level.resolution, strict=False)]
    return f"{grid_svg(lengths, _counts(level))}<br><small>chunks of mip {volume.mip}</small>"


def _link(volume: Volume) -> str:
    """Return a link to the viewer, which starts in this process when it is followed.

    Only notebooks have somebody to click on it.
    """
    if not in_notebook():
        return ""
    try:
        url = load("volumekit.view.shared:link[view]")(volume)  # by name: it stands upon volumes
    except VolumekitError:
        return ""
    if url is None:
        return "<small>pip install 'volumekit[view]' to look at it in Neuroglancer</small>"
    return f"<a href='{html.escape(url, quote=True)}' target='_blank'>look at it in Neuroglancer</a>"


def thumbnail(volume: Volume) -> Any:
    """Return a small picture of the middle slice, or None where none is to be had cheaply."""
    from volumekit.picture.planes import colour_labels, to_uint8

    try:
        plane = _middle(volume)
    except VolumekitError:
        return None
    if plane is None:
        return None
    from PIL import Image

    if volume.layer_type == "segmentation":
        pixels = colour_labels(plane[..., 0])
    else:
        pixels = to_uint8(plane if plane.shape[-1] == 3 else plane[..., 0])
    picture = Image.fromarray(np.ascontiguousarray(pixels.swapaxes(0, 1)))
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.NEAREST)
    return picture


def _middle(volume: Volume) -> Any:
    """Read the middle slice of the coarsest level that holds something, None if that is too much."""
    plane = None
    for mip in reversed(volume.available_mips):
        level = volume.levels[mip]
        x, y, _, c = level.shape
        if x * y * c * level.chunk[2] > MOST_VOXELS:
            break
        if level.error is None:
            plane = _plane(volume, mip)
            if plane.any():
                break
    return plane


def _plane(volume: Volume, mip: int) -> Any:
    low, high = volume.levels[mip].offset, volume.levels[mip].end
    z = (low[2] + high[2]) // 2
    box = np.s_[low[0] : high[0], low[1] : high[1], z : z + 1]
    return volume.download(box, mip, fill_missing=True, progress=False)[:, :, 0]
