"""Our own codecs in zarr chunks, ``volumekit.png`` and so on, as zarr-python stores them through our entry points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs import zarr_chunks
from volumekit.errors import MetadataError, VolumekitError

OWN_NAMES = tuple(zarr_chunks.PREFIX + name for name in zarr_chunks.NAMES)
"""What metadata call them."""


class OwnCodec:
    """One of our codecs for whole chunks, in the array's own order of dimensions.

    Parameters
    ----------
    name : str
        One of `OWN_NAMES`.
    settings : Mapping
        As the metadata have them; zarr v2 adds ``shape`` and ``dtype`` of the chunks.
    shape : tuple of int
        Of a chunk.
    dtype : numpy.dtype
        Of its values.
    key : str
        The metadata, for messages.

    Raises
    ------
    MetadataError
        If a setting is impossible.
    UnsupportedError, MissingExtraError
        If the codec has no such chunks, or needs a package that is not installed.
    """

    def __init__(
        self, name: str, settings: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any], key: str
    ) -> None:
        given = dict(settings)
        said = given.pop("shape", list(shape)), given.pop("dtype", dtype.str)
        if said != (list(shape), dtype.str):
            raise MetadataError(
                f"{name} in {key} is for chunks of {said}, but they are {shape}, {dtype.str!r}", key=key
            )
        self._shape, self._dtype = shape, dtype
        try:
            self._codec = zarr_chunks.codec_of(name.removeprefix(zarr_chunks.PREFIX), given)
            zarr_chunks.check(self._codec, shape, self._dtype)
        except VolumekitError as error:
            raise type(error)(f"{name} in {key}: {error.message}", key=key) from error
        except TypeError as error:  # a setting of a kind that nothing can be made of
            raise MetadataError(f"{key} has impossible settings for {name}: {error}", key=key) from error

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return the bytes of a chunk."""
        return zarr_chunks.encode(self._codec, chunk)

    def decode(self, data: Any) -> NDArray[Any]:
        """Return a chunk.

        Raises
        ------
        CorruptChunkError
            If the bytes are none.
        """
        return zarr_chunks.decode(self._codec, bytes(data), self._shape, self._dtype)
