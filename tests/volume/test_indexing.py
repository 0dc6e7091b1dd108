"""Basic indexing: NumPy's rules in global coordinates."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.volume.sample import END, OFFSET, SHAPE, make, oracle
from volumekit import Bbox, Vec, Volume, VolumeCutout
from volumekit.errors import InvalidIndexError, OptionError, OutOfBoundsError


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return make(tmp_path_factory.mktemp("one") / "image")


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return make(tmp_path_factory.mktemp("three") / "image", channels=3)


INDICES = [
    (),
    ...,
    slice(None),
    np.s_[:, :, :],
    np.s_[:, :, :, :],
    np.s_[-5:3, 8:20, 101:117],
    np.s_[-5:0],
    np.s_[0],
    np.s_[-5],
    np.s_[31],
    np.s_[-1, 10, 105],
    np.s_[-1, 10, 105, 0],
    np.s_[..., 0],
    np.s_[..., 105, :],
    np.s_[3, ..., 0],
    np.s_[..., 0:1],
    np.s_[None],
    np.s_[:, None, 10],
    np.s_[..., None],
    np.s_[None, 3, None, ..., None, 0],
    np.s_[::3, ::2, ::5],
    np.s_[::-1],
    np.s_[::-2, ::-3, ::-1],
    np.s_[31:-6:-1, 20:10:-4, 118:99:-18],
    np.s_[-4:30:7, 9:10, 102:119:16],
    np.s_[::100],
    np.s_[20:20],
    np.s_[30:20],
    np.s_[5:9:-1, :, 3:3],
    np.s_[-(10**9) : -(10**9)],
    np.s_[np.int64(3), np.uint8(10), np.int32(105) : np.int16(110)],
    np.s_[np.array(3), :, 105],
    np.s_[..., ::-1],
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_reads_as_numpy_would(one, index):
    volume, array = one
    expected = oracle(array, OFFSET, index)
    found = volume[index]
    assert found.shape == expected.shape
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "index", [*INDICES, np.s_[..., 1], np.s_[..., ::2], np.s_[..., 2:0:-1], np.s_[..., 1:]], ids=str
)
def test_reads_channels_as_numpy_would(three, index):
    volume, array = three
    expected = oracle(array, OFFSET, index)
    np.testing.assert_array_equal(volume[index], expected, strict=False)
    assert volume[index].shape == expected.shape


def part(axis: int) -> st.SearchStrategy:
    low, high = (*OFFSET, 0)[axis], (*END, 3)[axis]
    ends = st.one_of(st.none(), st.integers(low, high - 1))
    steps = st.one_of(st.none(), st.integers(1, 9), st.integers(-9, -1))
    return st.one_of(st.integers(low, high - 1), st.builds(slice, ends, ends, steps))


@given(st.tuples(part(0), part(1), part(2), part(3)), st.integers(0, 4))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_basic_index(three, parts, used):
    volume, array = three
    index = parts[:used]
    np.testing.assert_array_equal(volume[index], oracle(array, OFFSET, index))


def test_a_read_is_a_writable_cutout_in_fortran_order(one):
    volume, _ = one
    cutout = volume[:]
    assert isinstance(cutout, VolumeCutout)
    assert cutout.shape == (*SHAPE, 1)
    assert cutout.flags.f_contiguous
    assert cutout.flags.writeable


def test_point_of_several_channels(three):
    volume, array = three
    assert volume[-5, 7, 100].shape == (3,)
    np.testing.assert_array_equal(volume[-5, 7, 100], array[0, 0, 0])


def test_boxes_are_indices(one):
    volume, array = one
    box = Bbox((-5, 10, 101), (3, 20, 109))
    expected = array[:8, 3:13, 1:9]
    np.testing.assert_array_equal(volume[box], expected)
    np.testing.assert_array_equal(volume[box, 0], expected[..., 0])
    np.testing.assert_array_equal(volume[Bbox((-20, 40, 4040), (12, 80, 4360), unit="nm")], expected)
    np.testing.assert_array_equal(volume[Bbox((-0.02, 0.04, 4.04), (0.012, 0.08, 4.36), unit="um")], expected)


def test_boxes_round_outward(one):
    volume, _ = one
    assert volume[Bbox((-19, 41, 4041), (9, 79, 4321), unit="nm")].bounds == Bbox((-5, 10, 101), (3, 20, 109))
    assert volume[Bbox((-4.5, 10.5, 101.2), (2.5, 19.1, 108.1))].bounds == Bbox((-5, 10, 101), (3, 20, 109))


def test_decimal_voxel_sizes_are_exact(tmp_path):
    volume, _ = make(tmp_path / "v", offset=(0, 0, 0), resolution=(0.1, 0.3, 0.7))
    box = Bbox((0.3, 0.9, 2.1), (0.7, 2.1, 4.9), unit="nm")
    assert volume[box].bounds == Bbox((3, 3, 3), (7, 7, 7))


@pytest.mark.parametrize(
    "index",
    [
        1.5,
        np.float64(3),
        "3",
        True,
        np.True_,
        slice(1.0, 3),
        slice(None, None, 0.5),
        slice(0, 3, 0),
        pytest.param(object(), id="object"),
        1j,
        np.s_[..., ...],
        np.s_[0, 10, 105, 0, 0],
        np.s_[:, :, :, :, :],
        {1},
        b"x",
        np.s_[True, 0],
        np.s_["0-64_0-64_0-64"],
    ],
    ids=repr,
)
def test_what_is_no_index(one, index):
    volume, _ = one
    with pytest.raises(InvalidIndexError) as caught:
        volume[index]
    assert isinstance(caught.value, IndexError)


@pytest.mark.parametrize(
    "index",
    [
        -6,
        32,
        np.s_[-6:0],
        np.s_[0:33],
        np.s_[:, 6],
        np.s_[:, :, 119],
        np.s_[..., 1],
        np.s_[..., -1],
        np.s_[..., 0:2],
        np.s_[32:33],
        np.s_[500],
        np.s_[-(10**30)],
        np.s_[0 : 2**70],
        np.s_[40:20:-5],
        np.s_[-5:44:12],
    ],
    ids=str,
)
def test_outside_is_an_error(one, index):
    volume, _ = one
    with pytest.raises(OutOfBoundsError) as caught:
        volume[index]
    assert isinstance(caught.value, IndexError)
    assert isinstance(caught.value, ValueError)


def test_steps_check_the_voxels_touched(one):
    volume, array = one
    np.testing.assert_array_equal(volume[-5:41:12], array[0:37:12])
    np.testing.assert_array_equal(volume[31:-17:-12], array[36::-12])
    np.testing.assert_array_equal(volume[-5 : 32 : 2**62], array[:1])


def test_the_error_says_where_the_volume_is(one):
    volume, _ = one
    with pytest.raises(OutOfBoundsError, match=r"x .*-5:32"):
        volume[40]


@pytest.mark.parametrize("bounded", [True, False])
def test_channels_are_always_bounded(one, bounded):
    volume = Volume(one[0].cloudpath, bounded=bounded)
    for channel in (1, -1, slice(0, 2), slice(-1, 1)):
        with pytest.raises(OutOfBoundsError, match="channel"):
            volume[..., channel]


UNBOUNDED = [
    np.s_[-20:20],
    np.s_[-9:50, 0:40, 90:130],
    np.s_[-6],
    np.s_[500:510, :, 105],
    np.s_[500, 500, 500],
    np.s_[-20:60:7, ::2, 130:90:-3],
    np.s_[40:-20:-1],
    np.s_[30:20],
]


@pytest.mark.parametrize("index", UNBOUNDED, ids=str)
@pytest.mark.parametrize("background", [0, 77])
def test_unbounded_reads_background_outside(three, index, background):
    volume = Volume(three[0].cloudpath, bounded=False, background_color=background)
    places, post = _wide_places(index)
    expected = np.full([len(p) for p in places], background, np.uint16)
    inside = [
        [n for n, at in enumerate(p) if lo <= at < hi]
        for p, lo, hi in zip(places, (*OFFSET, 0), (*END, 3), strict=True)
    ]
    source = [[p[n] - lo for n in kept] for p, kept, lo in zip(places, inside, (*OFFSET, 0), strict=True)]
    expected[np.ix_(*inside)] = three[1][np.ix_(*source)]
    found = volume[index]
    assert found.shape == expected[post].shape
    np.testing.assert_array_equal(found, expected[post])


def _wide_places(index):
    from tests.volume.sample import spelled

    places, post = spelled((*SHAPE, 3), OFFSET, index)
    return [[n + lo for n in p] for p, lo in zip(places, (*OFFSET, 0), strict=True)], post


def test_unbounded_cutouts_know_their_whole_box(one):
    volume = Volume(one[0].cloudpath, bounded=False)
    assert volume[-20:20, 0:40, 90:130].bounds == Bbox((-20, 0, 90), (20, 40, 130))


def test_autocrop(one):
    volume = Volume(one[0].cloudpath, bounded=False, autocrop=True)
    array = one[1]
    cutout = volume[-20:3, 0:40, 110:200]
    assert cutout.bounds == Bbox((-5, 7, 110), (3, 37, 119))
    np.testing.assert_array_equal(cutout, array[:8, :, 10:])
    stepped = volume[-20:60:7]
    np.testing.assert_array_equal(stepped, array[6::7])
    np.testing.assert_array_equal(volume[60:-20:-7], array[30::-7])
    assert volume[20:20].shape == (0, 30, 19, 1)
    assert volume[0:3, 200:100].shape == (3, 0, 19, 1)
    for outside in (np.s_[500:600], np.s_[500], np.s_[:, :, 0:3]):
        with pytest.raises(ValueError, match="inside"):
            volume[outside]


def test_bounded_and_autocrop_stays_an_error(one):
    with pytest.raises(OutOfBoundsError):
        Volume(one[0].cloudpath, autocrop=True)[-20:3]


def test_settings_can_be_assigned(one):
    volume = Volume(one[0].cloudpath)
    volume.bounded = False
    assert volume[-6:0].shape[0] == 6
    volume.autocrop = True
    assert volume[-6:0].shape[0] == 5
    volume.bounded = True
    with pytest.raises(OutOfBoundsError):
        volume[-6:0]


def test_array_protocol(one):
    volume, array = one
    np.testing.assert_array_equal(np.asarray(volume), array)
    assert type(np.asarray(volume)) is np.ndarray
    assert np.asarray(volume, dtype=np.float32).dtype == np.float32
    assert np.array(volume).shape == array.shape
    with pytest.raises(ValueError, match="copy"):
        np.asarray(volume, copy=False)


def test_len_iteration_and_sizes(one):
    volume, array = one
    assert len(volume) == 37
    planes = list(volume)
    assert len(planes) == 37
    np.testing.assert_array_equal(np.stack(planes), array)
    assert (volume.ndim, volume.size, volume.nbytes) == (4, array.size, array.nbytes)
    assert volume.dtype == np.dtype("uint16")
    assert volume.shape == (*SHAPE, 1)
    assert volume.chunks == (16, 16, 8, 1)


def test_boxes_of_another_rank(one):
    with pytest.raises((InvalidIndexError, OptionError)):
        one[0][Bbox((0, 0, 0, 0, 0), (1, 1, 1, 1, 1))]


def test_a_vec_of_numbers_must_be_spelled_out(one):
    volume, array = one
    np.testing.assert_array_equal(volume[tuple(Vec(0, 10, 105))], array[5, 3, 5])
