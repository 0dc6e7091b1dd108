"""Voxels in shared memory, for other processes to use."""

from __future__ import annotations

import contextlib
import math
import os
import uuid
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from volumekit.engine.array import ONE
from volumekit.errors import OptionError, ShapeError
from volumekit.volume.cutout import VolumeCutout
from volumekit.volume.index import Selection, select
from volumekit.volume.writing import Writing


class Shared(Writing):
    """Shared memory in and out, by the standard library's `multiprocessing.shared_memory`."""

    _shared_id: str | None = None

    @property
    def shared_memory_id(self) -> str:
        """Name of the shared memory that this volume uses when none is given; may be assigned."""
        if self._shared_id is None:
            self._shared_id = self.generate_shared_memory_location()
        return self._shared_id

    @shared_memory_id.setter
    def shared_memory_id(self, name: str) -> None:
        self._shared_id = name

    @staticmethod
    def generate_shared_memory_location() -> str:
        """Return a name that nobody uses yet."""
        return f"volumekit-{uuid.uuid4().hex[:16]}"

    def download_to_shared_memory(self, bbox: Any, location: str | None = None, *, mip: Any = None) -> VolumeCutout:
        """Read a box into shared memory.

        Parameters
        ----------
        bbox : Bbox or slices
            As for `download`.
        location : str, optional
            Name of the shared memory; default: `shared_memory_id`. One of that name is replaced.
        mip : int or sequence of float, optional
            Default: the current one.

        Returns
        -------
        VolumeCutout
            Backed by the shared memory, which lives until `unlink_shared_memory`.
        """
        number = None if mip is None else self.to_mip(mip)
        chosen = self._select(self._as_index(bbox), number)
        name = location or self.shared_memory_id
        out = create_shared_array(name, chosen.shape, self.dtype, order="F")
        try:
            return self._read_chosen(chosen, number, out)
        except BaseException:
            unlink(name)
            raise

    def upload_from_shared_memory(
        self,
        location: str,
        bbox: Any,
        *,
        order: str = "F",
        cutout_bbox: Any = None,
        mip: Any = None,
    ) -> None:
        """Write a box from shared memory.

        Parameters
        ----------
        location : str
            Name of the shared memory.
        bbox : Bbox or slices
            The voxels it holds, (x, y, z, channel).
        order : {"F", "C"}
            Memory order of its voxels.
        cutout_bbox : Bbox or slices, optional
            Write only this part of ``bbox``.
        mip : int or sequence of float, optional
            Default: the current one.
        """
        number = self._mip if mip is None else self.to_mip(mip)
        whole = self._uncropped(bbox, number)
        part = whole if cutout_bbox is None else self._uncropped(cutout_bbox, number)
        with contextlib.closing(attach(location)) as memory:
            array = _as_array(memory, whole.shape, self.dtype, order)
            view = tuple(slice(a - o, b - o) for a, b, o in zip(part.low, part.high, whole.low, strict=True))
            box = tuple(slice(a, b) for a, b in zip(part.low, part.high, strict=True))
            try:
                self.upload(box, array[view], mip=number)
            finally:
                del array

    def unlink_shared_memory(self, location: str | None = None) -> bool:
        """Free shared memory; returns whether there was any."""
        return unlink(location or self.shared_memory_id)

    def download_to_file(self, path: Any, bbox: Any, *, mip: Any = None) -> VolumeCutout:
        """Read a box into a raw file in Fortran order, and return it memory-mapped."""
        number = None if mip is None else self.to_mip(mip)
        chosen = self._select(self._as_index(bbox), number)
        out = np.memmap(path, dtype=self.dtype, mode="w+", shape=chosen.shape, order="F")
        return self._read_chosen(chosen, number, out)

    def upload_from_file(self, path: Any, bbox: Any, *, order: str = "F", mip: Any = None) -> None:
        """Write a box from a raw file of its voxels, (x, y, z, channel)."""
        number = self._mip if mip is None else self.to_mip(mip)
        chosen = self._uncropped(bbox, number)
        shape = chosen.shape
        wanted, size = math.prod(shape) * self.dtype.itemsize, Path(path).stat().st_size
        if size < wanted:
            raise ShapeError(f"{path} holds {size} bytes, but the box takes {wanted}")
        array = np.memmap(path, dtype=self.dtype, mode="r", shape=shape, order="F" if order == "F" else "C")
        self.upload(tuple(slice(a, b) for a, b in zip(chosen.low, chosen.high, strict=True)), array, mip=number)

    def _uncropped(self, bbox: Any, mip: int) -> Selection:
        """Return the box that memory or a file holds, which reaches as far as it says; only the write is cropped."""
        level = self._level(mip)
        chosen = select(
            self._as_index(bbox),
            level.bounds,
            level.channels,
            resolution=level.resolution,
            bounded=self._options.bounded,
        )
        if chosen.step != ONE:
            raise OptionError("memory holds whole boxes: no steps")
        return chosen


class _Memory(SharedMemory):
    """Shared memory whose arrays may outlive this object, and whose life does not depend on this process."""

    def __init__(self, name: str, *, size: int = 0) -> None:
        super().__init__(name, create=size > 0, size=size)
        with contextlib.suppress(Exception):
            resource_tracker.unregister(self._name, "shared_memory")  # type: ignore[attr-defined]

    def close(self) -> None:
        """Let go of the memory; arrays that use it keep it mapped."""
        try:
            super().close()
        except BufferError:
            self._buf = self._mmap = None
            descriptor: int = getattr(self, "_fd", -1)
            if descriptor >= 0:
                os.close(descriptor)
                self._fd = -1


def attach(name: str) -> SharedMemory:
    """Open shared memory that somebody else made.

    Raises
    ------
    OptionError
        If there is none of that name.
    """
    try:
        return _Memory(name)
    except FileNotFoundError:
        raise OptionError(f"there is no shared memory named {name!r}") from None


def create_shared_array(name: str, shape: tuple[int, ...], dtype: DTypeLike, *, order: str) -> NDArray[Any]:
    """Return an array in new shared memory; memory of that name is replaced."""
    unlink(name)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return _as_array(_Memory(name, size=max(1, size)), shape, np.dtype(dtype), order)


def _as_array(memory: SharedMemory, shape: tuple[int, ...], dtype: np.dtype[Any], order: str) -> NDArray[Any]:
    size = math.prod(shape) * dtype.itemsize
    if memory.size < size:
        raise ShapeError(f"shared memory {memory.name!r} holds {memory.size} bytes, but the box takes {size}")
    flat = np.frombuffer(memory.buf or b"", dtype, count=math.prod(shape))
    return flat.reshape(shape, order="F" if order == "F" else "C")


def unlink(name: str) -> bool:
    """Free shared memory; arrays that use it stay valid. Returns whether there was any."""
    try:
        memory = SharedMemory(name)
    except FileNotFoundError:
        return False
    memory.unlink()
    memory.close()
    return True
