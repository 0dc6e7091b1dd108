"""What all image files have in common: a source of bytes, and pages that decode into an array."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import CorruptChunkError

MAX_PIXELS = 2**34


class ByteSource(Protocol):
    """Something to read bytes from, by any number of threads at once."""

    def read(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes, fewer at the end of the file."""

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer``; return how many bytes there were."""


class Bytes:
    """A `ByteSource` in memory.

    Parameters
    ----------
    data : bytes
        Part or all of a file.
    start : int
        Where in the file the part lies.
    """

    def __init__(self, data: bytes, start: int = 0) -> None:
        self.data, self.start = data, start

    def read(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes, fewer at the end."""
        at = offset - self.start
        return self.data[at : at + size] if at >= 0 else b""

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer``; return how many bytes there were."""
        part = self.read(offset, len(buffer))
        buffer[: len(part)] = part
        return len(part)


@dataclass(frozen=True)
class Page(ABC):
    """One picture in a file.

    Attributes
    ----------
    height, width, channels : int
        Its size in pixels, and samples per pixel.
    dtype : numpy.dtype
        Data type of the voxels, in native byte order.
    """

    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(y, x, channel)."""
        return self.height, self.width, self.channels

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded voxels."""
        return self.height * self.width * self.channels * self.dtype.itemsize

    @abstractmethod
    def read(self, source: ByteSource, out: NDArray[Any], low: tuple[int, int] = (0, 0)) -> None:
        """Decode a window of the page.

        Parameters
        ----------
        source : ByteSource
            The file.
        out : numpy.ndarray
            (y, x, channel), of the page's data type; its shape is the window's.
        low : tuple of int
            The window's first pixel, (y, x).

        Raises
        ------
        CorruptChunkError
            If the file is damaged or ends early.
        """

    def image(self, source: ByteSource) -> NDArray[Any]:
        """Return the whole page, (y, x, channel); where nothing needs decoding, a read-only view of the source."""
        out = np.empty(self.shape, self.dtype)
        self.read(source, out)
        return out


def check_size(width: int, height: int, most: int) -> None:
    """Raise CorruptChunkError for a picture that is empty, absurdly large, or larger than its bytes can hold.

    Parameters
    ----------
    width, height : int
        What the header declares, in pixels.
    most : int
        Most pixels that the file's bytes can decode to.
    """
    if width < 1 or height < 1 or width * height > min(most, MAX_PIXELS):
        raise CorruptChunkError(
            f"the header declares {width} x {height} pixels, which this file cannot hold; it is damaged or cut short"
        )
