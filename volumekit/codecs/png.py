"""PNG chunks."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.base import Codec
from volumekit.codecs.checks import check_readable, storable, whole_number
from volumekit.codecs.libpng import decode_png
from volumekit.codecs.picture import check_picture, from_picture, picture_size, to_picture
from volumekit.errors import CorruptChunkError

_LONGEST = 1_000_000  # libpng's default limit, here and in TensorStore
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by PNG colour type: grey, RGB, grey + alpha, RGBA


@dataclass(frozen=True)
class Png(Codec):
    """One PNG picture per chunk: width x, height y*z, uint8 or uint16, 1 to 4 channels. Lossless.

    Parameters
    ----------
    png_level : int
        0 (fast) to 9 (small). The default 4 was measured on eight photographs and micrographs: files 0 to 9 %
        larger than at level 6, written in 29 to 98 % of the time (median 45 %).
    """

    name: ClassVar[str] = "png"
    png_level: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "png_level", whole_number("png_level", self.png_level, 0, 9))

    def decode(self, data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Codec.decode`."""
        check_readable(self, shape, dtype)
        _check_header(data, shape, dtype)
        _check_end(data)
        return from_picture(decode_png(data), shape, dtype)

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """See `Codec.encode`."""
        import imagecodecs

        picture = to_picture(storable(self, chunk), _LONGEST)
        # Left to itself, imagecodecs gives rows of a voxel or two too little room: each has a byte of its own as well.
        room = picture.nbytes + len(picture)
        return bytes(imagecodecs.png_encode(picture, level=self.png_level, out=room + room // 100 + 1024))

    def check_shape(self, shape: tuple[int, int, int, int]) -> None:
        """See `Codec.check_shape`; some width and height multiply to x*y*z."""
        picture_size(shape, _LONGEST)

    @classmethod
    def supports(cls, dtype: np.dtype[Any], channels: int) -> str | None:
        """See `Codec.supports`; uint8 and uint16 with 1 to 4 channels."""
        if dtype in (np.uint8, np.uint16) and 1 <= channels <= 4:
            return None
        return f"png stores uint8 and uint16 with 1 to 4 channels, not {dtype} with {channels}"


def _check_header(data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> None:
    """Check the declared size and depth before anything is decoded."""
    if len(data) < 33 or data[:8] != _SIGNATURE or data[12:16] != b"IHDR":
        raise CorruptChunkError("not a png: the signature or the header is missing")
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    check_picture("png", width, height, _CHANNELS.get(colour, 0), shape)
    if bits != 8 * dtype.itemsize:
        raise CorruptChunkError(f"the png declares {bits} bits per sample, not {8 * dtype.itemsize}")


def _check_end(data: bytes) -> None:
    """Check that the picture's chunks go on to the end chunk; libpng stops reading once it has the pixels."""
    at, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        length = int.from_bytes(data[at : at + 4], "big")
        kind, at = data[at + 4 : at + 8], at + 12 + length
        if at > len(data):
            raise CorruptChunkError("the png is damaged or stops before its end")
