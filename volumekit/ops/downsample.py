"""Adding coarser levels to a volume."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from volumekit.errors import OptionError, ReadOnlyError
from volumekit.ops.build import Build, choose_method, plan_levels
from volumekit.ops.estimate import Estimate, estimate
from volumekit.ops.factors import check_factor, shrinking, steps
from volumekit.ops.growth import Growth, can_grow, grow
from volumekit.ops.inputs import VolumeInput
from volumekit.ops.memory import parse_amount
from volumekit.ops.options import mip_count
from volumekit.ops.proof import Levels, check_share, proven, proving
from volumekit.ops.resume import find_begun, stamp
from volumekit.ops.run import thread_count
from volumekit.ops.runners import choose_runner
from volumekit.ops.target import finish, note, started
from volumekit.ops.watch import Guard
from volumekit.volume.places import place_of
from volumekit.volume.volume import Volume

if TYPE_CHECKING:
    import os

    from volumekit.ops.journal import Journal

log = logging.getLogger(__name__)

_OVER = "overwrite=True with mip={0} (--overwrite --mip {0}) starts over"
_AGAIN = "overwrite=True with mip= (--overwrite --mip) of the level they were made of makes its levels again"


def downsample(
    vol: Volume | str | os.PathLike[str],
    *,
    factor: str | Sequence[Any] = (2, 2, 2),
    mips: int = 1,
    method: str | None = None,
    sparse: bool = False,
    mip: int | None = None,
    fill_missing: bool | None = None,
    compress: str | bool | None = None,
    memory: str | int = "1GB",
    jobs: int | None = None,
    verify: bool | float = False,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: bool | None = None,
    processes: int | None = None,
    client: Any = None,
    journal: str | os.PathLike[str] | None = None,
) -> Volume | Any:
    """Add coarser levels to a volume: all in one go over the voxels, within a limit of memory.

    The info file is written at the end; until then readers see the volume as it was. A journal beside the data tells
    what is done: the same call goes on where it was cut off, and after a finished one does nothing. To add levels below
    those of an earlier call, give ``mip``.

    Parameters
    ----------
    vol : Volume, str or os.PathLike
        The volume. Where it has further axes, all their positions get the new levels, not only the one it is opened at.
    factor : sequence of int, sequence of those, or str
        From each level to the next, (x, y, z), to 1024; one for each level; or a way to choose them: ``"isotropic"``:
        of flat voxels only the short axes are halved until they are about cubes, then all; ``"anisotropic"``: all are,
        so that voxels keep their shape; ``"constant-z"``: x and y are.
    mips : int
        How many levels to add; fewer are where levels do not become smaller any more.
    method : str, optional
        As for `convert`.
    sparse : bool
        As for `convert`.
    mip : int, optional
        Level to start from; default: the coarsest that holds data.
    fill_missing : bool, optional
        Whether missing chunks count as background; default: as ``vol`` was opened.
    compress : str or bool, optional
        As for `Volume`.
    memory : str or int
        What the whole process may use, such as ``"1GB"`` or a number of bytes.
    jobs : int, optional
        How many threads work; default: one per core.
    verify : bool or float
        Whether to read the new levels once they are stored, and compare each with what the next finer one gives, before
        they count as finished; a number below 1: a sample of so large a share. The provenance keeps the report
        (``verified``). Not for lossy encodings, and not once more after a finished call.
    overwrite : bool
        Whether levels that already hold data may be replaced.
    dry_run : bool
        Whether to write nothing, and return an estimate of the time and the room it takes.
    progress : bool, optional
        Whether to show a progress bar; None: in interactive sessions.
    processes : int, optional
        Do the tasks in so many spawned processes instead of threads.
    client : dask.distributed.Client, optional
        Do the tasks on a Dask cluster.
    journal : str or os.PathLike, optional
        Where to keep the journal; default: ``.volumekit/downsample.json`` in the volume.

    Returns
    -------
    Volume or Estimate
        The volume with its new levels; with ``dry_run`` a `volumekit.ops.estimate.Estimate`, to be printed.

    Raises
    ------
    OptionError
        If an option is impossible, a level already holds data, or ``memory`` is too little.
    TargetExistsError
        If levels were built by this very call, or it was cut off, and their source has changed since.
    ReadOnlyError
        If the volume cannot be written.
    CorruptChunkError
        If ``verify`` finds that what was stored is not what it should be.
    MissingChunkError, CorruptChunkError, PermissionDeniedError, NoSpaceError, StorageError
        If voxels cannot be read or written, or the source changes meanwhile.
    """
    threads, budget, count = thread_count(jobs), parse_amount(memory), mip_count(mips, least=1)
    factor, share = check_factor(factor, count), check_share(verify)
    volume = _growing(vol)
    method = choose_method(method, volume.layer_type, sparse=sparse)
    entry = started("downsample", volume.cloudpath, mip=mip, mips=count, factor=factor, downsampling=method)
    job, cut = {**entry["method"], "compress": compress}, {"memory": budget, "threads": threads}
    begin: dict[str, Any] = {"plan": cut, "entry": entry, "overwrite": overwrite, "path": journal}
    record, done = find_begun(volume, "downsample", job, source=volume, advice=_AGAIN, **begin)
    if done and set(record.plan.get("keys", ())) <= {level.key for level in volume.levels}:
        return _nothing_left(volume, dry_run=dry_run)
    first = record.plan.get("mip", _coarsest(volume) if mip is None else volume.to_mip(mip))
    ladder = shrinking(steps(factor, count, volume.levels[first].resolution), volume.levels[first].bounds)
    entry["method"]["mips"] = len(ladder)
    if not ladder:
        return Estimate.nothing(volume.cloudpath) if dry_run else volume
    grown = grow(volume, first, ladder, method=method, overwrite=overwrite or record.saved)
    targets = _targets(grown, volume, first, threads, fill_missing=fill_missing, compress=compress)
    how: dict[str, Any] = {"copies": False, "method": method, **{name: record.plan[name] for name in cut}}
    plan = plan_levels(targets[0], grown.numbers, ladder, **how)
    unread = not {level.key for level in volume.levels} & set(grown.keys)
    comparing = {"jobs": threads, "memory": budget, "progress": progress}
    proofs = [Levels(part, grown.numbers, ladder, method, share, comparing) for part in targets]
    builds = [
        Build(plan.numbered(number), VolumeInput(part, first), part, method, threads, unread)
        for number, part in enumerate(targets)
    ]
    if dry_run:
        return estimate(builds[0]).times(len(builds))
    _begin(record, entry, volume, grown, targets, {name: record.plan[name] for name in cut})
    guard, runner = _guard(volume, first, record), functools.partial(choose_runner, processes, client)
    for build in builds:
        build.run(progress=progress, verb="Downsampling", journal=record, runner=runner(), collect=guard)
    guard.look()
    with proving(record):
        found = proven(volume, [one for levels in proofs for one in levels.run(runner)])
    finish(targets[0], **found)
    record.finish()
    return Volume(volume.cloudpath, at=volume.at)


def _growing(vol: Volume | str | os.PathLike[str]) -> Volume:
    """Open a volume that levels can be added to."""
    volume = vol if isinstance(vol, Volume) else Volume(vol)
    fmt = volume.array(volume.mip).fmt
    if not can_grow(fmt):
        raise ReadOnlyError(f"levels cannot be added to {fmt.name} data; convert it first", url=volume.cloudpath)
    return volume


def _targets(
    grown: Growth, volume: Volume, first: int, threads: int, *, fill_missing: bool | None, compress: str | bool | None
) -> list[Volume]:
    """Return the volumes that levels are built in, one after the other."""
    opened, level = volume.array(first).options, volume.levels[first]
    if level.locked:
        raise ReadOnlyError(f"mip {first} {level.locked}", url=volume.cloudpath, key=level.key)
    return grown.targets(
        parallel=threads,
        fill_missing=opened.fill_missing if fill_missing is None else fill_missing,
        background_color=opened.background,
        compress=compress,
    )


def _begin(
    record: Journal,
    entry: dict[str, Any],
    volume: Volume,
    grown: Growth,
    targets: Sequence[Volume],
    cut: dict[str, Any],
) -> None:
    """Store the journal and remove what is in the way, unless that was done when the job began."""
    first, array = grown.numbers[0], targets[0].array(0)
    stamp(record, entry, [(part.array(first), volume.levels[first].bounds) for part in targets])
    if record.cleared:
        return
    record.plan = {**cut, "mip": first, "keys": grown.keys}
    record.save()
    note(targets[0], entry)
    for key in grown.remove:
        place_of(array.fmt).remove(array.store, key)
    record.clear()


def _guard(volume: Volume, first: int, record: Journal) -> Guard:
    return Guard(volume, [first], stamps=record.stamps or {}, advice=_OVER.format(first))


def _nothing_left(volume: Volume, *, dry_run: bool) -> Volume | Estimate:
    if dry_run:
        return Estimate.nothing(volume.cloudpath)
    log.warning("%s has these levels already: nothing is left to do", volume.cloudpath)
    return volume


def _coarsest(volume: Volume) -> int:
    """Return the coarsest level that holds data."""
    for mip in reversed(volume.available_mips):
        if volume.levels[mip].error is None and volume.has_data(mip):
            return mip
    raise OptionError(f"{volume.cloudpath} holds no data to start from; give mip=", url=volume.cloudpath)
