"""Processes that write alternate planes of the same chunks at the same time: no plane may be lost.

``python -m benchmarks.campaigns.interleaved_writers --tries 20``
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing.synchronize import Barrier
from typing import Any

SHAPE = (64, 64, 32)
CHUNK = (32, 32, 32)
WRITERS = 2


@dataclass(frozen=True)
class Way:
    """One way into the engine.

    Attributes
    ----------
    encoding, dtype : str
        How chunks are stored.
    compress : str or None
        What the writers ask for.
    before : str or None
        How the chunks are compressed that are there before; "" for none at all.
    sharding : dict
        Hash and encodings, where chunks live in shards.
    """

    encoding: str
    dtype: str
    compress: str | None
    before: str | None = ""
    sharding: dict[str, Any] = field(default_factory=dict)


_ONE = {"preshift_bits": 1, "hash": "identity", "minishard_bits": 1, "shard_bits": 0}
_GZIP = {"minishard_index_encoding": "gzip", "data_encoding": "gzip"}
_HASHED = {**_ONE, **_GZIP, "preshift_bits": 0, "hash": "murmurhash3_x86_128", "shard_bits": 1}

WAYS = {
    "native raw": Way("raw", "uint8", None),
    "native raw over zeros": Way("raw", "uint8", None, None),
    "bridge raw.gz": Way("raw", "uint8", "gzip"),
    "bridge raw.gz as found": Way("raw", "uint8", None, "gzip"),
    "bridge raw to .gz": Way("raw", "uint8", "gzip", None),
    "bridge raw.br to .zstd": Way("raw", "uint8", "zstd", "br"),
    "native compressed_segmentation": Way("compressed_segmentation", "uint32", None),
    "bridge compressed_segmentation.gz": Way("compressed_segmentation", "uint32", "gzip"),
    "sharded raw": Way("raw", "uint8", None, sharding=_ONE),
    "sharded raw over zeros": Way("raw", "uint8", None, None, sharding=_ONE),
    "sharded raw, gzip, hashed": Way("raw", "uint8", None, sharding=_HASHED),
    "sharded png": Way("png", "uint8", None, sharding=_ONE),
    "sharded compressed_segmentation, gzip": Way("compressed_segmentation", "uint32", None, sharding={**_ONE, **_GZIP}),
}


def create(url: str, way: Way) -> None:
    """Make the volume that all write to."""
    from volumekit import Volume

    layout = {"chunk_size": CHUNK, "sharding": way.sharding}
    info = Volume.create_new_info(1, "image", way.dtype, way.encoding, (4, 4, 40), (-3, 5, 7), SHAPE, **layout)
    volume = Volume(url, info=info, compress=way.before or None)
    volume.commit_info()
    if way.before != "":
        volume[:] = 0


def write_planes(url: str, compress: str | None, first: int, start: Barrier) -> None:
    """Write every `WRITERS`-th plane along z, one by one."""
    from volumekit import Volume

    volume = Volume(url, compress=compress, non_aligned_writes=True)
    low, high = volume.bounds.minpt[2], volume.bounds.maxpt[2]
    start.wait(60)
    for z in range(int(low) + first, int(high), WRITERS):
        volume[:, :, z] = z


def lost_planes(url: str, way: Way) -> int:
    """Let processes interleave planes; return how many are not what was written."""
    context: Any = multiprocessing.get_context("spawn")
    start = context.Barrier(WRITERS)
    jobs = [context.Process(target=write_planes, args=(url, way.compress, n, start)) for n in range(WRITERS)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(120)
    failed = [job for job in jobs if job.exitcode != 0]
    for job in failed:
        job.kill()
    return SHAPE[2] if failed else _count(url)


def _count(url: str) -> int:
    from volumekit import Volume

    volume = Volume(url)
    voxels = volume[..., 0]
    low = int(volume.bounds.minpt[2])
    return sum(bool((voxels[:, :, n] != low + n).any()) for n in range(SHAPE[2]))


def main() -> int:
    """Run the campaign; return 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--way", choices=[*WAYS], action="append")
    arguments = parser.parse_args()
    total = 0
    for name in arguments.way or WAYS:
        started, lost = time.perf_counter(), 0
        for _ in range(arguments.tries):
            with tempfile.TemporaryDirectory() as folder:
                create(folder, WAYS[name])
                lost += lost_planes(folder, WAYS[name])
        seconds = time.perf_counter() - started
        print(
            f"{name:36} {lost} of {arguments.tries * SHAPE[2]} planes lost in {arguments.tries} tries, {seconds:.0f} s",
            flush=True,
        )
        total += lost
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
