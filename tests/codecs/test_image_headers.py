"""Headers of image files that are like the one before are compared, not read: the same pages, the same errors."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from volumekit.codecs.images import Bytes, headers, image_pages
from volumekit.codecs.images.headers import Headers
from volumekit.errors import VolumekitError


def tiff(voxels, **how):
    out = io.BytesIO()
    tifffile.imwrite(out, voxels, **how)
    return out.getvalue()


def picture(voxels, kind):
    out = io.BytesIO()
    Image.fromarray(voxels).save(out, kind)
    return out.getvalue()


def directory_last(voxels):
    """Return an uncompressed TIFF whose directory is at its end, as many programs write it."""
    data = tiff(voxels)
    at = int.from_bytes(data[4:8], "little")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        start = file.pages[0].dataoffsets[0]
    return data[:4] + len(data).to_bytes(4, "little") + data[8:] + data[at:start]


WRITERS = {
    "tiff": tiff,
    "bigtiff": lambda voxels: tiff(voxels, bigtiff=True),
    "strips": lambda voxels: tiff(voxels, rowsperstrip=3),
    "directory last": directory_last,
    "deflate": lambda voxels: tiff(voxels, compression="zlib"),
    "pages": lambda voxels: tiff(np.stack([voxels, voxels])),
    "png": lambda voxels: picture(voxels, "PNG"),
    "jpeg": lambda voxels: picture(voxels, "JPEG"),
}


def voxels(seed):
    return np.random.default_rng(seed).integers(0, 255, (40, 30), np.uint8)


def told(read, data):
    """Return what reading headers gives, or the error that it is."""
    try:
        return read(Bytes(data))
    except VolumekitError as error:
        return type(error), error.message


@pytest.mark.parametrize("kind", WRITERS)
def test_pages_are_the_same(kind):
    files = [WRITERS[kind](voxels(n)) for n in range(4)]
    known = Headers()
    for data in files:
        pages = known.pages(Bytes(data))
        assert pages == image_pages(Bytes(data))
        out = np.empty(pages[0].shape, pages[0].dtype)
        pages[0].read(Bytes(data), out, (0, 0))
        expected = np.empty_like(out)
        image_pages(Bytes(data))[0].read(Bytes(data), expected, (0, 0))
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("kind", ["tiff", "bigtiff", "strips", "directory last", "pages"])
def test_the_like_are_read_once(monkeypatch, kind):
    read = []
    monkeypatch.setattr(headers, "image_pages", lambda source: read.append(1) or image_pages(source))
    known = Headers()
    for n in range(4):
        known.pages(Bytes(WRITERS[kind](voxels(n))))
    assert len(read) == 1


@pytest.mark.parametrize("kind", WRITERS)
def test_damage_is_never_taken_for_likeness(kind):
    """Every byte of the headers and of the end changed, and cut off anywhere: as if there had been no file before."""
    good, other = WRITERS[kind](voxels(0)), bytearray(WRITERS[kind](voxels(1)))
    places = {*range(min(len(other), 400)), *range(max(0, len(other) - 250), len(other))}
    for at in sorted(places):
        changed = other.copy()
        changed[at] ^= 0x15
        for data in (bytes(changed), bytes(other[:at])):
            known = Headers()
            known.pages(Bytes(good))
            assert told(known.pages, data) == told(image_pages, data)


def test_what_libtiff_writes(monkeypatch):
    """Voxels begin at byte 8 there, right behind the place of the directory, which is last."""
    read, known = [], Headers()
    monkeypatch.setattr(headers, "image_pages", lambda source: read.append(1) or image_pages(source))
    for n in range(4):
        data = imagecodecs.tiff_encode(voxels(n))
        assert known.pages(Bytes(data)) == image_pages(Bytes(data))
    assert len(read) == 1


def test_one_that_differs_among_many(monkeypatch):
    read, known = [], Headers()
    monkeypatch.setattr(headers, "image_pages", lambda source: read.append(1) or image_pages(source))
    for n in range(12):
        data = tiff(voxels(n)[: 9 if n in (0, 6) else 40])
        assert known.pages(Bytes(data)) == image_pages(Bytes(data))
    assert len(read) == 4


def test_comparing_ends_where_files_differ(monkeypatch):
    """A stack whose headers are never alike is read as it is, not compared in vain as well."""
    compared, known, like = [], Headers(), headers._Known.like
    monkeypatch.setattr(headers._Known, "like", lambda self, source: compared.append(1) or like(self, source))
    for n in range(10):
        assert known.pages(Bytes(tiff(voxels(n)[: 9 + n])))[0].height == 9 + n
    assert len(compared) == 3
