"""Building levels of a volume: the work that `convert` and `downsample` plan and run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from volumekit.engine.planes import DAMAGED
from volumekit.errors import OptionError
from volumekit.ops.inputs import Input, VolumeInput, apart
from volumekit.ops.kernels import GAUSSIAN_RADIUS, METHODS
from volumekit.ops.ladder import Ladder
from volumekit.ops.plan import Plan, Task
from volumekit.ops.pyramid import Pass
from volumekit.ops.run import Collect, Failed, run
from volumekit.ops.runners import Report, Runner, Threads
from volumekit.ops.stream import Stream
from volumekit.ops.survey import name_all, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from volumekit.ops.journal import Journal
    from volumekit.ops.pyramid import Factor, Rows
    from volumekit.volume.volume import Volume


@dataclass(frozen=True)
class Build:
    """Levels of a target to be built; calling it does one task.

    Attributes
    ----------
    plan : Plan
        Its stages are passes.
    source : Input
        The voxels of the first level, at the target's coordinates.
    target : Volume
        Takes the levels; its info need not be committed.
    method : str
        How to reduce.
    threads : int
        How many threads work.
    unread : bool
        Whether nobody reads these levels before all of them are built.
    alone : bool
        Whether all tasks run in threads of this process.
    """

    plan: Plan
    source: Input
    target: Volume
    method: str
    threads: int
    unread: bool = True
    alone: bool = False

    def __call__(self, task: Task, report: Report) -> dict[str, str]:
        """Do one task, see `volumekit.ops.run.Work`; return the damaged images, with what is wrong with them."""
        stage = self.plan.stages[task.stage]
        assert isinstance(stage, Pass)
        finer = VolumeInput(self.target, stage.rungs[0].mip, readers=0 if stage.rows else None)
        source, damaged = apart(self.source if stage.copies else finer)
        together = 1 if self.alone and stage.spreads else self.plan.parallel(stage, self.threads)
        stream = Stream(
            stage,
            task,
            source=source,
            target=self.target,
            method=self.method,
            threads=max(1, self.threads // together),
            report=report,
            unread=self.unread,
        )
        try:
            stream.run()
        except DAMAGED as error:
            name_all(error, survey(source, stage.source(task.box), report))
            raise
        return damaged

    def run(
        self,
        *,
        progress: bool | None,
        verb: str,
        journal: Journal | None = None,
        runner: Runner | None = None,
        collect: Collect | None = None,
        failed: Failed | None = None,
    ) -> None:
        """Do all of it; parameters and errors as for `volumekit.ops.run.run`."""
        run(
            self.plan,
            replace(self, alone=runner is None or isinstance(runner, Threads)),
            jobs=self.threads,
            progress=progress,
            verb=verb,
            journal=journal,
            runner=runner,
            collect=collect,
            failed=failed,
        )


def plan_levels(
    target: Volume,
    mips: Sequence[int],
    factors: Sequence[Factor],
    *,
    copies: bool,
    method: str,
    memory: int,
    threads: int,
    reading: int = 0,
    rows: Rows | None = None,
) -> Plan:
    """Plan building levels.

    Parameters
    ----------
    target : Volume
        Describes the levels.
    mips : sequence of int
        The level to start from, then those to compute.
    factors : sequence of tuple of int
        From each to the next, (x, y, z).
    copies : bool
        Whether the first one comes from somewhere else and is written too.
    method : str
        How to reduce.
    memory : int
        Bytes the process may use.
    threads : int
        How many threads work.
    reading : int
        Bytes that reading the first level takes beside its voxels, by all tasks together.
    rows : Rows, optional
        Where reading the first level may be cut, if it comes from somewhere else; see `Input.rows`.

    Raises
    ------
    OptionError
        If it cannot be done in so little memory.
    """
    ladder = Ladder(
        levels=tuple(target.levels[mip] for mip in mips),
        mips=tuple(mips),
        factors=tuple(factors),
        copies=copies,
        halo=GAUSSIAN_RADIUS if method == "gaussian" else 0,
        memory=memory,
        threads=threads,
        reading=reading,
        rows=rows,
    )
    return ladder.plan()


def plan_reading(source: Input, threads: int, plan: Callable[[int], Plan]) -> tuple[Plan, Input]:
    """Plan reading a source, with as many images decoded at once as leave room for large tasks.

    Images that are only decoded whole are decoded again for every task that has a part of them, so tasks as large as
    possible come before decoding in many threads.

    Parameters
    ----------
    source : Input
        The source.
    threads : int
        How many threads there are.
    plan : callable
        Plans the job for a number of bytes that reading takes.

    Returns
    -------
    tuple
        The plan, and the source, told how many images to decode at once.

    Raises
    ------
    OptionError
        If it cannot be done in so little memory, even one image at a time.
    """
    if not isinstance(source, VolumeInput):
        return plan(0), source
    if not source.scratch:
        found = plan(0)
        first = found.stages[0]
        strips = isinstance(first, Pass) and first.rows > 0  # then several threads read at the same time anyway
        return found, replace(source, readers=0) if strips else source
    found, readers = plan(source.scratch), 1
    for more in range(2, threads + 1):
        try:
            wider = plan(more * source.scratch)
        except OptionError:
            break
        if len(wider.stages[0].tasks) > len(found.stages[0].tasks):
            break
        found, readers = wider, more
    return found, replace(source, readers=readers)


def choose_method(method: str | None, layer_type: str, *, sparse: bool = False) -> str:
    """Return the method of downsampling: ``mean`` for images, ``mode`` for segmentations, unless told otherwise.

    Raises
    ------
    OptionError
        If there is no such method, or none of what is not zero alone where that is asked for.
    """
    if method is None:
        method = "mode" if layer_type == "segmentation" else "mean"
    if method not in METHODS:
        raise OptionError(f"method is {method!r}; it is one of {', '.join(METHODS)}")
    if not sparse or method.startswith("sparse_"):
        return method
    if f"sparse_{method}" not in METHODS:
        raise OptionError(f"sparse is about the methods mean and mode, not {method}")
    return f"sparse_{method}"
