"""Adding coarser levels to a volume."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from volumekit.errors import OptionError, ReadOnlyError, TargetExistsError
from volumekit.formats.precomputed import Precomputed
from volumekit.formats.precomputed.create import coarser_scale
from volumekit.ops.build import Build, choose_method, plan_levels
from volumekit.ops.inputs import VolumeInput
from volumekit.ops.memory import parse_amount
from volumekit.ops.options import factor_of, mip_count
from volumekit.ops.resume import find_journal
from volumekit.ops.run import thread_count
from volumekit.ops.runners import choose_runner
from volumekit.ops.target import finish, note, remove_chunks, started
from volumekit.volume.volume import Volume

if TYPE_CHECKING:
    import os

    from volumekit.ops.pyramid import Factor


log = logging.getLogger(__name__)


def downsample(
    vol: Volume | str | os.PathLike[str],
    *,
    factor: Sequence[int] = (2, 2, 2),
    mips: int = 1,
    method: str | None = None,
    mip: int | None = None,
    fill_missing: bool | None = None,
    compress: str | bool | None = None,
    memory: str | int = "1GB",
    jobs: int | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    processes: int | None = None,
    client: Any = None,
    journal: str | os.PathLike[str] | None = None,
) -> Volume:
    """Add coarser levels to a volume: all in one go over the voxels, within a limit of memory.

    The info file is written at the end; until then readers see the volume as it was. A journal beside the data tells
    what is done: the same call goes on where it was cut off, and after a finished one does nothing. To add levels below
    those of an earlier call, give ``mip``.

    Parameters
    ----------
    vol : Volume, str or os.PathLike
        The volume.
    factor : sequence of int
        From each level to the next, (x, y, z).
    mips : int
        How many levels to add.
    method : str, optional
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
    overwrite : bool
        Whether levels that already hold data may be replaced.
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
    Volume
        The volume with its new levels.

    Raises
    ------
    OptionError
        If an option is impossible, a level already holds data, or ``memory`` is too little.
    ReadOnlyError
        If the volume cannot be written.
    MissingChunkError, CorruptChunkError, PermissionDeniedError, NoSpaceError, StorageError
        If voxels cannot be read or written.
    """
    threads, budget, count = thread_count(jobs), parse_amount(memory), mip_count(mips, least=1)
    step = factor_of(factor, count)
    volume = vol if isinstance(vol, Volume) else Volume(vol)
    if volume.info.get("scales") is None or not volume.cloudpath.startswith(Precomputed.name):
        raise ReadOnlyError("levels can only be added to precomputed volumes; convert it first", url=volume.cloudpath)
    method = choose_method(method, volume.layer_type)
    entry = started("downsample", volume.cloudpath, mip=mip, mips=count, factor=list(step), downsampling=method)
    job = {**entry["method"], "compress": compress}
    store = volume.array(0).store
    cut = {"memory": budget, "threads": threads}
    record = find_journal(store, "downsample", job, plan=cut, overwrite=overwrite, path=journal)
    if record.finished and set(record.plan["keys"]) <= {level.key for level in volume.levels}:
        log.warning("%s has these levels already: nothing is left to do; mip= adds others", volume.cloudpath)
        return volume
    first = record.plan.get("mip", _coarsest(volume) if mip is None else volume.to_mip(mip))
    info, keys = _describe(volume, first, step, count, overwrite=overwrite or record.saved)
    opened = volume.array(first).options
    target = Volume(
        volume.cloudpath,
        info=info,
        parallel=threads,
        fill_missing=opened.fill_missing if fill_missing is None else fill_missing,
        background_color=opened.background,
        compress=compress,
    )
    numbers = [first, *(next(n for n, level in enumerate(target.levels) if level.key == key) for key in keys)]
    cut = {name: record.plan[name] for name in cut}
    plan = plan_levels(target, numbers, [step] * count, copies=False, method=method, **cut)
    if not record.cleared:
        record.plan = {**cut, "mip": first, "keys": keys}
        record.save()
        note(target, entry)
        for key in keys:
            remove_chunks(store, key)
        record.clear()
    build = Build(plan, VolumeInput(target, first), target, method, threads)
    build.run(progress=progress, verb="Downsampling", journal=record, runner=choose_runner(processes, client))
    finish(target)
    record.finish()
    return Volume(volume.cloudpath)


def _coarsest(volume: Volume) -> int:
    """Return the coarsest level that holds data."""
    for mip in reversed(volume.available_mips):
        if volume.levels[mip].error is None and volume.has_data(mip):
            return mip
    raise OptionError(f"{volume.cloudpath} holds no data to start from; give mip=", url=volume.cloudpath)


def _describe(
    volume: Volume, first: int, step: Factor, count: int, *, overwrite: bool
) -> tuple[dict[str, Any], list[str]]:
    """Return an info with the new levels, and their keys, finest first."""
    info = copy.deepcopy(volume.info)
    scales, keys = info["scales"], []
    finer = scales[first]
    for _ in range(count):
        made = coarser_scale(finer, step)
        old = next((n for n, scale in enumerate(scales) if _same(scale, made)), None)
        if old is None:
            scales.append(made)
        else:
            _check_free(volume, old, overwrite=overwrite)
            made = _in_place_of(scales[old], finer, step)
            scales[old] = made
        keys.append(made["key"])
        finer = made
    scales[first + 1 :] = sorted(scales[first + 1 :], key=lambda scale: [float(n) for n in scale["resolution"]])
    return info, keys


def _same(scale: dict[str, Any], other: dict[str, Any]) -> bool:
    return [float(n) for n in scale["resolution"]] == [float(n) for n in other["resolution"]]


def _in_place_of(scale: dict[str, Any], finer: dict[str, Any], step: Factor) -> dict[str, Any]:
    """Return the scale that replaces one described before: its name and chunks, but every voxel."""
    kept = {"key": scale["key"], "chunk_size": scale["chunk_sizes"][0], "encoding": scale["encoding"]}
    return coarser_scale(finer, step, sharding=scale.get("sharding"), **kept)


def _check_free(volume: Volume, mip: int, *, overwrite: bool) -> None:
    level = volume.levels[mip]
    if level.error is None and volume.has_data(mip) and not overwrite:
        raise TargetExistsError(
            f"mip {mip} ({level.key}) already holds data; overwrite=True (--overwrite) replaces it",
            url=volume.cloudpath,
            key=level.key,
        )
