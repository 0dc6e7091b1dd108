"""Damaged shards: reading, reporting and writing are refused or work on what is there, quickly and in little memory.

python -m benchmarks.campaigns.shard_mutations --count 2000 --seed 1
"""

from __future__ import annotations

import argparse
import faulthandler
import resource
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.campaigns.codec_mutations import mutate

SECONDS = 5.0
"""Longest time that one damaged shard may take."""

SHAPE = (40, 32, 24)
CHUNK = (16, 16, 16)
SHARD = "0.shard"
MEGABYTES = 200
"""Memory that all damaged shards of a subject may take, at any one time."""

_ABSURD = np.array(
    [0, 1, 15, 16, 24, 1 << 12, 1 << 20, 1 << 31, 1 << 40, 1 << 61, 1 << 62, 1 << 63, (1 << 64) - 1], "<u8"
)


@dataclass(frozen=True)
class Subject:
    """A sharded volume of one shard: an encoding, and how its shards are made."""

    name: str
    encoding: str
    dtype: str
    sharding: dict[str, Any]


@dataclass
class Result:
    """What became of the mutants of one subject; ``failures`` should be empty."""

    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


def subjects() -> list[Subject]:
    """Return subjects with every kind of index and data."""
    return [
        Subject("raw in raw", "raw", "uint8", _sharding()),
        Subject("raw in gzip", "raw", "uint16", _sharding(data_encoding="gzip", minishard_index_encoding="gzip")),
        Subject("raw, 64 minishards", "raw", "uint8", _sharding(preshift_bits=0, minishard_bits=6)),
        Subject("raw, hashed", "raw", "uint8", _sharding(hash="murmurhash3_x86_128", minishard_bits=3)),
        Subject("cseg in gzip", "compressed_segmentation", "uint32", _sharding(data_encoding="gzip")),
        Subject("jpeg", "jpeg", "uint8", _sharding(minishard_index_encoding="gzip")),
    ]


def _sharding(**changes: Any) -> dict[str, Any]:
    usual = {"preshift_bits": 1, "hash": "identity", "minishard_bits": 1, "shard_bits": 0}
    return {**usual, "minishard_index_encoding": "raw", "data_encoding": "raw", **changes}


class Bench:
    """A volume whose shard is replaced again and again.

    Parameters
    ----------
    subject : Subject
        What the volume is like.
    folder : Path
        Where to make it.
    """

    def __init__(self, subject: Subject, folder: Path) -> None:
        from volumekit import Volume

        x, y, z = np.indices(SHAPE)
        voxels = ((x // 3 * 40 + y // 2 * 9 + z * 5) % 251).astype(subject.dtype)
        kind = "segmentation" if subject.encoding == "compressed_segmentation" else "image"
        layout = {"chunk_size": CHUNK, "encoding": subject.encoding, "layer_type": kind, "sharding": subject.sharding}
        Volume.from_numpy(voxels, folder, progress=False, **layout)
        self.volume = Volume(folder, fill_missing=True, non_aligned_writes=True, progress=False)
        self.file = folder / "1_1_1" / SHARD
        self.good = self.file.read_bytes()

    def plant(self, shard: bytes) -> None:
        """Put other bytes in the place of the shard, as programs do that write shards."""
        new = self.file.with_name("new")
        new.write_bytes(shard)
        new.rename(self.file)

    def use(self) -> int:
        """Do everything that needs an index; return how much of it was refused by documented errors."""
        return sum([self._refused(self._read), self._refused(self._report), self._refused(self._write)])

    def _refused(self, work: Any) -> bool:
        from volumekit.errors import VolumekitError

        try:
            work()
        except VolumekitError as error:
            if error.url is None or error.key is None:
                raise AssertionError(f"{error!r} does not say where") from error
            return True
        return False

    def _read(self) -> None:
        voxels = self.volume[:]
        assert voxels.shape == (*SHAPE, 1), f"shape {voxels.shape}"

    def _report(self) -> None:
        report = self.volume.exists()
        assert report.total == 12, f"{report.total} chunks"
        self.volume.has_data()

    def _write(self) -> None:
        self.volume[3:20, 5:9, 7:8] = 1
        self.volume.delete(np.s_[16:32, 16:32, 16:24])


def damage(shard: bytes, random: np.random.Generator) -> bytes:
    """Return a damaged shard: half of the time it is a number of an index that becomes absurd."""
    if random.random() < 0.5:
        return mutate(shard, random)
    damaged = bytearray(shard)
    for _ in range(int(random.integers(1, 4))):
        words = len(damaged) // 8
        # The shard index comes first, those of minishards last.
        word = int(random.choice([random.integers(min(words, 16)), words - 1 - random.integers(min(words, 48))]))
        damaged[8 * word : 8 * word + 8] = random.choice(_ABSURD).tobytes()
    return bytes(damaged)


def run(count: int, seed: int, only: str = "") -> dict[str, Result]:
    """Try mutants of every subject.

    Parameters
    ----------
    count : int
        Mutants per subject.
    seed : int
        Seed; the same one makes the same mutants.
    only : str
        Subjects whose name holds this.

    Returns
    -------
    dict of str to Result
        By subject. A failure names the number of the mutant.
    """
    results = {}
    for subject in subjects():
        if only not in subject.name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(subject, Path(folder) / "volume")
            random, result = np.random.default_rng([seed, *subject.name.encode()]), Result()
            assert bench.use() == 0
            before = _megabytes()
            for number in range(count):
                bench.plant(damage(bench.good, random))
                _try(bench, number, result)
            if _megabytes() > before + MEGABYTES:
                result.failures.append(f"{_megabytes() - before:.0f} MB of memory")
        results[subject.name] = result
    return results


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _try(bench: Bench, number: int, result: Result) -> None:
    start = time.monotonic()
    try:
        refused = bench.use()
        result.refused += refused
        result.read += 3 - refused
    except Exception as error:
        result.failures.append(f"mutant {number}: {type(error).__name__}: {error}")
    took = time.monotonic() - start
    result.slowest = max(result.slowest, took)
    if took > SECONDS:
        result.failures.append(f"mutant {number}: took {took:.1f} s")


def main() -> int:
    """Run a campaign and print a table; the exit code is 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="mutants per subject")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    faulthandler.enable()
    results = run(options.count, options.seed)
    print(f"{'':36}{'done':>9}{'refused':>9}{'failed':>8}{'slowest, ms':>13}")
    for name, result in results.items():
        counts = f"{result.read:9}{result.refused:9}{len(result.failures):8}{1e3 * result.slowest:13.1f}"
        print(f"{name:36}{counts}")
        for failure in result.failures[:5]:
            print(f"    {failure}")
    return int(any(result.failures for result in results.values()))


if __name__ == "__main__":
    raise SystemExit(main())
