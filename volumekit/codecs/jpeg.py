"""JPEG chunks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.base import Codec
from volumekit.codecs.checks import check_readable, storable, whole_number
from volumekit.codecs.picture import check_picture, from_picture, picture_size, to_picture
from volumekit.errors import CorruptChunkError

_LONGEST = 65500  # libjpeg's own limit, below the format's 65535
_MOST_SCANS = 100  # a progressive picture has about 10; each scan costs a pass over the whole picture
_START, _END, _FRAME, _SCAN = 0xD8, 0xD9, (0xC0, 0xC1, 0xC2), 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Compressed data run up to a marker that is neither a stuffed zero nor a restart. The search has no "+": with it,
# it took half the time of decoding.
_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_NEXT = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


@dataclass(frozen=True)
class Jpeg(Codec):
    """One JPEG picture per chunk: width x, height y*z, 8 bits, grey or RGB.

    RGB is written with full colour resolution (4:4:4), as cloud-volume does. TensorStore halves it (4:2:0),
    which suits photographs; in microscopy the channels are separate measurements, and z sections, one below
    the other in the picture, would blend where they meet. Every subsampling is read, with TensorStore's bits.

    Parameters
    ----------
    jpeg_quality : int
        0 (smallest) to 100 (best).
    """

    name: ClassVar[str] = "jpeg"
    jpeg_quality: int = 85

    def __post_init__(self) -> None:
        object.__setattr__(self, "jpeg_quality", whole_number("jpeg_quality", self.jpeg_quality, 0, 100))

    def decode(self, data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Codec.decode`.

        A picture that stops early is an error. JPEG has no checksum: damage inside the compressed data that
        leaves its structure whole gives wrong voxels.
        """
        import imagecodecs

        check_readable(self, shape, dtype)
        _check_structure(data, shape)
        try:
            picture = imagecodecs.jpeg8_decode(data)
        except Exception as error:
            raise CorruptChunkError(f"the jpeg does not decode: {error}") from error
        return from_picture(picture, shape, dtype)

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """See `Codec.encode`."""
        import imagecodecs

        picture = to_picture(storable(self, chunk), _LONGEST)
        subsampling = "444" if picture.ndim == 3 else None
        return bytes(imagecodecs.jpeg8_encode(picture, level=self.jpeg_quality, subsampling=subsampling))

    def check_shape(self, shape: tuple[int, int, int, int]) -> None:
        """See `Codec.check_shape`; some width and height multiply to x*y*z."""
        picture_size(shape, _LONGEST)

    @property
    def lossless(self) -> bool:
        """See `Codec.lossless`."""
        return False

    @classmethod
    def supports(cls, dtype: np.dtype[Any], channels: int) -> str | None:
        """See `Codec.supports`; uint8 with 1 or 3 channels."""
        if dtype == np.uint8 and channels in (1, 3):
            return None
        return f"jpeg stores uint8 with 1 or 3 channels, not {dtype} with {channels}"


def _check_structure(data: bytes, shape: tuple[int, int, int, int]) -> None:
    """Check the declared size, and that the picture goes on to its end marker.

    libjpeg only warns of missing data and paints the rest grey.
    """
    blocks = scans = compressed = 0
    for marker, body, length in _segments(data):
        if marker in _FRAMES:
            blocks = _check_frame(marker, body, shape)
        elif marker == _SCAN:
            scans, compressed = scans + 1, compressed + length
            if not blocks or scans > _MOST_SCANS:
                raise CorruptChunkError("the jpeg has a scan without a frame, or too many scans")
    if 8 * compressed < max(blocks, 1):  # each block of 8 x 8 pixels takes at least one bit
        raise CorruptChunkError("the jpeg has too little data for its size")


def _check_frame(marker: int, body: bytes, shape: tuple[int, int, int, int]) -> int:
    """Check a frame header; return how many blocks of 8 x 8 pixels its finest component has, at least."""
    if marker not in _FRAME or len(body) < 6:
        raise CorruptChunkError("the jpeg is neither baseline nor progressive")
    bits, channels = body[0], body[5]
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    if bits != 8:
        raise CorruptChunkError(f"the jpeg declares {bits} bits per sample, not 8")
    check_picture("jpeg", width, height, channels, shape)
    return -(-width // 8) * -(-height // 8)


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield (marker, body, bytes of compressed data that follow) up to the end marker."""
    if data[:2] != bytes((0xFF, _START)):
        raise CorruptChunkError("not a jpeg: it does not start with a start-of-image marker")
    at = 2
    while (found := _MARKER.match(data, at)) is not None:
        marker, at = data[found.end() - 1], found.end()
        if marker == _END:
            return
        length = int.from_bytes(data[at : at + 2], "big")
        body, at = data[at + 2 : at + length], at + length
        if length < 2 or at > len(data):
            break
        follows = _NEXT.search(data, at) if marker == _SCAN else None
        start, at = at, follows.start() if follows else at
        yield marker, body, at - start
    raise CorruptChunkError("the jpeg is damaged or stops before its end marker")
