"""How new zarr arrays are laid out: version, shards, compressor; and their metadata."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from volumekit.errors import OptionError
from volumekit.formats.arrays.document import Document
from volumekit.formats.zarr.codec import numcodec
from volumekit.formats.zarr.configs import blosc_settings
from volumekit.formats.zarr.values import NAMES, dump_fill
from volumekit.model.level import Level

AXES = ("c", "z", "y", "x")
MAX_CHUNK_BYTES = 2**31 - 2**16
"""Blosc's limit; larger chunks serve nobody."""

COMPRESSORS = ("blosc", "zstd", "gzip", "zlib", "bz2", "lz4", "lzma")

_LITTLE: Document = {"name": "bytes", "configuration": {"endian": "little"}}
_V3 = ("blosc", "gzip", "zstd")
"""Compressors that zarr v3 has itself; those of numcodecs are extensions that not everybody reads."""

_LEVELS = {"zstd": 3, "gzip": 5, "zlib": 5, "bz2": 5, "blosc": 5}
_RANGES = {"zstd": (-131072, 22), "bz2": (1, 9), "lz4": (1, 65537)}
"""Levels from and to; of the others they are 0 to 9."""
_BLOSC = ("lz4", "lz4hc", "blosclz", "zstd", "zlib")


@dataclass(frozen=True)
class Layout:
    """How new arrays are laid out.

    Attributes
    ----------
    version : int
        2 or 3.
    shard : tuple of int or None
        Extent of a shard, (x, y, z) voxels, a multiple of the chunks; None: each chunk is an object. zarr v3 only.
    compressor : str, Mapping or None
        ``"zstd"``, ``"blosc"``, ``"gzip"``, ``"zlib"``, ``"bz2"``, ``"lz4"``, ``"lzma"``, each with a level behind a
        colon if wanted (``"zstd:5"``, ``"blosc:zstd:5"``); ``"none"`` or None for none; or a configuration as the
        metadata have it.
    fill : int or float
        What chunks that are not stored hold.
    """

    version: int = 3
    shard: tuple[int, int, int] | None = None
    compressor: str | Mapping[str, Any] | None = "zstd"
    fill: int | float = 0

    def array(self, level: Level, *, units: Sequence[float] | None = None) -> Document:
        """Return the metadata of a level's array.

        Parameters
        ----------
        level : Level
            Its bounds, chunks, data type and channels.
        units : sequence of float, optional
            Voxel size to be noted as an attribute, for v3, (x, y, z) in nm.

        Raises
        ------
        OptionError
            If such an array cannot be stored.
        """
        if level.dtype.name not in NAMES:
            raise OptionError(f"{level.dtype} cannot be stored in zarr; known: {', '.join(NAMES)}")
        if math.prod(level.chunk) * level.dtype.itemsize > MAX_CHUNK_BYTES:
            raise OptionError(f"chunks of {level.chunk} {level.dtype} take more than 2 GiB")
        return self._v2(level) if self.version == 2 else self._v3(level)

    def _v2(self, level: Level) -> Document:
        if self.shard is not None:
            raise OptionError("zarr v2 has no shards; choose zarr_version 3, or no shards")
        return {
            "zarr_format": 2,
            "shape": ordered(level.shape, level),
            "chunks": ordered((*level.chunk[:3], 1), level),
            "dtype": level.dtype.newbyteorder("<").str,
            "compressor": self._compressor(level),
            "filters": None,
            "order": "C",
            "fill_value": dump_fill(self.fill, level.dtype),
            "dimension_separator": "/",
        }

    def _v3(self, level: Level) -> Document:
        chunk = (*level.chunk[:3], 1)
        codecs = [_LITTLE, *filter(None, [self._compressor(level)])]
        outer: Sequence[int] = chunk
        if self.shard is not None:
            outer = self._outer(chunk)
            settings = {
                "chunk_shape": ordered(chunk, level),
                "codecs": codecs,
                "index_codecs": [_LITTLE, {"name": "crc32c"}],
                "index_location": "end",
            }
            codecs = [{"name": "sharding_indexed", "configuration": settings}]
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": ordered(level.shape, level),
            "data_type": level.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": ordered(outer, level)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": dump_fill(self.fill, level.dtype),
            "codecs": codecs,
            "attributes": {},
            "dimension_names": axes_of(level),
        }

    def _outer(self, chunk: Sequence[int]) -> tuple[int, ...]:
        assert self.shard is not None
        if any(s <= 0 or s % c for s, c in zip(self.shard, chunk, strict=False)):
            whole = [max(1, round(s / c)) * c for s, c in zip(self.shard, chunk, strict=False)]
            raise OptionError(f"shards of {self.shard} do not hold whole chunks of {chunk[:3]}; {whole} would")
        return (*self.shard, 1)

    def _compressor(self, level: Level) -> Document | None:
        given = self.compressor
        if isinstance(given, Mapping):
            return _checked(given, self.version)
        name, *rest = (given or "none").split(":")
        if given in (None, "", "none"):
            return None
        if name not in COMPRESSORS or len(rest) > 1 + (name == "blosc"):
            known = ", ".join(("none", *COMPRESSORS))
            raise OptionError(f"compressor is {given!r}; it is one of {known}, with a level as zstd:5")
        settings = _settings(name, rest, level.dtype, self.version)
        if self.version == 2:
            return {"id": name, **settings}
        return {"name": name if name in _V3 else f"numcodecs.{name}", "configuration": settings}


def _checked(given: Mapping[str, Any], version: int) -> Document:
    """Return a configuration that was given; one that numcodecs has is tried."""
    name = str(given.get("id" if version == 2 else "name")).removeprefix("numcodecs.")
    settings = {k: v for k, v in given.items() if k != "id"} if version == 2 else given.get("configuration") or {}
    try:
        if name in COMPRESSORS:
            numcodec(name, blosc_settings(settings, 1) if name == "blosc" else settings, "it").encode(bytes(16))
    except Exception as error:  # each codec has its own
        raise OptionError(f"compressor {dict(given)} cannot be used: {error}") from error
    return dict(given)


def _settings(name: str, rest: Sequence[str], dtype: np.dtype[Any], version: int) -> Document:
    """Return the settings of a compressor, from the words behind its name."""
    words = list(rest)
    cname = words.pop(0) if name == "blosc" and words and not _is_number(words[0]) else "lz4"
    if cname not in _BLOSC or not all(map(_is_number, words)) or len(words) > 1:
        raise OptionError(f"compressor {name!r} cannot be set to {':'.join(rest)!r}")
    level = int(words[0]) if words else _LEVELS.get(name)
    low, high = _RANGES.get(name, (0, 9))
    if level is not None and not low <= level <= high:
        raise OptionError(f"the level of compressor {name!r} is {level}; it is {low} to {high}")
    if name == "blosc":
        shuffle = {"shuffle": 1} if version == 2 else {"shuffle": "shuffle", "typesize": dtype.itemsize}
        return {"cname": cname, "clevel": level, **shuffle, "blocksize": 0}
    if name == "lz4":
        return {} if level is None else {"acceleration": level}
    if name == "lzma":
        return {} if level is None else {"preset": level}
    checksum = {"checksum": False} if name == "zstd" and version == 3 else {}
    return {"level": level, **checksum}


def _is_number(word: str) -> bool:
    return word.lstrip("-").isdecimal()


def axes_of(level: Level) -> list[str]:
    """Return the axes of a new array: the channel only where there are several."""
    return list(AXES if level.channels > 1 else AXES[1:])


def ordered(values: Iterable[Any], level: Level) -> list[Any]:
    """Return values given as (x, y, z, channel) in the order of the array."""
    named = dict(zip("xyzc", values, strict=True))
    return [named[axis] for axis in axes_of(level)]
