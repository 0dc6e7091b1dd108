"""Chunks of zarr v3: a list of codecs, of which one turns an array into bytes.

Source: the zarr v3 specification, and for ``numcodecs.*`` what zarr-python does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import CorruptChunkError, UnsupportedError
from volumekit.formats.zarr.codec import (
    BYTES,
    FILTERS,
    PACKERS,
    encoded,
    guarded,
    numcodec,
    pack_array,
    unpack,
    unpack_array,
)
from volumekit.formats.zarr.configs import Config, blosc_settings, permutation, shard_of
from volumekit.formats.zarr.own_codecs import OWN_NAMES, OwnCodec
from volumekit.model.zarr_shard import MISSING


class Form(NamedTuple):
    """What an array looks like between two codecs."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * self.dtype.itemsize


class Step:
    """A codec of a pipeline; bytes or arrays in, bytes or arrays out."""

    def after(self, form: Form) -> Form:
        """Return what becomes of an array's form."""
        return form

    def encode(self, data: Any, form: Form) -> Any:
        """Encode what has this form."""
        raise NotImplementedError

    def decode(self, data: Any, form: Form) -> Any:
        """Decode to this form.

        Raises
        ------
        CorruptChunkError
            If that is impossible.
        """
        raise NotImplementedError


class Transpose(Step):
    """Permutes the dimensions."""

    def __init__(self, order: tuple[int, ...]) -> None:
        self._order = order

    def after(self, form: Form) -> Form:
        """Return the permuted form."""
        return Form(tuple(form.shape[dim] for dim in self._order), form.dtype)

    def encode(self, data: Any, form: Form) -> Any:
        """Permute."""
        return data.transpose(self._order)

    def decode(self, data: Any, form: Form) -> Any:
        """Permute back."""
        return data.transpose(np.argsort(self._order))


class Filter(Step):
    """One of numcodecs' codecs from arrays to arrays."""

    def __init__(self, name: str, config: dict[str, Any], form: Form, key: str) -> None:
        self._name = name
        wanted = {"fixedscaleoffset": "dtype", "quantize": "dtype", "astype": "decode_dtype", "delta": "dtype"}
        own = {wanted[name]: form.dtype.str} if name in wanted and config.get(wanted[name]) is None else {}
        self._codec = numcodec(name, {**config, **own}, key)

    def after(self, form: Form) -> Form:
        """Return the form of what comes out."""
        if self._name == "packbits":
            return Form((1 + -(-math.prod(form.shape) // 8),), np.dtype("u1"))
        kind = getattr(self._codec, "encode_dtype" if self._name == "astype" else "astype", form.dtype)
        return Form(form.shape, np.dtype(kind))

    def encode(self, data: Any, form: Form) -> Any:
        """Apply the filter."""
        after = self.after(form)
        return np.asarray(self._codec.encode(np.ascontiguousarray(data))).view(after.dtype).reshape(after.shape)

    def decode(self, data: Any, form: Form) -> Any:
        """Undo the filter; numcodecs takes what it is given for values of the byte order in its settings."""
        stored = np.ascontiguousarray(data, self.after(form).dtype)
        values = guarded(self._name, lambda: np.asarray(self._codec.decode(stored)))
        return guarded(self._name, lambda: values.view(form.dtype).reshape(form.shape))


class Raw(Step):
    """Values as they are, in one byte order."""

    def __init__(self, endian: str) -> None:
        self._endian: Any = "<" if endian == "little" else ">"
        self.little = endian == "little"

    def encode(self, data: Any, form: Form) -> bytes:
        """Return the bytes of an array, in C order."""
        found: bytes = data.astype(form.dtype.newbyteorder(self._endian), copy=False).tobytes("C")
        return found

    def decode(self, data: Any, form: Form) -> Any:
        """Return the array; a view of the bytes."""
        self.check(data, form)
        return np.frombuffer(data, form.dtype.newbyteorder(self._endian)).reshape(form.shape)

    @staticmethod
    def check(data: Any, form: Form) -> None:
        """Raise unless these are as many bytes as an array of this form has."""
        if len(data) != form.nbytes:
            raise CorruptChunkError(
                f"{len(data)} bytes, where a chunk of {form.shape} {form.dtype} takes {form.nbytes}"
            )


class Packed(Step):
    """One of numcodecs' codecs from arrays to bytes."""

    def __init__(self, name: str, config: dict[str, Any], key: str) -> None:
        self._name, self._codec = name, numcodec(name, config, key)

    def _shape(self, form: Form) -> tuple[int, ...]:
        return form.shape if self._name == "zfpy" else (math.prod(form.shape),)

    def encode(self, data: Any, form: Form) -> bytes:
        """Encode."""
        return pack_array(self._name, self._codec, np.ascontiguousarray(data).reshape(self._shape(form)))

    def decode(self, data: Any, form: Form) -> Any:
        """Decode."""
        return unpack_array(self._name, data, self._shape(form), form.dtype).reshape(form.shape)


class Own(Step):
    """One of our own codecs, from arrays to bytes."""

    def __init__(self, name: str, config: dict[str, Any], form: Form, key: str) -> None:
        self._name, self._codec = name, OwnCodec(name, config, form.shape, form.dtype, key)

    def encode(self, data: Any, form: Form) -> bytes:
        """Encode."""
        return self._codec.encode(data)

    def decode(self, data: Any, form: Form) -> Any:
        """Decode."""
        return guarded(self._name, lambda: self._codec.decode(data))


class Compressed(Step):
    """A codec from bytes to bytes."""

    def __init__(self, name: str, config: dict[str, Any], key: str) -> None:
        self._name, self._codec = name, numcodec(name, config, key)
        self._item = np.dtype(f"V{config['typesize']}") if config.get("typesize", 1) > 1 else np.dtype("u1")

    def encode(self, data: Any, form: Form) -> bytes:
        """Compress."""
        view = np.frombuffer(data, np.uint8)
        found = self._codec.encode(view.view(self._item) if len(view) % self._item.itemsize == 0 else view)
        return found.tobytes() if isinstance(found, np.ndarray) else bytes(found)

    def decode(self, data: Any, form: Form) -> Any:
        """Decompress."""
        found = unpack(self._name, self._codec, data, 2**16 + 8 * form.nbytes)
        return memoryview(found).cast("B")


class Sharded(Step):
    """Chunks in a shard, all encoded or decoded at once."""

    def __init__(self, config: dict[str, Any], form: Form, fill: float, key: str) -> None:
        self._chunk, inner, self._index = shard_of(config, form.shape, key)
        self._fill = fill
        self._inner = PipelineV3(inner, self._chunk, form.dtype, fill, key)

    def _boxes(self) -> list[tuple[slice, ...]]:
        return [
            tuple(slice(at * n, (at + 1) * n) for at, n in zip(cell, self._chunk, strict=True))
            for cell in np.ndindex(self._index.grid)
        ]

    def encode(self, data: Any, form: Form) -> bytes:
        """Return a shard; chunks of nothing but the fill value are left out."""
        chunks = [data[box] for box in self._boxes()]
        stored = [None if _filled(chunk, self._fill) else self._inner.encode(chunk) for chunk in chunks]
        whole = self._index.assemble(stored)
        return whole if whole is not None else self._index.dump(np.full((self._index.count, 2), MISSING, np.uint64))

    def decode(self, data: Any, form: Form) -> Any:
        """Return all of a shard."""
        entries = self._index.parse(self._index.cut(memoryview(data)))
        out = np.full(form.shape, self._fill, form.dtype)
        for box, (start, size) in zip(self._boxes(), entries.tolist(), strict=True):
            if start != MISSING or size != MISSING:
                if start + size > len(data):
                    raise CorruptChunkError("a chunk lies beyond the end of its shard")
                out[box] = self._inner.decode(bytes(data[start : start + size]))
        return out


class PipelineV3:
    """Encodes and decodes whole chunks.

    Parameters
    ----------
    codecs : sequence of Config
        The codecs, first to last.
    shape : tuple of int
        Of a chunk.
    dtype : numpy.dtype
        Data type in native byte order.
    fill : int or float
        What chunks missing in shards hold.
    key : str
        The metadata, for messages.
    """

    def __init__(
        self, codecs: Sequence[Config], shape: tuple[int, ...], dtype: np.dtype[Any], fill: float, key: str
    ) -> None:
        form = Form(shape, dtype)
        self._steps: list[tuple[Step, Form, str]] = []
        self._key = key
        for config in codecs:
            step = _step(config, form, fill, key)
            self._steps.append((step, form, config.name))
            form = step.after(form)

    def decode(self, data: Any) -> NDArray[Any]:
        """Return a chunk.

        Raises
        ------
        CorruptChunkError
            Naming the codec that failed.
        """
        for step, form, _ in reversed(self._steps):
            data = step.decode(data, form)
        found: NDArray[Any] = data
        return found

    def raw(self, data: Any) -> memoryview | None:
        """Return the little-endian values of a chunk in C order, if nothing but compression is to be undone.

        Raises
        ------
        CorruptChunkError
            As `decode` does.
        """
        if not self._plain:
            return None
        for step, form, _ in self._steps[:0:-1]:
            data = step.decode(data, form)
        Raw.check(data, self._steps[0][1])
        return memoryview(data)

    @functools.cached_property
    def _plain(self) -> bool:
        first, *others = (step for step, _, _ in self._steps)
        return isinstance(first, Raw) and first.little and all(isinstance(step, Compressed) for step in others)

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return the bytes of a whole chunk."""
        data: Any = chunk
        for step, form, name in self._steps:
            data = encoded(name, self._key, functools.partial(step.encode, data, form))
        return bytes(data)


def _step(config: Config, form: Form, fill: float, key: str) -> Step:
    name, settings = config.name, dict(config.settings)
    plain = name.removeprefix("numcodecs.")
    if name == "transpose":
        return Transpose(permutation(settings, len(form.shape), key))
    if name == "bytes":
        return Raw(settings.get("endian") or "little")
    if name == "sharding_indexed":
        return Sharded(settings, form, fill, key)
    if name in OWN_NAMES:
        return Own(name, settings, form, key)
    if name == "blosc":
        return Compressed("blosc", blosc_settings(settings, form.dtype.itemsize), key)
    if name == "crc32c":
        return Compressed("crc32c", {"location": "end"}, key)
    if name in ("gzip", "zstd") or (name != plain and plain in BYTES):
        shuffles = plain == "shuffle" and settings.get("elementsize") is None
        return Compressed(plain, {**settings, **({"elementsize": form.dtype.itemsize} if shuffles else {})}, key)
    if name != plain and plain in FILTERS:
        return Filter(plain, settings, form, key)
    if name != plain and plain in PACKERS:
        return Packed(plain, settings, key)
    raise UnsupportedError(f"no codec for {name!r}, which {key} asks for", key=key)


def _filled(chunk: NDArray[Any], fill: float) -> bool:
    """Tell whether a chunk holds nothing but the fill value; NaN equals NaN."""
    same = np.isnan(chunk) if fill != fill else chunk == fill  # noqa: PLR0124
    return bool(same.all())
