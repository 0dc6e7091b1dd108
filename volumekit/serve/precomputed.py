"""Any volume as Neuroglancer Precomputed.

Chunks and shards whose encoding Neuroglancer reads are passed through as they are stored; all others are decoded and
encoded again, and so are pictures of jxl whose colours are frames of an animation. Scales have the keys and the chunk
sizes they are stored with.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs import get_codec
from volumekit.codecs.raw import raw_view
from volumekit.engine.chunks import Chunks
from volumekit.formats.base import Cell
from volumekit.formats.precomputed import DATA_TYPES, Precomputed
from volumekit.formats.precomputed.create import make_scale, scale_key
from volumekit.formats.precomputed.info import VOLUME, dump_info
from volumekit.model.level import CodecSpec, Level
from volumekit.serve.answer import JSON, Answer, Document, Headers, not_found
from volumekit.serve.chunks import MOST_BYTES, Encode, Kept, Transcoder
from volumekit.serve.objects import Objects, presentable
from volumekit.storage.base import Value

if TYPE_CHECKING:
    from volumekit.volume.volume import Volume

READABLE = ("raw", "jpeg", "png", "jxl", "compressed_segmentation", "compresso")
"""Encodings that Neuroglancer reads."""

_BOX = re.compile("_".join([r"(-?\d{1,19})-(-?\d{1,19})"] * 3), re.ASCII)
_SHOWN = {"bool": "uint8", "float16": "float32", "float64": "float32", "int64": "float32"}
"""Data types that Precomputed has no name for, and what they are shown as."""

_BLOCK = (8, 8, 8)
_SETTINGS: dict[str, dict[str, Any]] = {
    "compressed_segmentation": {"compressed_segmentation_block_size": _BLOCK},
    "jxl": {"jxl_quality": 100, "jxl_effort": 1},
}
_FRAMES = 3
"""Channels that cloud-volume makes frames of in jxl: no viewer shows them, so these chunks are looked at."""


def shown_type(dtype: np.dtype[Any], kind: str) -> np.dtype[Any]:
    """Return the data type under which voxels are shown; labels stay whole numbers."""
    if dtype.name == "int64" and kind == "segmentation":
        return np.dtype(np.uint64)
    return np.dtype(_SHOWN.get(dtype.name, dtype.name))


@dataclass(frozen=True)
class _Scale:
    """A level whose chunks are made here."""

    level: Level
    transcoder: Transcoder

    def cell(self, box: str) -> tuple[int, int, int] | None:
        """Return the position of the chunk of this name, None if there is no such chunk."""
        match = _BOX.fullmatch(box)
        if match is None:
            return None
        numbers, level, cell = [int(n) for n in match.groups()], self.level, []
        for low, high, offset, size, end in zip(
            numbers[::2], numbers[1::2], level.offset, level.chunk, level.end, strict=False
        ):
            place, rest = divmod(low - offset, size)
            if rest or not offset <= low < end or high != min(low + size, end):
                return None
            cell.append(place)
        return cell[0], cell[1], cell[2]

    def cells(self, cell: tuple[int, int, int]) -> list[Cell]:
        """Return what a chunk consists of in the level's own grid, where channels may lie apart."""
        return [(*cell, n) for n in range(-(-self.level.channels // self.level.chunk[3]))]


class PrecomputedView:
    """A volume as Precomputed.

    Parameters
    ----------
    volume : Volume
        What to show; its options are not changed any more.
    objects : Objects
        Its stored objects.
    executor : Executor
        Threads that decode.
    kind : {"image", "segmentation"}, optional
        What it is shown as; None: what its metadata say. Precomputed volumes are what they say.
    """

    def __init__(self, volume: Volume, objects: Objects, executor: Executor, *, kind: str | None = None) -> None:
        self._volume, self._executor, self._kind = volume, executor, kind or volume.layer_type
        self._own = isinstance(volume._format, Precomputed) and volume.levels[0].dtype.name in DATA_TYPES
        self._objects = objects if self._own else None
        self._made: dict[str, _Scale] = {}
        self.info = self._describe()
        self._document = Document(dump_info(self.info), JSON)

    async def answer(self, key: str, headers: Headers, *, head: bool = False) -> Answer:
        """Return what is at a path below the volume."""
        if key == "info":
            return self._document.answer(headers)
        folder, _, box = key.rpartition("/")
        scale = self._made.get(folder)
        if scale is not None:
            cell = scale.cell(box)
            return not_found() if cell is None else await scale.transcoder.answer(scale.cells(cell), headers)
        return not_found() if self._objects is None else await self._objects.answer(key, headers, head=head)

    def _describe(self) -> dict[str, Any]:
        volume = self._volume
        if self._own:
            info = copy.deepcopy(volume.info)
            pairs = zip(volume.levels, info["scales"], strict=True)
            info["scales"] = [scale for scale in (self._stored_scale(*pair) for pair in pairs) if scale is not None]
            return info
        kind = self._kind if volume.levels[0].channels == 1 else "image"
        dtype = shown_type(volume.levels[0].dtype, kind)
        if dtype.kind == "f":
            kind = "image"
        scales = [self._made_scale(mip, kind, dtype) for mip in range(len(volume.levels))]
        return {
            "@type": VOLUME,
            "type": kind,
            "data_type": dtype.name,
            "num_channels": volume.levels[0].channels,
            "scales": [scale for scale in scales if scale is not None],
        }

    def _stored_scale(self, level: Level, scale: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a scale of stored Precomputed data as it is served; None: not at all."""
        if not isinstance(scale, dict) or not presentable(str(scale.get("key"))):
            return None
        framed = scale.get("encoding") == "jxl" and level.channels == _FRAMES and level.error is None
        if scale.get("encoding") in READABLE and not framed:
            return scale
        mip = next(n for n, other in enumerate(self._volume.levels) if other is level)
        made = self._made_scale(mip, self._volume.layer_type, level.dtype, "jxl" if framed else None)
        kept = {name: value for name, value in scale.items() if name not in (*_REPLACED, "sharding")}
        return None if made is None else {**kept, **made}

    def _made_scale(
        self, mip: int, kind: str, dtype: np.dtype[Any], encoding: str | None = None
    ) -> dict[str, Any] | None:
        """Return a scale whose chunks are made here, as usual raw or compressed labels; None if they cannot be."""
        level = self._volume.levels[mip]
        if level.error is not None or math.prod(level.cell) * level.dtype.itemsize > MOST_BYTES:
            return None
        if dtype.name not in DATA_TYPES:
            return None
        usual = "compressed_segmentation" if kind == "segmentation" and dtype.name in _LABELS else "raw"
        encoding = encoding or usual
        key = level.key if presentable(level.key) else scale_key(level.resolution)
        if key in self._made:
            key = f"{key}_mip{mip}"
        self._made[key] = _Scale(level, self._transcoder(mip, encoding, dtype))
        return make_scale(
            key=key,
            size=level.shape[:3],
            offset=level.offset,
            resolution=level.resolution,
            chunk_size=level.chunk[:3],
            encoding=encoding,
            block_size=_BLOCK,
        )

    def _transcoder(self, mip: int, encoding: str, dtype: np.dtype[Any]) -> Transcoder:
        encoded = _encoder(encoding)
        array = self._volume.array(mip, fill_missing=False)

        def encode(voxels: NDArray[Any]) -> bytes | memoryview:
            if voxels.dtype == dtype:
                return encoded(voxels)
            with np.errstate(over="ignore"):  # what float32 cannot hold is shown as infinite
                return encoded(voxels.astype(dtype))

        return Transcoder(
            array,
            encode,
            salt=f"{self._volume.cloudpath} {mip} {encoding} {dtype}".encode(),
            absent=array.options.background == 0,
            executor=self._executor,
            kept=_kept(encoding) if dtype == array.level.dtype else None,
        )


def _encoder(encoding: str) -> Encode:
    return raw_view if encoding == "raw" else get_codec(CodecSpec(encoding, _SETTINGS[encoding])).encode


def _kept(encoding: str) -> Kept | None:
    """Return which stored chunks need not be made anew."""
    return {"raw": Chunks.raw, "jxl": _kept_jxl}.get(encoding)


def _kept_jxl(chunks: Chunks, cell: Cell, value: Value) -> bytes | None:
    """Return a chunk unless its channels are frames of an animation, or lie in other ways of cloud-volume's."""
    from volumekit.codecs.jxl import is_usual

    return value.data if is_usual(value.data, chunks.shape(cell)) else None


_LABELS = ("uint32", "uint64")
_REPLACED = ("encoding", "chunk_sizes", "jpeg_quality", "png_level", "fpzip_precision")
