import itertools
import struct
import tracemalloc

import imagecodecs
import numpy as np
import pytest

from volumekit.codecs.zfpc import Zfpc
from volumekit.errors import CorruptChunkError, MetadataError, UnsupportedError
from volumekit.testing.codecs import CodecConformance

NUMBERS = {"int32": 1, "int64": 2, "float32": 3, "float64": 4}
SHAPE = (9, 6, 5, 2)


def container(chunk, cut, encode):
    """Return zfpc data, made part by part; ``cut`` are the axes along which the chunk is cut."""
    ranges = [range(chunk.shape[axis]) if axis in cut else [slice(None)] for axis in range(4)]
    streams = [encode(chunk[x, y, z, c]) for c, z, y, x in itertools.product(*ranges[::-1])]
    flags = sum(1 << axis for axis in range(4) if axis not in cut)
    head = b"zfpc\0" + bytes([NUMBERS[chunk.dtype.name] | 5 << 3])
    head += struct.pack("<4IB", *chunk.shape, flags)
    index = struct.pack(f"<{1 + len(streams)}Q", 23 + 8 * (1 + len(streams)), *map(len, streams))
    return head + index + b"".join(streams)


def reversible(part):
    return bytes(imagecodecs.zfp_encode(np.ascontiguousarray(part), mode=imagecodecs.ZFP.MODE.REVERSIBLE))


class TestLossless(CodecConformance):
    codec = Zfpc()
    dtypes = ("int32", "int64", "float64", "float32")
    channels = (1, 2, 3)

    def reference_bytes(self, chunk):
        return container(chunk, (), reversible)

    def test_constants_and_extremes(self):
        for dtype in self.dtypes:
            # zfp's own transform overflows on integers beyond 30 (62) bits.
            info = np.finfo(dtype) if dtype.startswith("f") else np.iinfo(dtype)
            for value in (info.min, info.max, 0, 1) if dtype.startswith("f") else (-(2**30), 2**30 - 1, 0, 1):
                chunk = np.full((9, 5, 4, 2), value, dtype)
                self.assert_stored(chunk, self.decode(self.codec.encode(chunk), chunk))


class TestCut(CodecConformance):
    codec = Zfpc(zfpc_correlated_dims=(True, True, False, False))
    dtypes = ("float32",)
    channels = (1, 3)

    def reference_bytes(self, chunk):
        return container(chunk, (0, 3), reversible)


class TestTolerance(CodecConformance):
    codec = Zfpc(zfpc_tolerance=0.01)
    dtypes = ("float32", "float64")
    channels = (1, 2)
    unwritable = tuple((dtype, channels) for dtype in ("int32", "int64") for channels in range(1, 7))
    lossless = False
    tolerance = 0.01

    def reference_bytes(self, chunk):
        return container(chunk, (3,), reversible)

    def test_constants_and_extremes(self):
        for value in (0, 1, -1000.5):
            chunk = np.full((9, 5, 4, 2), value, "f4")
            self.assert_stored(chunk, self.decode(self.codec.encode(chunk), chunk))


def smooth(dtype="float32"):
    x, y, z, c = np.ogrid[:9, :6, :5, :2]
    return (100 * np.sin(x / 3) * np.cos(y / 2) + z + c).astype(dtype)


@pytest.mark.parametrize("dtype", ["int32", "float32", "float64"])
def test_settings_bound_the_error_and_the_size(dtype):
    chunk = smooth(dtype)
    for tolerance in (0.0, 0.01, 5.0) if dtype != "int32" else ():
        data = Zfpc(zfpc_tolerance=tolerance).encode(chunk)
        error = np.abs(Zfpc().decode(data, chunk.shape, chunk.dtype).astype("f8") - chunk).max()
        assert error <= max(tolerance, 1e-3 if tolerance == 0 else 0)
    rates = [len(Zfpc(zfpc_rate=rate).encode(chunk)) for rate in (4, 8, 16)]
    assert rates == sorted(set(rates))
    assert 2 * (rates[0] - 60) == pytest.approx(rates[1] - 60, rel=0.05)
    planes = [len(Zfpc(zfpc_precision=planes).encode(chunk)) for planes in (6, 12, 24)]
    assert planes == sorted(set(planes))


@pytest.mark.parametrize("cut", [cut for n in range(4) for cut in itertools.combinations(range(4), n)])
def test_chunks_cut_along_any_axes(cut):
    chunk = smooth()
    data = container(chunk, cut, reversible)
    np.testing.assert_array_equal(Zfpc().decode(data, SHAPE, chunk.dtype), chunk)
    codec = Zfpc(zfpc_correlated_dims=[axis not in cut for axis in range(4)])
    assert codec.encode(np.asfortranarray(chunk)) == data


def test_arrays_of_fewer_axes_are_read():
    chunk = smooth()[..., :1]
    stream = reversible(chunk[..., 0])
    head = b"zfpc\0" + bytes([3 | 5 << 3]) + struct.pack("<4IB", *chunk.shape[:3], 0, 15)
    data = head + struct.pack("<2Q", 39, len(stream)) + stream
    np.testing.assert_array_equal(Zfpc().decode(data, chunk.shape, chunk.dtype), chunk)


def test_the_library_is_never_given_another_shape():
    chunk = smooth()
    data = bytearray(Zfpc().encode(chunk))
    other = reversible(np.zeros((4000, 4000), "f4"))
    assert len(other) < 1 << 20
    for stream in (other, other[:12], reversible(chunk.astype("f8")), b"zfp\x04" + bytes(40), b""):
        forged = data[:23] + struct.pack("<2Q", 39, len(stream)) + stream
        tracemalloc.start()
        with pytest.raises(CorruptChunkError, match="zfp stream"):
            Zfpc().decode(bytes(forged), SHAPE, chunk.dtype)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20


def test_a_fixed_rate_stream_that_is_too_short_is_refused():
    chunk = smooth()
    data = Zfpc(zfpc_rate=16).encode(chunk)
    stream = data[39:-800]
    forged = data[:23] + struct.pack("<2Q", 39, len(stream)) + stream
    with pytest.raises(CorruptChunkError, match="too little"):
        Zfpc().decode(forged, SHAPE, chunk.dtype)


def test_an_axis_that_zfp_cannot_store_is_refused():
    chunk = np.zeros((4097, 1, 1, 2), "f4")
    with pytest.raises(UnsupportedError, match="4096"):
        Zfpc().encode(chunk)
    cut = Zfpc(zfpc_correlated_dims=(True, True, True, False))
    assert cut.decode(cut.encode(chunk), chunk.shape, chunk.dtype).shape == chunk.shape


@pytest.mark.parametrize(
    "settings",
    [
        {"zfpc_rate": 8, "zfpc_tolerance": 1},
        {"zfpc_rate": "8"},
        {"zfpc_precision": float("nan")},
        {"zfpc_tolerance": True},
        {"zfpc_correlated_dims": [False] * 4},
        {"zfpc_correlated_dims": [True] * 3},
        {"zfpc_correlated_dims": [1, 1, 1, 1]},
        {"zfpc_correlated_dims": "TTTT"},
    ],
)
def test_impossible_settings(settings):
    with pytest.raises(MetadataError, match="zfpc_"):
        Zfpc.from_settings(settings)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_whole_numbers_have_no_tolerance(dtype):
    with pytest.raises(UnsupportedError, match="tolerance for floating-point"):
        Zfpc(zfpc_tolerance=1).encode(smooth(dtype))


def test_negative_is_not_set():
    assert Zfpc.from_settings({"zfpc_rate": -1, "zfpc_precision": -5.5, "zfpc_correlated_dims": [True] * 4}) == Zfpc()


LOSSY = [{"zfpc_tolerance": 0.1}, {"zfpc_rate": 16}, {"zfpc_precision": 20}]


@pytest.mark.parametrize("settings", LOSSY, ids=str)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_not_finite_is_lossless_or_refused(settings, value, dtype):
    chunk = smooth(dtype).copy()
    Zfpc(**settings).encode(chunk)
    chunk[2, 1, 3, 0] = value
    with pytest.raises(UnsupportedError, match="lossless only"):
        Zfpc(**settings).encode(chunk)
    np.testing.assert_array_equal(Zfpc().decode(Zfpc().encode(chunk), chunk.shape, chunk.dtype), chunk)


@pytest.mark.parametrize("settings", LOSSY[1:], ids=str)
@pytest.mark.parametrize(("dtype", "most"), [("int32", 2**30 - 1), ("int64", 2**62 - 1)])
def test_large_whole_numbers_are_lossless_or_refused(settings, dtype, most):
    for value in (most, -most):
        chunk = np.full((4, 4, 4, 1), value, dtype)
        decoded = Zfpc(**settings).decode(Zfpc(**settings).encode(chunk), chunk.shape, chunk.dtype)
        assert (np.abs(decoded - chunk) < 2 ** (8 * chunk.itemsize - 14)).all()
    for value in (most + 1, -most - 1, np.iinfo(dtype).min, np.iinfo(dtype).max):
        chunk = np.zeros((4, 4, 4, 1), dtype)
        chunk[1, 2, 3] = value
        with pytest.raises(UnsupportedError, match="lossless only"):
            Zfpc(**settings).encode(chunk)
        np.testing.assert_array_equal(Zfpc().decode(Zfpc().encode(chunk), chunk.shape, chunk.dtype), chunk)


@pytest.mark.parametrize(("dtype", "large"), [(np.float32, 1e10), (np.float32, -3.4e38), (np.float64, 1e30)])
def test_a_tolerance_that_large_numbers_would_break_is_refused(dtype, large):
    chunk = np.random.default_rng(1).random((8, 8, 8, 1)).astype(dtype)
    codec = Zfpc(zfpc_tolerance=0.01)
    assert np.abs(codec.decode(codec.encode(chunk), chunk.shape, chunk.dtype) - chunk).max() <= 0.01
    chunk[3, 3, 3] = large
    with pytest.raises(UnsupportedError, match=r"cannot keep a tolerance of 0\.01"):
        codec.encode(chunk)
