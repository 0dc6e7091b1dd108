"""Any filesystem of fsspec as a store: what a URL names, or an object that the caller made."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import posixpath
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures import Future as _Future
from typing import Any, TypeVar

from volumekit.errors import MissingExtraError, OptionError, ReadOnlyError, StorageError, UnsupportedError
from volumekit.model.url import URL
from volumekit.storage import forkguard
from volumekit.storage.base import ABSENT, Future, Store, Value, done, failed, gather, then
from volumekit.storage.filesystem import Filesystem, protocols
from volumekit.storage.fsspec_errors import translate_fsspec
from volumekit.storage.headers import Headed, Headers

T = TypeVar("T")

OURS = ("filesystem", "z_from_name")
"""Storage options that are not the filesystem's."""

_ADAPTERS = {
    "s3": "volumekit.storage.filesystem_s3:S3Filesystem",
    "gs": "volumekit.storage.filesystem_gs:GsFilesystem",
}
_PRIVATE = re.compile("key|secret|token|pass|credential|auth|session")
_PACKAGES = {"smbclient": "smbprotocol", "libarchive": "libarchive-c"}


class FsspecStore(Store):
    """A folder of an fsspec filesystem.

    Parameters
    ----------
    url : URL
        Where it is.
    durable : bool
        Whether local files are synced to the disk before a write counts as done.
    options : Mapping, optional
        ``filesystem``: the filesystem to use; it gets the URL's path. All others are arguments of the filesystem that
        is made for the URL's protocol.

    Raises
    ------
    MissingExtraError
        If the filesystem's package is not installed.
    OptionError
        If the filesystem cannot be made with these options, or is asynchronous only.
    """

    def __init__(self, url: URL, *, durable: bool = False, options: Mapping[str, Any] | None = None) -> None:
        fs, root = _filesystem(url, options or {})
        self.url, self.root = str(url), root.rstrip("/")
        self.files = _adapter(fs)(fs, durable=durable)
        self.writable, self.listable = self.files.writable, self.files.listable
        self.conditional, self.headed = self.files.conditional, self.files.headed
        self.suffixed, self.lasting = not self.headed, self.files.lasting
        self.endpoint = _endpoint(fs, url, self.root)

    @property
    def credentials(self) -> str | None:
        """Whose credentials it asks with, where that is known."""
        return self.files.credentials

    def _ask(self, key: str, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run something about a key on the filesystem's loop, with our errors."""

        async def guarded() -> T:
            try:
                return await work
            except Exception as error:
                problem = translate_fsspec(error, url=self.url, key=key)
                raise problem from (None if problem is error else error)

        try:
            forkguard.check()
            loop = self.files.loop
            return _Elsewhere(asyncio.run_coroutine_threadsafe(guarded(), loop))
        except RuntimeError as error:
            work.close()
            return failed(translate_fsspec(error, url=self.url, key=key))

    def path(self, key: str) -> str:
        """Return the path of a key in the filesystem.

        Raises
        ------
        StorageError
            If there cannot be such a key.
        """
        parts = key.split("/")
        if not all(parts) or "." in parts or "\0" in key:
            raise StorageError(f"{key!r} cannot be the name of an object", url=self.url, key=key)
        if ".." not in parts:
            return f"{self.root}/{key}" if self.root else key
        path = posixpath.normpath(f"{self.root}/{key}")
        if path.startswith("..") or path.split("/")[0] != self.root.split("/", maxsplit=1)[0]:
            raise StorageError(f"{key!r} leads out of the top directory", url=self.url, key=key)
        return path

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read a key, or a range of it."""
        try:
            return self._ask(key, self.files.get(self.path(key), start, stop))
        except StorageError as error:
            return failed(error)

    def find(self, keys: Sequence[str]) -> Future[str | None]:
        """Return the first of these keys that exists."""

        async def first(paths: Mapping[str, str]) -> str | None:
            for key in keys:
                if await self.files.stat(paths[key]) is not None:
                    return key
            return None

        try:
            return self._ask(keys[0], first({key: self.path(key) for key in keys})) if keys else done(None)
        except StorageError as error:
            return failed(error)

    def commit(self, changes: Mapping[str, bytes | None], if_match: bytes | None = None) -> Future[Mapping[str, bytes]]:
        """Write or delete keys, one object each; values may be `storage.headers.Headed`."""
        if not self.writable:
            return failed(ReadOnlyError("this storage cannot be written", url=self.url))
        return gather({key: self._change(key, data, if_match) for key, data in changes.items()})

    def _change(self, key: str, data: bytes | None, if_match: bytes | None) -> Future[bytes]:
        try:
            path = self.path(key)
        except StorageError as error:
            return failed(error)
        if data is None:
            return then(self._ask(key, self.files.remove(path, if_match)), lambda _: ABSENT)
        return self._ask(key, self._put(path, data, if_match))

    async def _put(self, path: str, data: bytes, if_match: bytes | None) -> bytes:
        headers = data.headers if isinstance(data, Headed) else Headers()
        if self.headed and isinstance(data, Headed) and headers.encoding is not None:
            data = await asyncio.to_thread(data.packed)
        return await self.files.put(path, data, if_match, headers)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that start with ``prefix``."""
        if not self.listable:
            raise UnsupportedError("this storage cannot be listed", url=self.url)
        folder, slash, start = prefix.rpartition("/")
        try:
            path = self.path(folder) if folder else self.root
        except StorageError:
            return
        token: Any = None
        while True:
            names, token = self._ask(prefix, self.files.page(path, start, token)).result()
            yield from (folder + slash + name for name in names)
            if token is None:
                return


class _Elsewhere:
    """A future that calls back in a thread of its own: what follows may take time, and the loop serves everybody."""

    __slots__ = ("_future",)

    def __init__(self, future: _Future[Any]) -> None:
        self._future = future

    def result(self, timeout: float | None = None) -> Any:
        return self._future.result(timeout)

    def done(self) -> bool:
        return self._future.done()

    def add_done_callback(self, fn: Callable[[Any], object], /) -> None:
        def call(_: Any) -> None:
            try:
                _callers().submit(fn, self)
            except RuntimeError:  # the interpreter is shutting down
                fn(self)

        self._future.add_done_callback(call)


@functools.cache
def _callers() -> Executor:
    return ThreadPoolExecutor(2, thread_name_prefix="volumekit-fsspec-done")


def _filesystem(url: URL, options: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the filesystem of a URL, and the path in it."""
    fs = options.get("filesystem")
    if fs is None:
        fs, path = _made(url, {name: value for name, value in options.items() if name not in OURS})
    else:
        if not hasattr(fs, "cat_file"):
            raise OptionError(f"filesystem is {fs!r}, which is none of fsspec's", url=str(url))
        path = fs._strip_protocol(_place(url)) if url.protocol in protocols(fs) else url.path
    while "dir" in protocols(fs):
        fs, path = fs.fs, posixpath.join(fs.path, path.strip("/"))
    if getattr(fs, "asynchronous", False):
        raise OptionError("the filesystem belongs to another event loop; make it without asynchronous=True")
    return fs, path


def _place(url: URL) -> str:
    query = "" if url.query is None else f"?{url.query}"
    chain = "" if url.chain is None else f"::{url.chain}"
    return f"{url.protocol}://{url.path}{query}{chain}"


def _made(url: URL, arguments: Mapping[str, Any]) -> tuple[Any, str]:
    """Make the filesystem of a URL."""
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(_place(url), **arguments)
    except ImportError as error:
        raise _missing(url, error) from error
    except (TypeError, ValueError) as error:
        raise OptionError(f"{url.protocol}:// cannot be opened with these options: {error}", url=str(url)) from error
    except Exception as error:
        raise translate_fsspec(error, url=str(url)) from error
    return fs, str(path)


def _missing(url: URL, error: ImportError) -> MissingExtraError:
    from volumekit.registry import missing_extra

    package = {"s3": "s3fs", "gs": "gcsfs"}.get(url.protocol)
    if package is not None:
        return missing_extra(url.protocol, ImportError(str(error), name=package))
    name = (getattr(error.__cause__, "name", None) or error.name or url.protocol).partition(".")[0]
    return MissingExtraError(
        f"{url.protocol}:// needs another package ({error}); run: pip install {_PACKAGES.get(name, name)}", url=str(url)
    )


def _endpoint(fs: Any, url: URL, root: str) -> str | None:
    """Return what says where a filesystem is beyond the URL: the server, or a digest of settings; no credentials."""
    settings = {name: value for name, value in fs.storage_options.items() if not _PRIVATE.search(name)}
    server = settings.get("endpoint_url") or (settings.get("client_kwargs") or {}).get("endpoint_url")
    plain = root.strip("/") == url.path.strip("/")
    if plain and (server or not settings or {"s3", "gs"} & set(protocols(fs))):
        return server
    facts = json.dumps([protocols(fs), root, settings], sort_keys=True, default=str)
    return hashlib.blake2b(facts.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _adapter(fs: Any) -> type[Filesystem]:
    """Return what knows this kind of filesystem best."""
    from volumekit.registry import load

    found = next((row for name, row in _ADAPTERS.items() if name in protocols(fs)), None)
    kind: type[Filesystem] = Filesystem if found is None else load(found)
    return kind
