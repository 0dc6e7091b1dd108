"""TIFF, PNG and JPEG pages against tifffile, imagecodecs and Pillow."""

import io
import itertools
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.formats.images import patched, planes, png, png_chunk, tiff
from volumekit.codecs.images import Bytes, image_pages

LAYOUTS = {"one strip": {}, "strips": {"rowsperstrip": 7}, "tiles": {"tile": (16, 32)}}
COMPRESSIONS = [
    *((name, False) for name in ("none", "packbits", "lzma")),
    *itertools.product(("lzw", "zlib", "zstd"), (False, True)),
]


def check(data: bytes, expected: np.ndarray) -> None:
    """Compare a whole page, windows of it, and windows of a larger array, with what they should be."""
    expected = expected.reshape(*expected.shape[:2], -1)
    source = Bytes(data)
    (page,) = image_pages(source)
    assert (page.shape, page.dtype) == (expected.shape, expected.dtype)
    assert np.array_equal(page.image(source), expected)
    height, width, channels = page.shape
    for y0, y1, x0, x1 in [(0, height, 0, width), (3, 20, 0, width), (5, 6, 7, 8), (1, height, 9, width)]:
        wide = np.full((height + 2, width + 3, channels), 77, page.dtype)
        page.read(source, wide[1 : 1 + y1 - y0, 2 : 2 + x1 - x0], (y0, x0))
        assert np.array_equal(wide[1 : 1 + y1 - y0, 2 : 2 + x1 - x0], expected[y0:y1, x0:x1])
        wide[1 : 1 + y1 - y0, 2 : 2 + x1 - x0] = 77
        assert (wide == 77).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("compression", "predictor"), COMPRESSIONS)
@pytest.mark.parametrize(("dtype", "order"), [("u1", "<"), ("u2", ">"), ("f4", "<"), ("f4", ">"), ("i4", ">")])
def test_tiff(layout, compression, predictor, dtype, order):
    array = (planes(1, (45, 37))[0] * 0.7).astype(dtype)
    options = {**LAYOUTS[layout], "byteorder": order, "predictor": predictor}
    check(tiff(array, compression=None if compression == "none" else compression, **options), array)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_tiff_of_several_channels(planar, layout, compression, channels):
    array = planes(1, (45, 37, channels), np.uint16)[0]
    stored = np.moveaxis(array, -1, 0) if planar == "separate" else array
    kind, extra = ("rgb", channels - 3) if channels > 2 else ("minisblack", channels - 1)
    data = tiff(
        stored,
        photometric=kind,
        planarconfig=planar,
        extrasamples=(0,) * extra,
        compression=compression,
        predictor=compression is not None,
        bigtiff=True,
        **LAYOUTS[layout],
    )
    check(data, array)


@pytest.mark.parametrize("compression", [None, "packbits", "zlib", "lzw"])
def test_tiff_of_single_bits(compression):
    bits = planes(1, (45, 37))[0] > 20
    check(tiff(bits, compression=compression), np.where(bits, 255, 0).astype(np.uint8))
    white = tiff(bits, compression=compression, photometric="miniswhite")
    check(white, np.where(bits, 0, 255).astype(np.uint8))


def tagged(array: np.ndarray, tag: int, value: int, order: str = "<") -> bytes:
    """An uncompressed TIFF with a tag that tifffile would not write."""
    data = tiff(array, byteorder=order, extratags=[(65000, 3, 1, value, True)])
    entry = struct.pack(f"{order}HHI", 65000, 3, 1)
    assert data.count(entry) == 1
    return data.replace(entry, struct.pack(f"{order}HHI", tag, 3, 1))


@pytest.mark.parametrize("order", ["<", ">"])
def test_predictors_without_compression(order):
    array = planes(1, (45, 37), np.uint16)[0]
    check(tagged(np.diff(array, axis=1, prepend=np.uint16(0)), 317, 2, order), array)
    numbers = array.astype(np.float32)
    encoded = np.asarray(imagecodecs.floatpred_encode(numbers[..., None], axis=-2))[..., 0]
    check(tagged(encoded, 317, 3), numbers)


def test_bits_in_reverse():
    array = planes(1, (45, 37))[0]
    turned = np.frombuffer(imagecodecs.bitorder_decode(array.tobytes()), np.uint8).reshape(array.shape)
    check(tagged(turned, 266, 2), array)


@pytest.mark.parametrize("compression", ["none", "zlib", "lzw", "packbits", "lzma"])
def test_last_strips_may_be_padded(compression):
    array = planes(1, (48, 37), np.uint16)[0]
    data = tiff(array, rowsperstrip=16, compression=None if compression == "none" else compression)
    check(patched(data, 257, 45), array[:45])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_in_tiff_is_what_tifffile_gives(layout, channels):
    array = planes(1, (45, 37, channels) if channels > 1 else (45, 37))[0]
    options = {} if layout == "strips" else LAYOUTS[layout]  # libjpeg's rows are multiples of 8
    if layout == "strips":
        options = {"rowsperstrip": 16}
    data = tiff(array, compression="jpeg", photometric="rgb" if channels > 1 else "minisblack", **options)
    check(data, tifffile.imread(io.BytesIO(data)))


@pytest.mark.parametrize("subsampling", ["444", "420"])
def test_jpeg_files(subsampling):
    array = planes(1, (45, 37, 3))[0]
    data = imagecodecs.jpeg8_encode(array, level=90, subsampling=subsampling)
    check(data, imagecodecs.jpeg8_decode(data))
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", progressive=True, exif=b"Exif\0\0" + bytes(60000))
    check(file.getvalue(), imagecodecs.jpeg8_decode(file.getvalue()))
    check(data[:2] + b"\xff\xff" + data[3:], imagecodecs.jpeg8_decode(data))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_files(dtype, channels):
    array = planes(1, (45, 37, channels), dtype)[0]
    check(imagecodecs.png_encode(array[..., 0] if channels == 1 else array), array)


def test_png_of_few_bits_palettes_and_transparent_colours():
    rows = b"\0\xa0\0\x50" * 2
    ones = np.array([[1, 0, 1, 0], [0, 1, 0, 1]] * 2, np.uint8)
    check_small(png(4, 4, 1, 0, rows), ones * 255)
    twos = np.array([[2, 2, 0, 0], [1, 1, 0, 0]] * 2, np.uint8)
    check_small(png(4, 4, 2, 0, rows), twos * 85)
    colours = np.arange(12, dtype=np.uint8).reshape(4, 3)
    palette = png_chunk(b"PLTE", colours.tobytes())
    check_small(png(4, 4, 2, 3, rows, palette), colours[twos])
    seen = np.array([9, 8, 255, 255], np.uint8)
    clear = png_chunk(b"tRNS", seen[:2].tobytes())
    check_small(png(4, 4, 2, 3, rows, palette, clear), np.dstack([colours[twos], seen[twos]]))
    transparent = png(4, 4, 1, 0, rows, png_chunk(b"tRNS", b"\0\1"))
    check_small(transparent, np.dstack([ones * 255, (1 - ones) * 255]))


def check_small(data: bytes, expected: np.ndarray) -> None:
    source = Bytes(data)
    (page,) = image_pages(source)
    assert np.array_equal(page.image(source), expected.reshape(*expected.shape[:2], -1))
    assert page.shape[:2] == expected.shape[:2]
