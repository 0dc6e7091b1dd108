"""Peak memory of one read, in a process of its own.

``python -m benchmarks.memory_probe PROGRAM PATH X Y Z`` reads the box from the origin to (X, Y, Z) and prints JSON:
by how many bytes resident memory grew at its peak, from just after opening; the bytes of the box; its CRC-32.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from pathlib import Path

import numpy as np

from benchmarks.ours import PROGRAMS

RESET_PEAK = "5"


def main(program: str, path: str, *shape: str) -> None:
    """Read, and print what it took."""
    volume = PROGRAMS[program].open(path)
    x, y, z = (slice(0, int(size)) for size in shape)
    Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    before = status("VmRSS")
    voxels = volume.read((x, y, z))
    growth = status("VmHWM") - before
    crc = zlib.crc32(np.asfortranarray(voxels).tobytes(order="F"))
    print(json.dumps({"growth": growth, "cutout": voxels.nbytes, "crc": crc}))


def status(field: str) -> int:
    """Return a size from the kernel's account of this process, bytes."""
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None, field
    return int(found[1]) * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
