"""Mips and their geometry: each member for the current mip, and as ``mip_…(m)`` for any."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, Generic, Self, TypeVar, overload

import numpy as np

from volumekit.errors import ScaleUnavailableError, UnsupportedError
from volumekit.model.axis import Axis
from volumekit.model.bbox import Bbox
from volumekit.model.grid import cell_box, cells_touching, iterate_cells
from volumekit.model.level import Level
from volumekit.model.units import exact
from volumekit.model.vec import Vec
from volumekit.volume.index import select
from volumekit.volume.state import State

T = TypeVar("T")


class Member(Generic[T]):
    """Something every level has: an attribute of the current mip, and through `any_mip` a method for any mip.

    Parameters
    ----------
    tell : callable
        How to tell it from a level.
    text : str
        What it is.
    always : bool
        Whether it is known of levels that cannot be opened, too; of other things, `Volume.levels` tells why they are
        not known, and asking for them is a `MetadataError`.
    """

    def __init__(self, tell: Callable[[Level], T], text: str, *, always: bool = False) -> None:
        self._tell, self._text, self._always = tell, text, always
        self.__doc__ = f"{text} Of the current mip."

    def of(self, volume: Geometry, mip: int | None = None) -> T:
        """Tell it of a mip, by default of the current one."""
        if self._always:
            return self._tell(volume.levels[volume.mip if mip is None else mip])
        return self._tell(volume._level(mip))

    @overload
    def __get__(self, volume: None, owner: type) -> Self: ...

    @overload
    def __get__(self, volume: Geometry, owner: type) -> T: ...

    def __get__(self, volume: Geometry | None, owner: type) -> Self | T:
        return self if volume is None else self.of(volume)

    def __set__(self, volume: Geometry, value: Any) -> None:
        raise AttributeError("edit `info` instead, or assign `mip`")

    def any_mip(self) -> Callable[[Geometry, Any], T]:
        """Return the method that tells it of any mip."""

        def of(self: Geometry, mip: Any, member: Member[T] = self) -> T:
            return member.of(self, self.to_mip(mip))

        of.__doc__ = f"{self._text} Of any mip, by number or by voxel size."
        return of


def _vec(values: Sequence[float]) -> Vec:
    """Return whole numbers as integers, anything else as floats."""
    whole = all(float(n).is_integer() for n in values)
    return Vec(*(int(n) if whole else float(n) for n in values))


def _scaled(point: Any, source: Level, target: Level) -> list[Fraction]:
    """Convert voxels of a level to another's, exactly in the decimals of their resolutions."""
    places = zip(np.asarray(point).tolist(), source.resolution, target.resolution, strict=True)
    return [exact(p) * exact(a) / exact(b) for p, a, b in places]


class Geometry(State):
    """Mips, and what each has."""

    key = Member(lambda level: level.key, "Name of the level's folder.", always=True)
    bounds = Member(lambda level: level.bounds, "Voxels of the level, half-open.")
    shape = Member(lambda level: level.shape, "Shape, (x, y, z, channel).")
    volume_size = Member(lambda level: Vec(*level.shape[:3]), "Extent in voxels, (x, y, z).")
    voxel_offset = Member(lambda level: Vec(*level.offset), "Lowest voxel, (x, y, z).")
    resolution = Member(lambda level: _vec(level.resolution), "Voxel size in nm, (x, y, z).")
    chunk_size = Member(lambda level: Vec(*level.chunk[:3]), "Extent of a chunk, (x, y, z).")
    underlying = Member(lambda level: Vec(*level.chunk[:3]), "Extent of a chunk, (x, y, z).")
    encoding = Member(lambda level: level.codec.name, "How chunks are encoded.")
    chunks = Member(lambda level: level.chunk, "Shape of a chunk, (x, y, z, channel).")
    dtype = Member(lambda level: level.dtype, "Data type.", always=True)
    data_type = Member(lambda level: level.dtype.name, "Name of the data type.", always=True)
    num_channels = Member(lambda level: level.channels, "Number of channels.", always=True)

    mip_key = key.any_mip()
    mip_bounds = bounds.any_mip()
    mip_shape = shape.any_mip()
    mip_volume_size = volume_size.any_mip()
    mip_voxel_offset = voxel_offset.any_mip()
    mip_resolution = resolution.any_mip()
    mip_chunk_size = chunk_size.any_mip()
    mip_underlying = underlying.any_mip()
    mip_encoding = encoding.any_mip()

    @property
    def downsample_ratio(self) -> Vec:
        """Voxel size of the current mip relative to the finest, (x, y, z)."""
        return self.mip_downsample_ratio(self._mip)

    def mip_downsample_ratio(self, mip: Any) -> Vec:
        """Voxel size of any mip relative to the finest, (x, y, z)."""
        finest, level = self._level(0), self._level(self.to_mip(mip))
        ratio = (a / b for a, b in zip(level.resolution, finest.resolution, strict=True))
        return Vec(*ratio, dtype=np.float64)

    @property
    def mip(self) -> int:
        """The current mip; assign a number or a resolution.

        Assigning one that cannot be opened, such as one whose metadata are missing, is a `MetadataError`.
        """
        return self._mip

    @mip.setter
    def mip(self, mip: Any) -> None:
        number = self.to_mip(mip)
        self._level(number)
        self._mip = number

    def to_mip(self, mip: Any) -> int:
        """Return the number of a mip.

        Parameters
        ----------
        mip : int or sequence of float
            A number (negative: from the coarsest) or a voxel size in nm.

        Raises
        ------
        ScaleUnavailableError
            If there is no such mip.
        """
        if isinstance(mip, Sequence | np.ndarray) and not isinstance(mip, str) and np.ndim(mip) == 1:
            return self._mip_of_resolution(list(mip))
        try:
            number = int(mip)
        except (TypeError, ValueError, OverflowError):
            raise TypeError(f"a mip is a number or a voxel size, not {mip!r}") from None
        count = len(self.levels)
        if not -count <= number < count or isinstance(mip, str):
            raise ScaleUnavailableError(f"no mip {mip}: there are mips 0 to {count - 1}", url=str(self._url))
        return number % count

    def _mip_of_resolution(self, resolution: list[Any]) -> int:
        placed = {number: level for number, level in enumerate(self.levels) if level.placed}
        for number, level in placed.items():
            if list(level.resolution) == resolution:
                return number
        known = ", ".join(str(list(level.resolution)) for level in placed.values())
        raise ScaleUnavailableError(f"no mip of {resolution} nm; there are {known}", url=str(self._url))

    @property
    def available_mips(self) -> range:
        """Numbers of all mips."""
        return range(len(self.levels))

    @property
    def available_resolutions(self) -> list[Vec]:
        """Voxel sizes of all mips, in nm.

        Raises
        ------
        MetadataError
            If that of one of them is not known.
        """
        return [self.mip_resolution(mip) for mip in self.available_mips]

    @property
    def layer_type(self) -> str:
        """``"image"`` or ``"segmentation"``."""
        return self._layer_type()

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Axes of the current mip: x, y, z and channel, then those that are fixed, each with its position."""
        return self._format.axes(self._level())

    @property
    def ndim(self) -> int:
        """Always 4: (x, y, z, channel)."""
        return 4

    @property
    def size(self) -> int:
        """Number of voxels times channels of the current mip."""
        x, y, z, c = self._level().shape
        return x * y * z * c

    @property
    def nbytes(self) -> int:
        """Bytes of the current mip as an array."""
        return self.size * self.dtype.itemsize

    def is_sharded(self, mip: Any = None) -> bool:
        """Tell whether chunks of a mip are packed into larger files, and which hold several."""
        return self._level(None if mip is None else self.to_mip(mip)).sharding is not None

    def shard_shape(self, mip: Any = None) -> Vec:
        """Return the shape of what is stored as one file: a shard, or a chunk of a mip that is not sharded.

        Parameters
        ----------
        mip : int or sequence of float, optional
            Default: the current one.

        Returns
        -------
        Vec
            (x, y, z) voxels. Shards are cut at the end of the level.

        Raises
        ------
        UnsupportedError
            If chunks are scattered over the shards, as by a hash.
        """
        level = self._level(None if mip is None else self.to_mip(mip))
        if level.sharding is None:
            return Vec(*level.chunk[:3])
        if level.sharding.shape is None:
            raise UnsupportedError(
                f"the chunks of mip {level.key} are scattered over its shards, which are no boxes; write it in one go, "
                "or box by box from one process",
                key=level.key,
            )
        return Vec(*level.sharding.shape)

    def shard_boxes(self, bbox: Any = (), mip: Any = None) -> Iterator[Bbox]:
        """Yield boxes that are stored as one file each, for writers that work side by side.

        No two boxes touch the same file, and whoever writes a whole one writes its file once. A writer needs memory for
        its voxels and two or three times as much.

        Parameters
        ----------
        bbox : Bbox or slices, optional
            Only boxes that share voxels with this one; default: all.
        mip : int or sequence of float, optional
            Default: the current one.

        Yields
        ------
        Bbox
            Voxels of a shard inside the bounds, half-open; x fastest.

        Raises
        ------
        UnsupportedError
            As for `shard_shape`.
        OutOfBoundsError
            If ``bbox`` reaches outside.
        """
        number = None if mip is None else self.to_mip(mip)
        level, shape = self._level(number), self.shard_shape(number)
        chosen = select(bbox, level.bounds, level.channels, resolution=level.resolution, bounded=True)
        return (
            cell_box(level.bounds, shape.tolist(), cell)
            for cell in iterate_cells(cells_touching(level.bounds, shape.tolist(), chosen.box))
        )

    def bbox_to_mip(self, bbox: Any, mip: Any, to_mip: Any) -> Bbox:
        """Convert a box from one mip's voxels to another's, rounding outward.

        Parameters
        ----------
        bbox : Bbox
            In voxels of ``mip``, or with a unit.
        mip, to_mip : int or sequence of float
            From and to.
        """
        source, target = self._level(self.to_mip(mip)), self._level(self.to_mip(to_mip))
        box = Bbox.create(bbox, context=source.bounds)
        if box.unit != "vx":
            return box.convert_units("vx", target.resolution).astype(np.int64)
        low, high = _scaled(box.minpt, source, target), _scaled(box.maxpt, source, target)
        return Bbox([math.floor(n) for n in low], [math.ceil(n) for n in high])

    def point_to_mip(self, point: Sequence[float], mip: Any, to_mip: Any) -> Vec:
        """Convert a point from one mip's voxels to another's, rounding down.

        Parameters
        ----------
        point : sequence of float
            (x, y, z) in voxels of ``mip``.
        mip, to_mip : int or sequence of float
            From and to.
        """
        source, target = self._level(self.to_mip(mip)), self._level(self.to_mip(to_mip))
        return Vec(*(math.floor(n) for n in _scaled(point, source, target)))

    def slices_from_global_coords(self, slices: Any) -> tuple[slice, ...]:
        """Convert slices in voxels of mip 0 to slices of the current mip, rounding outward."""
        return self._converted(slices, 0, self._mip)

    def slices_to_global_coords(self, slices: Any) -> tuple[slice, ...]:
        """Convert slices of the current mip to slices in voxels of mip 0."""
        return self._converted(slices, self._mip, 0)

    def _converted(self, slices: Any, mip: int, to_mip: int) -> tuple[slice, ...]:
        level = self._level(mip)
        chosen = select(slices, level.bounds, level.channels, resolution=level.resolution, bounded=False)
        box = self.bbox_to_mip(chosen.box, mip, to_mip)
        channel = (slice(chosen.low[3], chosen.high[3]),) if level.channels > 1 else ()
        return (*box.to_slices(), *channel)
