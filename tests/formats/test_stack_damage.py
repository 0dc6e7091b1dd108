"""Stacks that do not make a volume, and image files that lie."""

import contextlib
import gc
import os
import random
import struct
import sys

import imagecodecs
import numpy as np
import pytest
import tifffile

from tests.formats.images import patched, planes, png, png_chunk, tiff, write_folder
from volumekit.codecs.images import Bytes, image_pages
from volumekit.codecs.libpng import decode_png
from volumekit.engine.planes import check_planes, read_planes
from volumekit.errors import (
    CorruptChunkError,
    DatasetNotFoundError,
    ImageStackError,
    StorageError,
    UnsupportedError,
    VolumekitError,
)
from volumekit.volume.volume import Volume

ODD = {
    "size": (planes(1, (25, 38))[0], "37 x 25 uint8 grey"),
    "type": (planes(1, dtype=np.uint16)[0], "37 x 25 uint16 grey"),
    "colour": (planes(1, (25, 37, 3))[0], "37 x 25 uint8 RGB"),
}


@pytest.mark.parametrize("kind", ODD)
def test_images_that_differ_are_named_and_so_is_what_to_do(tmp_path, kind):
    folder = write_folder(tmp_path, planes(4), "{}.tif")
    tifffile.imwrite(folder / "2.tif", ODD[kind][0])
    array = Volume(folder).array()
    message = r"2\.tif is \d+ x \d+ uint\d+ \w+, but the stack is 37 x 25 uint8 grey, as its first image 0\.tif"
    with pytest.raises(ImageStackError, match=message):
        check_planes(array)
    with pytest.raises(ImageStackError, match=message) as caught:
        Volume(folder)[:, :, :]
    assert "convert or remove" in str(caught.value)
    with pytest.raises(ImageStackError, match=message):
        read_planes(array, array.level.bounds, np.empty((4, 25, 37), np.uint8))
    assert Volume(folder)[:, :, :2].shape == (37, 25, 2, 1)


def test_a_multi_page_file_among_the_planes(tmp_path):
    folder = write_folder(tmp_path, planes(3), "{}.tif")
    tifffile.imwrite(folder / "1.tif", planes(2))
    with pytest.raises(ImageStackError, match=r"1\.tif holds 2 images, where one per file"):
        check_planes(Volume(folder).array())
    with pytest.raises(ImageStackError, match=r"1\.tif holds 2 images"):
        Volume(folder)[:, :, 1]


@pytest.mark.parametrize("content", [b"", b"hello", b"II*\0", b"MM\0+" + bytes(12), b"\x89PNG\r\n\x1a\n", b"\xff\xd8"])
def test_files_that_are_no_image(tmp_path, content):
    folder = write_folder(tmp_path, planes(3), "{}.tif")
    (folder / "1.tif").write_bytes(content)
    for attempt in (lambda: check_planes(Volume(folder).array()), lambda: Volume(folder / "1.tif")):
        with pytest.raises((CorruptChunkError, ImageStackError)) as caught:
            attempt()
        assert caught.value.key == "1.tif"
        assert str(tmp_path) in str(caught.value)
    with pytest.raises((CorruptChunkError, ImageStackError)) as caught:
        Volume(folder)[:, :, :]
    assert caught.value.key == "1.tif"


def test_empty_folders_and_folders_without_images(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="no image"):
        Volume(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DatasetNotFoundError, match=r"no image \(\.tif"):
        Volume(f"stack://{tmp_path}")
    with pytest.raises(ImageStackError, match="no TIFF, PNG or JPEG"):
        Volume(tmp_path / "notes.txt")


def test_images_that_vanish_or_are_folders_or_pipes(tmp_path):
    folder = write_folder(tmp_path, planes(3), "{}.tif")
    volume = Volume(folder)
    (folder / "1.tif").unlink()
    with pytest.raises(VolumekitError, match=r"1\.tif"):
        read_planes(volume.array(), volume.bounds, np.empty((3, 25, 37), np.uint8))
    with pytest.raises(VolumekitError, match=r"1\.tif"):
        volume[:, :, :]
    (folder / "1.tif").mkdir()
    with pytest.raises(StorageError, match="directory"):
        check_planes(volume.array())
    os.mkfifo(folder / "0.png")
    with pytest.raises(StorageError):
        Volume(folder / "0.png")


KINDS = {
    "none": {},
    "strips": {"rowsperstrip": 4},
    "lzw": {"compression": "lzw", "predictor": True},
    "zlib": {"compression": "zlib", "tile": (16, 16)},
    "packbits": {"compression": "packbits"},
    "zstd": {"compression": "zstd", "bigtiff": True, "byteorder": ">"},
    "lzma": {"compression": "lzma"},
    "jpeg": {"compression": "jpeg"},
}


def images() -> dict[str, bytes]:
    """One small file of each kind."""
    grey = planes(1)[0]
    files = {name: tiff(grey, **options) for name, options in KINDS.items()}
    files["float"] = tiff(grey.astype(np.float32), compression="zlib", predictor=True)
    files["rgb"] = tiff(planes(1, (25, 37, 3))[0], compression="jpeg", photometric="rgb")
    files["separate"] = tiff(planes(3), planarconfig="separate", photometric="rgb")
    files["pages"] = tiff(planes(3))
    files["bits"] = tiff(grey > 20)
    files["palette"] = tiff(grey, photometric="palette", colormap=np.arange(768, dtype=np.uint16).reshape(3, 256))
    files["png"] = imagecodecs.png_encode(grey)
    files["jpg"] = imagecodecs.jpeg8_encode(planes(1, (25, 37, 3))[0])
    return files


IMAGES = images()


def decode(data: bytes) -> None:
    """Decode all pages; only documented errors, and nothing huge."""
    source = Bytes(data)
    for page in image_pages(source):
        if page.nbytes < 1 << 27:
            array = page.image(source)
            assert (array.shape, array.dtype) == (page.shape, page.dtype)


@pytest.mark.parametrize("kind", sorted(IMAGES))
def test_truncated_files_are_errors_never_zeros(tmp_path, kind):
    data = IMAGES[kind]
    decode(data)
    path = tmp_path / "0.tif"
    for size in [0, 1, 7, 8, *range(9, len(data), 1 + len(data) // 40)]:
        with pytest.raises((CorruptChunkError, ImageStackError)):
            decode(data[:size])
    if kind in ("png", "jpg"):
        with pytest.raises(CorruptChunkError):
            decode(data[:-1])
    path.write_bytes(data[: len(data) - 1 - len(data) // 3])
    with pytest.raises((CorruptChunkError, ImageStackError)):
        Volume(path)[:, :, :]


@pytest.mark.parametrize("kind", sorted(IMAGES))
def test_damaged_files_decode_or_say_so(kind):
    data, chance = IMAGES[kind], random.Random(kind)
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(chance.choice((1, 2, 8))):
            at = chance.randrange(len(data) if chance.random() < 0.5 else min(len(data), 300))
            damaged[at] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
        try:
            decode(bytes(damaged))
        except (CorruptChunkError, ImageStackError, UnsupportedError):
            continue


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({}, {256: 1 << 31, 257: 1 << 31}),
        ({"compression": "zlib"}, {256: 1 << 20, 257: 1 << 20, 278: 1 << 20}),
        ({"compression": "zstd"}, {256: 1 << 16, 257: 1 << 16, 278: 1 << 16}),
        ({"compression": "lzw"}, {256: 0}),
        ({"compression": "zlib", "tile": (16, 16)}, {322: 1 << 20, 323: 1 << 20}),
        ({"compression": "zlib", "tile": (16, 16)}, {322: 0}),
        ({}, {277: 1 << 31}),
        ({}, {273: 1 << 31}),
        ({}, {279: 0}),
    ],
    ids=str,
)
def test_declared_sizes_beyond_the_file_are_refused_before_anything_is_allocated(tmp_path, options, changes):
    data = tiff(planes(1)[0], **options)
    for tag, value in changes.items():
        data = patched(data, tag, value)
    (tmp_path / "0.tif").write_bytes(data)
    with pytest.raises(CorruptChunkError) as caught:
        Volume(tmp_path / "0.tif")
    assert caught.value.key == "0.tif"


def test_other_decompression_bombs(tmp_path):
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 6, 0, 0, 0)
    small = png(4, 4, 8, 0, bytes(20))
    (tmp_path / "0.png").write_bytes(small[:8] + png_chunk(b"IHDR", header) + small[33:])
    jpeg = bytearray(imagecodecs.jpeg8_encode(planes(1)[0]))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = b"\xff\xdc\xff\xdc"
    (tmp_path / "0.jpg").write_bytes(jpeg)
    strip = tiff(planes(1)[0], compression="jpeg")
    at = strip.index(b"\xff\xc0")
    (tmp_path / "1.tif").write_bytes(strip[: at + 5] + b"\xff\xdc\xff\xdc" + strip[at + 9 :])
    for name in ("0.png", "0.jpg"):
        with pytest.raises(CorruptChunkError, match="more than its file can hold"):
            Volume(tmp_path / name)
    for name in ("0.png", "0.jpg", "1.tif"):
        with pytest.raises(CorruptChunkError):
            Volume(tmp_path / name)[:, :, :]


def test_directories_in_a_loop(tmp_path):
    data = bytearray(tiff(planes(1)[0]))
    start = struct.unpack_from("<I", data, 4)[0]
    struct.pack_into("<I", data, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], start)
    (tmp_path / "0.tif").write_bytes(data)
    with pytest.raises(CorruptChunkError, match="loop"):
        Volume(tmp_path)


def test_damaged_png_does_not_wear_out_the_interpreter():
    """The binding gives back references to None that it does not own."""
    good = imagecodecs.png_encode(planes(1)[0])
    damaged = good[:41] + b"\xff" + good[42:]
    gc.collect()
    before = sys.getrefcount(None)
    for _ in range(2000):
        with contextlib.suppress(CorruptChunkError):
            decode_png(damaged)
    gc.collect()
    assert sys.getrefcount(None) > before - 1000
