"""Choosing how a scale is sharded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from volumekit.codecs import CODECS
from volumekit.errors import MetadataError, OptionError
from volumekit.model.grid import morton_bits
from volumekit.model.plain import plain
from volumekit.model.sharding import SHARDED, ShardingSpec

SHARD_BYTES = 64 << 20
"""Voxels in a shard, in bytes: a terabyte makes sixteen thousand files, and `convert` has the memory to write them."""

_PRESHIFT = 9
"""Of an index of 512 neighbouring chunks every entry is likely to be used, and it takes at most 12 KiB to fetch."""

_MINISHARD = 10
"""An index of 1024 minishards takes 16 KiB; larger shards have larger minishards instead."""

_GZIPPED = ("raw", "compressed_segmentation")
"""Encodings that gzip makes smaller still."""


def create_sharding(
    volume_size: Sequence[int],
    chunk_size: Sequence[int],
    data_type: Any,
    *,
    num_channels: int = 1,
    encoding: str = "raw",
    shard_bytes: float = SHARD_BYTES,
    data_encoding: str | None = None,
) -> dict[str, Any]:
    """Choose how to shard a scale; CloudVolume's ``compute_shard_params_for_image`` serves the same purpose.

    Neighbouring chunks share a shard, which is a box of voxels: a power of two of chunks along each axis, about as many
    along one as along the others. See `Volume.shard_boxes` for writing such boxes in parallel.

    Parameters
    ----------
    volume_size : sequence of int
        Extent of the scale in voxels, (x, y, z).
    chunk_size : sequence of int
        (x, y, z).
    data_type : dtype-like
        Of the voxels.
    num_channels : int
        Number of channels.
    encoding : str
        How chunks are encoded.
    shard_bytes : int
        How many bytes the voxels of a shard may take, not encoded; a writer of a shard needs two or three times that
        much memory. One chunk is the least.
    data_encoding : {"gzip", "raw"}, optional
        Whether encoded chunks are compressed by gzip; default: where the encoding leaves something to compress.

    Returns
    -------
    dict
        The ``sharding`` member of a scale, to be stored in the info.

    Raises
    ------
    OptionError
        If the values do not describe a scale.

    Examples
    --------
    >>> create_sharding((10_000, 10_000, 2_000), (64, 64, 64), "uint8")["shard_bits"]
    13
    """
    if len(volume_size) != 3 or len(chunk_size) != 3 or min(*volume_size, *chunk_size) < 1:
        raise OptionError(f"volume_size and chunk_size are three positive numbers, not {volume_size} and {chunk_size}")
    if not isinstance(plain(shard_bytes), int | float) or not shard_bytes > 0:
        raise OptionError(f"shard_bytes is {shard_bytes!r}; it is a number of bytes")
    if encoding not in CODECS:
        raise OptionError(f"encoding is {encoding!r}; it is one of {', '.join(CODECS)}")
    try:
        grid = [-(-int(n) // int(c)) for n, c in zip(volume_size, chunk_size, strict=True)]
        chunk = math.prod(int(c) for c in chunk_size) * _whole(num_channels) * np.dtype(data_type).itemsize
        inside = max(0, math.floor(math.log2(plain(shard_bytes) / chunk)))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise OptionError(f"these values describe no scale to shard: {error}") from error
    total = len(morton_bits(grid))
    inside = min(inside, total)
    minishard = min(_MINISHARD, max(0, inside - _PRESHIFT))
    if data_encoding is None:
        data_encoding = "gzip" if encoding in _GZIPPED else "raw"
    spec = ShardingSpec(inside - minishard, "identity", minishard, total - inside, "gzip", data_encoding)
    return _checked(spec.to_json())


def _whole(number: Any) -> int:
    whole = int(number)
    if whole != number:
        raise ValueError(f"{number!r} is not a whole number")
    return whole


def scale_sharding(sharding: bool | Mapping[str, Any], scale: Mapping[str, Any], **what: Any) -> dict[str, Any]:
    """Return the members of a scale that say how it is sharded: none, or ``sharding``.

    Parameters
    ----------
    sharding : bool or Mapping
        True: as `create_sharding` chooses; a mapping: like this; ``@type`` may be left out.
    scale : Mapping
        The other members.
    **what
        ``data_type`` and ``num_channels``.

    Raises
    ------
    OptionError
        If the mapping makes no sense.
    """
    sharding = plain(sharding)
    if isinstance(sharding, Mapping):
        return {"sharding": _checked({"@type": SHARDED, **sharding})}
    if not isinstance(sharding, bool):
        raise OptionError(f"sharding is {sharding!r}; it is True, False or the member of an info")
    if not sharding:
        return {}
    size, chunk = scale["size"], scale["chunk_sizes"][0]
    return {"sharding": create_sharding(size, chunk, encoding=scale["encoding"], **what)}


def coarser_sharding(finer: Mapping[str, Any], scale: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a coarser scale that say how it is sharded: like the finer one, in fewer shards."""
    sharding = finer.get("sharding")
    if not isinstance(sharding, Mapping) or sharding.get("@type") != SHARDED:
        return {}
    spec = ShardingSpec.parse(sharding)
    if spec.hash != "identity":
        return {"sharding": dict(sharding)}
    grid = [-(-int(n) // int(c)) for n, c in zip(scale["size"], scale["chunk_sizes"][0], strict=True)]
    needed = max(0, len(morton_bits(grid)) - spec.preshift_bits - spec.minishard_bits)
    return {"sharding": {**sharding, **replace(spec, shard_bits=min(spec.shard_bits, needed)).to_json()}}


def _checked(sharding: dict[str, Any]) -> dict[str, Any]:
    if sharding["@type"] != SHARDED:
        raise OptionError(f"sharding {sharding['@type']!r} is of a kind nobody here knows; there is {SHARDED}")
    try:
        ShardingSpec.parse(sharding)
    except MetadataError as error:
        raise OptionError(error.message) from error
    return sharding
