"""``volumekit export URL OUT``."""

from __future__ import annotations

from typing import Any

import click

from volumekit.cli.options import boxed, logged, placed, watched
from volumekit.cli.types import box_of


@click.command("export")
@click.argument("url")
@click.argument("out")
@boxed("Half-open, in voxels of the level; default: all of it.")
@placed("Position on a further axis, or part of the dataset")
@click.option("--mip", type=int, default=0, show_default=True, help="Level.")
@click.option("--axis", type=click.Choice(["x", "y", "z"]), default="z", show_default=True, help="Planes cross it.")
@click.option(
    "--planes", type=click.Choice(["tif", "png", "jpg"]), default="tif", show_default=True, help="In a folder."
)
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@click.option("--progress/--quiet", default=None, help="Show how far it is; default: yes.")
@logged
def command(
    url: str, out: str, *, box: Any, at: Any, mip: int, axis: str, planes: str, overwrite: bool, progress: bool | None
) -> None:
    r"""Write a part of a volume to OUT: out.png, out.tif, out.nrrd, out.npy or folder/.

    \b
    Example:
      volumekit export volume/ slice.png --box 0:512,0:512,10:11
    """
    from volumekit.ops.export import export
    from volumekit.volume.volume import Volume

    volume = Volume(url, mip, at=at)
    part = box_of(box, volume.bounds)
    written = export(volume, out, box=part, axis=axis, planes=planes, overwrite=overwrite, progress=watched(progress))
    click.echo(str(written))
