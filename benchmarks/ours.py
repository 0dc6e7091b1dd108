"""volumekit behind the same interface as its peers, and who takes part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from benchmarks.peers import Box, CloudVolumeVolume, PeerVolume, Scale, TensorStoreVolume, available

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

OURS, TENSORSTORE, CLOUDVOLUME, TINYBRAIN = "volumekit", "tensorstore", "cloud-volume", "tinybrain"
BARE = "bare Python"
INSTALL = "pip install 'volumekit[peers]'"


class VolumekitVolume(PeerVolume):
    """A `volumekit.Volume`; options are its keywords."""

    def __init__(self, path: str | Path, **options: Any) -> None:
        from volumekit import Volume

        self._volume = Volume(path, progress=False, **options)

    @classmethod
    def _create(cls, path: str | Path, scale: Scale, **options: Any) -> Self:
        from volumekit import Volume

        info = Volume.create_new_info(
            scale.channels,
            scale.layer_type,
            scale.dtype,
            scale.encoding,
            scale.resolution,
            (0, 0, 0),
            scale.size,
            chunk_size=scale.chunk,
            compressed_segmentation_block_size=scale.block_size,
            sharding=scale.sharding or False,
        )
        volume = cls(path, info=info, **options)
        volume._volume.commit_info()
        return volume

    @classmethod
    def open(cls, path: str | Path, **options: Any) -> Self:  # noqa: D102
        return cls(path, **options)

    def read(self, box: Box) -> NDArray[Any]:  # noqa: D102
        voxels: NDArray[Any] = self._volume[box]
        return voxels

    def write(self, box: Box, array: NDArray[Any]) -> None:  # noqa: D102
        self._volume[box] = array

    def point(self, at: tuple[int, int, int]) -> NDArray[Any]:  # noqa: D102
        voxel: NDArray[Any] = self._volume[at]
        return voxel

    def points(self, xyz: NDArray[np.int64]) -> Any:  # noqa: D102
        return self._volume.points(xyz)

    def exists(self) -> dict[str, bool]:  # noqa: D102
        return dict(self._volume.exists())

    def unique(self, box: Box) -> set[Any]:  # noqa: D102
        return self._volume.unique(box)

    def download(self, box: Box, **options: Any) -> Any:  # noqa: D102
        return self._volume.download(box, **options)


PROGRAMS: dict[str, type[PeerVolume]] = {
    OURS: VolumekitVolume,
    TENSORSTORE: TensorStoreVolume,
    CLOUDVOLUME: CloudVolumeVolume,
}


def installed(name: str) -> bool:
    """Tell whether a program can take part."""
    return name in (OURS, BARE) or available()[name.replace("-", "")] is not None


def contestants(make: Callable[[str], T], peers: Sequence[str]) -> dict[str, T | None]:
    """Return what ``make`` builds for volumekit and each peer, by name; None where one is not installed."""
    return {name: make(name) if installed(name) else None for name in (OURS, *peers)}
