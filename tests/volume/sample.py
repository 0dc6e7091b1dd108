"""Small volumes with known voxels, and what NumPy makes of an index in global coordinates."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit import Volume

OFFSET = (-5, 7, 100)
SHAPE = (37, 30, 19)
CHUNK = (16, 16, 8)
END = tuple(o + n for o, n in zip(OFFSET, SHAPE, strict=True))


def voxels(shape: tuple[int, ...] = SHAPE, channels: int = 1, dtype: str = "uint16") -> NDArray[Any]:
    """Return an array, (x, y, z, channel), whose voxels nearly all differ."""
    full = (*shape, channels)
    values = np.random.default_rng(7).integers(1, 255, full)
    return np.asfortranarray(values * 251 + np.arange(full[0])[:, None, None, None]).astype(dtype)


def make(
    url: Any,
    *,
    array: NDArray[Any] | None = None,
    channels: int = 1,
    dtype: str = "uint16",
    offset: tuple[int, int, int] = OFFSET,
    chunk: tuple[int, int, int] = CHUNK,
    **how: Any,
) -> tuple[Volume, NDArray[Any]]:
    """Store a volume; return it, and its voxels."""
    array = voxels(channels=channels, dtype=dtype) if array is None else array
    how.setdefault("resolution", (4, 4, 40))
    volume = Volume.from_numpy(array, str(url), voxel_offset=offset, chunk_size=chunk, **how)
    return volume, array


def empty(
    url: Any, *, shape: tuple[int, int, int] = SHAPE, channels: int = 1, dtype: str = "uint16", **how: Any
) -> Volume:
    """Make a volume without chunks."""
    layout = {
        "encoding": how.pop("encoding", "raw"),
        "resolution": how.pop("resolution", (4, 4, 40)),
        "voxel_offset": how.pop("offset", OFFSET),
        "chunk_size": how.pop("chunk", CHUNK),
        "layer_type": how.pop("layer_type", "image"),
        "max_mip": how.pop("max_mip", 0),
        "sharding": how.pop("sharding", False),
    }
    info = Volume.create_new_info(num_channels=channels, data_type=dtype, volume_size=shape, **layout)
    volume = Volume(str(url), info=info, **how)
    volume.commit_info()
    return volume


def oracle(array: NDArray[Any], offset: tuple[int, int, int], index: Any) -> NDArray[Any]:
    """Return what a basic index in global coordinates selects, by listing the coordinates."""
    places, post = spelled(array.shape, offset, index)
    return array[np.ix_(*places)][post]


def spelled(
    shape: tuple[int, ...], offset: tuple[int, int, int], index: Any
) -> tuple[list[list[int]], tuple[Any, ...]]:
    """Spell a basic index out: per axis the array positions, and what then drops and adds axes."""
    parts = list(index) if isinstance(index, tuple) else [index]
    missing = [slice(None)] * (4 - sum(p is not None and p is not Ellipsis for p in parts))
    at = next((n for n, p in enumerate(parts) if p is Ellipsis), len(parts))
    parts = [*parts[:at], *missing, *parts[at + 1 :]]
    places: list[list[int]] = []
    post: list[Any] = []
    for part in parts:
        if part is None:
            post.append(None)
            continue
        low = (*offset, 0)[len(places)]
        high = low + shape[len(places)]
        if isinstance(part, slice):
            step = part.step or 1
            start = (low if step > 0 else high - 1) if part.start is None else part.start
            stop = (high if step > 0 else low - 1) if part.stop is None else part.stop
            places.append([at - low for at in range(start, stop, step)])
            post.append(slice(None))
        else:
            places.append([int(part) - low])
            post.append(0)
    return places, tuple(post)


def files(folder: Path) -> set[str]:
    """Return the names of all files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
