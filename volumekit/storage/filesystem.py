"""What any fsspec filesystem can do for a store: read, write and delete objects, told apart by stamps.

Conditions are checked here, in this process: a stamp is what the filesystem tells of a file (its tag, or times, sizes
and inode), and how often this process wrote it. Filesystems with conditional writes of their own do better: see
`storage.filesystem_s3` and `storage.filesystem_gs`.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import os
import posixpath
import secrets
import weakref
from collections import OrderedDict
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, ClassVar

from volumekit.errors import ConflictError, StorageError
from volumekit.storage.base import ABSENT, Value
from volumekit.storage.fsspec_errors import ABSENT_ERRORS
from volumekit.storage.headers import Headers

READ_ONLY = {"data", "git", "github", "gist", "hf", "http", "https", "libarchive", "reference", "tar", "zip"}
"""Filesystems that take no changes, or (archives) cannot replace what they hold."""

UNLISTED = {"data", "http", "https"}
"""Filesystems that cannot tell what is there; pages of web servers are no listings."""

SIDE_BY_SIDE = {"file", "local", "memory", "zip", "sftp", "ssh", "github", "gist", "hdfs", "arrow_hdfs", "dbfs"}
"""Filesystems that may be used by several threads at once; others are asked one thing at a time."""

THREADS = 32
PART = ".volumekit-part"
"""Ending of files that are being written; they get their own name when they are complete."""

_TAGS = ("ETag", "etag", "e_tag", "generation", "version_id", "md5Hash", "content_md5", "sha", "checksum", "CRC")
_TRAITS = ("size", "mtime", "LastModified", "last_modified", "updated", "modified", "created", "ino", "date_time")
_KEPT = 1 << 16

Info = dict[str, Any]


class Filesystem:
    """Objects of a filesystem, by path.

    All methods but the constructor are coroutines for `loop`.

    Parameters
    ----------
    fs : fsspec.AbstractFileSystem
        The filesystem.
    durable : bool
        Whether local files are synced to the disk before a write counts as done.

    Attributes
    ----------
    conditional : bool
        Whether conditions hold against other processes as well.
    headed : bool
        Whether objects have headers.
    lasting : slice
        See `storage.base.Store`: what is known of writes of this process is not.
    writable, listable : bool
        What it can do.
    """

    conditional: ClassVar[bool] = False
    headed: ClassVar[bool] = False
    lasting: ClassVar[slice] = slice(17, None)

    def __init__(self, fs: Any, *, durable: bool = False) -> None:
        self.fs, self.durable = fs, durable
        names = protocols(fs)
        self.writable, self.listable = not names & READ_ONLY, not names & UNLISTED
        self._local, self._renames = bool(names & {"file", "local"}), bool(names & {"sftp", "ssh"})

    @property
    def credentials(self) -> str | None:
        """Whose credentials it asks with, where that is known."""
        return None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop on which everything happens: fsspec's own."""
        from fsspec.asyn import get_loop

        loop: asyncio.AbstractEventLoop = self.fs.loop if self.fs.async_impl else get_loop()
        return loop

    async def _call(self, name: str, *args: Any, **how: Any) -> Any:
        """Call a method of the filesystem without blocking the loop."""
        if self.fs.async_impl:
            return await getattr(self.fs, f"_{name}")(*args, **how)
        work = functools.partial(getattr(self.fs, name), *args, **how)
        return await asyncio.get_running_loop().run_in_executor(_threads(self.fs), work)

    async def _info(self, path: str) -> Info | None:
        """Return what the filesystem tells of a file, None if there is none."""
        if self.writable:
            self.fs.invalidate_cache(posixpath.dirname(path))
        try:
            info: Info = await self._call("info", path)
        except ABSENT_ERRORS:
            return None
        return info if info.get("type", "file") == "file" else None

    async def stat(self, path: str) -> bytes | None:
        """Return the stamp of a file, None if there is none."""
        info = await self._info(path)
        return None if info is None else self._stamp(path, info)

    def _stamp(self, path: str, info: Info) -> bytes:
        tags = [(name, info[name]) for name in _TAGS if info.get(name)]
        facts = tags or [(name, info[name]) for name in _TRAITS if name in info]
        lasting = tags or [(name, info[name]) for name in _TRAITS if name in info and name != "ino"]
        dated = any(name != "size" for name, _ in lasting)
        return b"\0" + _digest((facts, _WRITES.count(self._id(path)))) + (_digest(lasting) if dated else b"")

    def _id(self, path: str) -> tuple[str, str]:
        return type(self.fs).__qualname__, path

    async def get(self, path: str, start: int | None, stop: int | None) -> Value | None:
        """Read a file or a range of it, as `Store.read` says.

        The stamp is taken first: if the file changes meanwhile, the stamp is older than the bytes, and a write that
        relies on it is a conflict.
        """
        info = await self._info(path)
        if info is None:
            return None
        try:
            return Value(await self._bytes(path, info.get("size"), slice(start, stop)), self._stamp(path, info))
        except ABSENT_ERRORS:
            return None

    async def _bytes(self, path: str, size: int | None, part: slice) -> bytes:
        if (part.start, part.stop) == (0, 0):
            return b""
        if size is None:
            return bytes(await self._call("cat_file", path))[part]
        first, last, _ = part.indices(size)
        if (part.start, part.stop) == (None, None):
            return bytes(await self._call("cat_file", path))
        return bytes(await self._call("cat_file", path, start=first, end=last)) if first < last else b""

    async def put(self, path: str, data: bytes, if_match: bytes | None, headers: Headers) -> bytes:
        """Write a file, if it is still as it was; return its new stamp.

        Headers are for filesystems that are `headed`.

        Raises
        ------
        ConflictError
            If it is not.
        """
        async with _WRITES.lock(asyncio.get_running_loop(), self._id(path)):
            await self._check(path, if_match)
            try:
                await self._write(path, data)
            finally:
                _WRITES.note(self._id(path))
            stamp = await self.stat(path)
        if stamp is None:
            raise StorageError("somebody else removed the object as soon as it was written; write it again", key=path)
        return stamp

    async def _check(self, path: str, if_match: bytes | None) -> None:
        """Raise `ConflictError` unless a file is still as it was."""
        if if_match is not None and (await self.stat(path) or ABSENT) != if_match:
            raise ConflictError("the object changed since it was read; read it again")

    async def _write(self, path: str, data: bytes) -> None:
        try:
            await self._write_whole(path, data)
        except FileNotFoundError:
            await self._call("makedirs", posixpath.dirname(path), exist_ok=True)
            await self._write_whole(path, data)

    async def _write_whole(self, path: str, data: bytes) -> None:
        """Write a file, never a half one where the filesystem can rename."""
        if not (self._local or self._renames):
            await self._call("pipe_file", path, data)
            return
        part = posixpath.join(posixpath.dirname(path), f".{secrets.token_hex(8)}{PART}")
        try:
            if self._local:
                work = functools.partial(_replace, path, part, data, durable=self.durable)
                await asyncio.get_running_loop().run_in_executor(_threads(self.fs), work)
                return
            await self._call("pipe_file", part, data)
            await self._call("mv", part, path)
        except FileNotFoundError:
            raise
        except Exception:
            if await self._info(part) is not None:
                await self._call("rm_file", part)
            raise

    async def remove(self, path: str, if_match: bytes | None) -> None:
        """Delete a file, if it is still as it was and there is one."""
        async with _WRITES.lock(asyncio.get_running_loop(), self._id(path)):
            await self._check(path, if_match)
            if await self._info(path) is None:
                return
            try:
                await self._call("rm_file", path)
            except ABSENT_ERRORS:
                return
            finally:
                _WRITES.note(self._id(path))

    async def page(self, folder: str, start: str, token: Any = None) -> tuple[list[str], Any]:
        """List files, a page at a time.

        Parameters
        ----------
        folder : str
            Where, without a slash at the end.
        start : str
            How their names below it begin.
        token : object
            What the page before gave.

        Returns
        -------
        tuple
            Their names below the folder, and what to pass for the next page; None: that was the last.
        """
        if self.writable:
            self.fs.invalidate_cache()
        try:
            found = await self._call("find", folder)
        except ABSENT_ERRORS:
            return [], None
        names = (path.lstrip("/") if not folder else path.removeprefix(f"{folder}/") for path in found)
        return [name for name in names if name.startswith(start) and name != folder and not name.endswith(PART)], None


def _digest(facts: Any) -> bytes:
    """Return 16 bytes that differ where facts do."""
    return hashlib.blake2b(repr(facts).encode("utf-8", "surrogateescape"), digest_size=16).digest()


def protocols(fs: Any) -> set[str]:
    """Return the protocols of a filesystem."""
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)


def byte_range(start: int | None, stop: int | None) -> dict[str, str]:
    """Return the HTTP header that asks for a range; nothing where HTTP knows none like it, and for all of it."""
    if stop is None and start is not None and start != 0:
        return {"Range": f"bytes={start}-" if start > 0 else f"bytes={start}"}
    if stop is not None and 0 <= (start or 0) < stop:
        return {"Range": f"bytes={start or 0}-{stop - 1}"}
    return {}


def _replace(path: str, part: str, data: bytes, *, durable: bool) -> None:
    """Write a local file under another name, then give it its own."""
    try:
        with open(part, "xb") as file:  # noqa: PTH123 - paths are text here
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)  # noqa: PTH105
    except BaseException:
        if os.path.exists(part):  # noqa: PTH110
            os.unlink(part)  # noqa: PTH108
        raise


@functools.cache
def _many() -> Executor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="volumekit-fsspec")


_SINGLE: weakref.WeakKeyDictionary[Any, Executor] = weakref.WeakKeyDictionary()


def _threads(fs: Any) -> Executor:
    """Return where a filesystem that blocks is called."""
    if protocols(fs) & SIDE_BY_SIDE:
        return _many()
    found = _SINGLE.get(fs)
    if found is None:
        found = _SINGLE.setdefault(fs, ThreadPoolExecutor(1, thread_name_prefix="volumekit-fsspec"))
    return found


class _Writes:
    """What this process writes: one lock per file under way, and how the files written lately differ.

    Times of files are coarse: of two versions written within a moment, only the writer knows that they differ.
    """

    def __init__(self) -> None:
        self._locks: weakref.WeakValueDictionary[Any, asyncio.Lock] = weakref.WeakValueDictionary()
        self._counts: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._next = itertools.count(1)

    def lock(self, loop: asyncio.AbstractEventLoop, name: tuple[str, str]) -> asyncio.Lock:
        """Return the lock of a file; to be called in the loop."""
        return self._locks.setdefault((id(loop), name), asyncio.Lock())

    def note(self, name: tuple[str, str]) -> None:
        """Remember that a file was written."""
        self._counts[name] = next(self._next)
        self._counts.move_to_end(name)
        if len(self._counts) > _KEPT:
            self._counts.popitem(last=False)

    def count(self, name: tuple[str, str]) -> int:
        """Return a number that tells this process's versions of a file apart; 0: none of late."""
        return self._counts.get(name, 0)


_WRITES = _Writes()
