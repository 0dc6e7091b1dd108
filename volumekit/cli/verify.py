"""``volumekit verify SRC DST``."""

from __future__ import annotations

from typing import Any

import click

from volumekit.cli.options import boxed, cluster, logged, placed, show, watched
from volumekit.cli.types import AMOUNT, box_of


@click.command("verify")
@click.argument("src")
@click.argument("dst")
@click.option("--mip", type=int, default=0, show_default=True, help="Level of SRC.")
@boxed("Half-open, in voxels of the level; default: all of it.")
@placed("Position on a further axis, or part of the dataset SRC")
@placed("The same of DST", "--dst-at")
@click.option("--sample", type=click.FloatRange(0, 1, min_open=True), default=1.0, help="Share of boxes to compare.")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses the sample.")
@click.option("--tolerance", type=float, default=0.0, help="By how much values may differ.")
@click.option("--checksums", is_flag=True, help="Compare stored chunks, not voxels: of volumes with the same chunks.")
@click.option("--memory", type=AMOUNT, default="1GB", show_default=True, help="What the whole process may use.")
@click.option("--jobs", type=click.IntRange(1), help="Threads; default: one per core.")
@click.option("--processes", type=click.IntRange(1), help="Do the tasks in so many processes, not threads.")
@click.option("--dask", metavar="ADDRESS", help="Do them on a Dask cluster: tcp://host:port, or local.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--progress/--quiet", default=None, help="Show how far it is; default: yes.")
@logged
def command(
    src: str,
    dst: str,
    *,
    mip: int,
    box: Any,
    at: Any,
    dst_at: Any,
    as_json: bool,
    progress: bool | None,
    dask: str | None,
    **how: Any,
) -> int:
    """Compare two volumes, voxel by voxel or by checksums. Exit code 1 if they differ."""
    from volumekit.ops.verify import verify
    from volumekit.volume.volume import Volume

    source = Volume(src, at=at)
    chosen = box_of(box, source.mip_bounds(mip))
    other = dst if dst_at is None else Volume(dst, at=dst_at)
    with cluster(dask) as client:
        found = verify(source, other, mip=mip, box=chosen, progress=watched(progress), client=client, **how)
    show(found, as_json=as_json)
    return 0 if found else 1
