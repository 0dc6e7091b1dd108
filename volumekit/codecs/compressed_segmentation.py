"""compressed_segmentation chunks: Neuroglancer's block-wise palettes for labels.

A chunk is, for each channel, the offset of its data in 32-bit words, then the channels. A channel is cut into
blocks; each has a header of two words (table offset in 24 bits and bits per voxel in 8; offset of the packed
voxels), the voxels as indices into the block's table of distinct labels, and the table, which blocks with the
same labels share. See https://github.com/google/neuroglancer/tree/master/src/sliceview/compressed_segmentation.

The work is done by one of two modules with the same bytes and the same errors: ``..._compiled`` with numba,
``..._arrays`` without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.base import Codec
from volumekit.codecs.checks import check_readable, storable, whole_number
from volumekit.compiled import available
from volumekit.errors import CorruptChunkError, MetadataError, UnsupportedError

_SETTING = "compressed_segmentation_block_size"
_DAMAGE = (
    "",
    "the block headers reach beyond the end of the data",
    "a block has a number of bits per voxel other than 0, 1, 2, 4, 8, 16 or 32",
    "the packed voxels of a block reach beyond the end of the data",
    "the table of a block reaches beyond the end of the data",
)


@dataclass(frozen=True)
class CompressedSegmentation(Codec):
    """Labels, uint32 or uint64, any number of channels; lossless.

    Writes what Neuroglancer's own encoder writes: sorted tables, the fewest bits, equal tables stored once.

    Parameters
    ----------
    compressed_segmentation_block_size : tuple of int
        (x, y, z) of a block in voxels; the format's metadata must give it, 8, 8, 8 is usual.
    """

    name: ClassVar[str] = "compressed_segmentation"
    listed: ClassVar[bool] = True
    compressed_segmentation_block_size: tuple[int, int, int]

    def __post_init__(self) -> None:
        sizes = self.compressed_segmentation_block_size
        if not isinstance(sizes, (tuple, list, np.ndarray)) or len(sizes) != 3:
            raise MetadataError(f"{_SETTING} is three whole numbers (x, y, z), not {sizes!r}")
        block = tuple(whole_number(_SETTING, size, 1, 2**31 - 1) for size in sizes)
        object.__setattr__(self, _SETTING, block)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """See `Codec.from_settings`; the block size is required."""
        if _SETTING not in settings:
            raise MetadataError(f"the encoding compressed_segmentation needs {_SETTING}")
        return super().from_settings(settings)

    def decode(self, data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Codec.decode`."""
        check_readable(self, shape, dtype)
        words = _words(data, channels=shape[3])
        out = np.empty(shape, dtype, order="F")
        decode_channel = _implementation().decode_channel
        for channel in range(shape[3]):
            base = int(words[channel])
            _check(decode_channel(words, base, out[..., channel], self.compressed_segmentation_block_size))
        return out

    def labels(self, data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Codec.labels`; labels are read once, however many voxels have them."""
        if not available():
            return super().labels(data, shape, dtype)
        check_readable(self, shape, dtype)
        words = _words(data, channels=shape[3])
        seen = np.zeros(len(words), bool)
        read = _implementation().see_channel
        for channel in range(shape[3]):
            _check(
                read(
                    words,
                    int(words[channel]),
                    shape[:3],
                    dtype.itemsize // 4,
                    seen,
                    self.compressed_segmentation_block_size,
                )
            )
        at = np.flatnonzero(seen)
        found = words[at].astype(dtype)
        if dtype.itemsize == 8:
            found |= words[at + 1].astype(dtype) << np.uint64(32)
        return np.unique(found)

    def mask(
        self, data: bytes, label: int, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[np.bool_]:
        """See `Codec.mask`; blocks without the label are not unpacked."""
        if not available() or not 0 <= label <= np.iinfo(dtype).max:
            return super().mask(data, label, shape, dtype)
        check_readable(self, shape, dtype)
        words = _words(data, channels=shape[3])
        out = np.empty(shape, bool, order="F")
        fill = _implementation().mask_channel
        for channel in range(shape[3]):
            base, wide = int(words[channel]), dtype.itemsize // 4
            _check(fill(words, base, out[..., channel], wide, label, self.compressed_segmentation_block_size))
        return out

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """See `Codec.encode`.

        Raises
        ------
        UnsupportedError
            If a table would lie beyond the 2**24 words (64 MiB) that the format can address.
        """
        chunk = np.require(storable(self, chunk), requirements=["F", "A"])
        encode_channel = _implementation().encode_channel
        offset, parts = chunk.shape[3], []
        offsets = np.empty(offset, "<u4")
        for channel in range(len(offsets)):
            words = encode_channel(chunk[..., channel], self.compressed_segmentation_block_size)
            if words is None or offset >= 2**32:
                raise UnsupportedError(
                    "the chunk is too large for compressed_segmentation: its tables must lie within 64 MiB; "
                    "use smaller chunks"
                )
            offsets[channel] = offset
            offset += len(words)
            parts.append(words.astype("<u4", copy=False).tobytes())
        return b"".join([offsets.tobytes(), *parts])

    @classmethod
    def supports(cls, dtype: np.dtype[Any], channels: int) -> str | None:
        """See `Codec.supports`; uint32 and uint64."""
        if dtype in (np.uint32, np.uint64) and channels >= 1:
            return None
        return f"compressed_segmentation stores uint32 and uint64, not {dtype} with {channels} channels"


def _check(damage: int) -> None:
    if damage:
        raise CorruptChunkError(f"compressed_segmentation: {_DAMAGE[damage]}")


def _words(data: bytes, *, channels: int) -> NDArray[np.uint32]:
    """Return the bytes as 32-bit words; there must be one per channel at least."""
    if len(data) % 4 or len(data) < 4 * channels:
        raise CorruptChunkError(f"{len(data)} bytes are no compressed_segmentation of {channels} channels")
    words = np.require(np.frombuffer(data, "<u4").astype(np.uint32, copy=False), requirements="A")
    words.flags.writeable = False  # one type, so one compiled kernel, whatever holds the bytes
    return words


def _implementation() -> Any:
    return import_module(f"{__name__}_{'compiled' if available() else 'arrays'}")
