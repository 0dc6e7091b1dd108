"""kempressed chunks: fpzip of the numbers plus 2, channels before z."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.base import Codec
from volumekit.codecs.checks import check_readable, storable
from volumekit.codecs.fpzip_decoder import decode
from volumekit.codecs.fpzip_encoder import encode

_SHIFT = np.float32(2)


@dataclass(frozen=True)
class Kempressed(Codec):
    """float32, any number of channels; lossy in the last bits.

    Adding 2 gives numbers from -1 to 1 one exponent, which compresses well. It costs the bits below 2**-22 (for
    numbers in that range). The axes are stored as (x, y, channel, z). cloud-volume's, made for affinities.
    """

    name: ClassVar[str] = "kempressed"

    def decode(self, data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Codec.decode`; fpzip has no checksum: damage may give wrong numbers."""
        check_readable(self, shape, dtype)
        x, y, z, channels = shape
        stored = np.empty((x, y, channels, z), dtype, order="F")
        decode(data, stored)
        return np.subtract(stored.swapaxes(2, 3), _SHIFT, order="F")

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """See `Codec.encode`."""
        shifted = storable(self, chunk) + _SHIFT
        return encode(shifted.swapaxes(2, 3), 0)

    @property
    def lossless(self) -> bool:
        """See `Codec.lossless`."""
        return False

    @classmethod
    def supports(cls, dtype: np.dtype[Any], channels: int) -> str | None:
        """See `Codec.supports`; float32."""
        return None if dtype == np.float32 and channels >= 1 else f"kempressed stores float32, not {dtype}"
