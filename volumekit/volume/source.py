"""Finding a dataset: from a URL to a store and a format."""

from __future__ import annotations

import glob
import json
import os
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from volumekit.cache.options import Cache, folder_of
from volumekit.cache.remembered import RememberedStore
from volumekit.errors import (
    DatasetNotFoundError,
    ImageStackError,
    InvalidURLError,
    MetadataError,
    MissingExtraError,
    OptionError,
    UnknownProtocolError,
    UnsupportedError,
)
from volumekit.formats import ALIASES, FORMATS
from volumekit.formats.base import AT, DESCRIPTION, PLACEMENT, SELECTOR, Format, WrongFormat
from volumekit.model.url import URL, parse_url
from volumekit.storage import open_store
from volumekit.storage.base import Store
from volumekit.storage.kvstore import os_error
from volumekit.storage.pages import describe_image

MAX_REDIRECTS = 10
MAX_ROUNDS = 1000


def resolve(url: Any, fmt: str | None = None) -> URL:
    """Parse a URL; ``fmt`` overrides the format it names.

    Raises
    ------
    InvalidURLError, UnknownProtocolError
        If it is none, or names a format nobody knows.
    """
    if hasattr(url, "cloudpath"):
        raise InvalidURLError(f"a URL or path is wanted here, not an open volume; this one's is {url.cloudpath!r}")
    parsed = parse_url(url, formats=(*FORMATS, *ALIASES))
    name = fmt or parsed.format
    name = ALIASES.get(name or "", name)
    if name is not None and name not in FORMATS:
        raise UnknownProtocolError(f"no format {name!r}; known: {', '.join(sorted(FORMATS))}", url=str(url))
    return replace(parsed, format=name)


def open_source(
    url: URL,
    *,
    durable: bool = False,
    options: Mapping[str, Any] | None = None,
    cache: Cache | None = None,
    at: Mapping[str, int | str] | None = None,
) -> tuple[URL, Store, Format]:
    """Open the dataset at a URL, redirects followed.

    Returns
    -------
    tuple
        The URL it was found at, its store and its format.

    Raises
    ------
    DatasetNotFoundError
        If nothing there is a dataset.
    MetadataError
        If its metadata is damaged.
    PermissionDeniedError, StorageError
        If it cannot be read.
    """
    seen: list[str] = []
    while True:
        store = open_store(split_selector(url)[0], durable=durable, options=options)
        fmt = read_format(remembered(store, url, cache), url, options=options, at=at)
        target = getattr(fmt, "info", {}).get("redirect")
        if not target:
            return replace(url, format=fmt.name), store, fmt
        seen.append(str(url))
        url = resolve(target)
        if str(url) in seen or len(seen) > MAX_REDIRECTS:
            raise MetadataError(f"redirects lead nowhere: {' -> '.join([*seen, str(url)])}", url=seen[0])


def remembered(store: Store, url: URL, cache: Cache | None) -> Store:
    """Return the store of a dataset's metadata: with a cache, it answers also when the storage cannot be reached."""
    if cache is None:
        return store
    return RememberedStore(store, posixpath.join(cache.directory, folder_of(url, store.endpoint)))


def split_selector(url: URL) -> tuple[URL, str | None]:
    """Split a URL of local files into a directory and what is selected there.

    Returns
    -------
    tuple
        The directory, and a pattern as in `formats.base.SELECTOR`; the URL itself and None if it names a
        directory, or nothing that exists.
    """
    if url.protocol != "file" or (url.format and not FORMATS[url.format].selects) or _is_folder(url.path):
        return url, None
    folder, name = posixpath.split(url.path)
    if _exists(url.path):
        return replace(url, path=folder), glob.escape(name)
    parts = url.path.split("/")
    wild = next((n for n in range(1, len(parts)) if not _is_folder("/".join(parts[: n + 1]))), len(parts))
    if not any(glob.has_magic(part) for part in parts[wild : wild + 1]):
        return url, None
    return replace(url, path="/".join(parts[:wild]) or "/"), "/".join(parts[wild:])


def read_format(
    store: Store,
    url: URL,
    *,
    options: Mapping[str, Any] | None = None,
    at: Mapping[str, int | str] | None = None,
) -> Format:
    """Read the metadata of a dataset with the first format that recognises it.

    Parameters
    ----------
    store : Store
        The directory that `split_selector` gives.
    url : URL
        What was asked for.
    options : Mapping, optional
        ``z_from_name``: whether the numbers in their names say where the planes of an image stack lie.
    at : Mapping, optional
        What is chosen of the dataset's parts and further axes.
    """
    names = [url.format] if url.format else list(FORMATS)
    have: dict[str, bytes | None] = {PLACEMENT: b"name"} if (options or {}).get("z_from_name") else {}
    _, pattern = split_selector(url)
    if pattern is not None:
        names = [name for name in names if _selects(name)]
        have[SELECTOR] = os.fsencode(pattern)
    if at:
        have[AT] = json.dumps(dict(at)).encode()
    reasons: list[str] = []
    for name in names:
        try:
            return _parse(_format(name, url), store, have)
        except WrongFormat as error:
            reasons.append(f"{name}: {error}")
        except (MetadataError, UnsupportedError, OptionError, ImageStackError) as error:
            error.url = error.url or str(url)
            raise
    raise DatasetNotFoundError(f"no dataset at {url} ({'; '.join(reasons)}); check the path", url=str(url))


def _selects(name: str) -> bool:
    try:
        return bool(FORMATS[name].selects)
    except (MissingExtraError, UnsupportedError):
        return False


def _format(name: str, url: URL) -> type[Format]:
    """Load a format; one that cannot be loaded only matters to those who asked for it by name."""
    try:
        kind: type[Format] = FORMATS[name]
    except (MissingExtraError, UnsupportedError) as error:
        if url.format is not None:
            raise
        raise WrongFormat(error.message) from error
    return kind


def _parse(kind: type[Format], store: Store, have: dict[str, bytes | None]) -> Format:
    for _ in range(MAX_ROUNDS):
        wanted = sorted(set(kind.needs(have)) - set(have))
        if not wanted:
            return _chosen(kind.parse(have), have)
        have.update({key: _fetch(store, key) for key in wanted})
    raise MetadataError(f"{kind.name} data that refers to more and more metadata, {MAX_ROUNDS} times over")


def _chosen(fmt: Format, have: Mapping[str, bytes | None]) -> Format:
    """Refuse choices where there is nothing to choose."""
    if AT in have and not fmt.fixes:
        raise UnsupportedError(f"{fmt.name} data have no parts to choose from and no further axes; leave out at=")
    return fmt


def _fetch(store: Store, key: str) -> bytes | None:
    if key.endswith("/"):
        return _listing(store, key.lstrip("/"))
    if key.endswith(DESCRIPTION):
        return describe_image(store, key.removesuffix(DESCRIPTION))
    value = store.read(key).result()
    return value.data if value else None


def _listing(store: Store, folder: str) -> bytes | None:
    spec = store.native()
    if spec is not None and spec["driver"] == "file":
        names = _local_names(store, spec["path"] + folder)
    elif store.listable:
        found = (key[len(folder) :].partition("/") for key in store.list(folder))
        names = dict.fromkeys(head + slash for head, slash, _ in found)
    else:
        return None
    return "\n".join(names).encode("utf-8", "surrogateescape") or None


def _local_names(store: Store, path: str) -> Iterable[str]:
    """Return the names in a local directory without walking all that is below it."""
    try:
        with os.scandir(path) as entries:
            return [entry.name + "/" * entry.is_dir() for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise os_error(error, url=store.url) from error


def _is_folder(path: str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - a URL's path is text


def _exists(path: str) -> bool:
    return os.path.lexists(path)
