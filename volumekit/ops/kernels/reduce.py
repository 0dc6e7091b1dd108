"""Methods that look at one cell at a time: everything but ``gaussian``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit import compiled
from volumekit.ops.kernels import keys, layout, plain

Kernel = Callable[[layout.Task], None]


def kernels() -> Mapping[str, Kernel]:
    """Return the kernels by method: compiled ones if numba may be used, else their NumPy twins."""
    if compiled.available():
        from volumekit.ops.kernels import calls

        return calls.KERNELS
    return plain.KERNELS


def downsample(
    array: NDArray[Any],
    factor: Sequence[int],
    *,
    method: str,
    origin: Sequence[int],
    out: NDArray[Any] | None,
    threads: int,
) -> NDArray[Any]:
    """Reduce each cell of an array to one voxel: `volumekit.ops.kernels.downsample` but for ``gaussian``."""
    source, step = layout.four_axes(array), layout.positive(factor, "factor")
    start, pool = layout.whole(origin, "origin"), layout.workers(threads)
    order = layout.memory_order(source)
    axes = [layout.segments(o, n, f) for o, n, f in zip((*start, 0), source.shape, (*step, 1), strict=True)]
    target = layout.result(np.asarray(array), [layout.count(axis) for axis in axes[:3]], order, out)
    wide = target if target.ndim == 4 else target[..., np.newaxis]
    coded, decode = _code(source, method)
    store = wide if coded.dtype == wide.dtype else layout.new(wide.shape, coded.dtype, order)
    work = layout.tasks(coded, store, axes, order)
    layout.run(kernels()[method], [part for task in work for part in layout.split(task, pool)], pool)
    if store is not wide:
        wide[...] = decode(store)
    return target


def _code(source: NDArray[Any], method: str) -> tuple[NDArray[Any], Callable[[NDArray[Any]], NDArray[Any]]]:
    """Return an array in a type the kernels know, and the way back for their result."""
    if source.dtype.kind == "f" and method in ("mode", "median", "sparse_mode"):
        return keys.from_floats(source), keys.to_floats
    if source.dtype == np.float16 and method != "nearest":
        return source.astype(np.float32), lambda store: store.astype(np.float16)
    return source, lambda store: store
