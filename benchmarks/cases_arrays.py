"""Volumes as the arrays of other libraries, beside reading them directly."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bars import Bar, at_most
from benchmarks.data import CSEG, Data
from benchmarks.harness import Case, Contest, timed
from benchmarks.ours import OURS
from volumekit import Volume, from_dask

DIRECT = "direct"

Call = Callable[[Any], Any]


def cases() -> Iterator[Case]:
    """Yield a case per library and direction."""
    large, cseg = "512^3 uint8 raw 64^3", "cseg uint64 64^3"
    yield Case(f"dask, read {large}", lambda data: read(data.large, as_dask, (at_most(1.30, DIRECT),)))
    yield Case(f"dask, read {cseg}", lambda data: read(data.dataset(CSEG), as_dask, (at_most(1.30, DIRECT),)))
    yield Case(f"dask, sum {large}", lambda data: read(data.large, dask_sum, (at_most(1.30, DIRECT),), direct_sum))
    yield Case(f"zarr store, read {large}", lambda data: read(data.large, as_zarr))
    yield Case(f"xarray, read {large}", lambda data: read(data.large, as_xarray))
    yield Case(f"dask, write {large}", write)


def directly(volume: Volume) -> Any:
    """Read without another library."""
    return volume[:]


def direct_sum(volume: Volume) -> Any:
    """Read without another library, and add."""
    return np.asarray(volume[:]).sum(dtype=np.uint64)


def as_dask(volume: Volume) -> Any:
    """Read through dask's threads."""
    return volume.to_dask().compute(scheduler="threads")


def dask_sum(volume: Volume) -> Any:
    """Read and add in dask's threads."""
    return volume.to_dask().sum(dtype=np.uint64).compute(scheduler="threads")


def as_xarray(volume: Volume) -> Any:
    """Read through xarray, without dask."""
    return volume.to_xarray(chunks=None).values


def as_zarr(volume: Volume) -> Any:
    """Read through zarr-python."""
    import zarr

    return zarr.open(volume.to_zarr_store())[:].T[..., np.newaxis]


def read(path: Path, ours: Call, bars: tuple[Bar, ...] = (), direct: Call = directly) -> Contest:
    """Read a whole volume, with its graph, store or coordinates made anew each time."""
    volume = Volume(path, progress=False)

    def check() -> None:
        assert np.array_equal(ours(volume), direct(volume)), "other voxels"

    samples = {OURS: timed(ours, lambda _: volume), DIRECT: timed(direct, lambda _: volume)}
    return Contest(samples, check, bars)


def write(data: Data) -> Contest:
    """Write a whole volume from blocks in memory, in dask's threads; directly from one array."""
    import dask.array as da

    array = np.asarray(Volume(data.large, progress=False)[:])
    layout: dict[str, Any] = {"chunk_size": (64, 64, 64), "progress": False}
    blocks = da.from_array(array, chunks=(array.shape[0], array.shape[1], 64, 1), name="blocks")
    store = functools.partial(from_dask, blocks, **layout)
    directly = functools.partial(Volume.from_numpy, array, **layout)

    def check() -> None:
        for write in (store, directly):
            assert np.array_equal(write(data.empty())[:], array), "other voxels"

    given = lambda _: data.empty()  # noqa: E731
    return Contest({OURS: timed(store, given), DIRECT: timed(directly, given)}, check)
