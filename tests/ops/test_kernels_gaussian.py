"""The method ``gaussian``: golden data, an independent filter, and blocks with neighbours."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from volumekit import compiled
from volumekit.errors import AlignmentError, OptionError
from volumekit.ops.kernels import GAUSSIAN_RADIUS, downsample, downsample_gaussian

GOLDEN = Path(__file__).parents[1] / "golden" / "scroll2zarr"
BLOCK = 32


def golden(name):
    return np.load(GOLDEN / f"u16_{name}.npy").T


def by_blocks(array, method):
    """Downsample blocks as if each were a volume, as scroll2zarr does."""
    out = np.zeros([-(-n // 2) for n in array.shape], array.dtype)
    for origin in product(*(range(0, n, BLOCK) for n in array.shape)):
        block = array[tuple(slice(o, o + BLOCK) for o in origin)]
        result = downsample(block, (2, 2, 2), method=method, origin=origin)
        out[tuple(slice(o // 2, o // 2 + n) for o, n in zip(origin, result.shape, strict=True))] = result
    return out


@pytest.mark.parametrize("method", ["gaussian", "mean", "nearest"])
def test_equals_scroll2zarr(method):
    first = golden(f"{method}_level1")
    np.testing.assert_array_equal(by_blocks(golden("level0"), method), first)
    if method != "nearest":
        np.testing.assert_array_equal(by_blocks(first, method), golden(f"{method}_level2"))


def reference(array, factor, origin):
    """Pad to full cells, filter with SciPy, average."""
    pads = [(o % f, -(o + n) % f) for n, f, o in zip(array.shape, factor, origin, strict=True)]
    padded = np.pad(array.astype(float), pads, mode="edge")
    for axis, step in enumerate(factor):
        if step > 1:
            padded = ndimage.gaussian_filter1d(padded, 0.5, axis=axis, truncate=4, mode="mirror")
    x, y, z = (n // f for n, f in zip(padded.shape, factor, strict=True))
    cells = padded.reshape(x, factor[0], y, factor[1], z, factor[2])
    return cells.mean((1, 3, 5))


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    factor=st.tuples(*[st.integers(1, 5)] * 3),
    origin=st.tuples(*[st.integers(-7, 7)] * 3),
    order=st.sampled_from("FC"),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_equals_scipy(shape, factor, origin, order, seed):
    array = np.asarray(np.random.default_rng(seed).standard_normal(shape), order=order)
    ours = downsample(array, factor, method="gaussian", origin=origin)
    np.testing.assert_allclose(ours, reference(array, factor, origin), rtol=1e-12, atol=1e-12)
    assert ours.flags.f_contiguous if order == "F" else ours.flags.c_contiguous


def whole_and_block(array, factor, origin, low, high, halo):
    """Downsample everything, and the cells from ``low`` to ``high`` alone with their neighbours."""
    whole = downsample(array, factor, method="gaussian", origin=origin)
    first = [o // f for o, f in zip(origin, factor, strict=True)]
    box, sides = [], []
    for n, f, o, c, a, b in zip(array.shape, factor, origin, first, low, high, strict=False):
        start, stop = max((c + a) * f - o, 0), min((c + b) * f - o, n)
        sides.append((min(halo, start), min(halo, n - stop)))
        box.append(slice(start - sides[-1][0], stop + sides[-1][1]))
    corner = [o + part.start for o, part in zip(origin, box, strict=True)]
    block = downsample_gaussian(array[tuple(box)], factor, origin=corner, halo=sides)
    return whole[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], block


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_blocks_with_neighbours_equal_the_whole(data):
    shape = data.draw(st.tuples(*[st.integers(1, 14)] * 3))
    factor = data.draw(st.tuples(*[st.integers(1, 4)] * 3))
    origin = data.draw(st.tuples(*[st.integers(-7, 7)] * 3))
    array = np.random.default_rng(data.draw(st.integers(0, 99))).standard_normal((*shape, 2))
    counts = [-(-(o + n) // f) - o // f for n, f, o in zip(shape, factor, origin, strict=True)]
    cuts = [sorted(data.draw(st.sets(st.integers(0, n), min_size=2, max_size=2))) for n in counts]
    low, high = zip(*cuts, strict=True)
    halo = data.draw(st.integers(GAUSSIAN_RADIUS, 4))
    array = np.asarray(array, order=data.draw(st.sampled_from("FC")))
    whole, block = whole_and_block(array, factor, origin, low, high, halo)
    assert block.tobytes() == whole.tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "int64", "float16", "float32"])
def test_both_implementations_agree_and_stay_in_range(dtype):
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(0)
    info = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    array = rng.choice(np.array([info.min, info.max, 0, 3], dtype), (33, 21, 13, 2))
    array[:8] = info.max
    results = []
    for available in (True, False):
        with mock.patch.object(compiled, "available", lambda answer=available: answer):
            results.append(downsample(array, (2, 2, 2), method="gaussian", origin=(1, 0, 3)))
    assert results[0].tobytes() == results[1].tobytes()
    assert (results[0][:2].astype(float) >= float(info.max) * (1 - 1e-15)).all()


def test_slabs_and_threads_change_nothing(monkeypatch):
    from volumekit.ops.kernels import gaussian

    array = np.asfortranarray(np.random.default_rng(2).standard_normal((30, 40, 21, 2)))
    expected = downsample(array, (2, 2, 2), method="gaussian", origin=(0, 1, 1))
    monkeypatch.setattr(gaussian, "_SLAB", 100)
    for threads in (1, 3):
        ours = downsample(array, (2, 2, 2), method="gaussian", origin=(0, 1, 1), threads=threads)
        assert ours.tobytes() == expected.tobytes()


def test_nan_spreads_only_as_far_as_the_filter():
    array = np.zeros((40, 1, 1), np.float32)
    array[20] = np.nan
    result = downsample(array, (2, 1, 1), method="gaussian")[:, 0, 0]
    assert np.flatnonzero(np.isnan(result)).tolist() == [9, 10, 11]


def test_a_halo_must_be_aligned_and_fit():
    array = np.zeros((8, 8, 8), np.uint8)
    flat = ((0, 0), (0, 0))
    for halo, origin in (((3, 0), 0), ((0, 3), 0), ((2, 2), 1)):
        with pytest.raises(AlignmentError):
            downsample_gaussian(array, (2, 2, 2), origin=(origin, 0, 0), halo=(halo, *flat))
    for halo in ((5, 5), (-1, 0), (1,), 3, ("a", 0)):
        with pytest.raises(OptionError):
            downsample_gaussian(array, (2, 2, 2), halo=(halo, *flat))
    assert downsample_gaussian(array, (2, 2, 2), halo=((4, 4), *flat)).shape == (0, 4, 4)


def test_absurd_factors_are_refused():
    with pytest.raises(OptionError):
        downsample(np.zeros((2, 2, 2), np.uint8), (2, 2, 10**9), method="gaussian")


def test_memory_order_changes_no_bits():
    array = np.random.default_rng(4).standard_normal((24, 22, 20, 2))
    results = [
        downsample(np.asarray(array, order=order), (2, 2, 2), method="gaussian", origin=(1, 0, 0)) for order in "FC"
    ]
    assert results[0].tobytes() == results[1].tobytes()
