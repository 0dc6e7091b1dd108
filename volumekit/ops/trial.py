"""A few tasks of a transfer, done in memory: what they cost tells what all of them will."""

from __future__ import annotations

import math
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from volumekit.model.bbox import Bbox
from volumekit.model.boxes import Boxes
from volumekit.model.url import URL
from volumekit.ops.blocks import voxel_bytes
from volumekit.ops.estimate import Estimate, LevelEstimate, free_bytes
from volumekit.ops.ladder import PROGRAM_BYTES
from volumekit.ops.plan import Plan, Stage, Task
from volumekit.ops.run import run
from volumekit.ops.sample import SAMPLE_BYTES
from volumekit.storage import open_store

if TYPE_CHECKING:
    from volumekit.model.level import Level
    from volumekit.ops.transfer import Transfer
    from volumekit.storage.base import Store

TASKS = 4
"""Of each level at most, besides one that is not timed."""


def estimate_transfer(work: Transfer, plan: Plan, threads: int) -> Estimate:
    """Estimate a transfer by doing a few of its tasks; nothing is written anywhere else.

    Parameters
    ----------
    work : Transfer
        What its tasks do.
    plan : Plan
        All of them.
    threads : int
        How many threads work.

    Returns
    -------
    Estimate
        Chunks that the target has already count as if they had to be copied.

    Raises
    ------
    MissingChunkError, CorruptChunkError, PermissionDeniedError, StorageError
        If the sample cannot be read.
    """
    store = open_store(URL(None, "memory", f"volumekit-trial-{uuid.uuid4().hex}"))
    target = work.target._snapshot()
    target._store = store
    target._options = replace(target._options, non_aligned_writes=True)
    target._forget()
    trial, levels, seconds = replace(work, target=target), [], 0.0
    for (_, other), stage in zip(work.pairs, plan.stages, strict=True):
        if not stage.tasks:
            continue
        level = target.levels[other]
        voxels, stored, took = _try(trial, stage, level, store, threads)
        ratio = stage.nbytes / voxels
        seconds += took * ratio
        boxes = [task.box for task in stage.tasks]
        size = stage.nbytes, round(stored * ratio)
        levels.append(LevelEstimate(level.key, _shape(boxes, level), _chunks(boxes, level), *size))
    return Estimate(
        url=work.target.cloudpath,
        levels=tuple(levels),
        read_bytes=plan.nbytes,
        seconds=seconds,
        memory_bytes=PROGRAM_BYTES + plan.peak_bytes(threads),
        tasks=len(plan.tasks),
        free_bytes=free_bytes(work.target),
    )


def _try(work: Transfer, stage: Stage, level: Level, store: Store, threads: int) -> tuple[int, int, float]:
    """Do some pieces of a stage; return the bytes of their voxels, as stored, and the seconds they took."""
    number = stage.tasks[0].stage
    count = min(len(stage.tasks), TASKS)
    chosen = [stage.tasks[(2 * n + 1) * len(stage.tasks) // (2 * count)] for n in range(count)]
    pieces = [_few(task.box, level) for task in chosen]
    work(Task(0, number, pieces[0]), lambda _: None)  # connections are made and kernels loaded before the clock runs
    _empty(store)
    tasks = tuple(Task(n, number, box) for n, box in enumerate(pieces))
    begun = time.perf_counter()
    twin = Stage(tasks, stage.task_bytes, 0)
    padding = tuple(Stage((), 1, 0) for _ in range(number))
    run(Plan((*padding, twin), stage.task_bytes * threads), work, jobs=threads, progress=False)
    took = time.perf_counter() - begun
    return sum(int(box.volume()) for box in pieces) * voxel_bytes(level), _empty(store), took


def _few(box: Bbox, level: Level) -> Bbox:
    """Return the first chunks of a box, no more than a sample, or one shard."""
    unit = list(level.chunk[:3] if level.sharding is None or level.sharding.shape is None else level.sharding.shape)
    size = box.size().tolist()
    for axis in (0, 1, 2):
        while unit[axis] < size[axis] and 2 * math.prod(unit) * voxel_bytes(level) <= SAMPLE_BYTES:
            unit[axis] *= 2
    return next(iter(Boxes(level.bounds, unit, box)))


def _empty(store: Store) -> int:
    """Empty a store; return the bytes it held."""
    size = 0
    for key in list(store.list()):
        value = store.read(key).result()
        size += len(value.data) if value else 0
        store.commit({key: None}).result()
    return size


def _shape(boxes: list[Bbox], level: Level) -> tuple[int, int, int, int]:
    x, y, z = boxes[0].expand(*boxes[1:]).size().tolist()
    return x, y, z, level.channels


def _chunks(boxes: list[Bbox], level: Level) -> int:
    hull = boxes[0].expand(*boxes[1:])
    return len(Boxes(level.bounds, level.chunk[:3], hull)) * -(-level.channels // level.chunk[3])
