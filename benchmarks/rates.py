"""What jobs cost per gigabyte on this machine: the figures that a plan for a large volume is made of.

``python -m benchmarks.rates --gigabytes 0.5`` prints processor seconds, which other programs disturb little, and the
rate by the clock, which they disturb much. Each job runs several times; the least counts.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from volumekit import Volume, convert, downsample, transfer, verify

SIDE = 2048
QUIET: dict[str, Any] = {"progress": False, "voxel_size": (8, 8, 8)}


def stack(folder: Path, planes: int, side: int) -> Path:
    """Write noisy images of smooth shapes, uint8, uncompressed."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    base = (100 + 60 * np.sin(x / 37) * np.cos(y / 53)).astype(np.uint8)
    for z in range(planes):
        image = np.roll(base, z, 0) + rng.integers(0, 16, base.shape, np.uint8)
        tifffile.imwrite(folder / f"{z:05}.tif", image)
    return folder


def jobs(images: Path, folder: Path) -> dict[str, Callable[[], object]]:
    """Return the jobs to measure; each makes what those after it read."""
    raw, shards, copy = folder / "raw", folder / "shards", folder / "copy"
    return {
        "convert to raw chunks, 5 mips": lambda: convert(images, raw, mips=5, **QUIET),
        "convert to raw shards, 5 mips": lambda: convert(images, shards, mips=5, sharding=True, **QUIET),
        "convert to jpeg, 5 mips": lambda: convert(images, folder / "jpeg", mips=5, encoding="jpeg", **QUIET),
        "convert to OME-Zarr, 5 mips": lambda: convert(images, folder / "a.zarr", mips=5, **QUIET),
        "downsample raw chunks, 3 mips": lambda: downsample(raw, mip=0, mips=3, overwrite=True, progress=False),
        "transfer chunks as they are": lambda: transfer(raw, copy, mips=0, progress=False),
        "verify voxel by voxel": lambda: verify(raw, copy, progress=False),
        "verify by checksums": lambda: verify(raw, copy, checksums=True, progress=False),
        "map, numpy.invert": lambda: Volume(raw).map(np.invert, folder / "map", progress=False),
    }


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Return the processor seconds and the seconds by the clock that something takes."""
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return spent, time.perf_counter() - begun


def rates(gigabytes: float, rounds: int, side: int = SIDE) -> dict[str, tuple[float, float]]:
    """Return the processor seconds per gigabyte of source voxels, and the megabytes per second, of each job."""
    planes = max(1, round(gigabytes * 1e9 / side**2))
    size = planes * side**2 / 1e9
    best: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        images = stack(Path(name) / "images", planes, side)
        for _ in range(rounds):
            folder = Path(name) / "made"
            for job, work in jobs(images, folder).items():
                spent, took = measure(work)
                least = best.get(job, (spent, took))
                best[job] = min(spent, least[0]), min(took, least[1])
            shutil.rmtree(folder)
    return {job: (spent / size, 1000 * size / took) for job, (spent, took) in best.items()}


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{'job':32} {'core s per GB':>14} {'MB/s by the clock':>18}")
    for job, (spent, rate) in rates(arguments.gigabytes, arguments.rounds).items():
        print(f"{job:32} {spent:14.1f} {rate:18.0f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
