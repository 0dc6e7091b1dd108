"""Following the walks of crackle with numba, every step checked; see `volumekit.codecs.crackle_stream`.

A plane begins with the corners where walks start; then come two bits for each move: up, right, down or left, less the
move before. A move and its opposite are something else: down, up and right, left end a branch, and go on where the
last one began; up, down and left, right begin a branch. A walk ends with its last branch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from volumekit.codecs.crackle_checksums import checksum, checksum_of_zeros, power_sums
from volumekit.codecs.crackle_planes import WORD, connect, paint, row_count, row_words, strayed
from volumekit.codecs.crackle_stream import Stream, byte_width
from volumekit.compiled import inlined, kernel
from volumekit.errors import CorruptChunkError

_UP, _RIGHT, _DOWN, _LEFT, _NONE = range(5)
_ONE, _SHIFT, _LOW = (np.uint64(n) for n in (1, WORD.bit_length() - 1, WORD - 1))
_MOVES = 4  # of a byte
_ALL = slice(None)
_SOUND, _WALKS, _COUNT, _CHECKSUM = range(4)
_DAMAGES = {
    _WALKS: "the walks of plane {} of the crackle stream are damaged",
    _COUNT: "plane {} of the crackle stream has more or fewer components than labels",
    _CHECKSUM: "plane {} of the crackle stream has a wrong checksum",
}
_ORDERS = 24  # of four moves by frequency, in five bits


def decode_planes(
    stream: Stream, planes: NDArray[np.int64], starts: NDArray[np.int64], labels: NDArray[Any], out: NDArray[Any],
    inside: tuple[slice, slice] = (_ALL, _ALL),
) -> None:  # fmt: skip
    """Decode planes.

    Parameters
    ----------
    stream : Stream
        The stream.
    planes : numpy.ndarray
        Which planes.
    starts : numpy.ndarray
        Number of the first component of each plane of the stream, and how many there are in all.
    labels : numpy.ndarray
        The label of each component.
    out : numpy.ndarray
        (plane, y, x), of the type of the labels, regular as `is_regular` tells; filled.
    inside : tuple of slice
        Which voxels of the planes are wanted, (y, x), with positive steps.

    Raises
    ------
    CorruptChunkError
        If a walk is damaged, a checksum is wrong, or a plane has more or fewer components than it should.
    """
    x, y, _ = stream.shape
    memory, steps = _memory(out)
    rows, columns = np.full(y, -1), np.zeros(x + 1, np.uint64)
    rows[inside[0]] = steps[1] * np.arange(out.shape[1])
    columns[1:][inside[1]] = 1
    widths, model = (byte_width(x + 1), byte_width(y + 1)), _read_model(stream.model, stream.order)
    damage, plane = _decode(
        (stream.data, stream.starts, widths, model), stream.permissible, planes, (x, y), starts, labels,
        np.cumsum(columns), rows, memory, (steps[0], np.uint64(steps[2])),
        stream.components, power_sums(x * y), np.uint32(checksum_of_zeros(x * y)),
    )  # fmt: skip
    if damage != _SOUND:
        raise CorruptChunkError(_DAMAGES[damage].format(plane))


def is_regular(out: NDArray[Any]) -> bool:
    """Tell whether voxels lie whole steps of a voxel's size apart, forwards along each axis."""
    return all(step > 0 and step % out.itemsize == 0 for step in out.strides)


def _memory(out: NDArray[Any]) -> tuple[NDArray[Any], list[int]]:
    """Return the memory from the first voxel of an array to the last, and the steps along the axes, in voxels.

    So kernels need not be compiled for every kind of strides; what lies between the voxels is left alone.
    """
    steps = [step // out.itemsize for step in out.strides]
    span = 1 + sum((n - 1) * step for n, step in zip(out.shape, steps, strict=True))
    return as_strided(out, (span,), (out.itemsize,)), steps


def _read_model(model: bytes, order: int) -> NDArray[np.uint8]:
    """Return which moves are the most frequent, (state, 4), most frequent first, after the last ``order`` moves."""
    if not order:
        return np.empty((0, 4), np.uint8)
    states = 4**order
    bits = np.unpackbits(np.frombuffer(model, np.uint8), bitorder="little")
    if len(bits) < 5 * states:
        raise CorruptChunkError("the model of the crackle stream is cut short")
    numbers = bits[: 5 * states].reshape(states, 5) @ (1 << np.arange(5))
    if numbers.max() >= _ORDERS:
        raise CorruptChunkError("the model of the crackle stream is damaged")
    return np.array(_permutations([0, 1, 2, 3]), np.uint8)[numbers]


def _permutations(moves: list[int]) -> list[list[int]]:
    if not moves:
        return [[]]
    return [[move, *rest] for move in moves for rest in _permutations([other for other in moves if other != move])]


@kernel
def _decode(
    walks: Any, permissible: Any, planes: Any, size: Any, starts: Any, labels: Any, columns: Any, rows: Any, out: Any,
    steps: Any, checksums: Any, sums: Any, constant: Any,
) -> Any:  # fmt: skip
    """Decode planes; return what is wrong with the first one that is damaged, and which one that is."""
    data, places, widths, model = walks
    longest, row = 0, WORD * row_words(size)
    for z in planes:
        longest = max(longest, places[z + 1] - places[z])
    cracks = np.empty((2, row_words(size) * row_count(size)), np.uint64)
    parents, weights = np.empty(size[0] * size[1], np.uint32), np.empty(size[0] * size[1], np.uint32)
    # A branch takes two moves. There are four moves in a byte, and with a model up to eight.
    branches = np.empty((4 if model.size else 2) * longest + 4, np.int64)
    corners = np.empty(longest + 1, np.int64)
    for n in range(planes.size):
        z = planes[n]
        code = data[places[z] : places[z + 1]]
        first, found = _read_corners(code, corners, size, widths, row)
        if first < 0:
            return _WALKS, z
        moves = code[first:] if model.shape[0] == 0 else _uncode(code[first:], model)
        cracks[:] = 0
        if not _walk(moves, corners[:found], branches, cracks, row) or strayed(cracks[0], cracks[1], size):
            return _WALKS, z
        count = connect(cracks[0], cracks[1], permissible, parents, size)
        if count != starts[z + 1] - starts[z]:
            return _COUNT, z
        weights[:count] = 0
        paint(
            cracks[0],
            parents,
            labels[starts[z] : starts[z + 1]],
            columns,
            rows,
            out[n * steps[0] :],
            steps[1],
            sums,
            weights,
        )
        if checksums.size and checksums[z] != constant ^ checksum(weights, count):
            return _CHECKSUM, z
    return _SOUND, -1


@inlined
def _take(code: Any, at: Any, width: Any) -> Any:
    value = np.int64(0)
    for n in range(width):
        value |= np.int64(code[at + n]) << (8 * n)
    return value


@kernel
def _read_corners(code: Any, corners: Any, size: Any, widths: Any, row: Any) -> Any:
    """Read where walks start, row by row; return where the moves begin, -1 if damaged, and how many walks there are.

    Rows and places in a row are stored as differences.
    """
    if code.size < 4 + widths[1]:
        return -1, 0
    end, at = 4 + _take(code, 0, 4), 4 + widths[1]
    if end > code.size or at > end:
        return -1, 0
    y, found = 0, 0
    for _row in range(_take(code, 4, widths[1])):
        if at + widths[1] + widths[0] > end:
            return -1, 0
        y += _take(code, at, widths[1])
        many = _take(code, at + widths[1], widths[0])
        at += widths[1] + widths[0]
        if y > size[1] or many * widths[0] > end - at:
            return -1, 0
        x = 0
        for _place in range(many):
            x += _take(code, at, widths[0])
            at += widths[0]
            if x > size[0]:
                return -1, 0
            corners[found] = x + row * (y + 1)
            found += 1
    return end, found


@kernel
def _uncode(code: Any, model: Any) -> Any:
    """Return the moves, four in a byte, of walks coded with a model: 0, 10, 110 and 111 are the frequent ones first."""
    bits = 8 * code.size
    moves = np.zeros(bits // _MOVES + 2, np.uint8)
    if bits == 0:
        return moves[:0]
    top = model.shape[0] // 4  # weight of the last move in the state
    move = np.int64(code[0] & 3)
    state, count, at = move * top, 1, 2
    moves[0] = move
    while at < bits:
        rank = 0
        while rank < 3 and at < bits and code[at >> 3] >> (at & 7) & 1:
            rank += 1
            at += 1
        if rank < 3:
            at += 1
        move = np.int64(model[state, rank])
        moves[count >> 2] |= move << 2 * (count & 3)
        state = (state >> 2) + move * top
        count += 1
    return moves[: (count >> 2) + 1]


@kernel
def _walk(moves: Any, corners: Any, branches: Any, cracks: Any, row: Any) -> Any:
    """Mark the cracks of a plane; tell whether all walks came to their end in memory."""
    if corners.size == 0:
        return True
    by, room = np.array((-row, 1, row, -1)), np.uint64(WORD * cracks.shape[1])
    at, walk, depth, before = corners[0], 1, 1, _NONE
    last: Any = 0
    for n in range(_MOVES * moves.size):
        move = (np.int64(moves[n >> 2] >> 2 * (n & 3)) + last) & 3
        last = move
        if before ^ move == 2:
            before = _NONE
            if move == _DOWN or move == _RIGHT:  # noqa: PLR1714, SIM109 - a membership test costs more
                branches[depth] = at
                depth += 1
                continue
            depth -= 1
            if depth:
                at = branches[depth]
                continue
            if walk == corners.size:
                return True
            at, walk, depth = corners[walk], walk + 1, 1
            continue
        if before != _NONE:
            corner = at + by[before]
            crack = np.uint64(min(at, corner))
            at = corner
            if np.uint64(at) >= room:
                return False
            cracks[before & 1, crack >> _SHIFT] |= _ONE << (crack & _LOW)
        before = move
    return False
