"""A small dataset, and volumes that read it through a cache."""

from __future__ import annotations

import numpy as np
import pytest

from volumekit import Cache, Volume
from volumekit.storage.wrap import CountedStore

SHAPE = (100, 70, 50, 1)
LOW = (-5, 3, 8)
CHUNKS = 4 * 3 * 2


@pytest.fixture
def voxels():
    """Voxels of the dataset, none of them 0."""
    return np.random.default_rng(1).integers(1, 255, SHAPE, np.uint8)


@pytest.fixture
def source(tmp_path, voxels):
    """The dataset: two mips, the coarser one empty."""
    return Volume.from_numpy(
        voxels, tmp_path / "remote", chunk_size=(32, 32, 32), voxel_offset=LOW, max_mip=1, factor=(2, 2, 2)
    )


@pytest.fixture
def opened(source, tmp_path):
    """Open the dataset through a cache, and count what the storage is asked for."""

    def install(cache=None, **how):
        volume = Volume(source.cloudpath, cache=cache or Cache(tmp_path / "cache"), progress=False, **how)
        volume._store = CountedStore(volume._store)
        volume._forget()
        return volume

    return install


def asked(volume):
    """Return how many requests a volume of `opened` has made for chunks."""
    return volume._store.counts.reads


def paths(volume, mip=0):
    """Return the files of a mip in the cache."""
    from pathlib import Path

    folder = Path(volume.cache.path) / volume.mip_key(mip)
    return [folder / name for name in volume.cache.list(mip)]
