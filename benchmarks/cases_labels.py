"""Labels of boxes: which there are, where one is, and small numbers for them, beside CloudVolume."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.bars import at_most
from benchmarks.cases_encodings import COMPRESSO, CRACKLE
from benchmarks.cases_read import open_volumes
from benchmarks.data import CSEG, Data, Layout
from benchmarks.harness import Case, Contest, Sample, timed
from benchmarks.ours import CLOUDVOLUME, TENSORSTORE, contestants
from benchmarks.peers import Box, PeerVolume

RAW_LABELS = Layout("raw uint64 64^3", labels=True, small=True)
LAYOUTS = (RAW_LABELS, CSEG, COMPRESSO, CRACKLE)

Ask = Callable[[PeerVolume, Box, int], Any]


def cases() -> Iterator[Case]:
    """Yield a case per layout and question."""
    for layout in LAYOUTS:
        for what, ask in QUESTIONS.items():
            yield Case(f"labels, {layout.name}: {what}", functools.partial(_contest, layout, ask))


def _unique(volume: PeerVolume, box: Box, _: int) -> Any:
    return volume.unique(box)


def _mask(volume: PeerVolume, box: Box, label: int) -> Any:
    return volume.download(box, label=label)


def _renumber(volume: PeerVolume, box: Box, _: int) -> Any:
    return volume.download(box, renumber=True)


QUESTIONS: dict[str, Ask] = {"unique": _unique, "mask": _mask, "renumber": _renumber}


def _contest(layout: Layout, ask: Ask, data: Data) -> Contest:
    """Ask of all but a rim of the volume, so that some chunks lie on the border of the box."""
    array = data.array(layout)
    x, y, z = (slice(5, n - 7) for n in array.shape)
    middle = tuple(n // 2 for n in array.shape)
    volumes, label = open_volumes(layout, data), int(array[middle])
    volumes.pop(TENSORSTORE, None)

    def contestant(name: str) -> Sample:
        return timed(lambda box: ask(volumes[name], box, label), lambda _: (x, y, z))

    def check() -> None:
        wanted = _answer(ask, array[x, y, z], label)
        for name, volume in volumes.items():
            told = ask(volume, (x, y, z), label)
            assert _same(told, wanted, array[x, y, z]), f"{name} says something else of the labels of {layout.name}"

    return Contest(contestants(contestant, [CLOUDVOLUME]), check, (at_most(1.1, CLOUDVOLUME),))


def _answer(ask: Ask, voxels: Any, label: int) -> Any:
    if ask is _unique:
        return set(np.unique(voxels).tolist())
    return voxels == label if ask is _mask else None


def _same(told: Any, wanted: Any, voxels: Any) -> bool:
    """Tell whether an answer is right; of numbers, whether they stand for the labels."""
    if wanted is None:
        numbers, mapping = told
        labels = np.zeros(len(mapping), voxels.dtype)
        labels[list(mapping.values())] = list(mapping)
        return bool((labels[np.asarray(numbers)[..., 0]] == voxels).all())
    if isinstance(wanted, set):
        return set(map(int, told)) == wanted
    return bool((np.asarray(told)[..., 0] == wanted).all())
