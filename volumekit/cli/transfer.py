"""``volumekit transfer SRC DST``."""

from __future__ import annotations

from typing import Any

import click

from volumekit.cli.options import boxed, check_json, cluster, estimating, logged, placed, show, watched
from volumekit.cli.types import COMPRESSION, box_of


@click.command("transfer")
@click.argument("src")
@click.argument("dst")
@click.option("--mip", "mips", type=int, multiple=True, help="Which level, more than once for several; default: all.")
@boxed("Half-open, in voxels of the finest of these levels; default: all.")
@placed("Position on a further axis, or part of the dataset SRC")
@placed("The same of an existing DST", "--dst-at")
@click.option("--compress", type=COMPRESSION, help="gzip, br, zstd, xz, bz2 or none; default: as in SRC.")
@click.option("--jobs", type=click.IntRange(1), help="Threads; default: one per core.")
@click.option("--processes", type=click.IntRange(1), help="Do the tasks in so many processes, not threads.")
@click.option("--dask", metavar="ADDRESS", help="Do them on a Dask cluster: tcp://host:port, or local.")
@click.option("--journal", type=click.Path(), help="Where to note what is done; default: in DST.")
@click.option("--overwrite", is_flag=True, help="Write over chunks that are not from SRC; compare every chunk again.")
@estimating
@click.option("--progress/--quiet", default=None, help="Show how far it is; default: yes.")
@logged
def command(
    src: str,
    dst: str,
    *,
    mips: tuple[int, ...],
    box: Any,
    at: Any,
    dst_at: Any,
    progress: bool | None,
    dask: str | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Copy a volume or a part of it: chunks as they are where source and target agree.

    A new DST has the levels that are transferred, and the extent of SRC also where only a box of it is, so that other
    boxes, and levels, can follow.
    """
    from volumekit.ops.transfer import transfer
    from volumekit.volume.volume import Volume

    check_json(as_json=as_json, dry_run=how["dry_run"])
    source = Volume(src, at=at)
    chosen = box_of(box, source.mip_bounds(min(mips, default=0)))
    place = dst if dst_at is None else Volume(dst, at=dst_at)
    with cluster(dask) as client:
        target = transfer(
            source, place, mips=mips or None, box=chosen, client=client, progress=watched(progress), **how
        )
    if how["dry_run"]:
        show(target, as_json=as_json)
        return
    sizes = ", ".join("x".join(map(str, level.shape[:3])) for level in target.levels)
    click.echo(f"{target.cloudpath}: levels {sizes}")
