"""How a disk cache is to be: one small frozen value."""

from __future__ import annotations

import hashlib
import json
import math
import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from volumekit.errors import OptionError

if TYPE_CHECKING:
    from volumekit.model.url import URL
    from volumekit.storage.base import Store

Revalidate = str | float

DEFAULT_BYTES = 10 * 10**9

_PRIVATE = re.compile("key|secret|token|pass|credential|auth|session")


@dataclass(frozen=True)
class Cache:
    """A disk cache.

    Attributes
    ----------
    path : str or os.PathLike, optional
        The cache directory; default: ``$VOLUMEKIT_CACHE_DIR``, else ``~/.cache/volumekit``. It holds one folder per
        dataset, and may be shared by any number of processes.
    max_bytes : int
        Budget of the whole directory; what was not used for longest goes first.
    revalidate : {"open", "always", "never"} or float
        When a chunk that is in the cache is compared with the storage, which costs a request but no download:
        once after a volume is opened, at every read, never, or when that was not done for so many seconds.
    missing_seconds : float
        How long the cache believes that a chunk is not stored.
    """

    path: str | os.PathLike[str] | None = None
    max_bytes: int = DEFAULT_BYTES
    revalidate: Revalidate = "open"
    missing_seconds: float = 60.0

    def __post_init__(self) -> None:
        if isinstance(self.max_bytes, bool) or not isinstance(self.max_bytes, int) or self.max_bytes < 0:
            raise OptionError(f"max_bytes is {self.max_bytes!r}; it is a number of bytes")
        known = self.revalidate in ("open", "always", "never")
        if not known and not (isinstance(self.revalidate, int | float) and self.revalidate >= 0):
            raise OptionError(f"revalidate is {self.revalidate!r}; it is 'open', 'always', 'never' or seconds")
        if not self.missing_seconds >= 0:
            raise OptionError(f"missing_seconds is {self.missing_seconds!r}; it is a number of seconds")

    @classmethod
    def of(cls, value: Any, *, revalidate: Revalidate | None = None) -> Cache | None:
        """Return the cache that an option of `Volume` means: True, a path, a `Cache`, or nothing.

        Raises
        ------
        OptionError
            If it is something else.
        """
        if value is None or value is False:
            return None
        if value is True:
            value = cls()
        elif isinstance(value, str | os.PathLike) and str(value):
            value = cls(value)
        if not isinstance(value, cls):
            raise OptionError(f"cache is {value!r}; it is True, False, a directory or a volumekit.Cache")
        if revalidate is None:
            return value
        return cls(value.path, value.max_bytes, revalidate, value.missing_seconds)

    @property
    def directory(self) -> str:
        """The cache directory."""
        place = self.path or os.environ.get("VOLUMEKIT_CACHE_DIR") or Path("~/.cache/volumekit")
        return str(Path(place).expanduser().absolute())

    def checked_after(self, opened: float, now: float) -> float:
        """Return since when an entry must have been compared with the storage, as a time."""
        if self.revalidate == "never":
            return -math.inf
        if self.revalidate == "open":
            return opened
        return math.inf if self.revalidate == "always" else now - float(self.revalidate)


def folder_of(url: URL, store: Store) -> str:
    """Return the name of a dataset's folder in the cache directory: readable, and its own.

    Parameters
    ----------
    url : URL
        Where the dataset is.
    store : Store
        Its store, which knows of a server, or a filesystem, that the URL does not name.
    """
    parts = [url.protocol]
    server = url.endpoint or _server(store, url)
    if server:
        parts.append(quote(server.rpartition("://")[2], safe="."))
    parts += [quote(part, safe=" ()+,;=@!~-_.") for part in url.path.split("/") if part]
    if url.query:
        parts.append("?" + quote(url.query, safe="=&"))
    return posixpath.join(*("_" + part if part.startswith(".") else part for part in parts))


def _server(store: Store, url: URL) -> str | None:
    """Return what says where a store is beyond its URL: a server, or a digest of a filesystem's settings."""
    settings, files = getattr(store, "settings", None), getattr(store, "files", None)
    if settings is not None:
        endpoint: str | None = getattr(settings, "endpoint", None)
        return endpoint
    if files is None:
        return None
    told = {name: value for name, value in files.fs.storage_options.items() if not _PRIVATE.search(name)}
    root = getattr(store, "root", url.path)
    elsewhere = root if root.strip("/") != url.path.strip("/") else ""
    plain = not told and not elsewhere
    facts = "" if plain else json.dumps([type(files.fs).__name__, told, elsewhere], sort_keys=True, default=str)
    return hashlib.sha256(facts.encode("utf-8", "surrogatepass")).hexdigest()[:16] if facts else None
