"""Bytes by key: where datasets live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from volumekit.errors import UnknownProtocolError
from volumekit.registry import Registry

if TYPE_CHECKING:
    from volumekit.model.url import URL
    from volumekit.storage.base import Store

STORES = Registry(
    "volumekit.stores",
    {
        "file": "volumekit.storage.kvstore:FileStore",
        "memory": "volumekit.storage.kvstore:MemoryStore",
    },
)


def open_store(url: URL, *, durable: bool = False, options: Mapping[str, Any] | None = None) -> Store:
    """Open the store a URL names; nothing is read yet.

    Parameters
    ----------
    url : URL
        Where the dataset is.
    durable : bool
        Whether writes are synced to the disk before they count as done.
    options : Mapping, optional
        Settings of that kind of storage.

    Raises
    ------
    UnknownProtocolError
        If no storage has this protocol.
    MissingExtraError
        If the storage needs a package that is not installed.
    """
    if url.protocol not in STORES:
        from volumekit.model.url import closest

        raise UnknownProtocolError(
            f"no storage for {url.protocol}://; known: {', '.join(sorted(STORES))}{closest(url.protocol, STORES)}",
            url=str(url),
        )
    store: Store = STORES[url.protocol](url, durable=durable, options=options)
    return store
