"""The list of codecs in zarr v3 metadata, and what single ones of them say."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from volumekit.errors import MetadataError, UnsupportedError
from volumekit.formats.arrays.document import member, numbers
from volumekit.formats.zarr.own_codecs import OWN_NAMES
from volumekit.model.zarr_shard import ShardIndex

SHARDING = "sharding_indexed"
NATIVE = ("transpose", "bytes", "gzip", "zstd", "blosc", "crc32c", SHARDING)
"""Codecs that TensorStore has."""

_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
_TO_BYTES = ("bytes", SHARDING, "numcodecs.zfpy", "numcodecs.pcodec", *OWN_NAMES)
MAX_INDEX = 1 << 24
"""More chunks than this in one shard are refused: their index would take 256 MiB."""


class Config(NamedTuple):
    """A named configuration, as zarr v3 has them everywhere."""

    name: str
    settings: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return how metadata spell it."""
        return {"name": self.name, "configuration": dict(self.settings)}


def config_of(value: Any, what: str, key: str) -> Config:
    """Return a named configuration; a bare name is one without settings.

    Raises
    ------
    MetadataError
        If it is none.
    """
    if isinstance(value, str):
        return Config(value, {})
    name = value.get("name") if isinstance(value, Mapping) else None
    if not isinstance(name, str):
        raise MetadataError(f"{what} in {key} is {value!r}, not a name with a configuration", key=key)
    return Config(name, member(value.get("configuration") or {}, f"the configuration of {name}", key))


def codecs_of(value: Any, key: str) -> tuple[Config, ...]:
    """Return the codecs of an array or a shard.

    Raises
    ------
    MetadataError
        If it is no list of codecs.
    """
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise MetadataError(f"codecs in {key} is {value!r}, not a list of codecs", key=key)
    return tuple(config_of(codec, "a codec", key) for codec in value)


def permutation(settings: Mapping[str, Any], rank: int, key: str) -> tuple[int, ...]:
    """Return the order that a transpose codec brings dimensions into.

    Raises
    ------
    MetadataError
        If it is no permutation.
    """
    order = settings.get("order")
    if order in ("C", "F"):
        return tuple(range(rank)) if order == "C" else tuple(reversed(range(rank)))
    found = numbers(order, "the order of transpose", key)
    if sorted(found) != list(range(rank)):
        raise MetadataError(
            f"the order of transpose in {key} is {order!r}, no permutation of {rank} dimensions", key=key
        )
    return found


def blosc_settings(settings: Mapping[str, Any], itemsize: int) -> dict[str, Any]:
    """Return the settings of blosc as numcodecs has them."""
    shuffle = settings.get("shuffle", "noshuffle")
    return {
        "cname": settings.get("cname", "lz4"),
        "clevel": settings.get("clevel", 5),
        "shuffle": _SHUFFLES.get(shuffle, shuffle),
        "blocksize": settings.get("blocksize", 0),
        "typesize": settings.get("typesize") or itemsize,
    }


def shard_of(
    settings: Mapping[str, Any], shape: tuple[int, ...], key: str
) -> tuple[tuple[int, ...], tuple[Config, ...], ShardIndex]:
    """Return what the sharding codec says: the extent of a chunk, its codecs, and how the index is stored.

    Parameters
    ----------
    settings : Mapping
        Configuration of ``sharding_indexed``.
    shape : tuple of int
        Extent of a shard.
    key : str
        The metadata, for messages.

    Raises
    ------
    MetadataError
        If it makes no sense.
    UnsupportedError
        If the index is compressed.
    """
    chunk = numbers(settings.get("chunk_shape"), "the chunk_shape of sharding", key, least=1)
    if len(chunk) != len(shape) or any(a % b for a, b in zip(shape, chunk, strict=False)):
        raise MetadataError(f"chunks of {chunk} do not fill the shards of {shape} in {key}", key=key)
    grid = tuple(a // b for a, b in zip(shape, chunk, strict=True))
    if functools.reduce(lambda a, b: a * b, grid, 1) > MAX_INDEX:
        raise MetadataError(f"shards of {grid} chunks in {key} hold too many", key=key)
    where = settings.get("index_location", "end")
    if where not in ("start", "end"):
        raise MetadataError(f"index_location in {key} is {where!r}, neither start nor end", key=key)
    codecs = codecs_of(settings.get("index_codecs", ["bytes", "crc32c"]), key)
    names = [codec.name for codec in codecs]
    if names not in (["bytes"], ["bytes", "crc32c"]):
        raise UnsupportedError(
            f"the shard index in {key} is encoded by {', '.join(names)}; only crc32c is read", key=key
        )
    little = codecs[0].settings.get("endian", "little") == "little"
    inner = codecs_of(settings.get("codecs"), key)
    return chunk, inner, ShardIndex(grid, where == "end", little, len(names) > 1)


def check_order(codecs: Sequence[Config], key: str) -> None:
    """Refuse codecs of which not exactly one turns an array into bytes.

    Raises
    ------
    MetadataError
        Naming them. Codecs nobody knows may be of any kind.
    """
    known = [codec.name for codec in codecs if codec.name in _TO_BYTES]
    foreign = any(codec.name not in NATIVE and not codec.name.startswith("numcodecs.") for codec in codecs)
    if len(known) > 1 or not (known or foreign):
        names = ", ".join(codec.name for codec in codecs)
        raise MetadataError(f"of the codecs in {key} exactly one makes bytes of an array: {names}", key=key)


def titles(codecs: Sequence[Config]) -> list[str]:
    """Return the names of codecs that do something, inside shards too."""
    found: list[str] = []
    for codec in codecs:
        if codec.name == SHARDING:
            inner = codec.settings.get("codecs")
            found += titles(codecs_of(inner, "") if isinstance(inner, list) and inner else ())
        elif codec.name not in ("bytes", "transpose"):
            found.append(codec.name.removeprefix("numcodecs."))
    return found


def is_native(codecs: Sequence[Config], key: str) -> bool:
    """Tell whether TensorStore has all these codecs: shards come last."""
    for number, codec in enumerate(codecs):
        if codec.name not in NATIVE:
            return False
        if codec.name == SHARDING:
            last = number == len(codecs) - 1
            return last and is_native(codecs_of(codec.settings.get("codecs"), key), key)
    return True
