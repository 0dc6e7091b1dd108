"""``volumekit serve URL…``."""

from __future__ import annotations

from typing import Any

import click

from volumekit.cli.options import logged
from volumekit.errors import OptionError


@click.command("serve")
@click.argument("urls", nargs=-1, metavar="[PATH_OR_URL]...")
@click.option("--sources", type=click.Path(dir_okay=False), help="A file of named sources, JSON or TOML.")
@click.option("--port", type=click.IntRange(0, 65535), default=9000, show_default=True, help="0: any free one.")
@click.option("--bind", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0: all of them.")
@click.option("--prefix", help="What all paths begin with, such as /data.")
@click.option("--token", help="What everybody has to know who asks; '' for nothing at all.")
@click.option("--cors", multiple=True, metavar="ORIGIN", help="Web pages that may ask; * for all. May be repeated.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@logged
def command(urls: tuple[str, ...], *, sources: str | None, port: int, bind: str, workers: int, **given: Any) -> None:
    """Serve volumes over HTTP, whatever they are stored as: /NAME/ is precomputed, /NAME.zarr/ is OME-Zarr.

    Only this machine can connect unless --bind says otherwise; then everybody needs a token, which is shown.

    \b
    Example:
      volumekit serve brain labels --cors https://neuroglancer-demo.appspot.com
    """  # noqa: D301  click's mark for text that is not wrapped
    from volumekit.serve.running import Recipe, address, listen, make, make_settings, run
    from volumekit.serve.sources import read_sources

    if not urls and sources is None:
        raise OptionError("name what to serve: a path, a URL, or --sources FILE")
    settings = {} if sources is None else read_sources(sources)[1]
    settings |= {name: value for name, value in given.items() if value not in (None, ())}
    recipe = Recipe(urls, make_settings(bind, **settings), sources)
    app = make(recipe)
    listener = listen(bind, port)
    with listener:
        base = address(listener, recipe.settings)
        click.echo(f"{base}/")
        for name, dataset in app.state.site.catalog.datasets.items():
            click.echo(f"  precomputed://{base}/{name}   zarr://{base}/{name}.zarr   ({dataset.source.place})")
        if not recipe.settings.cors:
            click.echo("Pages of other sites may not ask; --cors https://neuroglancer-demo.appspot.com lets one.")
        run(app, recipe, listener, workers=workers)
