"""The method ``gaussian``: smooth, then average cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import AlignmentError, OptionError
from volumekit.ops.kernels import GAUSSIAN_RADIUS, layout
from volumekit.ops.kernels.reduce import kernels

_MAX_FACTOR = 64
_SIGMA = 0.5
_TAPS = [math.exp(-0.5 / _SIGMA**2 * k * k) for k in range(GAUSSIAN_RADIUS + 1)]
_WEIGHTS = [tap / (_TAPS[0] + 2 * sum(_TAPS[1:])) for tap in _TAPS]
_SLAB = 1 << 19
"""Voxels filtered at once, so that float64 copies stay small."""


def downsample(
    array: NDArray[Any],
    factor: Sequence[int],
    *,
    origin: Sequence[int],
    halo: Sequence[tuple[int, int]],
    out: NDArray[Any] | None,
    threads: int,
) -> NDArray[Any]:
    """Smooth and reduce: see `volumekit.ops.kernels.downsample_gaussian`."""
    source, step = layout.four_axes(array), layout.positive(factor, "factor")
    if max(step) > _MAX_FACTOR:
        raise OptionError(f"a Gaussian takes factors up to {_MAX_FACTOR}, not {step}")
    start = layout.whole(origin, "origin")
    order = layout.memory_order(source)
    indices = [_indices(*axis) for axis in zip(start, source.shape, step, _checked(halo), strict=False)]
    target = layout.result(np.asarray(array), [_cells(i, f) for i, f in zip(indices, step)], order, out)
    wide = target if target.ndim == 4 else target[..., np.newaxis]
    ...
    return target
