"""Cache directories that were left in disorder: damaged accounts, damaged files."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

from volumekit.cache.files import remove_stale
from volumekit.cache.index import NAME, Index, is_damage

_LOCK = "index.lock"
_open: dict[tuple[str, int], Index] = {}
_lock = threading.Lock()


def open_index(directory: str, max_bytes: int) -> Index:
    """Return the account of a cache directory, one per process; a damaged one is made anew.

    Raises
    ------
    OSError, sqlite3.Error
        If the directory cannot be used.
    """
    place = directory, max_bytes
    with _lock:
        found = _open.get(place)
        if found is None or not _is_current(found):
            found = _open[place] = _opened(directory, max_bytes)
            remove_stale(directory)
    return found


def exists(directory: str) -> bool:
    """Tell whether a directory has an account.

    Raises
    ------
    OSError
        If there cannot be such a directory.
    """
    try:
        (Path(directory) / NAME).stat()
    except FileNotFoundError:
        return False
    return True


def _opened(directory: str, max_bytes: int) -> Index:
    try:
        return Index(directory, max_bytes)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
    with _alone(directory):
        try:
            return Index(directory, max_bytes)  # somebody else was here first
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        _remove(directory)
        return Index(directory, max_bytes)


def discard(index: Index) -> None:
    """Remove a damaged account; whoever opens the directory next starts another."""
    with _alone(index.directory):
        if _is_current(index):
            _remove(index.directory)


def _is_current(index: Index) -> bool:
    try:
        return os.stat(index.path).st_ino == index.file  # noqa: PTH116
    except OSError:
        return False


def _remove(directory: str) -> None:
    for name in (NAME, f"{NAME}-wal", f"{NAME}-shm"):
        (Path(directory) / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[None]:
    """Keep other processes out; such a lock is gone with whoever holds it."""
    with (Path(directory) / _LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def verify(index: Index, folder: str) -> list[str]:
    """Compare every object of a dataset with its checksum; damaged ones are removed.

    Returns
    -------
    list of str
        Keys of the damaged ones.
    """
    dataset, root = index.dataset(folder), Path(index.directory) / folder
    bad = []
    for key, entry in index.everything(dataset).items():
        if entry.size < 0 or entry.coming is not None:
            continue
        try:
            data = (root / key).read_bytes()
        except FileNotFoundError:
            continue  # evicted
        except OSError:
            data = b""
        if len(data) != entry.size or zlib.crc32(data) != entry.crc:
            bad.append(key)
    # What somebody replaced while it was read is not damaged.
    now = index.get(dataset, bad)
    bad = [key for key in bad if key in now and not _is_right(root / key, now[key].crc)]
    index.forget(dataset, bad)
    return bad


def _is_right(path: Path, crc: int) -> bool:
    try:
        return zlib.crc32(path.read_bytes()) == crc
    except OSError as error:
        return isinstance(error, FileNotFoundError)
