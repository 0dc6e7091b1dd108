"""Image files as planes of voxels: TIFF, PNG and JPEG, read from any source of bytes.

Values are what the file stores: no colour management, no contrast, no inversion, no turning by EXIF. A plane
is (y, x, channel): grey has 1 channel, grey with alpha 2, RGB 3, RGBA 4, anything else as many as it has
samples. Palettes become RGB; pictures of one bit per pixel become uint8, 0 (black) and 255 (white).

Headers are checked before anything is allocated: a picture that declares more pixels than its bytes can hold
is damaged.
"""

from __future__ import annotations

from volumekit.codecs.images.page import Bytes, ByteSource, Page
from volumekit.errors import ImageStackError

__all__ = ["SUFFIXES", "ByteSource", "Bytes", "Page", "image_pages"]

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
"""Endings of the names of image files, in lower case."""


def image_pages(source: ByteSource) -> list[Page]:
    """Read the headers of an image file; its contents decide what it is, not its name.

    Parameters
    ----------
    source : ByteSource
        The file.

    Returns
    -------
    list of Page
        The planes it holds. Reduced copies and masks that some programs add to a TIFF are left out.

    Raises
    ------
    CorruptChunkError
        If the headers are damaged.
    UnsupportedError
        If this kind of picture cannot be read.
    ImageStackError
        If this is no image file, or its pages differ in size or type.
    """
    start = source.read(0, 8)
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        from volumekit.codecs.images.tiff import tiff_pages

        return [*tiff_pages(source)]
    if start == b"\x89PNG\r\n\x1a\n":
        from volumekit.codecs.images.png import png_page

        return [png_page(source)]
    if start[:2] == b"\xff\xd8":
        from volumekit.codecs.images.jpeg import jpeg_page

        return [jpeg_page(source)]
    raise ImageStackError("the file is empty" if not start else "the file is no TIFF, PNG or JPEG image")
