"""The ``info`` file: reading it into levels, and making one."""

from __future__ import annotations

import json
import math
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from volumekit.codecs import CODECS, get_codec
from volumekit.errors import MetadataError, MissingExtraError, OptionError
from volumekit.model.bbox import Bbox
from volumekit.model.grid import coarser_bounds
from volumekit.model.level import CodecSpec, Level, Sharding
from volumekit.model.units import exact

DATA_TYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "float32")
LAYER_TYPES = ("image", "segmentation")
MAX_COORDINATE = 2**62 - 2
MAX_CHUNK_BYTES = 2**32
_TYPE = "neuroglancer_multiscale_volume"
_SETTINGS = (
    "jpeg_quality",
    "png_level",
    "jxl_quality",
    "jxl_effort",
    "compressed_segmentation_block_size",
)

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


def parse_levels(info: Mapping[str, Any]) -> tuple[Level, ...]:
    """Return the levels an info describes; a scale that makes no sense becomes a level with an ``error``.

    Raises
    ------
    MetadataError
        If the volume as a whole cannot be understood.
    """
    data_type = str(info.get("data_type", "")).lower()
    if data_type not in DATA_TYPES:
        raise MetadataError(f"data_type is {info.get('data_type')!r}; known: {', '.join(DATA_TYPES)}", key="info")
    if str(info.get("type", "image")).lower() not in LAYER_TYPES:
        raise MetadataError(f"type is {info['type']!r}; known: {', '.join(LAYER_TYPES)}", key="info")
    channels = _whole(info.get("num_channels", 1), "num_channels", least=1)
    scales = info.get("scales")
    if not isinstance(scales, list) or not scales:
        raise MetadataError("the info file lists no scales", key="info")
    levels = tuple(_level(scale, np.dtype(data_type), channels) for scale in scales)
    if all(level.error and level.sharding is None for level in levels):
        raise MetadataError(f"no scale of this volume can be opened: {levels[0].error}", key="info")
    return levels


def _level(scale: Any, dtype: np.dtype[Any], channels: int) -> Level:
    try:
        return _parse_scale(scale, dtype, channels)
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


def _parse_scale(scale: Any, dtype: np.dtype[Any], channels: int) -> Level:
    if not isinstance(scale, dict):
        raise MetadataError(f"a scale is {type(scale).__name__}, not an object", key="info")
    key = _key(scale.get("key"))
    size = _three(scale.get("size"), "size", least=1)
    offset = _three(scale.get("voxel_offset", [0, 0, 0]), "voxel_offset", least=-MAX_COORDINATE)
    end = [a + n for a, n in zip(offset, size, strict=True)]
    if max(end) > MAX_COORDINATE:
        raise MetadataError(f"scale {key!r} ends at voxel {end}, beyond any volume", key="info")
    chunk = _chunk(scale, size)
    if math.prod(chunk) * channels * dtype.itemsize > MAX_CHUNK_BYTES:
        raise MetadataError(f"one chunk of scale {key!r} would take more than 4 GiB: {chunk}", key="info")
    sharding, codec = scale.get("sharding"), _codec(scale)
    misfit = _misfit(codec, dtype, channels)
    return Level(
        key=key,
        bounds=Bbox(offset, end),
        chunk=(*chunk, channels),
        dtype=dtype,
        channels=channels,
        resolution=_resolution(scale),
        codec=codec,
        sharding=Sharding("neuroglancer_uint64_sharded_v1", sharding) if isinstance(sharding, dict) else None,
        error=misfit if sharding is None else _no_shards(key),
        locked=bool(scale.get("locked", False)) or posixpath.normpath(key).startswith("../"),
    )


def _misfit(codec: CodecSpec, dtype: np.dtype[Any], channels: int) -> str | None:
    """Say why this codec cannot hold such voxels; one that is not installed tells so when it is used."""
    try:
        return get_codec(codec).supports(dtype, channels) if codec.name in CODECS else None
    except MissingExtraError:
        return None


def _no_shards(key: str) -> str:
    return f"scale {key!r} is sharded, which this version cannot read"


def _codec(scale: Mapping[str, Any]) -> CodecSpec:
    encoding = scale.get("encoding")
    if not isinstance(encoding, str):
        raise MetadataError(f"encoding is {encoding!r}, not a name", key="info")
    settings = {name: scale[name] for name in _SETTINGS if name in scale}
    if encoding == "compressed_segmentation":
        name = "compressed_segmentation_block_size"
        settings[name] = tuple(_three(settings.get(name), name, least=1))
    return CodecSpec(encoding, settings)


def _chunk(scale: Mapping[str, Any], size: Sequence[int]) -> tuple[int, int, int]:
    """Return the first chunk size, cut at the volume's: a chunk never holds more than that."""
    sizes = scale.get("chunk_sizes")
    if not isinstance(sizes, list | tuple | np.ndarray) or len(sizes) == 0:
        raise MetadataError("chunk_sizes is missing or empty", key="info")
    x, y, z = _three(sizes[0], "chunk_sizes", least=1)
    if math.prod(min(a, b) for a, b in zip((x, y, z), size, strict=True)) * 1 > MAX_CHUNK_BYTES:
        raise MetadataError(f"chunk_sizes {sizes[0]} is absurd", key="info")
    return x, y, z


def _key(key: Any) -> str:
    if not isinstance(key, str) or not key or key.startswith("/") or "\0" in key or key.strip("./") == "":
        raise MetadataError(f"key is {key!r}, not a relative folder name", key="info")
    return key.rstrip("/")


def _resolution(scale: Mapping[str, Any]) -> tuple[float, float, float]:
    value = scale.get("resolution")
    try:
        x, y, z = (float(n) if not isinstance(n, str | bytes) else math.nan for n in value)  # type: ignore[union-attr]
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


def scale_key(resolution: Sequence[float]) -> str:
    """Return the customary key of a scale: its resolution, joined by underscores.

    Parameters
    ----------
    resolution : sequence of float
        Voxel size in nm, (x, y, z).
    """
    whole = all(float(n).is_integer() for n in resolution)
    return "_".join(str(int(n)) if whole else str(float(n)) for n in resolution)


def make_scale(
    *,
    key: str,
    size: Sequence[int],
    offset: Sequence[int],
    resolution: Sequence[float],
    chunk_size: Sequence[int],
    encoding: str,
    block_size: Sequence[int],
) -> Info:
    """Return one entry of ``scales``; all vectors are (x, y, z), ``resolution`` in nm."""
    scale: Info = {
        "key": key,
        "size": [_number(n) for n in size],
        "voxel_offset": [_number(n) for n in offset],
        "resolution": [_number(n) for n in resolution],
        "chunk_sizes": [[_number(n) for n in chunk_size]],
        "encoding": encoding,
    }
    if encoding == "compressed_segmentation":
        scale["compressed_segmentation_block_size"] = [_number(n) for n in block_size]
    return scale


def _number(value: float) -> int | float:
    return int(value) if float(value).is_integer() else float(value)


def coarser_scale(finer: Mapping[str, Any], factor: Sequence[int], **changes: Any) -> Info:
    """Return the scale ``factor`` times coarser than ``finer``; its voxels sit on multiples of the factor.

    Parameters
    ----------
    finer : Mapping
        An entry of ``scales``.
    factor : sequence of int
        (x, y, z).
    **changes
        Members that differ: ``encoding``, ``chunk_size``, ``key`` …

    Raises
    ------
    OptionError
        If a factor is not a positive integer.
    """
    offset = finer.get("voxel_offset", [0, 0, 0])
    end = [a + n for a, n in zip(offset, finer["size"], strict=True)]
    coarse = coarser_bounds(Bbox(offset, end), factor)
    resolution = [float(exact(r) * f) for r, f in zip(finer["resolution"], factor, strict=True)]
    encoding = changes.pop("encoding", None) or finer["encoding"]
    scale = make_scale(
        key=changes.pop("key", None) or scale_key(resolution),
        size=coarse.size().tolist(),
        offset=coarse.minpt.tolist(),
        resolution=resolution,
        chunk_size=changes.pop("chunk_size", None) or finer["chunk_sizes"][0],
        encoding=encoding,
        block_size=finer.get("compressed_segmentation_block_size", (8, 8, 8)),
    )
    kept = _SETTINGS[:4] if encoding == finer["encoding"] else ()
    return {**scale, **{name: finer[name] for name in kept if name in finer}, **changes}


def create_info(
    num_channels: int,
    layer_type: str,
    data_type: str,
    encoding: str,
    resolution: Sequence[float],
    voxel_offset: Sequence[int],
    volume_size: Sequence[int],
    mesh: str | bool | None = None,
    skeletons: str | bool | None = None,
    chunk_size: Sequence[int] = (128, 128, 64),
    compressed_segmentation_block_size: Sequence[int] = (8, 8, 8),
    max_mip: int = 0,
    factor: Sequence[int] = (2, 2, 1),
    redirect: str | None = None,
    **more: Any,
) -> Info:
    """Return a new info as a plain dict that callers may edit.

    Parameters
    ----------
    num_channels : int
        Number of channels.
    layer_type : {"image", "segmentation"}
        What the voxels mean.
    data_type : str
        One of `DATA_TYPES`.
    encoding : str
        How chunks are encoded.
    resolution : sequence of float
        Voxel size in nm, (x, y, z).
    voxel_offset, volume_size : sequence of int
        Lowest voxel and extent, (x, y, z).
    mesh, skeletons : str or bool, optional
        Directory of meshes or skeletons; True for the customary name.
    chunk_size : sequence of int
        (x, y, z).
    compressed_segmentation_block_size : sequence of int
        (x, y, z); used by that encoding only.
    max_mip : int
        How many coarser scales to describe as well.
    factor : sequence of int
        Factor from one scale to the next.
    redirect : str, optional
        Another location that readers should use instead.
    **more
        Further members of the first scale, such as ``jpeg_quality`` or ``sharding``.

    Raises
    ------
    OptionError
        If the values do not describe a volume.
    """
    scale = make_scale(
        key=scale_key(resolution),
        size=volume_size,
        offset=voxel_offset,
        resolution=resolution,
        chunk_size=chunk_size,
        encoding=encoding,
        block_size=compressed_segmentation_block_size,
    )
    scales = [{**scale, **more}]
    for _ in range(max_mip):
        scales.append(coarser_scale(scales[-1], factor))
    info: Info = {
        "@type": _TYPE,
        "type": layer_type,
        "data_type": _type_name(data_type),
        "num_channels": _number(num_channels),
        "scales": scales,
    }
    folders = {"mesh": mesh, "skeletons": skeletons, "redirect": redirect}
    info |= {name: name if value is True else value for name, value in folders.items() if value}
    check_info(info)
    return info


def _type_name(data_type: Any) -> str:
    try:
        name: str = np.dtype(data_type).name
    except TypeError:
        return str(data_type)
    return name


def check_info(info: Mapping[str, Any]) -> None:
    """Refuse to store an info that could not be opened again.

    Raises
    ------
    OptionError
        Naming the first member that is wrong.
    """
    if info.get("type") not in LAYER_TYPES:
        raise OptionError(f"layer_type is {info.get('type')!r}; it is one of {', '.join(LAYER_TYPES)}")
    try:
        levels = parse_levels(info)
    except MetadataError as error:
        raise OptionError(error.message) from error
    for level in levels:
        if level.error and level.sharding is None:
            raise OptionError(level.error)
