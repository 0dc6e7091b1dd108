"""Source and target of a job: never the same place, by whatever name they go."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from volumekit.errors import OptionError
from volumekit.volume.source import resolve, split_selector

if TYPE_CHECKING:
    from volumekit.model.url import URL
    from volumekit.volume.volume import Volume


def check_apart(volume: Volume | None, target: URL) -> None:
    """Refuse a target that is the source, or would be mixed up with it; links are followed.

    A volume and a target inside it, or around it, are refused. Images may lie beside the target, when a file or a
    pattern names them, but not in the very folder where the target's own files go; a folder of images holds no target.

    Parameters
    ----------
    volume : Volume or None
        The source; None: an array, which is.
    target : URL
        The dataset to come.

    Raises
    ------
    OptionError
        If they are not apart.
    """
    if volume is None:
        return
    source = resolve(volume.cloudpath)
    images = source.format == "stack"
    folder, selected = split_selector(source)
    here, there = _place(folder), _place(target)
    if _same(here, there):
        what = "would be written among its own images" if images else "are the same dataset"
        raise OptionError(f"source and target {what}: {volume.cloudpath}, {target}", url=str(target))
    if images and selected is None and _inside(there, here):
        raise OptionError(
            f"the target lies inside the folder of the source's images: {target}; choose a place outside it, or name "
            f"the images by a pattern such as '{folder.path}/*.tif'",
            url=str(target),
        )
    if not images and (_inside(here, there) or _inside(there, here)):
        raise OptionError(f"one of source and target lies inside the other: {volume.cloudpath}, {target}")


def _place(url: URL) -> URL:
    """Return the bare place, without links."""
    return replace(url, path=os.path.realpath(url.path)) if url.protocol == "file" else url


def _same(a: URL, b: URL) -> bool:
    if a.protocol == b.protocol == "file":
        with suppress(OSError):  # one of them does not exist
            return Path(a.path).samefile(b.path)
    return (a.protocol, a.endpoint, a.path) == (b.protocol, b.endpoint, b.path)


def _inside(inner: URL, outer: URL) -> bool:
    return any(_same(url, outer) for url in _parents(inner))


def _parents(url: URL) -> Iterator[URL]:
    while (parent := posixpath.dirname(url.path)) not in ("", url.path):
        url = replace(url, path=parent)
        yield url
