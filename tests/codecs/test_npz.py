import io
import tracemalloc
import zlib

import numpy as np
import pytest

from volumekit.codecs.npz import Npz
from volumekit.codecs.npz_uint8 import NpzUint8
from volumekit.errors import CorruptChunkError, UnsupportedError
from volumekit.testing.codecs import CodecConformance

SHAPE = (4, 3, 2, 1)


def npy(array, **how):
    file = io.BytesIO()
    np.save(file, array, **how)
    return file.getvalue()


class TestNpz(CodecConformance):
    codec = Npz()
    dtypes = ("uint8", "int16", "uint32", "int32", "float32", "uint64")
    channels = (1, 2, 3, 5)
    checksummed = True

    def reference_bytes(self, chunk):
        return zlib.compress(npy(chunk))


class TestNpzUint8(CodecConformance):
    codec = NpzUint8()
    dtypes = ("float32",)
    channels = (1, 3)
    lossless = False
    tolerance = 1e-7
    checksummed = True

    def reference_bytes(self, chunk):
        return zlib.compress(npy(np.rint(chunk * 255).astype("u1")))

    def sample(self, shape, dtype, channels):
        full = (*shape, channels)
        return (np.random.default_rng(full).integers(0, 256, full) / 255).astype(dtype)

    def test_constants_and_extremes(self):
        for value in (0, 1 / 255, 1):
            chunk = np.full((9, 5, 4, 2), value, "f4")
            self.assert_stored(chunk, self.decode(self.codec.encode(chunk), chunk))


def test_both_orders_of_memory_and_of_bytes_are_read():
    chunk = np.arange(24, dtype="i4").reshape(SHAPE)
    for array in (chunk, np.asfortranarray(chunk), chunk.astype(">i4")):
        decoded = Npz().decode(zlib.compress(npy(array)), SHAPE, np.dtype("i4"))
        np.testing.assert_array_equal(decoded, chunk)
        assert decoded.dtype.isnative


def test_what_is_read_and_written_again_stays():
    chunk = np.linspace(0, 1, 24, dtype="f4").reshape(SHAPE)
    data = NpzUint8().encode(chunk)
    for _ in range(5):
        chunk = NpzUint8().decode(data, SHAPE, chunk.dtype)
        data = NpzUint8().encode(chunk)
    assert np.abs(chunk.ravel() - np.linspace(0, 1, 24)).max() < 0.51 / 255


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan, np.inf])
def test_numbers_beyond_0_and_1_are_refused(value):
    chunk = np.full(SHAPE, value, "f4")
    with pytest.raises(UnsupportedError, match="from 0 to 1"):
        NpzUint8().encode(chunk)


def test_objects_are_never_unpickled():
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("unpickled",)

    data = zlib.compress(npy(np.full(SHAPE, Trap(), object), allow_pickle=True))
    with pytest.raises(CorruptChunkError):
        Npz().decode(data, SHAPE, np.dtype("u8"))


@pytest.mark.parametrize("plain", [b"", b"garbage" * 9, npy(np.zeros(SHAPE))[:60], npy(np.zeros(SHAPE))[:-1]])
def test_what_is_no_npy_file_is_refused(plain):
    with pytest.raises(CorruptChunkError):
        Npz().decode(zlib.compress(plain), SHAPE, np.dtype("f8"))


def test_a_bomb_allocates_nothing():
    data = zlib.compress(npy(np.zeros(1 << 25, "u1")))
    tracemalloc.start()
    with pytest.raises(CorruptChunkError, match="larger than the chunk"):
        Npz().decode(data, SHAPE, np.dtype("u1"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
