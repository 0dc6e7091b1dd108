"""zarr arrays on the local disk, read and written by volumekit, TensorStore, and zarr-python with and without zarrs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.ours import OURS, TENSORSTORE
from benchmarks.peers import Box

ZARR, ZARRS = "zarr-python", "zarr + zarrs"

_DISTRIBUTIONS = {TENSORSTORE: "tensorstore", ZARR: "zarr", ZARRS: "zarrs"}


@dataclass(frozen=True)
class Kind:
    """How an array is stored.

    Attributes
    ----------
    name : str
        As the table shows it.
    version : int
        Of zarr.
    compressor : str
        As volumekit spells it.
    shard : int or None
        Side of a shard; None: a chunk an object.
    labels : bool
        Whether uint64 labels are stored, else a uint8 image.
    chunk : int
        Side of a chunk.
    """

    name: str
    version: int
    compressor: str
    shard: int | None = None
    labels: bool = False
    chunk: int = 64


def present(name: str) -> str | None:
    """Return the version of a program, None if it is not installed."""
    if name == OURS:
        return version("volumekit")
    try:
        return version(_DISTRIBUTIONS[name])
    except PackageNotFoundError:
        return None


def create(path: Path, array: NDArray[Any], kind: Kind) -> None:
    """Make an empty array for voxels (x, y, z), dimensions (z, y, x)."""
    from volumekit import Volume
    from volumekit.formats.zarr.create import create_zarr, describe_levels
    from volumekit.formats.zarr.layout import Layout

    (level,) = describe_levels(array.shape, array.dtype, resolution=(4, 4, 40), chunk_size=(kind.chunk,) * 3)
    shard = None if kind.shard is None else (kind.shard,) * 3
    fmt = create_zarr(level, Layout(kind.version, shard, kind.compressor))
    Volume(path, info=fmt, progress=False).commit_info()


class ZarrArray(ABC):
    """An array that is there, opened by a program; voxels are (z, y, x), C-ordered, boxes (x, y, z)."""

    @abstractmethod
    def __init__(self, path: Path) -> None:
        """Open it."""

    @abstractmethod
    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box, (z, y, x)."""

    @abstractmethod
    def write(self, box: Box, voxels: NDArray[Any]) -> None:
        """Write voxels, (z, y, x)."""


class VolumekitArray(ZarrArray):
    """A `volumekit.Volume`, whose arrays are views the other way round."""

    def __init__(self, path: Path) -> None:
        from volumekit import Volume

        self._volume = Volume(path, progress=False, non_aligned_writes=True)
        self._volume[0, 0, 0]  # opens it, as the others are, before anything is measured

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box."""
        voxels: NDArray[Any] = self._volume[box]
        return np.asarray(voxels)[..., 0].T

    def write(self, box: Box, voxels: NDArray[Any]) -> None:
        """Write voxels."""
        self._volume[box] = voxels.T


class TensorStoreArray(ZarrArray):
    """TensorStore's own drivers, without a cache and without waiting for the disk."""

    def __init__(self, path: Path) -> None:
        import tensorstore as ts

        driver = "zarr3" if (path / "zarr.json").exists() else "zarr"
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/"}, "context": {"file_io_sync": False}}
        self._store = ts.open({**spec, "store_data_equal_to_fill_value": True}, open=True).result()

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box."""
        voxels: NDArray[Any] = self._store[box[::-1]].read().result()
        return voxels

    def write(self, box: Box, voxels: NDArray[Any]) -> None:
        """Write voxels."""
        self._store[box[::-1]].write(voxels).result()


class ZarrPythonArray(ZarrArray):
    """zarr-python with its own codec pipeline."""

    pipeline: ClassVar[str] = "zarr.core.codec_pipeline.BatchedCodecPipeline"

    def __init__(self, path: Path) -> None:
        import zarr

        with zarr.config.set({"codec_pipeline.path": self.pipeline}):
            self._array = zarr.open_array(path, mode="r+").with_config({"write_empty_chunks": True})
            assert type(self._array.async_array.codec_pipeline).__name__ == self.pipeline.rpartition(".")[2]

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box."""
        return np.asarray(self._array[box[::-1]])

    def write(self, box: Box, voxels: NDArray[Any]) -> None:
        """Write voxels."""
        self._array[box[::-1]] = voxels


class ZarrsArray(ZarrPythonArray):
    """zarr-python with the pipeline of zarrs."""

    pipeline: ClassVar[str] = "zarrs.ZarrsCodecPipeline"


PROGRAMS: dict[str, type[ZarrArray]] = {
    OURS: VolumekitArray,
    TENSORSTORE: TensorStoreArray,
    ZARR: ZarrPythonArray,
    ZARRS: ZarrsArray,
}
