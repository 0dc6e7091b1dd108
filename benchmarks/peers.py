"""The programs volumekit is measured against, behind one small interface.

Nothing is imported before it is used, so this module loads where no peer is installed. Arrays are
(x, y, z, channel); boxes are three slices of global voxels, half-open, as `numpy.s_` makes them.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import DTypeLike, NDArray

Box = tuple[slice, slice, slice]
"""Voxels along x, y and z: ``np.s_[0:64, 0:64, 0:32]``, in the volume's own coordinates."""

_DISTRIBUTIONS = {"tensorstore": "tensorstore", "cloudvolume": "cloud-volume", "tinybrain": "tinybrain"}


def available() -> dict[str, str | None]:
    """Return the version of each peer by import name; None where it is not installed."""
    return {name: _version(distribution) for name, distribution in _DISTRIBUTIONS.items()}


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Scale:
    """What a new dataset of one scale looks like; sizes in voxels (x, y, z), resolution in nm."""

    size: list[int]
    channels: int
    dtype: str
    chunk: list[int]
    encoding: str
    resolution: list[float]
    block_size: list[int]
    sharding: dict[str, Any] | None = None

    @property
    def layer_type(self) -> str:
        """``segmentation`` if the encoding is for labels only, else ``image``."""
        return "segmentation" if self.encoding == "compressed_segmentation" else "image"


class PeerVolume(ABC):
    """One precomputed scale on the local disk, read and written by another program."""

    @classmethod
    def create(
        cls,
        path: str | Path,
        array: NDArray[Any],
        *,
        chunk: Sequence[int],
        encoding: str = "raw",
        dtype: DTypeLike | None = None,
        resolution: Sequence[float] = (4, 4, 40),
        block_size: Sequence[int] = (8, 8, 8),
        sharding: dict[str, Any] | None = None,
        write: bool = True,
        **options: Any,
    ) -> Self:
        """Make a dataset of one scale at offset 0, as large as `array`, and write the array into it.

        Parameters
        ----------
        path : str or Path
            New folder.
        array : ndarray
            Voxels, (x, y, z) or (x, y, z, channel).
        chunk : sequence of int
            Chunk size, (x, y, z) voxels.
        encoding : str
            ``raw``, ``jpeg``, ``png`` or ``compressed_segmentation``; the last makes a segmentation.
        dtype : dtype-like, optional
            Data type to store; the array's own by default.
        resolution : sequence of float
            Voxel size in nm, (x, y, z).
        block_size : sequence of int
            Block of ``compressed_segmentation``, (x, y, z) voxels; unused otherwise.
        sharding : dict, optional
            The member of an info; not sharded by default.
        write : bool
            False leaves the dataset empty, for benchmarks that time the first write.
        **options
            As for `open`.
        """
        voxels = _four_axes(array if dtype is None else array.astype(dtype, copy=False))
        x, y, z, channels = voxels.shape
        layout = list(chunk), encoding, list(resolution), list(block_size)
        volume = cls._create(path, Scale([x, y, z], channels, voxels.dtype.name, *layout, sharding), **options)
        if write:
            volume.write((slice(0, x), slice(0, y), slice(0, z)), voxels)
        return volume

    @classmethod
    @abstractmethod
    def _create(cls, path: str | Path, scale: Scale, **options: Any) -> Self:
        """Make an empty dataset."""

    @classmethod
    @abstractmethod
    def open(cls, path: str | Path, **options: Any) -> Self:
        """Open the finest scale of an existing dataset."""

    @abstractmethod
    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box, (x, y, z, channel), Fortran-ordered."""

    @abstractmethod
    def write(self, box: Box, array: NDArray[Any]) -> None:
        """Write an array, (x, y, z) or (x, y, z, channel), over the voxels of a box."""

    @abstractmethod
    def point(self, at: tuple[int, int, int]) -> NDArray[Any]:
        """Return one voxel, all channels, with or without axes of length 1 before them."""

    @abstractmethod
    def points(self, xyz: NDArray[np.int64]) -> Any:
        """Return voxels (n, 3) of one channel as the program itself does: an array, or a dict by coordinates."""

    def unique(self, box: Box) -> set[Any]:
        """Return the labels in a box."""
        raise NotImplementedError(f"{type(self).__name__} does not tell labels")

    def download(self, box: Box, **options: Any) -> Any:
        """Return the voxels of a box in another form: ``label=`` a mask, ``renumber=True`` small numbers and labels."""
        raise NotImplementedError(f"{type(self).__name__} does not tell labels")

    def exists(self) -> dict[str, bool]:
        """Tell for every chunk, by name, whether it is stored."""
        raise NotImplementedError(f"{type(self).__name__} has no chunk report")


class TensorStoreVolume(PeerVolume):
    """TensorStore's own precomputed driver, without a cache.

    Option ``file_io_sync`` (False here, True in TensorStore): wait for the disk at every write.
    """

    def __init__(self, spec: dict[str, Any], path: str | Path, *, file_io_sync: bool = False) -> None:
        import tensorstore as ts

        base = {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": f"{Path(path).absolute()}/"},
            "context": {"file_io_sync": file_io_sync},
        }
        self._store = ts.open(base | spec).result()

    @classmethod
    def _create(cls, path: str | Path, scale: Scale, **options: Any) -> Self:
        layout: dict[str, Any] = {
            "size": scale.size,
            "chunk_size": scale.chunk,
            "resolution": scale.resolution,
            "encoding": scale.encoding,
        }
        if scale.encoding == "compressed_segmentation":
            layout["compressed_segmentation_block_size"] = scale.block_size
        if scale.sharding is not None:
            layout["sharding"] = scale.sharding
        volume = {"type": scale.layer_type, "data_type": scale.dtype, "num_channels": scale.channels}
        return cls({"create": True, "scale_metadata": layout, "multiscale_metadata": volume}, path, **options)

    @classmethod
    def open(cls, path: str | Path, **options: Any) -> Self:  # noqa: D102
        return cls({"open": True}, path, **options)

    def read(self, box: Box) -> NDArray[Any]:  # noqa: D102
        voxels: NDArray[Any] = self._store[box].read(order="F").result()
        return voxels

    def write(self, box: Box, array: NDArray[Any]) -> None:  # noqa: D102
        self._store[box].write(_four_axes(array)).result()

    def point(self, at: tuple[int, int, int]) -> NDArray[Any]:  # noqa: D102
        voxel: NDArray[Any] = self._store[at].read().result()
        return voxel

    def points(self, xyz: NDArray[np.int64]) -> Any:  # noqa: D102
        return self._store[xyz[:, 0], xyz[:, 1], xyz[:, 2]].read().result()


class CloudVolumeVolume(PeerVolume):
    """CloudVolume in one process, without cache and progress bar; missing chunks are errors. Paths may be URLs.

    Option ``compress``: of the chunk files written, False (here) or ``"gzip"`` (CloudVolume's default).
    Option ``non_aligned_writes``: allow writing boxes off the chunk grid.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        info: dict[str, Any] | None = None,
        compress: str | bool = False,
        non_aligned_writes: bool = False,
    ) -> None:
        from cloudvolume import CloudVolume

        self._volume = CloudVolume(
            f"precomputed://{path}" if "://" in str(path) else f"precomputed://file://{Path(path).absolute()}",
            info=info,
            compress=compress,
            non_aligned_writes=non_aligned_writes,
            parallel=1,
            progress=False,
            fill_missing=False,
            cache=False,
        )

    @classmethod
    def _create(cls, path: str | Path, scale: Scale, **options: Any) -> Self:
        from cloudvolume import CloudVolume

        info = CloudVolume.create_new_info(
            num_channels=scale.channels,
            layer_type=scale.layer_type,
            data_type=scale.dtype,
            encoding=scale.encoding,
            resolution=scale.resolution,
            voxel_offset=[0, 0, 0],
            volume_size=scale.size,
            chunk_size=scale.chunk,
            compressed_segmentation_block_size=scale.block_size,
        )
        if scale.sharding is not None:
            info["scales"][0]["sharding"] = scale.sharding
        volume = cls(path, info=info, **options)
        volume._volume.commit_info()
        return volume

    @classmethod
    def open(cls, path: str | Path, **options: Any) -> Self:  # noqa: D102
        return cls(path, **options)

    def read(self, box: Box) -> NDArray[Any]:  # noqa: D102
        voxels: NDArray[Any] = self._volume[box]
        return voxels

    def write(self, box: Box, array: NDArray[Any]) -> None:
        """Shards have to be written one by one, and whole."""
        voxels = _four_axes(array)
        if not self._volume.image.is_sharded(0):
            self._volume[box] = voxels
            return
        steps = [int(n) for n in self._volume.image.shard_shape(0)]
        ranges = [range(part.start, part.stop, step) for part, step in zip(box, steps, strict=True)]
        for low in itertools.product(*ranges):
            high = [min(a + n, part.stop) for a, n, part in zip(low, steps, box, strict=True)]
            inside = tuple(slice(a - p.start, b - p.start) for a, b, p in zip(low, high, box, strict=True))
            self._volume[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = voxels[inside]

    def point(self, at: tuple[int, int, int]) -> NDArray[Any]:  # noqa: D102
        voxel: NDArray[Any] = self._volume[at]
        return voxel

    def points(self, xyz: NDArray[np.int64]) -> Any:  # noqa: D102
        return self._volume.scattered_points(xyz)

    def exists(self) -> dict[str, bool]:  # noqa: D102
        found: dict[str, bool] = self._volume.exists(self._volume.bounds)
        return found

    def unique(self, box: Box) -> set[Any]:  # noqa: D102
        found: set[Any] = self._volume.unique(box)
        return found

    def download(self, box: Box, **options: Any) -> Any:  # noqa: D102
        return self._volume.download(box, **options)


def _four_axes(array: NDArray[Any]) -> NDArray[Any]:
    return array[..., None] if array.ndim == 3 else array
