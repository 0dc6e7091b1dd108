"""The compiled kernels of ``sparse_mean`` and ``sparse_mode``: zero is no value, only the lack of one; see `jit`."""

from __future__ import annotations

from typing import Any

import numpy as np

from volumekit.ops.kernels.jit import Flat, Walk, _commonest, _compiled, _rows, _sort, sorted_4, sorted_8


@_compiled
def mean(source: Flat, target: Flat, walk: Walk, total: Flat, counts: Flat, flip: Any) -> None:
    """Average what is not zero of integers; ``total`` and ``counts`` are rows of unsigned 64-bit sums."""
    rows, cells, inner, step, n = _rows(walk)
    nothing, one = source.dtype.type(0), np.uint64(1)
    for r in range(len(rows)):
        total[:] = 0
        counts[:] = 0
        for offset in inner:
            row = source[rows[r] + offset : rows[r] + offset + n * step]
            for i in range(n):
                for j in range(step):
                    value = row[i * step + j]
                    total[i] += np.uint64(value ^ flip) if value != nothing else np.uint64(0)
                    counts[i] += np.uint64(value != nothing)
        row = target[cells[r] : cells[r] + n]
        for i in range(n):
            count = max(counts[i], one)
            quotient = total[i] // count
            rest = (total[i] - quotient * count) << one
            up = (rest > count) | ((rest == count) & (quotient & one == one))
            row[i] = (quotient + np.uint64(up)) ^ np.uint64(flip) if counts[i] else np.uint64(0)


@_compiled
def mean_pairs(source: Flat, target: Flat, walk: Walk, flip: Any, magic: Any) -> None:
    """Do `mean` for cells of two or four rows of two voxels of at most 32 bits, without rows of sums.

    Adding ``magic`` to a float and taking it away again rounds half to even: it is 1.5 * 2**23 or 1.5 * 2**52, of a
    type whose quotients of eight voxels are never rounded across a half.
    """
    rows, cells, inner, _, n = _rows(walk)
    none = type(magic)(0)
    for r in range(len(rows)):
        row = target[cells[r] : cells[r] + n]
        at = rows[r]
        p, q = source[at:][: 2 * n], source[at + inner[1] :][: 2 * n]
        if len(inner) == 2:
            for i in range(n):
                v, k = _pair(p[2 * i], p[2 * i + 1], flip, none)
                w, m = _pair(q[2 * i], q[2 * i + 1], flip, none)
                row[i] = _quotient(v + w, k + m, flip, magic)
        else:
            s, t = source[at + inner[2] :][: 2 * n], source[at + inner[3] :][: 2 * n]
            for i in range(n):
                v, k = _pair(p[2 * i], p[2 * i + 1], flip, none)
                w, m = _pair(q[2 * i], q[2 * i + 1], flip, none)
                x, g = _pair(s[2 * i], s[2 * i + 1], flip, none)
                y, h = _pair(t[2 * i], t[2 * i + 1], flip, none)
                row[i] = _quotient((v + w) + (x + y), (k + m) + (g + h), flip, magic)


@_compiled
def _pair(a: Any, b: Any, flip: Any, none: Any) -> Any:
    """Return sum and number of those of two voxels that are not zero, as floats of the type of ``none``."""
    real, zero = type(none), type(flip)(0)
    total = (real(a ^ flip) if a != zero else none) + (real(b ^ flip) if b != zero else none)
    return total, (real(1) if a != zero else none) + (real(1) if b != zero else none)


@_compiled
def _quotient(total: Any, count: Any, flip: Any, magic: Any) -> Any:
    real, kind = type(magic), type(flip)
    value = kind(np.int64((total / max(count, real(1)) + magic) - magic)) ^ flip
    return value if count > real(0) else kind(0)


@_compiled
def mean_64(source: Flat, target: Flat, walk: Walk, sums: Flat, flip: Any) -> None:
    """Do `mean` where sums need 96 bits: ``sums`` holds those of upper, then of lower halves, then counts."""
    rows, cells, inner, step, n = _rows(walk)
    mask, digit, one, none = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(1), np.uint64(0)
    high, low, counts = sums[:n], sums[n : 2 * n], sums[2 * n :]
    for r in range(len(rows)):
        sums[:] = 0
        for offset in inner:
            row = source[rows[r] + offset : rows[r] + offset + n * step]
            for i in range(n):
                for j in range(step):
                    value = row[i * step + j]
                    if value != none:
                        high[i] += (value ^ flip) >> digit
                        low[i] += (value ^ flip) & mask
                        counts[i] += one
        row = target[cells[r] : cells[r] + n]
        for i in range(n):
            count = max(counts[i], one)
            upper = high[i] + (low[i] >> digit)
            rest = ((upper % count) << digit) | (low[i] & mask)
            quotient = ((upper // count) << digit) + rest // count
            rest = (rest % count) << one
            up = (rest > count) | ((rest == count) & (quotient & one == one))
            row[i] = (quotient + np.uint64(up)) ^ flip if counts[i] else none


@_compiled
def mean_float(source: Flat, target: Flat, walk: Walk, total: Flat, counts: Flat) -> None:
    """Average what is not zero of floats, added one after the other in memory order."""
    rows, cells, inner, step, n = _rows(walk)
    nothing, one = total.dtype.type(0), total.dtype.type(1)
    for r in range(len(rows)):
        total[:] = 0
        counts[:] = 0
        for offset in inner:
            row = source[rows[r] + offset : rows[r] + offset + n * step]
            for i in range(n):
                for j in range(step):
                    total[i] += row[i * step + j]
                    counts[i] += one if row[i * step + j] != nothing else nothing
        row = target[cells[r] : cells[r] + n]
        for i in range(n):
            row[i] = total[i] / max(counts[i], one)


@_compiled
def mode(source: Flat, target: Flat, walk: Walk, flip: Any) -> None:
    """Take the most frequent of what is not zero in each cell."""
    rows, cells, inner, step, n = _rows(walk)
    buffer, nothing = np.empty(len(inner) * step, source.dtype), source.dtype.type(0)
    for r in range(len(rows)):
        for i in range(n):
            at, k, same = rows[r] + i * step, 0, True
            for offset in inner:
                for j in range(step):
                    value = source[at + offset + j]
                    if value != nothing:
                        buffer[k] = value ^ flip
                        same &= buffer[k] == buffer[0]
                        k += 1
            if k == 0:
                target[cells[r] + i] = nothing
                continue
            if not same:
                _sort(buffer[:k])
            target[cells[r] + i] = (buffer[0] if same else _commonest(buffer[:k])) ^ flip


@_compiled
def mode_4(source: Flat, target: Flat, walk: Walk, flip: Any) -> None:
    """Do `mode` for cells of two by two voxels, without branches, so that several are done at once."""
    rows, cells, inner, _, n = _rows(walk)
    for r in range(len(rows)):
        p, q = source[rows[r] :][: 2 * n], source[rows[r] + inner[1] :][: 2 * n]
        row = target[cells[r] :][:n]
        for i in range(n):
            a, b, c, d = sorted_4((p[2 * i], p[2 * i + 1], q[2 * i], q[2 * i + 1]), flip)
            row[i] = _longest_run_4(a, b, c, d, flip) ^ flip


@_compiled
def mode_8(source: Flat, target: Flat, walk: Walk, flip: Any) -> None:
    """Do `mode` for cells of two by two by two voxels, by Batcher's odd-even merge sort."""
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
            row[i] = _longest_run_8(v, flip) ^ flip


@_compiled
def _longest_run_4(a: Any, b: Any, c: Any, d: Any, nothing: Any) -> Any:
    """Return the first of the longest runs of four sorted values, ``nothing`` only if there is nothing else."""
    best = d
    best = c if c != nothing else best
    best = b if b != nothing else best
    best = a if a != nothing else best
    best = c if (c == d) & (c != nothing) else best
    best = b if (b == c) & (b != nothing) else best
    best = a if (a == b) & (a != nothing) else best
    best = b if (b == d) & (b != nothing) else best
    return a if (a == c) & (a != nothing) else best


@_compiled
def _longest_run_8(v: tuple[Any, ...], nothing: Any) -> Any:
    """Do `_longest_run_4` for eight sorted values."""
    kind = type(nothing)
    best, most, run, before = nothing, kind(0), kind(0), v[0]
    for value in v:
        run = kind(run + kind(1)) if value == before else kind(1)
        run = run if value != nothing else kind(0)
        best, most, before = (value if run > most else best), max(run, most), value
    return best
