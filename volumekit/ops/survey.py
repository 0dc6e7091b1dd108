"""All damaged images that a task met, where the first of them is enough for it to fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np

from volumekit.engine.planes import reads_planes
from volumekit.errors import VolumekitError
from volumekit.formats.stack import Stack
from volumekit.model.bbox import Bbox
from volumekit.ops.inputs import DerivedInput, Input, VolumeInput
from volumekit.ops.resume import mark_of
from volumekit.ops.runners import Report

SHOWN = 10
"""Damaged images that an error names."""

_MOST = 1 << 16
_known: dict[tuple[object, ...], dict[str, str]] = {}
"""What was found of planes, by image, its size and its time: tasks that fail for the same images look at them once."""


def survey(source: Input, box: Bbox, report: Report) -> dict[str, str]:
    """Return the damaged images in a box of an input, with what is wrong with them; none if it has no images.

    Parameters
    ----------
    source : Input
        The input; an image stack, perhaps changed.
    box : Bbox
        Inside its bounds.
    report : callable
        Told of no bytes, again and again; raises to stop.
    """
    while isinstance(source, DerivedInput):
        box, source = source.there(box), source.base
    found: dict[str, str] = {}
    if isinstance(source, VolumeInput) and reads_planes(source.array()):
        with suppress(VolumekitError, OSError):  # of another kind: an image that is missing, a storage that fails
            for damaged in _surveyed(source, box):
                found |= damaged
                report(0)
    return found


def _surveyed(source: VolumeInput, box: Bbox) -> Iterator[dict[str, str]]:
    """Yield what is damaged, plane by plane."""
    (x, y, low), (x_end, y_end, high) = box.minpt.tolist(), box.maxpt.tolist()
    plane = np.empty((x_end - x, y_end - y, 1, source.channels), source.dtype, order="F")
    fmt = source.volume.array().fmt
    assert isinstance(fmt, Stack)
    for z in range(low, high):
        name = fmt.file(z) or ""
        key = (source.volume.cloudpath, z, name, mark_of(source.volume, name))
        damaged = _known.get(key)
        if damaged is None:
            damaged = {}
            noting = replace(source, damaged=damaged, readers=0)
            noting.read(Bbox((x, y, z), (x_end, y_end, z + 1)), plane, lambda _: None)
            if len(_known) >= _MOST:
                _known.clear()
            _known[key] = damaged
        yield damaged


def name_all(error: VolumekitError, found: Mapping[str, str]) -> None:
    """Let the error about a damaged image name all of them."""
    key = error.key
    if found and key and not any(name == key or name.startswith(f"{key}#") for name in found):
        found = {**found, key: error.message}
    error.damaged = {**found}
    if len(found) > 1:
        shown = [f"{name}: {found[name]}" for name in sorted(found)[:SHOWN]]
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        error.message = f"{len(found)} images are damaged: {'; '.join([*shown, *more])}"
