"""Decoding crackle: labels, whole chunks, and the voxels of one label.

The C++ library walks before it looks at the checksums, and trusts what it reads: damaged walks make it write outside
of its planes. This decoder gives the same labels and refuses such streams. It needs no plane that a label is not in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.crackle_stream import FLAT, PINS, Reader, Stream, byte_width, read_stream
from volumekit.codecs.crackle_walks import decode_planes
from volumekit.errors import CorruptChunkError


@dataclass(frozen=True)
class _Labels:
    """The labels of the components.

    Attributes
    ----------
    distinct : numpy.ndarray
        All labels that occur.
    starts : numpy.ndarray
        Number of the first component of each plane, and how many there are in all.
    each : numpy.ndarray
        The label of each component. Pins may change it yet.
    pins : list
        (label, first voxels, how many planes each goes on).
    """

    distinct: NDArray[Any]
    starts: NDArray[np.int64]
    each: NDArray[Any]
    pins: list[tuple[int, NDArray[Any], NDArray[Any]]]


def decode(data: bytes, shape: tuple[int, ...], out: NDArray[Any], inside: tuple[slice, ...]) -> None:
    """Decode voxels of a chunk, and no plane that has none of them.

    Parameters
    ----------
    data : bytes
        The stored bytes, possibly damaged.
    shape : tuple of int
        (x, y, z) of the chunk.
    out : numpy.ndarray
        (x, y, z), an unsigned type, regular as `is_regular` tells; filled.
    inside : tuple of slice
        Which voxels of the chunk, (x, y, z), with positive steps.

    Raises
    ------
    CorruptChunkError
        If the data are damaged, or declare another shape or type.
    """
    stream = read_stream(data, shape, out.dtype)
    labels = _read_labels(stream, out.dtype)
    if len(labels.distinct) == 1:
        out[...] = labels.distinct[0]
        return
    x, y, z = inside
    _paint(stream, labels, np.arange(shape[2])[z], out.T, (y, x))


def labels(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the labels of a chunk, each once, sorted, without decoding it; see `decode`."""
    return np.unique(_read_labels(read_stream(data, shape, dtype), dtype).distinct)


def mask(data: bytes, label: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[np.bool_]:
    """Return where a chunk, (x, y, z), has a label; planes without it are not decoded. See `decode`."""
    stream = read_stream(data, shape, dtype)
    found = _read_labels(stream, dtype)
    out = np.zeros(shape, bool, order="F")
    if label not in found.distinct:
        return out
    if len(found.distinct) == 1:
        out[...] = True
        return out
    planes = _planes_of(label, found, stream.shape)
    voxels = np.empty((len(planes), shape[1], shape[0]), dtype)
    _paint(stream, found, planes, voxels)
    out.T[planes] = voxels == label
    return out


def _planes_of(label: int, labels: _Labels, shape: tuple[int, int, int]) -> NDArray[np.int64]:
    """Return the planes in which a label may be."""
    has = np.add.reduceat(labels.each == label, labels.starts[:-1]) > 0
    for of, firsts, depths in labels.pins:
        if of == label:
            for first, depth in zip(firsts // (shape[0] * shape[1]), depths, strict=True):
                has[first : first + depth + 1] = True
    return np.flatnonzero(has)


def _paint(
    stream: Stream, labels: _Labels, planes: NDArray[np.int64], out: NDArray[Any],
    inside: tuple[slice, slice] = (slice(None), slice(None)),
) -> None:  # fmt: skip
    """Decode planes, or those of their voxels, (y, x), that are ``inside``, into (plane, y, x)."""
    if not labels.pins:
        decode_planes(stream, planes, labels.starts, labels.each, out, inside)
        return
    components = np.empty((len(planes), stream.shape[1] * stream.shape[0]), np.uint32)
    of_planes = components.reshape(-1, stream.shape[1], stream.shape[0])
    decode_planes(stream, planes, labels.starts, _numbers(labels.starts), of_planes)
    each, places = labels.each.copy(), {z: n for n, z in enumerate(planes.tolist())}
    for label, firsts, depths in labels.pins:
        _pin(label, firsts, depths, places, components, labels.starts, each)
    for n, (z, plane) in enumerate(zip(planes.tolist(), of_planes, strict=True)):
        out[n] = each[labels.starts[z] + plane[inside]]


def _numbers(starts: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return the number of each component within its plane."""
    return (np.arange(starts[-1]) - np.repeat(starts[:-1], np.diff(starts))).astype(np.uint32)


def _pin(
    label: int, firsts: NDArray[Any], depths: NDArray[Any], places: dict[int, int], components: NDArray[np.uint32],
    starts: NDArray[np.int64], each: NDArray[Any],
) -> None:  # fmt: skip
    """Give a label to the components that columns of voxels go through."""
    for first, depth in zip(firsts.tolist(), depths.tolist(), strict=True):
        z, at = divmod(first, components.shape[1])
        for plane in range(z, z + depth + 1):
            if plane in places:
                each[starts[plane] + components[places[plane], at]] = label


def _read_labels(stream: Stream, dtype: np.dtype[Any]) -> _Labels:
    if stream.label_format == FLAT:
        return _read_flat(stream, dtype)
    if stream.label_format == PINS:
        return _read_pins(stream, dtype)
    raise CorruptChunkError(f"the crackle stream stores labels in an unknown way, {stream.label_format}")


def _read_flat(stream: Stream, dtype: np.dtype[Any]) -> _Labels:
    reader = Reader(stream.labels)
    distinct = reader.take(reader.one("<u8"), stream.stored)
    starts = _read_starts(reader, stream.shape)
    keys = reader.take(int(starts[-1]), f"<u{byte_width(len(distinct))}")
    reader.end()
    if not len(keys) or keys.max() >= len(distinct):
        raise CorruptChunkError("the crackle stream has components without a label")
    distinct = distinct.astype(dtype)
    return _Labels(distinct, starts, distinct[keys], [])


def _read_starts(reader: Reader, shape: tuple[int, int, int]) -> NDArray[np.int64]:
    counts = reader.take(shape[2], f"<u{byte_width(shape[0] * shape[1])}").astype(np.int64)
    if (counts < 1).any() or (counts > shape[0] * shape[1]).any():
        raise CorruptChunkError("a plane of the crackle stream has an impossible number of components")
    return np.concatenate([[0], np.cumsum(counts)])


def _read_pins(stream: Stream, dtype: np.dtype[Any]) -> _Labels:
    """Read columns of voxels of one label each, and components that are labelled one by one, on a background."""
    reader, voxels = Reader(stream.labels), stream.shape[0] * stream.shape[1] * stream.shape[2]
    background = int(reader.take(1, stream.stored).astype(dtype)[0])
    distinct = reader.take(reader.one("<u8"), stream.stored).astype(dtype)
    starts = _read_starts(reader, stream.shape)
    widths = reader.one("u1")
    counted, deep, numbered = (f"<u{1 << (widths >> shift & 3)}" for shift in (0, 2, 4))
    each, pins = np.full(starts[-1], background, dtype), []
    for label in distinct.tolist():
        count = reader.one(counted)
        firsts = np.cumsum(reader.take(count, f"<u{byte_width(voxels)}"), dtype=np.uint64)
        pins.append((label, firsts, reader.take(count, deep)))
        alone = np.cumsum(reader.take(reader.one(counted), numbered), dtype=np.uint64)
        if (firsts >= voxels).any() or (pins[-1][2] >= stream.shape[2]).any() or (alone >= starts[-1]).any():
            raise CorruptChunkError("the crackle stream labels voxels that do not exist")
        each[alone] = label
    reader.end()
    return _Labels(np.append(distinct, distinct.dtype.type(background)), starts, each, pins)
