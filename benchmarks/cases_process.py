"""What takes a fresh process each time: peak memory and imports."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.bars import Bar, at_most_itself, at_most_more
from benchmarks.data import Data, Shape
from benchmarks.harness import Case, Contest, Sample
from benchmarks.ours import BARE, CLOUDVOLUME, OURS, TENSORSTORE, contestants, installed

PEERS = (TENSORSTORE, CLOUDVOLUME)
IMPORTS = {
    OURS: "import volumekit",
    BARE: "pass",
    TENSORSTORE: "import tensorstore",
    CLOUDVOLUME: "import cloudvolume",
}
NAMES = IMPORTS | {OURS: "from volumekit import Volume"}


def cases() -> Iterator[Case]:
    """Yield peak memory of a large read, and imports."""
    yield Case("peak memory, 512^3 uint8 raw 64^3", peak_memory)
    yield Case("import", functools.partial(imports, IMPORTS, bars=(at_most_more(0.050, BARE),)))
    yield Case("import and name Volume", functools.partial(imports, NAMES, bars=()))


def peak_memory(data: Data) -> Contest:
    """Read a large box; samples are the growth of resident memory over the size of the box."""
    probe = functools.partial(_probe, path=data.large, shape=data.extent.large)

    def contestant(name: str) -> Sample:
        def sample(_: int) -> float:
            told = probe(name)
            return float(told["growth"] / told["cutout"])

        return sample

    def check() -> None:
        crcs = {name: probe(name)["crc"] for name in (OURS, *PEERS) if installed(name)}
        assert len(set(crcs.values())) == 1, f"not the same voxels: {crcs}"

    return Contest(contestants(contestant, PEERS), check, (at_most_itself(1.15, "1.15x the cutout"),), unit="x cutout")


def _probe(name: str, *, path: Path, shape: Shape) -> dict[str, Any]:
    arguments = [name, str(path), *map(str, shape)]
    told: dict[str, Any] = json.loads(python("-m", "benchmarks.memory_probe", *arguments).splitlines()[-1])
    return told


def imports(code: dict[str, str], data: Data, *, bars: tuple[Bar, ...]) -> Contest:
    """Import in a fresh process; bare Python takes part to be subtracted."""

    def contestant(name: str) -> Sample:
        return lambda _: _seconds(code[name])

    return Contest(contestants(contestant, (BARE, *PEERS)), lambda: None, bars)


def _seconds(code: str) -> float:
    start = time.perf_counter()
    python("-c", code)
    return time.perf_counter() - start


def python(*arguments: str) -> str:
    """Run Python where all that is importable here is importable."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=everything_importable()).stdout


def everything_importable() -> dict[str, str]:
    """Return an environment in which all that is importable here is importable."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
