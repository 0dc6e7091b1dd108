"""TIFF directories: which pages a file holds, and how their pixels are stored.

Sources: TIFF revision 6.0; Adobe Photoshop TIFF Technical Notes (2002); the BigTIFF design of AWare Systems.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Literal

import numpy as np

from volumekit.codecs.images.hyperstack import hyperstack_note, unfolded
from volumekit.codecs.images.page import ByteSource, check_size
from volumekit.codecs.images.tiff_page import DENSEST, TiffPage
from volumekit.errors import CorruptChunkError, ImageStackError, UnsupportedError

_TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_MAX_ENTRIES = 4096
_MAX_VALUES = 1 << 24
_MAX_SAMPLES = 65535
_REDUCED, _MASK = 1, 4


class Tag(IntEnum):
    """The tags that matter here."""

    SUBFILE = 254
    OLD_SUBFILE = 255
    WIDTH = 256
    LENGTH = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    DESCRIPTION = 270
    STRIPS = 273
    SAMPLES = 277
    STRIP_ROWS = 278
    STRIP_BYTES = 279
    PLANAR = 284
    PREDICTOR = 317
    COLOURS = 320
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILES = 324
    TILE_BYTES = 325
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    DEPTH = 32997


_KNOWN = frozenset(Tag)

Tags = dict[int, tuple[int, ...]]


def tiff_pages(source: ByteSource) -> list[TiffPage]:
    """Return the full-size pages of a TIFF file.

    Raises
    ------
    CorruptChunkError, UnsupportedError
        If a directory is damaged, or its kind of picture cannot be read.
    ImageStackError
        If pages differ in size or type, other than reduced copies marked as such.
    """
    directories = [*_directories(source)]
    if not directories:
        raise CorruptChunkError("the TIFF file holds no image; it is damaged or was not closed by its writer")
    extra = [_extra(tags) for tags in directories]
    whole = [n for n, is_extra in enumerate(extra) if not is_extra] or [0]
    order = _byte_order(source)
    pages = [_page(directories[n], order) for n in whole]
    for n, page in zip(whole, pages, strict=True):
        if (page.shape, page.dtype) != (pages[0].shape, pages[0].dtype):
            raise ImageStackError(
                f"page {n} is {page}, but page {whole[0]} is {pages[0]};"
                " save the pages of one size and type as a file of their own"
            )
        if not source.reaches(max(a + count for a, count in zip(page.offsets, page.counts, strict=True)) - 1):
            raise CorruptChunkError(f"the TIFF file is cut short: page {n} lies beyond its end")
    text = bytes(value & 255 for value in directories[whole[0]].get(Tag.DESCRIPTION, ()))
    pages = unfolded(pages[0], text, source) if len(pages) == 1 else pages
    return [replace(pages[0], note=hyperstack_note(text, len(pages))), *pages[1:]]


def _byte_order(source: ByteSource) -> Literal["<", ">"]:
    return "<" if source.read(0, 2) == b"II" else ">"


@dataclass(frozen=True)
class _Layout:
    """How numbers are written in a TIFF file: classic or BigTIFF, little or big endian."""

    order: Literal["<", ">"]
    big: bool

    @property
    def word(self) -> str:
        """Format of an offset."""
        return "Q" if self.big else "I"

    def unpack(self, codes: str, data: bytes) -> tuple[int, ...]:
        """Unpack numbers, or say that the file ends here."""
        size = struct.calcsize(self.order + codes)
        if len(data) < size:
            raise CorruptChunkError("a TIFF directory lies beyond the end of the file, which is cut short")
        return struct.unpack(self.order + codes, data[:size])


def _directories(source: ByteSource) -> Iterator[Tags]:
    """Yield the tags of each directory in the main chain."""
    layout = _Layout(_byte_order(source), source.read(2, 2) in (b"+\0", b"\0+"))
    at = layout.unpack(layout.word, source.read(*((8, 8) if layout.big else (4, 4))))[0]
    seen: set[int] = set()
    while at:
        if at in seen:
            raise CorruptChunkError("the TIFF directories form a loop; the file is damaged")
        seen.add(at)
        tags, at = _directory(source, layout, at)
        yield tags


def _directory(source: ByteSource, layout: _Layout, at: int) -> tuple[Tags, int]:
    """Return the tags of one directory, and where the next one is."""
    head, step, word = (8, 20, 8) if layout.big else (2, 12, 4)
    count = layout.unpack("Q" if layout.big else "H", source.read(at, head))[0]
    if count > _MAX_ENTRIES:
        raise CorruptChunkError(f"a TIFF directory declares {count} entries; the file is damaged")
    block = source.read(at, head + count * step + word)  # no byte more: what follows may be voxels
    tags: Tags = {}
    for n in range(count):
        entry = block[head + n * step : head + (n + 1) * step]
        tag, kind, length = layout.unpack("HHQ" if layout.big else "HHI", entry)
        if kind in _TYPES and tag in _KNOWN:
            tags[tag] = _values(source, layout, entry, _TYPES[kind], length)
    return tags, layout.unpack(layout.word, block[head + count * step :])[0]


def _values(source: ByteSource, layout: _Layout, entry: bytes, code: str, length: int) -> tuple[int, ...]:
    if length > _MAX_VALUES:
        raise CorruptChunkError(f"a TIFF tag declares {length} values; the file is damaged")
    inline = entry[12:] if layout.big else entry[8:]
    size = length * struct.calcsize(layout.order + code)
    if size > len(inline):
        inline = source.read(layout.unpack(layout.word, inline)[0], size)
    return layout.unpack(f"{length}{code}", inline)


def _extra(tags: Tags) -> bool:
    """Tell whether a directory is a reduced copy of another one, or a mask."""
    return bool(_one(tags, Tag.SUBFILE, 0) & (_REDUCED | _MASK)) or _one(tags, Tag.OLD_SUBFILE, 1) == 2


def _one(tags: Tags, tag: int, default: int | None = None) -> int:
    values = tags.get(tag)
    if values:
        return values[0]
    if default is None:
        raise CorruptChunkError(f"the TIFF page lacks tag {tag}; the file is damaged")
    return default


def _page(tags: Tags, order: Literal["<", ">"]) -> TiffPage:
    """Return the page a directory describes, everything checked that can be without its pixels."""
    height, width, samples = _one(tags, Tag.LENGTH), _one(tags, Tag.WIDTH), _one(tags, Tag.SAMPLES, 1)
    if not 1 <= samples <= _MAX_SAMPLES:
        raise CorruptChunkError(f"the TIFF page declares {samples} samples per pixel; the file is damaged")
    compression, photometric = _one(tags, Tag.COMPRESSION, 1), _one(tags, Tag.PHOTOMETRIC, 1)
    if compression not in DENSEST:
        readable = "none, LZW, deflate, PackBits, JPEG, LZMA and Zstandard"
        raise UnsupportedError(f"TIFF compression {compression} cannot be read; readable are {readable}")
    bits, dtype = _sample_type(tags, samples)
    tiled = Tag.TILES in tags
    rows = _one(tags, Tag.TILE_LENGTH) if tiled else min(height, _one(tags, Tag.STRIP_ROWS, height))
    page = TiffPage(
        height=height,
        width=width,
        channels=3 if photometric == 3 else samples,
        dtype=dtype,
        order=order,
        bits=bits,
        samples=samples,
        compression=compression,
        photometric=photometric,
        predictor=_one(tags, Tag.PREDICTOR, 1),
        reversed_bits=_one(tags, Tag.FILL_ORDER, 1) == 2,
        separate=_one(tags, Tag.PLANAR, 1) == 2 and samples > 1,
        tile=(rows, _one(tags, Tag.TILE_WIDTH) if tiled else width),
        offsets=tags.get(Tag.TILES, tags.get(Tag.STRIPS, ())),
        counts=tags.get(Tag.TILE_BYTES, tags.get(Tag.STRIP_BYTES, ())),
        tables=bytes(value & 255 for value in tags.get(Tag.JPEG_TABLES, ())),
        colours=tags.get(Tag.COLOURS, ()),
    )
    _check_kind(page, tags)
    return _checked(page)


def _sample_type(tags: Tags, samples: int) -> tuple[int, np.dtype[Any]]:
    """Return bits per sample, and the data type of the voxels."""
    kinds = set(zip(_each(tags, Tag.BITS, samples), _each(tags, Tag.SAMPLE_FORMAT, samples), strict=True))
    (bits, kind), *others = kinds
    name = {1: "uint", 2: "int", 3: "float", 4: "uint"}.get(kind, "unknown")
    if others or (bits, name) not in _SAMPLE_TYPES:
        found = ", ".join(f"{bits}-bit {kind}" for bits, kind in sorted(kinds))
        raise UnsupportedError(
            f"TIFF samples of {found if others else f'{bits} bits, type {name}'} cannot be read;"
            " convert the images to 8, 16 or 32 bits per sample"
        )
    return bits, np.dtype(np.uint8) if bits == 1 else np.dtype(f"{name}{bits}")


_SAMPLE_TYPES = {(1, "uint"), (16, "float"), (32, "float"), (64, "float")} | {
    (bits, name) for bits in (8, 16, 32, 64) for name in ("uint", "int")
}


def _each(tags: Tags, tag: int, samples: int) -> tuple[int, ...]:
    values = tags.get(tag) or (1,)
    return (values + values[-1:] * samples)[:samples]


def _check_kind(page: TiffPage, tags: Tags) -> None:
    """Refuse valid pictures that would come out wrong."""
    jpeg = page.compression == 7
    grey_or_rgb = page.photometric in (0, 1, 2, 4) or (page.photometric == 6 and jpeg)
    palette = page.photometric == 3 and page.samples == 1 and page.bits == 8
    if not (grey_or_rgb or palette):
        raise UnsupportedError(
            f"TIFF images of colour type {page.photometric} (5 is CMYK, 6 YCbCr, 8 Lab) cannot be read;"
            " convert them to grey or RGB"
        )
    if palette and len(page.colours) != 768:
        raise CorruptChunkError(f"the TIFF palette has {len(page.colours)} entries, not 768")
    if page.predictor not in (1, 2, 3) or (page.predictor == 3 and page.dtype.kind != "f"):
        raise UnsupportedError(f"TIFF predictor {page.predictor} on {page.dtype} cannot be read")
    if _one(tags, Tag.DEPTH, 1) != 1 or (jpeg and (page.bits != 8 or page.samples not in (1, 3))):
        raise UnsupportedError("volumetric TIFF tiles, and JPEG other than 8-bit grey or RGB, cannot be read")
    if page.bits == 1 and (page.samples != 1 or page.predictor != 1):
        raise UnsupportedError("TIFF images of one bit per sample are read with one sample per pixel only")


def _checked(page: TiffPage) -> TiffPage:
    """Check the sizes a directory declares against the bytes it points to."""
    rows, columns = page.tile
    if rows < 1 or columns < 1:
        raise CorruptChunkError("the TIFF page declares empty strips or tiles; the file is damaged")
    check_size(page.width, page.height, DENSEST[page.compression] * sum(page.counts) * 8 // page.bits)
    wanted = math.prod(page.grid)
    found = min(len(page.offsets), len(page.counts))
    if found < wanted:
        raise CorruptChunkError(f"the TIFF page has {found} strips or tiles where {wanted} are needed")
    page = replace(page, offsets=page.offsets[:wanted], counts=page.counts[:wanted])
    if min(page.offsets) < 1 or min(page.counts) < 1:
        raise CorruptChunkError("parts of the TIFF page were never stored; write the file again")
    if rows * columns * page.samples * page.dtype.itemsize > 64 * page.nbytes + (1 << 26):
        raise CorruptChunkError(f"the TIFF page declares tiles of {columns} x {rows} pixels; it is damaged")
    return page
