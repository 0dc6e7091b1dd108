"""``volumekit cache ls | du | flush | prefetch | verify``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from volumekit.cli.options import boxed, logged, watched
from volumekit.cli.types import box_of

if TYPE_CHECKING:
    from volumekit.cache.index import Index
    from volumekit.cache.options import Cache

DIRECTORY = click.option("--cache", "directory", type=click.Path(), help="Cache directory; default: the usual one.")


@click.group("cache")
def command() -> None:
    """Tell what is in the disk cache; fill it, empty it, check it."""


@command.command("ls")
@click.argument("url", required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@DIRECTORY
@logged
def ls(url: str | None, *, as_json: bool, directory: str | None) -> None:
    """List the datasets in the cache, or the chunks of one."""
    index, names = _index(directory), []
    if index is not None and url is None:
        names = [name for name, (_, count, _) in index.folders().items() if count]
    elif index is not None:
        names = [key for key, entry in index.everything(index.dataset(_folder(str(url)))).items() if entry.size >= 0]
    click.echo(json.dumps(names, indent=2) if as_json else "\n".join(names) or "nothing is in the cache")


@command.command("du")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@DIRECTORY
@logged
def du(*, as_json: bool, directory: str | None) -> None:
    """Tell how large the cache is, by dataset."""
    index = _index(directory)
    folders = {} if index is None else index.folders()
    rows = {name: {"chunks": count, "bytes": size} for name, (_, count, size) in folders.items() if count}
    place, total = _cache(directory).directory, sum(row["bytes"] for row in rows.values())
    if as_json:
        click.echo(json.dumps({"directory": place, "bytes": total, "datasets": rows}, indent=2))
        return
    for name, row in rows.items():
        click.echo(f"{row['bytes'] / 1e6:12,.1f} MB {row['chunks']:10,} chunks  {name}")
    click.echo(f"{total / 1e6:12,.1f} MB in {place}")


@command.command("flush")
@click.argument("url", required=False)
@click.option("--all", "everything", is_flag=True, help="All datasets.")
@boxed("Only chunks that touch this box, in voxels of mip 0; at every mip.")
@DIRECTORY
@logged
def flush(url: str | None, *, everything: bool, box: Any, directory: str | None) -> None:
    """Remove a dataset's chunks from the cache."""
    if (url is None) == (not everything):
        raise click.UsageError("give a URL, or --all")
    if url is not None and box is not None:
        volume = _volume(url, directory)
        volume.cache.flush_region(box_of(box, volume.mip_bounds(0)), volume.available_mips)
        return
    index = _index(directory)
    if index is None:
        return
    folder = None if url is None else _folder(url)
    for name, (number, _, _) in index.folders().items():
        if everything or name == folder:
            index.forget(number, list(index.everything(number)))


@command.command("prefetch")
@click.argument("url")
@click.option("--mip", type=int, default=0, show_default=True, help="Level.")
@boxed("Half-open, in voxels of the level; default: all of it.")
@click.option("--progress/--quiet", default=None, help="Show how far it is; default: yes.")
@DIRECTORY
@logged
def prefetch(url: str, *, mip: int, box: Any, progress: bool | None, directory: str | None) -> None:
    """Bring the chunks of a box into the cache."""
    volume = _volume(url, directory, mip)
    volume.cache.prefetch(box_of(box, volume.bounds), progress=watched(progress))
    stats = volume.cache.stats()
    click.echo(f"{stats.misses:,} chunks fetched, {stats.missed_bytes / 1e6:,.1f} MB; {stats.hits:,} were there")


@command.command("verify")
@click.argument("url", required=False)
@DIRECTORY
@logged
def verify(url: str | None, *, directory: str | None) -> int:
    """Compare what is in the cache with its checksums, and remove what is damaged. Exit code 1 if anything was."""
    from volumekit.cache import repair

    index, damaged = _index(directory), 0
    if index is not None:
        for name in index.folders() if url is None else [_folder(url)]:
            for key in repair.verify(index, name):
                click.echo(f"removed: {name}/{key}")
                damaged += 1
    click.echo(f"{damaged:,} damaged")
    return int(damaged > 0)


def _cache(directory: str | None) -> Cache:
    from volumekit.cache.options import Cache

    return Cache(directory)


def _index(directory: str | None) -> Index | None:
    """Return the account of a cache directory, None if there is none."""
    import sqlite3

    from volumekit.cache.repair import exists, open_index
    from volumekit.errors import StorageError

    cache = _cache(directory)
    try:
        return open_index(cache.directory, cache.max_bytes) if exists(cache.directory) else None
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"the cache directory {cache.directory} cannot be used: {error}") from error


def _folder(url: str) -> str:
    from volumekit.cache.options import folder_of
    from volumekit.storage import open_store
    from volumekit.volume.source import resolve, split_selector

    place = resolve(url)
    return folder_of(place, open_store(split_selector(place)[0]).endpoint)


def _volume(url: str, directory: str | None, mip: int = 0) -> Any:
    from volumekit.volume.volume import Volume

    return Volume(url, mip, cache=_cache(directory))
