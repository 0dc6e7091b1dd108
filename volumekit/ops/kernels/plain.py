"""The kernels in NumPy: the bits of the compiled ones, without numba."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from volumekit.ops.kernels.layout import Task, split, sum_type

_BATCH = 1 << 18
"""Voxels gathered at once: about what stays in the second-level cache."""

Cells = NDArray[Any]
"""(cell, voxel): the voxels of each cell in memory order."""


def _gathered(task: Task) -> Iterator[tuple[NDArray[Any], Cells]]:
    """Yield targets, slowest axis first, and their cells."""
    for part in _batches(task):
        source, n, f = part.source, part.target.shape, part.step
        strides = source.strides
        shape = (*reversed(n), *reversed(f))
        steps = (*(s * k for s, k in zip(reversed(strides), reversed(f), strict=True)), *reversed(strides))
        cells = as_strided(source, shape, steps, writeable=False).reshape(-1, math.prod(f))
        yield part.target.transpose(), cells


def _batches(task: Task) -> Iterator[Task]:
    pieces = -(-task.source.size // _BATCH)
    for part in split(task, min(pieces, max(task.target.shape))):
        if part.source.size > 2 * _BATCH and max(part.target.shape) > 1:
            yield from _batches(part)
        else:
            yield part


def _kernel(reduce: Callable[[Cells], NDArray[Any]]) -> Callable[[Task], None]:
    def kernel(task: Task) -> None:
        with np.errstate(all="ignore"):
            for target, cells in _gathered(task):
                target[...] = reduce(cells).reshape(target.shape)

    return kernel


def _mean(cells: Cells) -> NDArray[Any]:
    count = cells.shape[1]
    if cells.dtype.kind == "f":
        total = _total(cells)
        return np.asarray(total / total.dtype.type(count))
    if cells.itemsize == 8:
        return _mean_wide(cells, np.asarray(count))
    total = cells.sum(axis=1, dtype=np.int64)
    quotient, rest = np.divmod(total, count)
    return _half_even(quotient, rest, count)


def _sparse_mean(cells: Cells) -> NDArray[Any]:
    count = np.maximum(np.count_nonzero(cells, axis=1), 1)
    if cells.dtype.kind == "f":
        total = _total(cells)
        return np.asarray(total / count.astype(total.dtype))
    if cells.itemsize == 8:
        return _mean_wide(cells, count)
    quotient, rest = np.divmod(cells.sum(axis=1, dtype=np.int64), count)
    return _half_even(quotient, rest, count)


def _total(cells: Cells) -> NDArray[Any]:
    """Add floats strictly one after the other, which ``sum`` does not; + 0 because a sum starts at +0."""
    wide = sum_type(cells.dtype, cells.shape[1])
    return np.asarray(np.add.accumulate(cells, axis=1, dtype=wide)[:, -1] + wide.type(0))


def _mean_wide(cells: Cells, count: NDArray[Any]) -> NDArray[Any]:
    # A sum needs up to 96 bits: add the upper and the lower halves of all values, then divide digit by digit.
    high = (cells >> 32).sum(axis=1)
    low = (cells & 0xFFFFFFFF).sum(axis=1, dtype=np.uint64)
    high += (low >> 32).astype(high.dtype)
    upper, rest = np.divmod(high, count.astype(high.dtype))
    lower, rest = np.divmod((rest.astype(np.uint64) << 32) | (low & 0xFFFFFFFF), count.astype(np.uint64))
    quotient = (upper << 32) + lower.astype(upper.dtype)
    return _half_even(quotient, rest.astype(np.int64), count)


def _half_even(quotient: NDArray[Any], rest: NDArray[Any], count: int | NDArray[Any]) -> NDArray[Any]:
    up = (2 * rest > count) | ((2 * rest == count) & (quotient & 1 == 1))
    return np.asarray(quotient + up)


def _mode(cells: Cells, *, sparse: bool = False) -> NDArray[Any]:
    ordered = np.sort(cells, axis=1)
    change = np.ones(ordered.shape, bool)
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=change[:, 1:])
    runs = np.flatnonzero(change)
    length = np.diff(runs, append=ordered.size)
    if sparse:
        length[ordered.ravel()[runs] == 0] = 0
    cell = runs // cells.shape[1]
    most = np.maximum.reduceat(length, np.flatnonzero(np.diff(cell, prepend=-1)))
    # Backwards, so that the first of the longest runs, which has the smallest value, is written last.
    best = runs[length == most[cell]][::-1]
    out = np.empty(len(cells), cells.dtype)
    out[best // cells.shape[1]] = ordered.ravel()[best]
    return out


def _median(cells: Cells) -> NDArray[Any]:
    middle = (cells.shape[1] - 1) // 2
    return np.partition(cells, middle, axis=1)[:, middle]


def _min(cells: Cells) -> NDArray[Any]:
    if cells.dtype.kind != "f":
        return np.asarray(cells.min(axis=1))
    return _first(cells, np.argmin, np.inf)


def _max(cells: Cells) -> NDArray[Any]:
    if cells.dtype.kind != "f":
        return np.asarray(cells.max(axis=1))
    return _first(cells, np.argmax, -np.inf)


def _first(cells: Cells, find: Callable[..., Any], instead: float) -> NDArray[Any]:
    """Return the first extreme of each cell (zeros of both signs are equal), NaN ignored."""
    known = np.where(np.isnan(cells), cells.dtype.type(instead), cells)
    return np.take_along_axis(known, find(known, axis=1)[:, np.newaxis], axis=1)[:, 0]


def nearest(task: Task) -> None:
    """Take the first voxel of each cell."""
    task.target[...] = task.source[tuple(slice(None, None, step) for step in task.step)]


KERNELS: dict[str, Callable[[Task], None]] = {
    "mean": _kernel(_mean),
    "mode": _kernel(_mode),
    "median": _kernel(_median),
    "min": _kernel(_min),
    "max": _kernel(_max),
    "nearest": nearest,
    "sparse_mean": _kernel(_sparse_mean),
    "sparse_mode": _kernel(partial(_mode, sparse=True)),
}
