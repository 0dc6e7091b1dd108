"""The datasets of a server by name; the sources file is read again when it changes."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from volumekit.errors import VolumekitError
from volumekit.serve.dataset import Dataset
from volumekit.serve.sources import ZARR, Source, distinct, read_sources

if TYPE_CHECKING:
    from volumekit.volume.volume import Volume

RELOOK = 1.0
"""Seconds after which the sources file is looked at again."""

_LOG = logging.getLogger("volumekit.serve")


class Catalog:
    """What is served.

    Attributes
    ----------
    datasets : dict
        By name.
    file : path or None
        The sources file.

    Parameters
    ----------
    sources : iterable
        Paths, URLs, volumes or sources.
    decodes : int
        How many chunks are decoded at the same time.
    file : path, optional
        A file of more sources, see `serve.sources.read_sources`.

    Raises
    ------
    OptionError
        If a source cannot be opened; names it.
    """

    def __init__(self, sources: Iterable[Any], *, decodes: int, file: str | os.PathLike[str] | None = None) -> None:
        self.executor = ThreadPoolExecutor(decodes, thread_name_prefix="volumekit-serve")
        self.datasets: dict[str, Dataset] = {}
        self._given = tuple(sources)
        self.file, self._looked, self._seen = file, time.monotonic(), _version(file)
        self._reading, self._adding = asyncio.Lock(), threading.Lock()
        self._open()

    def find(self, path: str) -> tuple[Dataset, str, bool] | None:
        """Return the dataset a path leads to, the rest of the path, and whether it is asked for as OME-Zarr.

        Names may have slashes; the longest one counts.
        """
        first, slash, rest = path.partition("/")
        dataset = self.datasets.get(first)
        if self._depth == 1 and dataset is not None and slash:
            return dataset, rest, False
        parts = path.split("/", self._depth)
        for n in range(min(self._depth, len(parts) - 1), 0, -1):
            name, rest = "/".join(parts[:n]), "/".join(parts[n:])
            for stem, as_zarr in ((name, False), (name.removesuffix(ZARR), True)):
                dataset = self.datasets.get(stem)
                if dataset is not None:
                    return dataset, rest, as_zarr
        return None

    def add(self, volume: Volume, *, kind: str | None = None) -> str:
        """Serve one more volume; return its name, which is made up where another one has it.

        Parameters
        ----------
        volume : Volume
            What to serve.
        kind : {"image", "segmentation"}, optional
            What it is shown as; None: what its metadata say.
        """
        source = replace(Source.of(volume), kind=kind)
        with self._adding:
            for name in _names(source.name):
                known = self.datasets.get(name)
                if known is None:
                    dataset = Dataset(replace(source, name=name), self.executor)
                    self._take({**self.datasets, name: dataset})
                    return name
                if known.source.kind == kind and known.take(volume):
                    return name
        raise AssertionError("there is always another name")

    def _take(self, datasets: dict[str, Dataset]) -> None:
        self.datasets = datasets
        self._depth = max((name.count("/") + 1 for name in datasets), default=1)

    def _open(self) -> None:
        """Open what is not open yet, and let go of what is no longer a source."""
        found: dict[str, Dataset] = {}
        named = () if self.file is None else read_sources(self.file)[0]
        for source in distinct([*named, *self._given]):
            known = self.datasets.get(source.name)
            same = known is not None and known.source == source
            found[source.name] = known if known is not None and same else Dataset(source, self.executor)
        self._take(found)

    async def follow(self) -> None:
        """Read the sources file again if it changed since it was last looked at."""
        if time.monotonic() - self._looked < RELOOK:
            return
        async with self._reading:
            self._looked = time.monotonic()
            seen = _version(self.file)
            if seen != self._seen:
                self._seen = seen
                await asyncio.get_running_loop().run_in_executor(self.executor, self._reread)

    def _reread(self) -> None:
        try:
            self._open()
        except (VolumekitError, OSError) as error:
            _LOG.warning("the sources stay as they were: %s", error)

    def close(self) -> None:
        """Let the threads end."""
        self.executor.shutdown(wait=False, cancel_futures=True)


def _names(name: str) -> Iterator[str]:
    yield name
    n = 1
    while True:
        n += 1
        yield f"{name}-{n}"


def _version(file: str | os.PathLike[str] | None) -> tuple[int, ...]:
    """Return what tells one version of a file from another."""
    try:
        facts = os.stat(file or "")  # noqa: PTH116
    except OSError:
        return ()
    return facts.st_mtime_ns, facts.st_size, facts.st_ino
