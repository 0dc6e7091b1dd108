"""zarr arrays beside TensorStore and zarr-python, without and with the zarrs pipeline."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.bars import Bar, at_most
from benchmarks.data import Data, whole
from benchmarks.harness import Case, Contest, Sample, timed
from benchmarks.ours import TENSORSTORE
from benchmarks.peers import Box
from benchmarks.zarrays import PROGRAMS, ZARR, ZARRS, Kind, VolumekitArray, ZarrArray, create, present

BLOSC = Kind("zarr2 blosc", 2, "blosc:lz4:5")
SHARDED = Kind("zarr3 shards zstd", 3, "zstd:3", shard=256)
LABELS = Kind("zarr3 shards zstd u64", 3, "zstd:3", shard=256, labels=True)
KINDS = (BLOSC, SHARDED, LABELS)


def cases() -> Iterator[Case]:
    """Yield a case per kind of array and way of using it."""
    for kind in KINDS:
        yield Case(f"read all, {kind.name}", functools.partial(read_all, kind))
        yield Case(f"read random 64^3, {kind.name}", functools.partial(read_random, kind))
        yield Case(f"write all, {kind.name}", functools.partial(write_all, kind))


def voxels_of(kind: Kind, data: Data) -> NDArray[np.generic]:
    """Return the voxels of an array, (z, y, x), C order."""
    return np.asarray(data.labels if kind.labels else data.image).T


def _bars() -> tuple[Bar, ...]:
    return at_most(1.10, TENSORSTORE), at_most(1.00, ZARR), at_most(1.00, ZARRS)


def _contest(
    make: Callable[[type[ZarrArray]], Sample], check: Callable[[], None], bars: tuple[Bar, ...], calls: int = 1
) -> Contest:
    samples = {name: make(program) if present(name) else None for name, program in PROGRAMS.items()}
    return Contest(samples, check, bars, calls=calls)


def _read(kind: Kind, data: Data, boxes: Callable[[int], Box], calls: int) -> Contest:
    path, voxels = data.empty(), voxels_of(kind, data)
    create(path, voxels.T, kind)
    opened = {program: program(path) for name, program in PROGRAMS.items() if present(name)}
    VolumekitArray(path).write(whole(voxels.T.shape), voxels)

    def check() -> None:
        for number in range(2):
            box = boxes(number)
            for program, array in opened.items():
                assert np.array_equal(array.read(box), voxels[box[::-1]]), f"{program.__name__} read other voxels"

    return _contest(lambda program: timed(opened[program].read, boxes), check, _bars(), calls)


def read_all(kind: Kind, data: Data) -> Contest:
    """Read a whole array in one go."""
    box = whole(voxels_of(kind, data).T.shape)
    return _read(kind, data, lambda _: box, 1)


def read_random(kind: Kind, data: Data) -> Contest:
    """Read small boxes off the chunk grid."""
    shape = (*voxels_of(kind, data).T.shape,)
    return _read(kind, data, lambda number: data.box(number, shape), data.extent.calls)


def write_all(kind: Kind, data: Data) -> Contest:
    """Write a whole array where nothing is yet, each time into a new folder."""
    voxels = voxels_of(kind, data)
    box = whole(voxels.T.shape)
    paths: dict[type[ZarrArray], Path] = {}

    def given(program: type[ZarrArray]) -> ZarrArray:
        if program in paths:
            data.put_away(paths[program])
        paths[program] = data.empty()
        create(paths[program], voxels.T, kind)
        return program(paths[program])

    def check() -> None:
        for name, program in PROGRAMS.items():
            if present(name):
                given(program).write(box, voxels)
                read = VolumekitArray(paths[program]).read(box)
                assert np.array_equal(read, voxels), f"{name} wrote other voxels"

    def contestant(program: type[ZarrArray]) -> Sample:
        return timed(lambda array: array.write(box, voxels), lambda _: given(program))

    return _contest(contestant, check, _bars())
