"""``volumekit verify SRC DST``."""

from __future__ import annotations

import json
from typing import Any

import click

from volumekit.cli.options import logged, watched
from volumekit.cli.types import BOX, box_of


@click.command("verify")
@click.argument("src")
@click.argument("dst")
@click.option("--mip", type=int, default=0, show_default=True, help="Level of SRC.")
@click.option("--box", type=BOX, help="Half-open, in voxels of the level; default: all of it.")
@click.option("--sample", type=click.FloatRange(0, 1, min_open=True), default=1.0, help="Share of boxes to compare.")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses the sample.")
@click.option("--tolerance", type=float, default=0.0, help="By how much values may differ.")
@click.option("--jobs", type=click.IntRange(1), help="Threads; default: one per core.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--progress/--quiet", default=None, help="Progress bar; default: if somebody is watching.")
@logged
def command(src: str, dst: str, *, mip: int, box: Any, as_json: bool, progress: bool | None, **how: Any) -> int:
    """Compare two volumes voxel by voxel. Exit code 1 if they differ."""
    from volumekit.ops.verify import verify
    from volumekit.volume.volume import Volume

    source = Volume(src)
    found = verify(source, dst, mip=mip, box=box_of(box, source.mip_bounds(mip)), progress=watched(progress), **how)
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else str(found))
    return 0 if found else 1
