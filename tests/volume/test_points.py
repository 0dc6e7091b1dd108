"""Integer arrays and masks, read and written by NumPy's rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.volume.sample import OFFSET, SHAPE, empty, make
from volumekit import Volume, VolumeCutout
from volumekit.errors import (
    AlignmentError,
    CastError,
    InvalidIndexError,
    MissingChunkError,
    OutOfBoundsError,
    ShapeError,
)

X, Y, Z = [-5, 0, 31, 0], [7, 20, 36, 20], [100, 110, 118, 110]


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return make(tmp_path_factory.mktemp("three") / "image", channels=3)


@pytest.fixture
def writable(tmp_path):
    return make(tmp_path / "image", channels=3, non_aligned_writes=True)


def local(index):
    """Shift an index from global coordinates to array positions."""
    parts, shifted = (index if isinstance(index, tuple) else (index,)), []
    for part, low in zip(parts, (*OFFSET, 0), strict=False):
        if isinstance(part, slice):
            start = None if part.start is None else part.start - low
            stop = None if part.stop is None or part.stop < low else part.stop - low
            shifted.append(slice(start, stop, part.step))
        else:
            shifted.append(np.asarray(part, np.int64) - low)
    return tuple(shifted)


INDICES = [
    (X, Y, Z),
    (X, Y, Z, [0, 1, 2, 0]),
    (X, Y, Z, 1),
    (X,),
    ([],),
    ([], [], []),
    (X, [20], Z),
    (np.array(X)[:, None], np.array(Y)[None, :], 105),
    (np.array([X, X]), np.array([Y, Y]), np.array([Z, Z])),
    (X, slice(7, 12), 105),
    (X, slice(None), Z),
    (slice(-5, 20, 6), Y, Z),
    (slice(31, -6, -6), Y, slice(None, None, 5), 2),
    (slice(None), 10, Z),
    (slice(None), slice(8, 10), Z, [0, 2, 2, 1]),
    (slice(3, 3), Y),
    (np.array([True, False] * 2).astype(np.int8), np.array(Y, np.uint64)),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_reads_points_as_numpy_would(three, index):
    volume, array = three
    expected = array[local(index)]
    found = volume[index]
    assert isinstance(found, VolumeCutout)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(Volume(volume.cloudpath, bounded=False)[index], expected)


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("compress", [None, "gzip"])
def test_writes_points_as_numpy_would(writable, index, compress):
    volume, array = writable
    volume.compress = compress
    expected = array.copy()
    values = np.arange(array[local(index)].size, dtype=np.uint16).reshape(array[local(index)].shape) % 5
    expected[local(index)] = values
    volume[index] = values
    np.testing.assert_array_equal(volume[:], expected)
    volume[index] = 3
    expected[local(index)] = 3
    np.testing.assert_array_equal(volume[:], expected)


@given(st.lists(st.tuples(*[st.integers(0, n - 1) for n in SHAPE]), max_size=30))
@settings(max_examples=40, deadline=None)
def test_any_points(three, points):
    volume, array = three
    place = np.array(points, np.int64).reshape(-1, 3)
    np.testing.assert_array_equal(volume.points(place + OFFSET), array[tuple(place.T)])


@pytest.mark.parametrize("rank", [3, 4])
def test_masks_read_and_write(writable, rng, rank):
    volume, array = writable
    mask = rng.random(array.shape[:rank]) < 0.01
    np.testing.assert_array_equal(volume[mask], array[mask])
    assert volume[mask].shape == array[mask].shape
    values = rng.integers(0, 99, array[mask].shape).astype(np.uint16)
    expected = array.copy()
    expected[mask] = values
    volume[mask] = values
    np.testing.assert_array_equal(volume[:], expected)
    volume[mask] = 7
    expected[mask] = 7
    np.testing.assert_array_equal(volume[:], expected)


def test_a_mask_of_voxels_with_a_channel(writable):
    volume, array = writable
    mask = array[..., 0] > 40000
    np.testing.assert_array_equal(volume[mask, 2], array[mask, 2])
    np.testing.assert_array_equal(volume[mask, 0:2], array[mask, 0:2])
    expected = array.copy()
    expected[mask, 1] = 5
    volume[mask, 1] = 5
    np.testing.assert_array_equal(volume[:], expected)


def test_a_comparison_is_a_mask(three):
    volume, array = three
    np.testing.assert_array_equal(volume[volume[:] > 60000], array[array > 60000])


def test_empty_and_full_masks(three):
    volume, array = three
    assert volume[np.zeros(SHAPE, bool)].shape == (0, 3)
    np.testing.assert_array_equal(volume[np.ones(SHAPE, bool)], array[np.ones(SHAPE, bool)])


@pytest.mark.parametrize(
    "index",
    [
        np.ones((3, 3, 3), bool),
        np.ones(37, bool),
        [True, False],
        [1.5, 2.0],
        np.array(["a"]),
        ([0, 1], [7, 8, 9]),
        (None, X, Y, Z),
        (X, Y, Z, [0] * 4, [0] * 4),
        ([[0, 1], [2]],),
    ],
    ids=str,
)
def test_what_is_no_index(three, index):
    with pytest.raises(InvalidIndexError):
        three[0][index]


@pytest.mark.parametrize("index", [([-6],), ([32],), (X, Y, [99] * 4), (X, Y, Z, [3]), (X, Y, Z, [-1])], ids=str)
def test_outside_is_an_error(three, writable, index):
    with pytest.raises(OutOfBoundsError):
        three[0][index]
    with pytest.raises(OutOfBoundsError):
        writable[0][index] = 1
    np.testing.assert_array_equal(writable[0][:], writable[1])


def test_unbounded_points_outside_are_background(three):
    volume = Volume(three[0].cloudpath, bounded=False, background_color=9)
    found = volume[[-5, 500, -900], [7, 8, 9], [100, 101, 102]]
    np.testing.assert_array_equal(found, [three[1][0, 0, 0], [9] * 3, [9] * 3])
    np.testing.assert_array_equal(volume.points([[-900, 0, 0]]), [[9, 9, 9]])
    mixed = volume[[-6, -5], 5:9, 100, 0]
    np.testing.assert_array_equal(mixed, [[9, 9, 9, 9], [9, 9, *three[1][0, :2, 0, 0]]])
    with pytest.raises(OutOfBoundsError, match="channel"):
        volume[[0], [10], [105], [3]]


def test_unbounded_writes_outside_are_still_errors(three):
    volume = Volume(three[0].cloudpath, bounded=False, non_aligned_writes=True)
    with pytest.raises(OutOfBoundsError):
        volume[[500], [8], [101]] = 1


def test_points_by_coordinates(three):
    volume, array = three
    points = np.array([[0, 10, 105], [-5, 7, 100], [0, 10, 105]])
    found = volume.points(points)
    assert found.shape == (3, 3)
    np.testing.assert_array_equal(found, array[tuple((points - OFFSET).T)])
    assert volume.points([]).shape == (0, 3)
    for wrong in ([1, 2, 3], [[1, 2]], [[1.5, 2, 3]], [["a", "b", "c"]]):
        with pytest.raises(ShapeError):
            volume.points(wrong)


def test_point_cutouts_know_their_volume_but_no_box(three):
    cutout = three[0].points([[0, 10, 105]])
    assert (cutout.bounds, cutout.mip, cutout.layer) == (None, 0, "image")
    assert tuple(cutout.resolution) == (4, 4, 40)


def test_scattered_points(tmp_path, three):
    volume, array = three
    found = volume.scattered_points([(0, 10, 105)])
    np.testing.assert_array_equal(found[0, 10, 105], array[5, 3, 5])
    single, array = make(tmp_path / "one")
    assert single.scattered_points([(0, 10, 105)]) == {(0, 10, 105): array[5, 3, 5, 0]}


def test_point_reads_fetch_only_their_chunks(tmp_path):
    volume = empty(tmp_path / "v", non_aligned_writes=True)
    volume[-5:11, 7:23, 100:108] = 3
    assert volume.points([[0, 10, 105]]).item() == 3
    with pytest.raises(MissingChunkError):
        volume.points([[0, 10, 105], [30, 10, 105]])
    filling = Volume(volume.cloudpath, fill_missing=True, background_color=8)
    np.testing.assert_array_equal(filling.points([[0, 10, 105], [30, 10, 105]]), [[3], [8]])


def test_the_last_of_equal_points_wins(writable):
    volume, _ = writable
    volume[[0, 0, 0], [10, 10, 10], [105, 105, 105], 0] = [1, 2, 3]
    assert volume[0, 10, 105, 0] == 3


def test_writing_points_needs_unaligned_writes_and_fitting_values(three, writable):
    with pytest.raises(AlignmentError, match="non_aligned_writes"):
        three[0][X, Y, Z] = 1
    with pytest.raises(CastError):
        writable[0][X, Y, Z] = 1.5
    with pytest.raises(ShapeError):
        writable[0][X, Y, Z] = [1, 2]
    np.testing.assert_array_equal(writable[0][:], writable[1])
