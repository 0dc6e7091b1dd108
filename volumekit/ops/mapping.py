"""A function of users over all blocks of a volume: in threads, processes or a cluster, resumed and retried."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from volumekit.errors import OptionError
from volumekit.formats.stack import Stack
from volumekit.model.boxes import Boxes
from volumekit.model.plain import plain
from volumekit.ops.apart import check_apart
from volumekit.ops.apply import Apply, Results
from volumekit.ops.blocks import Halo, block_shape, blocks, unit_of, voxel_bytes
from volumekit.ops.function import Function, mark_of, name_of
from volumekit.ops.ladder import PROGRAM_BYTES
from volumekit.ops.memory import parse_amount
from volumekit.ops.new import new_target
from volumekit.ops.options import box_inside, three_integers
from volumekit.ops.plan import Plan, Stage, Task
from volumekit.ops.resume import find_begun, find_journal, fingerprint, stamp
from volumekit.ops.run import RETRIES, run, thread_count
from volumekit.ops.runners import choose_runner
from volumekit.ops.stamps import stamps_of
from volumekit.ops.target import finish, prepare, provenance_of, started
from volumekit.ops.watch import Guard
from volumekit.volume.create import Description, new_format
from volumekit.volume.places import place_of
from volumekit.volume.source import resolve
from volumekit.volume.volume import Volume

if TYPE_CHECKING:
    from volumekit.model.bbox import Bbox
    from volumekit.model.url import URL
    from volumekit.ops.journal import Journal

log = logging.getLogger(__name__)

CHUNK = (64, 64, 64)
"""Of a new volume made from images, which have none."""

SEED = "0"
"""Chooses the chunks that are watched while results are only returned."""


@dataclass(frozen=True)
class New:
    """What a new volume for results is; None: as the source.

    Attributes
    ----------
    dtype : dtype-like
        Data type.
    channels : int, optional
        Number of channels.
    layer_type : {"image", "segmentation"}, optional
        What the voxels mean.
    chunk_size : sequence of int, optional
        (x, y, z).
    encoding : str, optional
        How chunks are encoded; None: raw.
    compress : str or bool, optional
        As for `Volume`.
    """

    dtype: Any = None
    channels: int | None = None
    layer_type: str | None = None
    chunk_size: Sequence[int] | None = None
    encoding: str | None = None
    compress: str | bool | None = None

    def volume(self, url: URL, like: Volume, mip: int, part: Bbox, threads: int) -> Volume:
        """Return a new volume of a box of another one; nothing is stored.

        Raises
        ------
        OptionError
            If it could not be stored.
        """
        level, kind, encoding = like.levels[mip], new_format(url), self.encoding or "raw"
        planes = isinstance(like.array(mip).fmt, Stack)
        chunk = (CHUNK if planes else level.chunk[:3]) if self.chunk_size is None else self.chunk_size
        described = Description(
            size=part.size().tolist(),
            offset=part.minpt.tolist(),
            dtype=np.dtype(level.dtype if self.dtype is None else self.dtype).name,
            channels=level.channels if self.channels is None else self.channels,
            resolution=level.resolution,
            chunk_size=three_integers(chunk, "chunk_size", least=1),
            layer_type=self.layer_type or like.layer_type,
        )
        usual = {"block_size": (8, 8, 8), "sharding": False, "compress": self.compress}
        how: dict[str, Any] = {"precomputed": {"encoding": encoding, **usual}, "zarr": {}}
        return new_target(url, described, kind, threads=threads, fill=0, **how)


def map_blocks(
    volume: Volume,
    function: Callable[..., Any],
    out: Volume | str | os.PathLike[str] | None = None,
    *,
    shape: Sequence[int] | int | None = None,
    halo: Sequence[int] | int = 0,
    pad: str | None = None,
    mip: Any = None,
    box: Any = None,
    with_box: bool = False,
    reduce: Callable[[Any, Any], Any] | None = None,
    fill_missing: bool | None = None,
    memory: str | int = "1GB",
    jobs: int | None = None,
    retries: int = RETRIES,
    overwrite: bool = False,
    progress: bool | None = None,
    processes: int | None = None,
    client: Any = None,
    journal: str | os.PathLike[str] | None = None,
    **new: Any,
) -> Any:
    """Call a function with every block of a volume; parameters and errors as for `Volume.map`."""
    number = volume.mip if mip is None else volume.to_mip(mip)
    part = box_inside(box, volume.levels[number].bounds)
    call = Function.of(function, processes=processes, client=client)
    work = Apply(volume._snapshot(), number, call, Halo.of(halo, pad), with_box, fill_missing)
    how = {"jobs": thread_count(jobs), "progress": progress, "retries": _count(retries)}
    job = _Job(work, part, shape, parse_amount(memory), {**how, "runner": choose_runner(processes, client)})
    if out is None:
        if journal is not None or overwrite or new:
            raise OptionError("results that are only returned are stored nowhere; give out, or leave out its options")
        return job.collect(reduce)
    if reduce is not None:
        raise OptionError("reduce makes one value of all results; leave out reduce or out")
    arguments = {"function": name_of(function), "code": mark_of(function), "mip": number, "halo": list(work.halo.size)}
    extent = [*part.minpt.tolist(), *part.maxpt.tolist()]
    entry = started("map", volume.cloudpath, at=volume.at, **arguments, pad=pad, box=extent, fill_missing=fill_missing)
    if isinstance(out, Volume):
        if new:
            raise OptionError(f"out is a volume already: {', '.join(new)} cannot be chosen")
        return job.into(out, entry, overwrite=overwrite, journal=journal)
    return job.make(resolve(out), New(**new), entry, overwrite=overwrite, journal=journal)


@dataclass(frozen=True)
class _Job:
    """A function to be called with all blocks of a box.

    Attributes
    ----------
    work : Apply
        What to do.
    part : Bbox
        The box.
    shape : sequence of int or int or None
        Extent of a block, as asked for.
    memory : int
        Bytes that the process may use.
    how : dict
        Options of `volumekit.ops.run.run`.
    """

    work: Apply
    part: Bbox
    shape: Sequence[int] | int | None
    memory: int
    how: dict[str, Any]

    def collect(self, reduce: Callable[[Any, Any], Any] | None) -> Any:
        """Return the results."""
        boxes = blocks(self.work.source, self.shape, mip=self.work.mip, box=self.part).boxes
        results = Results(reduce)
        guard = self._guard(stamps_of([(self.work.array, self.part)], SEED), fingerprint(self.work.source))

        def collect(task: Task, result: Any) -> None:
            results(task, result)
            guard(task, result)

        run(self._plan(self.work, boxes), self.work, collect=collect, verb="Mapping", **self.how)
        guard.look()
        return results.all()

    def _guard(self, stamps: Mapping[str, str] | None, state: str, **how: Any) -> Guard:
        return Guard(self.work.source, [self.work.mip], stamps=stamps or {}, state=state, **how)

    def into(self, out: Volume, entry: dict[str, Any], *, overwrite: bool, journal: Any) -> Volume:
        """Store the results in a volume."""
        source, array = self.work.source, out.array()
        check_apart(source, out._url)
        job = {**entry["method"], "state": fingerprint(source), "target_mip": out.mip}
        how: dict[str, Any] = {"plan": {}, "overwrite": overwrite, "path": journal, "source": source}
        record = find_journal(array.store, "map", job, beside=place_of(array.fmt).closed, **how)
        if record.finished:
            _tell_finished(out)
            return out
        boxes = self._boxes(out, record)
        if not record.saved:
            record.plan = {"shape": list(boxes.shape)}
        stamp(record, {}, [(self.work.array, self.part)])
        if not record.saved:
            record.save()
        self._store(out, boxes, record)
        record.finish()
        return out

    def make(self, url: URL, new: New, entry: dict[str, Any], *, overwrite: bool, journal: Any) -> Volume:
        """Store the results in a new volume."""
        source = self.work.source
        check_apart(source, url)
        out = new.volume(url, source, self.work.mip, self.part, self.how["jobs"])
        metadata = {key: data.decode() for key, data in out.array(0).fmt.metadata().items()}
        job = {**entry["method"], "state": fingerprint(source), "metadata": metadata, "compress": out.compress}
        how: dict[str, Any] = {"plan": {}, "overwrite": overwrite, "path": journal, "source": source}
        record, done = find_begun(out, "map", job, entry=entry, **how)
        if done:
            _tell_finished(out)
            return Volume(out.cloudpath)
        boxes = self._boxes(out, record)
        stamp(record, entry, [(self.work.array, self.part)])
        if not record.cleared:
            record.plan = {**record.plan, "shape": list(boxes.shape)}
            known = provenance_of(source, [source.cloudpath])
            prepare(out, entry, overwrite=overwrite, provenance=known, journal=record)
        self._store(out, boxes, record)
        finish(out)
        record.finish()
        return Volume(out.cloudpath)

    def _store(self, out: Volume, boxes: Boxes, record: Journal) -> None:
        target = out._snapshot()
        target._options = replace(target._options, non_aligned_writes=True)
        work = replace(self.work, target=target, level=out.mip)
        guard = self._guard(record.stamps, record.job["state"])
        run(self._plan(work, boxes), work, journal=record, collect=guard, verb="Mapping", **self.how)
        guard.look()

    def _boxes(self, out: Volume, record: Journal) -> Boxes:
        """Return the tasks' boxes: along the target's chunks or shards, so that no two tasks write one object."""
        level = out.levels[out.mip]
        if not level.bounds.contains_bbox(self.part):
            raise OptionError(f"{self.part} reaches outside the target, {level.bounds}", url=out.cloudpath)
        unit, shape = unit_of(level), record.plan.get("shape", self.shape)
        if shape is None:
            voxel = max(voxel_bytes(level), voxel_bytes(self.work.source.levels[self.work.mip]))
            return Boxes(level.bounds, block_shape(level, unit, voxel), self.part)
        extent = three_integers(shape, "shape", least=1)
        if any(n % u and n < e for n, u, e in zip(extent, unit, level.shape, strict=False)):
            raise OptionError(
                f"shape is {list(extent)}; it is a multiple of {list(unit)}, what the target stores as one"
            )
        return Boxes(level.bounds, extent, self.part)

    def _plan(self, work: Apply, boxes: Boxes) -> Plan:
        voxel, core = voxel_bytes(work.source.levels[work.mip]), math.prod(boxes.shape)
        block = math.prod(n + 2 * h for n, h in zip(boxes.shape, work.halo.size, strict=True)) * voxel
        result = core * voxel_bytes(work.target.levels[work.level]) if work.target is not None else 0
        tasks = tuple(Task(number, 0, box) for number, box in enumerate(boxes))
        stage = Stage(tasks, 2 * (block + result), int(self.part.volume()) * voxel)
        return Plan((stage,), max(0, self.memory - PROGRAM_BYTES))


def _count(retries: Any) -> int:
    retries = plain(retries)
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise OptionError(f"retries is {retries!r}; it is a number, not below zero")
    return int(retries)


def _tell_finished(out: Volume) -> None:
    log.warning("%s has the results of this very job already: nothing is left to do", out.cloudpath)
