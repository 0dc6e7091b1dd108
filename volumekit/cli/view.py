"""``volumekit view URL…``."""

from __future__ import annotations

import functools
import threading
from typing import Any

import click

from volumekit.cli.options import logged, placed
from volumekit.cli.types import COUNTS_OF_TWO
from volumekit.errors import OptionError


@click.command("view")
@click.argument("urls", nargs=-1, metavar="[PATH_OR_URL]...")
@click.option("--labels", multiple=True, metavar="PATH_OR_URL", help="Labels that do not say so; may be repeated.")
@placed("Position on a further axis, or part of the dataset, of all that is shown")
@click.option("--screenshot", type=click.Path(dir_okay=False), metavar="OUT.png", help="Save a picture, and end.")
@click.option("--size", type=COUNTS_OF_TWO, default="1000,600", show_default=True, help="Of the picture, in pixels.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0: any free one.")
@click.option("--browser/--no-browser", default=None, help="Open a browser; default: where there is a desktop.")
@logged
def command(
    urls: tuple[str, ...],
    *,
    labels: tuple[str, ...],
    at: Any,
    screenshot: str | None,
    size: Any,
    port: int,
    browser: bool | None,
) -> None:
    """Show volumes in Neuroglancer, from this machine alone: images first, then labels that lie over them.

    \b
    Examples:
      volumekit view brain labels
      volumekit view slices/ --labels cells.tif
      volumekit view brain --screenshot brain.png
    """  # noqa: D301  click's mark for text that is not wrapped
    from volumekit.registry import load
    from volumekit.serve.running import serve
    from volumekit.volume.volume import Volume

    if not urls and not labels:
        raise OptionError("name what to show: a path or a URL, several lie over each other")
    made, saving = load("volumekit.view.viewer:Viewer[view]"), load("volumekit.view.picture:saving")
    if screenshot is not None:
        saving(screenshot, size)
    opened = functools.partial(Volume, at=at)
    with serve(port=port) as server:
        viewer = made.of(server, map(opened, urls), map(opened, labels))
        if screenshot is not None:
            viewer.screenshot(screenshot, size=size)
            click.echo(screenshot)
            return
        click.echo(viewer.url)
        if browser is not False:
            viewer.open(anyway=bool(browser))
        _wait()


def _wait() -> None:
    """Wait for Ctrl-C."""
    threading.Event().wait()
