import math
import struct
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.codecs import oracle
from volumekit.codecs import compressed_segmentation as module
from volumekit.codecs import compressed_segmentation_arrays as arrays
from volumekit.codecs.compressed_segmentation import CompressedSegmentation
from volumekit.compiled import available
from volumekit.errors import CorruptChunkError, MetadataError, UnsupportedError
from volumekit.testing.codecs import CodecConformance

needs_numba = pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
NAME = "compressed_segmentation"
SETTING = "compressed_segmentation_block_size"
CODEC = CompressedSegmentation((8, 8, 8))


def implementations():
    from volumekit.codecs import compressed_segmentation_compiled as compiled

    return arrays, compiled


@pytest.fixture(params=["arrays", pytest.param("compiled", marks=needs_numba)])
def implementation(request, monkeypatch):
    found = import_module(f"volumekit.codecs.compressed_segmentation_{request.param}")
    monkeypatch.setattr(module, "_implementation", lambda: found)


@pytest.mark.usefixtures("implementation")
class TestCompressedSegmentation(CodecConformance):
    codec = CODEC
    dtypes = ("uint32", "uint64")
    channels = (1, 2, 3, 4, 5, 6)
    knows_shape = False

    def reference_bytes(self, chunk):
        return naive(chunk, (8, 8, 8))


class TestOddBlocks(TestCompressedSegmentation):
    codec = CompressedSegmentation((3, 20, 5))
    channels = (1, 2)

    def reference_bytes(self, chunk):
        return naive(chunk, (3, 20, 5))


def naive(chunk, block) -> bytes:
    """Encode voxel by voxel, from the specification."""
    channels = [naive_channel(chunk[..., c], block) for c in range(chunk.shape[3])]
    offsets = [len(channels) + sum(map(len, channels[:c])) for c in range(len(channels))]
    return struct.pack(f"<{len(offsets)}I", *offsets) + b"".join(struct.pack(f"<{len(c)}I", *c) for c in channels)


def naive_channel(voxels, block):
    grid = [math.ceil(n / b) for n, b in zip(voxels.shape, block, strict=True)]
    words, tables = [0] * (2 * math.prod(grid)), {}
    for number, (gz, gy, gx) in enumerate(np.ndindex(*grid[::-1])):
        start = [g * b for g, b in zip((gx, gy, gz), block, strict=True)]
        part = voxels[tuple(slice(s, s + b) for s, b in zip(start, block, strict=True))]
        table = tuple(sorted({int(v) for v in part.flat}))
        bits = next(b for b in (0, 1, 2, 4, 8, 16, 32) if 2**b >= len(table))
        packed = 0
        for x, y, z in np.ndindex(*part.shape):
            packed |= table.index(int(part[x, y, z])) << bits * (x + block[0] * (y + block[1] * z))
        values = len(words)
        words += [packed >> 32 * i & 0xFFFFFFFF for i in range(math.ceil(math.prod(block) * bits / 32))]
        if table not in tables:
            tables[table] = len(words)
            for label in table:
                words += [label & 0xFFFFFFFF, label >> 32][: voxels.dtype.itemsize // 4]
        words[2 * number : 2 * number + 2] = tables[table] | bits << 24, values
    return words


def labels(shape, dtype, seed=0, kinds=40):
    """Return cells around random points, with random labels."""
    random = np.random.default_rng(seed)
    points = random.uniform(0, 1, (kinds, 3)) * shape[:3]
    voxels = np.stack(np.indices(shape[:3]), axis=-1)
    nearest = ((voxels[..., None, :] - points) ** 2).sum(axis=-1).argmin(axis=-1)
    names = random.integers(1, np.iinfo(dtype).max, (kinds, shape[3]), dtype)
    return names[nearest]


@needs_numba
@given(
    shape=st.tuples(st.integers(1, 19), st.integers(1, 19), st.integers(1, 12), st.integers(1, 2)),
    block=st.tuples(*[st.integers(1, 21)] * 3),
    dtype=st.sampled_from(["uint32", "uint64"]),
    most=st.sampled_from([1, 2, 3, 5, 17, 300, 2**31]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_arrays_and_kernels_write_the_bytes_of_the_specification(shape, block, dtype, most, seed):
    chunk = np.asfortranarray(np.random.default_rng(seed).integers(0, most, shape, dtype))
    chunk[:, : shape[1] // 2] = chunk[0, 0, 0]
    wanted = naive_channel(chunk[..., 0], block)
    for implementation in implementations():
        words = implementation.encode_channel(chunk[..., 0], block)
        assert words.tolist() == wanted
        out = np.empty(shape[:3], dtype, order="F")
        assert implementation.decode_channel(words, 0, out, block) == 0
        np.testing.assert_array_equal(out, chunk[..., 0])


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
@pytest.mark.parametrize(
    ("shape", "block"),
    [
        ((32, 32, 32, 1), (8, 8, 8)),
        ((33, 20, 9, 2), (8, 8, 8)),
        ((5, 3, 2, 1), (8, 8, 8)),
        ((20, 30, 10, 1), (16, 4, 3)),
    ],
)
def test_tensorstore_writes_our_bytes_and_reads_them(shape, block, dtype):
    chunk = labels(shape, dtype)
    setting = {SETTING: block}
    codec = CompressedSegmentation.from_settings(setting)
    data = codec.encode(chunk)
    assert data == oracle.tensorstore_writes(chunk, NAME, **setting)
    np.testing.assert_array_equal(oracle.tensorstore_reads(data, shape, dtype, NAME, **setting), chunk)
    np.testing.assert_array_equal(codec.decode(data, shape, chunk.dtype), chunk)


@pytest.mark.usefixtures("implementation")
def test_vectors_of_the_specification():
    chunk = np.zeros((4, 4, 4, 1), np.uint32)
    chunk[2:], chunk[3, 3, 3] = 7, 9
    data = bytes.fromhex("01000000 06000002 02000000 50505050 50505050 50505050 50505090 00000000 07000000 09000000")
    codec = CompressedSegmentation((4, 4, 4))
    assert codec.encode(chunk) == data
    np.testing.assert_array_equal(codec.decode(data, chunk.shape, chunk.dtype), chunk)
    chunk = np.full((2, 2, 2, 1), 5, np.uint64)
    data = bytes.fromhex("01000000 02000000 02000000 05000000 00000000")
    assert CODEC.encode(chunk) == data
    np.testing.assert_array_equal(CODEC.decode(data, chunk.shape, chunk.dtype), chunk)


def words(*numbers) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


# One channel of 8 voxels in one block of (8, 1, 1): offset, header (2), packed voxels (1), table (2).
GOOD = (1, 3 | 1 << 24, 2, 0b10110010, 11, 22)


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("headers", words(5, *GOOD[1:])),
        ("headers", words(0xFFFFFFFF, *GOOD[1:])),
        ("headers", words(1)),
        ("headers", words(1, 1)),
        ("bits", words(1, 3 | 3 << 24, *GOOD[2:])),
        ("bits", words(1, 3 | 33 << 24, *GOOD[2:])),
        ("bits", words(1, 3 | 64 << 24, *GOOD[2:])),
        ("bits", words(1, 3 | 255 << 24, *GOOD[2:])),
        ("packed voxels", words(1, 3 | 1 << 24, 5, *GOOD[3:])),
        ("packed voxels", words(1, 3 | 1 << 24, 0xFFFFFFFF, *GOOD[3:])),
        ("packed voxels", words(1, 3 | 32 << 24, 2, *GOOD[3:])),
        ("table", words(1, 5 | 1 << 24, *GOOD[2:])),
        ("table", words(1, 0xFFFFFF | 1 << 24, *GOOD[2:])),
        ("table", words(1, 0xFFFFFF, *GOOD[2:])),
        ("table", words(*GOOD[:-1])),
        ("bytes are no", words(*GOOD)[:-1]),
        ("bytes are no", b""),
    ],
)
def test_every_offset_is_checked(what, data):
    codec = CompressedSegmentation((8, 1, 1))
    shape = (8, 1, 1, 1)
    good = codec.decode(words(*GOOD), shape, np.dtype("u4"))
    assert good.ravel().tolist() == [11, 22, 11, 11, 22, 22, 11, 22]
    with pytest.raises(CorruptChunkError, match=what):
        codec.decode(data, shape, np.dtype("u4"))


@pytest.mark.usefixtures("implementation")
def test_wide_labels_need_both_words():
    codec = CompressedSegmentation((8, 1, 1))
    good = words(1, 3 | 1 << 24, 2, 0b10110010, 11, 1, 22, 0)
    assert codec.decode(good, (8, 1, 1, 1), np.dtype("u8"))[:2].ravel().tolist() == [2**32 + 11, 22]
    with pytest.raises(CorruptChunkError, match="table"):
        codec.decode(good[:-4], (8, 1, 1, 1), np.dtype("u8"))


def outcome(implementation, data, shape, dtype, block):
    out = np.zeros(shape[:3], dtype, order="F")
    damage = implementation.decode_channel(data, 1, out, block)
    return damage or out.tobytes(order="F")


@needs_numba
@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_arrays_and_kernels_agree_on_damaged_bytes(dtype):
    shape, block = (13, 9, 10, 1), (4, 8, 3)
    data = np.frombuffer(CompressedSegmentation(block).encode(labels(shape, dtype, kinds=9)), np.uint32)
    random = np.random.default_rng(1)
    seen = set()
    for _ in range(400):
        damaged = data[: random.integers(len(data) // 2, len(data) + 1)].copy()
        for at in random.integers(0, min(len(damaged), 80), random.integers(0, 3)):
            damaged[at] ^= np.uint32(1) << np.uint32(random.integers(32))
        damaged.flags.writeable = False
        results = [outcome(implementation, damaged, shape, dtype, block) for implementation in implementations()]
        assert results[0] == results[1]
        seen.add(results[0] if isinstance(results[0], int) else "voxels")
    assert seen == {"voxels", 2, 3, 4}


@needs_numba
def test_nothing_is_read_behind_the_data():
    """Reading beyond a view would see the marks around it instead of failing."""
    memory = np.full(64, 0xABABABAB, np.uint32)
    memory[20:26] = GOOD
    view = memory[20:25]
    view.flags.writeable = False
    out = np.zeros((8, 1, 1), np.uint32, order="F")
    for implementation in implementations():
        assert implementation.decode_channel(view, 1, out, (8, 1, 1)) == 4


@pytest.mark.usefixtures("implementation")
def test_enormous_blocks_allocate_nothing():
    codec = CompressedSegmentation((2**31 - 1,) * 3)
    chunk = np.full((3, 4, 5, 1), 7, np.uint64)
    data = codec.encode(chunk)
    assert len(data) == 20
    np.testing.assert_array_equal(codec.decode(data, chunk.shape, chunk.dtype), chunk)
    with pytest.raises(CorruptChunkError, match="packed voxels"):
        codec.decode(words(1, 2 | 1 << 24, 0, 0, 0, 0), chunk.shape, chunk.dtype)
    chunk[0, 0, 0] = 8
    with pytest.raises(UnsupportedError, match="64 MiB"):
        codec.encode(chunk)


@pytest.mark.usefixtures("implementation")
def test_the_last_place_of_a_table():
    chunk = np.array([1, 2], np.uint32).reshape(2, 1, 1, 1)
    longest = (1 << 24) - 3  # words of packed voxels between the headers and the table
    codec = CompressedSegmentation((32 * longest, 1, 1))
    data = codec.encode(chunk)
    assert data[4:8] == b"\xff\xff\xff\x01"
    np.testing.assert_array_equal(codec.decode(data, chunk.shape, chunk.dtype), chunk)
    with pytest.raises(UnsupportedError, match="64 MiB"):
        CompressedSegmentation((32 * longest + 1, 1, 1)).encode(chunk)


@pytest.mark.usefixtures("implementation")
def test_equal_tables_are_stored_once():
    chunk = np.zeros((64, 8, 8, 1), np.uint64)
    chunk[::2] = 2**40
    assert len(CODEC.encode(chunk)) == 4 * (1 + 8 * 2 + 8 * 16 + 2 * 2)


@pytest.mark.parametrize(
    "block",
    [None, 8, "888", (8, 8), (8, 8, 8, 8), (0, 8, 8), (8, -8, 8), (8, 8, 8.0), (8, 8, True), (8, 8, 2**31)],
)
def test_impossible_block_sizes(block):
    with pytest.raises(MetadataError, match=SETTING):
        CompressedSegmentation.from_settings({SETTING: block})


def test_the_block_size_is_required():
    with pytest.raises(MetadataError, match=SETTING):
        CompressedSegmentation.from_settings({})


def test_lists_of_json_make_the_same_codec():
    assert CompressedSegmentation.from_settings({SETTING: [8, 8, 8]}) == CODEC
    assert hash(CompressedSegmentation.from_settings({SETTING: [8, 8, 8]})) == hash(CODEC)


def test_memory_that_is_not_aligned_is_read():
    chunk = labels((9, 9, 9, 1), "uint64")
    data = memoryview(b"?" + CODEC.encode(chunk))[1:]
    np.testing.assert_array_equal(CODEC.decode(data, chunk.shape, chunk.dtype), chunk)
