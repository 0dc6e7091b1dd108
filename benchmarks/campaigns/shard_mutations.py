"""Damaged shards: reading, reporting and writing are refused or work on what is there, quickly and in little memory.

python -m benchmarks.campaigns.shard_mutations --count 2000 --seed 1
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.campaigns.codec_mutations import mutate
from benchmarks.campaigns.mutants import command
from volumekit.codecs import CODECS

SHAPE = (40, 32, 24)
CHUNK = (16, 16, 16)
SHARD = "0.shard"
LABELS = ("compressed_segmentation", "compresso", "crackle")
_ABSURD = np.array(
    [0, 1, 15, 16, 24, 1 << 12, 1 << 20, 1 << 31, 1 << 40, 1 << 61, 1 << 62, 1 << 63, (1 << 64) - 1], "<u8"
)


@dataclass(frozen=True)
class Sharded:
    """A sharded volume of one shard: an encoding, and how its shards are made."""

    name: str
    encoding: str
    dtype: str
    sharding: dict[str, Any]
    megabytes: float = 64

    @contextmanager
    def ready(self) -> Iterator[Callable[[np.random.Generator | None], str]]:
        """See `benchmarks.campaigns.mutants.Subject`; every attempt reads, reports and writes."""
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(self, Path(folder) / "volume")

            def attempt(random: np.random.Generator | None) -> str:
                bench.plant(bench.good if random is None else damage(bench.good, random))
                return ("done", "1 of 3 refused", "2 of 3 refused", "refused")[bench.use()]

            yield attempt


def subjects() -> list[Sharded]:
    """Return subjects with every kind of index and data."""
    return [
        Sharded("raw in raw", "raw", "uint8", _sharding()),
        Sharded("raw in gzip", "raw", "uint16", _sharding(data_encoding="gzip", minishard_index_encoding="gzip")),
        Sharded("raw, 64 minishards", "raw", "uint8", _sharding(preshift_bits=0, minishard_bits=6)),
        Sharded("raw, hashed", "raw", "uint8", _sharding(hash="murmurhash3_x86_128", minishard_bits=3)),
        Sharded("cseg in gzip", "compressed_segmentation", "uint32", _sharding(data_encoding="gzip")),
        *(Sharded(f"{name} chunks", name, _dtype(name), _sharding(minishard_index_encoding="gzip")) for name in CODECS),
    ]


def _dtype(encoding: str) -> str:
    refused = CODECS[encoding].supports
    return next(name for name in ("uint8", "uint32", "float32") if not refused(np.dtype(name), 1))


def _sharding(**changes: Any) -> dict[str, Any]:
    usual = {"preshift_bits": 1, "hash": "identity", "minishard_bits": 1, "shard_bits": 0}
    return {**usual, "minishard_index_encoding": "raw", "data_encoding": "raw", **changes}


class Bench:
    """A volume whose shard is replaced again and again.

    Parameters
    ----------
    subject : Sharded
        What the volume is like.
    folder : Path
        Where to make it.
    """

    def __init__(self, subject: Sharded, folder: Path) -> None:
        from volumekit import Volume

        x, y, z = np.indices(SHAPE)
        voxels = ((x // 3 * 40 + y // 2 * 9 + z * 5) % 251).astype(subject.dtype)
        if subject.dtype == "float32":
            voxels /= 251
        kind = "segmentation" if subject.encoding in LABELS else "image"
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


if __name__ == "__main__":
    raise SystemExit(command("benchmarks.campaigns.shard_mutations", __doc__))
