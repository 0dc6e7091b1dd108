"""Writing whole volumes, single chunks, and boxes off the chunk grid."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bars import at_most
from benchmarks.data import CSEG, CSEG_GZ, JPEG, PNG, RAW, RAW_FLAT, RAW_GZ, Data, Layout, whole
from benchmarks.harness import Case, Contest, Sample, timed
from benchmarks.ours import CLOUDVOLUME, OURS, PROGRAMS, TENSORSTORE, VolumekitVolume, contestants, installed
from benchmarks.peers import Box, PeerVolume


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
    """Write a whole volume where nothing is yet."""
    array = data.array(layout)
    box, peers = whole(array.shape), _peers(layout, durable)
    made = _make(layout, data, peers, durable=durable)

    def contestant(name: str) -> Sample:
        path, volume = made[name]
        return timed(lambda _: volume.write(box, array), lambda _: _wipe(path))

    def check() -> None:
        for name, (_, volume) in made.items():
            volume.write(box, array)
            check_written(name, made, layout, data, box)

    bars = (at_most(1.10, TENSORSTORE),) if TENSORSTORE in peers else ()
    return Contest(contestants(contestant, peers), check, bars)


def write_chunk(layout: Layout, data: Data) -> Contest:
    """Write chunks that exist, one at a time, whole."""
    return _write_boxes(layout, data, (TENSORSTORE, CLOUDVOLUME), side=layout.chunk[0], grid=layout.chunk[0])


def write_unaligned(layout: Layout, data: Data) -> Contest:
    """Write boxes off the chunk grid, each into eight chunks or so whose other voxels stay."""
    return _write_boxes(layout, data, (TENSORSTORE,), side=layout.chunk[0], grid=1, non_aligned_writes=True)


def _write_boxes(
    layout: Layout, data: Data, peers: tuple[str, ...], *, side: int, grid: int, **options: Any
) -> Contest:
    array = data.array(layout)
    made = _make(layout, data, peers, ours=options)
    for _, volume in made.values():
        volume.write(whole(array.shape), array)

    def given(number: int) -> tuple[Box, Any]:
        box = data.box(number, array.shape, side=side, grid=grid)
        return box, np.asfortranarray(array[box])

    def contestant(name: str) -> Sample:
        volume = made[name][1]
        return timed(lambda args: volume.write(*args), given)

    def check() -> None:
        for name, (_, volume) in made.items():
            volume.write(*given(0))
            check_written(name, made, layout, data, whole(array.shape))

    return Contest(contestants(contestant, peers), check, calls=data.extent.calls)


def _peers(layout: Layout, durable: bool) -> tuple[str, ...]:
    return (TENSORSTORE,) if durable else layout.peers  # CloudVolume never waits for the disk


def _make(
    layout: Layout,
    data: Data,
    peers: tuple[str, ...],
    *,
    durable: bool = False,
    ours: dict[str, Any] | None = None,
) -> dict[str, tuple[Path, PeerVolume]]:
    """Make an empty dataset for each program that takes part."""
    compress = "gzip" if layout.gzip else False
    options: dict[str, dict[str, Any]] = {
        OURS: {"compress": compress, "durable": durable, **(ours or {})},
        TENSORSTORE: {"file_io_sync": durable},
        CLOUDVOLUME: {"compress": compress},
    }
    made = {}
    for name in filter(installed, (OURS, *peers)):
        path = data.empty()
        volume = PROGRAMS[name].create(
            path, data.array(layout), chunk=layout.chunk, encoding=layout.encoding, write=False, **options[name]
        )
        made[name] = path, volume
    return made


def _wipe(path: Path) -> None:
    """Remove all chunks; the metadata stays."""
    for folder in path.iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)


def check_written(
    name: str, made: dict[str, tuple[Path, PeerVolume]], layout: Layout, data: Data, box: Box
) -> None:
    """Raise unless what a program wrote reads as what it was given, or, where that is lossy, nearly so."""
    read = np.asarray(VolumekitVolume.open(made[name][0]).read(box))[..., 0]
    wanted = data.array(layout)[box]
    if layout.tolerance:
        off = float(np.abs(read.astype(np.int16) - wanted).mean())
        assert off < 8, f"{name} wrote {layout.name} that is {off:.1f} off on average"
    else:
        assert np.array_equal(read, wanted), f"{name} wrote other voxels of {layout.name}"
