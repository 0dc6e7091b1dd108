"""JPEG files as one page.

Source: ITU-T T.81, annex B.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.images.page import MAX_PIXELS, ByteSource, Page, check_size
from volumekit.codecs.jpeg import Jpeg
from volumekit.errors import CorruptChunkError, UnsupportedError

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_READABLE = (0xC0, 0xC1, 0xC2)
_SCAN, _FILL = 0xDA, 0xFF
_DENSEST = 512  # pixels per byte: a block of 8 x 8 takes at least one bit
_WHOLE = 2**40


@dataclass(frozen=True)
class JpegPage(Page):
    """The picture of a JPEG file: 8 bits, grey or RGB."""

    def read(self, source: ByteSource, out: NDArray[Any], low: tuple[int, int] = (0, 0)) -> None:
        """See `Page.read`."""
        (y, x), (rows, columns) = low, out.shape[:2]
        out[...] = self.image(source)[y : y + rows, x : x + columns]

    def image(self, source: ByteSource) -> NDArray[Any]:
        """See `Page.image`."""
        data = source.read(0, _WHOLE)
        chunk = Jpeg().decode(data, (self.width, self.height, 1, self.channels), self.dtype)
        return chunk[:, :, 0, :].swapaxes(0, 1)


def jpeg_page(source: ByteSource) -> JpegPage:
    """Read the header of a JPEG file; `Jpeg.decode` checks the rest."""
    marker, at, length = 0, 2, 0
    while marker not in _FRAMES:
        at += length
        head = source.read(at, 4)
        marker = head[1] if len(head) == 4 else _SCAN
        length = 1 if marker == _FILL else int.from_bytes(head[2:4], "big") + 2
        if head[:1] != b"\xff" or marker == _SCAN or length in (2, 3):
            raise CorruptChunkError("the JPEG image has no header; it is damaged or cut short")
    body = source.read(at + 4, 6)
    if len(body) < 6:
        raise CorruptChunkError("the JPEG image ends within its header")
    bits, channels = body[0], body[5]
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    if marker not in _READABLE or bits != 8 or channels not in (1, 3):
        raise UnsupportedError(
            f"JPEG images of {bits} bits and {channels} colours (frame {marker:#x}) cannot be read;"
            " convert them to 8-bit grey or RGB, or to TIFF or PNG"
        )
    enough = source.reaches(width * height // _DENSEST)
    check_size(width, height, MAX_PIXELS if enough else 0)
    return JpegPage(height, width, channels, np.dtype(np.uint8))
