"""Pixels of a TIFF page: strips and tiles, decompressed straight into an array where they fit.

Sources: TIFF revision 6.0, sections 3 to 15; Adobe Photoshop TIFF Technical Note 3 (predictor 3).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.images.jpeg import jpeg_page
from volumekit.codecs.images.lzw import decode_lzw
from volumekit.codecs.images.page import Bytes, ByteSource, Page
from volumekit.errors import CorruptChunkError

LZW, JPEG = 5, 7
_DECODERS = {8: "deflate", 32946: "deflate", 32773: "packbits", 34925: "lzma", 50000: "zstd"}
_RATIOS = {"deflate": 1032, "packbits": 64, "lzma": 1 << 15, "zstd": 1 << 15}
DENSEST = {1: 1, LZW: 4096, JPEG: 512, **{number: _RATIOS[name] for number, name in _DECODERS.items()}}
"""Most bytes one stored byte can decode to, by TIFF compression; what is not listed cannot be read."""

Buffer = NDArray[np.uint8]
Window = tuple[slice, slice]


@dataclass(frozen=True)
class TiffPage(Page):
    """A page of a TIFF file.

    Attributes
    ----------
    order : {"<", ">"}
        Byte order of the samples.
    bits, samples : int
        Bits per sample and samples per pixel, as stored.
    compression, photometric, predictor : int
        Tags 259, 262 and 317.
    reversed_bits : bool
        Whether the bits of each byte are stored in reverse.
    separate : bool
        Whether each sample has strips or tiles of its own.
    tile : tuple of int
        (rows, columns) of a strip or tile.
    offsets, counts : tuple of int
        Where they are in the file, row by row.
    tables : bytes
        JPEG tables that all of them share.
    colours : tuple of int
        The palette: 256 reds, greens and blues of 16 bits.
    """

    order: Literal["<", ">"]
    bits: int
    samples: int
    compression: int
    photometric: int
    predictor: int
    reversed_bits: bool
    separate: bool
    tile: tuple[int, int]
    offsets: tuple[int, ...] = field(repr=False)
    counts: tuple[int, ...] = field(repr=False)
    tables: bytes = field(repr=False)
    colours: tuple[int, ...] = field(repr=False)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Number of strips or tiles: sets of samples, down, across."""
        rows, columns = self.tile
        return self.samples if self.separate else 1, -(-self.height // rows), -(-self.width // columns)

    @property
    def stored(self) -> np.dtype[Any]:
        """Data type of the samples as stored."""
        return self.dtype.newbyteorder(self.order)

    @functools.cached_property
    def native(self) -> bool:
        """Whether samples are stored in this machine's byte order."""
        return bool(self.stored.isnative)

    @functools.cached_property
    def block(self) -> TiffPage | None:
        """The same page, stored as one block; None if it is not."""
        return None if self.contiguous is None else self.at(self.contiguous)

    @functools.cached_property
    def contiguous(self) -> int | None:
        """Where the page's voxels lie in the file as one block, row by row; None if they do not."""
        plain = (self.compression, self.predictor, self.reversed_bits, self.separate) == (1, 1, False, False)
        if not plain or self.bits == 1 or self.photometric == 3 or self.tile[1] != self.width:
            return None
        ends = [self.offsets[0], *(a + n for a, n in zip(self.offsets, self.counts, strict=True))]
        if ends[:-1] != list(self.offsets) or ends[-1] - ends[0] < self.nbytes:
            return None
        return self.offsets[0]

    def at(self, offset: int) -> TiffPage:
        """Return the same page, stored as one block elsewhere in the file."""
        return replace(self, offsets=(offset,), counts=(self.nbytes,), tile=(self.height, self.width))

    def spans(self) -> list[tuple[int, int]]:
        """Return the byte ranges that hold the page, those close together joined; half-open, ascending."""
        joined: list[tuple[int, int]] = []
        for start, count in sorted(zip(self.offsets, self.counts, strict=True)):
            if joined and start - joined[-1][1] <= _GAP:
                joined[-1] = joined[-1][0], max(start + count, joined[-1][1])
            else:
                joined.append((start, start + count))
        return joined

    def image(self, source: ByteSource) -> NDArray[Any]:
        """See `Page.image`."""
        start = self.contiguous
        if start is None or not isinstance(source, Bytes):
            return super().image(source)
        at, count = source.position(start), self.height * self.width * self.channels
        if at + self.nbytes > len(source.data):
            raise _cut_short()
        array = np.frombuffer(source.data, self.stored, count, at).reshape(self.shape)
        return array.astype(self.dtype, copy=False)

    def read(self, source: ByteSource, out: NDArray[Any], low: tuple[int, int] = (0, 0)) -> None:
        """See `Page.read`."""
        if self.contiguous is not None:
            self._read_rows(source, out, low, self.contiguous)
            return
        rows, columns = self.tile
        high = low[0] + out.shape[0], low[1] + out.shape[1]
        sets, down, across = self.grid
        for part in range(sets):
            for i in range(low[0] // rows, -(-high[0] // rows)):
                for j in range(low[1] // columns, -(-high[1] // columns)):
                    n = (part * down + i) * across + j
                    target = out[:, :, part : part + 1] if self.separate else out
                    self._read_tile(source, n, (i * rows, j * columns), target, low)

    def _read_rows(self, source: ByteSource, out: NDArray[Any], low: tuple[int, int], start: int) -> None:
        """Read uncompressed rows, straight into ``out`` where it is contiguous."""
        pixel = self.channels * self.dtype.itemsize
        whole = out.shape[1] == self.width
        for block in [out] if whole else out:
            target = block if block.flags.c_contiguous else np.empty(block.shape, self.dtype)
            at = start + (low[0] * self.width + low[1]) * pixel
            buffer = memoryview(target.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
            if buffer.nbytes and source.readinto(at, buffer) < buffer.nbytes:
                raise _cut_short()
            if not self.stored.isnative:
                target.byteswap(inplace=True)
            if target is not block:
                block[...] = target
            low = low[0] + 1, low[1]

    def _read_tile(
        self, source: ByteSource, n: int, corner: tuple[int, int], out: NDArray[Any], low: tuple[int, int]
    ) -> None:
        """Decode one strip or tile, and copy what lies in the window."""
        rows = min(self.tile[0], self.height - corner[0])
        inside, outside = _overlap((corner, (rows, self.tile[1])), (low, out.shape[:2]), self.width)
        target = out[outside]
        fits = inside == (slice(0, self.tile[0]), slice(0, self.tile[1])) and target.flags.c_contiguous
        fits = fits and self.bits > 1 and self.photometric != 3 and self.compression not in (1, JPEG)
        tile = self._decoded(source, n, rows, target if fits else None)
        if not fits:
            target[...] = tile[inside]

    def _decoded(self, source: ByteSource, n: int, rows: int, target: NDArray[Any] | None) -> NDArray[Any]:
        """Return the voxels of a strip or tile, in ``target`` if there is one."""
        data = source.read(self.offsets[n], self.counts[n])
        if len(data) < self.counts[n]:
            raise _cut_short()
        try:
            return self._pixels(data, rows, target)
        except CorruptChunkError:
            raise
        except Exception as error:  # what a decoder raises is its own business
            raise CorruptChunkError(f"part {n} of the TIFF page does not decode: {error}") from error

    def _pixels(self, data: bytes, rows: int, target: NDArray[Any] | None) -> NDArray[Any]:
        import imagecodecs

        samples = 1 if self.separate else self.samples
        shape = (rows, self.tile[1], samples)
        if self.compression == JPEG:
            return self._jpeg(data, shape)
        if self.reversed_bits:
            data = bytes(imagecodecs.bitorder_decode(data))
        row_bytes = (self.tile[1] * samples * self.bits + 7) // 8
        plain = self._decompressed(data, rows, row_bytes, target)
        if self.bits == 1:
            bits = np.unpackbits(plain.reshape(rows, row_bytes), axis=1, count=self.tile[1])
            return ((bits ^ (self.photometric == 0)) * np.uint8(255))[:, :, None]
        pixels = self._unpredicted(plain, shape)
        return self._coloured(pixels) if self.photometric == 3 else pixels

    def _decompressed(self, data: bytes, rows: int, row_bytes: int, target: NDArray[Any] | None) -> Buffer:
        """Return the bytes of a strip or tile; some writers fill up the last strip with rows that do not count."""
        size = rows * row_bytes
        if self.compression == 1:
            plain: Buffer = np.frombuffer(data, np.uint8)
        elif self.compression == LZW:
            plain = np.empty(size, np.uint8) if target is None else target.reshape(-1).view(np.uint8)
            decode_lzw(data, plain.reshape(rows, row_bytes))
        else:
            whole = self.tile[0] * row_bytes
            room = np.empty(whole, np.uint8) if target is None else target.reshape(-1).view(np.uint8)
            plain = _decoder(self.compression)(data, out=room)
        if len(plain) < size:
            raise CorruptChunkError(f"a strip or tile holds {len(plain)} bytes where {size} were expected")
        return plain[:size]

    def _unpredicted(self, plain: Buffer, shape: tuple[int, int, int]) -> NDArray[Any]:
        """Undo the predictor and the byte order, in place where the memory is ours."""
        import imagecodecs

        if self.predictor == 3:
            # The byte planes are in big-endian order, whatever the byte order of the file.
            encoded = plain.view(self.dtype).reshape(shape)
            decoded: NDArray[Any] = imagecodecs.floatpred_decode(encoded, axis=-2)
            if not plain.flags.writeable:
                return decoded
            encoded[...] = decoded
            return encoded
        pixels = plain.view(self.stored).reshape(shape)
        if not self.stored.isnative:
            pixels = pixels.byteswap(inplace=pixels.flags.writeable).view(self.dtype)
        if self.predictor == 2:
            pixels = pixels if pixels.flags.writeable else pixels.copy()
            whole = pixels.view(f"u{pixels.itemsize}")
            imagecodecs.delta_decode(whole, axis=-2, out=whole)
        return pixels

    def _coloured(self, pixels: NDArray[Any]) -> NDArray[Any]:
        palette = (np.array(self.colours, np.uint16).reshape(3, 256) >> 8).astype(np.uint8)
        return np.ascontiguousarray(palette.T[pixels[:, :, 0]])

    def _jpeg(self, data: bytes, shape: tuple[int, int, int]) -> NDArray[Any]:
        import imagecodecs

        declared = jpeg_page(Bytes(data))
        if not shape[0] <= declared.height <= self.tile[0] or declared.shape[1:] != shape[1:]:
            raise CorruptChunkError(f"a JPEG strip or tile declares {declared}, where {shape} was expected")
        colour = shape[2] == 3
        # A JFIF header means YCbCr, whatever the directory says; without one libjpeg would guess.
        stored = "YCBCR" if self.photometric == 6 or b"JFIF" in data[:32] else "RGB"
        picture = imagecodecs.jpeg8_decode(
            data,
            tables=self.tables or None,
            colorspace=stored if colour else None,
            outcolorspace="RGB" if colour else None,
        )
        if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
            raise _cut_short()
        pixels: NDArray[Any] = picture.reshape(declared.shape)[: shape[0]]
        return pixels


_GAP = 1 << 16


def _decoder(compression: int) -> Callable[..., Buffer]:
    import imagecodecs

    decoder: Callable[..., Buffer] = getattr(imagecodecs, f"{_DECODERS[compression]}_decode")
    return decoder


def _overlap(
    tile: tuple[tuple[int, int], tuple[int, int]], window: tuple[tuple[int, int], tuple[int, ...]], width: int
) -> tuple[Window, Window]:
    """Return the common part of a tile and a window, as slices of each."""
    inside, outside = [], []
    limits = (None, width)
    for a, n, b, m, limit in zip(*tile, *window, limits, strict=True):
        start, stop = max(a, b), min(a + n, b + m)
        stop = stop if limit is None else min(stop, limit)
        inside.append(slice(start - a, stop - a))
        outside.append(slice(start - b, stop - b))
    return (inside[0], inside[1]), (outside[0], outside[1])


def _cut_short() -> CorruptChunkError:
    return CorruptChunkError("the TIFF file is cut short: parts of the page lie beyond its end")
