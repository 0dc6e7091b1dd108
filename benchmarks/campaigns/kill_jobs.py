"""Jobs that are killed at any moment and started again: the result is that of an undisturbed run, bit by bit.

``python -m benchmarks.campaigns.kill_jobs --kills 50``. Targets are folders, and S3 as moto plays it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from volumekit import Volume
from volumekit.model.url import parse_url
from volumekit.ops.ladder import PROGRAM_BYTES
from volumekit.storage import open_store
from volumekit.storage.base import Store
from volumekit.testing.servers import BucketServer, moto_s3

QUIET: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
MEMORY = PROGRAM_BYTES + (2 << 20)
"""So little that there are many tasks."""

JOBS = 2
"""Tasks under way at once."""

SHAPE = (300, 300, 20)
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_EC2_METADATA_DISABLED": "true"}


def shards(preshift: int) -> dict[str, Any]:
    """Return how to pack two to the power of ``preshift`` chunks into a shard that is a box."""
    packing = {"hash": "identity", "minishard_index_encoding": "raw", "data_encoding": "raw"}
    bits = {"preshift_bits": preshift, "minishard_bits": 0, "shard_bits": 20}
    return {"@type": "neuroglancer_uint64_sharded_v1", **bits, **packing}


@dataclass(frozen=True)
class Way:
    """A job to be killed.

    Attributes
    ----------
    function : str
        Which one of `volumekit`.
    options : dict
        Its keywords.
    sharded : int
        How many bits of chunks are in a shard of the source; 0: none are.
    remote : bool
        Whether its target is on S3.
    compress : str, optional
        How the chunks of the source are compressed.
    stack : bool
        Whether the source is a folder of images.
    """

    function: str
    options: dict[str, Any] = field(default_factory=dict)
    sharded: int = 0
    remote: bool = False
    compress: str | None = None
    stack: bool = False

    @property
    def in_place(self) -> bool:
        """Whether the target is the source."""
        return self.function in ("downsample", "recompress")


_CONVERT: dict[str, Any] = {"mips": 1, "chunk_size": [16, 16, 16], "memory": MEMORY}
_LEVELS: dict[str, Any] = {"mips": 1, "memory": MEMORY}

WAYS = {
    "convert": Way("convert", _CONVERT),
    "convert a stack": Way("convert", {**_CONVERT, "voxel_size": [4, 4, 40]}, stack=True),
    "convert to .gz": Way("convert", {**_CONVERT, "compress": "gzip"}),
    "convert in processes": Way("convert", {**_CONVERT, "processes": JOBS}),
    "convert to shards": Way("convert", {**_CONVERT, "sharding": shards(3)}),
    "convert to S3": Way("convert", _CONVERT, remote=True),
    "convert to shards on S3": Way("convert", {**_CONVERT, "sharding": shards(3)}, remote=True),
    "downsample": Way("downsample", _LEVELS),
    "downsample shards": Way("downsample", _LEVELS, sharded=3),
    "downsample on S3": Way("downsample", _LEVELS, remote=True),
    "transfer": Way("transfer"),
    "transfer of shards": Way("transfer", sharded=3),
    "transfer to .gz": Way("transfer", {"compress": "gzip"}),
    "transfer to S3": Way("transfer", remote=True),
    "recompress": Way("recompress", {"compress": "gzip"}),
    "recompress .gz": Way("recompress", {"compress": "br"}, compress="gzip"),
    "recompress .gz to none": Way("recompress", {"compress": False}, compress="gzip"),
    "recompress on S3": Way("recompress", {"compress": "gzip"}, remote=True),
}


def _store_images(folder: Path, voxels: NDArray[np.uint8]) -> None:
    folder.mkdir()
    for z in range(voxels.shape[2]):
        tifffile.imwrite(folder / f"{z:03}.tif", np.ascontiguousarray(voxels[:, :, z].T))


def _store_volume(url: str, voxels: NDArray[np.uint8], way: Way) -> None:
    packed: Any = shards(way.sharded) if way.sharded else False
    info = Volume.create_new_info(
        1, "image", "uint8", "raw", (4, 4, 40), (-5, 3, 8), SHAPE, chunk_size=(16, 16, 16), sharding=packed
    )
    volume = Volume(url, info=info, compress=way.compress, progress=False)
    volume.commit_info()
    volume[:] = voxels


class Place:
    """Where a job runs: a folder, and a bucket if the target is to be in one.

    Parameters
    ----------
    way : Way
        The job; its source is made here.
    folder : Path
        An empty folder.
    server : BucketServer or None
        Has the bucket.
    """

    def __init__(self, way: Way, folder: Path, server: BucketServer | None) -> None:
        base = str(folder)
        if way.remote:
            assert server is not None
            base = server.make_bucket(f"bucket{next(_numbers)}")
        self.log = folder / "log"
        source = f"{base}/target" if way.in_place else f"{folder}/source"
        voxels = np.random.default_rng(3).integers(0, 255, SHAPE, np.uint8)
        if way.stack:
            _store_images(Path(source), np.tile(voxels, (2, 5, 4)))  # strips are for larger ones
        else:
            _store_volume(source, voxels, way)
        places = [source] if way.in_place else [source, f"{base}/target"]
        job = [way.function, places, {**way.options, "jobs": JOBS, "progress": False}]
        self.store: Store = open_store(parse_url(f"{base}/target"))
        self._command = [sys.executable, "-m", "benchmarks.campaigns.kill_child", str(self.log), json.dumps(job)]
        self._journal = f".volumekit/{way.function}.json"

    def start(self) -> subprocess.Popen[bytes]:
        """Start the job, or let it go on."""
        paths = os.pathsep.join(path or "." for path in sys.path)
        return subprocess.Popen(self._command, env={**os.environ, "PYTHONPATH": paths}, **QUIET)

    def done(self) -> int:
        """Return how many tasks the journal notes as done."""
        value = self.store.read(self._journal).result()
        return 0 if value is None else sum(high - low for low, high in json.loads(value.data)["done"])

    def starts(self) -> int:
        """Return how often tasks were started."""
        return len(self.log.read_text().splitlines())

    def objects(self) -> dict[str, bytes]:
        """Return all that is stored but what tells the time."""
        return objects(self.store)


_numbers = itertools.count()


def objects(place: Store | Path) -> dict[str, bytes]:
    """Return all that is stored somewhere but what tells the time."""
    store = open_store(parse_url(place)) if isinstance(place, Path) else place
    values = {key: store.read(key).result() for key in sorted(store.list())}
    kept = {key: value.data for key, value in values.items() if value is not None}
    return {key: data for key, data in kept.items() if ".volumekit" not in key and "provenance" not in key}


def tasks_done(folder: Path) -> int:
    """Return how many tasks the journals of the datasets in a folder note as done."""
    journals = list(folder.glob("*/.volumekit/*.json"))
    return sum(high - low for path in journals for low, high in json.loads(path.read_text())["done"])


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes
    ----------
    objects : dict
        What it left; nothing if it failed.
    tasks, starts, kills : int
        How many tasks it has, how often one was started, and how often it was killed.
    """

    objects: dict[str, bytes]
    tasks: int
    starts: int
    kills: int

    @property
    def redone(self) -> int:
        """How many tasks were done more than once."""
        return self.starts - self.tasks


def outcome(way: Way, moments: Iterable[tuple[int, float]] = (), *, server: BucketServer | None = None) -> Outcome:
    """Kill a job again and again, then let it end.

    Parameters
    ----------
    way : Way
        The job.
    moments : iterable of tuple
        When to kill: so many seconds after so many tasks are done.
    server : BucketServer, optional
        S3, for the ways that need it.
    """
    with tempfile.TemporaryDirectory() as name:
        place = Place(way, Path(name), server)
        kills = sum(_kill(place, count, wait) for count, wait in moments)
        ended = place.start().wait()
        return Outcome(place.objects() if ended == 0 else {}, place.done(), place.starts(), kills)


def _kill(place: Place, count: int, wait: float) -> bool:
    """Kill a process when its journal says so; tell whether it was still running."""
    process = place.start()
    while process.poll() is None and place.done() < count:
        time.sleep(0.002)
    time.sleep(wait)
    alive = process.poll() is None
    process.kill()
    process.wait()
    return alive


def moments(rng: random.Random, tasks: int) -> list[tuple[int, float]]:
    """Return three moments to kill a job with so many tasks."""
    return [(count, rng.uniform(0, 0.05)) for count in sorted(rng.randrange(tasks) for _ in range(3))]


def flawless(found: Outcome, expected: Outcome) -> bool:
    """Tell whether a job ended as the undisturbed one, and nothing was done twice but what was under way."""
    return found.objects == expected.objects and found.tasks == expected.tasks and found.redone <= JOBS * found.kills


def main() -> int:
    """Run the campaign; return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="per way, about three in each run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--way", choices=[*WAYS], action="append")
    arguments = parser.parse_args()
    os.environ.update(CREDENTIALS)
    rng, wrong = random.Random(arguments.seed), 0
    with ExitStack() as stack:
        chosen = {name: WAYS[name] for name in arguments.way or WAYS}
        server = stack.enter_context(moto_s3()) if any(way.remote for way in chosen.values()) else None
        for name, way in chosen.items():
            expected, found = outcome(way, server=server), []
            while sum(one.kills for one in found) < arguments.kills and len(found) < arguments.kills:
                found.append(outcome(way, moments(rng, expected.tasks), server=server))
            good = sum(flawless(one, expected) for one in found)
            kills, redone = sum(one.kills for one in found), sum(one.redone for one in found)
            print(
                f"{name:36} {expected.tasks} tasks, {kills} kills, {redone} tasks redone, "
                f"{good} of {len(found)} runs as undisturbed",
                flush=True,
            )
            wrong += len(found) - good
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
