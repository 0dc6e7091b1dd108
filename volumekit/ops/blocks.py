"""Going through a volume block by block: boxes along its chunks, read ahead within a limit of memory."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from volumekit.errors import OptionError, ShapeError, UnsupportedError
from volumekit.model.boxes import Boxes
from volumekit.ops.memory import parse_amount
from volumekit.ops.options import box_inside, three_integers
from volumekit.volume.cutout import Place, VolumeCutout

if TYPE_CHECKING:
    from volumekit.model.bbox import Bbox
    from volumekit.model.level import Level
    from volumekit.ops.pyramid import Factor
    from volumekit.volume.volume import Volume

BLOCK_BYTES = 16 << 20
"""Voxels in a block of the default shape, unless one chunk or shard holds more."""

READERS = 2
PADS = ("constant", "edge", "reflect", "symmetric")


@dataclass(frozen=True)
class Halo:
    """Voxels around a box that are read with it.

    Attributes
    ----------
    size : tuple of int
        On each side, (x, y, z).
    pad : str, optional
        How what lies outside the bounds is made up, as by `numpy.pad`; None: it is left out.
    """

    size: Factor
    pad: str | None = None

    @classmethod
    def of(cls, halo: Any, pad: str | None) -> Halo:
        """Check the options of `blocks`.

        Raises
        ------
        OptionError
            If one is impossible.
        """
        if pad is not None and pad not in PADS:
            raise OptionError(
                f"pad is {pad!r}; it is None, to clip the halo at the bounds, or one of {', '.join(PADS)}"
            )
        return cls(three_integers(halo, "halo", least=0), pad)

    def around(self, box: Bbox) -> Bbox:
        """Return a box with its halo, wherever the bounds are."""
        return box.grow(self.size)

    def read(self, volume: Volume, mip: int, box: Bbox, *, fill_missing: bool | None = None) -> VolumeCutout:
        """Read a box with its halo; ``bounds`` of the result tell which voxels it holds."""
        wide = self.around(box)
        inside = wide.intersection(volume.levels[mip].bounds)
        block = volume.download(inside, mip, fill_missing=fill_missing, progress=False)
        return block if self.pad is None or inside == wide else self._padded(volume, mip, block, inside, wide)

    def _padded(self, volume: Volume, mip: int, block: VolumeCutout, inside: Bbox, wide: Bbox) -> VolumeCutout:
        before, after = (inside.minpt - wide.minpt).tolist(), (wide.maxpt - inside.maxpt).tolist()
        how = {"constant_values": volume.array(mip).options.background} if self.pad == "constant" else {}
        widths = [*zip(before, after, strict=True), (0, 0)]
        array: Any = np.pad(np.asarray(block), widths, self.pad, **how)  # type: ignore[call-overload]
        place = Place((0, 1, 2, 3), (*wide.minpt.tolist(), 0), (1, 1, 1, 1), array.shape)
        return VolumeCutout.wrap(array, volume._source(mip), place)


@dataclass(frozen=True)
class Blocks:
    """A volume in blocks: iterating gives ``(box, block)`` after ``(box, block)``, read ahead.

    Attributes
    ----------
    volume : Volume
        The volume.
    mip : int
        Which level.
    boxes : Boxes
        The blocks' own boxes, without halo; together they are what is gone through, and no two share a voxel.
    halo : Halo
        What is read around each.
    memory : int
        Bytes that blocks may take: the one under way and those read ahead.
    fill_missing : bool, optional
        Overrides the volume's own setting.

    Notes
    -----
    The box is that of the block's core, the voxels that are this block's alone, so that ``other[box]`` is where a
    result belongs. With a halo the block holds more: ``block.bounds`` says which voxels, and `core` cuts an array of
    its shape down to the box.

    ``len(blocks)`` is their number, ``blocks[n]`` reads the one of that number, and slices are `Blocks` as well:
    ``blocks[task::tasks]`` is one task's share. Numbers mean the same boxes on every machine. Nothing is read before
    it is asked for, and a `Blocks` can be pickled.
    """

    volume: Volume
    mip: int
    boxes: Boxes
    halo: Halo
    memory: int
    fill_missing: bool | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @overload
    def __getitem__(self, index: int) -> tuple[Bbox, VolumeCutout]: ...

    @overload
    def __getitem__(self, index: slice) -> Blocks: ...

    def __getitem__(self, index: int | slice) -> tuple[Bbox, VolumeCutout] | Blocks:
        if isinstance(index, slice):
            return replace(self, boxes=self.boxes[index])
        box = self.boxes[index]
        return box, self.read(box)

    def __iter__(self) -> Iterator[tuple[Bbox, VolumeCutout]]:
        ahead = self._ahead()
        if ahead < 1:
            yield from ((box, self.read(box)) for box in self.boxes)
            return
        coming: deque[tuple[Bbox, Future[VolumeCutout]]] = deque()
        pool = ThreadPoolExecutor(min(ahead, READERS), thread_name_prefix="volumekit-blocks")
        try:
            for box in self.boxes:
                coming.append((box, pool.submit(self.read, box)))
                if len(coming) > ahead:
                    yield _taken(coming)
            while coming:
                yield _taken(coming)
        finally:
            pool.shutdown(cancel_futures=True)

    def read(self, box: Bbox) -> VolumeCutout:
        """Read a box with the halo, (x, y, z, channel).

        Raises
        ------
        MissingChunkError, CorruptChunkError, PermissionDeniedError, StorageError
            If it cannot be read.
        """
        return self.halo.read(self.volume, self.mip, box, fill_missing=self.fill_missing)

    def core(self, box: Bbox, array: Any) -> Any:
        """Cut the halo off an array that has the shape of the block of a box, along x, y and z; a view.

        Raises
        ------
        ShapeError
            If it has another shape.
        """
        return cut_halo(array, box, self._held(box))

    def _held(self, box: Bbox) -> Bbox:
        wide = self.halo.around(box)
        return wide if self.halo.pad else wide.intersection(self.volume.levels[self.mip].bounds)

    def _ahead(self) -> int:
        """Return how many blocks there is room for besides the one under way."""
        if not len(self.boxes):
            return 0
        extent = self.halo.around(self.boxes[0]).size().tolist()
        level = self.volume.levels[self.mip]
        block: int = math.prod(extent) * voxel_bytes(level)
        return self.memory // block - 1


def _taken(coming: deque[tuple[Bbox, Future[VolumeCutout]]]) -> tuple[Bbox, VolumeCutout]:
    box, block = coming.popleft()
    return box, block.result()


def cut_halo(array: Any, box: Bbox, held: Bbox) -> Any:
    """Return the part of an array of the voxels ``held`` that is in a box; errors as for `Blocks.core`."""
    if np.shape(array)[:3] != tuple(held.size().tolist()):
        raise ShapeError(f"the block of {held} is {held.size().tolist()} voxels, not {np.shape(array)}", box=box)
    low, high = (box.minpt - held.minpt).tolist(), (box.maxpt - held.minpt).tolist()
    return array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]


def voxel_bytes(level: Level) -> int:
    """Return the bytes of a voxel, all channels together."""
    return level.channels * level.dtype.itemsize


def unit_of(level: Level) -> Factor:
    """Return the extent of what is stored as one object: a shard, or a chunk, (x, y, z).

    Raises
    ------
    UnsupportedError
        If chunks are scattered over shards that are no boxes.
    """
    unit = level.chunk[:3] if level.sharding is None else level.sharding.shape
    if unit is None:
        raise UnsupportedError(
            f"the chunks of mip {level.key} are scattered over its shards by a hash, so that tasks side by side would "
            "write the same ones; choose a target without shards, or with those of sharding=True, and transfer that",
            key=level.key,
        )
    return unit[0], unit[1], unit[2]


def block_shape(level: Level, unit: Sequence[int], voxel: int) -> Factor:
    """Return the extent of blocks: whole units, doubled along their shortest side up to `BLOCK_BYTES`, (x, y, z).

    Parameters
    ----------
    level : Level
        What they are of; blocks grow no further than it reaches.
    unit : sequence of int
        The smallest, (x, y, z).
    voxel : int
        Bytes of a voxel.
    """
    shape = list(unit)
    while 2 * math.prod(shape) * voxel <= BLOCK_BYTES:
        open_axes = [axis for axis in range(3) if shape[axis] < level.shape[axis]]
        if not open_axes:
            break
        shape[min(open_axes, key=lambda axis: shape[axis])] *= 2
    return shape[0], shape[1], shape[2]


def blocks(
    volume: Volume,
    shape: Sequence[int] | int | None = None,
    *,
    halo: Sequence[int] | int = 0,
    pad: str | None = None,
    mip: Any = None,
    box: Any = None,
    memory: str | int = "256MB",
    fill_missing: bool | None = None,
) -> Blocks:
    """Return a volume in blocks; see `Volume.blocks`."""
    number = volume.mip if mip is None else volume.to_mip(mip)
    level = volume.levels[number]
    if shape is None:
        scattered = level.sharding is not None and level.sharding.shape is None
        extent = block_shape(level, level.chunk[:3] if scattered else unit_of(level), voxel_bytes(level))
    else:
        extent = three_integers(shape, "shape", least=1)
    boxes = Boxes(level.bounds, extent, box_inside(box, level.bounds))
    return Blocks(volume._snapshot(), number, boxes, Halo.of(halo, pad), parse_amount(memory), fill_missing)
