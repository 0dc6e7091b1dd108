"""Files opened and closed by compiled code, many with one call; for Linux, imported only by `storage.files`.

Addresses are passed as numbers, and ``open`` with its third argument as if it always had three, which is the same to
the C library on Linux, but not everywhere.
"""

from __future__ import annotations

from typing import Any

import numba
from numpy.typing import NDArray

from volumekit.compiled import kernel

_int, _size = numba.types.int32, numba.types.uintp

_open: Any = numba.types.ExternalFunction("open", _int(_size, _int, _int))
_close: Any = numba.types.ExternalFunction("close", _int(_int))
_strlen: Any = numba.types.ExternalFunction("strlen", _size(_size))
_errno: Any = numba.types.ExternalFunction("__errno_location", _size())
_memcpy: Any = numba.types.ExternalFunction("memcpy", _size(_size, _size, _size))


@kernel
def open_named(names: int, flags: int, mode: int, files: NDArray[Any]) -> bool:
    """Open files whose names follow each other at an address, each with a NUL behind it; -1: one cannot be."""
    done = True
    for n in range(len(files)):
        files[n] = _open(names, flags, mode)
        done &= files[n] >= 0
        names += _strlen(names) + 1
    return done


@kernel
def close_files(files: NDArray[Any], errors: int) -> None:
    """Close those that are open, all of them; the errors' numbers are put at an address, 32 bits for each file."""
    for n in range(len(files)):
        if files[n] >= 0 and _close(files[n]) != 0:
            _memcpy(errors + 4 * n, _errno(), 4)
