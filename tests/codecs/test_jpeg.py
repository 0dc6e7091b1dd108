import io

import numpy as np
import pytest
from PIL import Image

from tests.codecs import oracle
from volumekit.codecs.jpeg import Jpeg
from volumekit.errors import CorruptChunkError, MetadataError, UnsupportedError
from volumekit.testing.codecs import CodecConformance

U1 = np.dtype("u1")
SHAPE = (37, 29, 5)


class TestJpeg(CodecConformance):
    codec = Jpeg(jpeg_quality=95)
    channels = (1, 3)
    lossless = False
    tolerance = 4.0

    def reference_bytes(self, chunk):
        return oracle.pillow_writes(chunk, "JPEG", quality=95, subsampling=0)


def smooth(channels, shape=SHAPE):
    return TestJpeg().sample(shape, "uint8", channels)


def frame(data: bytes) -> bytes:
    """Return the body of a baseline frame header."""
    at = data.index(b"\xff\xc0")
    return data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]


@pytest.mark.parametrize("channels", [1, 3])
def test_tensorstore_and_we_decode_to_the_same_bits(channels):
    chunk = smooth(channels)
    for data in (oracle.tensorstore_writes(chunk, "jpeg"), Jpeg().encode(chunk)):
        np.testing.assert_array_equal(
            Jpeg().decode(data, chunk.shape, U1), oracle.tensorstore_reads(data, chunk.shape, "uint8", "jpeg")
        )


@pytest.mark.parametrize(
    "options", [{"subsampling": s} for s in (0, 1, 2)] + [{"progressive": True}, {"keep_rgb": True}]
)
def test_every_kind_decodes_to_tensorstores_bits(options):
    chunk = smooth(3)
    data = oracle.pillow_writes(chunk, "JPEG", quality=80, **options)
    np.testing.assert_array_equal(
        Jpeg().decode(data, chunk.shape, U1), oracle.tensorstore_reads(data, chunk.shape, "uint8", "jpeg")
    )


def test_colours_keep_their_resolution():
    body = frame(Jpeg().encode(smooth(3)))
    assert body[7::3] == b"\x11\x11\x11"
    sharp = np.zeros((16, 16, 1, 3), U1)
    sharp[::2, :, :, 0] = 255
    sharp[1::2, :, :, 2] = 255
    decoded = Jpeg(jpeg_quality=100).decode(Jpeg(jpeg_quality=100).encode(sharp), sharp.shape, U1)
    assert np.abs(decoded.astype(int) - sharp).max() < 8


def test_width_is_x_and_height_is_y_times_z():
    assert frame(Jpeg().encode(smooth(1)))[1:5] == (29 * 5).to_bytes(2, "big") + (37).to_bytes(2, "big")


def test_any_width_and_height_are_read():
    chunk = smooth(1, (16, 8, 6))
    for width in (8, 48, 128):
        file = io.BytesIO()
        Image.fromarray(chunk.ravel("F").reshape(-1, width)).save(file, "JPEG", quality=95)
        decoded = Jpeg().decode(file.getvalue(), chunk.shape, U1)
        assert np.abs(decoded.astype(int) - chunk).mean() < 6


def test_a_chunk_taller_than_pictures_may_be_is_written_wider():
    chunk = np.arange(8 * 300 * 300, dtype="u4").reshape((8, 300, 300, 1), order="F").astype(U1)
    data = Jpeg().encode(chunk)
    decoded = Jpeg().decode(data, chunk.shape, U1)
    np.testing.assert_array_equal(decoded, oracle.tensorstore_reads(data, chunk.shape, "uint8", "jpeg"))
    assert np.abs(decoded.astype(int) - chunk).mean() < 8


def test_a_chunk_no_picture_can_hold():
    with pytest.raises(UnsupportedError, match="smaller chunks"):
        Jpeg().encode(np.zeros((1, 1, 65537, 1), U1))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_picture_cut_short_is_never_grey(progressive):
    chunk = smooth(3)
    data = oracle.pillow_writes(chunk, "JPEG", progressive=progressive)
    for end in range(len(data)):
        with pytest.raises(CorruptChunkError):
            Jpeg().decode(data[:end], chunk.shape, U1)


def test_a_header_without_picture_is_never_grey():
    data = Jpeg().encode(smooth(1))
    scan = data.index(b"\xff\xda")
    with pytest.raises(CorruptChunkError, match="too little data"):
        Jpeg().decode(data[: scan + 10] + data[scan + 10 : scan + 14] + b"\xff\xd9", (*SHAPE, 1), U1)


@pytest.mark.parametrize("size", [b"\xea\x60\xea\x60", b"\xff\xff\xff\xff", b"\0\0\0\x25"])
def test_a_wrong_size_is_refused_before_decoding(size, monkeypatch):
    import imagecodecs

    data = Jpeg().encode(smooth(1))
    at = data.index(b"\xff\xc0") + 5
    monkeypatch.setattr(imagecodecs, "jpeg8_decode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(CorruptChunkError, match="declares"):
        Jpeg().decode(data[:at] + size + data[at + 4 :], (*SHAPE, 1), U1)


def test_scans_without_end_are_refused():
    file = io.BytesIO()
    Image.fromarray(np.zeros((64, 64), U1)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    scan = data.rindex(b"\xff\xda")
    with pytest.raises(CorruptChunkError, match="too many scans"):
        Jpeg().decode(data[:scan] + data[scan:-2] * 500 + data[-2:], (64, 64, 1, 1), U1)


@pytest.mark.parametrize(
    ("marker", "what"), [(0xC3, "neither baseline"), (0xC9, "neither baseline"), (0xE5, "without a frame")]
)
def test_other_kinds_of_frame_are_refused(marker, what):
    data = Jpeg().encode(smooth(1))
    at = data.index(b"\xff\xc0") + 1
    with pytest.raises(CorruptChunkError, match=what):
        Jpeg().decode(data[:at] + bytes([marker]) + data[at + 1 :], (*SHAPE, 1), U1)


def test_twelve_bits_are_refused():
    data = Jpeg().encode(smooth(1))
    at = data.index(b"\xff\xc0") + 4
    with pytest.raises(CorruptChunkError, match="12 bits"):
        Jpeg().decode(data[:at] + b"\x0c" + data[at + 1 :], (*SHAPE, 1), U1)


def test_bytes_behind_the_picture_do_not_matter():
    data = Jpeg().encode(smooth(1))
    np.testing.assert_array_equal(
        Jpeg().decode(data + b"tail\xff", (*SHAPE, 1), U1), Jpeg().decode(data, (*SHAPE, 1), U1)
    )


@pytest.mark.parametrize("quality", [-1, 101, 85.5, "85", None, True])
def test_impossible_qualities(quality):
    with pytest.raises(MetadataError, match="jpeg_quality"):
        Jpeg.from_settings({"jpeg_quality": quality})


def test_quality_is_used_and_85_by_default():
    chunk = smooth(1)
    sizes = [len(Jpeg(jpeg_quality=quality).encode(chunk)) for quality in (10, 85, 100)]
    assert sizes == sorted(set(sizes))
    assert Jpeg() == Jpeg(jpeg_quality=85)
