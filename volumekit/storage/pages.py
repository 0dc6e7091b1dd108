"""Image files in a store: what they say of themselves, and the pages of a multi-page TIFF as keys."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Executor
from concurrent.futures import Future as _Future
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from volumekit.errors import ReadOnlyError, StorageError, VolumekitError
from volumekit.storage.base import Future, Store, Value, chain, failed, gather, then
from volumekit.storage.files import READ
from volumekit.storage.kvstore import os_error

if TYPE_CHECKING:
    from volumekit.codecs.images import ByteSource, Page
    from volumekit.codecs.images.headers import Headers
    from volumekit.codecs.images.tiff_page import TiffPage

T = TypeVar("T")

_BLOCK = 1 << 16
_MOST = 1 << 30  # Linux reads no more than 2 GiB at a time


class PagesStore(Store):
    """The pages of multi-page TIFF files: key ``name.tif#7`` is page 7 of ``name.tif``.

    A value is the page's stored bytes. Its ``attrs`` say how to decode them: ``page`` is the `TiffPage`,
    ``spans`` the byte ranges of the file that the data are, one after the other. Indexes are read once.

    Parameters
    ----------
    base : Store
        Where the files are.
    executor : Executor, optional
        Where indexes are read; default: a thread per file. Reads of ``base`` must not need it.
    """

    writable = False

    def __init__(self, base: Store, *, executor: Executor | None = None) -> None:
        self.url, self.listable, self.conditional = base.url, base.listable, base.conditional
        self._base, self._executor = base, executor
        self._indexes: dict[str, Future[tuple[bytes, list[TiffPage]]]] = {}
        self._lock = threading.Lock()

    def pages(self, name: str) -> Future[list[TiffPage]]:
        """Return the pages of a file."""
        return then(self._index(name), lambda found: found[1])

    def _index(self, name: str) -> Future[tuple[bytes, list[TiffPage]]]:
        with self._lock:
            if name not in self._indexes:
                self._indexes[name] = _started(lambda: self._read_index(name), self._executor)
            return self._indexes[name]

    def _read_index(self, name: str) -> tuple[bytes, list[TiffPage]]:
        found = self._base.read(name, 0, 0).result()
        if found is None:
            return b"", []
        from volumekit.codecs.images.tiff import tiff_pages

        with open_bytes(self._base, name) as source:
            return found.stamp, tiff_pages(source)

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read the stored bytes of a page, or a range of them."""
        name, _, number = key.rpartition("#")
        if not number.isdecimal():
            return failed(StorageError(f"{key!r} is no page of an image file", url=self.url, key=key))

        def fetch(found: tuple[bytes, list[TiffPage]]) -> Future[Value | None]:
            stamp, pages = found
            page = pages[int(number)] if int(number) < len(pages) else None
            return self._fetch(name, stamp, page, slice(start, stop))

        return chain(self._index(name), fetch)

    def _fetch(self, name: str, stamp: bytes, page: TiffPage | None, part: slice) -> Future[Value | None]:
        spans = page.spans() if page is not None and (part.start, part.stop) != (0, 0) else []
        parts = gather({str(n): self._base.read(name, *span) for n, span in enumerate(spans)})

        def join(found: Mapping[str, Value | None]) -> Value | None:
            if page is None:
                return None
            stored = [found[str(n)] for n in range(len(spans))]
            data = stored[0].data if len(stored) == 1 and stored[0] else b"".join(v.data for v in stored if v)
            data = data if part == slice(None, None) else data[part]
            return Value(data, stamp, MappingProxyType({"page": page, "spans": tuple(spans)}))

        return then(parts, join)

    def commit(self, changes: Mapping[str, bytes | None], if_match: bytes | None = None) -> Future[Mapping[str, bytes]]:
        """Fail: image files are only read."""
        return failed(ReadOnlyError("image files are read, never changed; convert them first", url=self.url))

    def group(self, key: str) -> str:
        """Return the file a page lives in."""
        return key.rpartition("#")[0]

    def keys_in(self, group: str) -> Future[Collection[str]]:
        """Return the pages of a file."""
        return then(self.pages(group), lambda pages: [f"{group}#{n}" for n in range(len(pages))])

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the pages of the file that ``prefix`` starts with, or of the files whose pages were read."""
        for name in [prefix.partition("#")[0]] if "#" in prefix else [*self._indexes]:
            for n in range(len(self.pages(name).result())):
                if f"{name}#{n}".startswith(prefix):
                    yield f"{name}#{n}"


def _started(work: Callable[[], T], executor: Executor | None) -> Future[T]:
    """Run ``work`` in the executor, or in a thread of its own."""
    if executor is not None:
        return executor.submit(work)
    out: _Future[T] = _Future()

    def run() -> None:
        try:
            out.set_result(work())
        except BaseException as error:
            out.set_exception(error)

    threading.Thread(target=run, name="volumekit-index", daemon=True).start()
    return out


def describe_image(store: Store, key: str) -> bytes | None:
    """Return what an image file says of itself, as JSON; None if there is no such file.

    Members: ``pages``, ``height``, ``width``, ``channels``, ``dtype`` and ``note``, see `codecs.images.Page`.

    Raises
    ------
    ImageStackError, CorruptChunkError, UnsupportedError
        If it cannot be read; the error names it.
    """
    pages = stored_pages(store, key)
    if pages is None:
        return None
    first = pages[0]
    members = {name: getattr(first, name) for name in ("height", "width", "channels", "note")}
    return json.dumps({"pages": len(pages), "dtype": first.dtype.name, **members}).encode()


def stored_pages(store: Store, key: str, headers: Headers | None = None) -> list[Page] | None:
    """Return the pages of an image file, None if there is no such file.

    Parameters
    ----------
    store, key
        The file.
    headers : Headers, optional
        What reads headers of many files.

    Raises
    ------
    ImageStackError, CorruptChunkError, UnsupportedError
        If it cannot be read; the error names it.
    """
    from volumekit.codecs.images import image_pages

    try:
        with open_bytes(store, key) as source:
            return image_pages(source) if headers is None else headers.pages(source)
    except FileNotFoundError:
        return None
    except VolumekitError as error:
        error.url, error.key = error.url or store.url, error.key or key
        raise


@contextmanager
def open_bytes(store: Store, key: str) -> Iterator[ByteSource]:
    """Open a key for reading here and there: the file itself where there is one.

    Raises
    ------
    FileNotFoundError
        If there is no such key.
    PermissionDeniedError, StorageError
        If it cannot be read.
    """
    spec = store.native()
    if spec is None or spec["driver"] != "file":
        yield StoredBytes(store, key)
        return
    try:
        # Not blocking, as the name may be that of a pipe.
        file = os.open(spec["path"] + key, READ)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise os_error(error, url=store.url, key=key) from error
    try:
        yield FileBytes(file)
    except VolumekitError:
        raise
    except OSError as error:
        raise os_error(error, url=store.url, key=key) from error
    finally:
        os.close(file)


class FileBytes:
    """An open file as a `ByteSource`."""

    def __init__(self, file: int) -> None:
        self._file = file

    def read(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes, fewer at the end."""
        left = min(size, os.fstat(self._file).st_size - offset)
        if left <= _MOST:
            return os.pread(self._file, max(left, 0), offset)
        return b"".join(self.read(offset + at, min(_MOST, left - at)) for at in range(0, left, _MOST))

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer``; return how many bytes there were."""
        done = 0
        while done < len(buffer):
            count = os.preadv(self._file, [buffer[done : done + _MOST]], offset + done)
            if not count:
                break
            done += count
        return done

    def reaches(self, offset: int) -> bool:
        """Tell whether the file has a byte there."""
        return 0 <= offset < os.fstat(self._file).st_size


class StoredBytes:
    """A key of any store as a `ByteSource`; small reads are served from the block they lie in."""

    def __init__(self, store: Store, key: str) -> None:
        self._store, self._key = store, key
        self._blocks: dict[int, bytes] = {}

    def read(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes, fewer at the end."""
        block = offset // _BLOCK
        if offset + size > (block + 1) * _BLOCK:
            return self._fetch(offset, offset + size)
        if block not in self._blocks:
            self._blocks = {block: self._fetch(block * _BLOCK, (block + 1) * _BLOCK)}
        at = offset - block * _BLOCK
        return self._blocks[block][at : at + size]

    def _fetch(self, start: int, stop: int) -> bytes:
        value = self._store.read(self._key, start, stop).result()
        if value is None:
            raise FileNotFoundError(self._key)
        return value.data

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer``; return how many bytes there were."""
        data = self.read(offset, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def reaches(self, offset: int) -> bool:
        """Tell whether the file has a byte there."""
        return offset >= 0 and bool(self.read(offset, 1))
