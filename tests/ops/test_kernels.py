"""Downsampling by both implementations, against a naive reference and against TensorStore."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from fractions import Fraction
from itertools import product
from unittest import mock

import numpy as np
import pytest
import tensorstore as ts
import tinybrain
from hypothesis import given, settings
from hypothesis import strategies as st

from volumekit import compiled
from volumekit.errors import CastError, OptionError, ShapeError, UnsupportedError
from volumekit.ops.kernels import METHODS, downsample

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
FLOATS = ["float16", "float32", "float64"]
EXACT = [method for method in METHODS if method != "gaussian"]
TENSORSTORE = ["mean", "mode", "median", "min", "max"]
BACKENDS = ["plain", "compiled"]


ALL = INTEGERS + FLOATS
COMPILED = {
    "mean": ["uint8", "int8", "uint16", "int16", "uint64", "int64", "float16", "float32", "float64"],
    "mode": ["uint8", "int8", "uint32", "int32", "uint64", "int64", "float32", "float64"],
    "sparse_mean": ["uint8", "int8", "uint16", "int32", "uint32", "uint64", "int64", "float16", "float32"],
}
"""Types to test compiled kernels with: each costs a second to compile, and a kernel is the same for all of them."""


def types(name, method):
    few = COMPILED.get(method, ["uint8", "int8", "uint64", "int64", "float16", "float32"])
    return few if name == "compiled" else ALL


def backend(name: str) -> AbstractContextManager[object]:
    return mock.patch.object(compiled, "available", return_value=name == "compiled")


def random(shape, dtype, seed, *, order="F"):
    """Make voxels with ties, extremes and, for floats, sums that depend on their order."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        values = rng.standard_normal(shape) * 10.0 ** rng.integers(-2, 3, shape)
        values = np.where(rng.random(shape) < 0.5, values.round(), values) + 0.0
        values[rng.random(shape) < 0.3] = 0
        return np.asarray(values.astype(dtype) + dtype.type(0), order=order)
    info = np.iinfo(dtype)
    values = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    near = dtype.type(info.max) - rng.integers(0, 4, shape, dtype)
    values = np.where(rng.random(shape) < 0.6, near, values)
    values[rng.random(shape) < 0.3] = 0
    return np.asarray(values, order=order)


def cells(size, origin, factor):
    """Return the array indices of each cell along one axis."""
    members = {}
    for i in range(size):
        members.setdefault((origin + i) // factor, []).append(i)
    return list(members.values())


def one_cell(values, method, size):
    """Return what a cell's values, in memory order, become; ``size`` is how many it has, zeros included."""
    if method.startswith("sparse_"):
        known = values[values != 0]
        return one_cell(known, method.removeprefix("sparse_"), size) if len(known) else 0
    if method == "mean" and values.dtype.kind == "f":
        kind = np.promote_types(values.dtype, np.float32 if size <= 8 else np.float64).type
        total = kind(0)
        for value in values:
            total += kind(value)
        return total / kind(len(values))
    numbers = values.tolist()
    if method == "mean":
        return round(Fraction(sum(numbers), len(numbers)))
    if method == "mode":
        count = Counter(numbers)
        return min(value for value in count if count[value] == max(count.values()))
    if method == "median":
        return sorted(numbers)[(len(numbers) - 1) // 2]
    return {"nearest": numbers[0], "min": min(numbers), "max": max(numbers)}[method]


def naive(array, factor, method, origin):
    axes = [cells(*axis) for axis in zip(array.shape[:3], origin, factor, strict=True)]
    out = np.empty([*map(len, axes), *array.shape[3:]], array.dtype)
    for cell in product(*(range(len(axis)) for axis in axes)):
        block = array[np.ix_(*(axis[i] for axis, i in zip(axes, cell, strict=True)))]
        for channel in range(array.shape[3]):
            order = "F" if array.flags.f_contiguous else "C"
            values = block[..., channel].ravel(order)
            out[(*cell, channel)] = one_cell(values, method, len(values))
    return out


def same(ours, theirs):
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    assert ours.tobytes() == theirs.tobytes()


geometry = {
    "shape": st.tuples(*[st.integers(1, 7)] * 3, st.integers(1, 3)),
    "factor": st.tuples(*[st.integers(1, 4)] * 3) | st.sampled_from([(2, 2, 1), (2, 2, 2), (9, 1, 10**30)]),
    "origin": st.tuples(*[st.integers(-9, 9)] * 3) | st.just((10**30 + 1, -(10**25), 3)),
    "order": st.sampled_from("FC"),
    "seed": st.integers(0, 2**32),
}


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("method", EXACT)
@given(data=st.data(), **geometry)
@settings(max_examples=40, deadline=None)
def test_equals_the_definition(name, method, data, shape, factor, origin, order, seed):
    dtype = data.draw(st.sampled_from(types(name, method)))
    array = random(shape, dtype, seed, order=order)
    with backend(name):
        ours = downsample(array, factor, method=method, origin=origin)
    same(ours, naive(array, factor, method, origin))
    assert ours.flags.f_contiguous if order == "F" else ours.flags.c_contiguous


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("factor", [(2, 2, 1), (2, 2, 2)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_sparse_means_are_those_of_tinybrain_rounded(name, factor, dtype):
    array = random((24, 20, 8, 1), dtype, 4)
    array[:4, :4, :4] = 0
    theirs = tinybrain.downsample_with_averaging(array, factor, sparse=True)[0].astype(int)
    with backend(name):
        ours = downsample(array, factor, method="sparse_mean").astype(int)
    assert np.isin(ours - theirs, (0, 1)).all()
    assert ((ours == 0) == (theirs == 0)).all()
    assert (ours == 0).any()
    assert (ours > downsample(array, factor, method="mean")).any()


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("factor", [(2, 2, 1), (2, 2, 2)])
@pytest.mark.parametrize("dtype", ["uint8", "uint32", "uint64"])
def test_sparse_modes_are_those_of_tinybrain_but_for_ties(name, factor, dtype):
    rng = np.random.default_rng(1)
    array = np.asfortranarray((rng.integers(1, 4, (24, 20, 8, 1)) * (rng.random((24, 20, 8, 1)) < 0.4)).astype(dtype))
    theirs = tinybrain.downsample_segmentation(array, factor, sparse=True)[0]
    with backend(name):
        ours = downsample(array, factor, method="sparse_mode")
    cells = [array[x :: factor[0], y :: factor[1], z :: factor[2]] for x, y, z in product(*map(range, factor))]
    counts = np.array([sum(cell == label for cell in cells) for label in (1, 2, 3)])
    tied = (counts == counts.max(axis=0)).sum(axis=0) > 1
    assert (ours == theirs)[~tied].all()
    assert (~tied).sum() > 100
    assert ((ours == 0) == (counts.max(axis=0) == 0)).all()


def tensorstore_is_right(size, factor, origin):
    """Tell whether no cell lacks voxels at both ends: there TensorStore reads memory it never wrote."""
    end = origin + size
    return not (origin % factor and end % factor and origin // factor == end // factor)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("method", TENSORSTORE)
@given(
    data=st.data(),
    shape=st.tuples(*[st.integers(1, 40)] * 2, st.integers(1, 9), st.integers(1, 2)),
    factor=st.tuples(*[st.integers(1, 5)] * 3) | st.just((2, 2, 1)) | st.just((2, 2, 2)),
    origin=st.tuples(*[st.integers(-9, 9)] * 3),
    order=st.sampled_from("FC"),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=25, deadline=None)
def test_equals_tensorstore(name, method, data, shape, factor, origin, order, seed):
    axes = zip(shape, factor, origin, strict=False)
    origin = tuple(o if tensorstore_is_right(n, f, o) else 0 for n, f, o in axes)
    array = random(shape, data.draw(st.sampled_from(types(name, method))), seed, order=order)
    source = ts.array(array).translate_to[(*origin, 0)]
    theirs = ts.downsample(source, [*factor, 1], method=method).read().result()
    with backend(name):
        ours = downsample(array, factor, method=method, origin=origin)
    if method == "mean" and array.dtype.kind == "f" and np.prod(factor) > 8:  # there it adds in less than float64
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-2 if array.dtype == np.float16 else 1e-4)
    else:
        same(ours, theirs)


@pytest.mark.parametrize("name", BACKENDS)
def test_nearest_is_stride_where_the_origin_is_on_a_multiple(name):
    array = random((9, 8, 7, 1), "uint16", 0)
    source = ts.array(array).translate_to[-4, 6, 0, 0]
    with backend(name):
        ours = downsample(array, (4, 3, 2), method="nearest", origin=(-4, 6, 0))
    same(ours, ts.downsample(source, [4, 3, 2, 1], method="stride").read().result())


@pytest.mark.parametrize(
    ("name", "method", "dtype"),
    [(name, method, dtype) for name in BACKENDS for method in EXACT for dtype in types(name, method)],
)
def test_every_type_and_method_with_large_cells(name, method, dtype):
    array = random((41, 20, 6, 1), dtype, 7)
    array[:17, :17] = 1  # every voxel of this cell is equal; its neighbours sort from scratch
    for factor in ((17, 17, 6), (2, 2, 1), (2, 2, 2), (3, 3, 1)):
        with backend(name):
            ours = downsample(array, factor, method=method, origin=(0, 1, 0))
        same(ours, naive(array, factor, method, (0, 1, 0)))


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint64", "int64"])
def test_sums_do_not_overflow(name, dtype):
    info = np.iinfo(dtype)
    for value in (info.max, info.min):
        array = np.full((300, 300, 2), value, dtype, order="F")
        with backend(name):
            assert (downsample(array, (16, 16, 1), method="mean") == value).all()
            assert (downsample(array, (300, 300, 2), method="mean") == value).all()


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("method", ["mean", "sparse_mean"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_sums_of_many_floats_do_not_drift(name, method, dtype):
    """A sum of a million values in float32 is wrong in the third digit."""
    array = np.full((1024, 64, 20), 0.1, dtype, order="F")
    array[:, :, ::2] = 0.3
    few = array[:, :2, 1:2]
    expected = np.mean([np.float64(array[0, 0, 0]), np.float64(array[0, 0, 1])]).astype(dtype)
    with backend(name):
        assert downsample(array, (1024, 64, 20), method=method).item() == expected
        assert downsample(few, (1024, 2, 1), method=method).item() == array[0, 0, 1]


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("method", EXACT)
def test_views_give_the_bits_of_copies(name, method):
    whole = random((20, 18, 12, 3), "float32", 3)
    views = [
        whole[3:17, 1:-1, 2:],
        whole[::2, ::3],
        whole[::-1, :, ::-1],
        whole.transpose(1, 0, 2, 3),
        whole.astype(">f4")[1:],
        whole[:, :, :1, 1:2],
        np.lib.stride_tricks.as_strided(whole, (4, 5, 6, 2), (0, 4, 0, 8)),
    ]
    with backend(name):
        for view in views:
            values = np.array(view, "=f4", order="F")
            # A sum depends on the memory order, which a transposed view has as its own.
            summed = method in ("mean", "sparse_mean")
            close = np.testing.assert_allclose if summed else np.testing.assert_array_equal
            options = {"rtol": 1e-5, "atol": 1e-4} if summed else {}
            ours = downsample(view, (2, 3, 2), method=method, origin=(1, 2, 3))
            close(ours, downsample(values, (2, 3, 2), method=method, origin=(1, 2, 3)), **options)
            assert ours.dtype == np.float32


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("method", METHODS)
def test_out_threads_and_three_axes_change_nothing(name, method):
    array = random((23, 19, 11, 2), "uint16", 5)
    options = {"method": method, "origin": (-3, 1, 5)}
    with backend(name):
        expected = downsample(array, (2, 3, 2), **options)
        outs = [np.empty(expected.shape, np.uint16, order=order) for order in "FC"]
        outs.append(np.empty((40, 20, 20, 4), np.uint16)[::3, ::-2][:12, :7, :6, :2])
        for out in outs:
            assert downsample(array, (2, 3, 2), out=out, threads=3, **options) is out
            same(out, expected)
        same(downsample(array[..., 1], (2, 3, 2), **options), expected[..., 1])


def test_a_fortran_array_is_not_copied():
    import tracemalloc

    array = random((256, 256, 16), "uint8", 0)
    for method in EXACT:
        downsample(array, (2, 2, 2), method=method)
        tracemalloc.start()
        downsample(array[1:, :, 1:], (2, 2, 2), method=method)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < array.nbytes // 2, method


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([NAN, 1, 2, 3], {"mean": NAN, "mode": 1, "median": 2, "min": 1, "max": 3}),
        ([NAN, NAN, NAN, -3], {"mean": NAN, "mode": NAN, "median": NAN, "min": -3, "max": -3}),
        ([NAN] * 4, {"mean": NAN, "mode": NAN, "median": NAN, "min": INF, "max": -INF}),
        ([INF, -INF, 1, 1], {"mean": NAN, "mode": 1, "median": 1, "min": -INF, "max": INF}),
        ([-0.0, 0.0, -1, -2], {"mean": -0.75, "mode": 0.0, "median": -1, "min": -2, "max": -0.0}),
        ([-0.0] * 4, {"mean": 0.0, "mode": 0.0, "median": 0.0, "min": -0.0, "max": -0.0}),
    ],
)
def test_floats_that_are_no_numbers(name, dtype, values, expected):
    for shape, factor in (((4, 1, 1), (4, 1, 1)), ((2, 2, 1), (2, 2, 1))):
        array = np.array(values, dtype).reshape(shape, order="F")
        for method, value in expected.items():
            with backend(name):
                ours = downsample(array, factor, method=method)
            np.testing.assert_array_equal(ours, np.full((1, 1, 1), value, dtype))
            assert np.isnan(value) or np.signbit(ours) == np.signbit(value)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_stays_nothing(method):
    for shape in ((0, 4, 4), (3, 0, 2, 1), (2, 2, 2, 0)):
        result = downsample(np.empty(shape, np.uint8), (2, 2, 2), method=method, origin=(1, 1, 1))
        assert result.size == 0
        assert result.ndim == len(shape)


@pytest.mark.parametrize(
    ("error", "change"),
    [
        (OptionError, {"method": "average"}),
        (OptionError, {"factor": (2, 0, 1)}),
        (OptionError, {"factor": (2, 2)}),
        (OptionError, {"factor": 2}),
        (OptionError, {"factor": (2, 2.0, 1)}),
        (OptionError, {"origin": (0, 0, "0")}),
        (OptionError, {"threads": 0}),
        (OptionError, {"threads": None}),
        (ShapeError, {"array": np.zeros((4, 4), np.uint8)}),
        (ShapeError, {"array": np.zeros((4, 4, 4, 1, 1), np.uint8)}),
        (ShapeError, {"out": np.zeros((2, 2, 3), np.uint8)}),
        (CastError, {"out": np.zeros((2, 2, 2), np.uint16)}),
        (UnsupportedError, {"array": np.zeros((4, 4, 4), np.complex64)}),
        (UnsupportedError, {"array": np.zeros((4, 4, 4), "U1")}),
        (UnsupportedError, {"array": np.zeros((4, 4, 4), object)}),
        (UnsupportedError, {"array": np.zeros((4, 4, 4), complex)}),
        (UnsupportedError, {"array": np.zeros((4, 4, 4), np.longdouble)}),
    ],
)
@pytest.mark.parametrize("method", ["mean", "gaussian"])
def test_bad_arguments(error, change, method):
    options = {"array": np.zeros((4, 4, 4), np.uint8), "factor": (2, 2, 2), "method": method, **change}
    with pytest.raises(error):
        downsample(options.pop("array"), options.pop("factor"), **options)


def test_out_must_be_writeable_and_apart():
    array = np.zeros((4, 4, 4), np.uint8)
    frozen = np.zeros((2, 2, 2), np.uint8)
    frozen.flags.writeable = False
    for out in (array[:2, :2, :2], frozen):
        with pytest.raises(OptionError):
            downsample(array, (2, 2, 2), method="mean", out=out)


def test_a_read_only_array_will_do():
    array = random((8, 8, 8), "uint8", 1)
    array.flags.writeable = False
    for method in METHODS:
        assert downsample(array, (2, 2, 2), method=method).shape == (4, 4, 4)


def test_compiled_kernels_release_the_gil():
    from volumekit.ops.kernels import jit

    found = [kernel for kernel in vars(jit).values() if hasattr(kernel, "targetoptions")]
    assert len(found) >= 8
    assert all(kernel.targetoptions["nogil"] for kernel in found)
    assert not any(kernel.targetoptions.get("fastmath") for kernel in found)


def test_kernels_compile_where_nothing_can_be_cached(monkeypatch):
    from numba.core.caching import FunctionCache

    from volumekit.ops.kernels import jit

    def nowhere(*_):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(FunctionCache, "__init__", nowhere)
    double = jit._compiled(lambda x: 2 * x)
    assert double(4) == 8


@pytest.mark.parametrize("method", METHODS)
def test_truth_values_are_reduced_as_numbers(method):
    array = np.random.default_rng(4).random((9, 8, 7)) < 0.4
    how = {"method": method, "origin": (1, 0, 0)}
    made = downsample(array, (2, 2, 2), **how)
    assert made.dtype == bool
    np.testing.assert_array_equal(made, downsample(array.astype(np.uint8), (2, 2, 2), **how).astype(bool))
    out = np.ones(made.shape, bool, order="F")
    assert downsample(array, (2, 2, 2), out=out, **how) is out
    np.testing.assert_array_equal(out, made)
    with pytest.raises(CastError):
        downsample(array.astype(np.uint8), (2, 2, 2), out=out, **how)
