"""PNG files as one page.

Source: Portable Network Graphics specification (third edition), W3C.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.images.page import ByteSource, Page, check_size
from volumekit.codecs.libpng import decode_png
from volumekit.errors import CorruptChunkError

_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type: grey, RGB, palette, grey + alpha, RGBA
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_SIGNATURE = 8
_RATIO = 1032  # deflate's greatest
_LONGEST = 1_000_000  # libpng's default limit


@dataclass(frozen=True)
class PngPage(Page):
    """The picture of a PNG file; transparency given as a colour or with a palette is a channel too."""

    size: int

    def read(self, source: ByteSource, out: NDArray[Any], low: tuple[int, int] = (0, 0)) -> None:
        """See `Page.read`."""
        (y, x), (rows, columns) = low, out.shape[:2]
        out[...] = self.image(source)[y : y + rows, x : x + columns]

    def image(self, source: ByteSource) -> NDArray[Any]:
        """See `Page.image`."""
        picture = decode_png(source.read(0, self.size))
        if picture.size * picture.itemsize != self.nbytes or picture.dtype != self.dtype:
            raise CorruptChunkError(
                f"the PNG image decodes to {picture.dtype} {picture.shape}, not {self.dtype} {self.shape}"
            )
        return picture.reshape(self.shape)


def png_page(source: ByteSource) -> PngPage:
    """Read the header of a PNG file, and follow its chunks to the end: libpng would stop at the pixels."""
    header = source.read(_SIGNATURE, 25)
    if len(header) < 25 or header[4:8] != b"IHDR":
        raise CorruptChunkError("the PNG image has no header; it is damaged or cut short")
    width, height, bits, colour = struct.unpack_from(">IIBB", header, 8)
    if bits not in _DEPTHS.get(colour, ()):
        raise CorruptChunkError(f"the PNG header is damaged: {bits} bits, colour type {colour}")
    transparent, stored, size = 0, 0, 0
    for kind, end, length in _chunks(source):
        transparent |= kind == b"tRNS"
        stored += length if kind == b"IDAT" else 0
        size = end
    check_size(width, height, min(_RATIO * stored * 8 // bits, _LONGEST**2))
    channels = _CHANNELS[colour] + (transparent and colour < 4)
    return PngPage(height, width, channels, np.dtype(np.uint16 if bits == 16 else np.uint8), size)


def _chunks(source: ByteSource) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, end in the file, length of the data) of every chunk, up to the end chunk."""
    at, kind = _SIGNATURE, b""
    while kind != b"IEND":
        head = source.read(at, 8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        end = at + 12 + length
        if len(head) < 8 or (kind == b"IEND" and not source.reaches(end - 1)):
            raise CorruptChunkError("the PNG image is damaged or cut short")
        yield kind, end, length
        at = end
