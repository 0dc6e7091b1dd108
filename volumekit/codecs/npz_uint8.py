"""npz_uint8 chunks: numbers from 0 to 1 as npz of bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.base import Codec
from volumekit.codecs.checks import check_readable, storable
from volumekit.codecs.npz import Npz
from volumekit.errors import UnsupportedError

_HIGHEST = np.float32(255)


@dataclass(frozen=True)
class NpzUint8(Codec):
    """float32 from 0 to 1, as npz of the nearest 255th.

    cloud-volume writes this encoding, rounding down, and does not read it. Rounding to the nearest keeps what is
    read and written again as it was.
    """

    name: ClassVar[str] = "npz_uint8"

    def decode(self, data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Codec.decode`."""
        check_readable(self, shape, dtype)
        return Npz().decode(data, shape, np.dtype(np.uint8)) / _HIGHEST

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """See `Codec.encode`.

        Raises
        ------
        UnsupportedError
            If a voxel is below 0, above 1 or not a number.
        """
        chunk = storable(self, chunk)
        if not ((chunk >= 0) & (chunk <= 1)).all():
            raise UnsupportedError("npz_uint8 stores numbers from 0 to 1; scale the voxels first, or use npz")
        return Npz().encode(np.rint(chunk * _HIGHEST).astype(np.uint8))

    @property
    def lossless(self) -> bool:
        """See `Codec.lossless`."""
        return False

    @classmethod
    def supports(cls, dtype: np.dtype[Any], channels: int) -> str | None:
        """See `Codec.supports`; float32."""
        return None if dtype == np.float32 and channels >= 1 else f"npz_uint8 stores float32, not {dtype}"
