"""Blocks of N5: a header, then the values, big-endian and first dimension fastest, compressed.

Source: the N5 file-system specification.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import CorruptChunkError
from volumekit.formats.arrays.array import Dims
from volumekit.formats.n5.compression import Compression

_USUAL, _VARIABLE, _OBJECT = 0, 1, 2


@dataclass(frozen=True)
class Blocks:
    """The blocks of a dataset.

    Attributes
    ----------
    shape : tuple of int
        Extent of a block; one may be smaller, as those at the end usually are.
    dtype : numpy.dtype
        Data type in native byte order.
    compression : Compression
        The compression.
    """

    shape: Dims
    dtype: np.dtype[Any]
    compression: Compression

    def decode(self, data: bytes, extent: Dims) -> NDArray[Any]:
        """Return a block.

        Parameters
        ----------
        data : bytes
            The stored bytes, possibly damaged.
        extent : tuple of int
            What is wanted of it; where the block ends before that, it is zero.

        Raises
        ------
        CorruptChunkError
            If the bytes are no such block.
        """
        shape, count, start = self._header(data)
        size = math.prod(shape) * self.dtype.itemsize
        if count is not None and count != math.prod(shape):
            raise CorruptChunkError(f"a block of {count} values, where its header has {shape}: these are no voxels")
        values = self.compression.decompress(memoryview(data)[start:], size) if size else b""
        found = np.frombuffer(values, self.dtype.newbyteorder(">")).reshape(shape, order="F").astype(self.dtype)
        if all(n >= wanted for n, wanted in zip(shape, extent, strict=True)):
            return found
        whole = np.zeros(self.shape, self.dtype, order="F")
        whole[tuple(map(slice, shape))] = found
        return whole

    def _header(self, data: bytes) -> tuple[Dims, int | None, int]:
        """Return the extent, how many values there are where that is said, and where they start."""
        rank = len(self.shape)
        if len(data) < 4 + 4 * rank:
            raise CorruptChunkError(f"a block of {len(data)} bytes is cut short")
        mode, told = struct.unpack_from(">HH", data)
        if mode == _OBJECT:
            raise CorruptChunkError("the block holds an object, no voxels")
        if mode not in (_USUAL, _VARIABLE) or told != rank:
            raise CorruptChunkError(f"a block of mode {mode} with {told} dimensions, where {rank} were expected")
        shape = struct.unpack_from(f">{rank}I", data, 4)
        if any(n > most for n, most in zip(shape, self.shape, strict=True)):
            raise CorruptChunkError(f"a block of {shape}, larger than {self.shape}")
        start = 4 + 4 * rank
        if mode == _USUAL:
            return shape, None, start
        if len(data) < start + 4:
            raise CorruptChunkError(f"a block of {len(data)} bytes is cut short")
        return shape, struct.unpack_from(">I", data, start)[0], start + 4

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return the bytes of a block of the chunk's shape."""
        header = struct.pack(f">HH{chunk.ndim}I", _USUAL, chunk.ndim, *chunk.shape)
        values = chunk.astype(self.dtype.newbyteorder(">"), order="F", copy=False).reshape(-1, order="F")
        return header + self.compression.compress(values)
