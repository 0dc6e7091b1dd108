"""``volumekit convert SRC DST``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from volumekit.cli.options import boxed, check_json, cluster, estimating, placed, reducing, show, watched, working
from volumekit.cli.types import COMPRESSION, COUNTS, DATA_TYPE, ENCODING, INTEGERS, NEW_FORMAT, SIZES, SPAN

if TYPE_CHECKING:
    from volumekit.volume.volume import Volume


@click.command("convert")
@click.argument("src")
@click.argument("dst", required=False)
@click.option("--voxel-size", type=SIZES, help="Voxel size; default: the source's, or 1 nm.")
@click.option(
    "--unit", type=click.Choice(["nm", "um", "mm", "m"]), default="nm", show_default=True, help="Of the voxel size."
)
@click.option("--mips", type=click.IntRange(0, 32), default=0, show_default=True, help="Levels below the full one.")
@reducing
@boxed("Part of the source to convert, half-open.")
@placed("Position on a further axis, or part of the dataset SRC")
@click.option("--offset", type=INTEGERS, help="Where the lowest voxel goes; default: where it is in the source.")
@click.option("--chunk-size", type=COUNTS, default="64,64,64", show_default=True, help="Size of a chunk.")
@click.option(
    "--encoding",
    type=ENCODING,
    default="raw",
    show_default=True,
    help="raw, jpeg, png, jxl, compressed_segmentation, compresso, crackle, fpzip, …; see docs/encodings.md.",
)
@click.option("--data-type", type=DATA_TYPE, help="Stored type; default: the source's. Only lossless casts are made.")
@click.option("--rescale", type=SPAN, help="Values that become the lowest and highest of --data-type, linearly.")
@click.option("--axes", default="xyz", show_default=True, help="Which axes of SRC become x, y and z, such as zyx.")
@click.option("--layer-type", type=click.Choice(["image", "segmentation"]), help="Default: the source's, or image.")
@click.option("--sharded", "sharding", is_flag=True, help="Pack chunks into larger files.")
@click.option("--compress", type=COMPRESSION, help="gzip, br, zstd, xz, bz2 or none; default: none.")
@click.option("--block-size", type=COUNTS, default="8,8,8", show_default=True, help="Of compressed_segmentation.")
@click.option("--jpeg-quality", type=click.IntRange(0, 100), help="Of jpeg.")
@click.option("--png-level", type=click.IntRange(0, 9), help="Of png.")
@click.option("--encoding-level", type=int, help="Quality, level or precision, of any encoding that has one.")
@click.option("--encoding-effort", type=int, help="Of jxl.")
@click.option("--z-from-name", is_flag=True, help="Place images by the number in their name, not by their order.")
@click.option("--fill-missing/--no-fill-missing", default=None, help="Whether what SRC lacks counts as background.")
@click.option("--format", type=NEW_FORMAT, help="precomputed, ome-zarr, zarr or n5, whatever DST's name says.")
@click.option("--zarr-version", type=click.Choice(["2", "3"]), help="Of data in zarr; default: 3, OME-Zarr 0.5.")
@click.option("--shard", type=COUNTS, help="Size of a shard, for zarr v3; default: a chunk a file.")
@click.option("--compressor", help="For zarr and N5: zstd, blosc, gzip, bz2, lz4, lzma … or none; zstd:5.")
@click.option("--empty-chunks", is_flag=True, default=None, help="Store chunks of nothing but zeros, too, in zarr.")
@click.option("--first-new-level", type=int, help="Keep DST up to the level before; build this to --mips from it.")
@click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="What becomes of damaged images; skip: fill in their place, a list, and exit code 1.",
)
@click.option("--verify", is_flag=True, help="Read all levels that were stored and compare them before it is finished.")
@estimating
@working
def command(
    src: str,
    dst: str | None,
    *,
    progress: bool | None,
    box: Any,
    at: Any,
    dask: str | None,
    zarr_version: str | None,
    as_json: bool,
    **how: Any,
) -> int:
    """Turn an image stack or a volume into a chunked volume with a pyramid.

    SRC is a folder of images, a glob in quotes, a multi-page TIFF or a volume's URL. DST becomes a Neuroglancer
    Precomputed volume, OME-Zarr if its name ends in .zarr, N5 if in .n5. With --first-new-level, SRC is not read.
    Without DST, the chunks of SRC are compressed where they are, as --compress says; it can be read meanwhile.

    \b
    Examples:
      volumekit convert images/ volume/ --voxel-size 4,4,40 --mips 3
      volumekit convert volume/ brain.zarr --mips 5 --shard 512,512,512
      volumekit convert volume/ --compress gzip
    """  # noqa: D301 - click wants the character itself
    from volumekit.ops.convert import convert

    check_json(as_json=as_json, dry_run=how["dry_run"])
    with cluster(dask) as client:
        if dst is None:
            _recompress(src, progress=watched(progress), client=client, **how)
            return 0
        version = None if zarr_version is None else int(zarr_version)
        watch = watched(progress)
        source = src if at is None else _chosen(src, at, how)
        volume = convert(source, dst, progress=watch, box=box, client=client, zarr_version=version, **how)
    if how["dry_run"]:
        show(volume, as_json=as_json)
        return 0
    sizes = ", ".join("x".join(map(str, level.shape[:3])) for level in volume.levels)
    click.echo(f"{volume.cloudpath}: {volume.dtype}, levels {sizes}")
    processing = volume.provenance.processing
    found = processing[-1] if processing else {}
    if how["verify"] and "verified" in found:
        click.echo(f"verified: {found['verified']}")
    return _tell_damaged(found.get("damaged", {}))


def _chosen(src: str, at: Any, how: Mapping[str, Any]) -> Volume:
    """Open a source at what was chosen of it."""
    from volumekit.volume.volume import Volume

    if how["first_new_level"] is not None:
        raise click.UsageError("with --first-new-level SRC is not read; leave out --at")
    return Volume(src, at=at, parallel=how["jobs"] or True)


def _tell_damaged(damaged: dict[str, str]) -> int:
    """List the images that could not be read; return the exit code."""
    for name, reason in damaged.items():
        click.echo(f"damaged: {name}: {' '.join(reason.split())}", err=True)
    return 1 if damaged else 0


_IN_PLACE = {"src", "dst", "compress", "jobs", "processes", "dask", "journal", "overwrite", "progress"}
"""What may be said of compressing in place."""


def _recompress(src: str, *, compress: str | None, progress: bool | None, client: Any, **how: Any) -> None:
    """Compress the chunks of a volume where they are."""
    from volumekit.ops.recompress import recompress

    context = click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    if compress is None or given - _IN_PLACE:
        wrong = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(given - _IN_PLACE))
        raise click.UsageError(
            "without DST, chunks are compressed in place, as --compress says"
            + (f"; {wrong} needs a DST" if wrong else "; give --compress, or a DST")
        )
    wanted = {name: how[name] for name in ("jobs", "processes", "journal", "overwrite")}
    volume = recompress(src, compress, progress=progress, client=client, **wanted)
    click.echo(f"{volume.cloudpath}: chunks are compressed: {compress}")
