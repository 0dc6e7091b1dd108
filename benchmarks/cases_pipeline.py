"""Jobs: a stack of slices made into a pyramid, and levels added to a volume."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import pipelines
from benchmarks.bars import at_most, at_most_itself, faster
from benchmarks.cases_process import python
from benchmarks.data import Data
from benchmarks.harness import Case, Contest, Sample, timed
from benchmarks.ours import CLOUDVOLUME, OURS, TINYBRAIN, installed
from benchmarks.pipelines import MIPS

FLOOR, LOOP, IGNEOUS = "floor", "cv + tinybrain", "igneous"
ROUNDS = 3
"""Turns of jobs that take long."""

MEMORY = "1GB"

Job = Callable[[Path, Path, tuple[int, int, int]], object]


def cases() -> Iterator[Case]:
    """Yield making a pyramid of a stack, its memory, and adding levels."""
    yield Case("convert a stack, 5 mips, raw 64^3", convert_stack)
    yield Case("peak memory of that within 1 GB", convert_memory)
    yield Case("downsample, 5 mips, raw 64^3", downsample_volume)


def convert_stack(data: Data) -> Contest:
    """Make uncompressed slices a volume with 5 more levels, each time in a new folder."""
    jobs: dict[str, Job] = {OURS: _ours, FLOOR: pipelines.floor, LOOP: pipelines.by_cloudvolume}
    present = [name for name in jobs if name != LOOP or (installed(CLOUDVOLUME) and installed(TINYBRAIN))]
    shape = data.extent.stack

    def contestant(name: str) -> Sample:
        made: list[Path] = []

        def given(_: int) -> Path:
            for old in made:
                data.put_away(old)
            made[:] = [data.empty()]
            return made[0]

        return timed(lambda target: jobs[name](data.stack, target, shape), given)

    def check() -> None:
        targets = {name: data.empty() for name in present}
        for name, target in targets.items():
            jobs[name](data.stack, target, shape)
        _check_alike(targets, shape)
        for target in targets.values():
            data.put_away(target)

    samples = {name: contestant(name) if name in present else None for name in jobs}
    return Contest(samples, check, (at_most(1 / 0.7, FLOOR), at_most(1.0, LOOP)), rounds=ROUNDS)


def _ours(stack: Path, target: Path, _: Any) -> None:
    from volumekit import convert

    convert(stack, target, mips=MIPS, voxel_size=pipelines.RESOLUTION, memory=MEMORY, progress=False)


def _check_alike(targets: dict[str, Path], shape: tuple[int, int, int]) -> None:
    """Raise unless all wrote as many bytes, and the programs the same voxels; tinybrain rounds down."""
    from volumekit import Volume

    for name, target in targets.items():
        sizes = sorted(path.stat().st_size for path in target.glob("*/*") if ".volumekit" not in str(path))
        wanted = sorted(size for level in pipelines.level_shapes(shape) for size in pipelines.chunk_sizes(level))
        assert sizes == wanted, f"{name} wrote other files than wanted"
    volumes = [Volume(target) for name, target in targets.items() if name != FLOOR]
    for mip, level in enumerate(pipelines.level_shapes(shape)):
        for z in range(0, level[2], max(1, level[2] // 4)):
            planes = [volume.download(np.s_[:, :, z], mip=mip) for volume in volumes]
            off = max(np.abs(np.asarray(plane, int) - np.asarray(planes[0], int)).max() for plane in planes)
            assert off <= mip, f"mip {mip} is up to {off} off at z={z}"


def convert_memory(data: Data) -> Contest:
    """Do it in a fresh process; samples are its most resident memory over 1 GB."""

    def peak() -> float:
        target = data.empty()
        told = json.loads(python("-m", "benchmarks.job_probe", str(data.stack), str(target), MEMORY).splitlines()[-1])
        data.put_away(target)
        return float(told["peak"] / 10**9)

    bars = (at_most_itself(1.0, "1 GB"),)
    return Contest({OURS: lambda _: peak()}, lambda: None, bars, unit="x 1 GB", rounds=ROUNDS)


def downsample_volume(data: Data) -> Contest:
    """Add 5 levels to a volume; igneous does it by its own queue, in two processes."""
    from volumekit import convert, downsample

    here = os.environ.get(pipelines.IGNEOUS_PYTHON)
    layers = {name: data.empty() for name in (OURS, *([IGNEOUS] if here else []))}
    for layer in layers.values():
        convert(data.stack, layer, voxel_size=pipelines.RESOLUTION, progress=False)
    kept = {name: _kept(layer) for name, layer in layers.items()}

    def fresh(name: str) -> Path:
        layer, (info, folders) = layers[name], kept[name]
        for path in layer.iterdir():
            if path.is_dir() and path.name not in folders:
                old = data.empty()
                path.rename(old / path.name)
                data.put_away(old)
        (layer / "info").write_bytes(info)
        return layer

    ours = timed(lambda layer: downsample(layer, mips=MIPS, memory=MEMORY, progress=False), lambda _: fresh(OURS))
    theirs: Sample | None = (lambda _: pipelines.by_igneous(fresh(IGNEOUS))) if here else None

    def check() -> None:
        ours(0)
        if theirs is not None:
            theirs(0)
        _check_levels(list(layers.values()), data.extent.stack)

    return Contest({OURS: ours, IGNEOUS: theirs}, check, (faster(3, IGNEOUS),), rounds=ROUNDS)


def _kept(layer: Path) -> tuple[bytes, Sequence[str]]:
    shutil.rmtree(layer / ".volumekit")
    return (layer / "info").read_bytes(), [path.name for path in layer.iterdir() if path.is_dir()]


def _check_levels(layers: Sequence[Path], shape: tuple[int, int, int]) -> None:
    """Raise unless ours has all levels, and the others those that they have alike, up to rounding."""
    from volumekit import Volume

    volumes = [Volume(layer) for layer in layers]
    assert len(volumes[0].levels) == MIPS + 1
    for mip, level in enumerate(pipelines.level_shapes(shape)):
        having = [volume for volume in volumes if mip < len(volume.levels)]
        planes = [volume.download(np.s_[:, :, level[2] // 2], mip=mip) for volume in having]
        off = max(np.abs(np.asarray(plane, int) - np.asarray(planes[0], int)).max() for plane in planes)
        assert off <= mip, f"mip {mip} is up to {off} off"
