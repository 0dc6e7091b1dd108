"""crackle chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import crackle
import numpy as np
from numpy.typing import NDArray

from volumekit.codecs import crackle_decoder
from volumekit.codecs.base import Codec
from volumekit.codecs.checks import check_readable, storable
from volumekit.codecs.crackle_walks import is_regular


@dataclass(frozen=True)
class Crackle(Codec):
    """Labels, uint8 to uint64, one channel; lossless. Written by the package ``crackle-codec``.

    Streams since version 1 have checksums: changed bytes are noticed.
    """

    name: ClassVar[str] = "crackle"
    listed: ClassVar[bool] = True

    def decode(self, data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Codec.decode`."""
        check_readable(self, shape, dtype)
        out = np.empty(shape, dtype, order="F")
        crackle_decoder.decode(data, shape[:3], out[..., 0], (slice(None),) * 3)
        return out

    def fill(self, data: bytes, shape: tuple[int, int, int, int], out: NDArray[Any], inside: tuple[slice, ...]) -> bool:
        """See `Codec.fill`; planes of which no voxel is asked for are not decoded."""
        check_readable(self, shape, out.dtype)
        if not (out.dtype.isnative and out.flags.aligned and out.flags.writeable and is_regular(out[..., 0])):
            return False
        crackle_decoder.decode(data, shape[:3], out[..., 0], inside[:3])
        return True

    def labels(self, data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Codec.labels`; nothing is decoded."""
        check_readable(self, shape, dtype)
        return crackle_decoder.labels(data, shape[:3], dtype)

    def mask(
        self, data: bytes, label: int, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[np.bool_]:
        """See `Codec.mask`; planes without the label are not decoded."""
        check_readable(self, shape, dtype)
        return crackle_decoder.mask(data, label, shape[:3], dtype)[..., np.newaxis]

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """See `Codec.encode`."""
        return bytes(crackle.compress(np.asfortranarray(storable(self, chunk)[..., 0]), parallel=1))

    @classmethod
    def supports(cls, dtype: np.dtype[Any], channels: int) -> str | None:
        """See `Codec.supports`; unsigned whole numbers of one channel."""
        if dtype.kind == "u" and channels == 1:
            return None
        return f"crackle stores uint8 to uint64 with one channel, not {dtype} with {channels}"
