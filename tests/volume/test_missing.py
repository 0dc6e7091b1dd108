"""Chunks that are not stored: errors, background, and not storing background."""

import numpy as np
import pytest

from tests.volume.sample import CHUNK, SHAPE, empty, files, make
from volumekit import Bbox, Volume
from volumekit.errors import MissingChunkError, OptionError

WAYS = [None, "gzip"]
FIRST = np.s_[-5:11, 7:23, 100:108]
KEY = "4_4_40/-5-11_7-23_100-108"


@pytest.fixture(params=WAYS, ids=["native", "bridge"])
def holed(request, tmp_path):
    """A volume whose first chunk is missing."""
    volume, array = make(tmp_path / "v", compress=request.param)
    volume.delete(FIRST)
    return volume, array


def filled(array, value):
    out = array.copy()
    out[tuple(slice(0, n) for n in CHUNK)] = value
    return out


def test_precomputed_raises_unless_told_otherwise(holed):
    volume, array = holed
    with pytest.raises(MissingChunkError, match="fill_missing") as caught:
        volume[:]
    assert isinstance(caught.value, LookupError)
    assert caught.value.key == KEY
    assert caught.value.box == Bbox((-5, 7, 100), (11, 23, 108))
    np.testing.assert_array_equal(volume[11:], array[16:])
    volume.fill_missing = True
    np.testing.assert_array_equal(volume[:], filled(array, 0))
    volume.fill_missing = False
    with pytest.raises(MissingChunkError):
        volume[:]


def test_download_overrides(holed):
    volume, array = holed
    np.testing.assert_array_equal(volume.download((), fill_missing=True), filled(array, 0))
    volume.fill_missing = True
    with pytest.raises(MissingChunkError):
        volume.download((), fill_missing=False)


@pytest.mark.parametrize("color", [0, 1, 65535])
def test_missing_chunks_read_as_background(holed, color):
    volume = Volume(holed[0].cloudpath, fill_missing=True, background_color=color)
    np.testing.assert_array_equal(volume[:], filled(holed[1], color))
    np.testing.assert_array_equal(volume[::3, ::-2, 105], filled(holed[1], color)[::3, ::-2, 5])


def test_only_the_missing_part_of_a_stepped_read_counts(holed):
    volume, array = holed
    np.testing.assert_array_equal(volume[12::4], array[17::4])
    with pytest.raises(MissingChunkError):
        volume[::4]


def test_whole_writes_do_not_read_what_is_missing(holed):
    volume, _ = holed
    volume[:] = 3
    assert (volume[:] == 3).all()


@pytest.mark.parametrize("color", [0, 9])
@pytest.mark.parametrize("compress", [None, False, "gzip", "zstd"])
def test_partial_writes_fill_with_background(tmp_path, color, compress):
    volume = empty(tmp_path / "v", background_color=color, non_aligned_writes=True, compress=compress)
    volume[0:3, 10:13, 105:107] = 5
    volume[[20], [30], [118]] = 6
    expected = np.full((*SHAPE, 1), color, np.uint16)
    expected[5:8, 3:6, 5:7] = 5
    expected[25, 23, 18] = 6
    assert volume.exists().num_present == 2
    volume.fill_missing = True
    np.testing.assert_array_equal(volume[:], expected)


@pytest.mark.parametrize("compress", WAYS)
def test_partial_channels_fill_with_background(tmp_path, compress):
    volume = empty(tmp_path / "v", channels=3, background_color=9, compress=compress)
    volume[..., 1] = 5
    np.testing.assert_array_equal(volume[0, 10, 105], [9, 5, 9])


@pytest.mark.parametrize("compress", WAYS)
def test_nan_background(tmp_path, compress):
    nan = float("nan")
    how = {"dtype": "float32", "background_color": nan, "fill_missing": True, "non_aligned_writes": True}
    volume = empty(tmp_path / "v", compress=compress, **how)
    assert np.isnan(volume[:]).all()
    volume[0, 10, 105] = 1
    assert np.isnan(volume[:]).sum() == volume.size - 1
    volume.bounded = False
    assert np.isnan(volume[-20:-10]).all()
    volume.delete_black_uploads = True
    volume[0, 10, 105] = nan
    assert volume.exists().num_present == 0


@pytest.mark.parametrize("color", [-1, 65536, 0.5, float("nan"), "black", 1j, [0]])
def test_impossible_backgrounds(tmp_path, color):
    volume, _ = make(tmp_path / "v")
    with pytest.raises(OptionError, match="background_color"):
        Volume(volume.cloudpath, background_color=color)[:]


@pytest.mark.parametrize("compress", WAYS)
def test_zeros_are_stored(tmp_path, compress):
    volume = empty(tmp_path / "v", compress=compress)
    volume[:] = 0
    assert volume.exists().num_missing == 0
    assert (volume[:] == 0).all()


@pytest.mark.parametrize("compress", WAYS)
@pytest.mark.parametrize("color", [0, 4])
def test_delete_black_uploads(tmp_path, compress, color):
    volume, array = make(tmp_path / "v", compress=compress, background_color=color, delete_black_uploads=True)
    assert volume.exists().num_missing == 0
    volume[FIRST] = color
    assert volume.exists().missing == [KEY]
    assert not any("-5-11_7-23_100-108" in name for name in files(tmp_path))
    volume.fill_missing = True
    np.testing.assert_array_equal(volume[:], filled(array, color))
    volume[FIRST] = 7
    assert volume.exists().num_missing == 0


@pytest.mark.parametrize("compress", WAYS)
@pytest.mark.parametrize("color", [0, 4])
def test_a_partial_write_may_blacken_a_chunk(tmp_path, compress, color):
    how = {"background_color": color, "delete_black_uploads": True, "non_aligned_writes": True}
    volume = empty(tmp_path / "v", compress=compress, fill_missing=True, **how)
    volume[0:3, 10:13, 105:107] = 5
    assert volume.exists().num_present == 1
    volume[0:3, 10:13, 105:107] = color
    assert volume.exists().num_present == 0
    assert (volume[:] == color).all()


@pytest.mark.parametrize("compress", WAYS)
def test_deletion(tmp_path, compress):
    volume, _ = make(tmp_path / "v", compress=compress, lru_bytes=10**7)
    volume[:]
    volume.delete(FIRST)
    volume.delete(FIRST)
    assert volume.exists().missing == [KEY]
    with pytest.raises(MissingChunkError):
        volume[FIRST]
    volume.delete(volume.bounds)
    assert files(tmp_path / "v") == {"info", "provenance"}
    assert not volume.has_data()


def test_chunks_of_zero_bytes_are_no_voxels(tmp_path):
    from volumekit.errors import CorruptChunkError

    volume, _ = make(tmp_path / "v")
    (tmp_path / "v" / KEY).write_bytes(b"")
    volume.fill_missing = True
    with pytest.raises(CorruptChunkError):
        volume[FIRST]
