"""``volumekit exists URL``."""

from __future__ import annotations

import json
from typing import Any

import click

from volumekit.cli.options import boxed, logged, placed
from volumekit.cli.types import box_of

SHOWN = 10


@click.command("exists")
@click.argument("url")
@click.option("--mip", type=int, default=0, show_default=True, help="Level.")
@boxed("Half-open, in voxels of the level; default: all of it.")
@placed("Position on a further axis, or part of the dataset")
@click.option("--json", "as_json", is_flag=True, help="For programs; names every missing chunk.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Draw a map of them: a PNG, seen along z.")
@logged
def command(url: str, *, mip: int, box: Any, at: Any, as_json: bool, plot: str | None) -> None:
    """Tell which chunks are stored; none is downloaded."""
    from volumekit.volume.volume import Volume

    volume = Volume(url, mip, at=at)
    report = volume.exists(box_of(box, volume.bounds))
    if plot is not None:
        report.plot(plot)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
        return
    click.echo(f"{report.num_present:,} of {report.total:,} chunks stored: mip {volume.mip} of {volume.cloudpath}")
    for name in report.missing[:SHOWN]:
        click.echo(f"missing: {name}")
    if report.num_missing > SHOWN:
        click.echo(f"... and {report.num_missing - SHOWN:,} more; --json names them all")
