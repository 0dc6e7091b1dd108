"""Memory does not grow with the input: the same job on stacks of more and more slices.

``python -m benchmarks.campaigns.flat_memory --slices 512 4096`` makes slices of 2048 x 2048 a volume with 5 more levels
within 1 GB, and prints the peak memory of each process. The slices are names of a few files: only results take room.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import pipelines
from benchmarks.cases_process import python
from benchmarks.data import image

FILES = 16
"""How many slices differ."""


def peak(folder: Path, side: int, slices: int, memory: str) -> int:
    """Return the most resident memory, in bytes, of a process that converts so many slices."""
    stack, target = folder / "stack", folder / "target"
    pipelines.make_stack(stack, image((side, side, FILES)), min(FILES, slices))
    files = sorted(stack.iterdir())
    for z in range(len(files), slices):
        (stack / f"{z:05}.tif").hardlink_to(files[z % len(files)])
    told = python("-m", "benchmarks.job_probe", str(stack), str(target), memory)
    shutil.rmtree(target)
    shutil.rmtree(stack)
    return int(json.loads(told.splitlines()[-1])["peak"])


def main() -> int:
    """Run the campaign; return 1 if memory grows, or is more than allowed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, nargs="+", default=[512, 4096])
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--memory", type=int, default=10**9)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    peaks = []
    for slices in arguments.slices:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            peaks.append(peak(Path(name), arguments.side, slices, str(arguments.memory)))
        size = arguments.side**2 * slices / 2**30
        print(f"{slices} slices, {size:.2f} GiB: {peaks[-1] / 1e6:.0f} MB at most", flush=True)
    return int(max(peaks) > min(arguments.memory, 1.1 * peaks[0]))


if __name__ == "__main__":
    sys.exit(main())
