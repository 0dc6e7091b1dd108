"""Moving volumes: chunks are copied as they are where source and target agree, and encoded anew only elsewhere."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from volumekit.engine.copying import Copied, alike, copy
from volumekit.engine.drive import run as drive
from volumekit.model.bbox import Bbox
from volumekit.model.level import Level
from volumekit.model.plain import plain
from volumekit.ops.apart import check_apart
from volumekit.ops.estimate import Estimate
from volumekit.ops.options import box_inside
from volumekit.ops.plan import Plan, Stage, Task, cut
from volumekit.ops.receiver import Receiver
from volumekit.ops.resume import find_journal, fingerprint, stamp
from volumekit.ops.run import run, thread_count
from volumekit.ops.runners import Report, choose_runner
from volumekit.ops.seen import Look, Seen, checksum
from volumekit.ops.stamps import Part
from volumekit.ops.target import provenance_of
from volumekit.ops.trial import estimate_transfer
from volumekit.ops.watch import Guard
from volumekit.volume.foreign import check_own
from volumekit.volume.source import resolve
from volumekit.volume.volume import Volume

if TYPE_CHECKING:
    from volumekit.ops.journal import Journal

log = logging.getLogger(__name__)

TASK_BYTES = 64 << 20
"""Voxels that a task moves, unless one shard holds more."""

_ADVICE = "The same command once more compares every chunk and copies what differs"


def transfer(
    src: Volume | str | os.PathLike[str],
    dst: Volume | str | os.PathLike[str],
    *,
    box: Any = None,
    mips: Sequence[Any] | int | None = None,
    compress: str | bool | None = None,
    jobs: int | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: bool | None = None,
    processes: int | None = None,
    client: Any = None,
    journal: str | os.PathLike[str] | None = None,
) -> Volume | Any:
    """Copy a volume, or a box of it, to another place.

    Chunks are copied byte by byte where source and target have the same grid, encoding and data type, shards or not;
    chunks that are the same already are left alone. Where they differ, voxels are decoded and encoded anew. Chunks that
    the source lacks are removed from the target's box. The same call goes on where it was cut off; after a finished one
    it does nothing if no chunk of the source has changed since, and else copies what differs.

    Parameters
    ----------
    src : Volume, str or os.PathLike
        The source.
    dst : Volume, str or os.PathLike
        The target: an existing volume of the same extent, or a new place, which becomes one like the source, with the
        levels that are transferred. A `Volume` has its own options, credentials among them; its current mip does not
        matter, and its info is committed at the end if there is none stored. Of source and target with further axes one
        position each, chosen by ``at`` of `Volume`, is transferred by a call.
    box : Bbox or slices, optional
        Half-open, in voxels of the finest mip that is transferred. Chunks that it holds in part are merged. A new
        volume has the extent of the source all the same, so that other boxes can follow; elsewhere nothing is stored.
    mips : int or sequence, optional
        Which, by number or voxel size; default: all. Those that a target made from this source lacks are added.
    compress : str or bool, optional
        Of chunks written; default: what a target given as a `Volume` says, or as they are in the source.
    jobs : int, optional
        How many threads work; default: one per core.
    overwrite : bool
        Whether levels may be written that hold chunks already; those that the last transfer there put may anyway, if it
        was from this source. Also whether a transfer of something else that was cut off there may be given up: what it
        copied stays. And whether every chunk is compared after a finished call of the same.
    dry_run : bool
        Whether to write nothing, and return an estimate of the time and the room it takes.
    progress : bool, optional
        Whether to show a progress bar; None: in interactive sessions.
    processes, client, journal
        As for `convert`.

    Returns
    -------
    Volume or Estimate
        The target; with ``dry_run`` a `volumekit.ops.estimate.Estimate`, to be printed.

    Raises
    ------
    OptionError
        If source and target are the same place, or of different extent, or no position was chosen of a further axis.
    TargetExistsError
        If the target holds chunks from elsewhere, or a transfer with other parameters was cut off there, and
        ``overwrite`` is off.
    OutOfBoundsError
        If the box reaches outside.
    PermissionDeniedError, NoSpaceError, StorageError, CorruptChunkError
        If something cannot be read or written, or the source changes meanwhile.
    """
    threads, runner = thread_count(jobs), choose_runner(processes, client)
    source = src if isinstance(src, Volume) else Volume(src, parallel=threads)
    url = resolve(dst.cloudpath if isinstance(dst, Volume) else dst)
    check_apart(source, url)
    check_own(source)
    numbers = mip_numbers(source, mips)
    part = box_inside(box, source.levels[numbers[0]].bounds)
    how: dict[str, Any] = {"parallel": threads, "non_aligned_writes": True, "fill_missing": True}
    how |= {"compress": compress} if compress is not None else {}
    target = Receiver.open(source, dst if isinstance(dst, Volume) else url, numbers, journal=journal, how=how)
    job = _job(source, target.volume, part, numbers, compress)
    target.check(job, overwrite=overwrite)
    work, running = Transfer(source, target.volume, target.pairs), _How(jobs=threads, progress=progress)
    plan = work.plan(part, threads)
    record = _record(work, plan, target, job, overwrite=overwrite, journal=journal, **running)
    if record.finished:
        return Estimate.nothing(str(url)) if dry_run else _nothing_left(target, dst)
    if dry_run:
        return estimate_transfer(work, plan, threads)
    _begin(record, work.parts(part), target, source)
    seen = Seen(record, Guard(source, numbers, stamps=record.stamps or {}, state=job["state"], advice=_ADVICE))
    run(plan, work, verb="Transferring", journal=record, runner=runner, collect=seen, **running)
    seen.guard.look()
    if target.described:
        target.volume.commit_info()
    record.finish()
    log.info("%s", work.copied)
    if mips_left := target.coarser():
        log.warning(
            "mips %s of %s show what was there before, as they were not transferred; downsample makes them anew",
            ", ".join(map(str, mips_left)),
            target.volume.cloudpath,
        )
    if isinstance(dst, Volume) and target.described:
        dst.refresh_info()
    return dst if isinstance(dst, Volume) else Volume(target.volume.cloudpath)


class _How(TypedDict):
    """How tasks are run."""

    jobs: int
    progress: bool | None


def _job(
    source: Volume, target: Volume, part: Bbox, mips: Sequence[int], compress: str | bool | None
) -> dict[str, Any]:
    """Return what a result depends on."""
    return {
        "task": "transfer",
        "source": source.cloudpath,
        **({"at": dict(source.at)} if source.at else {}),
        **({"dst_at": dict(target.at)} if target.at else {}),
        "box": [*part.minpt.tolist(), *part.maxpt.tolist()],
        "mips": list(mips),
        "compress": compress,
        "state": fingerprint(source),
    }


def _record(
    work: Transfer,
    plan: Plan,
    target: Receiver,
    job: dict[str, Any],
    *,
    overwrite: bool,
    journal: str | os.PathLike[str] | None,
    **how: Unpack[_How],
) -> Journal:
    """Return the journal: a finished one if nothing is left to do, else one to go on with, or a new one."""
    store, place = target.volume.array(0).store, target.volume.cloudpath
    find = functools.partial(find_journal, store, "transfer", job, plan={"target": place}, path=journal)
    record = find(overwrite=overwrite, source=work.source, again=True)
    if not record.finished:
        return record
    look, same = Look(work.source, tuple(mip for mip, _ in work.pairs)), record.plan.get("target") == place
    nothing_left = same and not target.described and look.unchanged(plan, record, **how)
    return record if nothing_left else find(overwrite=True)


def _nothing_left(target: Receiver, dst: Volume | str | os.PathLike[str]) -> Volume:
    log.warning(
        "%s was transferred by this very command, and no chunk of the source has changed since: nothing is left to do; "
        "overwrite=True (--overwrite) compares every chunk",
        target.volume.cloudpath,
    )
    return dst if isinstance(dst, Volume) else Volume(target.volume.cloudpath)


def _begin(record: Journal, parts: Sequence[Part], target: Receiver, source: Volume) -> None:
    """Store the journal, and where a new volume is from."""
    if not record.saved:
        record.seen = 0
    stamp(record, {}, parts)
    record.save()
    if target.is_new:
        target.volume.provenance = provenance_of(source, [source.cloudpath])
        target.volume.commit_provenance()


def mip_numbers(source: Volume, mips: Any) -> list[int]:
    """Return the numbers of mips, by number or voxel size, finest first; None: all."""
    if mips is None:
        return list(source.available_mips)
    mips = plain(mips)
    return sorted(source.to_mip(mip) for mip in ([mips] if isinstance(mips, int) else mips))


@dataclass
class Transfer:
    """Copies boxes of levels; calling it does one task.

    Attributes
    ----------
    source, target : Volume
        From and to.
    pairs : tuple of tuple of int
        Mips of the source and of the target; one pair per stage.
    copied : Copied
        What became of the chunks, in this process.
    """

    source: Volume
    target: Volume
    pairs: tuple[tuple[int, int], ...]
    copied: Copied = field(default_factory=Copied)

    def parts(self, box: Bbox) -> list[Part]:
        """Return the levels of the source, each with the part of it that a box of the finest mip is."""
        first, bounds = self.pairs[0][0], [self.target.levels[other].bounds for _, other in self.pairs]
        return [
            (self.source.array(mip), self.source.bbox_to_mip(box, first, mip).intersection(there))
            for (mip, _), there in zip(self.pairs, bounds, strict=True)
        ]

    def plan(self, box: Bbox, threads: int) -> Plan:
        """Cut a box of the finest mip into tasks along the target's chunks or shards, mip by mip."""
        stages, number = [], 0
        for stage, ((_, part), (_, other)) in enumerate(zip(self.parts(box), self.pairs, strict=True)):
            level = self.target.levels[other]
            boxes = [] if part.empty() else pieces(part, level)
            tasks = tuple(Task(number + n, stage, piece) for n, piece in enumerate(boxes))
            size = level.channels * level.dtype.itemsize
            stages.append(Stage(tasks, TASK_BYTES, int(part.volume()) * size))
            number += len(tasks)
        return Plan(tuple(stages), TASK_BYTES * threads)

    def __call__(self, task: Task, report: Report) -> int | None:
        """Do one task: see `volumekit.ops.run.Work`; return the checksum of what it read, taken before."""
        mip, other = self.pairs[task.stage]
        source, target = self.source.array(mip), self.target.array(other)
        found = checksum(source, task.box)
        if alike(source, target):
            drive(copy(source, target, task.box, copied=self.copied, report=report))
            return found
        index = task.box
        self.target.upload(index, self.source.download(index, mip, progress=False), mip=other, progress=False)
        report(int(index.volume()) * target.level.channels * target.level.dtype.itemsize)
        return found


def pieces(part: Bbox, level: Level) -> list[Bbox]:
    """Cut a box along the grid of a level's chunks or shards; no two pieces share an object of it."""
    shard = level.sharding.shape if level.sharding is not None else None
    if level.sharding is not None and shard is None:
        return [part]
    unit = list(shard or level.chunk[:3])
    voxel = level.channels * level.dtype.itemsize
    for axis in (0, 1, 2):
        size = part.size().tolist()[axis]
        while unit[axis] < size and 2 * unit[0] * unit[1] * unit[2] * voxel <= TASK_BYTES:
            unit[axis] *= 2
    return [found for piece in cut(level.bounds, unit) if not (found := piece.intersection(part)).empty()]
