"""Sharded volumes: reading all, reading random cutouts, writing all, and writing a chunk into a shard."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

from benchmarks.bars import Bar, at_most, faster
from benchmarks.cases_encodings import COMPRESSO, FPZIP, JXL, KEMPRESSED, NPZ, NPZ_UINT8, ZFPC
from benchmarks.cases_read import read_all, read_random
from benchmarks.cases_write import write_all, write_chunk
from benchmarks.data import Data, Layout
from benchmarks.harness import Case, Contest
from benchmarks.ours import CLOUDVOLUME, TENSORSTORE
from volumekit.codecs import CODECS

RAW = Layout("sharded raw, gzip", shards="gzip")
RAW_PLAIN = Layout("sharded raw", shards="raw")
JPEG = Layout("sharded jpeg", "jpeg", tolerance=2, shards="raw")
PNG = Layout("sharded png", "png", shards="raw")
CSEG = Layout("sharded cseg uint64, gzip", "compressed_segmentation", labels=True, shards="gzip")
CRACKLE = Layout("sharded crackle", "crackle", labels=True, small=True, shards="raw")

LAYOUTS = tuple(layout for layout in (RAW, RAW_PLAIN, JPEG, PNG, CSEG, CRACKLE) if layout.encoding in CODECS)
WRITTEN = (RAW, RAW_PLAIN, JPEG, CSEG)
OTHERS = tuple(
    replace(layout, name=f"sharded {layout.name.removesuffix(' 64^3')}", shards="raw")
    for layout in (JXL, COMPRESSO, FPZIP, KEMPRESSED, ZFPC, NPZ, NPZ_UINT8)
    if layout.encoding in CODECS
)
"""Encodings that take longer to decode than chunks take to be found."""


def cases() -> Iterator[Case]:
    """Yield a case per layout and way of reading or writing."""
    for layout in LAYOUTS:
        yield Case(f"read all, {layout.name}", functools.partial(_all, layout))
    for layout in LAYOUTS:
        yield Case(f"read random 64^3, {layout.name}", functools.partial(_random, layout))
    for layout in WRITTEN:
        yield Case(f"write all, {layout.name}", functools.partial(_written, layout))
    yield Case(f"write one chunk, {RAW_PLAIN.name}", functools.partial(_chunk, RAW_PLAIN))
    for layout in OTHERS:
        for what, way in (("read all", read_all), ("read random 64^3", read_random), ("write all", write_all)):
            yield Case(f"{what}, {layout.name}", functools.partial(_other, way, layout))
    for layout in (PNG, CRACKLE):
        yield Case(f"write all, {layout.name}", functools.partial(_written, layout))


def _all(layout: Layout, data: Data) -> Contest:
    return replace(read_all(layout, data), bars=(faster(1.7, CLOUDVOLUME),))


def _random(layout: Layout, data: Data) -> Contest:
    native: tuple[Bar, ...] = (at_most(1.2, TENSORSTORE),) if TENSORSTORE in layout.peers else ()
    peer = () if layout is PNG else (faster(10, CLOUDVOLUME),)  # decoding png takes longer than all else
    return replace(read_random(layout, data), bars=(*native, *peer))


def _other(way: Callable[[Layout, Data], Contest], layout: Layout, data: Data) -> Contest:
    return replace(way(layout, data), bars=(at_most(1.1, CLOUDVOLUME),))


def _written(layout: Layout, data: Data) -> Contest:
    return replace(write_all(layout, data), bars=(at_most(1.1, CLOUDVOLUME),))


def _chunk(layout: Layout, data: Data) -> Contest:
    """Leave CloudVolume out: it writes whole shards only."""
    return write_chunk(layout, data, peers=(TENSORSTORE,))
