"""Single voxels, and the report of which chunks exist."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bars import at_most_itself
from benchmarks.cases_read import open_volumes
from benchmarks.data import CSEG, FULL, RAW, Data, Layout, Shape
from benchmarks.harness import Case, Contest, Sample, timed
from benchmarks.ours import CLOUDVOLUME, OURS, TENSORSTORE, contestants

POINTS = 1000
LEVEL, SMALL_LEVEL = (100, 50, 20), (5, 4, 3)
"""Chunks along x, y and z; the small one is for trying out."""


def cases() -> Iterator[Case]:
    """Yield one voxel, many voxels, and the report."""
    for layout in (RAW, CSEG):
        yield Case(f"read one voxel, {layout.name}", functools.partial(one_point, layout))
        yield Case(f"read {POINTS} voxels, {layout.name}", functools.partial(many_points, layout))
    yield Case(f"report of all chunks, {RAW.name}", report)
    yield Case("report of a level of 100,000 chunks", large_report)


def one_point(layout: Layout, data: Data) -> Contest:
    """Read one voxel, ``vol[x, y, z]``."""
    volumes, array = open_volumes(layout, data), data.array(layout)

    def given(number: int) -> tuple[int, int, int]:
        x, y, z = _random(number, array.shape, 1)[0].tolist()
        return x, y, z

    def contestant(name: str) -> Sample:
        return timed(volumes[name].point, given)

    def check() -> None:
        for name, volume in volumes.items():
            assert np.asarray(volume.point(given(0))).item() == array[given(0)], f"{name} read another voxel"

    return Contest(contestants(contestant, layout.peers), check, calls=data.extent.calls)


def many_points(layout: Layout, data: Data) -> Contest:
    """Read voxels scattered all over the volume."""
    volumes, array = open_volumes(layout, data), data.array(layout)
    given = functools.partial(_random, shape=array.shape, count=POINTS)

    def contestant(name: str) -> Sample:
        return timed(volumes[name].points, given)

    def check() -> None:
        xyz = given(0)
        wanted = array[tuple(xyz.T)]
        for name, volume in volumes.items():
            assert np.array_equal(_values(volume.points(xyz), xyz), wanted), f"{name} read other voxels"

    return Contest(contestants(contestant, layout.peers), check)


def _random(number: int, shape: Shape, count: int) -> NDArray[np.int64]:
    return np.random.default_rng(number).integers(0, shape, (count, 3))


def _values(points: Any, xyz: NDArray[np.int64]) -> NDArray[Any]:
    """Return one value per point; CloudVolume gives a dict."""
    if isinstance(points, dict):
        return np.array([np.asarray(points[x, y, z]).item() for x, y, z in xyz.tolist()])
    return np.asarray(points).reshape(len(xyz))


def report(data: Data) -> Contest:
    """Tell for every chunk, by name, whether it is stored."""
    volumes = open_volumes(RAW, data)
    del volumes[TENSORSTORE]

    def contestant(name: str) -> Sample:
        return timed(lambda _: volumes[name].exists(), lambda _: None)

    def check() -> None:
        chunks = np.prod([-(-n // c) for n, c in zip(data.extent.image, RAW.chunk, strict=True)])
        for name, volume in volumes.items():
            found = volume.exists()
            assert len(found) == chunks, f"{name} reports {len(found)} chunks, not {chunks}"
            assert all(found.values()), f"{name} misses chunks"

    return Contest(contestants(contestant, (CLOUDVOLUME,)), check)


def large_report(data: Data) -> Contest:
    """Tell which chunks of a large level are stored, six of seven; no peer says more than yes or no for each."""
    from volumekit import Volume

    grid = LEVEL if data.extent == FULL else SMALL_LEVEL
    size = [64 * n for n in grid]
    info = Volume.create_new_info(1, "image", "uint8", "raw", (4, 4, 40), (0, 0, 0), size, chunk_size=(64, 64, 64))
    folder = data.empty()
    volume = Volume(folder, info=info)
    volume.commit_info()
    (folder / "4_4_40").mkdir()
    names = list(volume.array().keys(volume.bounds))
    for number, name in enumerate(names):
        if number % 7:
            (folder / name).touch()

    def check() -> None:
        found = volume.exists()
        assert found.missing == names[::7], "the report names other chunks"

    contestant = timed(lambda _: volume.exists(), lambda _: None)
    return Contest({OURS: contestant}, check, bars=(at_most_itself(0.5, "500 ms"),))
