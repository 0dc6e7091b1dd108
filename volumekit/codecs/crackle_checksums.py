"""CRC-32C of a plane of crackle, from its runs of voxels alone: a part of the compiled kernels.

The checksum is of the components of all voxels, four bytes each, along the raster. It is linear: apart from a constant
for planes of this size, it is the sum over all voxels of the component times x^(32 n), modulo the polynomial, where n
counts the voxels from this one to the last. So all it takes is, for each component, the sum of the powers of its
voxels. That of a run is the difference of two sums of a table: over all voxels from its first one on, and from its end
on.
"""

from __future__ import annotations

import functools
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from volumekit.compiled import inlined, kernel

_ONE, _NONE = np.uint32(1), np.uint32(0)
_POLYNOMIAL = np.uint32(0x82F63B78)  # bits are in reverse order: the lowest is that of x^31
_BITS, _BYTE = 32, 8


@functools.lru_cache(maxsize=16)
def power_sums(voxels: int) -> NDArray[np.uint32]:
    """Return x^32 + x^64 + … + x^(32 n) for each n up to a plane's number of voxels."""
    sums = np.zeros(voxels + 1, np.uint32)
    _add_powers(sums)
    return sums


@functools.lru_cache(maxsize=16)
def checksum_of_zeros(voxels: int) -> int:
    """Return the checksum of a plane all in component 0: what is the same for all planes of this size."""
    return int(google_crc32c.value(bytes(4 * voxels)))


@kernel
def _add_powers(sums: Any) -> None:
    power = _ONE << np.uint32(_BITS - 1)
    for n in range(1, sums.size):
        for _bit in range(_BITS):
            power = _times_x(power)
        sums[n] = sums[n - 1] ^ power


@inlined
def _times_x(value: Any) -> Any:
    """Return a polynomial times x."""
    return (value >> _ONE) ^ (_POLYNOMIAL & (_NONE - (value & _ONE)))


@kernel
def checksum(weights: Any, count: Any) -> Any:
    """Return the sum of all components times their weights.

    Parameters
    ----------
    weights : numpy.ndarray
        uint32; for each component the sum of the powers of its voxels.
    count : int
        How many components there are.
    """
    total: Any = _NONE
    by_bit = np.zeros(_BITS, np.uint32)
    for component in range(np.uint32(count)):
        rest: Any = component
        weight, bit = weights[component], 0
        while rest:
            by_bit[bit] ^= weight & (_NONE - (rest & _ONE))
            rest >>= _ONE
            bit += 1
    for bit in range(_BITS):  # the highest power of x first
        total = _times_x(total) ^ by_bit[bit]
    return total
