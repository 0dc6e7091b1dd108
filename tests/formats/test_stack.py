"""Stacks of images as volumes."""

import json
import os
import pickle
import warnings

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.formats.images import planes, read, write_folder
from volumekit.errors import (
    CorruptChunkError,
    DatasetNotFoundError,
    ImageStackError,
    MissingChunkError,
    ReadOnlyError,
    UnsupportedError,
)
from volumekit.formats.stack import Stack
from volumekit.model.bbox import Bbox
from volumekit.storage.base import Value
from volumekit.volume.volume import Volume

STACKS = [
    *("u16_bigendian", "u16_deflate", "u16_lzw", "u16_lzw_predictor", "u16_none", "u16_packbits"),
    *("u8_bigtiff_strips", "u8_deflate", "u8_lzw", "u8_none", "u8_packbits", "u8_tiled_deflate"),
]


@pytest.mark.parametrize("name", STACKS)
def test_golden_stacks_read_equal(golden, name):
    folder = golden / "stacks"
    made = json.loads((folder / "manifest.json").read_text())["stacks"]
    assert sorted(made) == STACKS
    expected = np.load(folder / made[name]["array"])
    volume = Volume(folder / name)
    assert volume.bounds == Bbox((0, 0, 0), (37, 25, 3))
    assert volume.chunks == (37, 25, 1, 1)
    assert volume.dtype == expected.dtype
    assert np.array_equal(read(folder / name)[..., 0], expected)
    assert np.array_equal(volume[3:9, 2:20, 1:3][..., 0].T, expected[1:3, 2:20, 3:9])


@pytest.mark.parametrize(
    "dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"], ids=lambda name: np.dtype(name).name
)
def test_data_types(tmp_path, dtype):
    stack = planes(dtype=dtype)
    volume = Volume(write_folder(tmp_path / "s", stack))
    assert volume.dtype == np.dtype(dtype)
    assert np.array_equal(read(tmp_path / "s")[..., 0], stack)


@pytest.mark.parametrize("channels", [2, 3, 4, 5])
@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_channels(tmp_path, channels, suffix):
    if (channels, suffix) == (5, "png"):
        return
    stack = planes(2, (9, 7, channels), np.uint16)
    for z, plane in enumerate(stack):
        if suffix == "png":
            (tmp_path / f"{z}.png").write_bytes(imagecodecs.png_encode(plane))
        else:
            kind = "rgb" if channels in (3, 4) else "minisblack"
            extra = channels - (3 if kind == "rgb" else 1)
            tifffile.imwrite(
                tmp_path / f"{z}.tif", plane, photometric=kind, planarconfig="contig", extrasamples=(0,) * extra
            )
    assert Volume(tmp_path).num_channels == channels
    assert np.array_equal(read(tmp_path), stack)


def test_jpeg_planes_are_what_the_decoder_gives(tmp_path):
    for z, plane in enumerate(planes(2, (20, 30, 3))):
        (tmp_path / f"{z}.JPG").write_bytes(imagecodecs.jpeg8_encode(plane, level=90))
    expected = np.stack([imagecodecs.jpeg8_decode((tmp_path / f"{z}.JPG").read_bytes()) for z in range(2)])
    assert np.array_equal(read(tmp_path), expected)


def test_order_is_natural_and_other_files_do_not_count(tmp_path):
    for name in ("9.PNG", "10.png", "11.tiff"):
        array = np.full((4, 5), int(name.partition(".")[0]), np.uint8)
        if name.endswith("tiff"):
            tifffile.imwrite(tmp_path / name, array)
        else:
            Image.fromarray(array).save(tmp_path / name)
    for name in ("notes.txt", ".DS_Store", ".8.png", "Thumbs.db", "12.tif.bak"):
        (tmp_path / name).write_bytes(b"no image")
    (tmp_path / "13.tif").mkdir()
    assert read(tmp_path)[:, 0, 0, 0].tolist() == [9, 10, 11]


def test_gaps_warn_and_close_up(tmp_path):
    folder = write_folder(tmp_path, planes(4), "{}.tif")
    (folder / "3.tif").rename(folder / "7.tif")
    with pytest.warns(UserWarning, match="no image has the number 3 to 6"):
        volume = Volume(folder)
    assert volume.bounds == Bbox((0, 0, 0), (37, 25, 4))


def test_planes_lie_where_their_names_say(tmp_path):
    stack = planes(3)
    for plane, z in zip(stack, (7, 8, 11), strict=True):
        tifffile.imwrite(tmp_path / f"s2_z{z}.tif", plane)
    with pytest.warns(UserWarning, match="number 9 to 10; planes there are 0"):
        volume = Volume(tmp_path, storage_options={"z_from_name": True})
    assert volume.bounds == Bbox((0, 0, 7), (37, 25, 12))
    whole = np.asarray(volume[:, :, :])[..., 0].T
    assert np.array_equal(whole[[0, 1, 4]], stack)
    assert not whole[2:4].any()
    assert volume.exists().missing == ["#9", "#10"]
    with pytest.warns(UserWarning, match="number 9 to 10"):
        strict = Volume(tmp_path, storage_options={"z_from_name": True}, fill_missing=False)
    with pytest.raises(MissingChunkError, match="#9"):
        strict[:, :, 9]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1.tif", "01.tif"], "01.tif and 1.tif both have the number 1"),
        (["1.tif", "a.tif"], "not every file name has a number"),
        (["1.tif", "999999999999.tif"], "reach from 1 to 999999999999"),
        (["1.tif", "99999999999999999999.tif"], "no coordinate"),
    ],
)
def test_names_that_place_nothing(tmp_path, names, message):
    for name in names:
        tifffile.imwrite(tmp_path / name, planes(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ImageStackError, match=message):
            Volume(tmp_path, storage_options={"z_from_name": True})


def test_patterns_and_single_files(tmp_path):
    stack = planes(4)
    write_folder(tmp_path / "a1", stack[:2])
    write_folder(tmp_path / "a2", stack[2:])
    Image.fromarray(stack[0]).save(tmp_path / "a1" / "extra.png")
    with pytest.raises(DatasetNotFoundError, match="holds no image"):
        Volume(tmp_path)
    assert np.array_equal(read(tmp_path / "a*" / "*.tif")[..., 0], stack)
    assert np.array_equal(read(f"{tmp_path}/**/*.tif")[..., 0], stack)
    assert np.array_equal(read(tmp_path / "a2" / "00[1-9].tif")[..., 0], stack[3:])
    assert np.array_equal(read(tmp_path / "a1" / "extra.png")[..., 0], stack[:1])
    assert np.array_equal(read(f"stack://{tmp_path}/a1/*.tif")[..., 0], stack[:2])
    with pytest.raises(ImageStackError, match=r"no image matches '\*\.jpg'"):
        Volume(tmp_path / "a1" / "*.jpg")


def test_names_with_wildcard_characters_are_taken_literally(tmp_path):
    stack = planes(2)
    folder = write_folder(tmp_path / "[ab]*", stack, "x[{}].tif")
    write_folder(tmp_path / "a", stack[::-1])
    assert np.array_equal(read(folder)[..., 0], stack)
    assert np.array_equal(read(folder / "x[1].tif")[..., 0], stack[1:])
    assert np.array_equal(read(f"{folder}/x*.tif")[..., 0], stack)


def test_a_file_beside_a_dataset_is_the_file(tmp_path):
    Volume.from_numpy(np.ones((4, 4, 4), np.uint8), tmp_path / "d")
    tifffile.imwrite(tmp_path / "d" / "thumb.tif", planes(1)[0])
    assert Volume(tmp_path / "d").shape == (4, 4, 4, 1)
    assert Volume(tmp_path / "d" / "thumb.tif").shape == (37, 25, 1, 1)


def test_a_folder_with_one_multi_page_tiff_is_that_stack(tmp_path):
    stack = planes(5)
    tifffile.imwrite(tmp_path / "x.tif", stack)
    (tmp_path / "readme.txt").write_text("hello")
    assert np.array_equal(read(tmp_path)[..., 0], stack)
    tifffile.imwrite(tmp_path / "y.tif", stack)
    with pytest.raises(ImageStackError, match=r"x.tif holds 5 images, and there are 2 files"):
        Volume(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"compression": "lzw", "predictor": True, "rowsperstrip": 7},
        {"compression": "zlib", "tile": (16, 16)},
        {"compression": "packbits", "byteorder": ">"},
        {"compression": "zstd", "bigtiff": True, "tile": (16, 48)},
        {"ome": True},
        {"imagej": True},
    ],
    ids=str,
)
def test_multi_page_tiff(tmp_path, options):
    stack = planes(6, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", stack, photometric="minisblack", **options)
    volume = Volume(tmp_path / "x.tif")
    assert volume.shape == (37, 25, 6, 1)
    assert np.array_equal(np.asarray(volume[:, :, :])[..., 0].T, stack)
    assert np.array_equal(volume[:, :, 4][..., 0].T, stack[4])
    report = volume.exists()
    assert len(report) == 6
    assert not report.missing


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_multi_page_rgb(tmp_path, planar):
    stack = planes(3, (9, 7, 3))
    stored = np.moveaxis(stack, -1, 1) if planar == "separate" else stack
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="rgb", planarconfig=planar)
    assert np.array_equal(read(tmp_path / "x.tif"), stack)


def test_reduced_copies_are_left_out_and_other_sizes_are_an_error(tmp_path):
    stack = planes(3)
    for name, subfile in (("pyramid", 1), ("mixed", 0)):
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as file:
            for plane in stack:
                file.write(plane, metadata=None)
                file.write(plane[::2, ::2], subfiletype=subfile, metadata=None)
    assert np.array_equal(read(tmp_path / "pyramid.tif")[..., 0], stack)
    with pytest.raises(ImageStackError, match="page 1 is 19 x 13 uint8 grey, but page 0 is 37 x 25"):
        Volume(tmp_path / "mixed.tif")


def test_imagej_stack_with_one_directory(tmp_path):
    """Beyond 4 GB ImageJ writes one directory for all planes."""
    stack = planes(6, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", stack, imagej=True, metadata={"axes": "ZYX"}, byteorder=">")
    data = (tmp_path / "x.tif").read_bytes()
    first = int.from_bytes(data[4:8], "big")
    link = first + 2 + 12 * int.from_bytes(data[first : first + 2], "big")
    (tmp_path / "one.tif").write_bytes(data[:link] + bytes(4) + data[link + 4 :])
    with tifffile.TiffFile(tmp_path / "one.tif") as file:
        assert len(file.pages) == 1
    assert np.array_equal(read(tmp_path / "one.tif")[..., 0], stack)
    (tmp_path / "cut.tif").write_bytes((tmp_path / "one.tif").read_bytes()[: -stack[0].nbytes])
    with pytest.raises(CorruptChunkError, match="cut short"):
        Volume(tmp_path / "cut.tif")


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_channels_and_times_as_pages_warn(tmp_path, kind):
    stack = planes(6, dtype=np.uint16).reshape(3, 2, 25, 37)
    tifffile.imwrite(tmp_path / "x.tif", stack, metadata={"axes": "ZCYX"}, photometric="minisblack", **{kind: True})
    with pytest.warns(UserWarning, match=r"2 channel\(s\) and 1 time\(s\); all its 6 pages"):
        assert Volume(tmp_path / "x.tif").shape[2] == 6


def test_palettes_and_single_bits(tmp_path):
    index = planes(1)[0] % 4
    palette = np.zeros((3, 256), np.uint16)
    palette[:, :4] = np.array([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 250, 251]]) << 8
    tifffile.imwrite(tmp_path / "p.tif", index, photometric="palette", colormap=palette)
    colours = (palette >> 8).astype(np.uint8).T
    assert np.array_equal(read(tmp_path / "p.tif")[0], colours[index])
    picture = Image.fromarray(index).convert("P")
    picture.putpalette(colours[:4].tobytes())
    picture.save(tmp_path / "p.png")
    assert np.array_equal(read(tmp_path / "p.png")[0], np.asarray(picture.convert("RGB")))
    for name, white in (("minisblack", 1), ("miniswhite", 0)):
        tifffile.imwrite(tmp_path / f"{name}.tif", index > 1, photometric=name)
        assert np.array_equal(read(tmp_path / f"{name}.tif")[0, ..., 0], np.where((index > 1) == white, 255, 0))
    Image.fromarray(index > 1).save(tmp_path / "bits.png")
    assert np.array_equal(read(tmp_path / "bits.png")[0, ..., 0], np.where(index > 1, 255, 0))


@pytest.mark.parametrize(
    ("kind", "message"),
    [("cmyk", "colour type 5"), ("complex", "64 bits"), ("jpegxl", "compression"), ("twelve", "12 bits")],
)
def test_what_cannot_be_read_says_so(tmp_path, kind, message):
    path = tmp_path / "x.tif"
    if kind == "cmyk":
        tifffile.imwrite(path, planes(1, (8, 8, 4))[0], photometric="separated")
    elif kind == "complex":
        tifffile.imwrite(path, np.zeros((8, 8), np.complex64))
    elif kind == "twelve":
        tifffile.imwrite(path, np.zeros((8, 8), np.uint16), bitspersample=12)
    else:
        tifffile.imwrite(path, planes(1)[0], compression="png")
    with pytest.raises(UnsupportedError, match=message) as caught:
        Volume(path)
    assert caught.value.key == "x.tif"


def test_planes_are_views_of_uncompressed_files(tmp_path):
    plane = planes(1, dtype=np.uint16)[0]
    tifffile.imwrite(tmp_path / "0.tif", plane)
    volume = Volume(tmp_path)
    data = (tmp_path / "0.tif").read_bytes()
    chunk = volume._format.decode(volume.levels[0], (0, 0, 0, 0), Value(data, b""))
    assert np.shares_memory(chunk, np.frombuffer(data, np.uint8))
    assert chunk.shape == (37, 25, 1, 1)
    assert chunk.flags.f_contiguous


def test_stacks_are_read_only_and_pickle(tmp_path):
    volume = Volume(write_folder(tmp_path / "s", planes()))
    assert isinstance(volume._format, Stack)
    assert volume.resolution.tolist() == [1, 1, 1]
    with pytest.raises(ReadOnlyError):
        volume[:, :, :] = 0
    again = pickle.loads(pickle.dumps(Volume(tmp_path / "s" / "00[12].tif")))
    assert again.shape == (37, 25, 2, 1)
    again.refresh_info()
    assert again.shape == (37, 25, 2, 1)


def test_many_files_open_without_reading_them(tmp_path):
    tifffile.imwrite(tmp_path / "0.tif", planes(1)[0])
    for z in range(1, 50):
        os.link(tmp_path / "0.tif", tmp_path / f"{z}.tif")
    (tmp_path / "49.tif").unlink()
    (tmp_path / "49.tif").write_bytes(b"damaged")
    assert Volume(tmp_path).shape[2] == 50
