"""A stack of slices made into a pyramid by others: the least it can take, and CloudVolume with tinybrain."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import Shape

CHUNK, MIPS, RESOLUTION = 64, 5, (4, 4, 40)
IGNEOUS_PYTHON = "IGNEOUS_PYTHON"
"""Names the Python that has igneous-pipeline, which is at home in an environment of its own."""


def make_stack(folder: Path, voxels: NDArray[np.uint8], depth: int) -> None:
    """Store slices as uncompressed TIFF, each its own part of an image, (x, y, z), that is shown again and again."""
    import tifffile

    folder.mkdir()
    for z in range(depth):
        tifffile.imwrite(folder / f"{z:05}.tif", np.ascontiguousarray(voxels[:, :, z % voxels.shape[2]].T))


def level_shapes(shape: Shape) -> list[Shape]:
    """Return the shapes of all levels."""
    x, y, z = shape
    return [(-(-x >> mip), -(-y >> mip), -(-z >> mip)) for mip in range(MIPS + 1)]


def chunk_sizes(shape: Shape) -> Iterator[int]:
    """Yield the bytes of the chunks of a level."""
    spans = [[min(CHUNK, n - at) for at in range(0, n, CHUNK)] for n in shape]
    return map(math.prod, itertools.product(*reversed(spans)))


def floor(stack: Path, target: Path, shape: Shape) -> None:
    """Read every slice once and write files of the chunks' number and sizes, in two threads: nothing takes less."""
    files = sorted(stack.iterdir())
    chunks: list[tuple[str, int]] = []
    for mip, level in enumerate(level_shapes(shape)):
        (target / str(mip)).mkdir(parents=True)
        chunks += [(f"{target}/{mip}/{n}", size) for n, size in enumerate(chunk_sizes(level))]

    def half(first: int) -> None:
        slices, mine, parts = files[first::2], chunks[first::2], 16
        buffer, data = bytearray(shape[0] * shape[1]), memoryview(bytes(CHUNK**3))
        for part in range(parts):
            for name in _share(slices, part, parts):
                _read(name, buffer)
            for path, size in _share(mine, part, parts):
                _write(path, data[:size])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(half, (0, 1)))


def _share(items: Sequence[Any], part: int, parts: int) -> Sequence[Any]:
    return items[len(items) * part // parts : len(items) * (part + 1) // parts]


def _read(path: Path, buffer: bytearray) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.preadv(file, [buffer], 8)
    finally:
        os.close(file)


def _write(path: str, data: memoryview) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        os.write(file, data)
    finally:
        os.close(file)


def by_cloudvolume(stack: Path, target: Path, shape: Shape) -> None:
    """Do it with CloudVolume and tinybrain, as well as that goes: slabs of slices, whole chunks, each voxel read once.

    Slices are read into the planes of a C-ordered (z, y, x) buffer, whose transpose is x-fastest already.
    """
    import tifffile
    from cloudvolume import CloudVolume
    from tinybrain import downsample_with_averaging

    info = CloudVolume.create_new_info(
        1, "image", "uint8", "raw", RESOLUTION, (0, 0, 0), shape, chunk_size=(CHUNK,) * 3, max_mip=0
    )
    url = f"precomputed://file://{target}"
    volume = CloudVolume(url, info=info, compress=False, progress=False)
    for mip in range(1, MIPS + 1):
        volume.add_scale((2**mip,) * 3, chunk_size=(CHUNK,) * 3)
    volume.commit_info()
    levels = [CloudVolume(url, mip=mip, compress=False, progress=False) for mip in range(MIPS + 1)]
    files, waiting = sorted(stack.iterdir()), [[] for _ in levels]  # type: list[Path], list[list[NDArray[Any]]]
    starts = [0] * len(levels)
    with tifffile.TiffFile(files[0]) as first:
        offset = first.pages[0].dataoffsets[0]
    buffer = np.empty((CHUNK, shape[1], shape[0]), np.uint8)

    def add(mip: int, slab: NDArray[Any], *, last: bool) -> None:
        """Store a slab once it is a chunk thick, and what it is reduced to."""
        waiting[mip].append(slab)
        if sum(part.shape[2] for part in waiting[mip]) < CHUNK and not last:
            return
        parts, waiting[mip] = waiting[mip], []
        whole = parts[0] if len(parts) == 1 else np.asfortranarray(np.concatenate(parts, axis=2))
        low, starts[mip] = starts[mip], starts[mip] + whole.shape[2]
        levels[mip][:, :, low : starts[mip]] = whole
        if mip < MIPS:
            (coarser,) = downsample_with_averaging(whole, (2, 2, 2), num_mips=1)
            add(mip + 1, coarser, last=last)

    for low in range(0, len(files), CHUNK):
        names = files[low : low + CHUNK]
        for plane, name in zip(buffer, names, strict=False):
            with name.open("rb", buffering=0) as file:
                file.seek(offset)
                file.readinto(plane)
        add(0, buffer[: len(names)].T, last=low + CHUNK >= len(files))


IGNEOUS = """
import sys, time
import igneous.task_creation as tasks
from taskqueue import LocalTaskQueue
layer, mips = sys.argv[1], int(sys.argv[2])
queue = LocalTaskQueue(parallel=2, progress=False)
start, mip = time.perf_counter(), 0
while mip < mips:
    made = tasks.create_downsampling_tasks(
        f"precomputed://file://{layer}", mip=mip, num_mips=mips - mip, factor=(2, 2, 2), compress=False,
        preserve_chunk_size=True, memory_target=int(sys.argv[3]),
    )
    queue.insert(made)
    queue.execute()
    from cloudvolume import CloudVolume
    found = len(CloudVolume(f"precomputed://file://{layer}").available_mips) - 1
    if found <= mip:  # it makes no levels that are smaller than a chunk
        break
    mip = found
print(time.perf_counter() - start)
"""


def by_igneous(layer: Path) -> float:
    """Add levels with igneous' downsampling tasks on its own queue, two processes; return the seconds it took."""
    command = [os.environ[IGNEOUS_PYTHON], "-c", IGNEOUS, str(layer), str(MIPS), str(10**9)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(told.split()[-1])
