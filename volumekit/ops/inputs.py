"""What a job reads: a volume's level, or an array, at the coordinates of the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from volumekit.engine.array import LevelArray
from volumekit.engine.chunk_files import read_files
from volumekit.engine.drive import run
from volumekit.engine.planes import Skipped, read_planes, reads_planes
from volumekit.errors import ShapeError, VolumekitError
from volumekit.model.bbox import Bbox
from volumekit.ops.pyramid import Rows, corners
from volumekit.ops.runners import Report
from volumekit.volume.volume import Volume

Shift = tuple[int, int, int]

_BLOCK_BYTES = 16 << 20
_PLANES = 8
"""Planes read between two reports: at least so many that all threads are busy."""


class Input(Protocol):
    """Something to read boxes of voxels from."""

    @property
    def bounds(self) -> Bbox:
        """Its voxels, half-open, in its own coordinates."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type."""

    @property
    def channels(self) -> int:
        """Number of channels."""

    @property
    def rows(self) -> Rows | None:
        """Where reading may be cut without anything being read or decoded twice; None: nowhere."""

    def read(self, box: Bbox, out: NDArray[Any], report: Report) -> None:
        """Fill ``out`` with the voxels of a box.

        Parameters
        ----------
        box : Bbox
            Inside the bounds.
        out : numpy.ndarray
            (x, y, z, channel) of the box's shape, any strides, of a data type that holds all values.
        report : callable
            Told of the bytes filled; raises when the job is to end.
        """


@dataclass(frozen=True)
class VolumeInput:
    """One level of a volume.

    Attributes
    ----------
    volume : Volume
        The volume.
    mip : int
        The level's number.
    scratch : int
        Of an image stack: bytes that decoding an image takes beside its voxels, see `engine.planes.check_planes`.
    readers : int, optional
        Of an image stack: how many images are decoded at once, by all tasks together; default: one per thread. 0: the
        calling thread reads them, one by one, and chunk files of other volumes too where it can.
    fill_missing : bool, optional
        Whether missing chunks count as background; default: the volume's rule.
    damaged : dict, optional
        Of an image stack: damaged images are background, and end up here, with what is wrong with them. None: they are
        errors.
    """

    volume: Volume
    mip: int
    scratch: int = 0
    readers: int | None = None
    fill_missing: bool | None = None
    damaged: dict[str, str] | None = None

    @property
    def bounds(self) -> Bbox:
        """The level's voxels."""
        return self.volume.levels[self.mip].bounds

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type."""
        return self.volume.levels[self.mip].dtype

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.volume.levels[self.mip].channels

    @property
    def rows(self) -> Rows | None:
        """Anywhere in images that are not decoded whole, nor left out whole if damaged; else between chunks."""
        if reads_planes(self.array()):
            return Rows(0, 1, flat=True) if self.damaged is None and not self.scratch else None
        level = self.volume.levels[self.mip]
        return Rows(level.offset[1], level.chunk[1])

    def array(self) -> LevelArray:
        """Return the level as the engine sees it."""
        return self.volume.array(self.mip, fill_missing=self.fill_missing)

    def read(self, box: Bbox, out: NDArray[Any], report: Report) -> None:
        """Fill ``out`` with the voxels of a box."""
        array = self.array()
        if reads_planes(array):
            skipped = None if self.damaged is None else self._note
            _read_planes(array, box, out, report, self.readers, skipped)
            return
        if self.readers == 0 and read_files(array, box, out):
            report(out.nbytes)
            return
        (x, y, z), (a, b, c) = box.minpt.tolist(), box.maxpt.tolist()
        run(array.read((x, y, z, 0), (a, b, c, self.channels), out=out, progress=report))

    def _note(self, name: str, error: VolumekitError) -> None:
        assert self.damaged is not None
        self.damaged[name] = error.message


def _read_planes(
    array: LevelArray, box: Bbox, out: NDArray[Any], report: Report, readers: int | None, skipped: Skipped | None
) -> None:
    """Read an image stack some planes at a time: decoded straight into ``out`` if it has the images' type."""
    same = out.dtype == array.level.dtype
    (x, y, low), (a, b, _) = corners(box)
    least = _PLANES if same else max(1, min(_PLANES, out.shape[2] // _PLANES))  # what is copied is held twice
    step = max(least, _BLOCK_BYTES // max(1, out[:, :, :1].nbytes))
    for n in range(0, out.shape[2], step):
        part = out[:, :, n : n + step].transpose(2, 1, 0, 3)
        exact = part if same else np.empty(part.shape, array.level.dtype)
        planes = Bbox((x, y, low + n), (a, b, low + n + len(part)))
        read_planes(array, planes, exact, threads=readers, skipped=skipped)
        if exact is not part:
            np.copyto(part, exact)
        report(part.nbytes)


@dataclass(frozen=True)
class ArrayInput:
    """An array in memory, (x, y, z, channel)."""

    array: NDArray[Any]

    @classmethod
    def of(cls, array: NDArray[Any]) -> ArrayInput:
        """Take an array (x, y, z) or (x, y, z, channel).

        Raises
        ------
        ShapeError
            If it has other axes, or no voxels.
        """
        if array.ndim not in (3, 4) or not array.size:
            raise ShapeError(f"an array (x, y, z) or (x, y, z, channel) is needed, not {array.shape}")
        return cls(array if array.ndim == 4 else array[..., np.newaxis])

    @property
    def bounds(self) -> Bbox:
        """From (0, 0, 0) on."""
        return Bbox((0, 0, 0), self.array.shape[:3])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type."""
        return self.array.dtype

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.array.shape[3])

    @property
    def rows(self) -> Rows:
        """Anywhere."""
        return Rows(0, 1, flat=True)

    def read(self, box: Bbox, out: NDArray[Any], report: Report) -> None:
        """Fill ``out`` with the voxels of a box, a few planes at a time."""
        low, high = box.minpt.tolist(), box.maxpt.tolist()
        x, y = slice(low[0], high[0]), slice(low[1], high[1])
        step = max(1, _BLOCK_BYTES // max(1, out[:, :, :1].nbytes))
        for z in range(0, out.shape[2], step):
            part = out[:, :, z : z + step]
            np.copyto(part, self.array[x, y, low[2] + z : low[2] + z + part.shape[2]])
            report(part.nbytes)


@dataclass(frozen=True)
class DerivedInput:
    """Another input, changed.

    Attributes
    ----------
    base : Input
        The other one.
    """

    base: Input

    @property
    def bounds(self) -> Bbox:
        """The other's voxels."""
        return self.base.bounds

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type."""
        return self.base.dtype

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.base.channels

    @property
    def rows(self) -> Rows | None:
        """Where the other's may be cut."""
        return self.base.rows

    def there(self, box: Bbox) -> Bbox:
        """Return a box as one of the other input."""
        return box

    def read(self, box: Bbox, out: NDArray[Any], report: Report) -> None:
        """Fill ``out`` with the voxels of a box."""
        self.base.read(self.there(box), out, report)


@dataclass(frozen=True)
class ShiftedInput(DerivedInput):
    """Another input, moved.

    Attributes
    ----------
    shift : tuple of int
        What to add to its coordinates, (x, y, z).
    """

    shift: Shift = (0, 0, 0)

    @property
    def bounds(self) -> Bbox:
        """The other's voxels, moved."""
        return self.base.bounds + self.shift

    @property
    def rows(self) -> Rows | None:
        """Where the other's may be cut, moved."""
        rows = self.base.rows
        return None if rows is None else rows._replace(origin=rows.origin + self.shift[1])

    def there(self, box: Bbox) -> Bbox:
        """Return a box, moved back."""
        return box - self.shift


def shifted(base: Input, shift: Sequence[int]) -> Input:
    """Return the input moved by ``shift``; itself if that is nothing."""
    x, y, z = shift
    return ShiftedInput(base, (x, y, z)) if any(shift) else base


def apart(base: Input) -> tuple[Input, dict[str, str]]:
    """Return an input like this one that notes damaged images by itself, and the notes."""
    if isinstance(base, DerivedInput):
        inner, damaged = apart(base.base)
        return replace(base, base=inner), damaged
    if isinstance(base, VolumeInput) and base.damaged is not None:
        found: dict[str, str] = {}
        return replace(base, damaged=found), found
    return base, {}
