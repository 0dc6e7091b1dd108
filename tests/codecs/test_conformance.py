"""The kit bites: each of these broken codecs fails the test that is meant for it."""

import time
from dataclasses import dataclass

import numpy as np
import pytest

from volumekit.codecs.raw import Raw
from volumekit.errors import CorruptChunkError
from volumekit.testing.codecs import CodecConformance


class Kit(CodecConformance):
    """Not collected: its name does not start with Test."""

    dtypes = ("uint16",)
    channels = (1, 3)

    def reference_bytes(self, chunk):
        return chunk.tobytes(order="F")


class CoverUp(Raw):
    """Encoder and decoder both confuse the order of the axes."""

    def encode(self, chunk):
        return super().encode(np.asfortranarray(chunk.ravel("C").reshape(chunk.shape, order="F")))

    def decode(self, data, shape, dtype):
        return np.asfortranarray(super().decode(data, shape, dtype).ravel("F").reshape(shape))


class Forgiving(Raw):
    """Fills what is missing with zeros, and ignores what is too much."""

    def decode(self, data, shape, dtype):
        wanted = int(np.prod(shape)) * dtype.itemsize
        return super().decode(data[:wanted].ljust(wanted, b"\0"), shape, dtype)


class Crashing(Raw):
    """Lets NumPy's errors out."""

    def decode(self, data, shape, dtype):
        return np.frombuffer(data, dtype).reshape(shape, order="F")


class Careless(Raw):
    """Does not notice a wrong checksum, here the last byte."""

    def encode(self, chunk):
        return super().encode(chunk) + b"!"

    def decode(self, data, shape, dtype):
        return super().decode(data[:-1], shape, dtype)


class Lossy(Raw):
    def encode(self, chunk):
        return super().encode(np.minimum(chunk, 60_000))


class MemoryOrder(Raw):
    """Writes whatever lies in memory."""

    def encode(self, chunk):
        super().encode(chunk)
        return chunk.tobytes(order="A")


class Meddling(Raw):
    """Changes the caller's array."""

    def encode(self, chunk):
        data = super().encode(chunk)
        if chunk.flags.writeable:
            chunk[...] = 0
        return data


class COrdered(Raw):
    def decode(self, data, shape, dtype):
        return np.ascontiguousarray(super().decode(data, shape, dtype))


class Liar(Raw):
    """Refuses what it says it supports."""

    def encode(self, chunk):
        if chunk.dtype == np.float32:
            raise CorruptChunkError("no")
        return super().encode(chunk)


class AnyShape(Raw):
    def encode(self, chunk):
        return np.ascontiguousarray(chunk).tobytes(order="F")


class SharedState(Raw):
    """Keeps the chunk in the class between two steps."""

    def encode(self, chunk):
        SharedState.chunk = chunk
        time.sleep(1e-4)
        return super().encode(SharedState.chunk)


@dataclass(frozen=True)
class Forgetful(Raw):
    level: int = 3

    @classmethod
    def from_settings(cls, settings):
        return cls()


class Unequal(Raw):
    def __eq__(self, other):
        return self is other

    __hash__ = object.__hash__


@pytest.mark.parametrize(
    ("codec", "test"),
    [
        (CoverUp(), "test_axis_order"),
        (Forgiving(), "test_truncated"),
        (Forgiving(), "test_wrong_shape"),
        (Forgiving(), "test_wrong_type"),
        (Forgiving(), "test_empty_and_garbage"),
        (Crashing(), "test_truncated"),
        (Crashing(), "test_extended"),
        (Crashing(), "test_empty_and_garbage"),
        (Careless(), "test_flipped_bits"),
        (Lossy(), "test_round_trip"),
        (Lossy(), "test_constants_and_extremes"),
        (MemoryOrder(), "test_every_memory_layout_gives_the_same_bytes"),
        (Meddling(), "test_every_memory_layout_gives_the_same_bytes"),
        (COrdered(), "test_decoded_memory_order"),
        (Liar(), "test_what_it_supports_it_stores"),
        (AnyShape(), "test_chunks_are_four_dimensional_and_not_empty"),
        (SharedState(), "test_threads"),
        (Forgetful(level=5), "test_settings_survive"),
        (Unequal(), "test_is_a_value"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_broken_codec_fails(codec, test):
    kit = Kit()
    kit.codec = Raw()
    getattr(kit, test)()
    kit.codec, kit.checksummed = codec, isinstance(codec, Careless)
    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
        getattr(kit, test)()


def test_the_axis_order_needs_an_independent_writer():
    kit = CodecConformance()
    with pytest.raises(NotImplementedError, match="independent"):
        kit.reference_bytes(np.zeros((1, 1, 1, 1)))


def test_a_swap_in_both_directions_passes_a_mere_round_trip():
    kit = Kit()
    kit.codec = CoverUp()
    kit.test_round_trip()
