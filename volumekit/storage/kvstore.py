"""Files and memory, through TensorStore's key-value stores."""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import re
import stat
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import numpy as np
import tensorstore as ts

from volumekit.errors import (
    ConflictError,
    NoSpaceError,
    PermissionDeniedError,
    ReadOnlyError,
    StorageError,
    VolumekitError,
)
from volumekit.model.url import URL
from volumekit.storage import forkguard
from volumekit.storage.answers import parse_answer
from volumekit.storage.base import Future, Store, Value, chain, done, failed, gather, then
from volumekit.storage.context import context
from volumekit.storage.files import READ, Files, close_all, make_file, make_new, write_file
from volumekit.storage.translate import raise_translated, status

T = TypeVar("T")
R = TypeVar("R")
Ask = Callable[[ts.KvStore, bytes], ts.Future[Any]]
_LOCK = ".__lock"
_STAMP = struct.Struct("<xQQQ")  # TensorStore's own, of a file
TIME = slice(17, None)  # of such a stamp; the rest is another after the disk was mounted anew, or elsewhere
_SIZE = re.compile(r"(?:value of|total) size (\d+)")


class KvStore(Store):
    """Any of TensorStore's key-value stores.

    Parameters
    ----------
    url : URL
        Where it is.
    spec : dict
        The key-value store; its ``path`` ends in ``/``.
    durable : bool
        Whether writes are synced to the disk before they count as done.
    """

    def __init__(self, url: URL, spec: dict[str, Any], *, durable: bool = False) -> None:
        forkguard.check()
        self.url = str(url)
        self._spec = spec
        self._durable = durable
        self._kv = ts.KvStore.open(spec, context=context(durable=durable)).result()

    def native(self) -> dict[str, Any]:
        """Return the spec of this store."""
        return dict(self._spec)

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read a key, or a range of it."""
        forkguard.check()
        if start is None and stop is None:
            return self._request(key, lambda kv, name: kv.read(name), _value)
        wanted = slice(start or 0, stop)
        if stop is not None and not 0 <= wanted.start <= stop:  # TensorStore knows no such ranges
            return self._slice(key, wanted)
        part = self._request(key, lambda kv, name: kv.read(name, byte_range=wanted), _value)
        return chain(part, done, rescue=lambda error: self._cut(key, wanted, error))

    def _cut(self, key: str, wanted: slice, error: Exception) -> Future[Value | None] | None:
        """Read what there is of a range that reaches beyond the end of the object, or lies in a compressed one."""
        cause = error.__cause__ or error
        answer, told = parse_answer(str(cause)), _SIZE.search(str(cause))
        if answer is not None and answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return self._beyond(key, wanted)
        if not _is_another_part(cause):
            return None
        size = int(told[1]) if told else None
        if size is None or wanted.start < 0:
            return self._slice(key, wanted)
        return self._shorter(key, wanted, size) if wanted.start < size else self.read(key, 0, 0)

    def _shorter(self, key: str, wanted: slice, size: int) -> Future[Value | None]:
        """Read a range as far as the object goes, unless that is the size of a compressed one."""

        def rescue(error: Exception) -> Future[Value | None] | None:
            return self._slice(key, wanted) if _is_another_part(error.__cause__ or error) else None

        inside = slice(wanted.start, size)
        part = self._request(key, lambda kv, name: kv.read(name, byte_range=inside), _value)
        return chain(part, done, rescue=rescue)

    def _slice(self, key: str, wanted: slice) -> Future[Value | None]:
        """Read a whole object for the sake of a part."""
        return then(self.read(key), lambda value: value and value._replace(data=value.data[wanted]))

    def _beyond(self, key: str, wanted: slice) -> Future[Value | None]:
        """Read a range that starts beyond the end of what is stored: nothing, unless that is compressed."""

        def rescue(error: Exception) -> Future[Value | None]:
            answer = parse_answer(str(error.__cause__ or error))
            empty = answer is not None and answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            return self.read(key, 0, 0) if empty else self._slice(key, wanted)

        first = self._request(key, lambda kv, name: kv.read(name, byte_range=slice(0, 1)), _value)
        return chain(first, lambda value: done(value and value._replace(data=b"")), rescue=rescue)

    def _full(self, key: str) -> str:
        """Return the key as TensorStore's store below knows it."""
        return key

    def _request(self, key: str, ask: Ask, step: Callable[[Any], T], *, writes: bool = False) -> Future[T]:
        """Ask TensorStore for something about a key, and translate its answer."""
        return self._ask(self._kv, key, ask, step)

    def _ask(self, kv: ts.KvStore, key: str, ask: Ask, step: Callable[[Any], T]) -> Future[T]:
        try:
            future = ask(kv, self._full(key).encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError as error:
            return failed(StorageError(f"{key!r} cannot be the name of an object: {error.reason}", url=self.url))
        except StorageError as error:
            return failed(error)

        def settle(finished: ts.Future[Any]) -> T:
            try:
                return step(finished.result())
            except (ValueError, IndexError, NotImplementedError) as error:
                raise_translated(error, url=self.url, key=key)

        return _Mapped(future, settle)

    def commit(self, changes: Mapping[str, bytes | None], if_match: bytes | None = None) -> Future[Mapping[str, bytes]]:
        """Write or delete keys, one object each."""
        forkguard.check()
        if not self.writable:
            return failed(ReadOnlyError("this storage cannot be written", url=self.url))
        return gather({key: self._write(key, value, if_match) for key, value in changes.items()})

    def _write(self, key: str, value: bytes | None, if_match: bytes | None) -> Future[bytes]:
        def stamp(result: Any) -> bytes:
            if not result.generation:
                raise ConflictError("the object changed since it was read; read it again", url=self.url, key=key)
            return bytes(result.generation)

        return self._request(key, lambda kv, name: kv.write(name, value, if_equal=if_match), stamp, writes=True)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that start with ``prefix``."""
        forkguard.check()
        try:
            start = self._full(prefix).encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return
        upper = start + b"\xff" * 8 if start else b""
        found = self._kv.list(ts.KvStore.KeyRange(start, upper)).result()
        yield from (prefix + key[len(start) :].decode("utf-8", "surrogateescape") for key in found)


class _Mapped:
    """A TensorStore future seen through a function: no lock and no thread, unlike `then`."""

    __slots__ = ("_future", "_settle")

    def __init__(self, future: ts.Future[Any], settle: Callable[[Any], Any]) -> None:
        self._future, self._settle = future, settle

    def result(self, timeout: float | None = None) -> Any:
        if timeout is not None:
            self._future.exception(timeout=timeout)
        return self._settle(self._future)

    def add_done_callback(self, fn: Callable[[Any], object], /) -> None:
        def call(_: Any) -> None:
            fn(self)

        self._future.add_done_callback(call)


def _is_another_part(error: BaseException) -> bool:
    """Tell whether something came that was not the range asked for."""
    answer = parse_answer(str(error))
    return status(error) in ("OUT_OF_RANGE", "FAILED_PRECONDITION") or (answer is not None and answer.garbled)


def _value(result: Any) -> Value | None:
    if result.state == "unspecified":
        raise ValueError("UNAVAILABLE: the server answered that nothing has changed, which nobody had asked")
    return None if result.state == "missing" else Value(result.value, result.stamp.generation)


class FileStore(KvStore):
    """A directory. Programs of this field keep compressed objects in files like ``key.gz``."""

    suffixed = near = True
    lasting = TIME

    def __init__(self, url: URL, *, durable: bool = False, options: Mapping[str, Any] | None = None) -> None:
        self.root = posixpath.normpath(url.path) + "/"
        if self.root == "//":
            self.root = "/"
        super().__init__(url, {"driver": "file", "path": "/"}, durable=durable)
        self._spec = {"driver": "file", "path": self.root}

    def _full(self, key: str) -> str:
        return _normal(self.root + key)[1:]

    def peek(self, key: str, start: int | None = None, stop: int | None = None) -> Value | None:
        """Read a key, or a range of it, in the calling thread."""
        path = _normal(self.root + key)
        try:
            if start == stop == 0:
                facts = os.stat(path)  # noqa: PTH116 - as in _is_file
                return Value(b"", file_stamp(facts)) if stat.S_ISREG(facts.st_mode) else None
            file = os.open(path, READ)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except ValueError:  # a NUL in the name
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return None
            raise os_error(error, url=self.url, key=key) from error
        try:
            facts = os.fstat(file)
            if not stat.S_ISREG(facts.st_mode):
                return None
            first, last, _ = slice(start, stop).indices(facts.st_size)
            return Value(file_part(file, first, last), file_stamp(facts))
        except OSError as error:
            raise os_error(error, url=self.url, key=key) from error
        finally:
            os.close(file)

    def put(self, key: str, data: bytes | memoryview | None) -> None:
        """Write or delete a file that nobody reads yet, under its own name from the beginning."""
        if data is None or self._durable or not self.writable:
            super().put(key, data)
            return
        self._on_file(write_file, key, data)

    def path(self, key: str) -> str:
        """Return the path of a key's file."""
        return _normal(self.root + key)

    def make(self, keys: Sequence[str], sizes: Sequence[int]) -> Files:
        """Open files of these sizes that nobody reads yet, under their own names from the beginning, to write them."""
        forkguard.check()
        files = make_new([self.path(key) for key in keys])
        try:
            for n in np.flatnonzero(files < 0).tolist():
                files[n] = self._on_file(make_file, keys[n], sizes[n])
        except BaseException:
            close_all(files)
            raise
        return files

    def close(self, keys: Sequence[str], files: Files) -> None:
        """Close files that were written."""
        errors = close_all(files)
        for n in np.flatnonzero(errors)[:1].tolist():
            error = OSError(int(errors[n]), os.strerror(int(errors[n])), self.path(keys[n]))
            raise os_error(error, url=self.url, key=keys[n])

    def _on_file(self, work: Callable[[str, T], R], key: str, what: T) -> R:
        """Do something with the file of a key; raise our errors, which name the key."""
        forkguard.check()
        try:
            return work(self.path(key), what)
        except ValueError as error:  # no name of a file
            raise StorageError(f"{key!r} cannot be the name of an object: {error}", url=self.url) from error
        except OSError as error:
            raise os_error(error, url=self.url, key=key) from error

    def tidy(self, folder: str) -> None:
        """Remove folders that hold nothing."""
        for path, _, _ in os.walk(_normal(self.root + folder), topdown=False):
            with contextlib.suppress(OSError):  # not empty
                os.rmdir(path)  # noqa: PTH106

    def find(self, keys: Sequence[str]) -> Future[str | None]:
        """Return the first of these keys that exists; ten times cheaper than reading nothing of each."""
        try:
            return done(next((key for key in keys if _is_file(_normal(self.root + key))), None))
        except OSError as error:
            return failed(os_error(error, url=self.url))

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that start with ``prefix``; four times faster than TensorStore's listing."""
        folder, slash, start = prefix.rpartition("/")
        yield from self._walk(folder + slash, start)

    def _walk(self, folder: str, start: str = "", above: tuple[os.stat_result, ...] = ()) -> Iterator[str]:
        path = _normal(self.root + folder)
        try:
            here = os.stat(path)  # noqa: PTH116
            if any(os.path.samestat(here, other) for other in above):
                return  # a symbolic link to a folder it lies in
            with os.scandir(path) as entries:
                names = [(entry.name, entry.is_dir()) for entry in entries if entry.name.startswith(start)]
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return
        except OSError as error:
            raise os_error(error, url=self.url, key=folder) from error
        for name, is_folder in names:
            if is_folder:
                yield from self._walk(f"{folder}{name}/", "", (*above, here))
            elif not name.endswith(_LOCK):
                yield folder + name


def file_part(file: int, first: int, last: int) -> bytes:
    """Read bytes of an open file; what is at its end may be gone meanwhile."""
    data = os.pread(file, last - first, first) if first < last else b""
    if len(data) in (max(0, last - first), 0):
        return data
    return data + file_part(file, first + len(data), last)  # Linux reads no more than 2 GiB at a time


def file_stamp(facts: os.stat_result) -> bytes:
    """Return the stamp that TensorStore gives a file."""
    return _STAMP.pack(facts.st_dev, facts.st_ino, facts.st_mtime_ns)


def os_error(error: OSError, *, url: str | None = None, key: str | None = None) -> BaseException:
    """Return our error for one of the operating system's."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        kind: type[VolumekitError] = NoSpaceError
    else:
        kind = PermissionDeniedError if isinstance(error, PermissionError) else StorageError
    return kind(f"{error.strerror or error}: {error.filename or key}", url=url, key=key)


def _normal(path: str) -> str:
    """Resolve ``..``, which TensorStore refuses; a slash at the end stays."""
    if "../" not in path:
        return path
    return posixpath.normpath(path) + "/" * path.endswith("/")


def _is_file(path: str) -> bool:
    """Tell whether there is a file; not being allowed to look is an error, unlike for `os.path.isfile`."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - 3 us, pathlib takes 9
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the name
        return False
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


class MemoryStore(KvStore):
    """The memory of this process; gone when it ends."""

    suffixed = True

    def __init__(self, url: URL, *, durable: bool = False, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(url, {"driver": "memory", "path": url.path.strip("/") + "/"}, durable=durable)

    def _full(self, key: str) -> str:
        return _normal(key)
