"""compressed_segmentation of one channel with NumPy alone; see the codec's module for the layout.

Every axis is cut into its full blocks and the partial one at the upper end. That gives at most eight regions.
In each of them all blocks have one size, so they are worked on together, as rows of an array (block, voxel).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Block = tuple[int, int, int]
_Row = tuple[int, NDArray[np.uint32], NDArray[np.uint32]]  # bits, packed voxels and table of a block
_BITS = np.array([0, 1, 2, 4, 8, 16, 32])
_CAPACITY = np.array([1, 2, 4, 16, 256, 65536])
_MOST = 1 << 40  # more voxels than the words of any data could hold: keeps products within 64 bits
_TABLES_END = 1 << 24
_BATCH = 1 << 20  # voxels worked on together: bounds the memory for positions and indices


def decode_channel(words: NDArray[np.uint32], base: int, out: NDArray[Any], block: Block) -> int:
    """Decode one channel.

    Parameters
    ----------
    words : numpy.ndarray
        The whole chunk.
    base : int
        Where the channel begins, in words.
    out : numpy.ndarray
        The channel, (x, y, z), Fortran order, filled.
    block : tuple of int
        (x, y, z) of a block.

    Returns
    -------
    int
        0, or what is wrong: 1 headers, 2 bits, 3 packed voxels, 4 table.
    """
    wide = out.dtype.itemsize // 4
    grid = _grid(out.shape, block)
    count = math.prod(grid)
    if base + 2 * count > len(words):
        return 1
    first, second = words[base : base + 2 * count].reshape(count, 2).T.astype(np.int64)
    bits, tables, values = first >> 24, base + (first & 0xFFFFFF), base + second
    if not np.isin(bits, _BITS).all():
        return 2
    packed = (min(math.prod(block), _MOST) * bits + 31) // 32
    if (packed[bits > 0] + values[bits > 0] > len(words)).any():
        return 3
    if (tables + wide > len(words)).any():
        return 4
    headers = np.stack([bits, tables, values]).reshape(3, *grid)
    for (z, y, x), blocks in _batches(out.T, block):
        places = _positions(blocks.shape[3:], block)
        labels = _labels(words, headers[:, z, y, x].reshape(3, -1), places, wide)
        if labels is None:
            return 4
        blocks[...] = labels.reshape(blocks.shape)
    return 0


def _labels(
    words: NDArray[np.uint32], headers: NDArray[np.int64], places: NDArray[np.int64], wide: int
) -> NDArray[Any] | None:
    """Return the labels (block, voxel) of blocks of one size; None if a table is too short.

    ``headers`` are bits, table and packed voxels of each block, ``places`` the voxels' in a full block.
    """
    bits, tables, values = headers
    entries = np.repeat(tables[:, None], len(places), axis=1)
    for width in np.unique(bits[bits > 0]):
        rows = np.flatnonzero(bits == width)
        at = places * width
        index = words[values[rows, None] + (at >> 5)] >> (at & 31).astype(np.uint32)
        entries[rows] += wide * (index & np.uint32(2**width - 1)).astype(np.int64)
    if entries.max() + wide > len(words):
        return None
    labels: NDArray[Any] = words[entries]
    if wide == 2:
        labels = labels | words[entries + 1].astype(np.uint64) << np.uint64(32)
    return labels


def encode_channel(voxels: NDArray[Any], block: Block) -> NDArray[np.uint32] | None:
    """Encode one channel, (x, y, z), Fortran order; None if a table would lie beyond 2**24 words."""
    grid = _grid(voxels.shape, block)
    rows: dict[int, _Row] = {}
    numbers = np.arange(math.prod(grid)).reshape(grid)
    for (z, y, x), blocks in _batches(voxels.T, block):
        labels = blocks.reshape(-1, math.prod(blocks.shape[3:]))
        packed = _pack(labels, blocks.shape[3:], block)
        if packed is None:
            return None
        rows.update(zip(numbers[z, y, x].ravel().tolist(), packed, strict=True))
    return _assemble([rows[number] for number in range(len(rows))])


def _pack(labels: NDArray[Any], size: tuple[int, ...], block: Block) -> list[_Row] | None:
    """Return (bits, packed voxels, table) of blocks of one size (z, y, x), given as rows (block, voxel)."""
    order = np.argsort(labels, axis=1)
    ordered = np.take_along_axis(labels, order, axis=1)
    first = np.ones(labels.shape, bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    index = np.empty(labels.shape, np.uint32)
    np.put_along_axis(index, order, np.cumsum(first, axis=1, dtype=np.uint32) - np.uint32(1), axis=1)
    bits = _BITS[np.searchsorted(_CAPACITY, first.sum(axis=1))]
    packed: dict[int, NDArray[np.uint32]] = {}
    for width in np.unique(bits):
        length = (min(math.prod(block), _MOST) * int(width) + 31) // 32
        if length >= _TABLES_END:
            return None
        rows = np.flatnonzero(bits == width)
        words = np.zeros((len(rows), length), np.uint32)
        if width:
            at = _positions(size, block) * width
            into = np.arange(len(rows))[:, None] * length + (at >> 5)
            np.add.at(words.reshape(-1), into.ravel(), (index[rows] << (at & 31).astype(np.uint32)).ravel())
        packed.update(zip(rows.tolist(), words, strict=True))
    return [(int(bits[row]), packed[row], ordered[row][first[row]].view(np.uint32)) for row in range(len(labels))]


def _assemble(rows: list[_Row]) -> NDArray[np.uint32] | None:
    """Lay headers, packed voxels and tables one after the other; each different table is stored once."""
    headers = np.empty((len(rows), 2), np.uint32)
    parts, offset, known = [headers.reshape(-1)], headers.size, dict[bytes, int]()
    for number, (bits, packed, table) in enumerate(rows):
        values, offset = offset, offset + len(packed)
        parts.append(packed)
        name = table.tobytes()
        if name not in known:
            known[name] = offset
            parts.append(table)
            offset += len(table)
        if known[name] >= _TABLES_END:
            return None
        headers[number] = known[name] | bits << 24, values
    return np.concatenate(parts)


def _grid(shape: tuple[int, ...], block: Block) -> tuple[int, ...]:
    """Return the number of blocks, (z, y, x)."""
    return tuple(-(-n // b) for n, b in zip(reversed(shape), reversed(block), strict=True))


def _positions(size: tuple[int, ...], block: Block) -> NDArray[np.int64]:
    """Return the place of each voxel of a block cut to ``size`` (z, y, x) within the full block."""
    z, y, x = np.ogrid[: size[0], : size[1], : size[2]]
    places: NDArray[np.int64] = (x + block[0] * (y + block[1] * z)).astype(np.int64).ravel()
    return places


def _batches(voxels: NDArray[Any], block: Block) -> Iterator[tuple[tuple[slice, ...], NDArray[Any]]]:
    """Yield (slices of the block grid, view of those blocks) for batches of blocks of one size.

    The view has the axes (z, y, x) of the grid, then (z, y, x) within a block; so has ``voxels``, (z, y, x).
    """
    axes = [_parts(n, b) for n, b in zip(voxels.shape, reversed(block), strict=True)]
    for region in product(*axes):
        size = tuple(length for _, _, length in region)
        counts = [count for _, count, _ in region]
        layers = max(1, _BATCH // (counts[1] * counts[2] * math.prod(size)))
        for start in range(0, counts[0], layers):
            count = min(layers, counts[0] - start)
            firsts, many = [region[0][0] + start, region[1][0], region[2][0]], [count, *counts[1:]]
            grid = tuple(slice(a, a + n) for a, n in zip(firsts, many, strict=True))
            yield grid, _cut(voxels, block, firsts, many, size)


def _cut(
    voxels: NDArray[Any], block: Block, firsts: list[int], counts: list[int], size: tuple[int, ...]
) -> NDArray[Any]:
    """Return blocks of one size as a view with the axes (z, y, x) of the grid, then within a block."""
    steps = tuple(reversed(block))
    starts = [first * step for first, step in zip(firsts, steps, strict=True)]
    part = voxels[tuple(slice(a, a + n * s) for a, n, s in zip(starts, counts, size, strict=True))]
    split = part.reshape(counts[0], size[0], counts[1], size[1], counts[2], size[2])
    return split.transpose(0, 2, 4, 1, 3, 5)


def _parts(length: int, block: int) -> list[tuple[int, int, int]]:
    """Return (first block, number of blocks, voxels of a block) of the full blocks and of the partial one."""
    full, rest = divmod(length, block)
    return [part for part in ((0, full, block), (full, 1, rest)) if part[1] and part[2]]
