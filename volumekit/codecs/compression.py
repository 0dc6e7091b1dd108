"""Compression of whole objects, as told by a suffix of their names (``key.gz``).

gzip goes through libdeflate. All methods release the GIL while they work.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from volumekit.errors import CorruptChunkError, OptionError
from volumekit.model.plain import plain

SUFFIXES = {"gzip": ".gz", "br": ".br", "zstd": ".zstd", "xz": ".xz", "bz2": ".bz2"}
"""Suffix of object names by compression method."""

_LEVELS = {"gzip": (6, 1, 9), "br": (5, 0, 11), "zstd": (3, 1, 22), "xz": (6, 0, 9), "bz2": (9, 1, 9)}
_GZIP_MAGIC = b"\x1f\x8b\x08"
_ZSTD_MAGIC, _ZSTD_HEAD = b"\x28\xb5\x2f\xfd", 6
_DEFLATE_RATIO = 1032  # DEFLATE cannot expand further
_MOST_MAGIC = 64  # after so many places zlib is not slower
_BEFORE = 64  # bytes looked at before the magic number
_XZ_MEMORY = 1 << 28  # the dictionary is declared by the file; the highest preset takes 65 MiB
_WINDOW = 1 << 14  # input per step: a stream copies what follows its end, for each of perhaps very many streams
_PIECE = 1 << 20  # output per step


class _Stream(Protocol):
    """The part of the standard library's decompressors that is used here."""

    @property
    def eof(self) -> bool:
        """Whether the stream's end was reached."""

    @property
    def unused_data(self) -> bytes:
        """What follows the stream's end."""

    def decompress(self, data: bytes | memoryview, max_length: int = ..., /) -> bytes:
        """Return at most ``max_length`` bytes."""


def compress(data: bytes, method: str, level: int | None = None) -> bytes:
    """Compress an object.

    Parameters
    ----------
    data : bytes
        The object.
    method : str
        A key of `SUFFIXES`.
    level : int, optional
        The method's own scale: gzip 1-9 (6), br 0-11 (5), zstd 1-22 (3), xz 0-9 (6), bz2 1-9 (9).

    Raises
    ------
    OptionError
        If the method is unknown or the level is not on its scale.
    """
    import imagecodecs

    level = level_of(method, level)
    if method == "gzip":
        return bytes(imagecodecs.gzip_encode(data, level=level))
    if method == "br":
        return bytes(imagecodecs.brotli_encode(data, level=level))
    if method == "zstd":
        return bytes(imagecodecs.zstd_encode(data, level=level))
    return lzma.compress(data, preset=level) if method == "xz" else bz2.compress(data, level)


def decompress(data: bytes, method: str, *, limit: int | None = None) -> bytes:
    """Decompress an object; several gzip, zstd, xz or bz2 streams in a row are one object.

    Parameters
    ----------
    data : bytes
        The stored bytes, possibly damaged.
    method : str
        A key of `SUFFIXES`.
    limit : int, optional
        Most bytes the result may have; without it, what the data say is believed.

    Raises
    ------
    CorruptChunkError
        If the data are empty, damaged or cut short, or the result is larger than ``limit``. brotli has no
        checksum: changed bytes may go unnoticed, and bytes after the end of its stream are ignored.
    OptionError
        If the method is unknown.
    """
    level_of(method, None)
    if not len(data):
        raise CorruptChunkError(f"an empty object is not {method} data")
    out, problem = b"", ""
    try:
        out = _METHODS[method](data, limit)
    except CorruptChunkError:
        raise
    except Exception as error:  # each library has its own, down to SystemError
        problem = str(error) or type(error).__name__  # the error itself would keep its stream, which takes megabytes
    if problem:  # raised out here: some of these cannot be pickled, and an error travels with its context
        beyond = "" if limit is None else f", or to more than {limit} bytes"
        raise CorruptChunkError(f"the {method} data do not decompress{beyond}: {problem}")
    if limit is not None and len(out) > limit:
        raise _too_large(method, limit)
    return out


def level_of(method: str, level: int | None) -> int:
    """Return a level on a method's own scale; None: its usual one. Errors as for `compress`."""
    if method not in _LEVELS:
        raise OptionError(f"unknown compression {method!r}; known: {', '.join(_LEVELS)}")
    usual, lowest, highest = _LEVELS[method]
    level = plain(level)
    if level is not None and (type(level) is not int or not lowest <= level <= highest):
        raise OptionError(f"{method} has levels {lowest} to {highest}, not {level!r}")
    return usual if level is None else level


def _too_large(method: str, limit: int) -> CorruptChunkError:
    return CorruptChunkError(f"the {method} data decompress to more than {limit} bytes")


def _gzip(data: bytes, limit: int | None) -> bytes:
    """Decompress gzip: one member by libdeflate, anything less plain by zlib.

    libdeflate wants to know the size beforehand, which the last four bytes tell of a single member. It stops
    after the first member without a word, so it only gets what cannot hold a second one of the same size.
    """
    import imagecodecs

    size = int.from_bytes(data[-4:], "little")
    if not 0 < size <= _DEFLATE_RATIO * len(data) or _has_another_member(data, size):
        return _streams("gzip", data, limit)
    if limit is not None and size > limit:
        raise _too_large("gzip", limit)
    out = bytes(imagecodecs.gzip_decode(data, out=size))
    return out if len(out) == size else _streams("gzip", data, limit)


def _has_another_member(data: bytes, size: int) -> bool:
    """Tell whether a member of ``size`` bytes may end, and another begin, within the data.

    That needs the magic number behind that size, or behind zeros. The GIL is free while it is looked for, other than in
    `bytes.find`, which takes three times as long.
    """
    import numpy as np

    held, magic = np.frombuffer(data, np.uint8), int.from_bytes(_GZIP_MAGIC[:2], "little")
    last = size.to_bytes(4, "little").rstrip(b"\0")
    for first in (1, 2):
        pairs = held[first : first + (len(held) - first) // 2 * 2].view("<u2") == magic
        at = 0
        for _ in range(_MOST_MAGIC):
            at += int(pairs[at:].argmax()) if at < len(pairs) else 0
            if at >= len(pairs) or not pairs[at]:
                break
            place = first + 2 * at
            before = data[max(0, place - _BEFORE) : place].rstrip(b"\0")
            if data[place + 2 : place + 3] == _GZIP_MAGIC[2:] and (not before or before.endswith(last)):
                return True
            at += 1
        else:
            return True
    return False


def _streams(method: str, data: bytes, limit: int | None) -> bytes:
    """Decompress streams that follow one another, never holding much more than ``limit`` bytes.

    Zeros behind the last one are padding.
    """
    view, end, at = memoryview(data), len(data.rstrip(b"\0")), 0
    parts, held = [], 0
    while not at or at < end:
        stream = _STREAMS[method]()
        while not stream.eof:
            fed = view[at : at + _WINDOW] if getattr(stream, "needs_input", True) else view[:0]
            piece = stream.decompress(fed, _PIECE)
            at += len(fed) - len(getattr(stream, "unconsumed_tail", b""))
            if not (piece or len(fed) or stream.eof):
                raise CorruptChunkError(f"the {method} data are cut short")
            parts.append(piece)
            held += len(piece)
            if limit is not None and held > limit:
                raise _too_large(method, limit)
        at -= len(stream.unused_data)
    return b"".join(parts)


def _brotli(data: bytes, limit: int | None) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.brotli_decode(data, out=limit))


def _zstd(data: bytes, limit: int | None) -> bytes:
    """Decompress zstd, into no more memory than its first frame says it takes, unless others follow.

    The result is copied where less comes out than there is room for.
    """
    import imagecodecs

    told = _zstd_size(data)
    if limit is None or not told or told >= limit:
        return bytes(imagecodecs.zstd_decode(data, out=limit))
    try:
        return bytes(imagecodecs.zstd_decode(data, out=told))
    except imagecodecs.ZstdError:
        return bytes(imagecodecs.zstd_decode(data, out=limit))


def _zstd_size(data: bytes) -> int | None:
    """Return what the first frame says that it decompresses to, None if it does not say; RFC 8878, 3.1.1.1."""
    if len(data) < _ZSTD_HEAD or data[:4] != _ZSTD_MAGIC:
        return None
    told, single = data[4] >> 6, data[4] >> 5 & 1
    start = 5 + (not single) + (0, 1, 2, 4)[data[4] & 3]
    if not told:
        return data[start] if single else None
    size = int.from_bytes(data[start : start + (1 << told)], "little")
    return size + 256 if told == 1 else size


_STREAMS: dict[str, Callable[[], _Stream]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "xz": lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
    "bz2": bz2.BZ2Decompressor,
}

_METHODS: dict[str, Callable[[Any, int | None], bytes]] = {
    "gzip": _gzip,
    "br": _brotli,
    "zstd": _zstd,
    "xz": lambda data, limit: _streams("xz", data, limit),
    "bz2": lambda data, limit: _streams("bz2", data, limit),
}
