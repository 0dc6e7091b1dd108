"""``volumekit info URL``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from volumekit.cli.options import logged, placed

if TYPE_CHECKING:
    from volumekit.model.level import Level
    from volumekit.volume.volume import Volume

_PLACES = ("size", "resolution", "voxel_offset", "chunk_size", "sharded", "shard_size", "encoding")
"""What is null in JSON where a level cannot be opened."""
HEADER = ("mip", "key", "size", "voxel size (nm)", "chunk", "encoding", "bounds")


@click.command("info")
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@placed("Position on a further axis, or part of the dataset")
@logged
def command(url: str, *, as_json: bool, at: Any) -> None:
    """Tell what a volume is: levels, sizes, encodings."""
    from volumekit.volume.volume import Volume

    volume = Volume(url, at=at)
    click.echo(json.dumps(summary(volume), indent=2) if as_json else text(volume))


def summary(volume: Volume) -> dict[str, Any]:
    """Return what there is to say, as plain values."""
    return {
        "url": volume.cloudpath,
        "layer_type": volume.layer_type,
        "data_type": volume.data_type,
        "num_channels": volume.num_channels,
        "levels": [_level(mip, level) for mip, level in enumerate(volume.levels)],
    }


def _level(mip: int, level: Level) -> dict[str, Any]:
    if not level.placed:
        return {"mip": mip, "key": level.key, **dict.fromkeys(_PLACES), "error": level.error}
    return {
        "mip": mip,
        "key": level.key,
        "size": list(level.shape[:3]),
        "resolution": list(level.resolution),
        "voxel_offset": list(level.offset),
        "chunk_size": list(level.chunk[:3]),
        "sharded": level.sharding is not None,
        "shard_size": list(level.sharding.shape) if level.sharding is not None and level.sharding.shape else None,
        "encoding": level.codec.name,
        "error": level.error,
    }


def text(volume: Volume) -> str:
    """Return what there is to say, for people: a line on the volume, and a table of its levels."""
    channels = f", {volume.num_channels} channels" if volume.num_channels > 1 else ""
    rows = [HEADER, *(_row(mip, level) for mip, level in enumerate(volume.levels))]
    widths = [max(len(row[n]) for row in rows) for n in range(len(HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    kind = f"{volume.layer_type}, {volume.data_type}{channels}"
    return "\n".join([volume.cloudpath, kind, *_further(volume), "", *lines])


def _further(volume: Volume) -> list[str]:
    """Return a line on each axis that is fixed."""
    level = volume.levels[volume.mip]
    fixed = [axis for axis in volume._format.axes(level) if axis.position is not None]
    return [f"{axis.name}: {axis.extent} positions, this is {axis.position}" for axis in fixed]


def _row(mip: int, level: Level) -> tuple[str, ...]:
    if level.error is not None:
        return (str(mip), level.key, "-", "-", "-", "-", f"cannot be opened: {level.error}")
    spans = ", ".join(f"{a}:{b}" for a, b in zip(level.offset, level.end, strict=True))
    size, chunk = (" x ".join(map(str, shape[:3])) for shape in (level.shape, level.chunk))
    resolution = " x ".join(f"{n:.12g}" for n in level.resolution)
    if level.sharding is not None:
        shape = level.sharding.shape
        chunk += " in shards" + (f" of {' x '.join(map(str, shape))}" if shape else "")
    return (str(mip), level.key, size, resolution, chunk, level.codec.name, spans)
