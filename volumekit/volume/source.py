"""Finding a dataset: from a URL to a store and a format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from volumekit.errors import DatasetNotFoundError, MetadataError, UnknownProtocolError
from volumekit.formats import ALIASES, FORMATS
from volumekit.formats.base import Format, WrongFormat
from volumekit.model.url import URL, parse_url
from volumekit.storage import open_store
from volumekit.storage.base import Store

MAX_REDIRECTS = 10


def resolve(url: Any, fmt: str | None = None) -> URL:
    """Parse a URL; ``fmt`` overrides the format it names.

    Raises
    ------
    InvalidURLError, UnknownProtocolError
        If it is none, or names a format nobody knows.
    """
    parsed = parse_url(url, formats=(*FORMATS, *ALIASES))
    name = fmt or parsed.format
    name = ALIASES.get(name or "", name)
    if name is not None and name not in FORMATS:
        raise UnknownProtocolError(f"no format {name!r}; known: {', '.join(sorted(FORMATS))}", url=str(url))
    return replace(parsed, format=name)


def open_source(
    url: URL, *, durable: bool = False, options: Mapping[str, Any] | None = None
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
        store = open_store(url, durable=durable, options=options)
        fmt = read_format(store, url)
        target = getattr(fmt, "info", {}).get("redirect")
        if not target:
            return replace(url, format=fmt.name), store, fmt
        seen.append(str(url))
        url = resolve(target)
        if str(url) in seen or len(seen) > MAX_REDIRECTS:
            raise MetadataError(f"redirects lead nowhere: {' -> '.join([*seen, str(url)])}", url=seen[0])


def read_format(store: Store, url: URL) -> Format:
    """Read the metadata of a dataset with the first format that recognises it."""
    names = [url.format] if url.format else list(FORMATS)
    have: dict[str, bytes | None] = {}
    reasons: list[str] = []
    for name in names:
        try:
            return _parse(FORMATS[name], store, have)
        except WrongFormat as error:
            reasons.append(f"{name}: {error}")
        except MetadataError as error:
            error.url = error.url or str(url)
            raise
    raise DatasetNotFoundError(f"no dataset at {url} ({'; '.join(reasons)}); check the path", url=str(url))


def _parse(kind: type[Format], store: Store, have: dict[str, bytes | None]) -> Format:
    while wanted := set(kind.needs(have)) - set(have):
        for key, future in {key: _fetch(store, key) for key in sorted(wanted)}.items():
            have[key] = future
    return kind.parse(have)


def _fetch(store: Store, key: str) -> bytes | None:
    if key.endswith("/"):
        return _listing(store, key)
    value = store.read(key).result()
    return value.data if value else None


def _listing(store: Store, key: str) -> bytes | None:
    prefix = key.lstrip("/")
    if not store.listable:
        return None
    names: dict[str, None] = {}
    for found in store.list(prefix):
        head, slash, _ = found[len(prefix) :].partition("/")
        names[head + slash] = None
    return "\n".join(names).encode("utf-8", "surrogateescape") if names else None

