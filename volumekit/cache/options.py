"""How a disk cache is to be: one small frozen value."""

from __future__ import annotations

import hashlib
import math
import os
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from volumekit.errors import OptionError
from volumekit.model.plain import plain

if TYPE_CHECKING:
    from volumekit.model.url import URL

Revalidate = str | float

DEFAULT_BYTES = 10 * 10**9
_LONGEST = 200


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
        for name in ("max_bytes", "revalidate", "missing_seconds"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        if self.path is not None and not (isinstance(self.path, str | os.PathLike) and os.fspath(self.path)):
            raise OptionError(f"path is {self.path!r}; it is a directory")
        if isinstance(self.max_bytes, bool) or not isinstance(self.max_bytes, int) or self.max_bytes < 0:
            raise OptionError(f"max_bytes is {self.max_bytes!r}; it is a number of bytes")
        if self.revalidate not in ("open", "always", "never") and not _is_time(self.revalidate):
            raise OptionError(f"revalidate is {self.revalidate!r}; it is 'open', 'always', 'never' or seconds")
        if not _is_time(self.missing_seconds):
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


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def folder_of(url: URL, endpoint: str | None = None) -> str:
    """Return the name of a dataset's folder in the cache directory: readable, its own, and without credentials.

    Parameters
    ----------
    url : URL
        Where the dataset is.
    endpoint : str, optional
        What says so beyond the URL, see `storage.base.Store`.
    """
    parts = [part for part in url.path.split("/") if part]
    if url.protocol in ("http", "https"):
        parts[0] = parts[0].rpartition("@")[2]
    server = (endpoint or url.endpoint or "").rpartition("://")[2].rpartition("@")[2]
    names = [f"{url.protocol}+{_name(server)}" if server else url.protocol, *map(_name, parts)]
    more = {"query": url.query, "chain": url.chain}
    return posixpath.join(*names, *(f"%{name}-{_digest(text)}" for name, text in more.items() if text))


def _name(part: str) -> str:
    """Return the name of a folder for a part of a path; no two parts have the same, and none begins with a dot."""
    name = quote(part, safe=" ()+,;=@!~-_.")
    name = "%2E" + name[1:] if name.startswith(".") else name
    return name if len(name) <= _LONGEST else f"%long-{_digest(part)}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
