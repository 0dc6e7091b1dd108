"""``volumekit demo``."""

from __future__ import annotations

from typing import Any

import click

from volumekit.cli.options import logged, watched
from volumekit.cli.types import AMOUNT, SIZES


@click.command("demo")
@click.option("--source", help="Your own images: a folder, a glob in quotes or a multi-page TIFF.")
@click.option("--out", default="volumekit-demo", show_default=True, help="Folder for everything that is written.")
@click.option("--voxel-size", type=SIZES, help="Of your own images, in nm.")
@click.option("--mips", type=click.IntRange(0, 32), default=3, show_default=True, help="Levels below the full one.")
@click.option("--memory", type=AMOUNT, default="1GB", show_default=True, help="What the whole process may use.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier demo.")
@click.option("--progress/--quiet", default=None, help="Progress bars; default: if somebody is watching.")
@logged
def command(*, progress: bool | None, **how: Any) -> None:
    """Show what it is like: a stack is converted, read back, and drawn on a contact sheet."""
    from volumekit.ops.demo import run_demo

    run_demo(progress=watched(progress), say=click.echo, **how)
