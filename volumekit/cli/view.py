"""``volumekit view URL…``."""

from __future__ import annotations

import threading
from typing import Any

import click

from volumekit.cli.options import logged
from volumekit.cli.types import COUNTS_OF_TWO


@click.command("view")
@click.argument("urls", nargs=-1, required=True, metavar="PATH_OR_URL...")
@click.option("--screenshot", type=click.Path(dir_okay=False), metavar="OUT.png", help="Save a picture, and end.")
@click.option("--size", type=COUNTS_OF_TWO, default="1000,700", show_default=True, help="Of the picture's window.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0: any free one.")
@click.option("--browser/--no-browser", default=None, help="Open a browser; default: where there is a desktop.")
@logged
def command(urls: tuple[str, ...], *, screenshot: str | None, size: Any, port: int, browser: bool | None) -> None:
    r"""Show volumes in Neuroglancer, from this machine alone: images first, then labels that lie over them.

    \b
    Examples:
      volumekit view brain labels
      volumekit view brain --screenshot brain.png
    """
    from volumekit.registry import load
    from volumekit.serve.running import serve

    made = load("volumekit.view.viewer:Viewer[view]")
    with serve(*urls, port=port) as server:
        viewer = made(server, server.names)
        if screenshot is not None:
            viewer.screenshot(screenshot, size=size)
            click.echo(screenshot)
            return
        click.echo(viewer.url)
        if browser is not False:
            viewer.open(anyway=bool(browser))
        threading.Event().wait()
