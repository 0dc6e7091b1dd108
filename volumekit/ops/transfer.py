"""Moving volumes: chunks are copied as they are where source and target agree, and encoded anew only elsewhere."""

from __future__ import annotations

import copy as copying
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from volumekit.engine.copying import Copied, alike, copy
from volumekit.engine.drive import run as drive
from volumekit.errors import DatasetNotFoundError, OptionError, ReadOnlyError, TargetExistsError
from volumekit.formats.precomputed import Precomputed
from volumekit.model.bbox import Bbox
from volumekit.model.level import Level
from volumekit.model.plain import plain
from volumekit.ops.apart import check_apart
from volumekit.ops.options import box_inside
from volumekit.ops.plan import Plan, Stage, Task, cut
from volumekit.ops.positions import check_chosen
from volumekit.ops.resume import find_journal, fingerprint, last_journal
from volumekit.ops.run import run, thread_count
from volumekit.ops.runners import Report, choose_runner
from volumekit.ops.target import listed, provenance_of
from volumekit.ops.trial import estimate_transfer
from volumekit.volume.source import resolve
from volumekit.volume.volume import Volume

if TYPE_CHECKING:
    from volumekit.model.url import URL
    from volumekit.ops.journal import Journal

log = logging.getLogger(__name__)

TASK_BYTES = 64 << 20
"""Voxels that a task moves, unless one shard holds more."""


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
    the source lacks are removed from the target's box. The same call goes on where it was cut off.

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
        copied stays.
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
        If something cannot be read or written.
    """
    threads, runner = thread_count(jobs), choose_runner(processes, client)
    source = src if isinstance(src, Volume) else Volume(src, parallel=threads)
    url = resolve(dst.cloudpath if isinstance(dst, Volume) else dst)
    check_apart(source, url)
    numbers = mip_numbers(source, mips)
    part = box_inside(box, source.levels[numbers[0]].bounds)
    how: dict[str, Any] = {"parallel": threads, "non_aligned_writes": True, "fill_missing": True}
    how |= {"compress": compress} if compress is not None else {}
    target, is_new = (_given(dst, how), False) if isinstance(dst, Volume) else _target(source, url, numbers, how)
    check_chosen(source, target)
    last = last_journal(target.array(0).store, "transfer", path=journal)
    ours = is_new or _is_ours(last, source)
    described = is_new or (ours and _describe(target, source, numbers)) or not listed(target)
    pairs = [(mip, _match(source.levels[mip], target)) for mip in numbers]
    job = {
        "task": "transfer",
        "source": source.cloudpath,
        **({"at": dict(source.at)} if source.at else {}),
        **({"dst_at": dict(target.at)} if target.at else {}),
        "box": [*part.minpt.tolist(), *part.maxpt.tolist()],
        "mips": numbers,
        "compress": compress,
        "state": fingerprint(source),
    }
    store = target.array(0).store
    if last is not None and not (last.finished or overwrite):
        last.check(job)
    if not (ours or overwrite):
        _check_empty(target, [other for _, other in pairs])
    record = find_journal(store, "transfer", job, plan={}, overwrite=True, path=journal)
    work = Transfer(source, target, tuple(pairs))
    plan = work.plan(part, threads)
    if dry_run:
        return estimate_transfer(work, plan, threads)
    record.save()
    if is_new:
        target.provenance = provenance_of(source, [source.cloudpath])
        target.commit_provenance()
    run(
        plan,
        work,
        jobs=threads,
        progress=progress,
        verb="Transferring",
        journal=record,
        runner=runner,
    )
    if described:
        target.commit_info()
    record.finish()
    log.info("%s", work.copied)
    if not isinstance(dst, Volume):
        return Volume(target.cloudpath)
    if described:
        dst.refresh_info()
    return dst


def _given(volume: Volume, how: Mapping[str, Any]) -> Volume:
    """Return a volume that is the target, with further options."""
    target = volume._snapshot()
    for name, value in how.items():
        setattr(target, name, value)
    return target


def _is_ours(last: Journal | None, source: Volume) -> bool:
    """Tell whether the last transfer to a place was from this source."""
    job = {} if last is None else last.job
    return job.get("source") == source.cloudpath and (job.get("at") or {}) == dict(source.at or {})


def _check_empty(target: Volume, mips: Sequence[int]) -> None:
    for mip in mips:
        if target.has_data(mip):
            raise TargetExistsError(
                f"mip {mip} of {target.cloudpath} holds chunks that are from elsewhere; overwrite=True (--overwrite) "
                "writes over them, where the source has others",
                url=target.cloudpath,
            )


def mip_numbers(source: Volume, mips: Any) -> list[int]:
    """Return the numbers of mips, by number or voxel size, finest first; None: all."""
    if mips is None:
        return list(source.available_mips)
    mips = plain(mips)
    return sorted(source.to_mip(mip) for mip in ([mips] if isinstance(mips, int) else mips))


def _target(source: Volume, url: URL, mips: Sequence[int], how: Mapping[str, Any]) -> tuple[Volume, bool]:
    """Open the target, or describe a new one with some levels of the source."""
    try:
        return Volume(str(url), **how), False
    except DatasetNotFoundError:
        fmt = source.array(0).fmt
        if not isinstance(fmt, Precomputed):
            raise ReadOnlyError(
                f"{fmt.name} data cannot be transferred to a new place; convert it", url=str(url)
            ) from None
        info = copying.deepcopy(fmt.info)
        info["scales"] = [info["scales"][mip] for mip in dict.fromkeys(mips)]
        return Volume(str(url), info=info, **how), True


def _describe(target: Volume, source: Volume, mips: Sequence[int]) -> bool:
    """Add levels of the source to the description of a target that lacks them; tell whether there were any."""
    theirs, ours = source.array(0).fmt, target.array(0).fmt
    if not (isinstance(theirs, Precomputed) and isinstance(ours, Precomputed)):
        return False
    info, there = copying.deepcopy(ours.info), {scale["key"] for scale in ours.info["scales"]}
    wanted = (theirs.info["scales"][mip] for mip in dict.fromkeys(mips))
    lacking = [copying.deepcopy(scale) for scale in wanted if scale["key"] not in there]
    info["scales"] = sorted([*info["scales"], *lacking], key=lambda scale: [float(n) for n in scale["resolution"]])
    if lacking:
        target.info = info
    return bool(lacking)


def _match(level: Level, target: Volume) -> int:
    """Return the target's mip that holds the same voxels."""
    for number, other in enumerate(target.levels):
        if (other.resolution, other.bounds, other.channels) == (level.resolution, level.bounds, level.channels):
            return number
    raise OptionError(
        f"the target has no mip of {level.shape} voxels of {list(level.resolution)} nm at {level.bounds}; transfer "
        "to a new place, or add such a scale",
        url=target.cloudpath,
    )


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

    def plan(self, box: Bbox, threads: int) -> Plan:
        """Cut a box of the finest mip into tasks along the target's chunks or shards, mip by mip."""
        stages, number = [], 0
        for stage, (mip, other) in enumerate(self.pairs):
            level = self.target.levels[other]
            part = self.source.bbox_to_mip(box, self.pairs[0][0], mip).intersection(level.bounds)
            boxes = [] if part.empty() else pieces(part, level)
            tasks = tuple(Task(number + n, stage, piece) for n, piece in enumerate(boxes))
            size = level.channels * level.dtype.itemsize
            stages.append(Stage(tasks, TASK_BYTES, int(part.volume()) * size))
            number += len(tasks)
        return Plan(tuple(stages), TASK_BYTES * threads)

    def __call__(self, task: Task, report: Report) -> None:
        """Do one task: see `volumekit.ops.run.Work`."""
        mip, other = self.pairs[task.stage]
        source, target = self.source.array(mip), self.target.array(other)
        if alike(source, target):
            drive(copy(source, target, task.box, copied=self.copied, report=report))
            return
        index = task.box
        self.target.upload(index, self.source.download(index, mip, progress=False), mip=other, progress=False)
        report(int(index.volume()) * target.level.channels * target.level.dtype.itemsize)


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
