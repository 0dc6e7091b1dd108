"""A function of a block as a task, and what becomes of the results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from volumekit.errors import ShapeError
from volumekit.ops.blocks import Halo, cut_halo, voxel_bytes
from volumekit.ops.function import Function
from volumekit.ops.plan import Task
from volumekit.ops.runners import Report

if TYPE_CHECKING:
    from volumekit.engine.array import LevelArray
    from volumekit.model.bbox import Bbox
    from volumekit.volume.volume import Volume


@dataclass(frozen=True)
class Apply:
    """A function of a block; calling it does one task.

    Attributes
    ----------
    source : Volume
        What is read.
    mip : int
        At which level.
    function : Function
        Called with each block, and its box if ``with_box``.
    halo : Halo
        What a block has around its box.
    with_box : bool
        Whether the function is told the box.
    fill_missing : bool or None
        As for `Volume.download`.
    target : Volume, optional
        Where results go; None: they are returned.
    level : int
        At which level of it.
    """

    source: Volume
    mip: int
    function: Function
    halo: Halo
    with_box: bool
    fill_missing: bool | None
    target: Volume | None = None
    level: int = 0

    @property
    def array(self) -> LevelArray:
        """The level that is read."""
        return self.source.array(self.mip)

    def __call__(self, task: Task, report: Report) -> Any:
        """Do one task: see `volumekit.ops.run.Work`."""
        block = self.halo.read(self.source, self.mip, task.box, fill_missing=self.fill_missing)
        report(0)
        held = block.bounds
        result = self.function(block, task.box) if self.with_box else self.function(block)
        if self.target is not None:
            assert held is not None
            voxels = self._voxels(self.target, result, task.box, held)
            report(0)
            self.target.upload(task.box, voxels, mip=self.level, progress=False)
            result = None
        report(int(task.box.volume()) * voxel_bytes(self.source.levels[self.mip]))
        return result

    def _voxels(self, target: Volume, result: Any, box: Bbox, held: Bbox) -> Any:
        """Return what a function gave for a box, 4-D, without halo.

        Raises
        ------
        ShapeError
            If it does not fit.
        """
        array, channels = np.asarray(result), target.levels[self.level].channels
        if array.ndim == 3 and channels == 1:
            array = array[..., np.newaxis]
        core, wide = tuple(box.size().tolist()), tuple(held.size().tolist())
        if array.ndim != 4 or array.shape[3] != channels or array.shape[:3] not in (core, wide):
            shapes = " or ".join(str((*size, channels)) for size in dict.fromkeys((wide, core)))
            raise ShapeError(
                f"the function returned {np.shape(result)} for the block of {box}; what can be stored is {shapes}, "
                "(x, y, z, channel)",
                url=target.cloudpath,
                box=box,
            )
        return array if array.shape[:3] == core else cut_halo(array, box, held)


@dataclass
class Results:
    """What tasks returned, in their order, or reduced to one thing.

    Attributes
    ----------
    reduce : callable, optional
        Makes one result of two neighbours, the earlier one first.
    values : list
        The results, as far as they are in order; with ``reduce`` at most one.
    """

    reduce: Callable[[Any, Any], Any] | None
    values: list[Any] = field(default_factory=list)
    _early: dict[int, Any] = field(default_factory=dict)
    _next: int = 0

    def __call__(self, task: Task, value: Any) -> None:
        """Take one."""
        self._early[task.number] = value
        while self._next in self._early:
            value = self._early.pop(self._next)
            self._next += 1
            if self.reduce is None or not self.values:
                self.values.append(value)
            else:
                self.values[0] = self.reduce(self.values[0], value)

    def all(self) -> Any:
        """Return them: a list, or what they were reduced to, None if there are none."""
        return self.values if self.reduce is None else next(iter(self.values), None)
