"""Compressing the chunks of a volume otherwise, in place."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from volumekit.engine.drive import run as drive
from volumekit.engine.recompressing import Recompressed, check_recompressible
from volumekit.engine.recompressing import recompress as rewrite
from volumekit.errors import OptionError
from volumekit.ops.plan import Plan, Stage, Task
from volumekit.ops.resume import find_journal
from volumekit.ops.run import run, thread_count
from volumekit.ops.runners import Report, choose_runner
from volumekit.ops.transfer import TASK_BYTES, mip_numbers, pieces
from volumekit.volume.volume import Volume

if TYPE_CHECKING:
    import os

log = logging.getLogger(__name__)


def recompress(
    vol: Volume | str | os.PathLike[str],
    compress: str | bool,
    *,
    compress_level: int | None = None,
    mips: Sequence[Any] | int | None = None,
    jobs: int | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    processes: int | None = None,
    client: Any = None,
    journal: str | os.PathLike[str] | None = None,
) -> Volume:
    """Compress the chunks of a volume otherwise, where they are.

    Nothing is decoded, and no chunk is ever missing or half written: each is stored the new way before the old one
    goes, so that volumes may be read, and written, meanwhile. Local chunks that are as wanted are left alone; those of
    object stores are all written. A journal tells what is done: the same call goes on where it was cut off, and after a
    finished one does nothing.

    Parameters
    ----------
    vol : Volume, str or os.PathLike
        A precomputed volume that is not sharded.
    compress : str or bool
        As for `Volume`: ``"gzip"`` (or True), ``"br"``, ``"zstd"``, ``"xz"``, ``"bz2"``, or False for none.
    compress_level : int, optional
        Its level.
    mips : int or sequence, optional
        Which, by number or voxel size; default: all.
    jobs : int, optional
        How many threads work; default: one per core.
    overwrite : bool
        Whether to look at every chunk again after a finished call, and to forget an unfinished one of another method.
    progress : bool, optional
        Whether to show a progress bar; None: in interactive sessions.
    processes, client : optional
        As for `convert`.
    journal : str or os.PathLike, optional
        Where to keep the journal; default: ``.volumekit/recompress.json`` in the volume.

    Returns
    -------
    Volume
        The volume, whose further writes are compressed like that.

    Raises
    ------
    OptionError
        If there is no such method.
    UnsupportedError
        If chunks are not compressed one by one: in shards, in zarr and N5. Convert those to a new place.
    ReadOnlyError
        If the volume cannot be written.
    TargetExistsError
        If another such job was cut off, and ``overwrite`` is off.
    PermissionDeniedError, NoSpaceError, StorageError, CorruptChunkError
        If something cannot be read or written; chunks are then as they were, or as wanted.
    """
    threads = thread_count(jobs)
    if compress is None:
        raise OptionError("say how to compress: gzip, br, zstd, xz, bz2, or False for none")
    target = (vol if isinstance(vol, Volume) else Volume(vol))._snapshot()
    target.compress_level = None  # that of another method, perhaps
    target.compress, target.compress_level, target.parallel = compress, compress_level, threads
    numbers = mip_numbers(target, mips)
    for mip in numbers:
        target._check_writable(target.levels[mip])
        check_recompressible(target.array(mip))
    job = {"task": "recompress", "compress": target.compress, "level": target.compress_level, "mips": numbers}
    store = target.array(numbers[0]).store
    record = find_journal(store, "recompress", job, plan={}, overwrite=overwrite, path=journal)
    if record.finished:
        log.warning("%s is compressed like that already; overwrite=True (--overwrite) looks again", target.cloudpath)
        return target
    record.save()
    work = _Recompress(target, tuple(numbers))
    runner = choose_runner(processes, client)
    run(work.plan(threads), work, jobs=threads, progress=progress, verb="Compressing", journal=record, runner=runner)
    record.finish()
    log.info("%s", work.counts)
    return target


@dataclass
class _Recompress:
    """Compresses boxes of levels; one stage per mip."""

    volume: Volume
    mips: tuple[int, ...]
    counts: Recompressed = field(default_factory=Recompressed)

    def plan(self, threads: int) -> Plan:
        """Cut the levels into tasks of whole chunks."""
        stages, number = [], 0
        for stage, mip in enumerate(self.mips):
            level = self.volume.levels[mip]
            tasks = tuple(Task(number + n, stage, box) for n, box in enumerate(pieces(level.bounds, level)))
            size = level.channels * level.dtype.itemsize
            stages.append(Stage(tasks, TASK_BYTES, int(level.bounds.volume()) * size))
            number += len(tasks)
        return Plan(tuple(stages), TASK_BYTES * threads)

    def __call__(self, task: Task, report: Report) -> None:
        """Do one task: see `volumekit.ops.run.Work`."""
        drive(rewrite(self.volume.array(self.mips[task.stage]), task.box, counts=self.counts, report=report))
