import struct
import tracemalloc

import imagecodecs
import numpy as np
import pytest

from volumekit.codecs.jxl import Jxl
from volumekit.errors import CorruptChunkError, MetadataError, UnsupportedError
from volumekit.testing.codecs import CodecConformance

U1 = np.dtype("u1")
SHAPE = (12, 5, 4, 1)


def picture_of(chunk):
    """Return the picture of a chunk, pixel by pixel: width x, height y*z."""
    x, y, z, channels = chunk.shape
    picture = np.empty((y * z, x, channels), chunk.dtype)
    for k in range(z):
        for j in range(y):
            picture[k * y + j] = chunk[:, j, k]
    return picture[..., 0] if channels == 1 else picture


def reference(chunk, **how):
    return bytes(imagecodecs.jpegxl_encode(picture_of(chunk), **{"lossless": True, "effort": 3, **how}))


class TestLossless(CodecConformance):
    codec = Jxl(jxl_quality=100, jxl_effort=1)
    channels = (1, 3, 4)

    def reference_bytes(self, chunk):
        return reference(chunk)


class TestLossy(CodecConformance):
    codec = Jxl(jxl_quality=90, jxl_effort=1)
    channels = (1, 3)
    unwritable = (("uint8", 4),)
    lossless = False
    tolerance = 6.0

    def reference_bytes(self, chunk):
        return reference(chunk, lossless=False, level=95)


def sample(channels=1):
    return np.random.default_rng(channels).integers(0, 255, (*SHAPE[:3], channels), U1)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_imagecodecs_sees_each_channel(channels):
    chunk = sample(channels)
    picture = imagecodecs.jpegxl_decode(Jxl(jxl_quality=100).encode(chunk))
    np.testing.assert_array_equal(picture, picture_of(chunk))


def test_four_channels_are_lossless_only():
    chunk = sample(4)
    chunk[..., 3] = 0
    with pytest.raises(UnsupportedError, match="jxl_quality to 100"):
        Jxl(jxl_quality=99).encode(chunk)
    data = Jxl(jxl_quality=100).encode(chunk)
    np.testing.assert_array_equal(Jxl().decode(data, chunk.shape, U1), chunk)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_chunk_of_other_channels_is_refused(channels):
    data = Jxl(jxl_quality=100).encode(sample(channels))
    for others in {1, 3, 4} - {channels}:
        with pytest.raises(CorruptChunkError, match=r"channels|decodes to uint8"):
            Jxl().decode(data, (*SHAPE[:3], others), U1)


def test_any_width_and_height_are_read():
    chunk = np.arange(240, dtype=U1).reshape(SHAPE, order="F")
    for width in (1, 2, 8, 12, 16, 24, 60, 120, 240):
        data = bytes(imagecodecs.jpegxl_encode(chunk.ravel("F").reshape(-1, width), lossless=True))
        np.testing.assert_array_equal(Jxl().decode(data, SHAPE, U1), chunk)


def test_containers_are_read():
    chunk = sample()
    data = bytes(imagecodecs.jpegxl_encode(picture_of(chunk), lossless=True, usecontainer=True))
    assert data[4:8] == b"JXL "
    np.testing.assert_array_equal(Jxl().decode(data, SHAPE, U1), chunk)
    padding = struct.pack(">I4s", 12, b"xtra") + b"abcd"
    np.testing.assert_array_equal(Jxl().decode(data[:32] + padding + data[32:], SHAPE, U1), chunk)
    with pytest.raises(CorruptChunkError, match="without a picture"):
        Jxl().decode(data[:32] + padding, SHAPE, U1)


def test_a_recompressed_jpeg_is_read():
    chunk = np.add.outer(np.arange(16, dtype=U1), np.arange(8, dtype=U1))[..., None, None] * U1.type(9)
    jpeg = imagecodecs.jpeg8_encode(picture_of(chunk), level=95)
    decoded = Jxl().decode(bytes(imagecodecs.jpegxl_encode_jpeg(jpeg)), chunk.shape, U1)
    np.testing.assert_allclose(decoded[..., 0, 0].T, imagecodecs.jpeg8_decode(jpeg), atol=1)


def test_other_pictures_are_refused():
    pixels = picture_of(sample())
    deep = bytes(imagecodecs.jpegxl_encode(pixels.astype("u2") * 256, lossless=True))
    with pytest.raises(CorruptChunkError, match="16 bits"):
        Jxl().decode(deep, SHAPE, U1)
    real = bytes(imagecodecs.jpegxl_encode((pixels / 255).astype("f4"), lossless=True))
    with pytest.raises(CorruptChunkError, match="floating"):
        Jxl().decode(real, SHAPE, U1)
    frames = bytes(imagecodecs.jpegxl_encode(np.stack([pixels] * 3), lossless=True, photometric="GRAY"))
    with pytest.raises(CorruptChunkError, match="animation"):
        Jxl().decode(frames, SHAPE, U1)


def by_cloudvolume(chunk, **how):
    """Return what cloud-volume makes of three channels: it hands (channel, y*z, x) to the encoder."""
    planes = np.moveaxis(picture_of(chunk), -1, 0)
    return bytes(imagecodecs.jpegxl_encode(planes, photometric="RGB", **{"lossless": True, **how}))


@pytest.mark.parametrize("width", [1, 2, 4, 5, 6, 8, 33])
def test_three_channels_of_cloudvolume(width):
    shape = (width, 4, 6, 3)
    chunk = np.random.default_rng(width).integers(0, 255, shape, U1)
    decoded = Jxl().decode(by_cloudvolume(chunk), shape, U1)
    np.testing.assert_array_equal(decoded, chunk)
    assert decoded.flags.f_contiguous
    if width != 4:  # of four samples a pixel, the fourth is opacity, and lossy encoders drop what cannot be seen
        smooth = 20 + 3 * chunk // 40 + np.arange(3, dtype=U1) * 80
        lossy = Jxl().decode(by_cloudvolume(smooth, lossless=False, level=95), shape, U1)
        assert np.abs(lossy.astype(int) - smooth).mean() < 6
    assert np.array_equal(Jxl().decode(Jxl(jxl_quality=100).encode(chunk), shape, U1), chunk)


def test_three_channels_three_voxels_wide_are_ours_or_nobodys():
    chunk = np.random.default_rng(3).integers(0, 255, (3, 4, 6, 3), U1)
    with pytest.raises(CorruptChunkError, match="three voxels wide"):
        Jxl().decode(by_cloudvolume(chunk), chunk.shape, U1)
    for shape in ((3, 4, 6, 3), (3, 3, 1, 3)):
        ours = chunk[: shape[0], : shape[1], : shape[2]]
        np.testing.assert_array_equal(Jxl().decode(Jxl(jxl_quality=100).encode(ours), shape, U1), ours)


def test_other_numbers_of_frames_are_refused():
    planes = np.zeros((5, 20, 12), U1)
    for count in (2, 4, 5):
        data = bytes(imagecodecs.jpegxl_encode(planes[:count], lossless=True, photometric="GRAY"))
        with pytest.raises(CorruptChunkError, match="does not decode"):
            Jxl().decode(data, (*SHAPE[:3], 3), U1)
    colours = bytes(imagecodecs.jpegxl_encode(np.zeros((3, 20, 12, 3), U1), lossless=True, photometric="RGB"))
    with pytest.raises(CorruptChunkError, match="does not decode"):
        Jxl().decode(colours, (*SHAPE[:3], 3), U1)


def test_many_frames_allocate_nothing():
    data = bytes(imagecodecs.jpegxl_encode(np.zeros((2000, 64, 64), U1), lossless=True, photometric="GRAY"))
    tracemalloc.start()
    with pytest.raises(CorruptChunkError):
        Jxl().decode(data, (64, 8, 8, 3), U1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


class TestPlanes(CodecConformance):
    """What cloud-volume writes, against everything that damage does."""

    codec = Jxl(jxl_quality=100, jxl_effort=1)
    channels = (3,)
    shapes = ((8, 8, 8), (5, 7, 3), (1, 13, 2))

    def reference_bytes(self, chunk):
        return reference(chunk) if chunk.shape[0] == 3 else by_cloudvolume(chunk)


def test_a_bomb_allocates_nothing():
    data = bytes(imagecodecs.jpegxl_encode(np.zeros((9000, 9000), U1), lossless=True, effort=1))
    assert len(data) < 20_000
    tracemalloc.start()
    with pytest.raises(CorruptChunkError, match="9000 x 9000"):
        Jxl().decode(data, (64, 64, 64, 1), U1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_quality_and_effort_matter():
    x, y, z, _ = np.ogrid[:64, :64, :4, :1]
    chunk = (128 + 60 * np.sin(x / 5) * np.cos(y / 7 + z)).astype(U1)
    sizes = [len(Jxl(jxl_quality=quality).encode(chunk)) for quality in (20, 85, 100)]
    assert sizes == sorted(set(sizes))
    assert len(Jxl(jxl_quality=100, jxl_effort=7).encode(chunk)) < len(Jxl(jxl_quality=100, jxl_effort=1).encode(chunk))


@pytest.mark.parametrize("setting", ["jxl_quality", "jxl_effort", "jxl_decodingspeed"])
@pytest.mark.parametrize("value", [-1, 101, 2.5, "x", None, True])
def test_impossible_settings(setting, value):
    with pytest.raises(MetadataError, match=setting):
        Jxl.from_settings({setting: value})
