"""Raw chunks: the voxels, little endian, x fastest and channel slowest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.base import Codec
from volumekit.codecs.checks import check_readable, storable
from volumekit.errors import CorruptChunkError


@dataclass(frozen=True)
class Raw(Codec):
    """The voxels themselves, little endian, in Fortran order of (x, y, z, channel).

    Decoding is a read-only view of the stored bytes: nothing is copied.
    """

    name: ClassVar[str] = "raw"

    def decode(self, data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Codec.decode`; the length must match exactly."""
        check_readable(self, shape, dtype)
        wanted = math.prod(shape) * dtype.itemsize
        if len(data) != wanted:
            raise CorruptChunkError(f"a raw {dtype} chunk of {shape} has {wanted} bytes, not {len(data)}")
        voxels = np.frombuffer(data, dtype.newbyteorder("<")).reshape(shape, order="F")
        return voxels.astype(dtype, copy=False)

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """See `Codec.encode`."""
        return bytes(raw_view(storable(self, chunk)))

    @classmethod
    def supports(cls, dtype: np.dtype[Any], channels: int) -> str | None:
        """See `Codec.supports`; anything of a fixed size that is not an object."""
        if dtype.hasobject or not dtype.itemsize:
            return f"raw stores numbers, not {dtype}"
        return None


def raw_view(chunk: NDArray[Any]) -> memoryview:
    """Return the bytes of a raw chunk; nothing is copied where the voxels lie in memory like that already.

    Parameters
    ----------
    chunk : numpy.ndarray
        (x, y, z, channel), numbers or booleans.
    """
    flat = chunk.astype(chunk.dtype.newbyteorder("<"), copy=False).reshape(-1, order="F")
    return np.ascontiguousarray(flat).view(np.uint8).data  # one voxel that stands for all is not contiguous
