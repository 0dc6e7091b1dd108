"""Downsampling against tinybrain, on the arrays of `benchmarks.kernels`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import kernels
from benchmarks.bars import at_most
from benchmarks.data import TINY, Data
from benchmarks.harness import Case, Contest, Sample, timed
from benchmarks.ours import OURS, TINYBRAIN
from volumekit.ops.kernels import downsample

Make = Callable[[Any], NDArray[Any]]


def cases() -> Iterator[Case]:
    """Yield a case per method and factor."""
    for method, kind, make in kernels.ARRAYS:
        for factor in kernels.FACTORS:
            name = f"downsample {method.replace('_', ' ')} {'x'.join(map(str, factor))}, {kind}"
            yield Case(name, functools.partial(one_level, method, make, factor))


def one_level(method: str, make: Make, factor: tuple[int, int, int], data: Data) -> Contest:
    """Compute one coarser level of an array in memory."""
    array = make(kernels.TINY if data.extent is TINY else kernels.SHAPE)
    peer = kernels.peer(method)

    def ours(array: NDArray[Any]) -> NDArray[Any]:
        coarser: NDArray[Any] = downsample(array, factor, method=method)
        return coarser

    def theirs(array: NDArray[Any]) -> NDArray[Any]:
        assert peer is not None
        coarser: NDArray[Any] = peer(array, factor=factor, num_mips=1)[0]
        return coarser

    def check() -> None:
        if peer is not None:
            small = make(kernels.TINY)
            check_alike(method, small, factor, ours(small), theirs(small))

    def contestant(call: Callable[[NDArray[Any]], Any]) -> Sample:
        return timed(call, lambda _: array)

    samples: dict[str, Sample | None] = {OURS: contestant(ours), TINYBRAIN: contestant(theirs) if peer else None}
    return Contest(samples, check, (at_most(1.0, TINYBRAIN),))


def check_alike(
    method: str, array: NDArray[Any], factor: tuple[int, int, int], ours: NDArray[Any], theirs: NDArray[Any]
) -> None:
    """Raise unless both do the same: tinybrain's mean rounds down, and its mode breaks ties another way.

    Of sparse ones both leave zeros alone where there are others, and only there.
    """
    assert ours.shape == theirs.shape, f"{ours.shape} and {theirs.shape}"
    if method.startswith("sparse_"):
        assert np.array_equal(ours == 0, theirs == 0), "zeros are elsewhere"
    if method.endswith("mean"):
        assert np.abs(ours.astype(np.int16) - theirs).max() <= 1, "the means differ by more than rounding"
        return
    cells = _cells(array, factor)
    votes = [(cells == modes[..., np.newaxis]).sum(axis=-1) for modes in (ours, theirs)]
    assert np.array_equal(*votes), "the modes differ by more than ties"


def _cells(array: NDArray[Any], factor: tuple[int, int, int]) -> NDArray[Any]:
    """Return the voxels of each cell along a last axis; the shape is a multiple of the factor."""
    (x, y, z), (a, b, c) = array.shape, factor
    split = array.reshape(x // a, a, y // b, b, z // c, c).transpose(0, 2, 4, 1, 3, 5)
    return split.reshape(x // a, y // b, z // c, a * b * c)
