"""Arrays that zarr-python stored with our codecs, read and written as volumes."""

import json

import numcodecs
import numpy as np
import pytest
import zarr

from tests.codecs.test_zarr import CASES, CHUNK, SHAPE, create, sample, v2
from volumekit import Volume
from volumekit.errors import CorruptChunkError, MetadataError, UnsupportedError

LOSSLESS = [case[:4] for case in CASES if case[4] == 0]


@pytest.mark.parametrize(("version", "shards"), [(2, False), (3, False), (3, True)], ids=["v2", "v3", "sharded"])
@pytest.mark.parametrize(("name", "settings", "dtype", "channels"), LOSSLESS, ids=[f"{c[0]}{c[3]}" for c in LOSSLESS])
def test_read_and_written(tmp_path, name, settings, dtype, channels, version, shards):
    data = sample(channels + SHAPE, dtype)
    how = {"shards": channels + tuple(2 * n for n in CHUNK)} if shards else {}
    array = create(tmp_path, version, name, settings, dtype, channels, **how)
    array[...] = data
    volume = Volume(tmp_path, non_aligned_writes=True)
    expected = data.T.reshape(volume.shape)
    np.testing.assert_array_equal(volume[...], expected)
    volume[3:9, 2:11, 4:8] = expected[3:9, 2:11, 4:8][::-1]
    expected[3:9, 2:11, 4:8] = expected[3:9, 2:11, 4:8][::-1].copy()
    np.testing.assert_array_equal(array[...], expected.T.reshape(data.shape))
    np.testing.assert_array_equal(Volume(tmp_path)[...], expected)


@pytest.mark.parametrize("version", [2, 3])
def test_with_loss(tmp_path, version):
    array = create(tmp_path, version, "jpeg", {"jpeg_quality": 98}, "uint8", (3,))
    array[...] = sample((3, *SHAPE), "uint8")
    np.testing.assert_array_equal(Volume(tmp_path)[...], array[...].T)


def test_orders_and_filters_of_zarr_v2(tmp_path):
    """zarr-python scrambles chunks in F order itself, as with all codecs that return arrays; we read ours."""
    data = sample(SHAPE, "uint16").T[..., np.newaxis]
    for order in "CF":
        compressor = v2("png", {}, "<u2", ())
        zarr.create_array(
            tmp_path / order, zarr_format=2, shape=SHAPE, chunks=CHUNK, dtype="u2", order=order, compressors=compressor,
            filters=[numcodecs.Delta("<u2")] if order == "C" else None, fill_value=0,
        )  # fmt: skip
        volume = Volume(tmp_path / order)
        volume[...] = data
        np.testing.assert_array_equal(Volume(tmp_path / order)[...], data)


@pytest.mark.parametrize("version", [2, 3])
def test_damaged(tmp_path, version):
    create(tmp_path, version, "png", {}, "uint16", (2,))[...] = sample((2, *SHAPE), "uint16")
    key = "0.0.0.0" if version == 2 else "c/0/0/0/0"
    (tmp_path / key).write_bytes((tmp_path / key).read_bytes()[:-20])
    with pytest.raises(CorruptChunkError, match=key):
        Volume(tmp_path)[...]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"shape": [1, 2, 3]}, MetadataError), ({"shape": "x"}, MetadataError), ({"dtype": "<u8"}, MetadataError),
        ({"dtype": None}, MetadataError), ({"png_level": "x"}, MetadataError), ({"png_level": {}}, MetadataError),
        ({"nonsense": 1}, MetadataError), ({"id": "volumekit.nonsense"}, UnsupportedError),
        ({"id": "volumekit.fpzip"}, UnsupportedError),
    ],
    ids=str,
)  # fmt: skip
def test_impossible_settings(tmp_path, change, error):
    create(tmp_path, 2, "png", {}, "uint16", ())[...] = 1
    metadata = json.loads((tmp_path / ".zarray").read_text())
    metadata["compressor"] |= change
    (tmp_path / ".zarray").write_text(json.dumps(metadata))
    with pytest.raises(error, match="volumekit") as caught:
        Volume(tmp_path)[...]
    assert ".zarray" in str(caught.value)
