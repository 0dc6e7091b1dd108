"""What lies at the place of a new dataset: an old one, what is left of one, and how to remove it."""

from __future__ import annotations

import itertools
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from volumekit.errors import MetadataError, OptionError
from volumekit.formats.arrays import ArrayFormat
from volumekit.formats.base import Format
from volumekit.formats.n5 import N5
from volumekit.formats.precomputed.info import load_info
from volumekit.formats.zarr.rooted import Rooted
from volumekit.model.notation import parse_chunk_name
from volumekit.model.provenance import Provenance
from volumekit.storage.base import Store

_BATCH = 512
_SHARD = re.compile(r"[0-9a-f]+\.(?:shard|index|data)")
_ZARR_CHUNK = re.compile(r"(?:c[/.])?\d+(?:[/.]\d+)*|c")
_ZARR_NODES = ("zarr.json", ".zarray", ".zgroup")
_ZARR_NOTES = (".zattrs", ".zmetadata")
_N5_NODE = "attributes.json"

ROOT = "."
"""Stands for the chunks of an array that is the dataset itself."""


class Place(ABC):
    """What a format keeps where.

    Attributes
    ----------
    closed : bool
        Whether other folders in it are frowned upon.
    """

    closed: ClassVar[bool] = False

    @abstractmethod
    def present(self, store: Store) -> bool:
        """Tell whether there is a dataset."""

    @abstractmethod
    def notes(self, store: Store) -> Provenance:
        """Return the provenance of what is there, empty if there is none that can be read."""

    @abstractmethod
    def folders(self, store: Store) -> list[str]:
        """Return the folders of an old dataset, as far as its metadata can be understood."""

    @abstractmethod
    def unlist(self, store: Store) -> None:
        """Remove what makes it a dataset."""

    @abstractmethod
    def chunks(self, store: Store, folder: str) -> Iterator[str]:
        """Yield the keys of what has to go from a folder."""

    def unfinished(self, store: Store) -> bool:
        """Tell whether a job of ours was cut off here."""
        processing = self.notes(store).processing
        return bool(processing) and "started" in processing[-1] and "finished" not in processing[-1]

    def holds(self, store: Store, folder: str) -> bool:
        """Tell whether there is something to remove from a folder."""
        return next(self.chunks(store, folder), None) is not None

    def remove(self, store: Store, folder: str) -> None:
        """Remove it."""
        names = self.chunks(store, folder)
        while batch := list(itertools.islice(names, _BATCH)):
            store.commit(dict.fromkeys(batch)).result()
        if self.closed:
            store.tidy("c" if folder == ROOT else folder)


class PrecomputedPlace(Place):
    """The info, the provenance, and folders of chunks or shards; other files are left alone."""

    def present(self, store: Store) -> bool:
        """Tell whether there is an info."""
        return store.read("info").result() is not None

    def notes(self, store: Store) -> Provenance:
        """Return the provenance, an object of its own."""
        value = store.read("provenance").result()
        try:
            return Provenance.from_json(value.data) if value else Provenance()
        except MetadataError:
            return Provenance()

    def folders(self, store: Store) -> list[str]:
        """Return the keys of the scales."""
        value = store.read("info").result()
        try:
            scales = load_info(value.data).get("scales") if value is not None else None
        except MetadataError:
            return []
        entries = scales if isinstance(scales, list) else []
        keys = [entry.get("key") for entry in entries if isinstance(entry, dict)]
        return [key for key in keys if isinstance(key, str) and key.strip("./") and ".." not in key.split("/")]

    def unlist(self, store: Store) -> None:
        """Remove the info."""
        store.commit({"info": None}).result()

    def chunks(self, store: Store, folder: str) -> Iterator[str]:
        """Yield chunks and shards in a folder."""
        if store.listable:
            found = list(store.list(f"{folder.strip('/')}/"))
            yield from (name for name in found if _is_chunk(name.rsplit("/", 1)[-1]))


def _is_chunk(name: str) -> bool:
    if _SHARD.fullmatch(name):
        return True
    try:
        parse_chunk_name(name)
    except OptionError:
        return False
    return True


class ZarrPlace(Place):
    """A zarr hierarchy: everything below its nodes belongs to it.

    Parameters
    ----------
    path : str
        Folder of the node that is the dataset; empty or ends in ``/``.
    """

    closed = True

    def __init__(self, path: str = "") -> None:
        self._path = path

    def present(self, store: Store) -> bool:
        """Tell whether there is a node that is more than the note of a job of ours."""
        names = (f"{self._path}.zarray", f"{self._path}.zgroup", "info")
        if any(store.read(name).result() is not None for name in names):
            return True
        attributes = self._attributes(store, "zarr.json")
        return attributes is not None and not (set(attributes) == {"volumekit"} and self.unfinished(store))

    def _attributes(self, store: Store, key: str) -> Mapping[str, Any] | None:
        """Return the attributes in a metadata object, None if it does not exist; an array has its shape among them."""
        value = store.read(self._path + key).result()
        if value is None:
            return None
        try:
            document = json.loads(value.data)
            found = document if key == ".zattrs" else document.get("attributes") or {}
            return {**found, **({"shape": 0} if document.get("node_type") == "array" else {})}
        except (ValueError, AttributeError, TypeError, RecursionError):
            return {"damaged": True}

    def notes(self, store: Store) -> Provenance:
        """Return the provenance in the attributes of the root."""
        for key in ("zarr.json", ".zattrs"):
            own = (self._attributes(store, key) or {}).get("volumekit")
            found = own.get("provenance") if isinstance(own, Mapping) else None
            if isinstance(found, Mapping):
                try:
                    return Provenance.from_json(found)
                except MetadataError:
                    return Provenance()
        return Provenance()

    def folders(self, store: Store) -> list[str]:
        """Return the folders in the root that hold nodes, and `ROOT` if the root has chunks itself."""
        if not store.listable:
            return []
        nodes = [key.partition("/")[0] for key in store.list() if key.rsplit("/", 1)[-1] in _ZARR_NODES and "/" in key]
        array = store.read(".zarray").result() is not None or "shape" in (self._attributes(store, "zarr.json") or {})
        old = PrecomputedPlace().folders(store) if store.read("info").result() is not None else []
        return [*dict.fromkeys(nodes), *([ROOT] if array else []), *old]

    def unlist(self, store: Store) -> None:
        """Remove the metadata of the root."""
        store.commit(dict.fromkeys((*_ZARR_NODES, *_ZARR_NOTES, "info"))).result()

    def chunks(self, store: Store, folder: str) -> Iterator[str]:
        """Yield everything in a folder; of the root, what is named like a chunk."""
        if store.listable and folder == ROOT:
            yield from (name for name in list(store.list()) if _ZARR_CHUNK.fullmatch(name))
        elif store.listable:
            yield from list(store.list(f"{folder.strip('/')}/"))


class N5Place(Place):
    """A container of N5: everything in the folders of its root that have attributes.

    Parameters
    ----------
    path : str
        Folder of the dataset or group; empty or ends in ``/``.
    """

    closed = True

    def __init__(self, path: str = "") -> None:
        self._path, self._zarr = path, ZarrPlace(path)

    def _attributes(self, store: Store) -> Mapping[str, Any] | None:
        value = store.read(self._path + _N5_NODE).result()
        try:
            found = None if value is None else json.loads(value.data)
        except (ValueError, RecursionError):
            return {"damaged": True}
        return found if found is None or isinstance(found, dict) else {"damaged": True}

    def present(self, store: Store) -> bool:
        """Tell whether there are attributes that are more than the note of a job of ours, or levels, or other data."""
        attributes = self._attributes(store)
        if attributes is not None and not (set(attributes) == {"volumekit"} and self.unfinished(store)):
            return True
        return store.read(f"{self._path}s0/{_N5_NODE}").result() is not None or self._zarr.present(store)

    def notes(self, store: Store) -> Provenance:
        """Return the provenance in the attributes of the root."""
        own = (self._attributes(store) or {}).get("volumekit")
        found = own.get("provenance") if isinstance(own, Mapping) else None
        try:
            return Provenance.from_json(found) if isinstance(found, Mapping) else Provenance()
        except MetadataError:
            return Provenance()

    def folders(self, store: Store) -> list[str]:
        """Return the folders in the root that have attributes in them, and `ROOT` if the root has blocks itself."""
        if not store.listable:
            return []
        keys = [key for key in store.list() if key.rsplit("/", 1)[-1] == _N5_NODE and "/" in key]
        root = [ROOT] if "dimensions" in (self._attributes(store) or {}) else []
        return [*dict.fromkeys(key.partition("/")[0] for key in keys), *root, *self._zarr.folders(store)]

    def unlist(self, store: Store) -> None:
        """Remove the attributes of the root and of the finest level."""
        store.commit(dict.fromkeys((_N5_NODE, f"s0/{_N5_NODE}"))).result()
        self._zarr.unlist(store)

    def chunks(self, store: Store, folder: str) -> Iterator[str]:
        """Yield everything in a folder; of the root, what is named like a block."""
        yield from self._zarr.chunks(store, folder)


def place_of(fmt: Format) -> Place:
    """Return what a format keeps where."""
    if isinstance(fmt, N5):
        return N5Place(fmt.path)
    if not isinstance(fmt, ArrayFormat):
        return PrecomputedPlace()
    return ZarrPlace(fmt.path if isinstance(fmt, Rooted) else "")
