"""Open files read and written by compiled code: many calls of the system, and none of Python's between them.

Imported only where `volumekit.compiled.files_available`. What a call of the system returns is all that is known here:
whoever calls these kernels does what failed again in Python, which tells what is wrong.
"""

from __future__ import annotations

from typing import Any

import numba
from numpy.typing import NDArray

from volumekit.compiled import kernel

_int, _size, _long = numba.types.int32, numba.types.uintp, numba.types.int64

# Addresses are passed as numbers: to a function of C they are the same on all machines of 64 bits.
_pread: Any = numba.types.ExternalFunction("pread", numba.types.intp(_int, _size, _size, _long))
_pwrite: Any = numba.types.ExternalFunction("pwrite", numba.types.intp(_int, _size, _size, _long))
_memcpy: Any = numba.types.ExternalFunction("memcpy", _size(_size, _size, _size))


@kernel
def read_blocks(files: NDArray[Any], starts: NDArray[Any], out: int, step: int, size: int) -> bool:
    """Read ``size`` bytes of each file, from its start on, to the address ``out`` and others ``step`` bytes apart."""
    done = True
    for n in range(len(files)):
        done &= _pread(files[n], out + n * step, size, starts[n]) == size
    return done


@kernel
def write_parts(
    files: NDArray[Any],
    voxels: int,
    shape: tuple[int, int, int, int],
    strides: tuple[int, int, int],
    chunk: tuple[int, int, int],
    first: int,
    part: int,
) -> bool:
    """Write some planes of a row of chunks, or of several rows, into the chunks' files.

    Parameters
    ----------
    files : numpy.ndarray
        (n,) int32: descriptors, those of one row of chunks behind each other.
    voxels : int
        Address of the first voxel.
    shape : tuple of int
        Bytes of a row, rows, planes, channels.
    strides : tuple of int
        Bytes from one row, plane and channel to the next.
    chunk : tuple of int
        Bytes of a chunk's row, its rows and its planes; at the ends there are fewer bytes and rows.
    first : int
        Number of the first plane in the chunks.
    part : int
        Address of room for these planes of a chunk.
    """
    n = 0
    for y in range(0, shape[1], chunk[1]):
        rows = min(chunk[1], shape[1] - y)
        for x in range(0, shape[0], chunk[0]):
            width = min(chunk[0], shape[0] - x)
            size = width * rows * shape[2]
            for c in range(shape[3]):
                corner, to = voxels + c * strides[2] + y * strides[0] + x, part
                for z in range(shape[2]):
                    at = corner + z * strides[1]
                    for _ in range(rows):
                        _memcpy(to, at, width)
                        at += strides[0]
                        to += width
                start = (c * chunk[2] + first) * width * rows
                if _pwrite(files[n], part, size, start) != size:
                    return False
            n += 1
    return True


@kernel
def read_parts(
    files: NDArray[Any],
    voxels: int,
    shape: tuple[int, int, int, int],
    strides: tuple[int, int, int],
    chunk: int,
    planes: int,
    part: int,
) -> bool:
    """Read a row of whole chunks, each all that its file holds; parameters as for `write_parts`.

    Parts of all chunks are read before rows are put together, so that memory is written in its order.

    Parameters
    ----------
    chunk : int
        Bytes of a chunk's row.
    planes : int
        How many planes are read at a time.
    part : int
        Address of room for these planes of all chunks, and for a byte.
    """
    done, whole = True, shape[1] * shape[2] * shape[3]
    for n in range(len(files)):
        width = min(chunk, shape[0] - n * chunk)
        done &= _pread(files[n], part, 1, width * whole) == 0
    for first in range(0, shape[2] * shape[3], planes):
        count = min(planes, shape[2] * shape[3] - first)
        for n in range(len(files)):
            width = min(chunk, shape[0] - n * chunk)
            size, to = width * shape[1] * count, part + n * chunk * shape[1] * count
            done &= _pread(files[n], to, size, first * width * shape[1]) == size
        for k in range(count):
            c, z = divmod(first + k, shape[2])
            for y in range(shape[1]):
                to = voxels + c * strides[2] + z * strides[1] + y * strides[0]
                for n in range(len(files)):
                    width = min(chunk, shape[0] - n * chunk)
                    at = part + n * chunk * shape[1] * count + (k * shape[1] + y) * width
                    _memcpy(to + n * chunk, at, width)
    return done
