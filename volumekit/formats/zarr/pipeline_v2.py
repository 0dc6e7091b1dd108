"""Chunks of zarr v2: filters and a compressor, all of them numcodecs.

Source: the zarr v2 specification, and what zarr-python does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import CorruptChunkError
from volumekit.formats.zarr.codec import (
    BYTES,
    PACKERS,
    Buffer,
    encoded,
    guarded,
    numcodec,
    pack_array,
    unpack,
    unpack_array,
)
from volumekit.formats.zarr.own_codecs import OWN_NAMES, OwnCodec

Config = Mapping[str, Any]


class PipelineV2:
    """Encodes and decodes whole chunks.

    Parameters
    ----------
    codecs : sequence of Mapping
        The filters, and the compressor last.
    shape : tuple of int
        Of a chunk.
    dtype : numpy.dtype
        As stored, byte order included.
    order : {"C", "F"}
        Memory order.
    key : str
        The metadata, for messages.
    """

    def __init__(
        self, codecs: Sequence[Config], shape: tuple[int, ...], dtype: np.dtype[Any], order: Any, key: str
    ) -> None:
        self._shape, self._dtype, self._order, self._key = shape, dtype, order, key
        self._codecs = [(str(c.get("id")), self._codec(c, key)) for c in codecs]
        self._nbytes = math.prod(shape) * dtype.itemsize
        self._limit = 2**16 + 8 * max(self._nbytes, math.prod(shape))

    def _codec(self, config: Config, key: str) -> Any:
        name = str(config.get("id"))
        settings = {name: value for name, value in config.items() if name != "id"}
        if name in OWN_NAMES:
            return OwnCodec(name, settings, self._shape, self._dtype, key)
        return numcodec(name, settings, key)

    def decode(self, data: bytes) -> NDArray[Any]:
        """Return a chunk.

        Raises
        ------
        CorruptChunkError
            Naming the codec that failed.
        """
        chunk: Any = data
        for name, codec in reversed(self._codecs):
            chunk = self._undo(name, codec, chunk)
        held = chunk.nbytes if isinstance(chunk, np.ndarray) else len(chunk)
        if held != self._nbytes:
            raise CorruptChunkError(f"{held} bytes, where a chunk of {self._shape} {self._dtype} takes {self._nbytes}")
        flat = chunk.reshape(-1, order="A") if isinstance(chunk, np.ndarray) else np.frombuffer(chunk, np.uint8)
        return guarded("stored", lambda: flat.view(self._dtype).reshape(self._shape, order=self._order))

    def raw(self, data: bytes) -> bytes | memoryview | None:
        """Return the little-endian values of a chunk in C order, if nothing but compression is to be undone."""
        little = self._dtype == self._dtype.newbyteorder("<")
        if self._order != "C" or not little or any(name not in BYTES for name, _ in self._codecs):
            return None
        return self.decode(data).reshape(-1).view(np.uint8).data

    def _undo(self, name: str, codec: Any, data: Buffer) -> Buffer:
        if isinstance(codec, OwnCodec):
            return guarded(name, lambda: codec.decode(data)).reshape(-1, order=self._order)
        if name in PACKERS:
            flat = unpack_array(name, data, self._packed_shape(name), self._dtype.newbyteorder("="))
            return flat.astype(self._dtype, copy=False)
        if name in BYTES:
            return unpack(name, codec, data, self._limit)
        found: Buffer = guarded(name, lambda: codec.decode(data))
        return found

    def _packed_shape(self, name: str) -> tuple[int, ...]:
        """Return the shape that an array has in the stream: zfpy keeps it only in C order."""
        return self._shape if name == "zfpy" and self._order == "C" else (math.prod(self._shape),)

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return the bytes of a whole chunk."""
        whole = np.asarray(chunk.astype(self._dtype, copy=False), order=self._order)
        data: Any = whole.reshape(-1, order="A")  # in one dimension no codec can confuse the order
        for name, codec in self._codecs:
            data = encoded(name, self._key, functools.partial(self._do, name, codec, data))
        return data.tobytes() if isinstance(data, np.ndarray) else bytes(data)

    def _do(self, name: str, codec: Any, data: Buffer) -> Buffer:
        if isinstance(codec, OwnCodec):
            return codec.encode(data.reshape(self._shape, order=self._order))
        if name in PACKERS:
            native = data.astype(self._dtype.newbyteorder("="), copy=False)
            return pack_array(name, codec, native.reshape(self._packed_shape(name)))
        return codec.encode(data)
