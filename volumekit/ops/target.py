"""The place a job writes to: free or cleared, marked as being worked on, and declared complete at the very end."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import volumekit
from volumekit.errors import MetadataError, OptionError, TargetExistsError, VolumekitError
from volumekit.formats.precomputed.info import load_info
from volumekit.model.notation import parse_chunk_name
from volumekit.model.provenance import Provenance
from volumekit.storage.base import Store
from volumekit.volume.volume import Volume

if TYPE_CHECKING:
    from volumekit.ops.journal import Journal

_BATCH = 512
_SHARD = re.compile(r"[0-9a-f]+\.(?:shard|index|data)")


def prepare(
    volume: Volume, entry: Mapping[str, Any], *, overwrite: bool, provenance: Provenance, journal: Journal | None
) -> None:
    """Make a place ready for a new dataset, the journal first; parameters and errors as for `claim`."""
    if journal is None:
        claim(volume, entry, overwrite=overwrite, provenance=provenance)
        return
    check_free(volume, overwrite=overwrite or journal.saved)
    old = volume.array(0).store.read("info").result()
    found = [*journal.plan.get("remove", ()), *(_keys(old.data) if old is not None else ())]
    journal.plan = {**journal.plan, "remove": list(dict.fromkeys(found))}
    journal.save()
    claim(volume, entry, overwrite=True, provenance=provenance, also=journal.plan["remove"])
    journal.clear()


def claim(
    volume: Volume,
    entry: Mapping[str, Any],
    *,
    overwrite: bool,
    provenance: Provenance,
    also: Sequence[str] = (),
) -> None:
    """Make a place ready for a new dataset: old levels are removed, and the provenance says what is going on.

    Parameters
    ----------
    volume : Volume
        The dataset to come; its info is not stored.
    entry : Mapping
        What is being done, an entry of the provenance's ``processing``.
    overwrite : bool
        Whether a dataset that is there may be removed.
    provenance : Provenance
        What is known of the source.
    also : sequence of str
        Folders of more old levels to remove.

    Raises
    ------
    TargetExistsError
        If there is a dataset, or chunks of one, and ``overwrite`` is off.
    PermissionDeniedError, StorageError, ReadOnlyError
        If nothing can be written there.
    """
    check_free(volume, overwrite=overwrite)
    store, wanted = volume.array(0).store, [*(level.key for level in volume.levels), *also]
    old = store.read("info").result()
    if old is not None:
        wanted += _keys(old.data)
        store.commit({"info": None}).result()
    for key in dict.fromkeys(wanted):
        remove_chunks(store, key)
    volume.provenance = provenance
    note(volume, entry)


def check_free(volume: Volume, *, overwrite: bool) -> None:
    """Refuse a place where there is a dataset, or chunks of one, unless that may be removed; errors as for `claim`."""
    if overwrite:
        return
    store = volume.array(0).store
    if store.read("info").result() is not None:
        raise TargetExistsError(
            f"there is a dataset at {volume.cloudpath} already; overwrite=True (--overwrite) replaces it",
            url=volume.cloudpath,
        )
    _check_leftovers(volume, store, [level.key for level in volume.levels])


def _check_leftovers(volume: Volume, store: Store, keys: Iterable[str]) -> None:
    """Refuse to remove chunks, unless an unfinished job of ours left them."""
    if _unfinished(store) or not any(_has_chunks(store, key) for key in keys):
        return
    raise TargetExistsError(
        f"there are chunks but no info at {volume.cloudpath}; overwrite=True (--overwrite) removes them",
        url=volume.cloudpath,
    )


def _unfinished(store: Store) -> bool:
    value = store.read("provenance").result()
    try:
        processing = Provenance.from_json(value.data).processing if value else []
    except MetadataError:
        return False
    return bool(processing) and "started" in processing[-1] and "finished" not in processing[-1]


def _has_chunks(store: Store, key: str) -> bool:
    return next(_chunks(store, key), None) is not None


def _keys(info: bytes) -> list[str]:
    """Return the folders of an old dataset's levels, as far as its info can be understood."""
    try:
        scales = load_info(info).get("scales")
    except MetadataError:
        return []
    entries = scales if isinstance(scales, list) else []
    keys = [entry.get("key") for entry in entries if isinstance(entry, dict)]
    return [key for key in keys if isinstance(key, str) and key.strip("./") and ".." not in key.split("/")]


def remove_chunks(store: Store, key: str) -> None:
    """Remove what looks like a chunk, or a shard of them, from a level's folder; other files there are left alone."""
    names = _chunks(store, key)
    while batch := list(itertools.islice(names, _BATCH)):
        store.commit(dict.fromkeys(batch)).result()


def _chunks(store: Store, key: str) -> Any:
    if not store.listable:
        return
    for name in list(store.list(f"{key.strip('/')}/")):
        if _is_chunk(name.rsplit("/", 1)[-1]):
            yield name


def _is_chunk(name: str) -> bool:
    if _SHARD.fullmatch(name):
        return True
    try:
        parse_chunk_name(name)
    except OptionError:
        return False
    return True


def started(task: str, source: Any, **arguments: Any) -> dict[str, Any]:
    """Return the provenance entry of a job that begins now."""
    method = {"task": task, "program": f"volumekit {volumekit.__version__}", "source": source, **arguments}
    return {"method": {name: value for name, value in method.items() if value is not None}, "started": _now()}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def note(volume: Volume, entry: Mapping[str, Any]) -> None:
    """Store the provenance with an entry at its end; the first write of a job, so it tells whether writing works."""
    provenance = volume.provenance
    provenance.processing = [*provenance.processing, dict(entry)]
    volume.commit_provenance()


def finish(volume: Volume) -> None:
    """Declare the job done: the provenance first, and then the info, which makes it a dataset."""
    last = {**volume.provenance.processing[-1], "finished": _now()}
    volume.provenance.processing = [*volume.provenance.processing[:-1], last]
    volume.commit_provenance()
    volume.commit_info()


def provenance_of(source: Volume | None, names: Sequence[str]) -> Provenance:
    """Return what is known of a source, for a volume made from it."""
    known = Provenance()
    if source is not None:
        try:
            known = source.provenance.copy()
        except VolumekitError:  # damaged; it is the source's, not needed here
            known = Provenance()
    sources = [*known.sources, *names]
    return Provenance({**known, "sources": list(dict.fromkeys(sources))})
