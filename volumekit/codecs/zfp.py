"""zfp streams: one array of one to four axes; the library trusts what it reads, so it is checked here first.

zfp (https://zfp.readthedocs.io, format of codec version 5) comes with imagecodecs, which releases the GIL.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import CorruptChunkError, UnsupportedError

TYPES = tuple(np.dtype(name) for name in ("int32", "int64", "float32", "float64"))
"""Data types of zfp, in the order of their numbers, which begin at 1."""

_MAGIC = b"zfp\x05"
_SIZE_BITS = {1: 48, 2: 24, 3: 16, 4: 12}  # of one axis, by number of axes
_LONG_MODE = 0xFFF
_FIXED_RATE = 2048  # modes below are the bits of a block, less one
_MOST_BLOCK = 2083  # bytes of the largest block
_ZERO_BLOCK = 16  # bytes that a block read from zeros takes at most
_WORD = 8  # bytes; streams usually end with a whole one


def zfp_encode(array: NDArray[Any], mode: str, level: float | None) -> bytes:
    """Return an array as a zfp stream with a header.

    Parameters
    ----------
    array : numpy.ndarray
        One to four axes, one of `TYPES`.
    mode : str
        Name of a member of ``imagecodecs.ZFP.MODE``: ``"REVERSIBLE"``, ``"FIXED_RATE"`` …
    level : float or None
        Bits per value, bit planes or tolerance, as the mode has it.

    Raises
    ------
    UnsupportedError
        If an axis is too long.
    """
    import imagecodecs

    check_size(array.shape)
    how: dict[str, Any] = {"level": level, "mode": imagecodecs.ZFP.MODE[mode]}
    return bytes(imagecodecs.zfp_encode(np.ascontiguousarray(array), **how))


def check_size(shape: tuple[int, ...]) -> None:
    """Raise UnsupportedError if an axis of an array is too long."""
    longest = 1 << _SIZE_BITS[len(shape)]
    if max(shape) > longest:
        raise UnsupportedError(f"zfp stores at most {longest} voxels along each of {len(shape)} axes")


def zfp_decode(data: bytes | memoryview, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the array of a zfp stream, in C order.

    zfp has no checksum, and its streams do not tell where they end: other damage than that below gives wrong numbers.

    Raises
    ------
    CorruptChunkError
        If the stream declares another shape or type, or is cut short; a cut inside of its last block may go unnoticed.
    """
    padded = _padded(data, shape, dtype)
    out = _decode(padded, shape, dtype)
    if len(data) % _WORD or not out[tuple(slice((n - 1) // 4 * 4, None) for n in shape)].any():
        padded[len(data) : len(data) + 2 * _MOST_BLOCK] = 0xFF
        if _decode(padded, shape, dtype).tobytes() != out.tobytes():
            raise CorruptChunkError(f"the zfp stream of {len(data)} bytes is cut short")
    return out


def _decode(stream: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    import imagecodecs

    try:
        out: NDArray[Any] = imagecodecs.zfp_decode(stream, out=np.empty(shape, dtype))
    except Exception as error:
        raise CorruptChunkError(f"the zfp stream does not decode: {error}") from error
    return out


def _padded(data: bytes | memoryview, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[np.uint8]:
    """Check the header; return the stream with zeros behind it, as far as zfp may read.

    A block is read to its own end, wherever that is; blocks read from zeros are short, and hold zeros: that tells of
    streams that are cut, in which what stands behind their end makes a difference. The zeros are pages of the system
    that take no memory unless they are read.
    """
    bits = int.from_bytes(data[:19], "little")
    if bytes(data[:4]) != _MAGIC or len(data) < 12:
        raise CorruptChunkError("not a zfp stream: its header is missing, or of another version")
    field = bits >> 32
    kind, axes = field & 3, (field >> 2 & 3) + 1
    width = _SIZE_BITS[axes]
    sizes = tuple((field >> 4 + width * n & (1 << width) - 1) + 1 for n in reversed(range(axes)))
    if sizes != shape or TYPES[kind] != dtype:
        raise CorruptChunkError(f"the zfp stream declares {TYPES[kind]} {sizes}, not {dtype} {shape}")
    blocks = math.prod(-(-n // 4) for n in shape)
    least = _least_bits(bits >> 84)
    if blocks * least > 8 * len(data):
        raise CorruptChunkError(f"the zfp stream has {len(data)} bytes, which is too little for its size")
    padded = np.zeros(2 * len(data) + blocks * _ZERO_BLOCK + 4 * _MOST_BLOCK, np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    return padded


def _least_bits(mode: int) -> int:
    """Return the bits that every block takes at least."""
    if mode & _LONG_MODE == _LONG_MODE:
        return (mode >> 12 & 0x7FFF) + 1
    short = mode & _LONG_MODE
    return short + 1 if short < _FIXED_RATE else 1
