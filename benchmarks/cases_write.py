"""Writing whole volumes, single chunks, and boxes off the chunk grid."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.bars import at_most
from benchmarks.data import CSEG, CSEG_GZ, JPEG, PNG, RAW, RAW_FLAT, RAW_GZ, Data, Layout, whole
from benchmarks.harness import Case, Contest, Sample, timed
from benchmarks.ours import CLOUDVOLUME, OURS, PROGRAMS, TENSORSTORE, VolumekitVolume, contestants, installed
from benchmarks.peers import Box, PeerVolume


class Target(NamedTuple):
    """Where a program writes."""

    path: Path
    volume: PeerVolume


def cases() -> Iterator[Case]:
    """Yield a case per layout and way of writing."""
    for layout in (RAW, RAW_FLAT, JPEG, PNG, CSEG, RAW_GZ, CSEG_GZ):
        yield Case(f"write all, {layout.name}", functools.partial(write_all, layout))
    yield Case(f"write all durably, {RAW.name}", functools.partial(write_all, RAW, durable=True))
    for layout in (RAW, JPEG, CSEG):
        yield Case(f"write one chunk, {layout.name}", functools.partial(write_chunk, layout))
    for layout in (RAW, CSEG):
        yield Case(f"write unaligned 64^3, {layout.name}", functools.partial(write_unaligned, layout))


def write_all(layout: Layout, data: Data, *, durable: bool = False) -> Contest:
    """Write a whole volume where nothing is yet.

    Each time into a new folder: where on the disk a folder lies makes a difference of two, time after time.
    """
    array = data.array(layout)
    box, peers = whole(array.shape), (TENSORSTORE,) if durable else layout.peers
    make = functools.partial(_make, layout, data, durable=durable)
    made = {name: make(name) for name in filter(installed, (OURS, *peers))}

    def contestant(name: str) -> Sample:
        def given(_: int) -> PeerVolume:
            data.put_away(made[name].path)
            made[name] = make(name)
            return made[name].volume

        return timed(lambda volume: volume.write(box, array), given)

    def check() -> None:
        for name, target in made.items():
            target.volume.write(box, array)
            check_written(name, target, layout, data, box)

    bars = (at_most(1.10, TENSORSTORE),) if TENSORSTORE in peers else ()
    return Contest(contestants(contestant, peers), check, bars)


def write_chunk(layout: Layout, data: Data, *, peers: tuple[str, ...] = (TENSORSTORE, CLOUDVOLUME)) -> Contest:
    """Write chunks that exist, one at a time, whole."""
    return _write_boxes(layout, data, peers, side=layout.chunk[0], grid=layout.chunk[0])


def write_unaligned(layout: Layout, data: Data) -> Contest:
    """Write boxes off the chunk grid, each into eight chunks or so whose other voxels stay."""
    return _write_boxes(layout, data, (TENSORSTORE,), side=layout.chunk[0], grid=1, non_aligned_writes=True)


def _write_boxes(
    layout: Layout, data: Data, peers: tuple[str, ...], *, side: int, grid: int, **options: Any
) -> Contest:
    array = data.array(layout)
    made = {name: _make(layout, data, name, ours=options) for name in filter(installed, (OURS, *peers))}
    for target in made.values():
        target.volume.write(whole(array.shape), array)

    def given(number: int) -> tuple[Box, Any]:
        box = data.box(number, array.shape, side=side, grid=grid)
        return box, np.asfortranarray(array[box])

    def contestant(name: str) -> Sample:
        volume = made[name].volume
        return timed(lambda args: volume.write(*args), given)

    def check() -> None:
        for name, target in made.items():
            target.volume.write(*given(0))
            check_written(name, target, layout, data, whole(array.shape))

    return Contest(contestants(contestant, peers), check, calls=data.extent.calls)


def _make(
    layout: Layout, data: Data, name: str, *, durable: bool = False, ours: dict[str, Any] | None = None
) -> Target:
    """Make an empty dataset with a program; all have the same settings."""
    compress = "gzip" if layout.gzip else False
    options: dict[str, dict[str, Any]] = {
        OURS: {"compress": compress, "durable": durable, **(ours or {})},
        TENSORSTORE: {"file_io_sync": durable},
        CLOUDVOLUME: {"compress": compress},
    }
    path, array, encoding = data.empty(), data.array(layout), layout.encoding
    create = PROGRAMS[name].create
    shards = data.sharding(layout)
    volume = create(path, array, chunk=layout.chunk, encoding=encoding, sharding=shards, write=False, **options[name])
    return Target(path, volume)


def check_written(name: str, target: Target, layout: Layout, data: Data, box: Box) -> None:
    """Raise unless what a program wrote reads as what it was given, or, where that is lossy, nearly so."""
    read = np.asarray(VolumekitVolume.open(target.path).read(box))[..., 0]
    wanted = data.array(layout)[box]
    if layout.tolerance:
        off, most = float(np.abs(read.astype(float) - wanted).mean()), layout.tolerance if layout.dtype else 8
        assert off <= most, f"{name} wrote {layout.name} that is {off:.1f} off on average"
    else:
        assert np.array_equal(read, wanted), f"{name} wrote other voxels of {layout.name}"
