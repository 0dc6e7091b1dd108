"""The place a job writes to: free or cleared, marked as being worked on, and declared complete at the very end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import volumekit
from volumekit.errors import TargetExistsError, VolumekitError
from volumekit.model.plain import plain
from volumekit.model.provenance import Provenance
from volumekit.storage.base import Store
from volumekit.volume.places import Place, place_of
from volumekit.volume.volume import Volume

if TYPE_CHECKING:
    from volumekit.ops.journal import Journal


def prepare(
    volume: Volume, entry: Mapping[str, Any], *, overwrite: bool, provenance: Provenance, journal: Journal | None
) -> None:
    """Make a place ready for a new dataset, the journal first; parameters and errors as for `claim`."""
    if journal is None:
        claim(volume, entry, overwrite=overwrite, provenance=provenance)
        return
    check_free(volume, overwrite=overwrite or journal.saved)
    array = volume.array(0)
    found = [*journal.plan.get("remove", ()), *place_of(array.fmt).folders(array.store)]
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
        The dataset to come; its metadata are not stored.
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
    array = volume.array(0)
    store, place = array.store, place_of(array.fmt)
    wanted = [*(level.key for level in volume.levels), *also]
    if place.present(store):
        wanted += place.folders(store)
        place.unlist(store)
    for key in dict.fromkeys(wanted):
        place.remove(store, key)
    volume.provenance = provenance
    note(volume, entry)


def check_free(volume: Volume, *, overwrite: bool) -> None:
    """Refuse a place where there is a dataset, or chunks of one, unless that may be removed; errors as for `claim`."""
    if overwrite:
        return
    array = volume.array(0)
    store, place = array.store, place_of(array.fmt)
    if place.present(store):
        raise TargetExistsError(
            f"there is a dataset at {volume.cloudpath} already; overwrite=True (--overwrite) replaces it",
            url=volume.cloudpath,
        )
    _check_leftovers(volume, place, store, [level.key for level in volume.levels])


def listed(volume: Volume) -> bool:
    """Tell whether readers find a dataset there."""
    array = volume.array(0)
    return place_of(array.fmt).present(array.store)


def _check_leftovers(volume: Volume, place: Place, store: Store, keys: Iterable[str]) -> None:
    """Refuse to remove chunks, unless an unfinished job of ours left them."""
    if place.unfinished(store) or not any(place.holds(store, key) for key in keys):
        return
    raise TargetExistsError(
        f"there are chunks but no metadata at {volume.cloudpath}; overwrite=True (--overwrite) removes them",
        url=volume.cloudpath,
    )


def started(task: str, source: Any, **arguments: Any) -> dict[str, Any]:
    """Return the provenance entry of a job that begins now."""
    method = {"task": task, "program": f"volumekit {volumekit.__version__}", "source": source, **arguments}
    return {"method": {name: plain(value) for name, value in method.items() if value is not None}, "started": _now()}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def note(volume: Volume, entry: Mapping[str, Any]) -> None:
    """Store the provenance with an entry at its end; the first write of a job, so it tells whether writing works."""
    provenance = volume.provenance
    provenance.processing = [*provenance.processing, dict(entry)]
    volume.commit_provenance()


def finish(volume: Volume, **found: Any) -> None:
    """Declare the job done: the provenance first, with what was found, then the metadata that make it a dataset.

    What was found to be None is no longer so, and is told no more.
    """
    facts = {**volume.provenance.processing[-1], **found, "finished": _now()}
    last = {name: value for name, value in facts.items() if value is not None}
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
