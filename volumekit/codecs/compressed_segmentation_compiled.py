"""compressed_segmentation of one channel with numba; same bytes and same errors as ``..._arrays``.

Positions are uint64 throughout: numba looks at signed indices twice, for Python's "from the end", which made
decoding 2.6 times slower. Constants have that type too, since numba makes a float of uint64 and int64.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from volumekit.compiled import inlined, kernel

Block = tuple[int, int, int]
_U = np.uint64
_0, _1, _2, _5, _11, _24, _31, _32 = (_U(n) for n in (0, 1, 2, 5, 11, 24, 31, 32))
_LOW_24, _LOW_32 = _U(0xFFFFFF), _U(0xFFFFFFFF)
_MOST = 1 << 40  # more voxels than the words of any data could hold: keeps products within 64 bits
_TABLES_END = _U(1 << 24)
_MIX = _U(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: multiplicative hashing, Knuth 6.4


class _Layout(NamedTuple):
    """Shape, block and number of blocks, (x, y, z); voxels of a full block; words of a label."""

    shape: Any
    block: Any
    count: Any
    full: Any
    wide: Any


class _Cut(NamedTuple):
    """One block: its number, its first voxel, and its size (x, y, z) within the channel."""

    number: Any
    start: Any
    size: Any


class _Palette(NamedTuple):
    """The labels of a block as they appear, their sorted order and its inverse, and which one each voxel has.

    ``slots`` is a hash table of the labels; its entries hold if their stamp is the block's number plus one.
    """

    labels: Any
    order: Any
    ranks: Any
    voxels: Any
    slots: Any
    stamps: Any


class _Tables(NamedTuple):
    """Where each table is and how long, and a hash table of them; its entries are block numbers plus one."""

    offsets: Any
    lengths: Any
    slots: Any


def decode_channel(words: NDArray[np.uint32], base: int, out: NDArray[Any], block: Block) -> int:
    """Decode one channel; see the twin in ``compressed_segmentation_arrays``."""
    layout = _layout(out.shape, out.itemsize // 4, block)
    return _check(words, _U(base), layout) or _decode(out.T.reshape(-1), words, _U(base), layout)


def encode_channel(voxels: NDArray[Any], block: Block) -> NDArray[np.uint32] | None:
    """Encode one channel; see the twin in ``compressed_segmentation_arrays``."""
    flat = voxels.T.reshape(-1)
    flat.flags.writeable = False  # one type, so one compilation, whoever holds the voxels
    words: NDArray[np.uint32] = _encode(flat, _layout(voxels.shape, voxels.itemsize // 4, block))
    return words if len(words) else None


def see_channel(
    words: NDArray[np.uint32], base: int, shape: Block, wide: int, seen: NDArray[np.bool_], block: Block
) -> int:  # fmt: skip
    """Note in ``seen`` at which words the labels of a channel's voxels are; ``wide`` is the words of a label."""
    layout = _layout(shape, wide, block)
    return _check(words, _U(base), layout) or _see(seen, words, _U(base), layout)


def mask_channel(
    words: NDArray[np.uint32], base: int, out: NDArray[np.bool_], wide: int, label: int, block: Block
) -> int:  # fmt: skip
    """Fill ``out``, (x, y, z), with where a channel has a label; ``wide`` is the words of a label."""
    layout = _layout(out.shape, wide, block)
    return _check(words, _U(base), layout) or _mask(out.T.reshape(-1), words, _U(base), layout, _U(label))


def _layout(channel: tuple[int, ...], wide: int, block: Block) -> _Layout:
    count = math.prod(-(-n // b) for n, b in zip(channel, block, strict=True))
    shape, size = tuple(map(_U, channel)), tuple(map(_U, block))
    return _Layout(shape, size, _U(count), _U(min(math.prod(block), _MOST)), _U(wide))


@kernel
def _check(words: Any, base: Any, layout: Any) -> int:
    """Return the first that is wrong: 1 the headers' place, 2 bits, 3 packed voxels, 4 table; or 0."""
    size = _U(words.size)
    if base + _2 * layout.count > size:
        return 1
    worst = 5
    for number in range(layout.count):
        header, values = _U(words[base + _2 * number]), _U(words[base + _2 * number + _1])
        bits = header >> _24
        if bits > _32 or (bits & (bits - _1)) != _0:
            worst = 2
        elif bits > _0 and base + values + ((layout.full * bits + _31) >> _5) > size:
            worst = min(worst, 3)
        elif base + (header & _LOW_24) + layout.wide > size:
            worst = min(worst, 4)
    return worst % 5


@kernel
def _label(words: Any, at: Any, wide: Any) -> Any:
    """Return the label of ``wide`` words at a place."""
    label = _U(words[at])
    if wide == _2:
        label |= _U(words[at + _1]) << _32
    return label


@inlined
def _head(words: Any, at: Any, base: Any) -> Any:
    """Return the bits of a voxel of a block, and where its labels and its voxels are."""
    header = _U(words[at])
    return header >> _24, base + (header & _LOW_24), base + _U(words[at + _1])


@kernel
def _decode(out: Any, words: Any, base: Any, layout: Any) -> int:
    """Fill ``out``, the channel in Fortran order; return 4 if an index points beyond the data, else 0."""
    shape, block, wide, size, at = layout.shape, layout.block, layout.wide, _U(words.size), base
    for z0 in range(_0, shape[2], block[2]):
        for y0 in range(_0, shape[1], block[1]):
            for x0 in range(_0, shape[0], block[0]):
                bits, table, values = _head(words, at, base)
                at += _2
                room, mask = (size - table) // wide, (_1 << bits) - _1
                nx, only = min(block[0], shape[0] - x0), _label(words, table, wide)
                for z in range(min(block[2], shape[2] - z0)):
                    for y in range(min(block[1], shape[1] - y0)):
                        start = x0 + shape[0] * (y0 + y + shape[1] * (z0 + z))
                        if bits == _0:
                            for i in range(start, start + nx):
                                out[i] = only
                            continue
                        bit = bits * block[0] * (y + block[1] * z)
                        for i in range(start, start + nx):
                            index = (_U(words[values + (bit >> _5)]) >> (bit & _31)) & mask
                            if index >= room:
                                return 4
                            out[i] = _label(words, table + wide * index, wide)
                            bit += bits
    return 0


@kernel
def _see(seen: Any, words: Any, base: Any, layout: Any) -> int:
    """Note which labels are used; return 4 if an index points beyond the data, else 0."""
    shape, block, wide, size, at = layout.shape, layout.block, layout.wide, _U(words.size), base
    for z0 in range(_0, shape[2], block[2]):
        for y0 in range(_0, shape[1], block[1]):
            for x0 in range(_0, shape[0], block[0]):
                bits, table, values = _head(words, at, base)
                at += _2
                if bits == _0:
                    seen[table] = True
                    continue
                room, mask, nx = (size - table) // wide, (_1 << bits) - _1, min(block[0], shape[0] - x0)
                for z in range(min(block[2], shape[2] - z0)):
                    for y in range(min(block[1], shape[1] - y0)):
                        bit = bits * block[0] * (y + block[1] * z)
                        for _ in range(nx):
                            index = (_U(words[values + (bit >> _5)]) >> (bit & _31)) & mask
                            if index >= room:
                                return 4
                            seen[table + wide * index] = True
                            bit += bits
    return 0


@kernel
def _mask(out: Any, words: Any, base: Any, layout: Any, label: Any) -> int:
    """Tell where the label is; return 4 if an index points beyond the data, else 0."""
    shape, block, wide, size, at = layout.shape, layout.block, layout.wide, _U(words.size), base
    for z0 in range(_0, shape[2], block[2]):
        for y0 in range(_0, shape[1], block[1]):
            for x0 in range(_0, shape[0], block[0]):
                bits, table, values = _head(words, at, base)
                at += _2
                room, mask = (size - table) // wide, (_1 << bits) - _1
                nx, has = min(block[0], shape[0] - x0), False
                for index in range(min(room, layout.full, mask + _1)):
                    has = has or _label(words, table + wide * index, wide) == label
                for z in range(min(block[2], shape[2] - z0)):
                    for y in range(min(block[1], shape[1] - y0)):
                        start = x0 + shape[0] * (y0 + y + shape[1] * (z0 + z))
                        bit = bits * block[0] * (y + block[1] * z)
                        for i in range(start, start + nx):
                            out[i] = has
                            if has and bits != _0:
                                index = (_U(words[values + (bit >> _5)]) >> (bit & _31)) & mask
                                if index >= room:
                                    return 4
                                out[i] = _label(words, table + wide * index, wide) == label
                                bit += bits
    return 0


@kernel
def _encode(voxels: Any, layout: Any) -> Any:
    """Return the words of the channel; none if a table would lie beyond 2**24 words."""
    shape, block, count, wide = layout.shape, layout.block, layout.count, layout.wide
    palette = _new_palette(min(layout.full, _U(voxels.size)))
    tables = _Tables(np.empty(count, _U), np.empty(count, _U), np.zeros(_twice(count), _U))
    out, used, number = np.empty(_2 * count + _U(voxels.size), np.uint32), _2 * count, _0
    for z0 in range(_0, shape[2], block[2]):
        for y0 in range(_0, shape[1], block[1]):
            for x0 in range(_0, shape[0], block[0]):
                nx, ny, nz = min(block[0], shape[0] - x0), min(block[1], shape[1] - y0), shape[2] - z0
                cut = _Cut(number, x0 + shape[0] * (y0 + shape[1] * z0), (nx, ny, min(block[2], nz)))
                table, bits = _fill(palette, voxels, shape, cut)
                values, end = used, used + ((layout.full * bits + _31) >> _5)
                slot = _find(tables, table, out, wide)
                new = tables.slots[slot] == _0
                if new and end >= _TABLES_END:
                    return np.empty(0, np.uint32)
                out = _with_room(out, used, end + _U(table.size) * wide)
                _pack(out[values:end], bits, block, cut.size, palette)
                used = end
                if new:
                    tables.offsets[number], tables.lengths[number] = end, table.size
                    tables.slots[slot] = number + _1
                    used = _append(out, end, table, wide)
                out[_2 * number] = tables.offsets[tables.slots[slot] - _1] | bits << _24
                out[_2 * number + _1] = values
                number += _1
    return out[:used]


@kernel
def _twice(n: Any) -> Any:
    """Return a power of two of at least ``2 * n``: the size of a hash table for ``n`` entries."""
    size = _2
    while size < _2 * n:
        size *= _2
    return size


@kernel
def _new_palette(most: Any) -> Any:
    labels, order = np.empty(most, _U), np.empty(most, _U)
    ranks, voxels = np.empty(most, _U), np.empty(most, _U)
    return _Palette(labels, order, ranks, voxels, np.empty(_twice(most), _U), np.zeros(_twice(most), _U))


@kernel
def _with_room(out: Any, used: Any, needed: Any) -> Any:
    """Return ``out``, moved to larger memory if it is too small."""
    if needed <= _U(out.size):
        return out
    larger = np.empty(_2 * needed, np.uint32)
    for i in range(used):  # a slice would take numba seconds to compile
        larger[i] = out[i]
    return larger


@kernel
def _fill(palette: Any, voxels: Any, shape: Any, cut: Any) -> Any:
    """Fill the palette with the labels of a block; return the sorted table and the bits of an index."""
    n = _number(palette, voxels, shape, cut)
    table = np.empty(n, _U)
    for i in range(n):
        table[i], palette.order[i] = palette.labels[i], i
    _sort(table, palette.order)
    for i in range(n):
        palette.ranks[palette.order[i]] = i
    bits = _0
    while (_1 << bits) < n:
        bits = max(_1, _2 * bits)
    return table, bits


@kernel
def _sort(table: Any, order: Any) -> None:
    """Sort a table, and ``order`` along with it: Shell's sort with the gaps of Gonnet and Baeza-Yates.

    numba would take seconds to compile its own sort.
    """
    n = _U(table.size)
    gap: Any = n
    while gap > _1:
        gap = max(_1, _5 * gap // _11)
        for i in range(gap, n):
            label, entry, j = table[i], order[i], i
            while j >= gap and table[j - gap] > label:
                table[j], order[j] = table[j - gap], order[j - gap]
                j -= gap
            table[j], order[j] = label, entry


@kernel
def _number(palette: Any, voxels: Any, shape: Any, cut: Any) -> Any:
    """Number the labels of a block as they appear; return how many there are."""
    labels, slots, stamps, stamp = palette.labels, palette.slots, palette.stamps, cut.number + _1
    mask, n, k, last, found = _U(slots.size) - _1, _0, _0, _0, _0
    for z in range(cut.size[2]):
        for y in range(cut.size[1]):
            row = cut.start + shape[0] * (y + shape[1] * z)
            for i in range(row, row + cut.size[0]):
                label = _U(voxels[i])
                if k == _0 or label != last:
                    slot = ((label * _MIX) >> _32) & mask
                    while stamps[slot] == stamp and labels[slots[slot]] != label:
                        slot = (slot + _1) & mask
                    if stamps[slot] != stamp:
                        stamps[slot], slots[slot], labels[n] = stamp, n, label
                        n += _1
                    last, found = label, slots[slot]
                palette.voxels[k] = found
                k += _1
    return n


@kernel
def _find(tables: Any, table: Any, out: Any, wide: Any) -> Any:
    """Return the slot of a table among the known ones, or the free slot where it belongs."""
    mask, n = _U(tables.slots.size) - _1, _U(table.size)
    mixed = n
    for label in table:
        mixed = (mixed ^ label) * _MIX
        mixed ^= mixed >> _32
    slot = mixed & mask
    while tables.slots[slot] != _0:
        known = tables.slots[slot] - _1
        same, i = tables.lengths[known] == n, _0
        while same and i < n:
            same = _label(out, tables.offsets[known] + wide * i, wide) == table[i]
            i += _1
        if same:
            return slot
        slot = (slot + _1) & mask
    return slot


@kernel
def _pack(words: Any, bits: Any, block: Any, size: Any, palette: Any) -> None:
    """Write the voxels of a block as indices into its table."""
    for i in range(words.size):
        words[i] = 0
    if bits == _0:
        return
    k = _0
    for z in range(size[2]):
        for y in range(size[1]):
            bit = bits * block[0] * (y + block[1] * z)
            for _ in range(size[0]):
                words[bit >> _5] |= np.uint32(palette.ranks[palette.voxels[k]] << (bit & _31))
                bit += bits
                k += _1


@kernel
def _append(out: Any, used: Any, table: Any, wide: Any) -> Any:
    """Write a table; return where it ends."""
    for label in table:
        out[used] = np.uint32(label & _LOW_32)
        if wide == _2:
            out[used + _1] = np.uint32(label >> _32)
        used += wide
    return used
