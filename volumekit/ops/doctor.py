"""Examining a location: what works there, how fast, and what to do about what does not."""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from volumekit.errors import DatasetNotFoundError, PermissionDeniedError, VolumekitError
from volumekit.formats.base import Format
from volumekit.model.level import Level
from volumekit.model.url import URL
from volumekit.ops.probes import SKIPPED, Finding, Probes, tidied
from volumekit.storage import open_store
from volumekit.storage.base import Store
from volumekit.storage.fsspec import FsspecStore
from volumekit.volume.source import read_format, resolve, split_selector

QUESTIONS = ("reachable", "readable", "listable", "ranges", "writable", "conditional")
FINE, UNUSABLE, LOSSY = 0, 1, 3
SLOW = 0.05
"""Seconds per question from which a cache is worth its disk."""


@dataclass
class Examination:
    """What was found out about a location.

    Attributes
    ----------
    url : str
        The location.
    findings : dict of str to Finding
        Answers to `QUESTIONS`.
    latency : float, optional
        Seconds that a small question takes, the median of several.
    write_speed, read_speed : float, optional
        Bytes per second of one object at a time.
    credentials : str, optional
        Which were used, where that is known.
    format : str, optional
        Format of the dataset found.
    levels : list of dict
        Its levels: key, size, chunk, encoding, and the error of those that cannot be opened.
    no_dataset : str, optional
        Why none was found.
    damaged : bool
        Whether there is a dataset that cannot be understood.
    left : list of str
        Objects that were written to try something and could not be removed.
    """

    url: str
    findings: dict[str, Finding] = field(default_factory=lambda: dict.fromkeys(QUESTIONS, SKIPPED))
    latency: float | None = None
    write_speed: float | None = None
    read_speed: float | None = None
    credentials: str | None = None
    format: str | None = None
    levels: list[dict[str, Any]] = field(default_factory=list)
    no_dataset: str | None = None
    damaged: bool = False
    left: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0: all is well; 1: this is of no use, or something went wrong; 3: updates may be lost."""
        of_no_use = self.format is None and self.findings["writable"].holds is False
        if not self.findings["readable"].holds or self.damaged or self.left or of_no_use:
            return UNUSABLE
        lossy = self.findings["writable"].holds and self.findings["conditional"].holds is False
        return LOSSY if lossy else FINE

    @property
    def advice(self) -> list[str]:
        """What to do about what does not work."""
        return list(_advice(self))

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {**asdict(self), "advice": self.advice, "exit_code": self.exit_code}


def examine(
    url: Any,
    *,
    read_only: bool = False,
    format: str | None = None,  # noqa: A002 - the field's word
    storage_options: Mapping[str, Any] | None = None,
) -> Examination:
    """Find out by trying what works at a location. Nothing is left behind, and a dataset there is left alone.

    Parameters
    ----------
    url : str or os.PathLike
        The location, with or without a dataset.
    read_only : bool
        Whether to write nothing; else small objects are written under names of their own, and removed.
    format : str, optional
        Name of the format, as for `Volume`.
    storage_options : dict, optional
        Settings of the storage, as for `Volume`.

    Raises
    ------
    InvalidURLError, UnknownProtocolError, MissingExtraError, OptionError
        If there is nothing to examine. What the storage refuses is a finding, not an error.
    """
    place = resolve(url, format)
    store = open_store(split_selector(place)[0], options=storage_options)
    found, probes = Examination(str(place)), Probes(store)
    with _no_new_folders(store), tidied(probes) as found.left:
        fmt = _look(found, probes, place, storage_options)
        if found.findings["readable"].holds:
            _try(found, probes, fmt, read_only=read_only)
    found.credentials = store.credentials
    return found


def _look(found: Examination, probes: Probes, place: URL, options: Mapping[str, Any] | None) -> Format | None:
    """Find out whether the storage answers, and which dataset is there."""
    try:
        found.findings["readable"] = absent = probes.absent()
        found.findings["reachable"] = Finding(True)
        fmt = read_format(probes.store, place, options=options)
    except DatasetNotFoundError as error:
        found.no_dataset = error.message
        return None
    except VolumekitError as error:
        found.no_dataset = error.message
        if found.findings["reachable"] is SKIPPED:
            found.findings["reachable"] = found.findings["readable"] = Finding(False, error.message)
        found.damaged = bool(found.findings["readable"].holds) and not isinstance(error, PermissionDeniedError)
        return None
    found.format, found.levels = fmt.name, [_level(level) for level in fmt.levels]
    if not absent.holds:
        found.findings["readable"] = Finding(True, "but it refuses to tell what is absent")
    return fmt


def _level(level: Level) -> dict[str, Any]:
    if not level.placed:
        return {"key": level.key, **dict.fromkeys(("size", "chunk", "encoding")), "error": level.error}
    size, chunk = list(level.shape[:3]), list(level.chunk[:3])
    return {"key": level.key, "size": size, "chunk": chunk, "encoding": level.codec.name, "error": level.error}


def _try(found: Examination, probes: Probes, fmt: Format | None, *, read_only: bool) -> None:
    """Try everything that takes a storage that answers."""
    findings = found.findings
    key = next(iter(fmt.metadata()), None) if fmt else None
    if not read_only:
        findings["writable"] = probes.writes()
    if findings["writable"].holds:
        key = probes.name()
        findings["conditional"] = probes.conditional()
        with contextlib.suppress(VolumekitError):
            found.write_speed, found.read_speed = probes.throughput()
    findings["listable"] = probes.listed(key if findings["writable"].holds else None)
    with contextlib.suppress(VolumekitError):
        found.latency = probes.latency(key or probes.name("-absent"))
        if key is not None:
            findings["ranges"] = probes.ranges(key)


def _advice(found: Examination) -> Iterator[str]:
    holds = {name: finding.holds for name, finding in found.findings.items()}
    if not holds["reachable"]:
        yield "check the address, the network and the credentials"
    elif not holds["readable"]:
        yield "ask for permission to read, or choose other credentials"
    if found.findings["readable"].holds and found.findings["readable"].text:
        yield "ask for permission to list: without it, missing chunks cannot be told from forbidden ones"
    if holds["listable"] is False and holds["readable"]:
        yield "chunk reports will ask for each chunk, as nothing can be listed here"
    if holds["ranges"] is False:
        yield "sharded volumes cannot be read well here: they need parts of objects"
    if holds["writable"] and holds["conditional"] is False:
        yield "let each chunk be written by one process only: several that change parts of it may lose updates"
    if holds["writable"] is False and holds["readable"] and found.format is None:
        yield "check the path: there is no dataset, and none can be made"
    if found.damaged:
        yield "repair or replace the dataset's metadata"
    if found.latency is not None and found.latency > SLOW:
        yield "keep a local copy of what is read again (cache=True): each question takes long"
    for key in found.left:
        yield f"remove {key}, which may be written but not deleted with these credentials"


@contextlib.contextmanager
def _no_new_folders(store: Store) -> Iterator[None]:
    """Remove the folders that writing an object makes."""
    path, is_folder, remove = _folders(store)
    made = []
    while path and path != posixpath.dirname(path) and not is_folder(path):
        made.append(path)
        path = posixpath.dirname(path)
    try:
        yield
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                remove(folder)


def _folders(store: Store) -> tuple[str, Callable[[str], bool], Callable[[str], object]]:
    """Return where a store is in a file system, and how to look for and remove its folders; ``""``: in none."""
    spec = store.native()
    if spec is not None and spec["driver"] == "file":
        return spec["path"].rstrip("/"), os.path.isdir, os.rmdir
    if isinstance(store, FsspecStore) and not store.headed and store.writable:
        return store.root, store.files.fs.isdir, store.files.fs.rmdir
    return "", bool, bool
