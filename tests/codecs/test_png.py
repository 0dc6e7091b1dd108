import struct
import tracemalloc
import zlib

import numpy as np
import pytest

from tests.codecs import oracle
from volumekit.codecs.png import Png
from volumekit.errors import CorruptChunkError, MetadataError
from volumekit.testing.codecs import CodecConformance

U1 = np.dtype("u1")


class TestPng(CodecConformance):
    codec = Png(png_level=1)
    dtypes = ("uint8", "uint16")
    channels = (1, 2, 3, 4)
    checksummed = True

    def reference_bytes(self, chunk):
        if chunk.dtype == U1:
            return oracle.pillow_writes(chunk, "PNG")
        return handmade(chunk)


def block(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, lines: bytes, *, bits=8, colour=0, extra=b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    data = block(b"IHDR", header) + extra + block(b"IDAT", zlib.compress(lines)) + block(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def handmade(chunk) -> bytes:
    x, y, z, channels = chunk.shape
    big = chunk.astype(chunk.dtype.newbyteorder(">"))
    lines = b"".join(b"\0" + b"".join(big[i, j, k].tobytes() for i in range(x)) for k in range(z) for j in range(y))
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    return png(x, y * z, lines, bits=8 * chunk.dtype.itemsize, colour=colour)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_tensorstore_and_we_read_each_other(dtype, channels):
    chunk = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (7, 5, 3, channels), dtype)
    written = oracle.tensorstore_writes(chunk, "png")
    np.testing.assert_array_equal(Png().decode(written, chunk.shape, chunk.dtype), chunk)
    np.testing.assert_array_equal(oracle.tensorstore_reads(Png().encode(chunk), chunk.shape, dtype, "png"), chunk)


def test_any_width_and_height_are_read():
    chunk = np.arange(24, dtype=U1).reshape((2, 3, 4, 1), order="F")
    for width in (1, 2, 3, 4, 6, 8, 12, 24):
        pixels = np.arange(24, dtype=U1).reshape(-1, width)
        data = png(width, 24 // width, b"".join(b"\0" + line.tobytes() for line in pixels))
        np.testing.assert_array_equal(Png().decode(data, chunk.shape, U1), chunk)


def test_a_chunk_taller_than_pictures_may_be_is_written_wider():
    chunk = np.arange(2_400_000, dtype=np.uint16).reshape((1, 1500, 1600, 1))
    data = Png(png_level=1).encode(chunk)
    assert struct.unpack(">II", data[16:24]) == (3, 800_000)
    np.testing.assert_array_equal(Png().decode(data, chunk.shape, chunk.dtype), chunk)
    np.testing.assert_array_equal(oracle.tensorstore_reads(data, chunk.shape, "uint16", "png")[:, :9], chunk[:, :9])


@pytest.mark.parametrize("lines", [b"", b"\0" * 100])
def test_a_bomb_allocates_nothing(lines):
    data = png(60000, 60000, lines)
    tracemalloc.start()
    with pytest.raises(CorruptChunkError, match="60000 x 60000"):
        Png().decode(data, (64, 64, 64, 1), U1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("3 channels", png(2, 2, b"\0" * 14, colour=2)),
        ("0 channels", png(2, 2, b"\0" * 6, colour=3, extra=block(b"PLTE", bytes(6)))),
        ("16 bits", png(2, 2, b"\0" * 10, bits=16)),
        ("4 bits", png(2, 2, b"\0" * 4, bits=4)),
        ("decodes to", png(2, 2, b"\0" * 6, extra=block(b"tRNS", b"\0\1"))),
        ("Not enough image data", png(2, 2, b"\0" * 3)),
        ("signature", b"\x89PNG\r\n\x1a\r" + png(2, 2, b"\0" * 6)[8:]),
        ("header", b"\x89PNG\r\n\x1a\n" + block(b"IEND", b"") * 3),
        ("before its end", png(2, 2, b"\0" * 6)[:-12]),
        ("does not decode", b"\x89PNG\r\n\x1a\n" + png(2, 2, b"")[8:33] + block(b"IEND", b"")),
        ("does not decode", png(2, 2, b"\0" * 6)[:50] + b"\x99" + png(2, 2, b"\0" * 6)[51:]),
    ],
)
def test_what_is_wrong_is_said(what, data):
    with pytest.raises(CorruptChunkError, match=what):
        Png().decode(data, (2, 2, 1, 1), U1)


@pytest.mark.parametrize("level", [-1, 10, 1.5, "9", None, True])
def test_impossible_levels(level):
    with pytest.raises(MetadataError, match="png_level"):
        Png.from_settings({"png_level": level})


def test_the_level_is_used():
    chunk = TestPng().sample((40, 40, 10), "uint8", 1) % 4
    assert len(Png(png_level=9).encode(chunk)) < len(Png(png_level=0).encode(chunk)) / 2


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("shape", [(1, 40, 30, 1), (1, 300, 300, 3), (2, 90, 90, 2), (3, 2000, 1, 4), (1, 1, 1, 1)])
def test_rows_of_few_voxels(shape, level, rng):
    for dtype in (U1, np.dtype("u2")):
        chunk = rng.integers(0, 1 << 8 * dtype.itemsize, shape, dtype)
        np.testing.assert_array_equal(
            Png(png_level=level).decode(Png(png_level=level).encode(chunk), shape, dtype), chunk
        )
