"""Volumes that jobs make: described, and refused if they could not be stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from volumekit.codecs import CODECS, get_codec
from volumekit.errors import OptionError
from volumekit.volume.create import Description, options_of, refuse
from volumekit.volume.volume import Volume

if TYPE_CHECKING:
    from volumekit.model.url import URL


def new_target(
    url: URL,
    described: Description,
    kind: str,
    *,
    threads: int,
    fill: float,
    precomputed: Mapping[str, Any],
    zarr: Mapping[str, Any],
) -> Volume:
    """Return a new volume; nothing is stored.

    Parameters
    ----------
    url : URL
        Where to.
    described : Description
        What it is.
    kind : {"precomputed", "ome-zarr", "zarr", "n5"}
        Its format.
    threads : int
        How many threads work.
    fill : int or float
        What chunks that are not stored hold, in zarr.
    precomputed, zarr : Mapping
        Options of these formats; those of the other one must be as usual.

    Raises
    ------
    OptionError
        If it could not be stored.
    """
    if kind == "precomputed":
        refuse(kind, **zarr)
        return precomputed_target(url, described, threads=threads, **precomputed)
    usual = {"encoding": "raw", "sharding": False, "block_size": precomputed["block_size"]}
    refuse(kind, **{name: value for name, value in precomputed.items() if value != usual.get(name)})
    return zarr_target(url, described, kind, threads=threads, fill=fill, **zarr)


def precomputed_target(
    url: URL, described: Description, *, encoding: str, threads: int, block_size: Sequence[int], **settings: Any
) -> Volume:
    """Return a new precomputed volume; nothing is stored.

    Parameters
    ----------
    url : URL
        Where to.
    described : Description
        What it is.
    encoding : str
        How chunks are encoded.
    threads : int
        How many threads work.
    block_size : sequence of int
        Blocks of ``compressed_segmentation``, (x, y, z).
    **settings
        ``compress``, and settings of the encoding; None: as usual.

    Raises
    ------
    OptionError
        If it could not be stored.
    """
    compress = settings.pop("compress", None)
    given = {name: value for name, value in settings.items() if value is not None}
    info = described.info(encoding, compressed_segmentation_block_size=block_size, **given)
    target = Volume(str(url), info=info, compress=compress, parallel=threads)
    for level in target.levels:
        codec = get_codec(level.codec)
        reason = CODECS[codec.name].supports(level.dtype, level.channels)
        if reason is not None:
            raise OptionError(f"{codec.name} chunks cannot hold this: {reason}; choose another encoding")
    return target


def zarr_target(
    url: URL,
    described: Description,
    kind: str,
    *,
    threads: int,
    fill: float = 0,
    zarr_version: int | None = None,
    shard: Sequence[int] | None = None,
    compressor: str | Mapping[str, Any] | None = None,
    empty_chunks: bool | None = None,
) -> Volume:
    """Return a new volume in zarr; nothing is stored.

    Parameters
    ----------
    url : URL
        Where to.
    described : Description
        What it is.
    kind : {"zarr", "ome-zarr", "n5"}
        An array by itself, or an image, or a group of N5.
    threads : int
        How many threads work.
    fill : int or float
        What chunks that are not stored hold.
    zarr_version, shard, compressor
        As for `volumekit.volume.create.ZarrOptions`; None: as usual.
    empty_chunks : bool, optional
        Whether chunks of nothing but ``fill`` are stored.

    Raises
    ------
    OptionError
        If it could not be stored.
    """
    fill = 0 if kind == "n5" else fill
    options = options_of(kind, zarr_version=zarr_version, shard=shard, compressor=compressor, fill=fill)
    fmt = described.in_arrays(kind, options, url.name.removesuffix(".zarr").removesuffix(".n5"))
    return Volume(str(url), info=fmt, parallel=threads, delete_black_uploads=not empty_chunks)
