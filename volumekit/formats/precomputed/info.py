"""The ``info`` file: its text, and the levels it describes."""

from __future__ import annotations

import json
import math
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from volumekit.codecs import CODECS, get_codec
from volumekit.errors import MetadataError, MissingExtraError, OptionError
from volumekit.model.bbox import Bbox
from volumekit.model.level import CodecSpec, Level, Sharding
from volumekit.model.sharding import SHARDED, ShardingSpec

DATA_TYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "float32")
"""Data types of the format; float32 of images only."""

READ_TYPES = (*DATA_TYPES, "int64", "float64")
"""Data types of volumes that are read and written: CloudVolume makes volumes of two more, which nothing else reads."""

LAYER_TYPES = ("image", "segmentation")
MAX_COORDINATE = 2**62 - 2
MAX_CHUNK_BYTES = 2**32
VOLUME = "neuroglancer_multiscale_volume"
SETTINGS = {
    "jpeg": ("jpeg_quality",),
    "png": ("png_level",),
    "jxl": ("jxl_quality", "jxl_effort", "jxl_decodingspeed"),
    "compressed_segmentation": ("compressed_segmentation_block_size",),
    "fpzip": ("fpzip_precision",),
    "zfpc": ("zfpc_rate", "zfpc_precision", "zfpc_tolerance", "zfpc_correlated_dims"),
}
"""Members of a scale that are settings of its encoding, by encoding."""


Info = dict[str, Any]


def load_info(data: bytes) -> Info:
    """Parse the text of an info file.

    Raises
    ------
    MetadataError
        If it is not a JSON object.
    """
    try:
        info = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise MetadataError(f"the info file is not JSON ({error}); restore it from a backup", key="info") from error
    if not isinstance(info, dict):
        raise MetadataError(f"the info file holds {type(info).__name__}, not a JSON object", key="info")
    return info


def dump_info(info: Mapping[str, Any]) -> bytes:
    """Return the text of an info file: sorted keys, indented by two, as CloudVolume writes it.

    Raises
    ------
    OptionError
        If it holds what JSON cannot.
    """
    try:
        return json.dumps(info, sort_keys=True, indent=2, default=_plain, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise OptionError(f"the info cannot be stored as JSON: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be stored in an info file")


def parse_levels(info: Mapping[str, Any], *, strict: bool = False) -> tuple[Level, ...]:
    """Return the levels an info describes; a scale that makes no sense becomes a level with an ``error``.

    Parameters
    ----------
    info : Mapping
        The info.
    strict : bool
        Whether settings that only writers need have to make sense as well; else such a level is locked.

    Raises
    ------
    MetadataError
        If the volume as a whole cannot be understood.
    """
    data_type = str(info.get("data_type", "")).lower()
    if data_type not in READ_TYPES:
        raise MetadataError(f"data_type is {info.get('data_type')!r}; known: {', '.join(READ_TYPES)}", key="info")
    if str(info.get("type", "image")).lower() not in LAYER_TYPES:
        raise MetadataError(f"type is {info['type']!r}; known: {', '.join(LAYER_TYPES)}", key="info")
    channels = _whole(info.get("num_channels", 1), "num_channels", least=1)
    scales = info.get("scales")
    if not isinstance(scales, list) or not scales:
        raise MetadataError("the info file lists no scales", key="info")
    return _unique(_level(scale, np.dtype(data_type), channels, strict) for scale in scales)


def is_wrong(level: Level) -> bool:
    """Tell whether the info of a level makes no sense, rather than being of a later kind than this library."""
    return level.error is not None and (level.sharding is None or level.sharding.kind == SHARDED)


def _unique(levels: Iterable[Level]) -> tuple[Level, ...]:
    """Mark levels whose folder another level has already: they would overwrite each other's chunks."""
    seen: set[str] = set()
    marked = []
    for level in levels:
        folder = posixpath.normpath(level.key)
        if folder in seen and level.error is None:
            level = replace(level, error=f"another scale has the key {level.key!r} already")  # noqa: PLW2901
        seen.add(folder)
        marked.append(level)
    return tuple(marked)


def _level(scale: Any, dtype: np.dtype[Any], channels: int, strict: bool) -> Level:
    try:
        return _parse_scale(scale, dtype, channels, strict)
    except MetadataError as error:
        key = str(scale.get("key", "?")) if isinstance(scale, dict) else "?"
        nothing = Bbox((0, 0, 0), (0, 0, 0))
        return Level(
            key=key,
            bounds=nothing,
            chunk=(1, 1, 1, channels),
            dtype=dtype,
            channels=channels,
            resolution=(1.0, 1.0, 1.0),
            codec=CodecSpec("raw"),
            error=error.message,
        )


def _parse_scale(scale: Any, dtype: np.dtype[Any], channels: int, strict: bool) -> Level:
    if not isinstance(scale, dict):
        raise MetadataError(f"a scale is {type(scale).__name__}, not an object", key="info")
    key = _key(scale.get("key"))
    size = _three(scale.get("size"), "size", least=1)
    offset = _three(scale.get("voxel_offset", [0, 0, 0]), "voxel_offset", least=-MAX_COORDINATE)
    end = [a + n for a, n in zip(offset, size, strict=True)]
    if max(end) > MAX_COORDINATE:
        raise MetadataError(f"scale {key!r} ends at voxel {end}, beyond any volume", key="info")
    chunk = _chunk(scale)
    held = math.prod(min(a, b) for a, b in zip(chunk, size, strict=True))
    if held * channels * dtype.itemsize > MAX_CHUNK_BYTES:
        raise MetadataError(f"one chunk of scale {key!r} would take more than 4 GiB: {chunk}", key="info")
    codec, unwritable = _codec(scale), None
    if not strict:
        codec, unwritable = _reading(codec)
    sharding, unknown = _sharding(scale.get("sharding"), size, chunk)
    return Level(
        key=key,
        bounds=Bbox(offset, end),
        chunk=(*chunk, channels),
        dtype=dtype,
        channels=channels,
        resolution=_resolution(scale),
        codec=codec,
        sharding=sharding,
        error=unknown or _misfit(codec, dtype, channels),
        locked=_locked(scale, key) or unwritable,
    )


def _locked(scale: Mapping[str, Any], key: str) -> str | None:
    if posixpath.normpath(key).startswith("../"):
        return "lies outside this dataset"
    return "is locked in the info file" if scale.get("locked", False) else None


def _reading(codec: CodecSpec) -> tuple[CodecSpec, str | None]:
    """Return the codec that reads a scale, and why none writes it: a setting that readers do not need is impossible."""
    if codec.name not in CODECS or codec.name == "compressed_segmentation":
        return codec, None
    try:
        get_codec(codec)
    except MissingExtraError:
        return codec, None
    except MetadataError as error:
        return CodecSpec(codec.name), f"cannot be written, because in the info file {error.message}"
    return codec, None


def _misfit(codec: CodecSpec, dtype: np.dtype[Any], channels: int) -> str | None:
    """Say why this codec cannot hold such voxels; one that is not installed tells so when it is used."""
    try:
        return get_codec(codec).supports(dtype, channels) if codec.name in CODECS else None
    except MissingExtraError:
        return None


def _sharding(value: Any, size: Sequence[int], chunk: Sequence[int]) -> tuple[Sharding | None, str | None]:
    """Return how a scale is sharded, and why nobody here knows that kind of sharding."""
    if value is None:
        return None, None
    kind = value.get("@type") if isinstance(value, Mapping) else None
    if kind is not None and kind != SHARDED:
        return Sharding(str(kind), value), f"sharding {kind!r} is of a kind this version does not know"
    spec = ShardingSpec.parse(value)
    grid = [-(-n // c) for n, c in zip(size, chunk, strict=True)]
    try:
        shape = spec.shape(grid)
    except OptionError as error:
        raise MetadataError(f"a scale with so many chunks cannot be sharded: {error.message}", key="info") from error
    if shape is None:
        return Sharding(SHARDED, spec.to_json()), None
    x, y, z = (n * c for n, c in zip(shape, chunk, strict=True))
    return Sharding(SHARDED, spec.to_json(), (x, y, z)), None


def _codec(scale: Mapping[str, Any]) -> CodecSpec:
    encoding = scale.get("encoding")
    if not isinstance(encoding, str):
        raise MetadataError(f"encoding is {encoding!r}, not a name", key="info")
    settings = {name: scale[name] for name in SETTINGS.get(encoding, ()) if scale.get(name) is not None}
    settings = {name: int(n) if isinstance(n, float) and n.is_integer() else n for name, n in settings.items()}
    if encoding == "compressed_segmentation":
        name = "compressed_segmentation_block_size"
        settings[name] = tuple(_three(settings.get(name), name, least=1))
    return CodecSpec(encoding, settings)


def _chunk(scale: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return the first chunk size: each further one is another full copy of the data."""
    sizes = scale.get("chunk_sizes")
    if not isinstance(sizes, list | tuple | np.ndarray) or len(sizes) == 0:
        raise MetadataError("chunk_sizes is missing or empty", key="info")
    x, y, z = _three(sizes[0], "chunk_sizes", least=1)
    return x, y, z


def _key(key: Any) -> str:
    if not isinstance(key, str) or not key.strip("./") or key.startswith("/") or "\0" in key or "//" in key:
        raise MetadataError(f"key is {key!r}, not a relative folder name", key="info")
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise MetadataError(f"key is {key!r}, which no storage can name", key="info") from error
    return key.rstrip("/")


def _resolution(scale: Mapping[str, Any]) -> tuple[float, float, float]:
    value = scale.get("resolution")
    try:
        x, y, z = (math.nan if isinstance(n, str | bytes | bool) else float(n) for n in value)  # type: ignore[union-attr]
    except (TypeError, ValueError) as error:
        raise MetadataError(f"resolution is {value!r}, not three numbers", key="info") from error
    if not all(math.isfinite(n) and n > 0 for n in (x, y, z)):
        raise MetadataError(f"resolution is {value!r}; voxels have a positive size", key="info")
    return x, y, z


def _three(value: Any, name: str, *, least: int) -> list[int]:
    if not isinstance(value, list | tuple | np.ndarray) or len(value) != 3:
        raise MetadataError(f"{name} is {value!r}, not three integers", key="info")
    return [_whole(n, name, least=least) for n in value]


def _whole(value: Any, name: str, *, least: int) -> int:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value != int(value):
        raise MetadataError(f"{name} is {value!r}, not an integer", key="info")
    if not least <= value <= MAX_COORDINATE:
        raise MetadataError(f"{name} is {value!r}, outside {least} to {MAX_COORDINATE}", key="info")
    return int(value)
