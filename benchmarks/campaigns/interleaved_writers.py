"""Processes that write alternate planes of the same chunks at the same time: no plane may be lost.

Every encoding takes part, in files and in shards. Planes have to come back bit for bit; where an encoding loses
something, to within its tolerance, however often their chunk was encoded again for the sake of other planes.

``python -m benchmarks.campaigns.interleaved_writers --tries 20``
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.campaigns.side_by_side import WRITERS, command, write_together

SHAPE = (64, 64, 32)
CHUNK = (32, 32, 32)


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
    tolerance : float
        By how much voxels may differ from what the last writer wrote.
    settings : dict
        Those of the encoding.
    """

    encoding: str
    dtype: str
    compress: str | None
    before: str | None = ""
    sharding: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 0
    settings: dict[str, Any] = field(default_factory=dict)


_ONE = {"preshift_bits": 1, "hash": "identity", "minishard_bits": 1, "shard_bits": 0}
_GZIP = {"minishard_index_encoding": "gzip", "data_encoding": "gzip"}
_HASHED = {**_ONE, **_GZIP, "preshift_bits": 0, "hash": "murmurhash3_x86_128", "shard_bits": 1}

_ENCODINGS = {
    "raw": Way("raw", "uint16", None),
    "jpeg": Way("jpeg", "uint8", None, tolerance=2),
    "png": Way("png", "uint16", None),
    "jxl": Way("jxl", "uint8", None, tolerance=20),
    "compressed_segmentation": Way("compressed_segmentation", "uint64", None),
    "compresso": Way("compresso", "uint64", None),
    "crackle": Way("crackle", "uint64", None),
    "fpzip": Way("fpzip", "float32", None),
    "kempressed": Way("kempressed", "float32", None, tolerance=1e-6),
    "zfpc": Way("zfpc", "float32", None),
    "zfpc to 0.01": Way("zfpc", "float32", None, settings={"zfpc_tolerance": 0.01}, tolerance=0.05),
    "npz": Way("npz", "int32", None),
    "npz_uint8": Way("npz_uint8", "float32", None, tolerance=1 / 255),
}

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
    **{f"encoding {name}": way for name, way in _ENCODINGS.items()},
    **{f"encoding {name} in shards": replace(way, sharding=_ONE) for name, way in _ENCODINGS.items()},
}


def create(url: str, way: Way) -> None:
    """Make the volume that all write to."""
    from volumekit import Volume

    layout = {"chunk_size": CHUNK, "sharding": way.sharding, **way.settings}
    info = Volume.create_new_info(1, "image", way.dtype, way.encoding, (4, 4, 40), (-3, 5, 7), SHAPE, **layout)
    volume = Volume(url, info=info, compress=way.before or None)
    volume.commit_info()
    if way.before != "":
        volume[:] = 0


def plane(way: Way, z: int) -> NDArray[Any]:
    """Return what is written at a z, (x, y): noise, or flat if pictures are made of it that lose something."""
    if way.encoding in ("jpeg", "jxl"):
        return np.full(SHAPE[:2], z + 50, way.dtype)
    rng = np.random.default_rng(z)
    values = rng.uniform(0.1, 1, SHAPE[:2]) if way.dtype == "float32" else rng.integers(1, 7, SHAPE[:2])
    return values.astype(way.dtype)


def write_planes(url: str, way: Way, first: int, start: Barrier) -> None:
    """Write every `WRITERS`-th plane along z, one by one."""
    from volumekit import Volume

    volume = Volume(url, compress=way.compress, non_aligned_writes=True)
    low, high = volume.bounds.minpt[2], volume.bounds.maxpt[2]
    start.wait(60)
    for z in range(int(low) + first, int(high), WRITERS):
        volume[:, :, z, 0] = plane(way, z)


def lost_planes(url: str, way: Way) -> int:
    """Let processes interleave planes; return how many are not what was written."""
    return wrong_planes(url, way) if write_together(write_planes, url, way) else SHAPE[2]


def wrong_planes(url: str, way: Way) -> int:
    """Return how many planes are not what was written."""
    from volumekit import Volume

    volume = Volume(url)
    voxels, low = np.asarray(volume[..., 0]), int(volume.bounds.minpt[2])
    off = (np.abs(voxels[:, :, n].astype(float) - plane(way, low + n)).max() for n in range(SHAPE[2]))
    return sum(not most <= way.tolerance for most in off)


def main() -> int:
    """Run the campaign; return 1 if anything was lost."""

    def lost(folder: str, name: str) -> int:
        create(folder, WAYS[name])
        return lost_planes(folder, WAYS[name])

    return command(__doc__, WAYS, lost, count=SHAPE[2], unit="planes")


if __name__ == "__main__":
    sys.exit(main())
