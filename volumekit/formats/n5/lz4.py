"""The lz4 of N5: blocks with headers and checksums, as Java's LZ4BlockOutputStream writes them.

z5 stores one LZ4 block without any header under the same name; it is read too.

Sources: lz4-java (LZ4BlockOutputStream) and the xxHash specification.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import CorruptChunkError

MAGIC = b"LZ4Block"
_HEADER = struct.Struct("<8sBIII")
_RAW, _LZ4 = 0x10, 0x20
_SEED = 0x9747B28C
_MASK = 0x0FFFFFFF
_LEAST = 10
"""The low half of the token is the logarithm of the block size, less this."""

_PRIMES = (2654435761, 2246822519, 3266489917, 668265263, 374761393)


def lz4_compress(data: bytes, block: int) -> bytes:
    """Compress a stream.

    Parameters
    ----------
    data : bytes
        What to compress.
    block : int
        Bytes of a block before compression, 64 to 32 Mi.
    """
    parts = [data[at : at + block] for at in range(0, len(data), block)]
    token = max(0, (block - 1).bit_length() - _LEAST)
    out = [piece for part, check in zip(parts, _checks(parts), strict=True) for piece in _block(part, check, token)]
    return b"".join([*out, _HEADER.pack(MAGIC, _RAW | token, 0, 0, 0)])


def _block(part: bytes, check: int, token: int) -> tuple[bytes, bytes]:
    import imagecodecs

    packed = bytes(imagecodecs.lz4_encode(part, header=False))
    method, packed = (_RAW, part) if len(packed) >= len(part) else (_LZ4, packed)
    return _HEADER.pack(MAGIC, method | token, len(packed), len(part), check & _MASK), packed


def lz4_decompress(data: bytes, size: int) -> bytes:
    """Decompress a stream of blocks, or a single block without a header; checksums are not looked at.

    Parameters
    ----------
    data : bytes
        The stored bytes, possibly damaged.
    size : int
        Bytes that come out; no more are ever made.

    Raises
    ------
    CorruptChunkError
        If they do not decompress to that many.
    """
    if not data.startswith(MAGIC):
        return _unpacked(data, size)
    out = b"".join(_parts(data, size))
    if len(out) != size:
        raise CorruptChunkError(f"the lz4 data decompress to {len(out)} bytes, not {size}")
    return out


def _parts(data: bytes, size: int) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        if len(data) - at < _HEADER.size:
            raise CorruptChunkError("the lz4 data are cut short")
        magic, token, packed, plain, _ = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        method = token & 0xF0
        if magic != MAGIC or method not in (_RAW, _LZ4) or (method == _RAW and packed != plain):
            raise CorruptChunkError("the lz4 data have a damaged header")
        if not plain:
            return
        size -= plain
        if size < 0 or packed > len(data) - at:
            raise CorruptChunkError("the lz4 data have a header that promises too much")
        part = data[at : at + packed]
        yield part if method == _RAW else _unpacked(part, plain)
        at += packed


def _unpacked(data: bytes, size: int) -> bytes:
    import imagecodecs

    problem = None
    try:
        out = bytes(imagecodecs.lz4_decode(data, out=size, header=False))
    except Exception as error:  # the library's own
        problem, out = error, b""
    if problem is not None or len(out) != size:
        raise CorruptChunkError(f"the lz4 data do not decompress to {size} bytes: {problem or 'they are fewer'}")
    return out


def _checks(parts: list[bytes]) -> list[int]:
    """Return the hash of each part; all but the last have one length and are hashed together."""
    if not parts:
        return []
    *equal, last = parts
    first = xxh32(np.frombuffer(b"".join(equal), np.uint8).reshape(len(equal), -1), _SEED).tolist() if equal else []
    return [*first, *xxh32(np.frombuffer(last, np.uint8)[None], _SEED).tolist()]


def xxh32(rows: NDArray[np.uint8], seed: int) -> NDArray[np.uint32]:
    """Return the xxHash of each row, 32 bits.

    Parameters
    ----------
    rows : numpy.ndarray
        (n, length).
    seed : int
        The seed.
    """
    count, length = rows.shape
    p1, p2, p3, p4, p5 = (np.uint32(prime) for prime in _PRIMES)
    whole = length // 16 * 16
    if whole:
        starts = [seed + _PRIMES[0] + _PRIMES[1], seed + _PRIMES[1], seed, seed - _PRIMES[0]]
        lanes = np.tile(np.array([start % 2**32 for start in starts], np.uint32), (count, 1))
        words = np.ascontiguousarray(rows[:, :whole]).view("<u4").reshape(count, -1, 4)
        for stripe in range(words.shape[1]):
            lanes = _turned(lanes + words[:, stripe] * p2, 13) * p1
        total = sum((_turned(lanes[:, n], turn) for n, turn in enumerate((1, 7, 12, 18))), np.zeros(count, np.uint32))
    else:
        total = np.full(count, (seed + _PRIMES[4]) % 2**32, np.uint32)
    total = total + np.uint32(length % 2**32)
    for at in range(whole, length - 3, 4):
        word = np.ascontiguousarray(rows[:, at : at + 4]).view("<u4")[:, 0]
        total = _turned(total + word * p3, 17) * p4
    for at in range(length // 4 * 4, length):
        total = _turned(total + rows[:, at].astype(np.uint32) * p5, 11) * p1
    return _mixed(total, p2, p3)


def _mixed(total: NDArray[np.uint32], p2: np.uint32, p3: np.uint32) -> NDArray[np.uint32]:
    total = (total ^ (total >> np.uint32(15))) * p2
    total = (total ^ (total >> np.uint32(13))) * p3
    mixed: NDArray[np.uint32] = total ^ (total >> np.uint32(16))
    return mixed


def _turned(values: Any, by: int) -> Any:
    """Rotate bits to the left."""
    return (values << np.uint32(by)) | (values >> np.uint32(32 - by))
