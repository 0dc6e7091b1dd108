"""fpzip chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.base import Codec
from volumekit.codecs.checks import check_readable, storable, whole_number
from volumekit.codecs.fpzip_decoder import decode
from volumekit.codecs.fpzip_encoder import encode
from volumekit.errors import UnsupportedError


@dataclass(frozen=True)
class Fpzip(Codec):
    """Floating-point numbers, float32 or float64, any number of channels; lossless unless told otherwise.

    Parameters
    ----------
    fpzip_precision : int
        Bits kept of each number: 2 to 32 for float32, even numbers from 4 to 64 for float64; 0 keeps all.
    """

    name: ClassVar[str] = "fpzip"
    fpzip_precision: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "fpzip_precision", whole_number("fpzip_precision", self.fpzip_precision, 0, 64))

    def decode(self, data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Codec.decode`; fpzip has no checksum: damage may give wrong numbers."""
        check_readable(self, shape, dtype)
        out = np.empty(shape, dtype, order="F")
        decode(data, out)
        return out

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """See `Codec.encode`.

        Raises
        ------
        UnsupportedError
            If the data type has no such precision.
        """
        chunk = storable(self, chunk)
        step = chunk.dtype.itemsize // 4
        if self.fpzip_precision and self.fpzip_precision not in range(2 * step, 32 * step + 1, step):
            raise UnsupportedError(
                f"fpzip keeps {2 * step} to {32 * step} bits of {chunk.dtype}, in steps of {step}, "
                f"not {self.fpzip_precision}: change fpzip_precision"
            )
        return encode(chunk, self.fpzip_precision)

    @property
    def lossless(self) -> bool:
        """See `Codec.lossless`."""
        return not self.fpzip_precision

    @classmethod
    def supports(cls, dtype: np.dtype[Any], channels: int) -> str | None:
        """See `Codec.supports`; float32 and float64."""
        if dtype in (np.float32, np.float64) and channels >= 1:
            return None
        return f"fpzip stores float32 and float64, not {dtype}"
