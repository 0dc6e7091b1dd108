"""Reading whole volumes and random cutouts."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from benchmarks.bars import Bar, at_most, at_most_more, faster, share_of_lead
from benchmarks.data import CSEG, LAYOUTS, RAW, Data, Layout, whole
from benchmarks.harness import Case, Contest, Sample, timed
from benchmarks.ours import CLOUDVOLUME, OURS, PROGRAMS, TENSORSTORE, contestants, installed
from benchmarks.peers import Box, PeerVolume

SPEED_UP = {RAW: 3.0, CSEG: 2.0}
"""How many times CloudVolume's speed random cutouts need; elsewhere TensorStore's lead is the measure."""


def cases() -> Iterator[Case]:
    """Yield a case per layout and way of reading."""
    for layout in LAYOUTS:
        yield Case(f"read all, {layout.name}", functools.partial(read_all, layout))
    for layout in LAYOUTS:
        yield Case(f"read random 64^3, {layout.name}", functools.partial(read_random, layout))


def read_all(layout: Layout, data: Data) -> Contest:
    """Read a whole volume in one go."""
    volumes, box = open_volumes(layout, data), whole(data.array(layout).shape)

    def contestant(name: str) -> Sample:
        return timed(volumes[name].read, lambda _: box)

    bars = (at_most(1.10, TENSORSTORE),) if TENSORSTORE in layout.readers else ()
    check = functools.partial(check_reads, volumes, layout, data, [box])
    return Contest(contestants(contestant, layout.readers), check, bars)


def read_random(layout: Layout, data: Data) -> Contest:
    """Read small boxes off the chunk grid."""
    volumes, shape = open_volumes(layout, data), data.array(layout).shape

    def contestant(name: str) -> Sample:
        return timed(volumes[name].read, lambda number: data.box(number, shape))

    boxes = [data.box(number, shape) for number in range(3)]
    check = functools.partial(check_reads, volumes, layout, data, boxes)
    return Contest(contestants(contestant, layout.readers), check, _bars(layout), calls=data.extent.calls)


def _bars(layout: Layout) -> tuple[Bar, ...]:
    if TENSORSTORE not in layout.readers:
        return ()
    lead = faster(SPEED_UP[layout], CLOUDVOLUME) if layout in SPEED_UP else share_of_lead(0.9)
    return at_most_more(0.15e-3, TENSORSTORE), lead


def open_volumes(layout: Layout, data: Data) -> dict[str, PeerVolume]:
    """Open a dataset with each program that reads it."""
    names = [name for name in (OURS, *layout.readers) if installed(name)]
    return {name: PROGRAMS[name].open(data.dataset(layout)) for name in names}


def check_reads(volumes: dict[str, PeerVolume], layout: Layout, data: Data, boxes: list[Box]) -> None:
    """Raise unless everybody reads what was written or, where that is lossy, what TensorStore reads."""
    for box in boxes:
        voxels = {name: np.asarray(volume.read(box)) for name, volume in volumes.items()}
        theirs = next((voxels[name] for name in layout.readers if name in voxels), voxels[OURS])
        wanted = theirs if layout.tolerance else data.array(layout)[box][..., np.newaxis]
        for name, read in voxels.items():
            assert read.shape == wanted.shape, f"{name} read {read.shape}, not {wanted.shape}"
            assert read.dtype == wanted.dtype, f"{name} read {read.dtype}, not {wanted.dtype}"
            off = np.abs(read.astype(float) - wanted).max() if layout.tolerance else int((read != wanted).any())
            assert off <= layout.tolerance, f"{name} read other voxels of {layout.name} {box}"
