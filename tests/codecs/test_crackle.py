import struct

import crackle
import google_crc32c
import numpy as np
import pytest

from volumekit.codecs.crackle import Crackle
from volumekit.codecs.crackle_checksums import checksum, checksum_of_zeros, power_sums
from volumekit.errors import CorruptChunkError
from volumekit.testing.codecs import CodecConformance

SHAPE = (21, 14, 9, 1)
U4 = np.dtype("u4")


class TestCrackle(CodecConformance):
    codec = Crackle()
    dtypes = ("uint8", "uint16", "uint32", "uint64")
    checksummed = True

    def reference_bytes(self, chunk):
        return crackle.compress(np.ascontiguousarray(chunk[..., 0]), markov_model_order=2, parallel=1)


def cells(dtype="u4"):
    """Return labels of regions, some of them in several places, with noise between them."""
    random = np.random.default_rng(5)
    x, y, z, _ = np.indices(SHAPE)
    chunk = ((x // 6 + 10 * (y // 5) + 100 * (z // 4)) % 77).astype(dtype)
    noise = random.random(SHAPE) < 0.02
    chunk[noise] = np.iinfo(dtype).max - random.integers(0, 9, noise.sum()).astype(dtype)
    return chunk


def stream(chunk, **how):
    return crackle.compress(np.asfortranarray(chunk[..., 0]), parallel=1, **how)


@pytest.mark.parametrize("pins", [0, 1, 2])
@pytest.mark.parametrize("order", [0, 1, 4])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8"])
def test_every_configuration_is_read(dtype, order, pins):
    chunk = cells(dtype)
    data = stream(chunk, markov_model_order=order, allow_pins=pins)
    assert crackle.header(data).label_format == (2 if pins else 0)
    np.testing.assert_array_equal(Crackle().decode(data, SHAPE, chunk.dtype), chunk)
    np.testing.assert_array_equal(Crackle().labels(data, SHAPE, chunk.dtype), np.unique(chunk))
    for label in [*np.unique(chunk).tolist()[::5], 999, -1, 1 << 70]:
        np.testing.assert_array_equal(Crackle().mask(data, label, SHAPE, chunk.dtype), chunk == label)


def test_crowded_labels_mark_where_voxels_are_the_same():
    chunk = np.random.default_rng(0).integers(0, 1 << 30, SHAPE, U4)
    chunk[:3] = 5
    data = stream(chunk)
    assert crackle.header(data).crack_format == 1
    np.testing.assert_array_equal(Crackle().decode(data, SHAPE, U4), chunk)


@pytest.mark.parametrize("x", [1, 63, 64, 65, 127, 128, 130])
@pytest.mark.parametrize("dense", [False, True])
def test_planes_as_wide_as_words(x, dense):
    random = np.random.default_rng(x)
    for y in (1, 2, 63, 70):
        chunk = np.zeros((x, y, 3, 1), U4)
        spots = random.random(chunk.shape) < (0.9 if dense else 0.05)
        chunk[spots] = random.integers(1, 1 << 20 if dense else 4, spots.sum())
        chunk[x // 2 :, :, 1] = 7
        np.testing.assert_array_equal(Crackle().decode(stream(chunk), chunk.shape, U4), chunk)


def walk(start, moves, size=(64, 5)):
    """Return a stream without checksums of one plane in two components, whose cracks are a walk."""
    codes = [(move - before) & 3 for move, before in zip(moves, [0, *moves], strict=False)]
    codes += [0] * (-len(codes) % 4)
    packed = bytes(sum(code << 2 * n for n, code in enumerate(codes[at : at + 4])) for at in range(0, len(codes), 4))
    x, y = start
    walks = struct.pack("<I", 4) + bytes([1, y, 1, x]) + packed
    labels = struct.pack("<Q2IH2B", 2, 3, 4, 2, 0, 1)
    head = struct.pack("<4sBH3IBI", b"crkl", 0, 2 | 2 << 2, *size, 1, 0, len(labels))
    return head + struct.pack("<I", len(walks)) + labels + walks


UP, RIGHT, DOWN, LEFT = range(4)
SIZE = (64, 5, 1, 1)


ACROSS = [RIGHT] * 64
END = [RIGHT, LEFT]


def test_a_walk_made_by_hand():
    expected = np.full(SIZE, 3, U4)
    expected[:, 2:] = 4
    np.testing.assert_array_equal(Crackle().decode(walk((0, 2), [*ACROSS, DOWN, UP]), SIZE, U4), expected)


@pytest.mark.parametrize(
    "moves",
    [
        [LEFT, UP, RIGHT, DOWN, *ACROSS, DOWN, UP],
        [*ACROSS, RIGHT, DOWN, UP],
        [*ACROSS, UP, UP, UP, LEFT, DOWN, *END],
        [*ACROSS, DOWN, DOWN, DOWN, DOWN, LEFT, UP, *END],
        [*ACROSS, *[UP] * 9, *[DOWN] * 9, *END],
        [*ACROSS, *[DOWN] * 9, *[UP] * 9, *END],
        [*[LEFT] * 500, *[RIGHT] * 500, *ACROSS, DOWN, UP],
    ],
)
def test_a_walk_that_leaves_the_plane_is_refused_even_if_it_returns(moves):
    with pytest.raises(CorruptChunkError, match="walks of plane 0"):
        Crackle().decode(walk((0, 2), moves), SIZE, U4)


def test_planes_that_are_not_asked_for_are_not_decoded():
    chunk = cells()
    data = bytearray(stream(chunk))
    data[crackle.codec.grid_index(bytes(data))[4] + 20] ^= 4
    out = np.zeros((21, 14, 4, 1), U4)
    assert Crackle().fill(bytes(data), SHAPE, out, (*np.s_[:, :, :4], slice(None)))
    np.testing.assert_array_equal(out, chunk[:, :, :4])
    with pytest.raises(CorruptChunkError, match="plane 4"):
        Crackle().fill(bytes(data), SHAPE, out, (*np.s_[:, :, 1:5], slice(None)))


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (70, 3), (200, 190)])
def test_checksums_are_those_of_all_voxels(size):
    random, voxels = np.random.default_rng(size[0]), size[0] * size[1]
    for count in {1, min(2, voxels), min(voxels, 300), voxels}:
        components = np.sort(random.integers(0, count, voxels)).astype("<u4")
        components = random.permutation(components) if count % 2 else components
        weights, sums = np.zeros(count, np.uint32), power_sums(voxels)
        ends = [*(np.flatnonzero(np.diff(components)) + 1).tolist(), voxels]
        for start, end in zip([0, *ends], ends, strict=False):
            weights[components[start]] ^= sums[voxels - start] ^ sums[voxels - end]
        found = checksum_of_zeros(voxels) ^ int(checksum(weights, count))
        assert found == google_crc32c.value(components.tobytes())


@pytest.mark.parametrize("bit", range(32))
def test_every_bit_of_a_checksum_counts(bit):
    data = bytearray(stream(cells()))
    data[-8 + bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptChunkError, match="plane 7 of the crackle stream has a wrong checksum"):
        Crackle().decode(bytes(data), SHAPE, U4)


def test_every_way_that_voxels_lie_in_memory():
    chunk = cells()
    data, large = stream(chunk), np.zeros((50, 40, 30, 2), U4)
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        for inside in (np.s_[:, :, :, :], np.s_[3:19:4, 2:14:5, 1:8:3, :], np.s_[20:, 13:, 8:, :]):
            out = large.transpose(*order, 3)[: SHAPE[0], : SHAPE[1], : SHAPE[2], 1:][inside]
            for view in (out, out[::-1]):
                large[...] = 9
                wanted = tuple(slice(*part.indices(n)) for part, n in zip(inside, SHAPE, strict=True))
                done = Crackle().fill(data, SHAPE, view, wanted)
                assert done == all(step > 0 for step in view.strides)
                np.testing.assert_array_equal(view, chunk[wanted] if done else 9)
                view[...] = 9
                assert (large == 9).all()


def test_voxels_between_others_are_told_to_be_elsewhere():
    pairs = np.zeros(SHAPE[:3][::-1], [("label", U4), ("note", "u1", 3)])
    out = pairs["label"].T[..., np.newaxis]
    assert not Crackle().fill(stream(cells()), SHAPE, out, (slice(None),) * 4)


def test_remapped_labels():
    chunk = cells()
    mapping = {int(label): int(label) % 3 for label in np.unique(chunk)}
    data = crackle.remap(stream(chunk), mapping)
    np.testing.assert_array_equal(Crackle().decode(data, SHAPE, U4), np.vectorize(mapping.get)(chunk))
    np.testing.assert_array_equal(Crackle().labels(data, SHAPE, U4), [0, 1, 2])


def test_the_package_reads_what_we_write():
    chunk = cells()
    data = Crackle().encode(chunk)
    assert data == stream(chunk)
    np.testing.assert_array_equal(crackle.decompress(data, parallel=1), chunk[..., 0])


def test_streams_of_version_0():
    chunk = cells()
    data = stream(chunk)
    planes = SHAPE[2]
    old = data[:4] + b"\0" + data[5:24] + data[29 : 29 + 4 * planes] + data[33 + 4 * planes : -4 * (planes + 1)]
    np.testing.assert_array_equal(crackle.decompress(old, parallel=1), chunk[..., 0])
    np.testing.assert_array_equal(Crackle().decode(old, SHAPE, U4), chunk)
    for end in range(len(old)):
        with pytest.raises(CorruptChunkError):
            Crackle().decode(old[:end], SHAPE, U4)


def test_planes_without_the_label_are_not_decoded():
    chunk = np.zeros(SHAPE, U4)
    chunk[3:6, 2:5] = 1
    chunk[7:9, 6:9, 4] = 9
    data = bytearray(stream(chunk))
    walks = crackle.codec.grid_index(bytes(data))
    for plane in (0, 3, 5, 8):
        data[walks[plane] + 8] ^= 0x55
    with pytest.raises(CorruptChunkError, match="plane 0"):
        Crackle().decode(bytes(data), SHAPE, U4)
    with pytest.raises(CorruptChunkError, match="plane 0"):
        Crackle().mask(bytes(data), 1, SHAPE, U4)
    np.testing.assert_array_equal(Crackle().mask(bytes(data), 9, SHAPE, U4), chunk == 9)
    np.testing.assert_array_equal(Crackle().labels(bytes(data), SHAPE, U4), [0, 1, 9])


def test_each_section_is_checked():
    data = stream(cells())
    head = crackle.header(data)
    index = 29 + 4 * SHAPE[2]
    walks = index + 4 + head.num_label_bytes
    for at, message in (
        (9, "header"),
        (28, "header"),
        (31, "fill it|cut short"),
        (index, "section"),
        (index + 5, "section"),
        (walks - 1, "section"),
        (walks + 20, "plane 0|walks of plane 0"),
        (len(data) - 1, "plane 8"),
    ):
        damaged = bytearray(data)
        damaged[at] ^= 4
        with pytest.raises(CorruptChunkError, match=message):
            Crackle().decode(bytes(damaged), SHAPE, U4)


def test_a_header_that_lies_with_a_right_checksum():
    data = bytearray(stream(cells()))
    struct.pack_into("<Q", data, 20, 1 << 60)
    data[28] = crackle.headers.crc8(data[5:28])
    with pytest.raises(CorruptChunkError, match="cut short"):
        Crackle().decode(bytes(data), SHAPE, U4)
    struct.pack_into("<3I", data, 7, 1 << 20, 1 << 20, 1 << 20)
    data[28] = crackle.headers.crc8(data[5:28])
    with pytest.raises(CorruptChunkError, match="declares uint32"):
        Crackle().decode(bytes(data), SHAPE, U4)


def test_more_branches_than_an_honest_model_makes():
    chunk = cells()[:, :, :1]
    data = bytearray(stream(chunk, markov_model_order=1))
    walks = 29 + 4 + 4 + crackle.header(bytes(data)).num_label_bytes + 3
    corners = 4 + int.from_bytes(data[walks : walks + 4], "little")
    longer = bytes(data[walks : walks + corners]) + bytes(1 << 17)  # always the most frequent move, in one bit
    data[29:33] = struct.pack("<I", len(longer))
    data[33:37] = struct.pack("<I", google_crc32c.value(bytes(data[29:33])))
    # The most frequent move is, after each, its opposite: up, down and so on begin a branch every time.
    data[walks - 3 : walks] = sum(12 << 5 * state for state in range(4)).to_bytes(3, "little")
    with pytest.raises(CorruptChunkError, match="walks of plane 0"):
        Crackle().decode(bytes(data[:walks]) + longer + bytes(data[-8:]), chunk.shape, U4)
