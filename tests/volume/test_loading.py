"""A data loader's worker processes read from one volume."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from tests.volume.sample import make
from volumekit import Volume


class Patches:
    """A map-style dataset, as `torch.utils.data.DataLoader` takes it."""

    def __init__(self, volume, size, count):
        self.volume, self.size, self.count = volume, np.array(size), count

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        if not 0 <= number < self.count:
            raise IndexError(number)
        rng = np.random.default_rng(number)
        low = rng.integers(self.volume.bounds.minpt, self.volume.bounds.maxpt - self.size + 1)
        box = tuple(slice(a, a + n) for a, n in zip(low.tolist(), self.size.tolist(), strict=True))
        return np.ascontiguousarray(self.volume[box].T)


@pytest.mark.parametrize("workers", ["spawn", "forkserver", "threads"])
def test_workers(tmp_path, workers):
    volume, array = make(tmp_path / "v", channels=2)
    patches = Patches(Volume(volume.cloudpath, progress=False), (9, 8, 7), 20)
    expected = list(patches)
    assert len(expected) == 20
    assert len({patch.tobytes() for patch in expected}) > 15
    pool = ThreadPoolExecutor(4) if workers == "threads" else ProcessPoolExecutor(2, mp_context=get_context(workers))
    with pool:
        for read, patch in zip(pool.map(patches.__getitem__, range(20)), expected, strict=True):
            np.testing.assert_array_equal(read, patch)
            assert read.shape == (2, 7, 8, 9)
    assert np.isin(expected[0], array).all()
