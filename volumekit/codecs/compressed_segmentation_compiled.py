"""compressed_segmentation of one channel with numba; same bytes and same errors as ``..._arrays``.

Positions are uint64 throughout: numba looks at signed indices twice, for Python's "from the end", which makes decoding
2.6 times slower. Constants have that type too, since numba makes a float of uint64 and int64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])
Block = tuple[int, int, int]
_U = np.uint64
_0, _1, _2, _5, _24, _31, _32 = (_U(n) for n in (0, 1, 2, 5, 24, 31, 32))
_LOW_24, _LOW_32 = _U(0xFFFFFF), _U(0xFFFFFFFF)
_MOST = 1 << 40  # more voxels than the words of any data could hold: keeps products within 64 bits
_TABLES_END = _U(1 << 24)
_MIX = _U(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: multiplicative hashing, Knuth 6.4


def decode_channel(words: NDArray[np.uint32], base: int, out: NDArray[Any], block: Block) -> int:
    """Decode one channel; see the twin in ``compressed_segmentation_arrays``."""
    where = words, _U(base), *_sizes(out, block)
    damage: int = _check(*where)
    return damage or _decode(out.T.reshape(-1), *where)


def encode_channel(voxels: NDArray[Any], block: Block) -> NDArray[np.uint32] | None:
    """Encode one channel; see the twin in ``compressed_segmentation_arrays``."""
    words: NDArray[np.uint32] = _encode(voxels.T.reshape(-1), *_sizes(voxels, block))
    return words if len(words) else None


def _sizes(channel: NDArray[Any], block: Block) -> tuple[Any, ...]:
    """Return shape, block shape, block grid, voxels of a block and words of a label."""
    grid = tuple(_U(-(-n // b)) for n, b in zip(channel.shape, block, strict=True))
    shape, cut = tuple(map(_U, channel.shape)), tuple(map(_U, block))
    return shape, cut, grid, _U(min(math.prod(block), _MOST)), _U(channel.dtype.itemsize // 4)


def _compiled(function: F) -> F:
    try:
        return cast(F, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # nowhere to keep compiled code: compile once per process
        return cast(F, numba.njit(nogil=True)(function))


@_compiled
def _check(words: Any, base: Any, shape: Any, block: Any, grid: Any, full: Any, wide: Any) -> int:
    """Return what is wrong with the headers: 1 their place, 2 bits, 3 packed voxels, 4 table; else 0."""
    size, count = _U(words.size), grid[0] * grid[1] * grid[2]
    if base + _2 * count > size:
        return 1
    bad_bits = bad_values = bad_table = False
    for number in range(count):
        header, values = _U(words[base + _2 * number]), _U(words[base + _2 * number + _1])
        bits = header >> _24
        bad_bits |= bits > _32 or (bits & (bits - _1)) != _0
        bad_values |= bits > _0 and base + values + ((full * bits + _31) >> _5) > size
        bad_table |= base + (header & _LOW_24) + wide > size
    return 2 if bad_bits else 3 if bad_values else 4 if bad_table else 0


@_compiled
def _label(words: Any, at: Any, wide: Any) -> Any:
    """Return the label of ``wide`` words at a place."""
    label = _U(words[at])
    if wide == _2:
        label |= _U(words[at + _1]) << _32
    return label


@_compiled
def _decode(
    out: Any, words: Any, base: Any, shape: Any, block: Any, grid: Any, full: Any, wide: Any
) -> int:
    """Fill ``out``, the channel in Fortran order; return 4 if an index points beyond the data, else 0."""
    size, number = _U(words.size), base
    for z0 in range(_0, shape[2], block[2]):
        for y0 in range(_0, shape[1], block[1]):
            for x0 in range(_0, shape[0], block[0]):
                header, values = _U(words[number]), base + _U(words[number + _1])
                number += _2
                bits, table = header >> _24, base + (header & _LOW_24)
                room, mask = (size - table) // wide, (_1 << bits) - _1
                nx, only = min(block[0], shape[0] - x0), _label(words, table, wide)
                for z in range(min(block[2], shape[2] - z0)):
                    for y in range(min(block[1], shape[1] - y0)):
                        start = x0 + shape[0] * (y0 + y + shape[1] * (z0 + z))
                        if bits == _0:
                            for i in range(start, start + nx):
                                out[i] = only
                            continue
                        bit = bits * block[0] * (y + block[1] * z)
                        for i in range(start, start + nx):
                            index = (_U(words[values + (bit >> _5)]) >> (bit & _31)) & mask
                            if index >= room:
                                return 4
                            out[i] = _label(words, table + wide * index, wide)
                            bit += bits
    return 0


@_compiled
def _encode(voxels: Any, shape: Any, block: Any, grid: Any, full: Any, wide: Any) -> Any:
    """Return the words of the channel; none if a table would lie beyond 2**24 words."""
    count = grid[0] * grid[1] * grid[2]
    most = min(block[0], shape[0]) * min(block[1], shape[1]) * min(block[2], shape[2])
    out = np.empty(_2 * count + _U(voxels.size) // _2 + _32, np.uint32)
    shift = _U(63)
    while _1 << (_U(64) - shift) < _2 * most:
        shift -= _1
    slots, stamps = np.empty(_1 << (_U(64) - shift), np.int64), np.zeros(_1 << (_U(64) - shift), np.uint64)
    distinct, places = np.empty(most, np.uint64), np.empty(most, np.int64)
    tables = np.zeros(_1 << _table_bits(count), np.uint64), 
    return out
