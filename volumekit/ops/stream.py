"""One task of a pyramid: planes stream through the levels.

A slab of the level that is read is as thick as a chunk. Where nothing reaches across, it is gone through in strips
along x, several at a time: each is read, reduced and written before it leaves the processor's caches; what they are
reduced to is written and reduced further while the next slabs are gone through. Elsewhere, while the next slab is being
read, this one is written and reduced. What it is reduced to collects in the level above until that is a chunk thick,
and so on upward. Planes that a cell still needs when its slab is done are carried over to the
next one. So each voxel is read once and each chunk written once, whole.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, nullcontext
from itertools import pairwise
from queue import SimpleQueue
from typing import Any, Protocol

from numpy.typing import NDArray

from volumekit.engine.array import LevelArray
from volumekit.engine.chunk_files import ChunkFiles, fills_files, write_files
from volumekit.engine.drive import run
from volumekit.engine.unread import writes_plainly
from volumekit.model.bbox import Bbox
from volumekit.ops.buffers import Planes, Room
from volumekit.ops.inputs import Input
from volumekit.ops.kernels import downsample, downsample_gaussian
from volumekit.ops.plan import Task
from volumekit.ops.pyramid import Factor, Pass, corners
from volumekit.ops.runners import Report, Stopped


class Output(Protocol):
    """Something with levels to write."""

    def array(self, mip: int) -> LevelArray:
        """Return a level."""


class Stream:
    """The levels of one task, and the threads that read and write beside it.

    Parameters
    ----------
    stage : Pass
        The pass.
    task : Task
        One of its tasks.
    source : Input
        Gives the first level's voxels.
    target : Output
        Takes the levels.
    method : str
        How to reduce.
    threads : int
        How many threads work.
    report : callable
        Told of the bytes read; raises to stop the task.
    unread : bool
        Whether nobody reads these levels before all of them are built.
    """

    def __init__(
        self,
        stage: Pass,
        task: Task,
        *,
        source: Input,
        target: Output,
        method: str,
        threads: int,
        report: Report,
        unread: bool = False,
    ) -> None:
        self.stage, self.task, self.source, self.method, self.threads = stage, task, source, method, threads
        self._report, self._closed, self._lock = report, threading.Event(), threading.Lock()
        self.arrays = [target.array(rung.mip) for rung in stage.rungs]
        self.owned = [stage.owned(task.box, n) for n in range(len(stage.rungs))]
        self.region = stage.source(task.box)
        self.plain = unread and all(map(writes_plainly, self.arrays[not stage.copies :]))
        self.end = [corners(stage.region(task.box, n))[1][2] for n in range(len(stage.rungs))]

    def run(self) -> None:
        """Do the task."""
        with ExitStack() as stack:
            self.reader = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="volumekit-read"))
            writers = self.threads if self.plain else 1
            self.writers = stack.enter_context(ThreadPoolExecutor(writers, thread_name_prefix="volumekit-write"))
            stack.callback(self._closed.set)  # called first: reading ahead ends before its thread is waited for
            if self.stage.halo:
                self._filter()
            elif self.stage.rows:
                workers = min(self.threads, self.stage.workers)
                self.workers = stack.enter_context(ThreadPoolExecutor(workers, thread_name_prefix="volumekit-strip"))
                self._go_by_strips(workers)
            else:
                self._stream()

    def report(self, count: int) -> None:
        """Report bytes read, or 0 for nothing but the question whether to stop."""
        if self._closed.is_set():
            raise Stopped
        with self._lock:
            self._report(count)

    def _check(self, _: int) -> None:
        self.report(0)

    def _stream(self) -> None:
        self.planes = [self._planes(n) for n in range(len(self.stage.rungs))]
        spare = self.arrays[0].empty(self.planes[0].data.shape)
        slabs = list(self._slabs())
        coming = self._read(slabs[0], self.planes[0].data, 0)
        self._warm_up()
        for number, (_, stop) in enumerate(slabs):
            coming.result()
            base = self.planes[0]
            base.stop = stop
            first = self._first_needed(0, base)
            if number + 1 < len(slabs):
                coming = self._read(slabs[number + 1], spare, stop - first)
            writing = self._write(0, base) if self.stage.copies else []
            self._reduce(1, base)
            _finish(writing)
            self.planes[0], spare = base.carry(first, spare), base.data

    def _go_by_strips(self, workers: int) -> None:
        """Go through slabs in strips; while the next ones are, what they gave is written and reduced further."""
        (x, y, z), (x_end, y_end, _) = corners(self.region)
        self.planes = [self._planes(n, whole=n > 0) for n in range(len(self.stage.rungs))]
        shape = (x_end - x, self.stage.rows, *self._shape(0)[2:])
        self.rooms: SimpleQueue[Room] = SimpleQueue()
        for _ in range(workers):
            self.rooms.put(self._room(shape))
        rows, passing = [*range(y, y_end, self.stage.rows), y_end], list[Future[None]]()
        spare = self.arrays[1].empty(self.planes[1].data.shape) if len(self.planes) > 1 else None
        for low, high in self._slabs():
            strips = [Bbox((x, a, low), (x_end, b, high)) for a, b in pairwise(rows)]
            under_way = [self.workers.submit(self._strip, strip) for strip in strips]
            if low == z:
                self._warm_up()
            _finish(under_way)
            if spare is not None and self._fill_up(high):
                _finish(passing)
                full = self.planes[1]
                self.planes[1], spare = full.carry(self._first_needed(1, full), spare), full.data
                passing = [self.reader.submit(self._pass_on, 1, full)]
        _finish(passing)

    def _room(self, shape: tuple[int, ...]) -> Room:
        """Return the memory of a strip: of some planes, and of chunks that they are put in, if it can be."""
        array, group = self.arrays[0], min(shape[2], self.stage.group(shape[0], shape[2]))
        chunks: ChunkFiles | None = None
        if self.stage.copies and self.plain and array.channel_cells == 1:
            x, y, _ = self.stage.rungs[0].chunk
            if fills_files(array, -(-shape[0] // x) * -(-shape[1] // y) * self.stage.workers):
                chunks = ChunkFiles(array)
        return Room(array.empty((*shape[:2], shape[2] if chunks is None else group, shape[3])), chunks, group)

    def _strip(self, box: Bbox) -> None:
        """Read a strip, reduce it and write it."""
        self.report(0)
        room = self.rooms.get()
        try:
            part, (x, y, z) = box.intersection(self.owned[0]), corners(box)[0]
            (a, b, c), (d, e, f) = corners(part)
            with room.chunks.box((a, b, c), (d, e, f), progress=self._check) if room.chunks else nullcontext() as fill:
                for planes, voxels in room.groups(box):
                    self.source.read(planes, voxels, self.report)
                    if len(self.stage.rungs) > 1:
                        self._cells_of_strip(voxels, planes)
                    if fill is not None:
                        fill(corners(planes)[0][2] - z, voxels[a - x : d - x])
            if room.chunks is None and self.stage.copies:
                self._save(0, (a, b, c), (d, e, f), room.data[a - x : d - x, : e - y, : f - z])
        finally:
            self.rooms.put(room)

    def _cells_of_strip(self, voxels: NDArray[Any], box: Bbox) -> None:
        coarser, steps, (low, high) = self.planes[1], self.stage.steps(1), corners(box)
        _, y, z = (a // f for a, f in zip(low, steps, strict=True))
        _, y_end, z_end = (-(-b // f) for b, f in zip(high, steps, strict=True))
        out = coarser.part(z, z_end)[:, y - coarser.low[1] : y_end - coarser.low[1]]
        downsample(voxels, steps, method=self.method, origin=low, out=out)

    def _fill_up(self, stop: int) -> bool:
        """Take the slab that ends at ``stop`` for done; tell whether it made a chunk of the next level full."""
        coarser = self.planes[1]
        coarser.stop = self.end[1] if stop == self.end[0] else stop // self.stage.steps(1)[2]
        return coarser.stop in (self.end[1], self._boundary(1, coarser.stop - 1))

    def _warm_up(self) -> None:
        """Load the kernels while the first slab is being read."""
        if len(self.stage.rungs) > 1:
            steps = self.stage.steps(1)
            cell = self.arrays[0].empty((*(min(step, 16) for step in steps), 1))
            cell.fill(0)
            downsample(cell, steps, method=self.method)

    def _shape(self, n: int) -> tuple[int, int, int, int]:
        """Return the shape of a level's buffer: a chunk thick, and what may be carried over."""
        x, y, z = self.stage.region(self.task.box, n).size().tolist()
        carried = self.stage.steps(n + 1)[2] - 1 if n + 1 < len(self.stage.rungs) else 0
        return x, y, min(z, self.stage.rungs[n].chunk[2] + carried), self.arrays[n].level.channels

    def _planes(self, n: int, *, whole: bool = True) -> Planes:
        """Return the empty buffer of a level, or only where it begins."""
        x, y, z = corners(self.stage.region(self.task.box, n))[0]
        return Planes(self.arrays[n].empty(self._shape(n) if whole else (0, 0, 0, 0)), (x, y, z), z, z)

    def _slabs(self) -> Iterator[tuple[int, int]]:
        """Yield the z-ranges to read, cut where the level's chunks are."""
        (_, _, low), (_, _, high) = corners(self.region)
        while low < high:
            stop = min(self._boundary(0, low), high)
            yield low, stop
            low = stop

    def _boundary(self, n: int, z: int) -> int:
        """Return the first place above ``z`` where a level's chunks end."""
        rung = self.stage.rungs[n]
        start, chunk = corners(rung.bounds)[0][2], rung.chunk[2]
        return start + ((z - start) // chunk + 1) * chunk

    def _read(self, slab: tuple[int, int], data: NDArray[Any], skip: int) -> Future[None]:
        """Start reading a slab behind the first ``skip`` planes of a buffer."""
        low, high = corners(self.region)
        box = Bbox((*low[:2], slab[0]), (*high[:2], slab[1]))
        out = data[:, :, skip : skip + slab[1] - slab[0]]
        return self.reader.submit(self.source.read, box, out, self.report)

    def _first_needed(self, n: int, planes: Planes) -> int:
        """Return the first of a level's planes that a cell of the next one still needs."""
        if n + 1 == len(self.stage.rungs):
            return planes.stop
        step = self.stage.steps(n + 1)[2]
        return max(planes.stop // step * step, planes.low[2])

    def _reduce(self, n: int, finer: Planes) -> None:
        """Compute what the finer level's planes give of level ``n``; pass full chunks on."""
        if n == len(self.stage.rungs):
            return
        steps = self.stage.steps(n)
        upto = self.end[n] if finer.stop == self.end[n - 1] else finer.stop // steps[2]
        while self.planes[n].stop < upto:
            coarser = self.planes[n]
            stop = min(upto, self._boundary(n, coarser.stop))
            self._cells(finer, coarser, steps, stop)
            if stop == self.end[n] or stop == self._boundary(n, stop - 1):
                self._pass_on(n, coarser)
                self.planes[n] = coarser.carry(self._first_needed(n, coarser), coarser.data)

    def _cells(self, finer: Planes, coarser: Planes, steps: Factor, stop: int) -> None:
        start = max(coarser.stop * steps[2], finer.low[2])
        downsample(
            finer.part(start, min(stop * steps[2], finer.stop)),
            steps,
            method=self.method,
            origin=(*finer.low[:2], start),
            out=coarser.part(coarser.stop, stop),
            threads=self.threads,
        )
        coarser.stop = stop
        self.report(0)

    def _pass_on(self, n: int, planes: Planes) -> None:
        """Write a level's planes, and reduce them."""
        writing = self._write(n, planes)
        self._reduce(n + 1, planes)
        _finish(writing)

    def _write(self, n: int, planes: Planes) -> list[Future[None]]:
        """Start writing the planes of a level that this task owns and has not written yet."""
        low, high = corners(self.owned[n])
        start, stop = max(planes.written, low[2]), min(planes.stop, high[2])
        if start >= stop:
            return []
        x, y = (slice(a - o, b - o) for a, b, o in zip(low[:2], high[:2], planes.low[:2], strict=True))
        voxels = planes.part(start, stop)[x, y]
        return self._store(n, (low[0], low[1], start), (high[0], high[1], stop), voxels)

    def _store(self, n: int, low: Factor, high: Factor, voxels: NDArray[Any]) -> list[Future[None]]:
        """Start writing whole chunks, some rows of them by each thread."""
        parts = self.threads if self.plain else 1
        step = -(-(high[1] - low[1]) // self.stage.rungs[n].chunk[1] // parts) * self.stage.rungs[n].chunk[1]
        return [
            self.writers.submit(
                self._save, n, (low[0], a, low[2]), (high[0], b, high[2]), voxels[:, a - low[1] : b - low[1]]
            )
            for a, b in pairwise([*range(low[1], high[1], step), high[1]])
        ]

    def _save(self, n: int, low: Factor, high: Factor, voxels: NDArray[Any]) -> None:
        array = self.arrays[n]
        (a, b, c), (d, e, f) = low, high
        if self.plain:
            write_files(array, (a, b, c), (d, e, f), voxels, threads=self.threads, progress=self._check)
        else:
            run(array.write((a, b, c, 0), (d, e, f, array.level.channels), voxels, progress=self._check))

    def _filter(self) -> None:
        """Compute one level by a method that looks at neighbours: each slab is read with its halo."""
        slabs, steps = self.stage.slabs(self.task.box), self.stage.steps(1)
        reading = self.reader.submit(self._read_new, slabs[0][0])
        for number, (fine, cells) in enumerate(slabs):
            voxels = reading.result()
            if number + 1 < len(slabs):
                reading = self.reader.submit(self._read_new, slabs[number + 1][0])
            (low, high), (start, stop) = corners(cells), corners(fine)
            halo = [
                (max(0, a * f - p), max(0, q - b * f))
                for a, b, p, q, f in zip(low, high, start, stop, steps, strict=True)
            ]
            made = downsample_gaussian(voxels, steps, origin=start, halo=halo, threads=self.threads)
            _finish(self._store(1, (low[0], low[1], low[2]), (high[0], high[1], high[2]), made))

    def _read_new(self, box: Bbox) -> NDArray[Any]:
        array = self.arrays[0]
        x, y, z = box.size().tolist()
        voxels = array.empty((x, y, z, array.level.channels))
        self.source.read(box, voxels, self.report)
        return voxels


def _finish(work: Sequence[Future[None]]) -> None:
    """Wait for all of it; after an error nothing of it is started any more."""
    try:
        wait(work, return_when=FIRST_EXCEPTION)
    finally:
        for future in work:
            future.cancel()
    for future in sorted(work, key=Future.cancelled):  # what was cancelled comes behind the error that is why
        future.result()
