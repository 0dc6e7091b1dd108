import itertools
import struct

import compresso
import numpy as np
import pytest

from volumekit.codecs.compresso import Compresso
from volumekit.errors import CorruptChunkError, UnsupportedError
from volumekit.testing.codecs import CodecConformance

SHAPE = (21, 14, 9, 1)
U4 = np.dtype("u4")


class TestCompresso(CodecConformance):
    codec = Compresso()
    dtypes = ("uint8", "uint16", "uint32", "uint64")

    def reference_bytes(self, chunk):
        return compresso.compress(np.asfortranarray(chunk[..., 0]), steps=(8, 8, 1), random_access_z_index=False)


def cells(dtype="u4"):
    """Return labels of regions, with noise between them, and the largest label there can be."""
    random = np.random.default_rng(5)
    x, y, z, _ = np.indices(SHAPE)
    chunk = (x // 6 + 10 * (y // 5) + 100 * (z // 4)).astype(dtype)
    noise = random.random(SHAPE) < 0.03
    chunk[noise] = np.iinfo(dtype).max - random.integers(0, 9, noise.sum()).astype(dtype)
    return chunk


@pytest.mark.parametrize("connectivity", [4, 6])
@pytest.mark.parametrize("steps", [(2, 2, 2), (4, 4, 1), (4, 4, 2), (8, 8, 1), (3, 5, 2), (1, 1, 1), (4, 4, 4)])
def test_every_configuration_is_read(steps, connectivity):
    for dtype, indexed in itertools.product(("u1", "u8"), (True, False)):
        chunk = cells(dtype)
        data = compresso.compress(
            np.asfortranarray(chunk[..., 0]), steps=steps, connectivity=connectivity, random_access_z_index=indexed
        )
        np.testing.assert_array_equal(Compresso().decode(data, SHAPE, chunk.dtype), chunk)
        np.testing.assert_array_equal(Compresso().labels(data, SHAPE, chunk.dtype), np.unique(chunk))


@pytest.mark.parametrize("connectivity", [4, 6])
@pytest.mark.parametrize("shape", [(1, 1, 65000, 1), (3, 3, 500, 1), (5, 1, 900, 1), (1, 7, 9, 1)])
@pytest.mark.parametrize("labels", [1, 2, 1 << 30])
def test_planes_of_an_odd_number_of_voxels(shape, labels, connectivity):
    chunk = np.random.default_rng(3).integers(0, labels, shape, U4)
    data = compresso.compress(np.asfortranarray(chunk[..., 0]), connectivity=connectivity)
    np.testing.assert_array_equal(Compresso().decode(data, shape, U4), chunk)


def test_the_package_reads_what_we_write():
    chunk = cells()
    data = Compresso().encode(chunk)
    assert data == compresso.compress(np.asfortranarray(chunk[..., 0]))
    np.testing.assert_array_equal(compresso.decompress(data), chunk[..., 0])


@pytest.mark.parametrize(
    ("at", "layout", "value", "message"),
    [
        (4, "B", 2, "version"),
        (5, "B", 8, "declare uint64"),
        (6, "H", 20, "declare uint32"),
        (12, "B", 0, "windows of"),
        (12, "B", 200, "windows of"),
        (15, "Q", 1 << 60, "cut short"),
        (23, "I", 1 << 31, "cut short"),
        (27, "Q", (1 << 64) - 1, "cut short"),
        (35, "B", 5, "version"),
    ],
)
def test_headers_that_cannot_be(at, layout, value, message):
    data = bytearray(Compresso().encode(cells()))
    struct.pack_into(f"<{layout}", data, at, value)
    with pytest.raises(CorruptChunkError, match=message):
        Compresso().decode(bytes(data), SHAPE, U4)


def test_labels_and_locations_must_be_as_many_as_needed():
    chunk = cells()
    data = Compresso().encode(chunk)
    head = compresso.header(data)
    count, locations = head["id_size"], head["location_size"]
    contents = 36 + 4 * count
    tables = contents + 2 * head["value_size"]
    fewer = bytearray(data[:36] + data[40:])
    struct.pack_into("<Q", fewer, 15, count - 1)
    with pytest.raises(CorruptChunkError, match="components"):
        Compresso().decode(bytes(fewer), SHAPE, U4)
    more = bytearray(data[:tables] + bytes([7, 0, 0, 0]) + data[tables:])
    struct.pack_into("<Q", more, 27, locations + 1)
    with pytest.raises(CorruptChunkError, match="boundary voxel"):
        Compresso().decode(bytes(more), SHAPE, U4)
    for direction in range(6):
        pointing = bytearray(data)
        pointing[tables : tables + 4 * locations] = struct.pack("<I", direction) * locations
        with pytest.raises(CorruptChunkError, match="boundary voxel"):
            Compresso().decode(bytes(pointing), SHAPE, U4)
    windows = tables + 4 * locations
    for entry in (0xFFFF, 0xFFFE):
        wrong = bytearray(data)
        struct.pack_into("<H", wrong, windows, entry)
        with pytest.raises(CorruptChunkError, match="window"):
            Compresso().decode(bytes(wrong), SHAPE, U4)


def test_long_axes_are_refused():
    with pytest.raises(UnsupportedError, match="65535"):
        Compresso().encode(np.zeros((65536, 1, 1, 1), "u1"))
