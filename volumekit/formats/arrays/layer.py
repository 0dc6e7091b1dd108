"""A stored array as a level: its dimensions become x, y, z and channel, further ones are fixed."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volumekit.errors import MetadataError
from volumekit.formats.arrays.array import MAX_CHUNK_BYTES, Dims, StoredArray
from volumekit.formats.arrays.placement import Placement
from volumekit.formats.arrays.roles import CHANNEL, Roles
from volumekit.formats.base import Cell, Native
from volumekit.model.bbox import Bbox
from volumekit.model.level import CodecSpec, Level, Sharding

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROOT = "."
"""Key of a level whose array is the dataset itself."""


@dataclass(frozen=True)
class Layer:
    """An array, the roles of its dimensions, and the level they make."""

    array: StoredArray
    roles: Roles
    level: Level

    @functools.cached_property
    def _fixed_cells(self) -> Dims:
        """Chunks in which the further axes are fixed."""
        positions = (axis.position or 0 for axis in self.roles.further)
        return tuple(p // self.array.chunk[dim] for p, dim in zip(positions, self.roles.dims, strict=True))

    @functools.cached_property
    def _picked(self) -> tuple[int | slice, ...]:
        """Return which part of a chunk, in its own dimensions, the fixed axes leave."""
        index: list[int | slice] = [slice(None)] * len(self.array.shape)
        for axis, dim in zip(self.roles.further, self.roles.dims, strict=True):
            index[dim] = (axis.position or 0) % self.array.chunk[dim]
        return tuple(index)

    @functools.cached_property
    def _axes(self) -> tuple[int, ...]:
        """Return where x, y, z and channel, as far as there are such, are among the dimensions that are left."""
        left = sorted(place for place in self.roles.places if place is not None)
        return tuple(left.index(place) for place in self.roles.places if place is not None)

    def dims(self, cell: Cell) -> Dims:
        """Return a cell in the array's own dimensions."""
        return self.roles.spread(cell, self._fixed_cells)

    def key(self, cell: Cell) -> str:
        """Return the key of a cell."""
        return self.array.key(self.dims(cell))

    def decode(self, cell: Cell, data: bytes) -> NDArray[Any]:
        """Return the voxels of a cell, (x, y, z, channel), cut where the level ends."""
        chunk = self.array.decode(self.dims(cell), data)[self._picked].transpose(self._axes)
        for axis, place in enumerate(self.roles.places):
            if place is None:
                chunk = chunk[(slice(None),) * axis + (None,)]
        return chunk[tuple(slice(n) for n in self._extent(cell))]

    def raw(self, cell: Cell, data: bytes) -> bytes | memoryview | None:
        """Return the voxels of a cell as raw bytes, x fastest, if they are stored so, and none of them is cut off."""
        return self.array.raw(data) if self._is_reversed and self._extent(cell) == self.level.chunk else None

    @functools.cached_property
    def _is_reversed(self) -> bool:
        """Whether the array's dimensions are channel, z, y and x, as far as there are such, and no others."""
        return not self.roles.dims and list(self._axes) == list(range(len(self._axes)))[::-1]

    def _extent(self, cell: Cell) -> tuple[int, ...]:
        level = self.level
        return tuple(min(c, n - at * c) for at, c, n in zip(cell, level.chunk, level.shape, strict=True))

    def encode(self, cell: Cell, chunk: NDArray[Any]) -> bytes:
        """Return the bytes of a cell; further positions of the chunk, if there are such, hold the fill value."""
        own = self._own(chunk)
        if not self.level.spans:
            for dim in sorted(self.roles.dims):
                own = own[(slice(None),) * dim + (None,)]
            return self.array.encode(self.dims(cell), own)
        whole = self._emptied(cell, None)
        whole[self._picked] = own
        return self.array.encode(self.dims(cell), whole)

    def merge(self, cell: Cell, chunk: NDArray[Any], data: bytes | None, *, needed: bool) -> bytes | None:
        """Return the bytes of a chunk of which one position changes; None: it need not be stored."""
        import numpy as np

        whole, fill = self._emptied(cell, data), np.array(self.array.fill, self.array.dtype)
        if not needed and np.array_equal(whole, np.broadcast_to(fill, whole.shape), equal_nan=True):
            return None
        whole[self._picked] = self._own(chunk)
        return self.array.encode(self.dims(cell), whole)

    def _emptied(self, cell: Cell, data: bytes | None) -> NDArray[Any]:
        """Return all positions of a chunk, cut where the array ends; this level's one holds the fill value."""
        import numpy as np

        array, dims = self.array, self.dims(cell)
        extent = tuple(min(c, n - at * c) for at, c, n in zip(dims, array.chunk, array.shape, strict=True))
        whole = np.full(extent, array.fill, array.dtype)
        if data is not None:
            whole[...] = array.decode(dims, data)[tuple(map(slice, extent))]
            whole[self._picked] = array.fill
        return whole

    def _own(self, chunk: NDArray[Any]) -> NDArray[Any]:
        """Return voxels, (x, y, z, channel), in the array's own order, without the further axes."""
        import numpy as np

        present = tuple(axis for axis, place in enumerate(self.roles.places) if place is not None)
        back = np.argsort(self._axes)
        return chunk.reshape([chunk.shape[axis] for axis in present]).transpose(back)

    def native(self) -> Native | None:
        """Return TensorStore's spec, with axes (x, y, z, channel)."""
        spec = self.array.native()
        if spec is None:
            return None
        low = (*self.level.offset, 0)
        output: list[dict[str, int]] = [{} for _ in self.array.shape]
        for axis, place in enumerate(self.roles.places):
            if place is not None:
                output[place] = {"input_dimension": axis, "offset": -low[axis]}
        for axis_, dim in zip(self.roles.further, self.roles.dims, strict=True):
            output[dim] = {"offset": axis_.position or 0}
        transform = {
            "input_inclusive_min": list(low),
            "input_shape": list(self.level.shape),
            "input_labels": ["x", "y", "z", "channel"],
            "output": output,
        }
        spec = {**spec, "open": True, "assume_metadata": True, "transform": transform}
        return Native(spec, self.array.path, fills=True, document=self.array.document)


def describe(array: StoredArray, roles: Roles, placement: Placement) -> Layer:
    """Return the level that an array is.

    Raises
    ------
    MetadataError
        If it is empty, or a chunk is larger than 4 GiB.
    """
    shape, chunk = roles.four(array.shape), roles.four(array.chunk)
    if not all(array.shape):
        raise MetadataError(f"{array.document} describes an array without voxels, {array.shape}", key=array.document)
    if math.prod(array.chunk) * array.dtype.itemsize > MAX_CHUNK_BYTES:
        raise MetadataError(f"one chunk of {array.document} takes more than 4 GiB: {array.chunk}", key=array.document)
    level = Level(
        key=array.path.rstrip("/") or ROOT,
        bounds=Bbox(placement.offset, [a + n for a, n in zip(placement.offset, shape[:3], strict=True)]),
        chunk=chunk,
        dtype=array.dtype,
        channels=shape[CHANNEL],
        resolution=placement.resolution,
        codec=array.codec,
        fill=array.fill,
        fill_missing=True,
        order=roles.order(array.order),
        sharding=_sharding(array, roles),
        spans=tuple(_spans(array, roles)),
    )
    return Layer(array, roles, level)


def _spans(array: StoredArray, roles: Roles) -> Iterator[str]:
    """Yield the fixed axes of which the level's chunks hold further positions."""
    for axis, dim in zip(roles.further, roles.dims, strict=True):
        chunk = array.chunk[dim]
        start = (axis.position or 0) // chunk * chunk
        if min(chunk, array.shape[dim] - start) > 1:
            yield axis.name


def _sharding(array: StoredArray, roles: Roles) -> Sharding | None:
    container = array.container()
    if array.shard is None or container is None:
        return None
    x, y, z, _ = roles.four(array.shard)
    return Sharding(container.kind, container.parameters, (x, y, z))


def broken(path: str, problem: str, dtype: np.dtype[Any], channels: int) -> Level:
    """Return a level that cannot be opened, and says why; data type and channels are those of the others."""
    return Level(
        key=path.rstrip("/") or ROOT,
        bounds=Bbox((0, 0, 0), (0, 0, 0)),
        chunk=(1, 1, 1, channels),
        dtype=dtype,
        channels=channels,
        resolution=(1.0, 1.0, 1.0),
        codec=CodecSpec("raw"),
        error=problem,
    )
