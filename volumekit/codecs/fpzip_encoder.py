"""Encoding fpzip with the C library inside the package ``fpzip``.

The package's own function gives the library a buffer that is too small for numbers that hardly compress, and so
destroys memory (fpzip 1.2.5); it also keeps the GIL.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import fpzip
import numpy as np
from numpy.typing import NDArray

from volumekit.errors import UnsupportedError

_ROOM = 1024


class _Stream(ctypes.Structure):
    """The public head of the library's ``FPZ``."""

    _fields_ = [(name, ctypes.c_int) for name in ("type", "prec", "nx", "ny", "nz", "nf")]


@functools.cache
def _library() -> Any:
    """Return the C library, its functions declared.

    Raises
    ------
    UnsupportedError
        If the package hides its library.
    """
    library = ctypes.CDLL(fpzip.__file__)
    stream, pointer, size = ctypes.POINTER(_Stream), ctypes.c_void_p, ctypes.c_size_t
    declarations: dict[str, tuple[Any, list[Any]]] = {
        "fpzip_write_to_buffer": (stream, [pointer, size]),
        "fpzip_write_header": (ctypes.c_int, [stream]),
        "fpzip_write": (size, [stream, pointer]),
        "fpzip_write_close": (None, [stream]),
    }
    for name, (result, arguments) in declarations.items():
        try:
            function = getattr(library, name)
        except AttributeError as error:
            raise UnsupportedError(
                "this build of the package fpzip hides its library, as builds for Windows do: "
                "fpzip can be read here but not written"
            ) from error
        function.restype, function.argtypes = result, arguments
    return library


def encode(chunk: NDArray[Any], precision: int) -> bytes:
    """Return an fpzip stream.

    Parameters
    ----------
    chunk : numpy.ndarray
        (x, y, z, channel), float32 or float64.
    precision : int
        Bits kept of each number; 0: all.
    """
    library = _library()
    chunk = np.require(chunk, requirements=["F", "A"])
    buffer = np.empty(_ROOM + 2 * chunk.nbytes, np.uint8)
    stream = library.fpzip_write_to_buffer(buffer.ctypes.data, buffer.nbytes)
    try:
        head = stream.contents
        head.type, head.prec = int(chunk.itemsize == 8), precision
        head.nx, head.ny, head.nz, head.nf = chunk.shape
        written = library.fpzip_write(stream, chunk.ctypes.data) if library.fpzip_write_header(stream) else 0
    finally:
        library.fpzip_write_close(stream)
    if not written:
        raise UnsupportedError(f"fpzip cannot store this chunk of {chunk.dtype} {chunk.shape}")
    return buffer[:written].tobytes()
