"""A directory of which nothing leads out: for showing files to others."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from volumekit.errors import ReadOnlyError
from volumekit.storage.base import Future, Store, Value, done, failed
from volumekit.storage.files import READ
from volumekit.storage.kvstore import TIME, FileStore, file_part, file_stamp, os_error

_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO}


class ConfinedStore(Store):
    """The files of a directory, read-only; what leads out of it is as if it were not there.

    ``..``, absolute names and symbolic links are followed only as far as they stay inside. Which file was opened is
    asked of the operating system after opening it, so that exchanging a link in between helps nobody.

    Parameters
    ----------
    base : FileStore
        The directory.
    """

    writable = False
    suffixed = near = True
    lasting = TIME

    def __init__(self, base: FileStore) -> None:
        self.url, self._base = base.url, base
        self.root = os.path.realpath(base.root).rstrip("/") + "/"

    def open(self, key: str) -> tuple[int, os.stat_result] | None:
        """Open a file; return its descriptor and what is known of it, None if there is no such file inside.

        Raises
        ------
        PermissionDeniedError, StorageError
            If it cannot be read.
        """
        if not key or key.startswith("/") or "\0" in key:
            return None
        try:
            file = os.open(self.root + key, READ)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise os_error(error, url=self.url, key=key) from error
        except UnicodeEncodeError:
            return None
        facts = os.fstat(file)
        if stat.S_ISREG(facts.st_mode) and _place(file, self.root + key).startswith(self.root):
            return file, facts
        os.close(file)
        return None

    def peek(self, key: str, start: int | None = None, stop: int | None = None) -> Value | None:
        """Read a key, or a range of it, in the calling thread."""
        found = self.open(key)
        if found is None:
            return None
        file, facts = found
        try:
            first, last, _ = slice(start, stop).indices(facts.st_size)
            return Value(file_part(file, first, last), file_stamp(facts))
        except OSError as error:
            raise os_error(error, url=self.url, key=key) from error
        finally:
            os.close(file)

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read a key, or a range of it."""
        try:
            return done(self.peek(key, start, stop))
        except Exception as error:
            return failed(error)

    def find(self, keys: Sequence[str]) -> Future[str | None]:
        """Return the first of these keys that exists."""
        try:
            return done(next((key for key in keys if self.peek(key, 0, 0) is not None), None))
        except Exception as error:
            return failed(error)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that start with ``prefix``."""
        folder = os.path.realpath(self.root + prefix.rpartition("/")[0])
        if not f"{folder}/".startswith(self.root):
            return
        inside = _Insides(self.root)
        for key in self._base.list(prefix):
            if inside.holds(self.root + key):
                yield key

    def commit(self, changes: Mapping[str, bytes | None], if_match: bytes | None = None) -> Future[Mapping[str, bytes]]:
        """Fail: what is shown to others is not changed by them."""
        return failed(ReadOnlyError("this storage cannot be written", url=self.url))


class _Insides:
    """Tells which files lie inside a directory; what was found out about a folder is remembered."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._known: dict[str, bool] = {}

    def holds(self, path: str) -> bool:
        folder = os.path.dirname(path)  # noqa: PTH120 - keys are text
        if folder not in self._known:
            self._known[folder] = f"{os.path.realpath(folder)}/".startswith(self._root)
        return self._known[folder] and (
            not os.path.islink(path) or os.path.realpath(path).startswith(self._root)  # noqa: PTH114
        )


def _place(file: int, path: str) -> str:
    """Return where an open file lies; empty if that cannot be said for sure."""
    if sys.platform == "linux":
        try:
            return os.readlink(f"/proc/self/fd/{file}")  # noqa: PTH115
        except OSError:
            pass
    real = Path(os.path.realpath(path))
    try:
        same = os.path.samestat(os.fstat(file), real.stat())
    except OSError:
        return ""
    return str(real) if same else ""
