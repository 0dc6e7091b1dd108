"""Jobs that are killed at any moment and started again: the result is that of an undisturbed run, bit by bit.

``python -m benchmarks.campaigns.kill_jobs --kills 50``
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from volumekit import Volume
from volumekit.ops.ladder import PROGRAM_BYTES

COMMAND = [sys.executable, "-c", "from volumekit.cli.main import main; main()"]
QUIET: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
MEMORY = str(PROGRAM_BYTES + (2 << 20))
"""So little that there are many tasks."""

SHAPE = (300, 300, 20)


@dataclass(frozen=True)
class Way:
    """A job to be killed.

    Attributes
    ----------
    prepare : callable
        Makes what the job starts from, in a new folder.
    arguments : callable
        The command's arguments, for that folder.
    """

    prepare: Callable[[Path], object]
    arguments: Callable[[Path], list[str]]


def _source(folder: Path) -> None:
    voxels = np.random.default_rng(3).integers(0, 255, SHAPE, np.uint8)
    Volume.from_numpy(voxels, folder / "source", chunk_size=(16, 16, 16), voxel_offset=(-5, 3, 8), progress=False)


def _convert(*more: str) -> Callable[[Path], list[str]]:
    common = ["--mips", "1", "--chunk-size", "16", "--memory", MEMORY, "--quiet", *more]
    return lambda folder: ["convert", str(folder / "source"), str(folder / "target"), *common]


def _downsample(folder: Path) -> list[str]:
    return ["downsample", str(folder / "source"), "--mips", "1", "--memory", MEMORY, "--quiet"]


WAYS = {
    "convert": Way(_source, _convert()),
    "convert to .gz": Way(_source, _convert("--compress", "gzip")),
    "convert in processes": Way(_source, _convert("--processes", "2")),
    "downsample": Way(_source, _downsample),
}


def objects(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder but those that tell the time."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: data for name, data in found.items() if ".volumekit" not in name and "provenance" not in name}


def undisturbed(way: Way) -> tuple[dict[str, bytes], int]:
    """Run a job in peace; return what it leaves, and how many tasks it has."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        way.prepare(folder)
        subprocess.run(COMMAND + way.arguments(folder), check=True, stdout=subprocess.DEVNULL)
        return objects(folder), tasks_done(folder)


def tasks_done(folder: Path) -> int:
    """Return how many tasks the journal notes as done."""
    journals = list(folder.glob("*/.volumekit/*.json"))
    return sum(high - low for path in journals for low, high in json.loads(path.read_text())["done"])


def killed(way: Way, moments: Iterable[tuple[int, float]]) -> tuple[dict[str, bytes], int]:
    """Kill a job again and again, then let it end.

    Parameters
    ----------
    way : Way
        The job.
    moments : iterable of tuple
        When to kill: so many seconds after so many tasks are done.

    Returns
    -------
    tuple
        What it leaves, and how many kills there were.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, kills = Path(name), 0
        way.prepare(folder)
        for count, wait in moments:
            kills += _kill(subprocess.Popen(COMMAND + way.arguments(folder), **QUIET), folder, count, wait)
        done = subprocess.run(COMMAND + way.arguments(folder), check=False, **QUIET)
        return objects(folder) if done.returncode == 0 else {}, kills


def _kill(process: subprocess.Popen[bytes], folder: Path, count: int, wait: float) -> bool:
    """Kill a process when its journal says so; tell whether it was still running."""
    while process.poll() is None and tasks_done(folder) < count:
        time.sleep(0.002)
    time.sleep(wait)
    alive = process.poll() is None
    process.kill()
    process.wait()
    return alive


def main() -> int:
    """Run the campaign; return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="per way, about three in each run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--way", choices=[*WAYS], action="append")
    arguments = parser.parse_args()
    rng, wrong = random.Random(arguments.seed), 0
    for name in arguments.way or WAYS:
        expected, tasks = undisturbed(WAYS[name])
        total = runs = same = 0
        while total < arguments.kills and runs < arguments.kills:
            counts = sorted(rng.randrange(tasks) for _ in range(3))
            found, kills = killed(WAYS[name], [(count, rng.uniform(0, 0.05)) for count in counts])
            total, runs, same = total + kills, runs + 1, same + (found == expected)
        print(f"{name:24} {tasks} tasks, {total} kills, {same} of {runs} runs as undisturbed", flush=True)
        wrong += runs - same
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
