"""``volumekit downsample URL``."""

from __future__ import annotations

from typing import Any

import click

from volumekit.cli.options import check_json, cluster, estimating, placed, reducing, show, watched, working
from volumekit.cli.types import COMPRESSION


@click.command("downsample")
@click.argument("url")
@click.option("--mips", type=click.IntRange(1, 32), default=1, show_default=True, help="How many levels to add.")
@click.option("--mip", type=int, help="Level to start from; default: the coarsest that holds data.")
@reducing
@placed("Part of the dataset; of further axes all positions get the levels, whichever is named")
@click.option("--fill-missing/--no-fill-missing", default=None, help="Whether missing chunks count as background.")
@click.option("--compress", type=COMPRESSION, help="gzip, br, zstd, xz, bz2 or none; default: none.")
@click.option("--verify", is_flag=True, help="Read the levels that were stored and compare them before it is finished.")
@estimating
@working
def command(url: str, *, at: Any, progress: bool | None, dask: str | None, as_json: bool, **how: Any) -> None:
    """Add coarser levels to a volume."""
    from volumekit.ops.downsample import downsample
    from volumekit.volume.volume import Volume

    check_json(as_json=as_json, dry_run=how["dry_run"])
    chosen = url if at is None else Volume(url, at=at)
    with cluster(dask) as client:
        volume = downsample(chosen, progress=watched(progress), client=client, **how)
    if how["dry_run"]:
        show(volume, as_json=as_json)
        return
    sizes = ", ".join("x".join(map(str, level.shape[:3])) for level in volume.levels)
    click.echo(f"{volume.cloudpath}: levels {sizes}")
    processing = volume.provenance.processing
    if how["verify"] and processing and "verified" in processing[-1]:
        click.echo(f"verified: {processing[-1]['verified']}")
