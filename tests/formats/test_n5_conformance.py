"""N5 passes the kit; blocks of the references are made by hand."""

import bz2
import gzip
import lzma
import struct
import zlib
from typing import ClassVar

import numcodecs

from tests.formats.levels import levels_of
from volumekit.formats.n5.create import create_n5
from volumekit.testing.datasets import cells
from volumekit.testing.formats import FormatConformance

DTYPES = (
    "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float64", "float32",
)  # fmt: skip


class N5Conformance(FormatConformance):
    compressor: ClassVar = "raw"
    native = True
    fill_missing = True
    exact = False
    channels = (1, 3)
    mips = 1
    optional = ("attributes.json",)

    def pack(self, data):
        return data

    def create(self, layout):
        return create_n5(levels_of(layout, self.mips), compressor=self.compressor)

    def reference(self, layout, voxels):
        fmt = self.create(layout)
        level, found = fmt.levels[0], dict(fmt.metadata())
        size, rank = (*layout.chunk, 1), 3 if layout.channels == 1 else 4
        for cell in cells(level):
            part = voxels[tuple(slice(at * n, (at + 1) * n) for at, n in zip(cell, size, strict=True))]
            header = struct.pack(f">HH{rank}I", 0, rank, *part.shape[:rank])
            values = part.astype(part.dtype.newbyteorder(">")).tobytes(order="F")
            found[f"s0/{'/'.join(map(str, cell[:rank]))}"] = header + self.pack(values)
        return found


class TestRaw(N5Conformance):
    dtypes = DTYPES


class TestGzip(N5Conformance):
    """Blocks of which TensorStore writes those at the end in full size."""

    compressor, mips = "gzip", 0
    dtypes = ("uint8", "uint16")

    def pack(self, data):
        return gzip.compress(data, 1)


class TestZlib(N5Conformance):
    channels, mips = (3,), 0
    compressor = "zlib"
    dtypes = ("uint16",)

    def pack(self, data):
        return zlib.compress(data)


class TestBzip2(N5Conformance):
    channels, mips = (3,), 0
    compressor = "bzip2"
    dtypes = ("uint16",)

    def pack(self, data):
        return bz2.compress(data)


class TestXz(N5Conformance):
    channels, mips = (3,), 0
    compressor = "xz:1"
    dtypes = ("uint16",)

    def pack(self, data):
        return lzma.compress(data)


class TestBlosc(N5Conformance):
    channels, mips = (3,), 0
    compressor = "blosc:zstd:3"
    dtypes = ("uint16", "float64")

    def pack(self, data):
        return numcodecs.Blosc("zstd").encode(data)


class TestZstd(N5Conformance):
    channels, mips = (3,), 0
    compressor = "zstd"
    dtypes = ("uint16",)

    def pack(self, data):
        return numcodecs.Zstd(1).encode(data)


class TestLz4(N5Conformance):
    """In Python: TensorStore does not have it. z5 stores a block without a header, and so does the reference."""

    compressor = "lz4"
    native = False
    dtypes = ("uint16", "uint8")

    def pack(self, data):
        return numcodecs.LZ4().encode(data)[4:]


class TestOverFsspec(N5Conformance):
    """Through Python alone."""

    mips = 0
    dtypes = ("uint32",)
    protocols = ("local",)


def test_the_kit_sees_every_compression():
    from volumekit.formats.n5.compression import TYPES

    seen = {kind.compressor.partition(":")[0] for kind in N5Conformance.__subclasses__()}
    assert seen == {*TYPES, "zlib"}
