"""Precomputed volumes as a format: one object per chunk, named by its voxels."""

from __future__ import annotations

import copy
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs import CODECS, get_codec
from volumekit.errors import MetadataError
from volumekit.formats.base import Cell, Container, Format, Native, WrongFormat
from volumekit.formats.precomputed.info import DATA_TYPES, VOLUME, Info, dump_info, is_wrong, load_info, parse_levels
from volumekit.model.chunk_names import ChunkNames
from volumekit.model.level import Level
from volumekit.model.sharding import ShardingSpec

_CHUNK = re.compile(r"-?\d+--?\d+_-?\d+--?\d+_-?\d+--?\d+|[0-9a-f]+\.(?:shard|index|data)")
_LONG = 1 << 16
_NATIVE = ("raw", "jpeg", "png", "compressed_segmentation")


class Precomputed(Format):
    """A Neuroglancer Precomputed volume.

    Parameters
    ----------
    info : dict
        The info file; members nobody knows are kept.
    """

    name: ClassVar[str] = "precomputed"

    def __init__(self, info: Info) -> None:
        self.info = info
        self.levels = parse_levels(info)

    def reparse(self) -> None:
        """Take up edits of `info`.

        Raises
        ------
        MetadataError
            If it makes no sense any more.
        """
        self.levels = parse_levels(self.info)

    @classmethod
    def needs(cls, have: Mapping[str, bytes | None]) -> Collection[str]:
        """Ask for the info file."""
        return {"info"} - set(have)

    @classmethod
    def parse(cls, have: Mapping[str, bytes | None]) -> Self:
        """Build the format from the info file."""
        data = have.get("info")
        if data is None:
            raise WrongFormat("there is no info file")
        info = load_info(data)
        kind = info.get("@type", VOLUME)
        if kind != VOLUME:
            raise MetadataError(f"the info file describes {kind!r}, which is no volume", key="info")
        volume = cls(info)
        if all(is_wrong(level) for level in volume.levels):
            raise MetadataError(f"no scale of this volume can be opened: {volume.levels[0].error}", key="info")
        return volume

    def metadata(self) -> dict[str, bytes]:
        """Return the info file."""
        return {"info": dump_info(self.info)}

    @property
    def layer_type(self) -> str:
        """What the voxels mean."""
        return str(self.info.get("type", "image")).lower()

    def prefix(self, level: Level) -> str:
        """Return the folder of a level."""
        return f"{level.key}/"

    def is_chunk(self, level: Level, key: str) -> bool:
        """Tell chunks, and shards, from other files in a level's folder by their name."""
        return _CHUNK.fullmatch(key.removeprefix(f"{level.key}/")) is not None

    def key(self, level: Level, cell: Cell) -> str:
        """Return ``<key>/<x0>-<x1>_<y0>-<y1>_<z0>-<z1>``, in voxels of the level."""
        x, y, z = (_span(level, axis, cell[axis]) for axis in range(3))
        return f"{level.key}/{x}_{y}_{z}"

    def keys(self, level: Level, cells: tuple[range, range, range, range]) -> Iterator[str]:
        """Yield the keys of a box of cells, x fastest; five times faster than one by one."""
        if len(cells[0]) > _LONG:
            yield from super().keys(level, cells)
            return
        columns = [f"{level.key}/{_span(level, 0, x)}" for x in cells[0]]
        for z in cells[2]:
            for y in cells[1]:
                row = f"_{_span(level, 1, y)}_{_span(level, 2, z)}"
                for column in columns:
                    yield column + row

    def decode(self, level: Level, cell: Cell, value: Any) -> NDArray[Any]:
        """Return the voxels of a chunk."""
        return get_codec(level.codec).decode(value.data, _shape(level, cell), level.dtype)

    def fill(self, level: Level, cell: Cell, value: Any, out: NDArray[Any], inside: tuple[slice, ...]) -> bool:
        """Put voxels of a chunk straight into an array, where its encoding can."""
        return get_codec(level.codec).fill(value.data, _shape(level, cell), out, inside)

    def labels(self, level: Level, cell: Cell, value: Any) -> NDArray[Any] | None:
        """Return the distinct values of a chunk where its encoding lists them."""
        codec = get_codec(level.codec)
        return codec.labels(value.data, _shape(level, cell), level.dtype) if codec.listed else None

    def mask(self, level: Level, cell: Cell, value: Any, label: int) -> NDArray[np.bool_]:
        """Return where a chunk has a value."""
        return get_codec(level.codec).mask(value.data, label, _shape(level, cell), level.dtype)

    def encode(self, level: Level, cell: Cell, chunk: NDArray[Any]) -> bytes:
        """Return the bytes of a chunk."""
        return get_codec(level.codec).encode(chunk)

    def container(self, level: Level) -> Container | None:
        """Return the shards of a level that has some."""
        if level.sharding is None:
            return None
        x, y, z, _ = level.chunk
        parameters = {
            "folder": level.key,
            "sharding": ShardingSpec.parse(level.sharding.parameters),
            "names": ChunkNames(level.key, level.offset, level.end, (x, y, z)),
            "limit": level.most_bytes,
        }
        return Container(level.sharding.kind, parameters)

    def flat(self) -> Precomputed:
        """Return the same volume without shards: chunks have the same keys there."""
        info = copy.deepcopy(self.info)
        for scale in info["scales"]:
            if isinstance(scale, dict):
                scale.pop("sharding", None)
        return Precomputed(info)

    def native(self, level: Level) -> Native | None:
        """Return TensorStore's spec; the info is passed along, so that TensorStore never reads it."""
        if level.codec.name not in _NATIVE or level.dtype.name not in DATA_TYPES or _gunzips(level) or _blends(level):
            return None
        if CODECS[level.codec.name].supports(level.dtype, level.channels):
            return None
        scale = {
            "key": posixpath.basename(level.key),
            "size": list(level.shape[:3]),
            "voxel_offset": list(level.offset),
            "resolution": list(level.resolution),
            "chunk_size": list(level.cell[:3]),
            "encoding": level.codec.name,
            **_native_settings(level),
        }
        if level.sharding is not None:
            scale["sharding"] = dict(level.sharding.parameters)
        volume = {
            "type": self.info.get("type", "image").lower(),
            "data_type": level.dtype.name,
            "num_channels": level.channels,
        }
        spec = {
            "driver": "neuroglancer_precomputed",
            "multiscale_metadata": volume,
            "scale_metadata": scale,
            "open": True,
            "assume_metadata": True,
        }
        folder = posixpath.dirname(level.key)
        return Native(spec, f"{folder}/" if folder else "", blind=level.sharding is not None)


def _shape(level: Level, cell: Cell) -> Cell:
    """Return the extent of a chunk, cut at the end of the level."""
    x, y, z = (
        min(step, size - at * step) for at, step, size in zip(cell[:3], level.chunk[:3], level.shape[:3], strict=True)
    )
    return x, y, z, level.channels


def _span(level: Level, axis: int, cell: int) -> str:
    """Return the voxels of a cell along an axis, as chunks are named."""
    start = level.offset[axis] + cell * level.chunk[axis]
    return f"{start}-{min(start + level.chunk[axis], level.end[axis])}"


def _gunzips(level: Level) -> bool:
    """Tell whether all it takes to read a level is gunzipping, for which Python has the faster library."""
    sharding = level.sharding
    return level.codec.name == "raw" and sharding is not None and sharding.parameters["data_encoding"] != "raw"


def _blends(level: Level) -> bool:
    """Tell whether TensorStore would halve the resolution of what it takes for colours."""
    return level.codec.name == "jpeg" and level.channels > 1


def _native_settings(level: Level) -> dict[str, Any]:
    """Return the settings TensorStore accepts: it rejects those of other encodings, and has other defaults."""
    allowed = {"jpeg": "jpeg_quality", "png": "png_level"}
    name = allowed.get(level.codec.name, "compressed_segmentation_block_size")
    if level.codec.name == "raw":
        return {}
    value = getattr(get_codec(level.codec), name)
    return {name: list(value) if isinstance(value, tuple) else value}
