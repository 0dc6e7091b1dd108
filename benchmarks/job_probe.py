"""Peak memory of a conversion, in a process of its own.

``python -m benchmarks.job_probe STACK TARGET MEMORY`` makes a stack of slices a volume with 5 more levels, and prints
JSON: the most memory of this process that was ever resident, in bytes.
"""

from __future__ import annotations

import json
import sys

from benchmarks import pipelines
from benchmarks.memory_probe import status
from volumekit import convert


def main(stack: str, target: str, memory: str) -> None:
    """Convert, and print what it took."""
    convert(stack, target, mips=pipelines.MIPS, voxel_size=pipelines.RESOLUTION, memory=memory, progress=False)
    print(json.dumps({"peak": status("VmHWM")}))  # not ru_maxrss, which begins with that of the process that began this


if __name__ == "__main__":
    main(*sys.argv[1:])
