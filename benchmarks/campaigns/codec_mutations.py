"""Damaged chunks and objects: each must be refused or decode to the right shape, quickly and in little memory.

python -m benchmarks.campaigns.codec_mutations --count 2000 --seed 1
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.campaigns.mutants import ROOT, command, poison
from volumekit.codecs import CODECS, get_codec
from volumekit.codecs.base import Codec
from volumekit.codecs.compression import SUFFIXES, compress, decompress
from volumekit.errors import CorruptChunkError
from volumekit.model.level import CodecSpec

GOLDEN = ROOT / "tests" / "golden" / "codecs"
CHOSEN = (
    "raw_uint8_1_cloudvolume.raw", "raw_uint64_3_cloudvolume.raw", "jpeg_1_24x12_pillow.jpg",
    "jpeg_1_quality50_cloudvolume.jpg", "jpeg_3_420_pillow.jpg", "jpeg_3_progressive_pillow.jpg",
    *(f"png_uint8_{n}_level9_imagecodecs.png" for n in (1, 2, 3, 4)),
    *(f"png_uint16_{n}_level1_imagecodecs.png" for n in (1, 2, 3, 4)),
    "jxl_1_100_5_4_cloudvolume.jxl", "jxl_1_40_7_2_cloudvolume.jxl", "jxl_3_85_imagecodecs.jxl",
    "jxl_4_100_imagecodecs.jxl", "jxl_3_100_cloudvolume.jxl", "jxl_3_100_narrow_cloudvolume.jxl",
    "cseg_uint32_tensorstore.cseg", "cseg_uint64_tensorstore.cseg",
    "cseg_uint32_odd_blocks_tensorstore.cseg", "cseg_uint64_1_64x64x64_cloudvolume.cseg",
    "compresso_uint8_8x8x1_4_index.cpso", "compresso_uint64_4x4x1_4.cpso", "compresso_uint32_3x5x2_6.cpso",
    "crackle_uint8_order0_pins0.ckl", "crackle_uint64_order3_pins0.ckl", "crackle_uint32_order0_pins1.ckl",
    "crackle_uint32_order3_pins2.ckl", "crackle_uint64_crowded.ckl", "fpzip_float32_1_0.fpz",
    "fpzip_float32_3_16.fpz", "fpzip_float64_1_0.fpz", "fpzip_float64_3_24.fpz", "kempressed_1_cloudvolume.fpz",
    "kempressed_3_cloudvolume.fpz", "zfpc_float32_1_1111.zfpc", "zfpc_float64_3_1100.zfpc", "zfpc_int64_1_1110.zfpc",
    "zfpc_float32_3_1110_rate12.zfpc", "zfpc_float32_1_1110_tolerance0.01.zfpc", "npz_float32_3_F_cloudvolume.npz",
    "npz_uint16_1_C_cloudvolume.npz", "npz_uint8_1_cloudvolume.npz",
)  # fmt: skip
"""Golden chunks, of every encoding and of its ways."""

LARGE = (40, 36, 32)
_CHECKSUMMED = ("crackle", "npz", "npz_uint8", "gzip", "xz", "bz2")


@dataclass(frozen=True)
class Damaged:
    """Good bytes and what reads them, which gives the same bytes each time it reads the same ones."""

    name: str
    data: Callable[[], bytes]
    read: Callable[[bytes], bytes]
    megabytes: float = 32

    @contextmanager
    def ready(self) -> Iterator[Callable[[np.random.Generator | None], str]]:
        """See `benchmarks.campaigns.mutants.Subject`; checksums never let other voxels through."""
        data = self.data()
        good = self.read(data)
        exact = self.name.partition(" ")[0] in _CHECKSUMMED

        def attempt(random: np.random.Generator | None) -> str:
            damaged = data if random is None else mutate(data, random)
            try:
                poison(0xA5)
                first = self.read(damaged)
                poison(0x5A)
                second = self.read(damaged)
            except CorruptChunkError:
                return "refused"
            if second != first:
                raise AssertionError("decodes to what happened to be in memory")
            if exact and first != good:
                raise AssertionError("decodes to other voxels, in spite of its checksum")
            return "decoded"

        yield attempt


def subjects() -> list[Damaged]:
    """Return golden chunks of every encoding, a large chunk of each, and an object of every compression."""
    rows = {row["file"]: row for row in json.loads((GOLDEN / "manifest.json").read_text())["chunks"]}
    found = [_golden(rows[name]) for name in CHOSEN]
    return found + [_large(encoding) for encoding in CODECS] + [_object(method) for method in SUFFIXES]


def _golden(row: dict[str, Any]) -> Damaged:
    codec = get_codec(CodecSpec(row["codec"], row["settings"]))
    read = _reader(codec, tuple(row["shape"]), np.dtype(row["dtype"]))
    return Damaged(f"{row['codec']} {Path(row['file']).stem}", (GOLDEN / row["file"]).read_bytes, read)


def _large(encoding: str) -> Damaged:
    settings = {"compressed_segmentation_block_size": (8, 8, 8)} if encoding == "compressed_segmentation" else {}
    codec = get_codec(CodecSpec(encoding, settings))
    dtype = next(np.dtype(n) for n in ("uint8", "uint32", "float32") if not codec.supports(np.dtype(n), 1))
    return Damaged(f"{encoding} large", lambda: codec.encode(_sample(dtype)), _reader(codec, (*LARGE, 1), dtype))


def _sample(dtype: np.dtype[Any]) -> NDArray[Any]:
    x, y, z, c = np.indices((*LARGE, 1))
    if dtype.kind == "f":
        return np.asfortranarray((1 + np.sin(x / 9) * np.cos(y / 7 + z / 20 + c)) / 2).astype(dtype)
    noise = np.random.default_rng(4).random(x.shape) < 0.01
    return np.asfortranarray((x // 9 * 40 + y // 7 * 9 + z // 5 * 5 + 3 * noise) % 251).astype(dtype)


def _reader(codec: Codec, shape: Any, dtype: np.dtype[Any]) -> Callable[[bytes], bytes]:
    """Return what decodes a chunk, and asks for its labels where they are not decoded."""

    def read(damaged: bytes) -> bytes:
        try:
            chunk = codec.decode(damaged, shape, dtype)
        except CorruptChunkError:
            _labels(codec, damaged, shape, dtype)
            raise
        assert chunk.shape == shape, f"shape {chunk.shape}"
        assert chunk.dtype == dtype, f"dtype {chunk.dtype}"
        _labels(codec, damaged, shape, dtype)
        return chunk.tobytes()

    return read


def _labels(codec: Codec, damaged: bytes, shape: Any, dtype: np.dtype[Any]) -> None:
    if type(codec).labels is Codec.labels:
        return
    found = codec.labels(damaged, shape, dtype)
    assert (found[1:] > found[:-1]).all(), "labels are not sorted"
    for label in (*found[:2].tolist(), 12345):
        where = codec.mask(damaged, label, shape, dtype)
        assert (where.shape, where.dtype) == (shape, np.dtype(bool)), f"mask {where.shape}"


def _object(method: str) -> Damaged:
    plain = np.random.default_rng(0).integers(0, 50, 4000, "u2").tobytes()

    def read(damaged: bytes) -> bytes:
        found = decompress(damaged, method, limit=2 * len(plain))
        assert len(found) <= 2 * len(plain), f"{len(found)} bytes"
        return found

    return Damaged(method, lambda: compress(plain, method), read)


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


if __name__ == "__main__":
    raise SystemExit(command("benchmarks.campaigns.codec_mutations", __doc__))
