"""Processes that read through one small cache directory while one of them is killed again and again.

No voxel may be wrong, the budget holds within one chunk per process, and nobody waits for who is dead.
``python -m benchmarks.campaigns.cache_kills --seconds 30``
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

SHAPE = (256, 256, 128)
CHUNK = (32, 32, 32)
CHUNK_BYTES = 32**3
BUDGET = 256 * 256 * 128 // 10
ALIVE_SECONDS = 20.0
"""Nobody may take longer over a read."""


@dataclass
class Outcome:
    """What was seen.

    Attributes
    ----------
    reads : int
        Boxes read.
    wrong : int
        Boxes with a wrong voxel, and readers that failed or hung.
    kills : int
        Processes killed.
    most : int
        Most bytes that the directory held.
    """

    reads: int = 0
    wrong: int = 0
    kills: int = 0
    most: int = 0


def create(folder: Path) -> None:
    """Make the volume; every voxel tells where it is."""
    from volumekit import Volume

    x, y, z = np.ogrid[tuple(slice(n) for n in SHAPE)]
    voxels = (x * 7 + y * 13 + z * 29 + 1).astype(np.uint8)
    Volume.from_numpy(voxels, folder / "remote", chunk_size=CHUNK, progress=False)


def read(folder: str, seed: int, counts: Any, until: Any) -> None:
    """Read boxes until the time has come; count those that are right and those that are not."""
    from volumekit import Cache, Volume

    random_state = np.random.default_rng(seed)
    revalidate: Any = ("never", "open", "always")[seed % 3]
    cache = Cache(f"{folder}/cache", max_bytes=BUDGET, revalidate=revalidate)
    volume = Volume(f"{folder}/remote", cache=cache, progress=False)
    while time.time() < until.value:
        low = [int(random_state.integers(0, n - 40)) for n in SHAPE]
        high = [a + int(random_state.integers(1, 40)) for a in low]
        x, y, z = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        found = volume[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        right = bool((np.asarray(found)[..., 0] == (x * 7 + y * 13 + z * 29 + 1).astype(np.uint8)).all())
        with counts.get_lock():
            counts[0 if right else 1] += 1


def held(folder: Path) -> int:
    """Return the bytes of all chunks in the cache directory, those being written too."""
    total = 0
    for path in (folder / "cache").rglob("*"):
        if path.suffix.startswith(".sqlite") or ".volumekit" in path.parts or path.name == "info":
            continue
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total


def run(folder: Path, *, seconds: float, readers: int = 8, every: float = 1.0, seed: int = 1) -> Outcome:
    """Let processes read, kill one after the other, and watch."""
    context: Any = multiprocessing.get_context("spawn")
    outcome, chosen = Outcome(), random.Random(seed)
    counts, until = context.Array("q", 2), context.Value("d", math.inf)

    def start(n: int) -> BaseProcess:
        process: BaseProcess = context.Process(target=read, args=(str(folder), n, counts, until))
        process.start()
        return process

    running = [start(n) for n in range(readers)]
    while not sum(counts) and any(process.is_alive() for process in running):
        time.sleep(0.02)
    following, next_kill = readers, time.time() + every / 2
    until.value = time.time() + seconds
    while time.time() < until.value:
        outcome.most = max(outcome.most, held(folder))
        if time.time() >= next_kill:
            victim = chosen.randrange(readers)
            with counts.get_lock():  # whoever is killed does not hold it
                running[victim].kill()
            running[victim].join()
            running[victim], following = start(following), following + 1
            outcome.kills += 1
            next_kill += every
        time.sleep(0.02)
    for process in running:
        process.join(ALIVE_SECONDS)
        if process.exitcode != 0:
            outcome.wrong += 1
            process.kill()
    outcome.most = max(outcome.most, held(folder))
    outcome.reads, outcome.wrong = counts[0], outcome.wrong + counts[1]
    return outcome


def main() -> int:
    """Run the campaign; return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--readers", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        create(Path(name))
        outcome = run(Path(name), seconds=arguments.seconds, readers=arguments.readers)
    over = (outcome.most - BUDGET) / CHUNK_BYTES
    print(
        f"{outcome.reads:,} boxes read by {arguments.readers} processes, {outcome.kills} kills: {outcome.wrong} wrong; "
        f"the cache held at most {outcome.most / 1e6:.2f} MB of {BUDGET / 1e6:.2f} MB, {over:+.1f} chunks"
    )
    return int(outcome.wrong > 0 or over > arguments.readers)


if __name__ == "__main__":
    sys.exit(main())
