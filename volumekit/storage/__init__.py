"""Bytes by key: where datasets live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from volumekit.errors import OptionError, UnknownProtocolError
from volumekit.registry import Registry

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from volumekit.formats.base import Container
    from volumekit.model.url import URL
    from volumekit.storage.base import Store

STORES = Registry(
    "volumekit.stores",
    {
        "file": "volumekit.storage.kvstore:FileStore",
        "memory": "volumekit.storage.kvstore:MemoryStore",
        "s3": "volumekit.storage.s3:open_s3",
        "gs": "volumekit.storage.gs:open_gs",
        "http": "volumekit.storage.http:HttpStore",
        "https": "volumekit.storage.http:HttpStore",
    },
)

CONTAINERS = Registry(
    "volumekit.containers",
    {
        "neuroglancer_uint64_sharded_v1": "volumekit.storage.shards:ShardedStore",
        "zarr_sharding_indexed": "volumekit.storage.zarr_shards:ZarrShardStore",
        "pages": "volumekit.storage.pages:PagesStore",
    },
)
"""Stores inside files, by the kind that a format's `Container` names."""


def open_container(store: Store, container: Container, *, executor: Executor | None = None) -> Store:
    """Open the chunks inside the files of a store; nothing is read yet.

    Parameters
    ----------
    store : Store
        Where the files are.
    container : formats.base.Container
        What kind of files, and their parameters.
    executor : Executor, optional
        Where work that takes time is done.

    Raises
    ------
    UnknownProtocolError
        If no storage is of this kind.
    """
    if container.kind not in CONTAINERS:
        raise UnknownProtocolError(f"no container of the kind {container.kind!r}", url=store.url)
    inside: Store = CONTAINERS[container.kind](store, executor=executor, **container.parameters)
    return inside


def open_store(url: URL, *, durable: bool = False, options: Mapping[str, Any] | None = None) -> Store:
    """Open the store a URL names; nothing is read yet.

    Parameters
    ----------
    url : URL
        Where the dataset is.
    durable : bool
        Whether writes are synced to the disk before they count as done.
    options : Mapping, optional
        Settings of that kind of storage (see `storage.s3`, `storage.gs`, `storage.http`), ``secrets`` among them.
        ``filesystem``: an fsspec filesystem to use, whatever the protocol.

    Raises
    ------
    UnknownProtocolError
        If neither a storage nor fsspec has this protocol.
    MissingExtraError
        If the storage needs a package that is not installed.
    OptionError
        If the storage has no such option, or credentials cannot be read.
    """
    options = options or {}
    given = options.get("filesystem") is not None
    if options.get("secrets") is not None and (given or url.protocol not in STORES):
        raise OptionError(
            "secrets are for s3, gs and http; give other filesystems their credentials in storage_options", url=str(url)
        )
    if url.protocol in STORES and not given:
        store: Store = STORES[url.protocol](url, durable=durable, options=options)
        return store
    from fsspec.registry import known_implementations, registry

    from volumekit.model.url import closest
    from volumekit.storage.fsspec import FsspecStore

    if not given and url.protocol not in (*known_implementations, *registry):
        raise UnknownProtocolError(
            f"no storage for {url.protocol}://; known: {', '.join(sorted(STORES))}, and all of fsspec's"
            f"{closest(url.protocol, STORES)}",
            url=str(url),
        )
    return FsspecStore(url, durable=durable, options=options)


def filesystem_arguments(url: URL, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the arguments with which s3fs or gcsfs reach what a URL names, with the same credentials and settings.

    Parameters
    ----------
    url : URL
        Of ``s3://`` or ``gs://``.
    options : Mapping, optional
        Storage options, ``secrets`` among them.

    Returns
    -------
    dict
        For ``s3fs.S3FileSystem`` or ``gcsfs.GCSFileSystem``; empty for other protocols.

    Raises
    ------
    OptionError
        If options contradict each other, or credentials cannot be read.
    """
    options = options or {}
    if url.protocol == "s3":
        from volumekit.storage.s3 import S3Settings

        return S3Settings.of(url, options).filesystem_arguments()
    if url.protocol == "gs":
        from volumekit.storage.gs import GsSettings

        return GsSettings.of(url, options).filesystem_arguments()
    return {}
