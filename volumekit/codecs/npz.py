"""npz chunks: NumPy's .npy format, compressed by zlib, which is not what `numpy.savez` writes."""

from __future__ import annotations

import io
import math
import re
import zlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from volumekit.codecs.base import Codec
from volumekit.codecs.checks import check_readable, storable
from volumekit.errors import CorruptChunkError

_HEADER = 1 << 10  # an npy header of four axes takes 128 bytes; later versions may pad it


_SHOWN = 100

_LITERAL = re.compile(
    r"\{'descr': '(?P<descr>[<>|=][a-z]\d+)', 'fortran_order': (?P<order>True|False),"
    r" 'shape': \((?P<shape>[\dL, ]*)\), *\}\s*"
)
"""A header as every version of NumPy writes it."""


@dataclass(frozen=True)
class Npz(Codec):
    """The chunk as an .npy file, (x, y, z, channel), compressed by zlib; any data type and number of channels."""

    name: ClassVar[str] = "npz"

    def decode(self, data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Codec.decode`; both memory orders are read, x fastest is returned."""
        check_readable(self, shape, dtype)
        file = io.BytesIO(_inflate(data, _HEADER + math.prod(shape) * dtype.itemsize))
        found, fortran, kind = _header(file)
        if found != shape or kind.newbyteorder("=") != dtype or kind.hasobject:
            raise CorruptChunkError(f"the npz holds {kind} {found}, not {dtype} {shape}")
        voxels = file.getbuffer()[file.tell() :]
        if len(voxels) != math.prod(shape) * dtype.itemsize:
            raise CorruptChunkError(f"the npz holds {len(voxels)} bytes of voxels, which are not {dtype} {shape}")
        chunk = np.frombuffer(voxels, kind).reshape(shape, order="F" if fortran else "C")
        return np.asfortranarray(chunk.astype(dtype, copy=False))

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """See `Codec.encode`."""
        chunk = np.asfortranarray(storable(self, chunk))
        file = io.BytesIO()
        npy.write_array(file, chunk.astype(chunk.dtype.newbyteorder("<"), copy=False), allow_pickle=False)
        return zlib.compress(file.getbuffer())

    @classmethod
    def supports(cls, dtype: np.dtype[Any], channels: int) -> str | None:
        """See `Codec.supports`; numbers and truth values."""
        return None if dtype.kind in "biufc" and channels >= 1 else f"npz stores numbers, not {dtype}"


def _inflate(data: bytes, limit: int) -> bytes:
    """Decompress one zlib stream of at most ``limit`` bytes; nothing may follow it."""
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(data, limit)
    except zlib.error as error:
        raise CorruptChunkError(f"the npz does not decompress: {error}") from error
    if not stream.eof or stream.unused_data:
        raise CorruptChunkError("the npz is cut short, goes on behind its end, or is larger than the chunk")
    return plain


def _header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, whether x is fastest, and data type.

    Not by NumPy, which lets Python compile the header: several threads that do so at once disturb each other in
    Python 3.11 (https://github.com/python/cpython/issues/106905).
    """
    try:
        length = {(1, 0): 2, (2, 0): 4}[npy.read_magic(file)]
        size = int.from_bytes(file.read(length), "little")
        text = file.read(size).decode("latin1")
        found = _LITERAL.fullmatch(text)
        if found is None or len(text) < size:
            raise ValueError(f"its header is {text[:_SHOWN]!r}")
        shape = tuple(int(n.strip(" L")) for n in found["shape"].split(",") if n.strip())
        return shape, found["order"] == "True", np.dtype(found["descr"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptChunkError(f"the npz holds no .npy file: {error}") from error
