import _ctypes
import tracemalloc

import fpzip
import numpy as np
import pytest

from volumekit.codecs import fpzip_encoder
from volumekit.codecs.fpzip import Fpzip
from volumekit.codecs.kempressed import Kempressed
from volumekit.errors import CorruptChunkError, MetadataError, UnsupportedError
from volumekit.testing.codecs import CodecConformance


class TestFpzip(CodecConformance):
    codec = Fpzip()
    dtypes = ("float64", "float32")
    channels = (1, 2, 3)

    def reference_bytes(self, chunk):
        return fpzip.compress(np.asfortranarray(chunk), order="F")


class TestPrecision(CodecConformance):
    codec = Fpzip(fpzip_precision=20)
    dtypes = ("float64", "float32")
    channels = (1, 3)
    lossless = False
    tolerance = 0.05

    def reference_bytes(self, chunk):
        return fpzip.compress(np.asfortranarray(chunk), order="F", precision=22)

    def test_constants_and_extremes(self):
        for value in (0, 1, -0.5):
            chunk = np.full((9, 5, 4, 2), value, "f4")
            self.assert_stored(chunk, self.decode(self.codec.encode(chunk), chunk))

    def sample(self, shape, dtype, channels):
        return super().sample(shape, dtype, channels) / 300


class TestKempressed(CodecConformance):
    codec = Kempressed()
    dtypes = ("float32",)
    channels = (1, 2, 3)
    lossless = False
    tolerance = 2.0**-22

    def reference_bytes(self, chunk):
        return fpzip.compress(np.asfortranarray(chunk.swapaxes(2, 3) + np.float32(2)), order="F")

    def sample(self, shape, dtype, channels):
        full = (*shape, channels)
        return np.random.default_rng(full).uniform(-1, 1, full).astype(dtype)

    def test_constants_and_extremes(self):
        for value in (0, 1, -1):
            chunk = np.full((9, 5, 4, 2), value, "f4")
            self.assert_stored(chunk, self.decode(self.codec.encode(chunk), chunk))


def sample(dtype="f4"):
    return np.random.default_rng(0).normal(size=(7, 6, 5, 2)).astype(dtype)


@pytest.mark.parametrize("precision", [0, 2, 8, 31, 32])
def test_the_package_writes_the_same_bytes(precision):
    for dtype, step in (("f4", 1), ("f8", 2)):
        chunk = np.asfortranarray(sample(dtype))
        expected = fpzip.compress(chunk, order="F", precision=precision * step)  # not random bits: they break it
        data = Fpzip(fpzip_precision=precision * step).encode(chunk)
        assert data == expected
        np.testing.assert_array_equal(Fpzip().decode(data, chunk.shape, chunk.dtype), fpzip.decompress(data, order="F"))


@pytest.mark.parametrize(("dtype", "precision"), [("f4", 1), ("f4", 33), ("f8", 2), ("f8", 17), ("f8", 63)])
def test_a_precision_the_type_does_not_have(dtype, precision):
    with pytest.raises(UnsupportedError, match="change fpzip_precision"):
        Fpzip(fpzip_precision=precision).encode(sample(dtype))


@pytest.mark.parametrize("value", [-1, 65, 2.5, "x", None])
def test_impossible_settings(value):
    with pytest.raises(MetadataError, match="fpzip_precision"):
        Fpzip.from_settings({"fpzip_precision": value})


def test_nan_infinity_and_minus_zero_come_back():
    chunk = sample()
    chunk.flat[:5] = [np.nan, np.inf, -np.inf, -0.0, 1e-45]
    decoded = Fpzip().decode(Fpzip().encode(chunk), chunk.shape, chunk.dtype)
    assert decoded.tobytes() == chunk.tobytes()


def test_what_a_stream_declares_is_never_allocated():
    huge = fpzip.compress(np.zeros((3000, 3000, 1, 1), "f4"), order="F")
    assert len(huge) < 1 << 20
    tracemalloc.start()
    with pytest.raises(CorruptChunkError, match="declares float32"):
        Fpzip().decode(huge, (8, 8, 8, 1), np.dtype("f4"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_numbers_that_do_not_compress(dtype):
    chunk = np.frombuffer(np.random.default_rng(0).bytes(np.dtype(dtype).itemsize * 840), dtype).reshape(7, 6, 5, 4)
    data = Fpzip().encode(chunk)
    assert len(data) > chunk.nbytes
    assert Fpzip().decode(data, chunk.shape, chunk.dtype).tobytes() == chunk.tobytes()
    np.testing.assert_array_equal(fpzip.decompress(data, order="F"), chunk)


def test_a_cut_stream_is_refused():
    chunk = np.random.default_rng(1).normal(size=(40, 30, 20, 1)).astype("f4")
    data = Fpzip().encode(chunk)
    for end in (30, 100, len(data) // 2, len(data) - 1):
        with pytest.raises(CorruptChunkError, match=r"damaged|ends after"):
            Fpzip().decode(data[:end], chunk.shape, chunk.dtype)
    with pytest.raises(CorruptChunkError, match=f"ends after {len(data)} bytes of {len(data) + 1}"):
        Fpzip().decode(data + b"\0", chunk.shape, chunk.dtype)


def test_a_package_that_hides_its_library_is_named(monkeypatch):
    monkeypatch.setattr(fpzip_encoder.fpzip, "__file__", _ctypes.__file__)
    fpzip_encoder._library.cache_clear()
    try:
        with pytest.raises(UnsupportedError, match="hides its library"):
            Fpzip().encode(sample())
    finally:
        monkeypatch.undo()
        fpzip_encoder._library.cache_clear()
