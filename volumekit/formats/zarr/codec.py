"""Single codecs of a pipeline: numcodecs' and those of zarr v3, none of which is trusted.

What a codec says of the size of its output is checked before anything is allocated, and all its errors become ours.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.compression import decompress
from volumekit.codecs.zfp import zfp_decode, zfp_encode
from volumekit.errors import CorruptChunkError, MetadataError, MissingExtraError, UnsupportedError, VolumekitError

Buffer = Any
"""Bytes, or an array."""

T = TypeVar("T")

BYTES = (
    "blosc", "zstd", "gzip", "zlib", "bz2", "lz4", "lzma", "shuffle",
    "crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3",
)  # fmt: skip
"""numcodecs that turn bytes into bytes."""

FILTERS = ("delta", "bitround", "fixedscaleoffset", "quantize", "packbits", "astype")
"""numcodecs that turn arrays into arrays."""

PACKERS = ("zfpy", "pcodec")
"""numcodecs that turn an array into bytes."""

_BLOSC_HEADER = 16
_LZ4_HEADER = 4
_LZMA_MEMORY = 1 << 28


def numcodec(name: str, config: Mapping[str, Any], key: str) -> Any:
    """Return one of numcodecs' codecs.

    Parameters
    ----------
    name : str
        Its id.
    config : Mapping
        Its settings.
    key : str
        The metadata, for messages.

    Raises
    ------
    UnsupportedError
        If this is none that volumes can have.
    MissingExtraError
        If it needs a package that is not installed.
    MetadataError
        If a setting is impossible.
    """
    import numcodecs
    from numcodecs.errors import UnknownCodecError

    if name not in (*BYTES, *FILTERS, *PACKERS):
        raise UnsupportedError(
            f"no codec for {name!r}, which {key} asks for; readable: {', '.join((*BYTES, *FILTERS, *PACKERS))}", key=key
        )
    if name == "zfpy":
        return dict(config)
    try:
        return numcodecs.get_codec({**config, "id": name})
    except UnknownCodecError as error:
        raise MissingExtraError(
            f"the codec {name!r} in {key} needs a package; run: pip install 'volumekit[codecs]'", key=key
        ) from error
    except Exception as error:  # each codec has its own
        raise MetadataError(f"{key} has impossible settings for {name!r}: {error}", key=key) from error


def guarded(name: str, call: Callable[[], T]) -> T:
    """Decode something.

    Raises
    ------
    CorruptChunkError
        Naming the codec, whatever it raises.
    """
    try:
        return call()
    except (VolumekitError, MemoryError):
        raise
    except Exception as error:  # each library has its own
        raise CorruptChunkError(f"the {name} data do not decode: {error}") from error


def encoded(name: str, key: str, call: Callable[[], T]) -> T:
    """Encode something.

    Raises
    ------
    MetadataError
        Naming the codec, if its settings make that impossible; they were not looked at before.
    """
    try:
        return call()
    except (VolumekitError, MemoryError):
        raise
    except Exception as error:  # each library has its own
        raise MetadataError(f"{name} cannot encode chunks with the settings in {key}: {error}", key=key) from error


def unpack(name: str, codec: Any, data: Buffer, limit: int) -> Buffer:
    """Decode bytes with a bytes-to-bytes codec of numcodecs.

    Parameters
    ----------
    name : str
        Its id.
    codec : numcodecs.abc.Codec
        The codec.
    data : bytes-like
        The stored bytes, possibly damaged.
    limit : int
        Most bytes the result may have.

    Raises
    ------
    CorruptChunkError
        If they do not decode, or to more than that.
    """
    view = memoryview(data).cast("B")
    if name in ("zstd", "gzip", "bz2"):
        return decompress(bytes(data), name, limit=limit)
    if name == "zlib":
        return guarded(name, lambda: _inflate(view, limit))
    if name == "lzma":
        return guarded(name, lambda: _lzma(codec, view, limit))
    if name in ("blosc", "lz4"):
        _check_told(name, view, limit)
    return guarded(name, lambda: codec.decode(np.frombuffer(view, np.uint8)))


def _check_told(name: str, view: memoryview, limit: int) -> None:
    """Refuse data that say they hold more than they may."""
    if name == "blosc":
        short = len(view) < _BLOSC_HEADER or int.from_bytes(view[12:16], "little") > len(view)
        told = 0 if short else int.from_bytes(view[4:8], "little")
    else:
        short = len(view) <= _LZ4_HEADER
        told = int.from_bytes(view[:_LZ4_HEADER], "little")
    if short:
        raise CorruptChunkError(f"the {name} data are cut short")
    if told > limit:
        raise CorruptChunkError(f"the {name} data decompress to {told} bytes, more than the {limit} there can be")


def _inflate(view: memoryview, limit: int) -> bytes:
    stream = zlib.decompressobj()
    return _whole("zlib", stream.decompress(view, limit + 1), stream.eof, limit)


def _lzma(codec: Any, view: memoryview, limit: int) -> bytes:
    raw = codec.format == lzma.FORMAT_RAW
    how: dict[str, Any] = {"filters": codec.filters} if raw else {"memlimit": _LZMA_MEMORY}
    stream = lzma.LZMADecompressor(codec.format, **how)
    out = [stream.decompress(view, limit + 1)]
    while not stream.eof and not stream.needs_input and sum(map(len, out)) <= limit:
        out.append(stream.decompress(b"", limit + 1))
    return _whole("lzma", b"".join(out), stream.eof or raw, limit)


def _whole(name: str, out: bytes, ended: bool, limit: int) -> bytes:
    if len(out) > limit:
        raise CorruptChunkError(f"the {name} data decompress to more than {limit} bytes")
    if not ended:
        raise CorruptChunkError(f"the {name} data are cut short")
    return out


def unpack_array(name: str, data: Buffer, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Decode an array, in C order, from bytes of zfpy or pcodec.

    Raises
    ------
    CorruptChunkError
        If the bytes are no such array.
    MissingExtraError
        If the package is not installed.
    """
    if name == "zfpy":
        return zfp_decode(bytes(data), shape, dtype)
    from pcodec import standalone

    out = np.empty(shape, dtype)
    told = guarded(name, lambda: standalone.simple_decompress_into(bytes(data), out.reshape(-1)))
    if told.n_processed != out.size or not told.finished:
        raise CorruptChunkError(f"the pcodec data do not hold the {out.size} values of {shape}")
    return out


def pack_array(name: str, codec: Any, array: NDArray[Any]) -> bytes:
    """Encode an array in C order with zfpy or pcodec."""
    if name == "pcodec":
        return bytes(codec.encode(array))
    modes = {2: ("FIXED_RATE", "rate"), 3: ("FIXED_PRECISION", "precision"), 4: ("FIXED_ACCURACY", "tolerance")}
    mode, setting = modes.get(codec.get("mode", 4), ("REVERSIBLE", ""))
    level = codec.get(setting, -1)
    return zfp_encode(array, *((mode, level) if level >= 0 else ("REVERSIBLE", None)))
