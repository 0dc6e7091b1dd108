"""Making an ``info`` file, and describing further scales in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from volumekit.codecs import CODECS, get_codec
from volumekit.errors import MetadataError, MissingExtraError, OptionError, UnsupportedError
from volumekit.formats.precomputed.info import (
    DATA_TYPES,
    LAYER_TYPES,
    READ_TYPES,
    SETTINGS,
    VOLUME,
    Info,
    is_wrong,
    parse_levels,
)
from volumekit.formats.precomputed.settings import check_labels, check_members, encoding_settings
from volumekit.formats.precomputed.sharding import coarser_sharding, scale_sharding
from volumekit.model.bbox import Bbox
from volumekit.model.grid import coarser_bounds, each_factor
from volumekit.model.level import Level
from volumekit.model.plain import each_axis, plain
from volumekit.model.units import exact


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
        Members that differ: ``encoding``, ``chunk_size``, ``key`` …; ``sharding=None``: not sharded.

    Raises
    ------
    OptionError
        If a factor is not a positive integer.
    """
    changes, offset = plain(changes), finer.get("voxel_offset", [0, 0, 0])
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
    kept = SETTINGS.get(encoding, ()) if encoding == finer["encoding"] else ()
    scale = {**{name: finer[name] for name in kept if name in finer}, **scale}
    scale |= changes if "sharding" in changes else {**coarser_sharding(finer, scale), **changes}
    return {name: value for name, value in scale.items() if name != "sharding" or value is not None}


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
    factor: Sequence[Any] = (2, 2, 1),
    redirect: str | None = None,
    encoding_level: int | None = None,
    encoding_effort: int | None = None,
    sharding: bool | Mapping[str, Any] = False,
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
    encoding_level : int, optional
        ``jpeg_quality``, ``jxl_quality``, ``png_level`` or ``fpzip_precision``, as the encoding has it.
    encoding_effort : int, optional
        ``jxl_effort``.
    sharding : bool or Mapping
        Whether chunks are packed into larger files, and how: True: as `Volume.create_sharding` chooses, or the
        ``sharding`` member of the info. Coarser scales are sharded like the first one.
    **more
        Further members of the first scale: settings of its encoding, such as ``jpeg_quality``, ``key``, ``hidden``.

    Raises
    ------
    OptionError
        If the values do not describe a volume, a member is none of its encoding's, or labels would be stored in an
        encoding that changes them.
    """
    more, chunk_size, resolution = plain(more), each_axis(chunk_size), each_axis(resolution)
    try:
        channels = _number(num_channels)
        scale = make_scale(
            key=scale_key(resolution),
            size=volume_size,
            offset=voxel_offset,
            resolution=resolution,
            chunk_size=chunk_size,
            encoding=encoding,
            block_size=each_axis(compressed_segmentation_block_size),
        )
        what = {"data_type": _type_name(data_type), "num_channels": channels}
        check_members(encoding, more)
        settings = encoding_settings(encoding, encoding_level, encoding_effort)
        for name in settings.keys() & more.keys():
            raise OptionError(f"{name} and encoding_level or encoding_effort say the same: give one of them")
        scale |= settings
        scales = [{**scale, **scale_sharding(sharding or False, scale, **what), **more}]
        for step in each_factor(factor, max_mip):
            scales.append(coarser_scale(scales[-1], step))
    except OptionError:
        raise
    except (TypeError, ValueError) as error:
        raise OptionError(f"these values describe no volume: {error}") from error
    info: Info = {
        "@type": VOLUME,
        "type": layer_type,
        "data_type": _type_name(data_type),
        "num_channels": channels,
        "scales": scales,
    }
    folders = plain({"mesh": mesh, "skeletons": skeletons, "redirect": redirect})
    info |= {name: name if value is True else value for name, value in folders.items() if value}
    if info["data_type"] not in DATA_TYPES:
        alone = "; only CloudVolume reads that" if info["data_type"] in READ_TYPES else ""
        raise OptionError(f"data_type is {data_type!r}{alone}; it is one of {', '.join(DATA_TYPES)}")
    check_info(info)
    check_labels(info)
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
        levels = parse_levels(info, strict=True)
    except MetadataError as error:
        raise OptionError(error.message) from error
    for level in levels:
        if is_wrong(level):
            raise OptionError(str(level.error))
        _check_settings(level)


def _check_settings(level: Level) -> None:
    """Refuse settings that the encoding has, but not for such chunks and voxels: encode one voxel, and see."""
    if level.error or level.codec.name not in CODECS:
        return
    try:
        codec = get_codec(level.codec)
        codec.encode(np.zeros((1, 1, 1, level.channels), level.dtype))
        x, y, z = (min(a, b) for a, b in zip(level.chunk[:3], level.shape[:3], strict=True))
        codec.check_shape((x, y, z, level.channels))
    except UnsupportedError as error:
        raise OptionError(error.message) from error
    except MissingExtraError:
        return
