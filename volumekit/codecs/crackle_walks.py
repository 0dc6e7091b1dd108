"""Following the walks of crackle with numba, every step checked; see `volumekit.codecs.crackle_stream`.

A plane begins with the corners where walks start; then come two bits for each move: up, right, down or left, less the
move before. A move and its opposite are something else: down, up and right, left end a branch, and go on where the
last one began; up, down and left, right begin a branch. A walk ends with its last branch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.crackle_planes import SLACK, WORD, connect, paint, row_count, row_words, strayed
from volumekit.codecs.crackle_stream import Stream, byte_width, check_planes
from volumekit.compiled import inlined, kernel
from volumekit.errors import CorruptChunkError

_UP, _RIGHT, _DOWN, _LEFT, _NONE = range(5)
_ONE, _SHIFT, _LOW = (np.uint64(n) for n in (1, WORD.bit_length() - 1, WORD - 1))
_MOVES = 4  # of a byte
_ORDERS = 24  # of four moves by frequency, in five bits


def find_components(
    stream: Stream, planes: NDArray[np.int64]
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:  # fmt: skip
    """Return the components of planes, (plane, y * x), numbered from 0 in each, and how many each plane has.

    Raises
    ------
    CorruptChunkError
        If a walk is damaged, or a checksum is wrong.
    """
    x, y, _ = stream.shape
    room, counts = np.empty(len(planes) * x * y + SLACK, np.uint32), np.empty(len(planes), np.int64)
    widths = (byte_width(x + 1), byte_width(y + 1))
    model = _read_model(stream.model, stream.order)
    damaged = _follow(stream.data, stream.starts, planes, (x, y), widths, stream.permissible, model, room, counts)
    if damaged >= 0:
        raise CorruptChunkError(f"the walks of plane {damaged} of the crackle stream are damaged")
    components = room[:-SLACK].reshape(len(planes), x * y)
    check_planes(stream, components, planes)
    return components, counts


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
def _follow(
    data: Any, starts: Any, planes: Any, size: Any, widths: Any, permissible: Any, model: Any, components: Any,
    counts: Any,
) -> Any:  # fmt: skip
    """Find the components of planes; return the first one that is damaged, or -1."""
    longest, area, row = 0, size[0] * size[1], WORD * row_words(size)
    for z in planes:
        longest = max(longest, starts[z + 1] - starts[z])
    cracks = np.empty((2, row_words(size) * row_count(size)), np.uint64)
    parents = np.empty(area, np.uint32)
    # A branch takes two moves. There are four moves in a byte, and with a model up to eight.
    branches = np.empty((4 if model.size else 2) * longest + 4, np.int64)
    corners = np.empty(longest + 1, np.int64)
    for n in range(planes.size):
        code = data[starts[planes[n]] : starts[planes[n] + 1]]
        first, found = _read_corners(code, corners, size, widths, row)
        if first < 0:
            return planes[n]
        moves = code[first:] if model.shape[0] == 0 else _uncode(code[first:], model)
        cracks[:] = 0
        if not _walk(moves, corners[:found], branches, cracks, row) or strayed(cracks[0], cracks[1], size):
            return planes[n]
        counts[n] = connect(cracks[0], cracks[1], permissible, parents, size)
        paint(cracks[0], parents, components[n * area : (n + 1) * area + SLACK], size)
    return -1


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
