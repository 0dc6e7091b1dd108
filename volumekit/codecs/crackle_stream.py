"""The parts of a crackle stream: what it declares, its checksums, its labels.

Crackle (W. Silversmith; stream versions 0 and 1, https://github.com/seung-lab/crackle) stores, plane by plane, the
cracks between voxels of different labels as walks along the corners; then the label of each component between the
cracks. Its sections are: the header; the length of each plane's walks; the labels; a model, if the walks are coded with
one; the walks; and, since version 1, checksums (CRC-32C) of the labels and of each plane's components, whose numbers
follow the raster.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from volumekit.errors import CorruptChunkError

FLAT, PINS = 0, 2
"""How the labels are stored: one for each component, or as columns along z on a background."""

_HEADERS = (struct.Struct("<4sBH3IBI"), struct.Struct("<4sBH3IBQB"))
_MAGIC = b"crkl"
_POLYNOMIAL = 0xE7
_MOST_ORDER = 15


@dataclass(frozen=True)
class Stream:
    """A stream whose header, lengths and checksums of everything but the walks were found right.

    Attributes
    ----------
    data : numpy.ndarray
        The bytes.
    shape : tuple of int
        (x, y, z).
    starts : numpy.ndarray
        Where each plane's walks begin, and where the last ones end.
    labels : bytes
        The section of the labels.
    label_format : int
        `FLAT` or `PINS`.
    stored : numpy.dtype
        Type of the labels in it.
    permissible : bool
        Whether the cracks are where voxels are connected, rather than where they are not.
    order : int
        Order of the model that the walks are coded with; 0: none.
    model : bytes
        The model.
    components : numpy.ndarray
        Checksums of the components of each plane; empty where there are none.
    """

    data: NDArray[np.uint8]
    shape: tuple[int, int, int]
    starts: NDArray[np.int64]
    labels: bytes
    label_format: int
    stored: np.dtype[Any]
    permissible: bool
    order: int
    model: bytes
    components: NDArray[np.uint32]


def read_stream(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Stream:
    """Check a stream as far as it is possible without walking.

    Raises
    ------
    CorruptChunkError
        If it is damaged, or declares another shape or type.
    """
    version, flags, sizes, length = _read_header(data, shape, dtype)
    order = flags >> 9 & 15
    model = (5 * 4 ** min(order, _MOST_ORDER) + 4) // 8 if order else 0
    at, planes = _HEADERS[version].size, sizes[2]
    tail = 4 * (planes + 1) * version
    walks = at + 4 * (planes + version) + length + model
    if walks + tail > len(data):
        raise CorruptChunkError("the crackle stream is cut short")
    lengths = np.frombuffer(data, "<u4", planes, at)
    starts = walks + np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    if starts[-1] + tail != len(data):
        raise CorruptChunkError("the walks of the crackle stream do not fill it: it is damaged or cut short")
    labels = data[walks - model - length : walks - model]
    components = np.empty(0, "<u4")
    if version:
        _check(data[at : at + 4 * planes], data[at + 4 * planes : at + 4 * planes + 4])
        _check(labels, data[starts[-1] : starts[-1] + 4])
        components = np.frombuffer(data, "<u4", planes, int(starts[-1]) + 4)
    return Stream(
        np.frombuffer(data, np.uint8), sizes, starts, labels, flags >> 5 & 3, np.dtype(f"<u{1 << (flags >> 2 & 3)}"),
        bool(flags >> 4 & 1), order, data[walks - model : walks], components,
    )  # fmt: skip


def _read_header(
    data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[int, int, tuple[int, int, int], int]:
    """Return version, flags, (x, y, z) and length of the labels; flags name sizes by their binary logarithm."""
    if data[:4] != _MAGIC or data[4:5] not in (b"\0", b"\1"):
        raise CorruptChunkError("not a crackle stream of version 0 or 1")
    version = data[4]
    if len(data) < _HEADERS[version].size:
        raise CorruptChunkError("the crackle stream stops within its header")
    _, _, flags, x, y, z, _, length, *checksum = _HEADERS[version].unpack_from(data)
    if version and checksum[0] != _crc8(data[5:28]):
        raise CorruptChunkError("the header of the crackle stream has a wrong checksum")
    width, signed = 1 << (flags & 3), flags >> 8 & 1
    if (x, y, z) != shape or width != dtype.itemsize or signed:
        found = f"{'u' * (not signed)}int{8 * width} {(x, y, z)}"
        raise CorruptChunkError(f"the crackle stream declares {found}, not {dtype} {shape}")
    return version, flags, (x, y, z), length


def _crc8(data: bytes) -> int:
    rest, table = 0xFF, _crc8_table()
    for byte in data:
        rest = table[rest ^ byte]
    return rest


@functools.cache
def _crc8_table() -> list[int]:
    rests = list(range(256))
    for _ in range(8):
        rests = [rest >> 1 ^ _POLYNOMIAL * (rest & 1) for rest in rests]
    return rests


def _check(section: bytes, checksum: bytes) -> None:
    if google_crc32c.value(bytes(section)) != int.from_bytes(checksum, "little"):
        raise CorruptChunkError("a section of the crackle stream has a wrong checksum")


def byte_width(most: int) -> int:
    """Return how many bytes, 1, 2, 4 or 8, numbers up to ``most`` are stored in."""
    return next((n for n in (1, 2, 4) if most < 256**n), 8)


class Reader:
    """Numbers of the section of the labels, one after the other.

    Parameters
    ----------
    section : bytes
        The section, possibly damaged.
    """

    def __init__(self, section: bytes) -> None:
        self._section, self._at = section, 0

    def take(self, count: int, kind: Any) -> NDArray[Any]:
        """Return the next ``count`` numbers of a type.

        Raises
        ------
        CorruptChunkError
            If there are fewer.
        """
        kind = np.dtype(kind)
        if count * kind.itemsize > len(self._section) - self._at:
            raise CorruptChunkError("the labels of the crackle stream are cut short")
        numbers = np.frombuffer(self._section, kind, count, self._at)
        self._at += count * kind.itemsize
        return numbers

    def one(self, kind: Any) -> int:
        """Return the next number."""
        return int(self.take(1, kind)[0])

    def end(self) -> None:
        """Raise CorruptChunkError unless all was read."""
        if self._at != len(self._section):
            raise CorruptChunkError("something follows the labels of the crackle stream")
