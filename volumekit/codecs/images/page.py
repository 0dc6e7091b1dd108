"""What all image files have in common: a source of bytes, and pages that decode into an array."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
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

    def reaches(self, offset: int) -> bool:
        """Tell whether the file has a byte there."""


class Bytes:
    """A `ByteSource` in memory.

    Parameters
    ----------
    data : bytes
        A file, or parts of it one after the other.
    spans : sequence of tuple of int, optional
        The byte ranges of the file that the parts are, half-open, ascending; default: all of it.
    """

    def __init__(self, data: bytes, spans: Sequence[tuple[int, int]] = ()) -> None:
        self.data = data
        self._spans = spans or ((0, len(data)),)

    def position(self, offset: int) -> int:
        """Return where a byte of the file is in `data`; beyond its end if it is not there."""
        at = 0
        for start, stop in self._spans:
            if start <= offset < stop:
                return at + offset - start
            at += stop - start
        return at

    def read(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes, fewer at the end."""
        at = self.position(offset)
        return self.data[at : at + size]

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer``; return how many bytes there were."""
        part = self.read(offset, len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def reaches(self, offset: int) -> bool:
        """Tell whether the file has a byte there."""
        return self.position(offset) < len(self.data)


@dataclass(frozen=True)
class Page(ABC):
    """One picture in a file.

    Attributes
    ----------
    height, width, channels : int
        Its size in pixels, and samples per pixel.
    dtype : numpy.dtype
        Data type of the voxels, in native byte order.
    note : str
        What a user should know about the way its file is read; usually empty.
    """

    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    note: str = field(default="", kw_only=True)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(y, x, channel)."""
        return self.height, self.width, self.channels

    @staticmethod
    def describe(width: int, height: int, dtype: np.dtype[Any], channels: int) -> str:
        """Return a size and type as messages give them."""
        kind = {1: "grey", 2: "grey with alpha", 3: "RGB", 4: "RGBA"}.get(channels)
        return f"{width} x {height} {dtype} {kind or f'{channels} channels'}"

    def __str__(self) -> str:
        return self.describe(self.width, self.height, self.dtype, self.channels)

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
        """Return the whole page, (y, x, channel): a read-only view of bytes that need no decoding."""
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
            f"the header declares {width} x {height} pixels, more than its file can hold; it is damaged"
        )
