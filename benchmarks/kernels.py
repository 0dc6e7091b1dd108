"""Downsampling against tinybrain, one thread each, on Fortran-ordered arrays.

``python -m benchmarks.kernels`` prints a table; `run` returns its rows.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.ops.kernels import downsample

SHAPE, TINY = (512, 512, 64), (32, 32, 8)
FACTORS = ((2, 2, 1), (2, 2, 2))


def image(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Make noise, (x, y, z)."""
    return np.asfortranarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


def segmentation(shape: tuple[int, int, int]) -> NDArray[np.uint64]:
    """Make ragged blocks of 64-bit labels, (x, y, z): most cells hold one label, borders several."""
    rng = np.random.default_rng(1)
    labels = rng.integers(1, 2**60, [n // 8 + 1 for n in shape], np.uint64)
    ragged = [(np.arange(n) + rng.integers(0, 3, n)).clip(max=n - 1) // 8 for n in shape]
    return np.asfortranarray(labels[np.ix_(*ragged)])


def noise(shape: tuple[int, int, int]) -> NDArray[np.uint64]:
    """Make three 64-bit labels at random, (x, y, z): every cell is a border."""
    return np.asfortranarray(np.random.default_rng(2).integers(1, 4, shape, np.uint64))


def sparse_image(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Make noise, (x, y, z), of which half is zero."""
    array = image(shape)
    array[np.random.default_rng(3).random(shape) < 0.5] = 0
    return array


def sparse_segmentation(shape: tuple[int, int, int]) -> NDArray[np.uint64]:
    """Make the ragged blocks, (x, y, z), of which half are background, with holes in the others."""
    array = segmentation(shape)
    array[(array % 2 == 0) | (np.random.default_rng(4).random(shape) < 0.1)] = 0
    return array


def peer(method: str) -> Callable[..., Any] | None:
    """Return tinybrain's function for a method, or None where it is not installed."""
    try:
        import tinybrain
    except ImportError:
        return None
    kind = method.removeprefix("sparse_")
    name = {"mean": "downsample_with_averaging", "mode": "downsample_segmentation"}[kind]
    return functools.partial(getattr(tinybrain, name), sparse=method != kind)


ARRAYS: tuple[tuple[str, str, Callable[[tuple[int, int, int]], NDArray[Any]]], ...] = (
    ("mean", "uint8 noise", image),
    ("mode", "uint64 blocks", segmentation),
    ("mode", "uint64 noise", noise),
    ("sparse_mean", "uint8 noise", sparse_image),
    ("sparse_mode", "uint64 blocks", sparse_segmentation),
)
"""Method, name and maker of what is reduced."""


def medians(calls: list[Callable[[], Any]], times: int) -> list[float]:
    """Return the median seconds of each call, taking turns; one more turn goes first to warm up."""
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(times + 1):
        for taken, call in zip(seconds, calls, strict=True):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken[1:]) for taken in seconds]


def measure(array: NDArray[Any], method: str, factor: tuple[int, int, int], times: int) -> tuple[float, float | None]:
    """Return our seconds and the peer's."""
    calls: list[Callable[[], Any]] = [lambda: downsample(array, factor, method=method)]
    other = peer(method)
    if other is not None:
        calls.append(lambda: other(array, factor=factor, num_mips=1))
    ours, *theirs = medians(calls, times)
    return ours, theirs[0] if theirs else None


def run(tiny: bool = False) -> list[dict[str, Any]]:
    """Measure all cases.

    Parameters
    ----------
    tiny : bool
        Run each case once, on tiny arrays.

    Returns
    -------
    list of dict
        ``name``, ``ours`` and ``peer`` in seconds, ``ratio`` = ours / peer; the last two None without tinybrain.
    """
    shape, times = (TINY, 1) if tiny else (SHAPE, 25)
    rows = []
    for method, kind, make in ARRAYS:
        array = make(shape)
        for factor in FACTORS:
            ours, theirs = measure(array, method, factor, times)
            name = f"{method} {'x'.join(map(str, factor))} {kind}"
            rows.append({"name": name, "ours": ours, "peer": theirs, "ratio": theirs and ours / theirs})
    return rows


def main() -> None:
    """Print the table."""
    print(f"{'downsampling ' + 'x'.join(map(str, SHAPE)):36} {'ours ms':>9} {'tinybrain ms':>13} {'ratio':>6}")
    for row in run():
        theirs = "-" if row["peer"] is None else f"{row['peer'] * 1e3:.2f}"
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
        print(f"{row['name']:36} {row['ours'] * 1e3:9.2f} {theirs:>13} {ratio:>6}")


if __name__ == "__main__":
    main()
