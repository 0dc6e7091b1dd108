"""Cache directories that were left in disorder: damaged accounts, leftovers of killed processes, damaged files."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

from volumekit.cache.index import NAME, Entry, Index

TEMPORARY = ".tmp"
_open: dict[tuple[str, int], Index] = {}
_lock = threading.Lock()


def open_index(directory: str, max_bytes: int) -> Index:
    """Return the account of a cache directory, one per process; a damaged one is made anew.

    Raises
    ------
    OSError, sqlite3.Error
        If the directory cannot be used.
    """
    with _lock:
        place = directory, max_bytes
        if place not in _open or not (Path(directory) / NAME).exists():
            try:
                _open[place] = Index(directory, max_bytes)
            except sqlite3.OperationalError:
                raise  # locked, or not writable
            except sqlite3.DatabaseError:
                _open[place] = _renew(directory, max_bytes)
        return _open[place]


def _renew(directory: str, max_bytes: int) -> Index:
    """Start a new account: files that are there are noted, so that they count, but not trusted."""
    for name in (NAME, f"{NAME}-wal", f"{NAME}-shm"):
        with contextlib.suppress(FileNotFoundError):
            (Path(directory) / name).unlink()
    index, seen = Index(directory, max_bytes), set[Path]()
    for folder in sorted(_mirrors(Path(directory)), key=lambda path: -len(path.parts)):  # one may lie inside another
        files = {path for path in folder.rglob("*") if path.is_file() and ".volumekit" not in path.parts} - seen
        seen |= files
        entries = {str(path.relative_to(folder)): Entry(path.stat().st_size, -1, b"", 0, 0.0) for path in files}
        if not index.add(index.dataset(str(folder.relative_to(directory))), entries):
            for path in files:
                path.unlink(missing_ok=True)
    return index


def _mirrors(directory: Path) -> Iterator[Path]:
    """Yield the folders of datasets."""
    for marker in directory.rglob(".volumekit"):
        if marker.is_dir():
            yield marker.parent


def remove_leftovers(directory: str) -> None:
    """Remove what processes that are no more were writing."""
    folder = Path(directory) / TEMPORARY
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        owner = path.name.partition("-")[0]
        if not owner.isdecimal() or not _alive(int(owner)):
            with contextlib.suppress(OSError):
                path.unlink()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def verify(index: Index, folder: str) -> list[str]:
    """Compare every object of a dataset with its checksum; damaged ones are removed.

    Returns
    -------
    list of str
        Keys of the damaged ones.
    """
    dataset, root = index.dataset(folder), Path(index.directory) / folder
    entries, bad = index.everything(dataset), []
    for key, entry in entries.items():
        if entry.size < 0:
            continue
        try:
            data = (root / key).read_bytes()
        except OSError:
            continue  # evicted, or not yet there
        if len(data) != entry.size or zlib.crc32(data) != entry.crc:
            bad.append(key)
    index.forget(dataset, bad)
    return bad
