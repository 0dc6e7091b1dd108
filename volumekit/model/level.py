"""A level: everything the engine and the volume need to know about one resolution of a dataset."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from volumekit.model.bbox import Bbox

F_ORDER = (3, 2, 1, 0)
"""Memory order of formats that store x fastest: axes from slowest to fastest."""

C_ORDER = (0, 1, 2, 3)


@dataclass(frozen=True)
class CodecSpec:
    """A codec by name, with its settings.

    Parameters
    ----------
    name : str
        Name in the codec registry; a name nobody knows is kept, and only that level cannot be read.
    settings : Mapping
        Settings as the format spells them.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:  # hashes differ from process to process
        return CodecSpec, (self.name, self.settings)

    @functools.cached_property
    def _hash(self) -> int:
        return hash((self.name, repr(sorted(self.settings.items()))))


@dataclass(frozen=True)
class Sharding:
    """How a format packs chunks into larger objects, its shards.

    Parameters
    ----------
    kind : str
        The format's name for it.
    parameters : Mapping
        As the format spells them.
    shape : tuple of int, optional
        Shape of a shard, (x, y, z) voxels; None where chunks are scattered over the shards. Shards are cut at the end
        of the level.
    """

    kind: str
    parameters: Mapping[str, Any]
    shape: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Level:
    """One resolution of a dataset.

    Attributes
    ----------
    key : str
        Name of the level within the dataset, e.g. ``"4_4_40"``.
    bounds : Bbox
        Voxels of the level, (x, y, z), half-open, offset included.
    chunk : tuple of int
        Shape of a chunk, (x, y, z, channel).
    dtype : numpy.dtype
        Data type in native byte order.
    channels : int
        Number of channels.
    resolution : tuple of float
        Voxel size in nm, (x, y, z).
    codec : CodecSpec
        How chunks are encoded.
    fill : int or float
        What missing chunks hold, by the format's rule.
    fill_missing : bool
        Whether, by the format's rule, a missing chunk is ``fill`` rather than an error.
    order : tuple of int
        Memory order: the axes from slowest to fastest. A read returns arrays in this order.
    sharding : Sharding or None
        How chunks are packed into larger objects.
    error : str or None
        Why this level cannot be opened, if it cannot.
    locked : str or None
        Why the level refuses writes, if it does.
    spans : tuple of str
        Fixed axes of which a stored chunk holds further positions: what is written is merged with those.
    """

    key: str
    bounds: Bbox
    chunk: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    channels: int
    resolution: tuple[float, float, float]
    codec: CodecSpec
    fill: int | float = 0
    fill_missing: bool = False
    order: tuple[int, int, int, int] = F_ORDER
    sharding: Sharding | None = None
    error: str | None = None
    locked: str | None = None
    spans: tuple[str, ...] = ()

    @functools.cached_property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the level, (x, y, z, channel)."""
        x, y, z = (b - a for a, b in zip(self.offset, self.end, strict=True))
        return x, y, z, self.channels

    @functools.cached_property
    def placed(self) -> bool:
        """Whether it is known where the level's voxels lie; of one that cannot be opened, it may not be."""
        return self.error is None or all(self.shape)

    @functools.cached_property
    def cell(self) -> tuple[int, int, int, int]:
        """Shape of the largest chunk there is: a chunk ends where the level ends."""
        x, y, z, c = (min(a, b) for a, b in zip(self.chunk, self.shape, strict=True))
        return x, y, z, c

    @functools.cached_property
    def row_bytes(self) -> int:
        """Bytes of a chunk that lie side by side in the level's memory order."""
        size = self.dtype.itemsize
        for axis in reversed(self.order):
            size *= self.cell[axis]
            if self.cell[axis] < self.shape[axis]:
                break
        return size

    @functools.cached_property
    def most_bytes(self) -> int:
        """More bytes than any encoding of a chunk takes, so that a decompression bomb is recognised."""
        return 2**16 + 4 * math.prod(self.cell) * max(8, self.dtype.itemsize)

    @functools.cached_property
    def offset(self) -> tuple[int, int, int]:
        """Lowest voxel, (x, y, z)."""
        x, y, z = (int(n) for n in self.bounds.minpt)
        return x, y, z

    @functools.cached_property
    def end(self) -> tuple[int, int, int]:
        """One past the highest voxel, (x, y, z)."""
        x, y, z = (int(n) for n in self.bounds.maxpt)
        return x, y, z
