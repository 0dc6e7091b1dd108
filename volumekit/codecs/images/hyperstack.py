"""What ImageJ and OME say about the pages of a TIFF file in the text of its first page.

Sources: ImageJ's ``FileInfo`` and ``TiffEncoder``; the OME-TIFF specification (2016-06).
"""

from __future__ import annotations

import re

from volumekit.codecs.images.page import ByteSource
from volumekit.codecs.images.tiff_page import TiffPage
from volumekit.errors import CorruptChunkError


def unfolded(page: TiffPage, text: bytes, source: ByteSource) -> list[TiffPage]:
    """Return the planes of an ImageJ stack, which beyond 4 GB has one directory for all of them.

    Raises
    ------
    CorruptChunkError
        If the file is shorter than its planes.
    """
    declared = re.search(rb"^images=(\d{1,9})$", text, re.MULTILINE)
    start = page.contiguous
    if not text.startswith(b"ImageJ=") or declared is None or start is None or int(declared[1]) < 2:
        return [page]
    count = int(declared[1])
    if not source.reaches(start + count * page.nbytes - 1):
        raise CorruptChunkError(f"ImageJ's header declares {count} images, but the file is cut short")
    return [page.at(start + n * page.nbytes) for n in range(count)]


def hyperstack_note(text: bytes, pages: int) -> str:
    """Return a sentence if the pages are planes of several channels or times; else nothing."""
    if text.startswith(b"ImageJ="):
        patterns = [rb"^channels=(\d{1,9})$", rb"^frames=(\d{1,9})$"]
    else:
        patterns = [rb'<Pixels[^>]*\bSizeC="(\d{1,9})"', rb'<Pixels[^>]*\bSizeT="(\d{1,9})"']
    found = [re.search(pattern, text, re.MULTILINE) for pattern in patterns]
    channels, times = (int(match[1]) if match else 1 for match in found)
    if not 1 < channels * times < pages:
        return ""
    return (
        f"the file says that it holds {channels} channel(s) and {times} time(s);"
        f" all its {pages} pages are read as planes of one stack, in the order of the file"
    )
