"""A volume with levels, and what it takes for another to be the same one."""

import numpy as np

SHAPE = (45, 38, 21)
HOW = {"chunk_size": 8, "mips": 2, "progress": False, "voxel_size": (4, 4, 40)}


def sample(channels=1, dtype="uint16"):
    """Return random voxels, none of them in the columns at one corner."""
    shape = (*SHAPE, channels) if channels > 1 else SHAPE
    values = np.random.default_rng(7).integers(0, 200, shape).astype(dtype)
    values[:16, :16] = 0
    return values


def same_levels(volume, twin):
    """Assert that two volumes have equal levels, in equal places, of equal voxels."""
    assert [level.shape for level in volume.levels] == [level.shape for level in twin.levels]
    for mip in twin.available_mips:
        assert volume.mip_bounds(mip) == twin.mip_bounds(mip)
        assert volume.mip_resolution(mip).tolist() == twin.mip_resolution(mip).tolist()
        np.testing.assert_array_equal(volume.download((), mip), twin.download((), mip))
