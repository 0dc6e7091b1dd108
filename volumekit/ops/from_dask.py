"""A dask array becomes a volume, or a part of one, block by block."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from volumekit.engine import changes
from volumekit.engine.array import ONE
from volumekit.errors import OptionError, ShapeError
from volumekit.formats.base import Format
from volumekit.formats.precomputed import Precomputed
from volumekit.registry import load
from volumekit.volume.casting import cast
from volumekit.volume.create import Description, describe, new_format, refuse, storable
from volumekit.volume.index import Four, select
from volumekit.volume.source import resolve
from volumekit.volume.volume import Volume

if TYPE_CHECKING:
    import dask.array
    from dask.delayed import Delayed


def from_dask(
    array: dask.array.Array,
    url: str | os.PathLike[str] | Volume,
    *,
    region: Any = None,
    compute: bool = True,
    resolution: Sequence[float] = (1, 1, 1),
    voxel_offset: Sequence[int] = (0, 0, 0),
    chunk_size: Sequence[int] = (128, 128, 64),
    layer_type: str = "image",
    encoding: str = "raw",
    max_mip: int = 0,
    factor: Sequence[int] = (2, 2, 1),
    sharding: bool | Mapping[str, Any] = False,
    encoding_level: int | None = None,
    encoding_effort: int | None = None,
    format: str | None = None,  # noqa: A002 - the field's word
    zarr_version: int | None = None,
    shard: Sequence[int] | None = None,
    compressor: str | Mapping[str, Any] | None = None,
    info: Mapping[str, Any] | Format | None = None,
    overwrite: bool = False,
    **how: Any,
) -> Volume | Delayed:
    """Store a dask array as a new volume, or in a part of one that is there, block by block.

    The array is rechunked along the volume's chunk grid, so that no two tasks touch one chunk, nor one shard where
    shards are boxes: any scheduler, with threads, processes or on several machines, may run them in any order.

    Parameters
    ----------
    array : dask.array.Array
        (x, y, z) or (x, y, z, channel). Booleans are stored as uint8, except in zarr.
    url : str, os.PathLike or Volume
        Where to. A `Volume` is written to at its current mip; anything else is created, unless ``region`` is given.
    region : Bbox or slices, optional
        Write to this part of a volume that exists, in global voxels; default for a `Volume`: all of it. It sits on the
        chunk grid, unless the volume has ``non_aligned_writes``.
    compute : bool
        Whether to store now; else only what must be known is looked at, and nothing is written yet.
    resolution, voxel_offset, chunk_size, layer_type, encoding, max_mip, factor, sharding, info, overwrite
        Of a new volume, as for `Volume.from_numpy`.
    encoding_level, encoding_effort, format, zarr_version, shard, compressor
        Of a new volume, as for `Volume.from_numpy`.
    **how
        Further options of `Volume`.

    Returns
    -------
    Volume or dask.delayed.Delayed
        The volume; or with ``compute=False`` what stores the array when it is computed, and then gives the volume. The
        metadata of a new volume are stored last: what is interrupted is no dataset.

    Raises
    ------
    MissingExtraError
        If dask is not installed.
    OptionError
        If an option is impossible, or there is a dataset already and ``overwrite`` is off.
    CastError, ShapeError, AlignmentError, OutOfBoundsError, ReadOnlyError
        If the array does not fit; nothing is written.
    StorageError
        If the storage fails while it is written to.

    Examples
    --------
    >>> smooth = volumekit.from_dask(Volume("data/brain").to_dask() // 2, "data/dark")  # doctest: +SKIP
    """
    lazy = _as_voxels(array)
    if isinstance(url, Volume) or region is not None:
        volume = (url if isinstance(url, Volume) else Volume(url, **how))._snapshot()
        plan = _Plan(volume, _low(volume, lazy, () if region is None else region))
    else:
        place = resolve(url, format)
        kind = info.name if isinstance(info, Format) else "precomputed" if info is not None else new_format(place)
        lazy = _storable(lazy, kind, described=info is not None)
        described = Description(
            size=lazy.shape[:3],
            offset=voxel_offset,
            dtype=lazy.dtype.name,
            channels=lazy.shape[3],
            resolution=resolution,
            chunk_size=chunk_size,
            layer_type=layer_type,
            max_mip=max_mip,
            factor=factor,
        )
        if kind != "precomputed":
            refuse(kind, compress=how.get("compress"))
            how.setdefault("delete_black_uploads", True)
        precomputed = {
            "encoding": encoding,
            "sharding": sharding,
            "encoding_level": encoding_level,
            "encoding_effort": encoding_effort,
        }
        zarr = {"zarr_version": zarr_version, "shard": shard, "compressor": compressor}
        info = describe(place, described, precomputed=precomputed, zarr=zarr) if info is None else info
        volume = Volume(str(place), info=info, **how)
        plan = _Plan(volume, _low(volume, lazy, ()), fresh=True, overwrite=overwrite)
        volume._check_room(overwrite=overwrite)
    storing = plan.storing(lazy)
    if not compute:
        return storing
    try:
        storing.compute()
    finally:
        changes.note(volume._store.url)
    return url if isinstance(url, Volume) else volume


def _as_voxels(array: Any) -> dask.array.Array:
    """Return an array as (x, y, z, channel).

    Raises
    ------
    ShapeError
        If it cannot be one.
    """
    voxels = load("dask.array:asarray[dask]")(array)
    if voxels.ndim not in (3, 4):
        raise ShapeError(f"an array (x, y, z) or (x, y, z, channel) is needed, not {voxels.shape}")
    if any(math.isnan(n) for n in voxels.shape):
        raise ShapeError(f"the shape {voxels.shape} is not known; call compute_chunk_sizes() of the array first")
    return voxels if voxels.ndim == 4 else voxels[..., np.newaxis]


def _storable(voxels: dask.array.Array, kind: str, *, described: bool) -> dask.array.Array:
    """Return voxels of a type that new volumes of a format have.

    Raises
    ------
    OptionError
        If they have another one.
    """
    names = storable(kind, described=described)
    if voxels.dtype == bool and "bool" not in names:
        return voxels.astype(np.uint8)
    if voxels.dtype.name not in names:
        raise OptionError(f"{voxels.dtype} cannot be stored; convert to one of {', '.join(names)}")
    return voxels


def _low(volume: Volume, array: dask.array.Array, region: Any) -> Four:
    """Return where the first voxel of an array goes, after checking that all of it may go there."""
    level = volume._level()
    volume._check_writable(level)
    cast(np.empty(0, array.dtype), level.dtype)
    chosen = select(region, level.bounds, level.channels, resolution=level.resolution)
    if chosen.step != ONE:
        raise OptionError("a region has no steps")
    if chosen.shape != array.shape:
        raise ShapeError(f"an array of {array.shape} does not fit a region of {chosen.shape} (x, y, z, channel)")
    volume._check_aligned(chosen, level)
    return chosen.low


@dataclass(frozen=True)
class _Plan:
    """Where an array goes.

    Attributes
    ----------
    volume : Volume
        To be written to at its current mip.
    low : tuple of int
        Where the array's first voxel goes, (x, y, z, channel).
    fresh, overwrite : bool
        Whether the volume is to be created, and whether one that is there makes room for it.
    """

    volume: Volume
    low: Four
    fresh: bool = False
    overwrite: bool = False

    def storing(self, array: dask.array.Array) -> Delayed:
        """Return what stores an array when it is computed, and gives the volume."""
        delayed = load("dask.delayed:delayed[dask]")
        blocks = array.rechunk(self.blocks(array))
        begun = delayed(self.begin, pure=False)()
        starts = [[0, *itertools.accumulate(sizes)] for sizes in blocks.chunks]
        write, parts = delayed(_write, pure=False), blocks.to_delayed()
        written = [
            write(begun, part, tuple(low + s[n] for low, s, n in zip(self.low, starts, at, strict=True)))
            for at, part in np.ndenumerate(parts)
        ]
        return delayed(self.end, pure=False)(begun, written)

    def blocks(self, array: dask.array.Array) -> tuple[tuple[int, ...], ...]:
        """Return an array's blocks with their borders moved to the nearest borders of chunks, or of shards."""
        level = self.volume._level()
        shard = level.sharding.shape if level.sharding is not None else None
        unit = level.chunk if shard is None else (*shard, level.chunk[3])
        axes = zip(array.chunks, self.low, (*level.offset, 0), unit, strict=True)
        return tuple(_snapped(sizes, low - origin, chunk) for sizes, low, origin, chunk in axes)

    def begin(self) -> Volume:
        """Make room."""
        if self.fresh:
            self.volume._make_room(overwrite=self.overwrite)
        return self.volume

    def end(self, volume: Volume, written: Any) -> Volume:
        """Say that a new volume is complete."""
        if self.fresh:
            volume.commit_info()
            if isinstance(volume._format, Precomputed):
                volume.commit_provenance()
        return volume


def _snapped(sizes: Sequence[int], first: int, chunk: int) -> tuple[int, ...]:
    """Return blocks along one axis that share no chunk.

    Parameters
    ----------
    sizes : sequence of int
        The blocks as they are.
    first : int
        Where they start, counted from the first chunk's start.
    chunk : int
        Extent of a chunk.
    """
    ends = [first + end for end in itertools.accumulate(sizes)]
    inner = {(end + chunk // 2) // chunk * chunk for end in ends[:-1]}
    borders = [first, *sorted(border for border in inner if first < border < ends[-1]), ends[-1]]
    return tuple(b - a for a, b in itertools.pairwise(borders))


def _write(volume: Volume, block: Any, low: Four) -> None:
    voxels = np.asarray(block)
    box = tuple(slice(start, start + size) for start, size in zip(low, voxels.shape, strict=True))
    volume.upload(box, voxels, progress=False)
