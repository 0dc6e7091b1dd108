"""Plain files: one made and written; many opened and closed at a time, which takes Python longer than the system."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import posixpath
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit import compiled

Files = NDArray[np.int32]
"""Descriptors of open files."""

AT_ONCE = 16
"""Files open at once for reading, by each thread."""

READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # not blocking, as the name may be that of a pipe
# No O_TRUNC: what is there is what comes, mostly. What a link leads to is no part of the dataset.
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
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
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            os.makedirs(posixpath.dirname(path), exist_ok=True)  # noqa: PTH103
        elif error.errno in (errno.ELOOP, errno.EMLINK):  # a symbolic link, as Linux and BSD say it
            os.unlink(path)  # noqa: PTH108
        else:
            raise
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
        _kernels()[1](files, errors.ctypes.data)
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
        memory = np.frombuffer(names, np.uint8)
        _kernels()[0](memory.ctypes.data, flags, 0o666, files)
    return files


@functools.cache
def _kernels() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return what opens and what closes, both loaded: where too many files are open, nothing could be any more."""
    from volumekit.storage.compiled_opens import close_files, open_named

    none = np.zeros(0, np.int32)
    open_named(none.ctypes.data, 0, 0, none)
    close_files(none, none.ctypes.data)
    return open_named, close_files


def _compiled() -> bool:
    return sys.platform == "linux" and compiled.files_available()
