"""Reading through a disk cache that is filled, beside reading a local copy."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from benchmarks.bars import at_most
from benchmarks.data import CSEG, JPEG, RAW, Data, Layout, whole
from benchmarks.harness import Case, Contest, Sample, timed
from benchmarks.ours import OURS, VolumekitVolume

LOCAL = "a local copy"


def cases() -> Iterator[Case]:
    """Yield a case per layout."""
    for layout in (RAW, JPEG, CSEG):
        yield Case(f"read all again through the disk cache, {layout.name}", functools.partial(read_again, layout))


def read_again(layout: Layout, data: Data) -> Contest:
    """Read a whole volume whose chunks are all in the cache."""
    from volumekit import Cache

    path = data.dataset(layout)
    cache = Cache(data.folder / "cache")
    volumes = {OURS: VolumekitVolume.open(path, cache=cache), LOCAL: VolumekitVolume.open(path)}
    box = whole(data.array(layout).shape)

    def check() -> None:
        assert (volumes[OURS].read(box) == volumes[LOCAL].read(box)).all()

    def contestant(name: str) -> Sample:
        return timed(volumes[name].read, lambda _: box)

    return Contest({name: contestant(name) for name in volumes}, check, (at_most(1.25, LOCAL),))
