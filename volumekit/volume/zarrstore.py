"""A volume as a read-only zarr v3 store.

Sources: the core specification of zarr v3, and OME-Zarr (OME-NGFF) 0.5.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, cpu

from volumekit.errors import MissingChunkError, ReadOnlyError
from volumekit.formats.base import Cell
from volumekit.formats.zarr.layout import axes_of, ordered
from volumekit.model.level import Level
from volumekit.volume.zarrmetadata import array_metadata, group_metadata

if TYPE_CHECKING:
    from volumekit.volume.volume import Volume

METADATA = "zarr.json"
_CHUNK = re.compile(r"c((?:/(?:0|[1-9]\d{0,17}))+)")


class VolumeStore(Store):  # type: ignore[misc]
    """The chunks and metadata of a volume under the keys of zarr v3; see `Volume.to_zarr_store`.

    Parameters
    ----------
    volume : Volume
        What to show. Nobody may change its mip or options afterwards.
    multiscale : bool
        Whether to show all mips, as an OME-Zarr group.
    """

    supports_writes = False
    supports_deletes = False
    supports_partial_writes = False
    supports_listing = True

    def __init__(self, volume: Volume, *, multiscale: bool = False) -> None:
        super().__init__(read_only=True)
        self._volume, self._multiscale = volume, multiscale
        mips = [mip for mip, level in enumerate(volume.levels) if level.error is None]
        self._mips = {f"{mip}/": mip for mip in mips} if multiscale else {"": volume.mip}
        self._filled = frozenset(mip for mip in self._mips.values() if volume.array(mip).options.fill_missing)
        volume.fill_missing = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VolumeStore) and self.__dask_tokenize__() == other.__dask_tokenize__()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"VolumeStore({str(self)!r})"

    def __str__(self) -> str:
        return self._volume.cloudpath

    def __dask_tokenize__(self) -> Any:
        """Tell what the contents depend on."""
        return type(self).__name__, self._volume.__dask_tokenize__(), self._multiscale, sorted(self._filled)

    def with_read_only(self, read_only: bool = False) -> VolumeStore:
        """Return this store: it is always read-only.

        Raises
        ------
        ReadOnlyError
            If another one is asked for.
        """
        if not read_only:
            raise ReadOnlyError("a volume's zarr store can only be read; write to the volume", url=str(self))
        return self

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return the bytes of a key, or None if it is absent.

        Raises
        ------
        MissingChunkError
            If a chunk is missing, unless the volume was opened with ``fill_missing=True`` or its format fills.
        CorruptChunkError, PermissionDeniedError, StorageError
            If a chunk cannot be read.
        """
        found = await self._read(key)
        if found is None:
            return None
        return prototype.buffer.from_buffer(cpu.Buffer.from_array_like(_part(found, byte_range)))

    async def get_partial_values(self, prototype: BufferPrototype, key_ranges: Any) -> list[Buffer | None]:
        """Return the bytes of several keys, or of parts of them."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def _read(self, key: str) -> NDArray[np.uint8] | None:
        metadata = self._metadata(key)
        if metadata is not None:
            return np.frombuffer(json.dumps(metadata, allow_nan=False).encode(), np.uint8)
        found = self._find(key)
        return None if found is None else await self._read_chunk(*found)

    async def _read_chunk(self, mip: int, cell: Cell) -> NDArray[np.uint8] | None:
        """Read a chunk and pad it to its full size: in zarr, chunks at the far ends are as large as all others."""
        array = self._volume.array(mip)
        size, spans = array.level.cell, _spans(array.level, cell)
        lengths = [span.stop - span.start for span in spans]
        # C order of (channel, z, y, x) is Fortran order of (x, y, z, channel).
        out = np.empty(size, array.level.dtype, order="F")
        if tuple(lengths) != size:
            out[...] = array.options.background
        try:
            await self._volume.read_async(spans, mip, out=out[tuple(slice(n) for n in lengths)])
        except MissingChunkError:
            if mip in self._filled:
                return None
            raise
        return out.T.reshape(-1).view(np.uint8)

    def _find(self, key: str) -> tuple[int, Cell] | None:
        """Return the mip and the cell of a chunk's key, None if there can be no such chunk."""
        folder, rest = self._split(key)
        mip, match = self._mips.get(folder), _CHUNK.fullmatch(rest)
        if mip is None or match is None:
            return None
        level = self._volume.levels[mip]
        cell = _from_zarr(level, [int(n) for n in match[1].split("/")[1:]])
        grid = _grid(level)
        return (mip, cell) if cell is not None and all(n < m for n, m in zip(cell, grid, strict=True)) else None

    def _split(self, key: str) -> tuple[str, str]:
        """Split a key into the array's folder and the rest."""
        if not self._multiscale:
            return "", key
        folder, slash, rest = key.partition("/")
        return folder + slash, rest

    def _metadata(self, key: str) -> dict[str, Any] | None:
        """Return the metadata that a key holds, None if it holds none."""
        if self._multiscale and key == METADATA:
            return group_metadata(self._volume, self._mips)
        folder, rest = self._split(key)
        mip = self._mips.get(folder)
        return None if mip is None or rest != METADATA else array_metadata(self._volume, mip)

    async def exists(self, key: str) -> bool:
        """Tell whether there is such a key; no chunk is read."""
        if self._metadata(key) is not None:
            return True
        found = self._find(key)
        if found is None:
            return False
        array = self._volume.array(found[0])
        probe = array.objects.read(array.fmt.key(array.level, found[1]), 0, 0)
        return await asyncio.to_thread(probe.result) is not None

    async def list(self) -> AsyncIterator[str]:
        """Yield the keys of the metadata and of all chunks that are stored."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that start with a prefix."""
        if self._multiscale and METADATA.startswith(prefix):
            yield METADATA
        for folder, mip in self._mips.items():
            if not (folder.startswith(prefix) or prefix.startswith(folder)):
                continue
            if (folder + METADATA).startswith(prefix):
                yield folder + METADATA
            if not f"{folder}c/".startswith(prefix[: len(folder) + 2]):
                continue
            for key in await asyncio.to_thread(self._stored, mip):
                if (folder + key).startswith(prefix):
                    yield folder + key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names directly below a folder."""
        folder = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
        if self._multiscale and not folder:
            known = [METADATA, *(name.rstrip("/") for name in self._mips)]
        elif folder in self._mips:
            known = [METADATA, "c"]
        else:
            known = list(
                dict.fromkeys([key[len(folder) :].partition("/")[0] async for key in self.list_prefix(folder)])
            )
        for name in known:
            yield name

    def _stored(self, mip: int) -> Sequence[str]:
        """Return the keys of the stored chunks of a mip, without its folder."""
        level, grid = self._volume.levels[mip], self._volume.exists(mip=mip).to_array()
        cells = ((int(x), int(y), int(z), c) for x, y, z in np.argwhere(grid) for c in range(_grid(level)[3]))
        return ["/".join(["c", *map(str, _to_zarr(level, cell))]) for cell in cells]

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse; zarr asks only where stores can be written."""
        self._check_writable()

    async def set_partial_values(self, key_start_values: Any) -> None:
        """Refuse; zarr asks only where stores can be written."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refuse; zarr asks only where stores can be written."""
        self._check_writable()


def _part(data: NDArray[np.uint8], byte_range: ByteRequest | None) -> NDArray[np.uint8]:
    """Return the bytes that zarr asks for."""
    if isinstance(byte_range, RangeByteRequest):
        return data[byte_range.start : byte_range.end]
    if isinstance(byte_range, OffsetByteRequest):
        return data[byte_range.offset :]
    if isinstance(byte_range, SuffixByteRequest):
        return data[max(0, data.size - byte_range.suffix) :]
    return data


def _spans(level: Level, cell: Cell) -> tuple[slice, ...]:
    """Return the voxels of a cell, global coordinates, cut at the bounds."""
    spans = []
    for n, size, low, high in zip(cell, level.chunk, (*level.offset, 0), (*level.end, level.channels), strict=True):
        spans.append(slice(low + n * size, min(low + (n + 1) * size, high)))
    return tuple(spans)


def _grid(level: Level) -> tuple[int, ...]:
    """Return the number of cells along each axis."""
    return tuple(-(-n // size) for n, size in zip(level.shape, level.chunk, strict=True))


def _to_zarr(level: Level, cell: Cell) -> list[int]:
    return ordered(cell, level)


def _from_zarr(level: Level, numbers: list[int]) -> Cell | None:
    if len(numbers) != len(axes_of(level)):
        return None
    z, y, x = numbers[-3:]
    return x, y, z, numbers[0] if level.channels > 1 else 0
