"""Plain files: one made and written; many opened and closed at a time, which takes Python longer than the system."""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import stat
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from volumekit import compiled

Files = NDArray[np.int32]
"""Descriptors of open files."""

READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # not blocking, as the name may be that of a pipe
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK  # no O_TRUNC: what is there is what comes, mostly
_MOST = 1 << 30  # Linux writes no more than 2 GiB at a time


def write_file(path: str, data: bytes | memoryview) -> None:
    """Write a file, and the folders it is in."""
    file = make_file(path, len(data))
    try:
        done = os.write(file, data)
        if done < len(data):
            write_all(file, memoryview(data)[done:], done)
    finally:
        os.close(file)


def make_file(path: str, size: int) -> int:
    """Open a file to be written, no longer than so many bytes, and make the folders it is in."""
    try:
        file = os.open(path, _WRITE, 0o666)
    except FileNotFoundError:
        os.makedirs(posixpath.dirname(path), exist_ok=True)  # noqa: PTH103
        file = os.open(path, _WRITE, 0o666)
    try:
        facts = os.fstat(file)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "this is no file", path)
        if facts.st_size > size:
            os.ftruncate(file, size)
    except BaseException:
        os.close(file)
        raise
    return file


def write_all(file: int, data: bytes | memoryview, start: int) -> None:
    """Write all of the data to an open file, at its place."""
    done = 0
    while done < len(data):
        done += os.pwrite(file, memoryview(data)[done : done + _MOST], start + done)


@contextlib.contextmanager
def opened(paths: Sequence[str]) -> Iterator[Files]:
    """Have files open to be read.

    Raises
    ------
    OSError, ValueError
        If one cannot be opened.
    """
    files = _opened(paths, READ)
    try:
        for n in np.flatnonzero(files < 0).tolist():
            files[n] = os.open(paths[n], READ)
        yield files
    finally:
        close_all(files)


def make_new(paths: Sequence[str]) -> Files:
    """Make files that are not there yet, to be written; -1 for those that cannot be, or not by compiled code."""
    return _opened(paths, _WRITE | os.O_EXCL)


def close_all(files: Files) -> NDArray[np.int32]:
    """Close those that are open, all of them; return the errors' numbers, of what network file systems do not keep."""
    errors = np.zeros(len(files), np.int32)
    if _compiled():
        from volumekit.storage.compiled_opens import close_files

        close_files(files, errors.ctypes.data)
        errors[errors == errno.EINTR] = 0  # Linux closes a file although it is interrupted
        return errors
    for n in np.flatnonzero(files >= 0).tolist():
        try:
            os.close(int(files[n]))
        except OSError as error:
            errors[n] = error.errno or errno.EIO
    return errors


def _opened(paths: Sequence[str], flags: int) -> Files:
    files = np.full(len(paths), -1, np.int32)
    try:
        names = os.fsencode("\0".join([*paths, ""]))
    except UnicodeEncodeError:
        return files
    if _compiled() and names.count(b"\0") == len(paths):
        from volumekit.storage.compiled_opens import open_named

        memory = np.frombuffer(names, np.uint8)
        open_named(memory.ctypes.data, flags, 0o666, files)
    return files


def _compiled() -> bool:
    return sys.platform == "linux" and compiled.files_available()
