"""Images of several channels: each comes back as it was, and as Pillow and imagecodecs see it in the chunk files."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from tests.volume.sample import CHUNK, OFFSET, SHAPE, files, make
from volumekit import Volume
from volumekit.errors import CorruptChunkError, OptionError, ShapeError

KINDS = [
    ("png", 2, {}, 0), ("png", 3, {}, 0), ("png", 4, {}, 0), ("jpeg", 3, {"jpeg_quality": 97}, 20),
    ("jxl", 3, {"jxl_quality": 100}, 0), ("jxl", 4, {"jxl_quality": 100}, 0), ("jxl", 3, {"jxl_quality": 95}, 12),
]  # fmt: skip
each_kind = pytest.mark.parametrize(("encoding", "channels", "settings", "error"), KINDS)
FIRST = "4_4_40/-5-11_7-23_100-108"
PILLOW = {2: "LA", 3: "RGB", 4: "RGBA"}


def ramps(channels):
    """Return an image, (x, y, z, channel), with another slope and another level in each channel."""
    x, y, z = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    planes = [40 * c + (2 + c) * x + (4 - c) * y + c * z for c in range(channels)]
    return np.asfortranarray(np.stack(planes, axis=3).clip(0, 255).astype(np.uint8))


def image(url, encoding, channels, settings):
    """Store the ramps."""
    info = Volume.create_new_info(
        channels, "image", "uint8", encoding, (4, 4, 40), OFFSET, SHAPE, chunk_size=CHUNK, **settings
    )
    volume = Volume(url, info=info)
    volume.commit_info()
    volume[:] = ramps(channels)
    return volume


def off(one, other):
    """Return by how much two arrays differ at most, channel by channel."""
    assert one.shape == other.shape
    return np.abs(one.astype(int) - other).max(axis=(0, 1, 2)).tolist()


def voxels_of(picture):
    """Return the first chunk, (x, y, z, channel), from a picture of it, (z * y, x, channel)."""
    return picture.reshape(CHUNK[2], CHUNK[1], CHUNK[0], -1).transpose(2, 1, 0, 3)


@each_kind
def test_channels_come_back(tmp_path, encoding, channels, settings, error):
    image(tmp_path, encoding, channels, settings)
    array, volume = ramps(channels), Volume(tmp_path)
    assert max(off(np.asarray(volume[:]), array)) <= error
    for channel in range(channels):
        found = volume[0:9, 10:30, 103:110, channel][..., None]
        assert max(off(np.asarray(found), array[5:14, 3:23, 3:10, channel : channel + 1])) <= error


@each_kind
def test_others_see_the_same_channels(tmp_path, encoding, channels, settings, error):
    image(tmp_path, encoding, channels, settings)
    data = (tmp_path / FIRST).read_bytes()
    decode = {"png": imagecodecs.png_decode, "jpeg": imagecodecs.jpeg8_decode, "jxl": imagecodecs.jpegxl_decode}[
        encoding
    ]
    wanted = ramps(channels)[:16, :16, :8]
    assert max(off(voxels_of(decode(data)), wanted)) <= error
    if encoding != "jxl":  # Pillow has no JPEG XL
        picture = Image.open(io.BytesIO(data))
        assert picture.mode == PILLOW[channels]
        assert max(off(voxels_of(np.asarray(picture)), wanted)) <= error


@each_kind
def test_pictures_of_others_are_read(tmp_path, encoding, channels, settings, error):
    volume = image(tmp_path, encoding, channels, settings)
    picture = np.ascontiguousarray((ramps(channels)[:16, :16, :8] // 2).transpose(2, 1, 0, 3)).reshape(
        128, 16, channels
    )
    if encoding == "jxl":
        data = imagecodecs.jpegxl_encode(picture, lossless=True, photometric="rgb")
    else:
        file = io.BytesIO()
        options = {"quality": 97, "subsampling": 0} if encoding == "jpeg" else {}
        Image.fromarray(picture).save(file, encoding.upper(), **options)
        data = file.getvalue()
    (tmp_path / FIRST).write_bytes(data)
    found = np.asarray(Volume(volume.cloudpath)[-5:11, 7:23, 100:108])
    assert max(off(found, voxels_of(picture))) <= error


@each_kind
def test_chunks_of_other_channels_are_no_voxels(tmp_path, encoding, channels, settings, error):
    volume = image(tmp_path / "v", encoding, channels, settings)
    others = 1 if channels != 1 else 3
    image(tmp_path / "others", encoding, others, settings)
    (tmp_path / "v" / FIRST).write_bytes((tmp_path / "others" / FIRST).read_bytes())
    for read in (lambda: volume[:], lambda: volume[-5, 7, 100], lambda: Volume(volume.cloudpath)[-5:11, 7:23, 100:108]):
        with pytest.raises(CorruptChunkError) as caught:
            read()
        assert caught.value.key == FIRST
    volume.non_aligned_writes = True
    with pytest.raises(CorruptChunkError):
        volume[-5, 7, 100] = 0  # would have to be merged with it


@pytest.mark.parametrize("compress", [None, "gzip"])
@each_kind
def test_arrays_of_other_channels_are_not_stored(tmp_path, encoding, channels, settings, error, compress):
    info = Volume.create_new_info(channels, "image", "uint8", encoding, (4, 4, 40), OFFSET, SHAPE, **settings)
    volume = Volume(tmp_path, info=info, compress=compress)
    volume.commit_info()
    for wrong in ((*SHAPE, channels + 1), (*SHAPE, channels - 1), SHAPE, (channels, *SHAPE)):
        if wrong[-1:] == (1,):
            continue  # broadcasts, as in NumPy
        with pytest.raises(ShapeError):
            volume[:] = np.ones(wrong, np.uint8)
    assert files(tmp_path) == {"info"}


def test_encodings_that_cannot_hold_so_many_channels(tmp_path):
    for encoding, channels in (("jpeg", 2), ("jpeg", 4), ("jxl", 2), ("jxl", 5), ("png", 5), ("crackle", 3)):
        with pytest.raises(OptionError, match=f"{encoding} stores"):
            make(tmp_path / f"{encoding}{channels}", encoding=encoding, channels=channels, dtype="uint8")
        assert not list((tmp_path).iterdir())
