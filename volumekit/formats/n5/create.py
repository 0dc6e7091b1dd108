"""Making new N5 groups; nothing is stored here.

They say where they lie in all the ways that readers look for: ``multiscales`` and ``transform`` (COSEM), ``scales``,
``downsamplingFactors`` and ``pixelResolution`` (n5-viewer), ``axes``, ``units`` and ``resolution`` (TensorStore,
Neuroglancer).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from volumekit.errors import OptionError
from volumekit.formats.arrays.document import Document, dump
from volumekit.formats.n5.array import DATA_TYPES, DOCUMENT
from volumekit.formats.n5.compression import compression_of
from volumekit.formats.n5.n5 import N5
from volumekit.formats.zarr.create import LAYER_TYPES, parsed
from volumekit.formats.zarr.layout import MAX_CHUNK_BYTES
from volumekit.formats.zarr.notes import OWN
from volumekit.model.level import Level
from volumekit.model.units import exact

VERSION = "2.0.0"
AXES = ("x", "y", "z", "c")


def create_n5(
    levels: Sequence[Level],
    *,
    compressor: str | Mapping[str, Any] | None = "gzip",
    layer_type: str = "image",
    name: str = "",
    method: str | None = None,
) -> N5:
    """Return a new N5 group without voxels, with a dataset for each level: ``s0``, ``s1``, ….

    Parameters
    ----------
    levels : sequence of Level
        Bounds, chunks, data type, channels and resolution of each, finest first.
    compressor : str, Mapping or None
        ``"gzip"``, ``"zstd"``, ``"blosc"``, ``"bzip2"``, ``"xz"``, ``"lz4"``, with a level as in ``"zstd:5"`` and
        ``"blosc:zstd:5"``; ``"raw"`` or None; or a configuration as the metadata have it.
    layer_type : {"image", "segmentation"}
        What the voxels mean.
    name : str
        What the volume is called.
    method : str, optional
        How the coarser levels are made.

    Raises
    ------
    OptionError
        If that cannot be stored.
    """
    if layer_type not in LAYER_TYPES:
        raise OptionError(f"layer_type is {layer_type!r}; it is one of {', '.join(LAYER_TYPES)}")
    compression = compression_of(compressor)
    documents = {f"s{n}": dataset_document(level, levels[0], compression) for n, level in enumerate(levels)}
    listed = [{"path": path, "transform": document["transform"]} for path, document in documents.items()]
    group: Document = {
        "n5": VERSION,
        "multiScale": True,
        **_sizes(levels[0], levels[0]),
        "scales": [document["downsamplingFactors"] for document in documents.values()],
        "multiscales": [{"name": name, "datasets": listed, **({"type": method} if method else {})}],
        **({OWN: {"layer_type": layer_type}} if layer_type != "image" else {}),
    }
    made = {f"{path}/{DOCUMENT}": dump(document) for path, document in documents.items()}
    return parsed(N5, {DOCUMENT: dump(group), **made})


def dataset_document(level: Level, finest: Level, compression: Mapping[str, Any]) -> Document:
    """Return the attributes of a level's dataset.

    Raises
    ------
    OptionError
        If N5 has no such values, or blocks are too large.
    """
    if level.dtype.name not in DATA_TYPES:
        raise OptionError(f"{level.dtype} cannot be stored in N5; known: {', '.join(DATA_TYPES)}")
    if math.prod(level.chunk) * level.dtype.itemsize > MAX_CHUNK_BYTES:
        raise OptionError(f"chunks of {level.chunk} {level.dtype} take more than 2 GiB")
    ratio = [exact(a) / exact(b) for a, b in zip(level.resolution, finest.resolution, strict=True)]
    factors = [int(f) if f.denominator == 1 else float(f) for f in ratio]
    return {
        "dimensions": of_level(level.shape, level),
        "blockSize": of_level((*level.chunk[:3], 1), level),
        "dataType": level.dtype.name,
        "compression": dict(compression),
        **_sizes(level, finest),
        "downsamplingFactors": of_level((*factors, 1), level),
        "transform": transform_document(level, finest),
    }


def transform_document(level: Level, finest: Level) -> Document:
    """Return scale and translation of a level, slowest axis first; voxels of the finest are centred on multiples."""
    pairs = [[exact(n) for n in row] for row in zip(level.offset, level.resolution, finest.resolution, strict=True)]
    translation = [float(low * size + (size - fine) / 2) for low, size, fine in pairs]
    return {
        "axes": of_level(AXES, level)[::-1],
        "scale": of_level((*map(float, level.resolution), 1.0), level)[::-1],
        "translate": of_level((*translation, 0.0), level)[::-1],
        "units": of_level(("nm", "nm", "nm", ""), level)[::-1],
    }


def _sizes(level: Level, finest: Level) -> Document:
    return {
        "axes": of_level(AXES, level),
        "units": of_level(("nm", "nm", "nm", ""), level),
        "resolution": of_level((*map(float, level.resolution), 1.0), level),
        "pixelResolution": {"dimensions": [*map(float, finest.resolution)], "unit": "nm"},
    }


def of_level(values: Iterable[Any], level: Level) -> list[Any]:
    """Return values given as (x, y, z, channel) for a dataset: the channel only if there are several."""
    return list(values)[: 4 if level.channels > 1 else 3]
