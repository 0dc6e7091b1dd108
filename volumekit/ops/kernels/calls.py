"""Calls of the compiled kernels: flat memory, unsigned types, the right kernel for a cell's shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from volumekit.ops.kernels import jit, jit_sparse, plain
from volumekit.ops.kernels.layout import Four, Task, sum_type

_PAIRS = ((2, 2, 1, 1), (2, 2, 2, 1))
"""Cells with kernels of their own."""


def _regular(array: NDArray[Any]) -> bool:
    """Tell whether rows along the first axis are contiguous and all voxels lie behind the first one."""
    steps = [s for n, s in zip(array.shape, array.strides, strict=True) if n > 1]
    rows = array.shape[0] == 1 or array.strides[0] == array.itemsize
    return rows and array.flags.aligned and all(s > 0 and s % array.itemsize == 0 for s in steps)


def _flat(array: NDArray[Any], *, writeable: bool) -> NDArray[Any]:
    """Return the memory from the first to the last voxel of a `_regular` array, integers as unsigned."""
    if array.flags.f_contiguous:
        memory = array.reshape(-1, order="F")
    else:
        last = sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True))
        memory = as_strided(array, (last // array.itemsize + 1,), (array.itemsize,))
    if not writeable:
        memory.flags.writeable = False
    return memory if array.dtype.kind == "f" else memory.view(f"u{array.itemsize}")


def _voxels(array: NDArray[Any]) -> Four:
    """Return the strides of an array, counted in voxels."""
    a, b, c, d = array.strides
    size = array.itemsize
    return a // size, b // size, c // size, d // size


def _call(kernel: Callable[..., None], task: Task, *extra: Any) -> None:
    """Call a kernel on a task, through copies where the rows of an array are not contiguous."""
    source = task.source if _regular(task.source) else task.source.copy(order="F")
    target = task.target if _regular(task.target) else np.empty_like(task.target, order="F")
    walk = (target.shape, task.step, _voxels(source), _voxels(target))
    # Never writeable, so that read-only arrays need no compilation of their own.
    memory = _flat(source, writeable=False)
    kernel(memory, _flat(target, writeable=True), walk, *extra)
    if target is not task.target:
        task.target[...] = target


def _flip(dtype: np.dtype[Any]) -> Any:
    """Return what turns integers into unsigned ones that sort alike."""
    kind = np.dtype(f"u{dtype.itemsize}").type
    return kind(1 << (8 * dtype.itemsize - 1)) if dtype.kind == "i" else kind(0)


def _mean(task: Task) -> None:
    dtype, n, count = task.source.dtype, task.target.shape[0], math.prod(task.step)
    if dtype.kind == "f":
        return _call(jit.mean_float, task, np.empty(n, sum_type(dtype, count)))
    if dtype.itemsize == 8:
        return _call(jit.mean_64, task, np.empty(2 * n, np.uint64), _flip(dtype))
    fits = count <= 1 << 8 * dtype.itemsize
    total = np.empty(n, f"u{2 * dtype.itemsize}" if fits else np.uint64)
    kernel = jit.mean_pairs if task.step in _PAIRS else jit.mean
    return _call(kernel, task, total, _flip(dtype))


def _mode(task: Task) -> None:
    _ranked(task, mode=True)


def _median(task: Task) -> None:
    _ranked(task, mode=False)


def _ranked(task: Task, *, mode: bool) -> None:
    flip = _flip(task.source.dtype)
    if task.step in _PAIRS:
        return _call(jit.ranked_4 if task.step == _PAIRS[0] else jit.ranked_8, task, flip, mode)
    return _call(jit.ranked, task, flip, mode)


def _sparse_mean(task: Task) -> None:
    dtype, n = task.source.dtype, task.target.shape[0]
    if dtype.kind == "f":
        wide = sum_type(dtype, math.prod(task.step))
        return _call(jit_sparse.mean_float, task, np.empty(n, wide), np.empty(n, wide))
    if dtype.itemsize == 8:
        return _call(jit_sparse.mean_64, task, np.empty(3 * n, np.uint64), _flip(dtype))
    if task.step in _PAIRS:
        magic = np.float32(1.5 * 2**23) if dtype.itemsize < 4 else np.float64(1.5 * 2**52)
        return _call(jit_sparse.mean_pairs, task, _flip(dtype), magic)
    return _call(jit_sparse.mean, task, np.empty(n, np.uint64), np.empty(n, np.uint64), _flip(dtype))


def _sparse_mode(task: Task) -> None:
    kernel = jit_sparse.mode
    if task.step in _PAIRS:
        kernel = jit_sparse.mode_4 if task.step == _PAIRS[0] else jit_sparse.mode_8
    _call(kernel, task, _flip(task.source.dtype))


def _min(task: Task) -> None:
    _extreme(task, greatest=False)


def _max(task: Task) -> None:
    _extreme(task, greatest=True)


def _extreme(task: Task, *, greatest: bool) -> None:
    dtype = task.source.dtype
    if dtype.kind == "f":
        return _call(jit.least_float, task, dtype.type(-1 if greatest else 1))
    worst = ~np.zeros((), f"u{dtype.itemsize}")[()]
    flip = _flip(dtype) ^ worst if greatest else _flip(dtype)
    return _call(jit.least, task, worst, flip)


KERNELS: dict[str, Callable[[Task], None]] = {
    "mean": _mean,
    "mode": _mode,
    "median": _median,
    "min": _min,
    "max": _max,
    "nearest": plain.nearest,
    "sparse_mean": _sparse_mean,
    "sparse_mode": _sparse_mode,
}
