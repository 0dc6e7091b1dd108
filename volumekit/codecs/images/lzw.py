"""TIFF's LZW by way of libtiff."""

from __future__ import annotations

import struct
from typing import Any

from numpy.typing import NDArray

_LONG, _SHORT = 4, 3


def decode_lzw(data: bytes, out: NDArray[Any]) -> None:
    """Decompress a strip or tile.

    imagecodecs' own LZW decoder (2026.3.6) reads and writes outside its tables when data are damaged, and takes the
    process down. libtiff does not, and is faster: so the strip is handed to it as a file of its own.

    Parameters
    ----------
    data : bytes
        The compressed strip.
    out : numpy.ndarray
        uint8, (rows, bytes per row), in C order: filled completely.

    Raises
    ------
    Exception
        Whatever the binding raises, if the data are damaged or short.
    """
    import imagecodecs

    rows, row_bytes = out.shape
    start = 8 + 2 + 9 * 12 + 4
    tags = {256: row_bytes, 257: rows, 258: 8, 259: 5, 262: 1, 273: start, 277: 1, 278: rows, 279: len(data)}
    entries = (
        struct.pack("<HHII", tag, _SHORT if tag in (258, 259, 262, 277) else _LONG, 1, value)
        for tag, value in tags.items()
    )
    header = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(entries) + bytes(4)
    imagecodecs.tiff_decode(header + data, out=out)
