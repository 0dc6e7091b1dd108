"""Writers that are killed (SIGKILL) at random moments: no chunk may be torn, and the next writer must not notice.

``python -m benchmarks.campaigns.kill_writers --kills 50``
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from typing import Any

SHAPE = (256, 256, 64)
CHUNK = (64, 64, 32)
WAYS: dict[str, tuple[str, str, str | None]] = {
    "native raw": ("raw", "uint16", None),
    "bridge raw.gz": ("raw", "uint16", "gzip"),
    "native compressed_segmentation": ("compressed_segmentation", "uint32", None),
    "sharded raw": ("raw", "uint16", None),
}
SHARDING = {"preshift_bits": 2, "hash": "identity", "minishard_bits": 1, "shard_bits": 2}


def create(url: str, way: str) -> None:
    """Make a volume whose chunks each hold one value."""
    from volumekit import Volume

    encoding, dtype, compress = WAYS[way]
    layout = {"chunk_size": CHUNK, "sharding": SHARDING if way.startswith("sharded") else False}
    info = Volume.create_new_info(1, "image", dtype, encoding, (4, 4, 40), (0, 0, 0), SHAPE, **layout)
    volume = Volume(url, info=info, compress=compress)
    volume.commit_info()
    volume[:] = 1


def write_forever(url: str, compress: str | None, ready: Any) -> None:
    """Fill the volume with one value after another, until killed."""
    from volumekit import Volume

    volume = Volume(url, compress=compress)
    ready.set()
    value = 2
    while True:
        volume[:] = value
        value = value % 60000 + 1


def torn_chunks(url: str, way: str, pause: float) -> int:
    """Kill a writer after a pause; return how many chunks are missing, damaged or hold two values."""
    from volumekit import Volume
    from volumekit.errors import VolumekitError

    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    job = context.Process(target=write_forever, args=(url, WAYS[way][2], ready))
    job.start()
    ready.wait(60)
    time.sleep(pause)
    job.kill()
    job.join()
    volume, torn = Volume(url), 0
    report = volume.exists()
    for box in report.bounds_of(report):
        try:
            chunk = volume[box]
            torn += int(chunk.min() != chunk.max())
        except VolumekitError:
            torn += 1
    return torn


def writable_after(url: str, way: str) -> bool:
    """Tell whether the next writer works as if nothing had happened, stale locks included."""
    from volumekit import Volume

    volume = Volume(url, compress=WAYS[way][2], non_aligned_writes=True)
    volume[:] = 7
    volume[1 : SHAPE[0] - 1, 3:9] = 8
    expected = 7 * volume.size + (SHAPE[0] - 2) * 6 * SHAPE[2]
    right = int(volume[:].sum(dtype="uint64")) == expected
    volume[:] = 1
    return right


def main() -> int:
    """Run the campaign; return 1 if anything was torn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chance, bad = random.Random(arguments.seed), 0
    for way in WAYS:
        torn = broken = 0
        with tempfile.TemporaryDirectory() as folder:
            create(folder, way)
            for _ in range(arguments.kills):
                torn += torn_chunks(folder, way, chance.uniform(0, 0.3))
                broken += not writable_after(folder, way)
        print(f"{way:36} {torn} torn chunks, {broken} failed writes after {arguments.kills} kills", flush=True)
        bad += torn + broken
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
