"""What a codec is: the bytes of one chunk, and its voxels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Codec(ABC):
    """Turns one chunk into bytes and back; a frozen dataclass of its settings.

    Implementations are safe to call from many threads at once and release the GIL where their library does.

    Attributes
    ----------
    name : str
        The name in metadata.
    listed : bool
        Whether `labels` takes less than decoding a chunk.
    """

    name: ClassVar[str]
    listed: ClassVar[bool] = False

    @abstractmethod
    def decode(self, data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the voxels of a chunk.

        Parameters
        ----------
        data : bytes
            The stored bytes, possibly damaged.
        shape : tuple of int
            (x, y, z, channel) of the chunk.
        dtype : numpy.dtype
            Data type of the level.

        Returns
        -------
        numpy.ndarray
            (x, y, z, channel), in Fortran order wherever the codec stores x fastest; may be read-only.

        Raises
        ------
        CorruptChunkError
            If the bytes are not a chunk of this shape and type. Nothing beyond the declared shape is allocated.
        """

    def fill(self, data: bytes, shape: tuple[int, int, int, int], out: NDArray[Any], inside: tuple[slice, ...]) -> bool:
        """Decode voxels of a chunk straight into an array, where that takes less than `decode`; tell whether it did.

        Errors are those of `decode`, after which the array may hold anything; damage in what is not decoded goes
        unnoticed.

        Parameters
        ----------
        data : bytes
            The stored bytes, possibly damaged.
        shape : tuple of int
            (x, y, z, channel) of the chunk.
        out : numpy.ndarray
            (x, y, z, channel), of the level's data type, any strides.
        inside : tuple of slice
            Which voxels of the chunk, one slice per axis, with positive steps; not none.
        """
        return False

    @abstractmethod
    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return the bytes of a chunk.

        Parameters
        ----------
        chunk : numpy.ndarray
            (x, y, z, channel), any memory order.
        """

    def labels(self, data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the distinct values of a chunk, sorted; decodes no more than it must.

        Parameters and errors are those of `decode`; damage in what is not decoded goes unnoticed.
        """
        from volumekit.codecs.distinct import distinct

        return distinct(self.decode(data, shape, dtype))

    def mask(
        self, data: bytes, label: int, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[np.bool_]:
        """Return where a chunk, (x, y, z, channel), has a value; decodes no more than it must.

        Errors are those of `decode`; damage in what is not decoded goes unnoticed.

        Parameters
        ----------
        data : bytes
            The stored bytes, possibly damaged.
        label : int
            The value.
        shape : tuple of int
            (x, y, z, channel) of the chunk.
        dtype : numpy.dtype
            Data type of the level.
        """
        same: NDArray[np.bool_] = self.decode(data, shape, dtype) == label
        return same

    def check_shape(self, shape: tuple[int, int, int, int]) -> None:  # noqa: B027 - most hold any shape
        """Raise UnsupportedError if no chunk of this shape, (x, y, z, channel), can be stored."""

    @property
    def lossless(self) -> bool:
        """Whether voxels come back exactly as they were stored, with these settings."""
        return True

    @classmethod
    def supports(cls, dtype: np.dtype[Any], channels: int) -> str | None:
        """Say why this codec cannot store such chunks, or None if it can."""
        return None

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Build the codec from a level's settings; unknown settings are ignored.

        Raises
        ------
        MetadataError
            If a setting has an impossible value.
        """
        known = cls.__dataclass_fields__
        return cls(**{key: value for key, value in settings.items() if key in known})
