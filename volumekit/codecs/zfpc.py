"""zfpc chunks: zfp streams of the parts of a chunk along which neighbours resemble each other.

After a header of 23 bytes follow, as 64-bit numbers, where the streams begin and the length of each; then the
streams. See https://github.com/seung-lab/zfpc.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.base import Codec
from volumekit.codecs.checks import check_readable, storable
from volumekit.codecs.zfp import TYPES, check_size, zfp_decode, zfp_encode
from volumekit.errors import CorruptChunkError, MetadataError, UnsupportedError
from volumekit.model.plain import plain

_HEADER = struct.Struct("<4sBB4IB")
_MAGIC = b"zfpc"
_MODES = {
    "zfpc_rate": ("FIXED_RATE", 2),
    "zfpc_precision": ("FIXED_PRECISION", 3),
    "zfpc_tolerance": ("FIXED_ACCURACY", 4),
}
_STEPS = {4: 2.0**-26, 8: 2.0**-55}
"""The least difference that zfp tells, as a part of the largest of the numbers around, by bytes of a number."""

_REVERSIBLE = ("REVERSIBLE", 5)
_Slices = tuple[slice | int, ...]


@dataclass(frozen=True)
class Zfpc(Codec):
    """Numbers as zfp streams; int32, int64, float32 and float64, any number of channels.

    Lossless unless one of rate, precision and tolerance is set; -1 is not set. zfp's own modes are explained at
    https://zfp.readthedocs.io/en/latest/modes.html.

    Parameters
    ----------
    zfpc_rate : float
        Bits per voxel.
    zfpc_precision : float
        Bit planes kept, which limits the relative error.
    zfpc_tolerance : float
        Largest absolute error; floating-point numbers only.
    zfpc_correlated_dims : tuple of bool
        Along which of x, y, z and channel neighbours resemble each other; the chunk is cut along the others.
    """

    name: ClassVar[str] = "zfpc"
    zfpc_rate: float = -1.0
    zfpc_precision: float = -1.0
    zfpc_tolerance: float = -1.0
    zfpc_correlated_dims: tuple[bool, bool, bool, bool] = (True, True, True, True)

    def __post_init__(self) -> None:
        for setting in _MODES:
            object.__setattr__(self, setting, _number(setting, getattr(self, setting)))
        if sum(getattr(self, setting) >= 0 for setting in _MODES) > 1:
            raise MetadataError(f"only one of {', '.join(_MODES)} can be set")
        object.__setattr__(self, "zfpc_correlated_dims", _truths(self.zfpc_correlated_dims))

    def decode(self, data: bytes, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Codec.decode`; how the chunk is cut is told by the data, not by the settings."""
        check_readable(self, shape, dtype)
        axes, correlated, at = _read_header(data, shape, dtype)
        out = np.empty(shape, dtype, order="F")
        stored = out if axes == 4 else out.reshape(shape[:axes], order="F")
        parts = list(_parts(shape, correlated, axes))
        for part, stream in zip(parts, _streams(data, at, len(parts)), strict=True):
            view = stored[part]
            view[...] = zfp_decode(stream, view.shape, dtype)
        return out

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """See `Codec.encode`.

        Raises
        ------
        UnsupportedError
            If an axis is longer than zfp can store: 4096 for a chunk that is not cut. For a tolerance of whole
            numbers, which zfp does not keep. Unless lossless, for numbers of which zfp would make others without a
            word, their neighbours included: NaN and infinities, and whole numbers that need the topmost two bits.
        """
        chunk = np.asfortranarray(storable(self, chunk))
        if self.zfpc_tolerance >= 0 and chunk.dtype.kind == "i":
            raise UnsupportedError(f"zfp keeps a tolerance for floating-point numbers only, not for {chunk.dtype}")
        if not self.lossless:
            _check_range(chunk, self.zfpc_tolerance)
        setting = next((name for name in _MODES if getattr(self, name) >= 0), None)
        (mode, number), level = (_MODES[setting], getattr(self, setting)) if setting else (_REVERSIBLE, None)
        correlated = self.zfpc_correlated_dims
        streams = [zfp_encode(chunk[part], mode, level) for part in _parts(chunk.shape, correlated, 4)]
        kind = TYPES.index(chunk.dtype) + 1 | number << 3 | chunk.flags.c_contiguous << 7
        header = _HEADER.pack(_MAGIC, 0, kind, *chunk.shape, sum(on << n for n, on in enumerate(correlated)))
        index = [len(header) + 8 * (1 + len(streams)), *map(len, streams)]
        return b"".join([header, np.array(index, "<u8").tobytes(), *streams])

    def check_shape(self, shape: tuple[int, int, int, int]) -> None:
        """See `Codec.check_shape`; what is not cut has axes that zfp can store."""
        check_size(tuple(n for n, on in zip(shape, self.zfpc_correlated_dims, strict=True) if on))

    @property
    def lossless(self) -> bool:
        """See `Codec.lossless`."""
        return all(getattr(self, setting) < 0 for setting in _MODES)

    @classmethod
    def supports(cls, dtype: np.dtype[Any], channels: int) -> str | None:
        """See `Codec.supports`; int32, int64, float32 and float64."""
        if dtype in TYPES and channels >= 1:
            return None
        return f"zfpc stores int32, int64, float32 and float64, not {dtype}"


def _check_range(chunk: NDArray[Any], tolerance: float) -> None:
    """Refuse what zfp, by its documentation, can only store lossless."""
    if chunk.dtype.kind == "f":
        if not np.isfinite(chunk).all():
            raise UnsupportedError("zfp stores NaN and infinities lossless only: replace them, or leave zfpc_… unset")
        largest = float(np.abs(chunk).max(initial=0))
        if tolerance > 0 and largest * _STEPS[chunk.dtype.itemsize] > tolerance:
            raise UnsupportedError(
                f"beside numbers as large as {largest:g}, zfp cannot keep a tolerance of {tolerance} in {chunk.dtype}: "
                "replace them, or leave zfpc_… unset"
            )
        return
    limit = 1 << (8 * chunk.dtype.itemsize - 2)
    if chunk.max() >= limit or chunk.min() <= -limit:
        raise UnsupportedError(f"zfp stores {chunk.dtype} beyond {limit - 1} lossless only: leave zfpc_… unset")


def _number(name: str, value: Any) -> float:
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MetadataError(f"{name} is a number, or -1 for not set; not {value!r}")
    if not math.isfinite(value):
        raise MetadataError(f"{name} is a finite number, not {value!r}")
    return float(value) if value >= 0 else -1.0


def _truths(value: Any) -> tuple[bool, ...]:
    value = plain(value)
    truths = tuple(value) if isinstance(value, tuple | list) else ()
    if len(truths) != 4 or not all(isinstance(on, bool) for on in truths) or not any(truths):
        raise MetadataError(f"zfpc_correlated_dims is four truth values (x, y, z, channel), not all false: {value!r}")
    return truths


def _parts(shape: tuple[int, ...], correlated: tuple[bool, ...], axes: int) -> Iterator[_Slices]:
    """Yield the parts of a chunk, x fastest; axes along which it is cut are dropped."""
    cuts: list[list[Any]] = [
        [slice(None)] if on else list(range(n)) for n, on in zip(shape[:axes], correlated, strict=False)
    ]
    for part in itertools.product(*reversed(cuts)):
        yield part[::-1]


def _read_header(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, tuple[bool, ...], int]:
    """Check what is declared; return the number of axes, along which the chunk is not cut, and the header's end."""
    if len(data) < _HEADER.size:
        raise CorruptChunkError("not zfpc data: the header is missing")
    magic, version, kind, *sizes, flags = _HEADER.unpack_from(data)
    if magic != _MAGIC or version:
        raise CorruptChunkError("not zfpc data of version 0")
    axes = 4 - next((n for n, size in enumerate(reversed(sizes)) if size), 4)
    number = (kind & 7) - 1
    if not 0 <= number < len(TYPES) or TYPES[number] != dtype or axes == 0:
        raise CorruptChunkError(f"the zfpc data declare another data type than {dtype}")
    found = tuple(sizes[:axes]) + (1,) * (4 - axes)
    correlated = tuple(bool(flags >> n & 1) for n in range(4))
    if found != shape or not any(correlated[:axes]):
        raise CorruptChunkError(f"the zfpc data declare a chunk of {found}, cut or not, which is not {shape}")
    return axes, correlated, _HEADER.size


def _streams(data: bytes, at: int, count: int) -> Iterator[memoryview]:
    """Yield the streams; they must fill the data up to the end."""
    end = at + 8 * (1 + count)
    if end > len(data):
        raise CorruptChunkError("the zfpc data stop within their index")
    first, *sizes = (int(n) for n in np.frombuffer(data, "<u8", 1 + count, at))
    if first != end or end + sum(sizes) != len(data):
        raise CorruptChunkError("the streams of the zfpc data do not fill them: they are damaged or cut short")
    view = memoryview(data)
    for size in sizes:
        yield view[end : end + size]
        end += size
