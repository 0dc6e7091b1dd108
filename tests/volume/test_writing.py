"""Slice assignment: broadcasting, casts, alignment; nothing else is ever touched."""

import gzip
import io

import numpy as np
import pytest
from PIL import Image

from tests.volume.sample import CHUNK, OFFSET, SHAPE, empty, make, oracle, spelled
from volumekit import Bbox, Volume
from volumekit.codecs.jpeg import Jpeg
from volumekit.errors import (
    AlignmentError,
    CastError,
    InvalidIndexError,
    OutOfBoundsError,
    ReadOnlyError,
    ShapeError,
    VolumekitError,
)

WAYS = [None, "gzip"]
"""Natively, and through the bridge."""


@pytest.fixture(params=WAYS, ids=["native", "bridge"])
def one(request, tmp_path):
    return make(tmp_path / "image", non_aligned_writes=True, compress=request.param)


@pytest.fixture(params=WAYS, ids=["native", "bridge"])
def three(request, tmp_path):
    return make(tmp_path / "image", channels=3, non_aligned_writes=True, compress=request.param)


def assigned(array, index, value):
    """Return the array after NumPy assigned ``value``."""
    places, post = spelled(array.shape, OFFSET, index)
    selected = array[np.ix_(*places)]
    selected[post] = value
    out = array.copy()
    out[np.ix_(*places)] = selected
    return out


INDICES = [
    (),
    np.s_[-5:11, 7:23, 100:108],
    np.s_[-4:30, 8:20, 101:117],
    np.s_[0],
    np.s_[0, 10, 105],
    np.s_[0, 10, 105, 0],
    np.s_[..., 105, :],
    np.s_[..., 0],
    np.s_[::3, ::2, ::5],
    np.s_[::-1],
    np.s_[20:-3:-4, ::-1, 110],
    np.s_[None, 3, None, ..., None],
    np.s_[31:32, 36:37, 118:119],
    np.s_[20:20],
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_writes_as_numpy_would(three, index, rng):
    volume, array = three
    for value in (rng.integers(0, 999, oracle(array, OFFSET, index).shape).astype(np.uint16), 7):
        array = assigned(array, index, value)
        volume[index] = value
        np.testing.assert_array_equal(volume[:], array)
        np.testing.assert_array_equal(Volume(volume.cloudpath)[:], array)


@pytest.mark.parametrize("index", [np.s_[..., 1], np.s_[..., ::2], np.s_[..., 2:0:-1], np.s_[3:9, ..., 1:]], ids=str)
def test_writing_channels_keeps_the_others(three, index, rng):
    volume, array = three
    value = rng.integers(0, 999, oracle(array, OFFSET, index).shape).astype(np.uint16)
    volume[index] = value
    np.testing.assert_array_equal(volume[:], assigned(array, index, value))


def test_one_channel_of_whole_chunks_needs_no_permission(tmp_path):
    volume, array = make(tmp_path / "v", channels=3)
    volume[..., 1] = 5
    array[..., 1] = 5
    np.testing.assert_array_equal(volume[:], array)


def test_one_channel_of_a_new_volume(tmp_path):
    volume = empty(tmp_path / "v", channels=3)
    volume[..., 1] = 5
    np.testing.assert_array_equal(volume[0, 10, 105], [0, 5, 0])


def test_a_3d_array_never_goes_to_several_channels(three):
    volume, array = three
    for value in (np.zeros(SHAPE, np.uint16), np.zeros((37, 30, 3), np.uint16)):
        with pytest.raises(ShapeError, match=r"channel|shape"):
            volume[:] = value
    with pytest.raises(ShapeError):
        volume[0:3, 10:13, 105:108] = np.zeros((3, 3, 3), np.uint16)
    np.testing.assert_array_equal(volume[:], array)
    volume[..., 2] = np.zeros(SHAPE, np.uint16)
    array[..., 2] = 0
    np.testing.assert_array_equal(volume[:], array)


def test_a_3d_array_fits_one_channel(one):
    volume, array = one
    volume[:] = array[..., 0] + 1
    np.testing.assert_array_equal(volume[:], array + 1)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (37, 1, 1, 3), (3,), (19, 3), (1, 30, 1, 1), (1,), ()])
def test_broadcasting(three, shape, rng):
    volume, _ = three
    value = rng.integers(0, 999, shape).astype(np.uint16)
    volume[:] = value
    np.testing.assert_array_equal(volume[:], np.broadcast_to(value, (*SHAPE, 3)))


@pytest.mark.parametrize("shape", [(2,), (37, 30, 19, 2), (36, 30, 19, 3), (2, 37, 30, 19, 3), (0,)])
def test_what_does_not_fit(three, shape):
    volume, array = three
    with pytest.raises(ShapeError, match="shape"):
        volume[:] = np.zeros(shape, np.uint16)
    np.testing.assert_array_equal(volume[:], array)


@pytest.mark.parametrize("order", ["C", "F"])
def test_any_memory_order_and_strides(one, order):
    volume, array = one
    volume[:] = np.array(array[::-1], order=order)[::-1] + np.uint16(1)
    np.testing.assert_array_equal(volume[:], array + 1)
    volume[:] = array.astype(">u2")
    np.testing.assert_array_equal(volume[:], array)


def test_nested_lists(one):
    volume, array = one
    volume[0, 10:12, 105:107, 0] = [[1, 2], [3, 4]]
    array[5, 3:5, 5:7, 0] = [[1, 2], [3, 4]]
    np.testing.assert_array_equal(volume[:], array)


SAFE = [("uint8", "uint16"), ("bool", "uint8"), ("uint16", "int32"), ("int16", "float32"), ("float16", "float32")]


@pytest.mark.parametrize(("given", "stored"), SAFE)
def test_safe_casts(tmp_path, given, stored):
    volume = empty(tmp_path / "v", dtype=stored)
    value = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(given)
    volume[:] = value
    np.testing.assert_array_equal(volume[..., 0], value.astype(stored))


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (np.zeros(SHAPE, np.uint16), "uint8"),
        (np.zeros(SHAPE, np.int8), "uint8"),
        (np.zeros(SHAPE, np.float32), "uint8"),
        (np.zeros(SHAPE, np.float64), "float32"),
        (np.zeros(SHAPE, np.int32), "float32"),
        (np.zeros(SHAPE, complex), "float32"),
        (np.zeros(SHAPE, "U1"), "uint8"),
        (np.zeros(SHAPE, object), "uint8"),
        (np.uint16(5), "uint8"),
        (np.float64(5), "uint8"),
        (300, "uint8"),
        (-1, "uint8"),
        (2**64, "uint64"),
        (-(2**100), "int32"),
        (5.5, "uint8"),
        (5.0, "uint8"),
        (1j, "float32"),
        ("5", "uint8"),
        (None, "uint8"),
        ([[1], [2, 3]], "uint8"),
        ([1, 300], "uint8"),
        (1e300, "float32"),
    ],
    ids=repr,
)
def test_casts_that_lose_are_errors(tmp_path, value, stored):
    volume = empty(tmp_path / "v", dtype=stored)
    with pytest.raises(CastError) as caught:
        volume[:] = value
    assert isinstance(caught.value, TypeError)
    if isinstance(value, np.ndarray):
        assert stored in str(caught.value)
        assert str(value.dtype) in str(caught.value)
    assert not volume.has_data()


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (255, "uint8"),
        (True, "uint8"),
        (-128, "int8"),
        (2**64 - 1, "uint64"),
        (1.5, "float32"),
        (7, "float32"),
        (float("nan"), "float32"),
        (float("inf"), "float32"),
        (-0.0, "float32"),
        (0.1, "float32"),
    ],
    ids=repr,
)
def test_python_numbers_that_fit(tmp_path, value, stored):
    volume = empty(tmp_path / "v", dtype=stored)
    volume[:] = value
    np.testing.assert_array_equal(volume[0, 10, 105], np.array([value]).astype(stored))


@pytest.mark.parametrize("index", [np.s_[-6:0], np.s_[0:33], 32, np.s_[..., 1], np.s_[..., -1]], ids=str)
@pytest.mark.parametrize("bounded", [True, False])
def test_writing_outside_is_an_error(tmp_path, index, bounded):
    volume, array = make(tmp_path / "v", non_aligned_writes=True, bounded=bounded)
    with pytest.raises(OutOfBoundsError):
        volume[index] = 1
    volume.bounded = True
    np.testing.assert_array_equal(volume[:], array)


def test_autocrop_writes_the_part_inside(tmp_path):
    volume, array = make(tmp_path / "v", bounded=False, autocrop=True)
    value = np.arange(50 * 30 * 19, dtype=np.uint16).reshape(50, 30, 19)
    volume[-10:40, 7:37, 100:119] = value
    array[..., 0] = value[5:42]
    np.testing.assert_array_equal(volume[-5:32], array)
    with pytest.raises(OutOfBoundsError, match="inside"):
        volume[500:600] = 1


def test_autocrop_with_steps(tmp_path):
    volume, array = make(tmp_path / "v", bounded=False, autocrop=True, non_aligned_writes=True)
    value = np.arange(15, dtype=np.uint16)
    volume[-25:50:5] = value[:, None, None, None]
    array[0::5] = value[4:12, None, None, None]
    np.testing.assert_array_equal(volume[-5:32], array)


def test_boxes_in_units(one):
    volume, array = one
    volume[Bbox((-20, 40, 4040), (12, 80, 4360), unit="nm")] = 3
    array[:8, 3:13, 1:9] = 3
    np.testing.assert_array_equal(volume[:], array)


@pytest.mark.parametrize("index", [1.5, "0", np.s_[..., ...], np.s_[0, 0, 0, 0, 0], np.s_[0:3:0]], ids=repr)
def test_what_is_no_index(one, index):
    with pytest.raises(InvalidIndexError):
        one[0][index] = 1
    np.testing.assert_array_equal(one[0][:], one[1])


@pytest.mark.parametrize(
    "index",
    [np.s_[-4:11], np.s_[-5:10], np.s_[0], np.s_[:, :, 101:119], np.s_[:, 7:8], np.s_[::2], np.s_[-5:11:2]],
    ids=str,
)
def test_off_the_grid_is_an_error(tmp_path, index):
    volume, array = make(tmp_path / "v")
    with pytest.raises(AlignmentError, match="non_aligned_writes"):
        volume[index] = 1
    np.testing.assert_array_equal(volume[:], array)


@pytest.mark.parametrize(
    "index", [(), np.s_[-5:11], np.s_[11:27], np.s_[27:32], np.s_[11:], np.s_[..., 116:119], np.s_[::-1]], ids=str
)
def test_on_the_grid(tmp_path, index):
    volume, array = make(tmp_path / "v")
    index = (*index[:-1], index[-1], slice(None)) if isinstance(index, tuple) and len(index) == 2 else index
    volume[index] = 1
    np.testing.assert_array_equal(volume[:], assigned(array, index, 1))


def test_the_alignment_error_names_the_nearest_boxes(tmp_path):
    volume, _ = make(tmp_path / "v")
    with pytest.raises(AlignmentError) as caught:
        volume[-4:30, 7:37, 100:119] = 1
    assert repr(Bbox((11, 7, 100), (27, 37, 119))) in str(caught.value)
    assert repr(Bbox((-5, 7, 100), (32, 37, 119))) in str(caught.value)
    assert caught.value.box == Bbox((-4, 7, 100), (30, 37, 119))
    with pytest.raises(AlignmentError, match="none"):
        volume[-4:3] = 1


def test_nothing_is_written_before_everything_is_checked(tmp_path):
    volume = empty(tmp_path / "v")
    for index, value in ((np.s_[:], 1.5), (np.s_[:], np.zeros((2, 2), np.uint16)), (np.s_[-9:11], 1), (np.s_[0:3], 1)):
        with pytest.raises(VolumekitError):
            volume[index] = value
    assert not volume.has_data()


@pytest.mark.parametrize("compress", WAYS)
def test_partial_writes_on_a_new_volume_are_filled(tmp_path, compress):
    volume = empty(tmp_path / "v", non_aligned_writes=True, compress=compress)
    volume[0:3, 10:13, 105:107] = 5
    expected = np.zeros(CHUNK, np.uint16)
    expected[5:8, 3:6, 5:7] = 5
    np.testing.assert_array_equal(volume[-5:11, 7:23, 100:108, 0], expected)
    assert volume.exists().num_present == 1


def test_locked_mips(tmp_path):
    volume, array = make(tmp_path / "v", max_mip=1)
    volume.info["scales"][0]["locked"] = True
    volume.commit_info()
    for opened in (volume, Volume(volume.cloudpath)):
        for write in (lambda v=opened: v.__setitem__((), 1), lambda v=opened: v.delete(v.bounds)):
            with pytest.raises(ReadOnlyError, match="locked"):
                write()
        with pytest.raises(ReadOnlyError, match="locked"):
            opened[[0], [10], [105]] = 1
        np.testing.assert_array_equal(opened[:], array)
    volume.mip = 1
    volume[:] = 1


def test_upload_to_another_mip(tmp_path):
    volume, array = make(tmp_path / "v", max_mip=1)
    volume.upload((), 9, mip=1)
    assert volume.mip == 0
    assert (volume.download((), 1) == 9).all()
    np.testing.assert_array_equal(volume[:], array)


def test_augmented_assignment(one):
    volume, array = one
    volume[0:9, 8:20] += 1
    array[5:14, 1:13] += 1
    np.testing.assert_array_equal(volume[:], array)


def test_writing_a_cutout_of_another_volume(tmp_path):
    source, array = make(tmp_path / "a")
    target = empty(tmp_path / "b")
    target[:] = source[:]
    np.testing.assert_array_equal(target[:], array)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "float32"])
@pytest.mark.parametrize("compress", WAYS)
def test_all_data_types(tmp_path, dtype, compress):
    volume, array = make(tmp_path / "v", dtype=dtype, channels=2, compress=compress, non_aligned_writes=True)
    np.testing.assert_array_equal(volume[:], array)
    volume[0:9, 9:19] = array[1:10, 1:11]
    expected = array.copy()
    expected[5:14, 2:12] = array[1:10, 1:11]
    np.testing.assert_array_equal(Volume(volume.cloudpath)[:], expected)


@pytest.mark.parametrize("encoding", ["raw", "png", "compressed_segmentation"])
@pytest.mark.parametrize("compress", WAYS)
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_encodings(tmp_path, encoding, compress, channels):
    dtype = "uint64" if encoding == "compressed_segmentation" else "uint16"
    volume, array = make(
        tmp_path / "v", encoding=encoding, dtype=dtype, channels=channels, compress=compress, non_aligned_writes=True
    )
    volume[-4:20, 8:36, 101:118] = 3
    array[1:25, 1:29, 1:18] = 3
    np.testing.assert_array_equal(Volume(volume.cloudpath)[:], array)


@pytest.mark.parametrize("compress", WAYS)
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg(tmp_path, compress, channels):
    x, y, z = np.indices(SHAPE)
    array = np.stack([x + y + z + 20 * c for c in range(channels)], axis=-1).astype(np.uint8)
    volume, _ = make(tmp_path / "v", array=array, encoding="jpeg", compress=compress)
    found = Volume(volume.cloudpath)[:]
    assert np.abs(found.astype(int) - array).mean() < 3
    assert np.abs(found[::-1].astype(int) - array).mean() > 5


@pytest.mark.parametrize("compress", [False, "gzip"])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_written_alike_every_way(tmp_path, channels, compress):
    """Quality 85 unless the info says otherwise, and channels in full resolution."""
    image = np.random.default_rng(0).integers(0, 255, (16, 16, 16, channels), np.uint8)
    Volume.from_numpy(image, tmp_path / "a", encoding="jpeg", chunk_size=(16, 16, 16), compress=compress)
    (file,) = (tmp_path / "a" / "1_1_1").iterdir()
    stored = gzip.decompress(file.read_bytes()) if compress else file.read_bytes()
    assert stored == Jpeg(jpeg_quality=85).encode(image) or channels == 1
    picture = Image.open(io.BytesIO(stored))
    assert picture.quantization[0][:4] == [5, 3, 3, 5]
    assert {layer[1:3] for layer in picture.layer} == {(1, 1)}


def test_zero_and_one_are_truth_values(tmp_path):
    volume = Volume.from_numpy(np.ones((4, 4, 4), bool), f"zarr://file://{tmp_path}/v", progress=False)
    volume.non_aligned_writes = True
    volume[:2] = 0
    volume[:, :2] = 1
    assert volume[0, 3, 0].tolist() == [False]
    assert volume[0, 0, 0].tolist() == [True]
    with pytest.raises(CastError):
        volume[:] = 2
