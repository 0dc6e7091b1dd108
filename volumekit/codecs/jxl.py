"""JPEG XL chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.base import Codec
from volumekit.codecs.checks import check_readable, storable, whole_number
from volumekit.codecs.picture import check_picture, from_picture, picture_size, to_picture
from volumekit.errors import CorruptChunkError, UnsupportedError

_LONGEST = 2**18  # larger pictures need a profile of the format that few readers accept
_LOSSLESS = 100
_CODESTREAM, _CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_EXTRA_CHANNELS = {1: 0, 2: 1, 3: 0, 4: 1}  # by channels: alpha is an extra channel


@dataclass(frozen=True)
class Jxl(Codec):
    """One JPEG XL picture per chunk: width x, height y*z, 8 bits; grey, RGB or RGBA.

    cloud-volume writes three channels as an animation of three grey frames, one a channel. That is read, too; so are
    its chunks less than five voxels wide, which are something else again, unless they are ambiguous.

    Parameters
    ----------
    jxl_quality : int
        0 (smallest) to 100 (lossless). Four channels are stored lossless only: a lossy encoder drops the colours
        of transparent pixels, and so the other channels wherever the fourth is 0.
    jxl_effort : int
        1 (fast) to 10 (small).
    jxl_decodingspeed : int
        0 (small) to 4 (fast to decode).
    """

    name: ClassVar[str] = "jxl"
    jxl_quality: int = 85
    jxl_effort: int = 5
    jxl_decodingspeed: int = 0

    def __post_init__(self) -> None:
        for setting, lowest, highest in (("jxl_quality", 0, 100), ("jxl_effort", 1, 10), ("jxl_decodingspeed", 0, 4)):
            object.__setattr__(self, setting, whole_number(setting, getattr(self, setting), lowest, highest))

    def decode(self, data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Codec.decode`.

        JPEG XL has no checksum: damage that leaves the structure whole gives wrong voxels.
        """
        import imagecodecs

        check_readable(self, shape, dtype)
        apart = _read_header(data, shape)
        planes = None if apart is None else np.zeros(apart, dtype)
        try:
            picture = imagecodecs.jpegxl_decode(data, numthreads=1, out=planes)
        except Exception as error:
            raise CorruptChunkError(f"the jxl does not decode: {error}") from error
        if planes is not None:
            return planes.reshape(shape[::-1]).T
        return from_picture(np.asarray(picture), shape, dtype)

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """See `Codec.encode`.

        Raises
        ------
        UnsupportedError
            For four channels with a ``jxl_quality`` below 100.
        """
        import imagecodecs

        picture = to_picture(storable(self, chunk), _LONGEST)
        if chunk.shape[3] == 4 and not self.lossless:
            raise UnsupportedError("jxl stores four channels lossless only: set jxl_quality to 100")
        data = imagecodecs.jpegxl_encode(
            picture,
            level=self.jxl_quality,
            lossless=self.lossless,
            effort=self.jxl_effort,
            decodingspeed=self.jxl_decodingspeed,
            photometric="GRAY" if picture.ndim == 2 else "RGB",
            numthreads=1,
        )
        return bytes(data)

    def check_shape(self, shape: tuple[int, int, int, int]) -> None:
        """See `Codec.check_shape`; some width and height multiply to x*y*z."""
        picture_size(shape, _LONGEST)

    @property
    def lossless(self) -> bool:
        """See `Codec.lossless`."""
        return self.jxl_quality >= _LOSSLESS

    @classmethod
    def supports(cls, dtype: np.dtype[Any], channels: int) -> str | None:
        """See `Codec.supports`; uint8 with 1, 3 or 4 channels."""
        if dtype == np.uint8 and channels in (1, 3, 4):
            return None
        return f"jxl stores uint8 with 1, 3 or 4 channels, not {dtype} with {channels}"


class _Bits:
    """The codestream's bits, least significant first."""

    def __init__(self, data: bytes) -> None:
        self._bits, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        """Return an unsigned number of ``count`` bits."""
        self._left -= count
        if self._left < 0:
            raise CorruptChunkError("the jxl stops within its header")
        number = self._bits & ((1 << count) - 1)
        self._bits >>= count
        return number

    def choose(self, *kinds: tuple[int, int]) -> int:
        """Return a number stored in one of four ways: (least value, bits)."""
        least, bits = kinds[self.take(2)]
        return least + self.take(bits)


def _read_header(data: bytes, shape: tuple[int, int, int, int]) -> tuple[int, ...] | None:
    """Check the declared size, depth and channels before anything is decoded; ISO/IEC 18181-1, annex D.

    Returns
    -------
    tuple of int or None
        None if each pixel holds the channels; else the shape of what has to be decoded, channels first.
    """
    stream = _codestream(data)
    if stream[:2] != _CODESTREAM:
        raise CorruptChunkError("not a jxl: it does not start with a signature")
    bits = _Bits(stream[2:])
    width, height = _size(bits)
    narrow = _is_narrow(width, height, shape)
    if not narrow:
        check_picture("jxl", width, height, shape[3], shape)
    depth, extra, animated = _samples(bits)
    samples = shape[0] if narrow else shape[3]
    if depth != 8:
        raise CorruptChunkError(f"the jxl declares {depth} bits per sample, not 8")
    if extra != _EXTRA_CHANNELS[samples]:
        raise CorruptChunkError(f"the jxl declares {extra} extra channels, which are not {samples} channels in all")
    if animated and (narrow or shape[3] != 3):
        raise CorruptChunkError(f"the jxl is an animation, which is not {shape[3]} channels")
    if narrow:
        return (height, width) if samples == 1 else (height, width, samples)
    return (shape[3], height, width) if animated else None


def is_usual(data: bytes, shape: tuple[int, int, int, int]) -> bool:
    """Tell whether each pixel of a picture holds the channels of a voxel, which is what others than cloud-volume read.

    Raises
    ------
    CorruptChunkError
        If its header is damaged, or that of another chunk.
    """
    return _read_header(data, shape) is None


def _is_narrow(width: int, height: int, shape: tuple[int, int, int, int]) -> bool:
    """Tell whether a picture is what cloud-volume makes of three channels less than five voxels wide.

    What it hands to the encoder, (channel, y*z, x), is then not frames, but pixels with x for colours.
    """
    x, rows = shape[0], shape[1] * shape[2]
    if shape[3] != 3 or x > 4 or (width, height) != (rows, 3):
        return False
    if x == 3 and rows != 3:
        raise CorruptChunkError(
            f"nobody can tell what the colours of {width} x 3 pixels are: cloud-volume writes chunks three voxels wide "
            "with x in place of the channel"
        )
    return x != 3


def _codestream(data: bytes) -> bytes:
    """Return the first bytes of the picture itself; ISO/IEC 18181-2 puts it into boxes."""
    if not data.startswith(_CONTAINER):
        return data[:64]
    for kind, start in _boxes(data):
        if kind in (b"jxlc", b"jxlp"):
            first = start + 4 * (kind == b"jxlp")  # a part begins with its number
            return data[first : first + 64]
    raise CorruptChunkError("the jxl is a container without a picture")


def _boxes(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield (kind, where its content begins) of each box."""
    at = len(_CONTAINER)
    while at + 8 <= len(data):
        size, header = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        yield data[at + 4 : at + 8], at + header
        if size < header:  # 0: up to the end
            return
        at += size


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)
    height = _length(bits, small)
    ratio = bits.take(3)
    if not ratio:
        return _length(bits, small), height
    times, per = _RATIOS[ratio]
    return height * times // per, height


def _length(bits: _Bits, small: int) -> int:
    return 8 * (1 + bits.take(5)) if small else bits.choose((1, 9), (1, 13), (1, 18), (1, 30))


def _samples(bits: _Bits) -> tuple[int, int, bool]:
    """Return bits per sample, the number of extra channels, and whether there are frames."""
    if bits.take(1):
        return 8, 0, False
    animated = False
    if bits.take(1):
        orientation = bits.take(3)
        if orientation or bits.take(2):
            raise CorruptChunkError("the jxl is turned, or has a preview or another intrinsic size")
        animated = bool(bits.take(1))
        if animated:
            _skip_timing(bits)
    if bits.take(1):
        raise CorruptChunkError("the jxl declares floating-point samples")
    depth = bits.choose((8, 0), (10, 0), (12, 0), (1, 6))
    bits.take(1)
    return depth, bits.choose((0, 0), (1, 0), (2, 4), (1, 12)), animated


def _skip_timing(bits: _Bits) -> None:
    """Skip how fast, and how often, an animation is shown."""
    bits.choose((100, 0), (1000, 0), (1, 10), (1, 30))
    bits.choose((1, 0), (1001, 0), (1, 8), (1, 10))
    bits.choose((0, 0), (0, 3), (0, 16), (0, 32))
    bits.take(1)
