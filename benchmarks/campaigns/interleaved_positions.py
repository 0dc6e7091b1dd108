"""Processes that write different positions of an axis into the same chunks at the same time: none may be lost.

Arrays whose chunks hold several positions of an axis beyond x, y, z and channel, written by TensorStore or by Python.

``python -m benchmarks.campaigns.interleaved_positions --tries 20``
"""

from __future__ import annotations

import json
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.campaigns.side_by_side import WRITERS, command, write_together

SHAPE, CHUNKS = (8, 8, 32, 32), (8, 8, 16, 16)
"""t, z, y, x."""

_V2 = {
    "zarr_format": 2, "shape": SHAPE, "chunks": CHUNKS, "dtype": "<u2", "fill_value": 1, "order": "C",
    "filters": None, "compressor": {"id": "zlib", "level": 1},
}  # fmt: skip
_LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
_V3 = {
    "zarr_format": 3, "node_type": "array", "shape": SHAPE, "data_type": "uint16", "fill_value": 1,
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": CHUNKS}},
    "chunk_key_encoding": {"name": "default"}, "codecs": [_LITTLE], "dimension_names": list("tzyx"),
}  # fmt: skip
_SHARDS = {
    "name": "sharding_indexed",
    "configuration": {
        "chunk_shape": [4, 8, 8, 8],
        "codecs": [_LITTLE, {"name": "numcodecs.lzma", "configuration": {}}],
        "index_codecs": [_LITTLE, {"name": "crc32c"}],
    },
}
_N5 = {"dimensions": SHAPE[::-1], "blockSize": CHUNKS[::-1], "dataType": "uint16", "axes": list("xyzt")}

WAYS: dict[str, dict[str, Any]] = {
    "zarr v2": {".zarray": _V2},
    "zarr v2, lzma": {".zarray": {**_V2, "compressor": {"id": "lzma"}}},
    "zarr v3": {"zarr.json": _V3},
    "zarr v3, lzma in shards": {"zarr.json": {**_V3, "codecs": [_SHARDS]}},
    "n5": {"attributes.json": {**_N5, "compression": {"type": "gzip"}}},
    "n5, lz4": {"attributes.json": {**_N5, "compression": {"type": "lz4", "blockSize": 65536}}},
}
"""Metadata of the arrays; TensorStore writes the first of each two, Python the others."""


def create(path: str, way: str) -> None:
    """Make the empty array that all write to."""
    Path(path).mkdir(exist_ok=True)
    for name, described in {**WAYS[way], ".zattrs": {"_ARRAY_DIMENSIONS": list("tzyx")}}.items():
        Path(path, name).write_text(json.dumps(described))


def write_positions(path: str, first: int, start: Barrier) -> None:
    """Write every `WRITERS`-th position, chunk by chunk."""
    from volumekit import Volume

    start.wait(60)
    for t in range(first, SHAPE[0], WRITERS):
        volume = Volume(path, at={"t": t})
        for x in range(0, SHAPE[3], CHUNKS[3]):
            volume[x : x + CHUNKS[3]] = 10 + t


def wrong_positions(path: str) -> int:
    """Return how many positions do not hold what was written."""
    from volumekit import Volume

    return sum(not bool(np.all(Volume(path, at={"t": t})[...] == 10 + t)) for t in range(SHAPE[0]))


def lost_positions(path: str) -> int:
    """Let processes write; return how many positions do not hold what was written."""
    return wrong_positions(path) if write_together(write_positions, path) else SHAPE[0]


def main() -> int:
    """Run the campaign; return 1 if anything was lost."""

    def lost(folder: str, way: str) -> int:
        create(f"{folder}/a", way)
        return lost_positions(f"{folder}/a")

    return command(__doc__, WAYS, lost, count=SHAPE[0], unit="positions")


if __name__ == "__main__":
    sys.exit(main())
