"""compresso chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import compresso
import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.base import Codec
from volumekit.codecs.checks import check_readable, storable
from volumekit.codecs.compresso_decoder import decode, labels
from volumekit.errors import UnsupportedError

_LONGEST = 65535


@dataclass(frozen=True)
class Compresso(Codec):
    """Labels, uint8 to uint64, one channel; lossless. Written by the package ``compresso``, which keeps the GIL."""

    name: ClassVar[str] = "compresso"
    listed: ClassVar[bool] = True

    def decode(self, data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Codec.decode`; compresso has no checksum: damage may give wrong labels."""
        check_readable(self, shape, dtype)
        out = np.empty(shape, dtype, order="F")
        decode(data, out[..., 0])
        return out

    def labels(self, data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Codec.labels`; nothing is decoded."""
        check_readable(self, shape, dtype)
        return labels(data, shape[:3], dtype)

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """See `Codec.encode`.

        Raises
        ------
        UnsupportedError
            If an axis is longer than 65535.
        """
        chunk = storable(self, chunk)
        self.check_shape(chunk.shape)
        return bytes(compresso.compress(np.require(chunk[..., 0], requirements=["F", "A", "W"])))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """See `Codec.check_shape`; at most 65535 voxels along each axis."""
        if max(shape) > _LONGEST:
            raise UnsupportedError(f"compresso stores chunks of at most {_LONGEST} voxels along an axis")

    @classmethod
    def supports(cls, dtype: np.dtype[Any], channels: int) -> str | None:
        """See `Codec.supports`; unsigned whole numbers of one channel."""
        if dtype.kind == "u" and channels == 1:
            return None
        return f"compresso stores uint8 to uint64 with one channel, not {dtype} with {channels}"
