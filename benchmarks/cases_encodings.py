"""Every encoding: reading all, reading random cutouts, writing all, beside CloudVolume."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

from benchmarks.bars import Bar, at_most, faster
from benchmarks.cases_read import read_all, read_random
from benchmarks.cases_write import write_all
from benchmarks.data import CSEG, JPEG, PNG, RAW, RAW_GZ, Data, Layout
from benchmarks.harness import Case, Contest
from benchmarks.ours import CLOUDVOLUME, TENSORSTORE
from volumekit.codecs import CODECS

JXL = Layout("jxl 64^3", "jxl", tolerance=3, small=True)
COMPRESSO = Layout("compresso 64^3", "compresso", labels=True, small=True)
CRACKLE = Layout("crackle 64^3", "crackle", labels=True, small=True)
FPZIP = Layout("fpzip float32 64^3", "fpzip", dtype="float32", small=True)
KEMPRESSED = Layout("kempressed float32 64^3", "kempressed", dtype="float32", small=True, tolerance=1e-3)
ZFPC = Layout("zfpc float32 64^3", "zfpc", dtype="float32", small=True, tolerance=1e-3)
NPZ = Layout("npz 64^3", "npz", small=True)
NPZ_UINT8 = Layout("npz_uint8 float32 64^3", "npz_uint8", dtype="float32", small=True, unit=True, tolerance=1 / 255)

ENCODINGS = (RAW, RAW_GZ, JPEG, PNG, JXL, CSEG, COMPRESSO, CRACKLE, FPZIP, KEMPRESSED, ZFPC, NPZ, NPZ_UINT8)

MUCH_FASTER = (RAW_GZ, JPEG, CRACKLE)
"""Read at least 1.7 times as fast as CloudVolume; everything else takes at most 1.1 times its time."""


def cases() -> Iterator[Case]:
    """Yield three cases per encoding."""
    for layout in (layout for layout in ENCODINGS if layout.encoding in CODECS):
        reading: Bar = faster(1.7, CLOUDVOLUME) if layout in MUCH_FASTER else at_most(1.1, CLOUDVOLUME)
        ways = (("read all", read_all, reading), ("read random 64^3", read_random, at_most(1.1, CLOUDVOLUME)))
        for what, way, bar in (*ways, ("write all", write_all, at_most(1.1, CLOUDVOLUME))):
            yield Case(f"encoding {layout.name}: {what}", functools.partial(_against, way, layout, bar))


def _against(way: Callable[[Layout, Data], Contest], layout: Layout, bar: Bar, data: Data) -> Contest:
    """Return a contest with CloudVolume alone."""
    contest = way(layout, data)
    others = {name: sample for name, sample in contest.contestants.items() if name != TENSORSTORE}
    return replace(contest, contestants=others, bars=(bar,))
