"""Going on with a job: finding its journal, and telling whether it is still the same job on the same source."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volumekit.errors import MetadataError, TargetExistsError
from volumekit.formats.stack import Stack
from volumekit.model.provenance import Provenance
from volumekit.model.url import parse_url
from volumekit.ops.journal import FOLDER, Journal
from volumekit.ops.stamps import Part, changes, stamps_of, told
from volumekit.storage import open_store
from volumekit.volume.places import place_of
from volumekit.volume.source import resolve, split_selector

if TYPE_CHECKING:
    from volumekit.storage.base import Store
    from volumekit.volume.volume import Volume


@dataclass(frozen=True)
class Mend:
    """Which jobs that left out damaged images do them again.

    Attributes
    ----------
    source : Volume
        The images.
    always : bool
        Whether also where they are as damaged as they were.
    """

    source: Volume
    always: bool

    def applies(self, found: Journal, job: Mapping[str, Any]) -> bool:
        """Tell whether a job is that of a journal, on the same images but for the damaged ones."""
        if not found.marks or not found.is_of({**job, "state": found.job.get("state")}):
            return False
        if found.job.get("state") == job["state"]:
            return self.always and bool(found.damaged)
        return fingerprint(self.source, found.marks) == found.job.get("state")


def find_journal(
    store: Store,
    name: str,
    job: Mapping[str, Any],
    *,
    plan: Mapping[str, Any],
    overwrite: bool,
    path: str | os.PathLike[str] | None = None,
    beside: bool = False,
    mend: Mend | None = None,
    source: Volume | None = None,
    again: bool = False,
) -> Journal:
    """Return the journal of this very job, or a new one.

    Parameters
    ----------
    store : Store
        The target's.
    name : str
        What kind of job: its journal is ``.volumekit/<name>.json``.
    job : Mapping
        Everything that the result depends on.
    plan : Mapping
        What a new job is cut into tasks by.
    overwrite : bool
        Whether what is there may be replaced: then a finished job starts over, and an unfinished one of other
        parameters is forgotten.
    path : str or os.PathLike, optional
        File or URL of the journal, if it is to be somewhere else.
    beside : bool
        Whether it is one file beside the metadata, ``.volumekit-<name>.json``, rather than in a folder: of data in
        zarr, where other folders than its own are frowned upon.
    mend : Mend, optional
        Whether what was left out for damaged images is to be done again, and their source.
    source : Volume, optional
        What the job reads: if chunks of it have changed since the journal was begun, by its `Journal.stamps`, a
        finished job is another one, and an unfinished one is refused.
    again : bool
        Whether an unfinished one then begins again instead.

    Raises
    ------
    TargetExistsError
        If there is the journal of an unfinished job with other parameters, or of another state of the source.
    MetadataError
        If it is damaged.
    """
    store, key = _kept(store, name, path, beside=beside)
    new = Journal(store, key, dict(job), dict(plan), kept=not beside)
    going_on = overwrite and _unfinished(store, key, job)
    if overwrite and not going_on:
        return new
    found = Journal.find(store, key)
    if found is not None and mend is not None and mend.applies(found, job):
        found.reopen(job, {name: mark_of(mend.source, name) for name in found.marks})
    if found is None or (found.finished and not found.is_of(job)):
        return new
    found.check(job)
    outdated = _outdated(source, found.stamps)
    if outdated is not None and not (found.finished or going_on or again):
        found.refuse(outdated)
    if outdated is not None:
        new.outdated = outdated
        return new
    found.kept = not beside
    return found


def _outdated(source: Volume | None, stamps: Mapping[str, str] | None) -> str | None:
    """Return what has changed of a source, None if nothing has that is known of."""
    names = changes(source, stamps) if source is not None and isinstance(stamps, Mapping) else []
    return f"the source has changed since: {told(names)}" if names else None


def find_begun(
    target: Volume,
    name: str,
    job: Mapping[str, Any],
    *,
    entry: dict[str, Any],
    overwrite: bool,
    source: Volume | None = None,
    advice: str = "overwrite=True (--overwrite) makes it again",
    **how: Any,
) -> tuple[Journal, bool]:
    """Return the journal of a job that makes a new dataset, and whether the dataset is there, finished.

    Parameters
    ----------
    target : Volume
        The dataset.
    name, job, overwrite
        As for `find_journal`.
    entry : dict
        The job's entry of the provenance; gets a mark if that is what tells later that it is finished.
    source : Volume, optional
        What the job reads.
    advice : str
        What to do where the dataset is there, but the source has changed since.
    **how
        As for `find_journal`.

    Raises
    ------
    TargetExistsError
        As for `find_journal`, and if the dataset is there, but what it was made of has changed since.
    MetadataError
        As for `find_journal`.
    """
    array = target.array(0)
    place = place_of(array.fmt)
    record = find_journal(array.store, name, job, overwrite=overwrite, beside=place.closed, source=source, **how)
    if place.closed:
        entry["job"] = digest(job)
    last = _last(place.notes(array.store), digest(job)) if place.closed and not overwrite and not record.saved else None
    outdated = record.outdated if last is None else _outdated(source, last.get("stamps"))
    done = (record.finished or last is not None or outdated is not None) and place.present(array.store)
    if done and outdated is not None and not overwrite:
        raise TargetExistsError(
            f"{target.cloudpath} is the finished result of this very command, but {outdated}. {advice}",
            url=target.cloudpath,
        )
    return record, done


def last_journal(
    store: Store, name: str, *, path: str | os.PathLike[str] | None = None, beside: bool = False
) -> Journal | None:
    """Return the journal of the last job of a kind, whatever it was; None if there is none that can be read."""
    place, key = _kept(store, name, path, beside=beside)
    try:
        return Journal.find(place, key)
    except MetadataError:
        return None


def _kept(store: Store, name: str, path: str | os.PathLike[str] | None, *, beside: bool) -> tuple[Store, str]:
    """Return where a journal is kept."""
    if path is None:
        return store, f"{FOLDER}-{name}.json" if beside else f"{FOLDER}/{name}.json"
    url = parse_url(path)
    return open_store(url.base), url.name


def _last(provenance: Provenance, mark: str) -> Mapping[str, Any] | None:
    """Return what a provenance tells of the last job, if that has this mark, and finished."""
    last = provenance.processing[-1] if provenance.processing else {}
    return last if last.get("job") == mark and "finished" in last else None


def stamp(record: Journal, entry: dict[str, Any], parts: Iterable[Part]) -> None:
    """Note what a job is going to read, in its journal, unless that was done when it began.

    Parameters
    ----------
    record : Journal
        The journal.
    entry : dict
        The job's entry of the provenance; gets the marks as well if it is what stays of the job.
    parts : iterable of tuple
        As for `stamps_of`.

    Raises
    ------
    PermissionDeniedError, StorageError
        If chunks of the source cannot be asked for.
    """
    if record.stamps is None:
        record.stamps = stamps_of(parts, digest(record.job))
    if "job" in entry:
        entry["stamps"] = record.stamps


def _unfinished(store: Store, key: str, job: Mapping[str, Any]) -> bool:
    """Tell whether there is an unfinished journal of this very job, which goes on whatever ``overwrite`` says."""
    try:
        found = Journal.find(store, key)
    except ValueError:
        return False
    return found is not None and not found.finished and found.is_of(job)


def digest(job: Mapping[str, Any]) -> str:
    """Return what is the same for the same job only."""
    return hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()


def fingerprint(volume: Volume, marks: Mapping[str, tuple[int, int]] | None = None) -> str:
    """Return what changes when a source changes: of a stack the names, sizes and times of its files, else its info.

    Chunks of volumes are not looked at; ``marks`` are sizes and times of files to go by instead of theirs now.
    """
    mark = hashlib.sha256()
    fmt = volume.array().fmt
    if isinstance(fmt, Stack):
        folder = _folder(volume)
        for name in fmt.files:
            size, time = (marks or {}).get(name) or _mark(folder, name)
            mark.update(f"{name}\0{size}\0{time}\0".encode("utf-8", "surrogateescape"))
    else:
        for key, data in sorted(fmt.metadata().items()):
            mark.update(key.encode() + b"\0" + data)
    return mark.hexdigest()


def mark_of(volume: Volume, name: str) -> tuple[int, int]:
    """Return size and time of an image of a stack, in bytes and nanoseconds."""
    return _mark(_folder(volume), name)


def _folder(stack: Volume) -> str:
    return split_selector(resolve(stack.cloudpath))[0].path


def _mark(folder: str, name: str) -> tuple[int, int]:
    try:
        state = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118 - one call for each of many files
    except FileNotFoundError:
        return -1, -1
    return state.st_size, state.st_mtime_ns
