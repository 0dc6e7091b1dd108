"""Which shard a chunk lives in: ``neuroglancer_uint64_sharded_v1``.

Chunks are numbered; a hash of the number, shifted, says in which shard and in which minishard of it a chunk is.

Source: ``src/datasource/precomputed/sharded.md`` in the Neuroglancer repository; MurmurHash3_x86_128 by Austin Appleby,
reduced to eight bytes of input and the first eight of output.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from volumekit.errors import MetadataError
from volumekit.model.grid import morton_bits

SHARDED = "neuroglancer_uint64_sharded_v1"
HASHES = ("identity", "murmurhash3_x86_128")
ENCODINGS = ("raw", "gzip")

MOST_MINISHARD_BITS = 24
"""The index of a shard with more minishards would take more than 256 MiB."""

_MASK = 2**32 - 1
_NUMBER_BITS = 64
_SHARD_FILE = re.compile(r"([0-9a-f]+)\.(?:shard|index)")


@dataclass(frozen=True)
class ShardingSpec:
    """How numbered chunks are spread over shards.

    Attributes
    ----------
    preshift_bits : int
        How many low bits of a number are ignored: so many neighbours, as a power of two, share a minishard.
    hash : str
        One of `HASHES`; identity keeps neighbours together.
    minishard_bits, shard_bits : int
        Binary logarithm of the number of minishards in a shard, and of shards.
    minishard_index_encoding, data_encoding : str
        How indices and chunks are compressed, one of `ENCODINGS`.
    """

    preshift_bits: int = 0
    hash: str = "identity"
    minishard_bits: int = 0
    shard_bits: int = 0
    minishard_index_encoding: str = "raw"
    data_encoding: str = "raw"

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Return what a ``sharding`` member of an info describes; members nobody knows are ignored.

        Raises
        ------
        MetadataError
            If it makes no sense.
        """
        if not isinstance(value, Mapping):
            raise MetadataError(f"sharding is {value!r}, not an object", key="info")
        bits = {
            name: _bits(value, name, most)
            for name, most in (
                ("preshift_bits", _NUMBER_BITS),
                ("minishard_bits", MOST_MINISHARD_BITS),
                ("shard_bits", _NUMBER_BITS),
            )
        }
        if bits["minishard_bits"] + bits["shard_bits"] > _NUMBER_BITS:
            raise MetadataError("sharding: minishard_bits and shard_bits are more than 64 together", key="info")
        return cls(
            hash=_word(value, "hash", HASHES),
            minishard_index_encoding=_word(value, "minishard_index_encoding", ENCODINGS, "raw"),
            data_encoding=_word(value, "data_encoding", ENCODINGS, "raw"),
            **bits,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the ``sharding`` member of an info."""
        return {"@type": SHARDED, **asdict(self)}

    @property
    def minishards(self) -> int:
        """Number of minishards in a shard."""
        return 1 << self.minishard_bits

    def place(self, number: int) -> tuple[int, int]:
        """Return the shard and the minishard of a chunk's number."""
        hashed = number >> self.preshift_bits
        if self.hash != "identity":
            hashed = murmurhash(hashed)
        shard = hashed >> self.minishard_bits
        return shard & (1 << self.shard_bits) - 1, hashed & self.minishards - 1

    def file(self, shard: int) -> str:
        """Return the name of a shard's file."""
        return f"{self._digits(shard)}.shard"

    def _digits(self, shard: int) -> str:
        return f"{shard:0{-(-self.shard_bits // 4)}x}"

    def shard(self, file: str) -> int | None:
        """Return the shard that a file holds (or is the index of, in the form before 2019), None if it is no shard."""
        match = _SHARD_FILE.fullmatch(file)
        if match is None or len(match[1]) > _NUMBER_BITS // 4:
            return None
        shard = int(match[1], 16)
        return shard if match[1] == self._digits(shard) and not shard >> self.shard_bits else None

    def shape(self, grid: Sequence[int]) -> tuple[int, ...] | None:
        """Return how many chunks a shard holds along each axis, if shards are boxes.

        Parameters
        ----------
        grid : sequence of int
            Number of chunks along each axis; chunks are numbered by their compressed Morton code.

        Returns
        -------
        tuple of int or None
            Powers of two. None where chunks are scattered over the shards: by a hash, or because more shards are
            needed than there are.
        """
        places = morton_bits(grid)
        inside = self.preshift_bits + self.minishard_bits
        if self.hash != "identity" or inside + self.shard_bits < len(places):
            return None
        axes = [axis for axis, _ in places[:inside]]
        return tuple(1 << axes.count(axis) for axis in range(len(grid)))


def _bits(value: Mapping[str, Any], name: str, most: int) -> int:
    bits: Any = value.get(name)
    whole = isinstance(bits, int | float | np.integer | np.floating) and not isinstance(bits, bool)
    if not whole or not 0 <= bits <= most or bits != int(bits):
        raise MetadataError(f"sharding: {name} is {bits!r}, not an integer from 0 to {most}", key="info")
    return int(bits)


def _word(value: Mapping[str, Any], name: str, known: Sequence[str], usual: str | None = None) -> str:
    word = value.get(name, usual)
    if not isinstance(word, str) or word not in known:
        raise MetadataError(f"sharding: {name} is {word!r}; known: {', '.join(known)}", key="info")
    return word


def murmurhash(number: int) -> int:
    """Return the first eight bytes of MurmurHash3_x86_128 of a number's eight bytes, all little endian."""
    low, high = number & _MASK, number >> 32
    h1 = _rotate(low * 0x239B961B & _MASK, 15) * 0xAB0E9789 & _MASK ^ 8
    h2 = _rotate(high * 0xAB0E9789 & _MASK, 16) * 0x38B34AE5 & _MASK ^ 8
    h3 = h4 = 8
    h1 = h1 + h2 + h3 + h4 & _MASK
    h1, h2, h3, h4 = _mix(h1), _mix(h2 + h1 & _MASK), _mix(h3 + h1 & _MASK), _mix(h4 + h1 & _MASK)
    h1 = h1 + h2 + h3 + h4 & _MASK
    return h1 | (h2 + h1 & _MASK) << 32


def _rotate(word: int, bits: int) -> int:
    return (word << bits | word >> 32 - bits) & _MASK


def _mix(word: int) -> int:
    word = (word ^ word >> 16) * 0x85EBCA6B & _MASK
    word = (word ^ word >> 13) * 0xC2B2AE35 & _MASK
    return word ^ word >> 16
