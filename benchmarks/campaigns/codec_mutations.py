"""Damaged chunks and objects: each must be refused or decode to the right shape, quickly.

python -m benchmarks.campaigns.codec_mutations --count 2000 --seed 1
"""

from __future__ import annotations

import argparse
import faulthandler
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from volumekit.codecs import get_codec
from volumekit.codecs.compression import SUFFIXES, compress, decompress
from volumekit.errors import CorruptChunkError
from volumekit.model.level import CodecSpec

SECONDS = 5.0
"""Longest time that one damaged input may take."""

_SHAPE = (19, 13, 11)
_BLOCKS = {"compressed_segmentation_block_size": (8, 8, 8)}


@dataclass(frozen=True)
class Subject:
    """Good bytes and what reads them; ``read`` raises AssertionError if the answer has a wrong shape."""

    name: str
    data: bytes
    read: Callable[[bytes], None]


@dataclass
class Result:
    """What became of the mutants of one subject; ``failures`` should be empty."""

    decoded: int = 0
    refused: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


def subjects() -> list[Subject]:
    """Return one subject per codec, data type and number of channels, and one per compression."""
    found = [_chunk("raw", dtype, channels) for dtype, channels in (("uint8", 1), ("uint64", 3))]
    found += [_chunk("jpeg", "uint8", channels) for channels in (1, 3)]
    found += [_chunk("png", dtype, channels) for dtype in ("uint8", "uint16") for channels in (1, 2, 3, 4)]
    found += [
        _chunk("compressed_segmentation", dtype, channels, _BLOCKS)
        for dtype in ("uint32", "uint64")
        for channels in (1, 2)
    ]
    return found + [_object(method) for method in SUFFIXES]


def _chunk(encoding: str, dtype: str, channels: int, settings: dict[str, Any] | None = None) -> Subject:
    codec = get_codec(CodecSpec(encoding, settings or {}))
    shape, kind = (*_SHAPE, channels), np.dtype(dtype)
    x, y, z, c = np.indices(shape)
    data = codec.encode(((x // 3 * 40 + y // 2 * 9 + z * 5 + c) % 251).astype(kind))

    def read(damaged: bytes) -> None:
        chunk = codec.decode(damaged, shape, kind)
        assert chunk.shape == shape, f"shape {chunk.shape}"
        assert chunk.dtype == kind, f"dtype {chunk.dtype}"
        chunk.sum()

    return Subject(f"{encoding} {dtype} x{channels}", data, read)


def _object(method: str) -> Subject:
    plain = np.random.default_rng(0).integers(0, 50, 4000, "u2").tobytes()

    def read(damaged: bytes) -> None:
        length = len(decompress(damaged, method, limit=2 * len(plain)))
        assert length <= 2 * len(plain), f"{length} bytes"

    return Subject(method, compress(plain, method), read)


def mutate(data: bytes, random: np.random.Generator) -> bytes:
    """Return damaged bytes: cut, extended, overwritten, flipped, moved, or several of these."""
    damaged = bytearray(data)
    for _ in range(int(random.integers(1, 4))):
        _damage(damaged, random)
    return bytes(damaged)


def _damage(data: bytearray, random: np.random.Generator) -> None:
    size = max(len(data), 1)
    # Half of the damage goes to the first bytes, where the headers are.
    start = int(random.integers(min(size, 64) if random.random() < 0.5 else size))
    length = int(random.integers(1, 9))
    match int(random.integers(7)):
        case 0:
            del data[start:]
        case 1:
            data += random.bytes(length * 5)
        case 2:
            data[start : start + length] = random.bytes(length)
        case 3:
            data[start : start + length] = bytes([int(random.choice([0, 1, 0x7F, 0x80, 0xFF]))]) * length
        case 4:
            del data[start : start + length]
        case 5:
            data[start:start] = data[: int(random.integers(size))]
        case _:
            data[start : start + 1] = bytes([(data[start] if data else 0) ^ 1 << int(random.integers(8))])


def run(count: int, seed: int) -> dict[str, Result]:
    """Try mutants of every subject.

    Parameters
    ----------
    count : int
        Mutants per subject.
    seed : int
        Seed; the same one makes the same mutants.

    Returns
    -------
    dict of str to Result
        By subject. A failure names the number of the mutant.
    """
    results = {}
    for subject in subjects():
        subject.read(subject.data)
        random, result = np.random.default_rng([seed, *subject.name.encode()]), Result()
        for number in range(count):
            _try(subject, mutate(subject.data, random), number, result)
        results[subject.name] = result
    return results


def _try(subject: Subject, damaged: bytes, number: int, result: Result) -> None:
    start = time.monotonic()
    try:
        subject.read(damaged)
        result.decoded += 1
    except CorruptChunkError:
        result.refused += 1
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
    print(f"{'':36}{'decoded':>9}{'refused':>9}{'failed':>8}{'slowest, ms':>13}")
    for name, result in results.items():
        counts = f"{result.decoded:9}{result.refused:9}{len(result.failures):8}{1e3 * result.slowest:13.1f}"
        print(f"{name:36}{counts}")
        for failure in result.failures[:5]:
            print(f"    {failure}")
    return int(any(result.failures for result in results.values()))


if __name__ == "__main__":
    raise SystemExit(main())
