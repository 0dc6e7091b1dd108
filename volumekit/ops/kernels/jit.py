"""The kernels compiled by numba; imported only where `volumekit.compiled.available`.

A kernel releases the GIL and walks over rows of cells along the fastest axis. It gets the flat memory of the
array and of the result and a `Walk`: so one compilation per type serves contiguous arrays and views alike.

Integers are seen as unsigned: ``value ^ flip`` turns signed into unsigned order, and maxima into minima.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from volumekit.ops.kernels.layout import Four

F = TypeVar("F", bound=Callable[..., Any])
Flat = NDArray[Any]
Walk = tuple[Four, Four, Four, Four]
"""Number of cells, voxels of a cell, strides in the array and in the result (in voxels), fastest axis first."""


def _compiled(function: F) -> F:
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return cast(F, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # nowhere to keep compiled code: compile once per process
        return cast(F, numba.njit(**options)(function))


@_compiled
def _starts(shape: Four, strides: Four) -> Flat:
    """Return where the rows of an array start."""
    starts = np.empty(shape[1] * shape[2] * shape[3], np.int64)
    k = 0
    for c in range(shape[3]):
        for z in range(shape[2]):
            for y in range(shape[1]):
                starts[k] = c * strides[3] + z * strides[2] + y * strides[1]
                k += 1
    return starts


@_compiled
def _rows(walk: Walk) -> tuple[Flat, Flat, Flat, int, int]:
    """Return how to go through memory.

    Where each row of cells starts in the array and in the result; where the rows of voxels of one cell start,
    counted from its first; voxels of a cell along the row; cells in a row.
    """
    n, f, s, t = walk
    hop = (s[0] * f[0], s[1] * f[1], s[2] * f[2], s[3] * f[3])
    return _starts(n, hop), _starts(n, t), _starts(f, s), f[0], n[0]


@_compiled
def _add(total: Flat, row: Flat, step: int, flip: Any) -> None:
    wide = total.dtype.type
    if step == 1:
        for i in range(len(total)):
            total[i] += wide(row[i] ^ flip)
    elif step == 2:
        for i in range(len(total)):
            total[i] += wide(row[2 * i] ^ flip) + wide(row[2 * i + 1] ^ flip)
    else:
        for i in range(len(total)):
            for k in range(step):
                total[i] += wide(row[i * step + k] ^ flip)


@_compiled
def _round(row: Flat, total: Flat, count: int, flip: Any) -> None:
    """Write ``total / count``, rounded half to even."""
    # Constants have the type of the sums: numba makes a float of uint64 and int64.
    wide = total.dtype.type
    zero, one, size, shift = wide(0), wide(1), wide(count), wide(0)
    while one << shift < count:
        shift = wide(shift + one)
    if count == 1:
        for i in range(len(row)):
            row[i] = total[i] ^ flip
    elif one << shift == count:
        half = wide(count // 2 - 1)
        for i in range(len(row)):
            row[i] = (wide(total[i] + half + ((total[i] >> shift) & one)) >> shift) ^ flip
    else:
        for i in range(len(row)):
            quotient = total[i] // size
            rest = (total[i] - quotient * size) << one
            up = (rest > size) | ((rest == size) & (quotient & one == one))
            row[i] = (quotient + (one if up else zero)) ^ flip


@_compiled
def mean(source: Flat, target: Flat, walk: Walk, total: Flat, flip: Any) -> None:
    """Average integers; ``total`` is a row of sums wide enough for any cell."""
    rows, cells, inner, step, n = _rows(walk)
    for r in range(len(rows)):
        total[:] = 0
        for offset in inner:
            at = rows[r] + offset
            _add(total, source[at : at + n * step], step, flip)
        _round(target[cells[r] : cells[r] + n], total, len(inner) * step, flip)


@_compiled
def mean_pairs(source: Flat, target: Flat, walk: Walk, total: Flat, flip: Any) -> None:
    """Do `mean` for cells of two or four rows of two voxels, without a row of sums."""
    rows, cells, inner, _, n = _rows(walk)
    wide = total.dtype.type
    one, two, three = wide(1), wide(2), wide(3)
    for r in range(len(rows)):
        row = target[cells[r] : cells[r] + n]
        at = rows[r]
        p, q = source[at:][: 2 * n], source[at + inner[1] :][: 2 * n]
        if len(inner) == 2:
            for i in range(n):
                v = wide(p[2 * i] ^ flip) + wide(p[2 * i + 1] ^ flip)
                v += wide(q[2 * i] ^ flip) + wide(q[2 * i + 1] ^ flip)
                row[i] = (wide(v + one + ((v >> two) & one)) >> two) ^ flip
        else:
            s, t = source[at + inner[2] :][: 2 * n], source[at + inner[3] :][: 2 * n]
            for i in range(n):
                v = wide(p[2 * i] ^ flip) + wide(p[2 * i + 1] ^ flip)
                v += wide(q[2 * i] ^ flip) + wide(q[2 * i + 1] ^ flip)
                v += wide(s[2 * i] ^ flip) + wide(s[2 * i + 1] ^ flip)
                v += wide(t[2 * i] ^ flip) + wide(t[2 * i + 1] ^ flip)
                row[i] = (wide(v + three + ((v >> three) & one)) >> three) ^ flip


@_compiled
def mean_64(source: Flat, target: Flat, walk: Walk, total: Flat, flip: Any) -> None:
    """Do `mean` where sums need 96 bits: ``total`` holds those of upper, then of lower halves."""
    rows, cells, inner, step, n = _rows(walk)
    count, mask, digit, one = np.uint64(len(inner) * step), np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(1)
    high, low = total[:n], total[n:]
    for r in range(len(rows)):
        total[:] = 0
        for offset in inner:
            row = source[rows[r] + offset : rows[r] + offset + n * step]
            for i in range(n):
                for j in range(step):
                    high[i] += (row[i * step + j] ^ flip) >> digit
                    low[i] += (row[i * step + j] ^ flip) & mask
        row = target[cells[r] : cells[r] + n]
        for i in range(n):
            upper = high[i] + (low[i] >> digit)
            rest = ((upper % count) << digit) | (low[i] & mask)
            quotient = ((upper // count) << digit) + rest // count
            rest = (rest % count) << one
            up = (rest > count) | ((rest == count) & (quotient & one == one))
            row[i] = (quotient + np.uint64(up)) ^ flip


@_compiled
def mean_float(source: Flat, target: Flat, walk: Walk, total: Flat) -> None:
    """Average floats, added one after the other in memory order."""
    rows, cells, inner, step, n = _rows(walk)
    count = total.dtype.type(len(inner) * step)
    for r in range(len(rows)):
        total[:] = 0
        for offset in inner:
            row = source[rows[r] + offset : rows[r] + offset + n * step]
            if step == 2:
                for i in range(n):
                    total[i] = (total[i] + row[2 * i]) + row[2 * i + 1]
            else:
                for i in range(n):
                    for j in range(step):
                        total[i] += row[i * step + j]
        row = target[cells[r] : cells[r] + n]
        for i in range(n):
            row[i] = total[i] / count


@_compiled
def least(source: Flat, target: Flat, walk: Walk, worst: Any, flip: Any) -> None:
    """Take the least of integers; ``worst`` is the greatest of the type."""
    rows, cells, inner, step, n = _rows(walk)
    kind = target.dtype.type
    for r in range(len(rows)):
        best = target[cells[r] : cells[r] + n]
        best[:] = worst
        for offset in inner:
            row = source[rows[r] + offset : rows[r] + offset + n * step]
            for j in range(step):
                for i in range(n):
                    best[i] = min(best[i], kind(row[i * step + j] ^ flip))
        for i in range(n):
            best[i] ^= flip


@_compiled
def least_float(source: Flat, target: Flat, walk: Walk, sign: Any) -> None:
    """Take the first of the least floats, or of the greatest if ``sign`` is -1; NaN never wins."""
    rows, cells, inner, step, n = _rows(walk)
    for r in range(len(rows)):
        best = target[cells[r] : cells[r] + n]
        best[:] = np.inf
        for offset in inner:
            row = source[rows[r] + offset : rows[r] + offset + n * step]
            for j in range(step):
                for i in range(n):
                    value = row[i * step + j] * sign
                    best[i] = value if value < best[i] else best[i]
        for i in range(n):
            best[i] *= sign


@_compiled
def _sort(buffer: Flat) -> None:
    """Sort in place: by insertion if short, else by heap, which no input can make slow."""
    size = len(buffer)
    if size <= 32:
        for i in range(1, size):
            value, k = buffer[i], i
            while k > 0 and buffer[k - 1] > value:
                buffer[k] = buffer[k - 1]
                k -= 1
            buffer[k] = value
        return
    for turn in range(size + size // 2 - 1, 0, -1):
        if turn >= size:
            root, end = turn - size, size
        else:
            root, end = 0, turn
            buffer[0], buffer[end] = buffer[end], buffer[0]
        while 2 * root + 1 < end:
            child = 2 * root + 1
            if child + 1 < end and buffer[child + 1] > buffer[child]:
                child += 1
            if buffer[child] <= buffer[root]:
                break
            buffer[root], buffer[child] = buffer[child], buffer[root]
            root = child


@_compiled
def _gather(buffer: Flat, source: Flat, inner: Flat, step: int, flip: Any) -> bool:
    """Fill the buffer with the voxels of a cell; tell whether they are all equal."""
    first, same, k = source[0] ^ flip, True, 0
    for offset in inner:
        for j in range(step):
            buffer[k] = source[offset + j] ^ flip
            same &= buffer[k] == first
            k += 1
    return same


@_compiled
def _commonest(ordered: Flat) -> Any:
    best, most, start = ordered[0], 0, 0
    for i in range(1, len(ordered) + 1):
        if i == len(ordered) or ordered[i] != ordered[start]:
            if i - start > most:
                best, most = ordered[start], i - start
            start = i
    return best


@_compiled
def ranked(source: Flat, target: Flat, walk: Walk, flip: Any, mode: bool) -> None:
    """Take the mode, or the lower median, of each cell."""
    rows, cells, inner, step, n = _rows(walk)
    buffer = np.empty(len(inner) * step, source.dtype)
    middle = (len(buffer) - 1) // 2
    for r in range(len(rows)):
        for i in range(n):
            at = rows[r] + i * step
            if _gather(buffer, source[at:], inner, step, flip):
                target[cells[r] + i] = source[at]
                continue
            _sort(buffer)
            target[cells[r] + i] = (_commonest(buffer) if mode else buffer[middle]) ^ flip


@_compiled
def sorted_4(v: tuple[Any, ...], flip: Any) -> tuple[Any, ...]:
    """Return four voxels in order, as unsigned integers; without branches, so that several cells are done at once."""
    a, b, c, d = v[0] ^ flip, v[1] ^ flip, v[2] ^ flip, v[3] ^ flip
    a, b, c, d = min(a, b), max(a, b), min(c, d), max(c, d)
    a, b, c, d = min(a, c), max(a, c), min(b, d), max(b, d)
    return a, min(b, c), max(b, c), d


@_compiled
def sorted_8(v: tuple[Any, ...], w: tuple[Any, ...], flip: Any) -> tuple[Any, ...]:
    """Do `sorted_4` for twice four voxels, by Batcher's odd-even merge sort."""
    a, b, c, d = v[0] ^ flip, v[1] ^ flip, v[2] ^ flip, v[3] ^ flip
    e, f, g, h = w[0] ^ flip, w[1] ^ flip, w[2] ^ flip, w[3] ^ flip
    a, b, c, d = min(a, b), max(a, b), min(c, d), max(c, d)
    e, f, g, h = min(e, f), max(e, f), min(g, h), max(g, h)
    a, c, b, d = min(a, c), max(a, c), min(b, d), max(b, d)
    e, g, f, h = min(e, g), max(e, g), min(f, h), max(f, h)
    b, c, f, g = min(b, c), max(b, c), min(f, g), max(f, g)
    a, e, b, f = min(a, e), max(a, e), min(b, f), max(b, f)
    c, g, d, h = min(c, g), max(c, g), min(d, h), max(d, h)
    c, e, d, f = min(c, e), max(c, e), min(d, f), max(d, f)
    b, c, d, e, f, g = min(b, c), max(b, c), min(d, e), max(d, e), min(f, g), max(f, g)
    return a, b, c, d, e, f, g, h


@_compiled
def ranked_4(source: Flat, target: Flat, walk: Walk, flip: Any, mode: bool) -> None:
    """Do `ranked` for cells of two by two voxels, without branches, so that several are done at once."""
    rows, cells, inner, _, n = _rows(walk)
    for r in range(len(rows)):
        p, q = source[rows[r] :][: 2 * n], source[rows[r] + inner[1] :][: 2 * n]
        row = target[cells[r] :][:n]
        for i in range(n):
            a, b, c, d = sorted_4((p[2 * i], p[2 * i + 1], q[2 * i], q[2 * i + 1]), flip)
            if mode:
                best = c if c == d else a
                best = b if b == c else best
                row[i] = (a if a == b else best) ^ flip
            else:
                row[i] = b ^ flip


@_compiled
def ranked_8(source: Flat, target: Flat, walk: Walk, flip: Any, mode: bool) -> None:
    """Do `ranked` for cells of two by two by two voxels, by Batcher's odd-even merge sort."""
    rows, cells, inner, _, n = _rows(walk)
    for r in range(len(rows)):
        at = rows[r]
        p, q = source[at:][: 2 * n], source[at + inner[1] :][: 2 * n]
        s, t = source[at + inner[2] :][: 2 * n], source[at + inner[3] :][: 2 * n]
        row = target[cells[r] :][:n]
        for i in range(n):
            left = (p[2 * i], p[2 * i + 1], q[2 * i], q[2 * i + 1])
            right = (s[2 * i], s[2 * i + 1], t[2 * i], t[2 * i + 1])
            v = sorted_8(left, right, flip)
            row[i] = (_longest_run(v) if mode else v[3]) ^ flip


@_compiled
def _longest_run(v: tuple[Any, ...]) -> Any:
    """Return the first of the longest runs of equal values in eight sorted ones."""
    best = v[0]
    for length in range(1, 8):
        for start in range(7 - length, -1, -1):
            best = v[start] if v[start] == v[start + length] else best
    return best
