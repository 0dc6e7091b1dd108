"""Any volume as OME-Zarr 0.5.

Data that are OME-Zarr 0.5 already are passed through as they are stored, shards and labels included; of all others each
chunk is decoded when it is asked for.
"""

from __future__ import annotations

import json
import math
import re
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.raw import raw_view
from volumekit.engine.chunks import Chunks
from volumekit.formats.base import Cell
from volumekit.formats.zarr import OmeZarr
from volumekit.formats.zarr.layout import axes_of
from volumekit.model.level import Level
from volumekit.serve.answer import JSON, Answer, Document, Headers, not_found
from volumekit.serve.chunks import MOST_BYTES, Transcoder
from volumekit.serve.objects import Objects
from volumekit.volume.zarrmetadata import array_metadata, group_metadata

if TYPE_CHECKING:
    from volumekit.volume.volume import Volume

METADATA = "zarr.json"
_CHUNK = re.compile(r"(0|[1-9]\d{0,6})/c((?:/(?:0|[1-9]\d{0,17})){3,4})", re.ASCII)


class ZarrView:
    """A volume as an OME-Zarr group.

    Parameters
    ----------
    volume : Volume
        What to show; its options are not changed any more.
    objects : Objects
        Its stored objects.
    executor : Executor
        Threads that decode.
    """

    def __init__(self, volume: Volume, objects: Objects, executor: Executor) -> None:
        self._objects = objects if _is_stored_so(volume) else None
        self._documents: dict[str, Document] = {}
        self._levels: dict[int, tuple[Level, Transcoder]] = {}
        if self._objects is None:
            self._describe(volume, executor)

    async def answer(self, key: str, headers: Headers, *, head: bool = False) -> Answer:
        """Return what is at a path below the group."""
        if self._objects is not None:
            return await self._objects.answer(key, headers, head=head)
        document = self._documents.get(key)
        if document is not None:
            return document.answer(headers)
        match = _CHUNK.fullmatch(key)
        found = self._levels.get(int(match[1])) if match else None
        if match is None or found is None:
            return not_found()
        level, transcoder = found
        cell = _cell(level, [int(n) for n in match[2].split("/")[1:]])
        return not_found() if cell is None else await transcoder.answer([cell], headers)

    def _describe(self, volume: Volume, executor: Executor) -> None:
        for mip, level in enumerate(volume.levels):
            if level.error is not None or math.prod(level.cell) * level.dtype.itemsize > MOST_BYTES:
                continue
            array = volume.array(mip, fill_missing=False)
            self._documents[f"{mip}/{METADATA}"] = _document(array_metadata(volume, mip))
            transcoder = Transcoder(
                array,
                _Padded(level, array.options.background),
                salt=f"{volume.cloudpath} {mip} zarr".encode(),
                absent=True,
                executor=executor,
                kept=Chunks.raw,
            )
            self._levels[mip] = level, transcoder
        self._documents[METADATA] = _document(group_metadata(volume, {f"{mip}/": mip for mip in self._levels}))


class _Padded:
    """Encodes chunks for zarr: at the far ends they are as large as all others."""

    def __init__(self, level: Level, background: float) -> None:
        self._size, self._dtype, self._background = level.cell, level.dtype, background

    def __call__(self, voxels: NDArray[Any]) -> memoryview:
        if voxels.shape != self._size:
            whole = np.full(self._size, self._background, self._dtype, order="F")
            whole[tuple(slice(n) for n in voxels.shape)] = voxels
            voxels = whole
        # C order of (channel, z, y, x) is Fortran order of (x, y, z, channel).
        return raw_view(voxels)


def _is_stored_so(volume: Volume) -> bool:
    """Tell whether a whole OME-Zarr 0.5 group is stored, of which nothing was chosen."""
    fmt = volume._format
    return (
        isinstance(fmt, OmeZarr)
        and fmt.group.version == 3
        and fmt.group.path == ""
        and fmt.group.ome.get("version") == "0.5"
        and not volume._options.at
    )


def _document(metadata: dict[str, Any]) -> Document:
    return Document(json.dumps(metadata, allow_nan=False).encode(), JSON)


def _cell(level: Level, numbers: list[int]) -> Cell | None:
    """Return the position of a chunk in the level's grid, None if there is none."""
    if len(numbers) != len(axes_of(level)):
        return None
    z, y, x = numbers[-3:]
    cell = (x, y, z, numbers[0] if level.channels > 1 else 0)
    inside = all(n * size < extent for n, size, extent in zip(cell, level.chunk, level.shape, strict=True))
    return cell if inside else None
