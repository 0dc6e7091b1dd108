"""The tests that every codec passes.

Subclass `CodecConformance` in a test module, name the codec and what it stores, and give one independent way
to make its bytes::

    class TestRaw(CodecConformance):
        codec = Raw()
        dtypes = ("uint8", "float32")

        def reference_bytes(self, chunk):
            return chunk.tobytes(order="F")
"""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from volumekit.codecs.base import Codec
from volumekit.errors import CorruptChunkError, ShapeError, UnsupportedError

Shape = tuple[int, int, int]
_CANDIDATES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")


class CodecConformance:
    """What a codec promises; see `volumekit.codecs.base.Codec`.

    Attributes
    ----------
    codec : Codec
        The codec, with its settings.
    dtypes : tuple of str
        Data types it stores.
    channels : tuple of int
        Numbers of channels it stores.
    shapes : tuple of tuple of int
        (x, y, z) of chunks to try; sizes differ along the axes, so that exchanged axes show.
    lossless : bool
        Whether decoding gives back the exact voxels.
    tolerance : float
        Largest mean error of a lossy codec on `sample`, in grey values.
    fortran : bool
        Whether it stores x fastest, and so gives Fortran-ordered chunks.
    knows_shape : bool
        Whether the bytes tell how many voxels they are, so that another shape is an error.
    knows_end : bool
        Whether the bytes tell where they end, so that every truncation is an error.
    checksummed : bool
        Whether the bytes have checksums, so that changed ones never decode to other voxels.
    unwritable : tuple of (str, int)
        Data types and numbers of channels that the codec stores, but not with these settings.
    seconds : float
        Longest time that decoding damaged bytes may take.
    """

    codec: ClassVar[Codec]
    dtypes: ClassVar[tuple[str, ...]] = ("uint8",)
    channels: ClassVar[tuple[int, ...]] = (1,)
    shapes: ClassVar[tuple[Shape, ...]] = (
        (1, 1, 1), (8, 8, 8), (5, 7, 3), (17, 9, 11), (1, 13, 2), (16, 1, 1), (1, 1, 9),
    )  # fmt: skip
    lossless: ClassVar[bool] = True
    tolerance: ClassVar[float] = 0.0
    fortran: ClassVar[bool] = True
    knows_shape: ClassVar[bool] = True
    knows_end: ClassVar[bool] = True
    checksummed: ClassVar[bool] = False
    unwritable: ClassVar[tuple[tuple[str, int], ...]] = ()
    seconds: ClassVar[float] = 5.0

    def reference_bytes(self, chunk: NDArray[Any]) -> bytes:
        """Return bytes that must decode to ``chunk``, (x, y, z, channel), made without the codec.

        Without it an encoder and a decoder that confuse the axes in the same way would pass.
        """
        raise NotImplementedError("give one independent way to make the bytes of a chunk")

    def sample(self, shape: Shape, dtype: str, channels: int) -> NDArray[Any]:
        """Return a chunk to store: random if lossless, else smooth and different along all axes."""
        full, kind = (*shape, channels), np.dtype(dtype)
        random = np.random.default_rng([*full, kind.num])
        if not self.lossless:
            x, y, z, c = np.ogrid[: shape[0], : shape[1], : shape[2], :channels]
            smooth: NDArray[Any] = 20 + 7 * (x % 17) + 3 * (y % 23) + 2 * (z % 13) + 9 * c
            return smooth.astype(kind)
        if kind.kind == "f":
            return random.normal(size=full).astype(kind)
        few = random.integers(np.iinfo(kind).min, np.iinfo(kind).max, 7, kind, endpoint=True)
        many = random.integers(np.iinfo(kind).min, np.iinfo(kind).max, full, kind, endpoint=True)
        return np.where(np.arange(shape[0])[:, None, None, None] % 5 < 3, random.choice(few, full), many)

    def samples(self) -> Iterator[NDArray[Any]]:
        """Yield a chunk of every shape, data type and number of channels."""
        for shape, dtype, channels in itertools.product(self.shapes, self.dtypes, self.channels):
            yield self.sample(shape, dtype, channels)

    def one(self) -> NDArray[Any]:
        """Return one chunk: the last data type, the most channels, and sizes that differ."""
        return self.sample((11, 6, 5), self.dtypes[-1], self.channels[-1])

    def assert_stored(self, chunk: NDArray[Any], decoded: NDArray[Any]) -> None:
        """Assert that ``decoded`` is ``chunk``, as well as the codec promises."""
        assert decoded.shape == chunk.shape
        assert decoded.dtype == chunk.dtype.newbyteorder("=")
        if self.lossless:
            np.testing.assert_array_equal(decoded, chunk)
        else:
            error = np.abs(decoded.astype(float) - chunk.astype(float)).mean()
            assert error <= self.tolerance, f"mean error {error} in {chunk.shape}"

    def decode(self, data: bytes, like: NDArray[Any]) -> NDArray[Any]:
        """Decode bytes as a chunk of the shape and type of another."""
        return self.codec.decode(data, shape_of(like), like.dtype)

    def decoded_or_refused(self, data: bytes, like: NDArray[Any]) -> bool:
        """Decode damaged bytes: True if they gave a chunk of the right shape, False if CorruptChunkError."""
        start = time.monotonic()
        try:
            decoded = self.decode(data, like)
        except CorruptChunkError:
            return False
        finally:
            assert time.monotonic() - start < self.seconds
        assert decoded.shape == like.shape
        assert decoded.dtype == like.dtype
        return True

    def test_round_trip(self) -> None:
        """Every shape, data type and number of channels comes back."""
        for chunk in self.samples():
            data = self.codec.encode(chunk)
            assert type(data) is bytes
            self.assert_stored(chunk, self.decode(data, chunk))

    def test_constants_and_extremes(self) -> None:
        """The smallest and largest numbers come back, alone and together."""
        for dtype, channels in itertools.product(self.dtypes, self.channels):
            info = np.finfo(dtype) if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
            for value in (info.min, info.max, 0, 1):
                chunk = np.full((9, 5, 4, channels), value, dtype)
                data = self.codec.encode(chunk)
                self.assert_stored(chunk, self.decode(data, chunk))
                assert self.codec.encode(np.broadcast_to(chunk[0, 0, 0], chunk.shape)) == data
            if self.lossless:
                chunk[::2, 1::2] = info.min
                chunk[1::2, :, ::3] = info.max
                self.assert_stored(chunk, self.decode(self.codec.encode(chunk), chunk))

    def test_every_memory_layout_gives_the_same_bytes(self) -> None:
        """The caller's memory layout does not matter, and is left alone."""
        chunk = self.one()
        data = self.codec.encode(np.asfortranarray(chunk))
        before = chunk.copy()
        for layout in layouts(chunk):
            assert self.codec.encode(layout) == data
        np.testing.assert_array_equal(chunk, before)

    def test_axis_order(self) -> None:
        """Bytes made without the codec decode to the right voxels."""
        for shape, dtype, channels in itertools.product(((3, 5, 7), (8, 4, 2)), self.dtypes, self.channels):
            chunk = self.sample(shape, dtype, channels)
            self.assert_stored(chunk, self.decode(self.reference_bytes(chunk), chunk))

    def test_decoded_memory_order(self) -> None:
        """Decoded chunks lie in memory as promised, in native byte order."""
        for chunk in self.samples():
            decoded = self.decode(self.codec.encode(chunk), chunk)
            assert decoded.flags["F_CONTIGUOUS" if self.fortran else "C_CONTIGUOUS"]
            assert decoded.dtype.isnative

    def test_filling(self) -> None:
        """Voxels go straight into an array as they are decoded, all of them or some, and nowhere else."""
        for shape in self.shapes:
            chunk = self.sample(shape, self.dtypes[-1], self.channels[-1])
            data = self.codec.encode(chunk)
            wanted = self.codec.decode(data, chunk.shape, chunk.dtype)
            full = (slice(None),) * 4
            low = tuple(slice(0, (n + 1) // 2) for n in shape)
            high = tuple(slice(n // 2, n, 2) for n in shape)
            for inside in (full, (*low, slice(None)), (*high, slice(None)), (low[0], high[1], low[2], slice(0, 1))):
                around = np.ones([n + 2 for n in wanted[inside].shape], chunk.dtype)
                place, expected = (slice(1, -1),) * 4, around.copy()
                if self.codec.fill(data, chunk.shape, around[place], inside):
                    expected[place] = wanted[inside]
                np.testing.assert_array_equal(around, expected)

    def test_threads(self) -> None:
        """Many threads at once give what one gives."""
        chunks = list(self.samples())
        data = [self.codec.encode(chunk) for chunk in chunks]
        expected = [self.decode(*pair) for pair in zip(data, chunks, strict=True)]
        with ThreadPoolExecutor(8) as pool:
            again = list(pool.map(self.codec.encode, chunks * 4))
            decoded = list(pool.map(self.decode, data * 4, chunks * 4))
        assert again == data * 4
        for got, wanted in zip(decoded, expected * 4, strict=True):
            np.testing.assert_array_equal(got, wanted)

    def test_truncated(self) -> None:
        """Bytes that were cut short are refused."""
        for channels in self.channels:
            chunk = self.sample((9, 7, 5), self.dtypes[-1], channels)
            data = self.codec.encode(chunk)
            for end in range(0, len(data), max(1, len(data) // 500)):
                assert not (self.decoded_or_refused(data[:end], chunk) and self.knows_end), f"cut at {end}"
            for end in range(max(0, len(data) - 40), len(data)):
                assert not (self.decoded_or_refused(data[:end], chunk) and self.knows_end), f"cut at {end}"

    def test_flipped_bits(self) -> None:
        """Changed bytes are refused or decode to something of the right shape; nothing crashes or hangs."""
        chunk = self.one()
        data = self.codec.encode(chunk)
        random = np.random.default_rng(7)
        for _ in range(300):
            damaged = bytearray(data)
            for at in random.integers(0, len(data), random.integers(1, 5)):
                damaged[at] ^= 1 << int(random.integers(8))
            if self.decoded_or_refused(bytes(damaged), chunk) and self.checksummed:
                self.assert_stored(chunk, self.decode(bytes(damaged), chunk))

    def test_extended(self) -> None:
        """Bytes with something behind them are refused or decode to the right shape."""
        chunk = self.one()
        for tail in (b"\0", b"\xff" * 7, self.codec.encode(chunk)):
            self.decoded_or_refused(self.codec.encode(chunk) + tail, chunk)

    def test_empty_and_garbage(self) -> None:
        """Bytes that are no chunk at all are refused."""
        chunk = self.one()
        for data in (b"", b"\0", b"\xff" * 3):
            with pytest.raises(CorruptChunkError):
                self.decode(data, chunk)
        random = np.random.default_rng(3)
        for _ in range(100):
            self.decoded_or_refused(random.bytes(int(random.integers(1, 2000))), chunk)

    def test_wrong_shape(self) -> None:
        """Bytes of a chunk of another shape are refused."""
        chunk = self.one()
        x, y, z, channels = chunk.shape
        data = self.codec.encode(chunk)
        for shape in (
            (x + 1, y, z, channels),
            (x, y, 2 * z, channels),
            (1, 1, 1, channels),
            (x, y, z, channels + 1),
        ):
            like = np.empty(shape, chunk.dtype)
            assert not (self.decoded_or_refused(data, like) and self.knows_shape), shape

    def test_wrong_type(self) -> None:
        """Bytes of a chunk of another data type are refused."""
        chunk = self.one()
        data = self.codec.encode(chunk)
        for dtype in _CANDIDATES:
            if np.dtype(dtype).itemsize != chunk.dtype.itemsize:
                like = np.empty(chunk.shape, dtype)
                assert not (self.decoded_or_refused(data, like) and self.knows_shape), dtype

    def test_lossless(self) -> None:
        """A codec that says it is lossless is."""
        assert self.lossless or not self.codec.lossless

    def test_what_it_supports_it_stores(self) -> None:
        """`Codec.supports` tells the truth, and its reason reaches the caller."""
        for dtype, channels in itertools.product(_CANDIDATES, range(1, 7)):
            chunk = self.sample((4, 3, 2), dtype, channels)
            why = self.codec.supports(chunk.dtype, channels)
            listed = dtype in self.dtypes and channels in self.channels
            if why is None and (dtype, channels) in self.unwritable:
                with pytest.raises(UnsupportedError):
                    self.codec.encode(chunk)
                continue
            if why is None:
                self.assert_stored(chunk, self.decode(self.codec.encode(chunk), chunk))
                continue
            assert not listed, why
            with pytest.raises(UnsupportedError) as refused:
                self.codec.encode(chunk)
            assert why in str(refused.value)
            with pytest.raises(CorruptChunkError):
                self.decode(self.codec.encode(self.one()), chunk)

    def test_chunks_are_four_dimensional_and_not_empty(self) -> None:
        """Arrays that are no chunk are refused."""
        chunk = self.one()
        for wrong in (chunk[..., 0], chunk[None], chunk[:0], chunk[..., :0]):
            with pytest.raises(ShapeError):
                self.codec.encode(wrong)

    def test_settings_survive(self) -> None:
        """Settings make the same codec again; those of other programs are ignored."""
        settings = {field.name: getattr(self.codec, field.name) for field in dataclasses.fields(self.codec)}
        assert type(self.codec).from_settings({**settings, "setting_of_another_program": 1}) == self.codec

    def test_is_a_value(self) -> None:
        """Codecs pickle, compare and hash by their settings, and cannot be changed."""
        twin = pickle.loads(pickle.dumps(self.codec))
        assert twin == self.codec
        assert hash(twin) == hash(self.codec)
        assert isinstance(self.codec.name, str)
        with pytest.raises(dataclasses.FrozenInstanceError):
            self.codec.name = "another"  # type: ignore[misc]


def layouts(chunk: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the same chunk in other memory: C, Fortran, strided, reversed, byte-swapped, unaligned."""
    yield np.ascontiguousarray(chunk)
    yield np.asfortranarray(chunk)
    yield np.repeat(np.repeat(chunk, 2, axis=0), 3, axis=2)[::2, :, ::3]
    yield np.ascontiguousarray(chunk[::-1, :, ::-1])[::-1, :, ::-1]
    yield chunk.astype(chunk.dtype.newbyteorder(">"))
    memory = np.zeros(chunk.nbytes + 1, np.uint8)
    unaligned = memory[1:].view(chunk.dtype).reshape(chunk.shape, order="F")
    unaligned[...] = chunk
    yield unaligned
    fixed = np.asfortranarray(chunk).copy(order="F")
    fixed.flags.writeable = False
    yield fixed


def shape_of(chunk: NDArray[Any]) -> tuple[int, int, int, int]:
    """Return the shape of a chunk, (x, y, z, channel)."""
    x, y, z, channels = chunk.shape
    return x, y, z, channels
