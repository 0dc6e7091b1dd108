"""A stack of images as a format: one plane is one chunk."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.images import SUFFIXES, Bytes, Page, image_pages
from volumekit.errors import ImageStackError, ReadOnlyError
from volumekit.formats.base import DESCRIPTION, PLACEMENT, SELECTOR, Cell, Container, Format, WrongFormat
from volumekit.formats.stack.names import Match, gaps, literal, numbers
from volumekit.model.bbox import Bbox
from volumekit.model.level import CodecSpec, Level

_ALL = "*"
_LONGEST_GAP = 1 << 24


class Stack(Format):
    """A stack of images of one size and type, read only.

    Parameters
    ----------
    files : sequence of str
        The image files in order, or one multi-page TIFF.
    description : Mapping
        What the first one says of itself, see `storage.pages.describe_image`.
    places : sequence of int, optional
        The z of each file; default: its position. Planes that no file has are missing, and read as 0.

    Notes
    -----
    The voxel size is a placeholder, 1 nm: what image files say of it is too often wrong to be used unasked.
    """

    name: ClassVar[str] = "stack"
    writable: ClassVar[bool] = False
    selects: ClassVar[bool] = True

    def __init__(
        self, files: Collection[str], description: Mapping[str, Any], places: Collection[int] | None = None
    ) -> None:
        self.files, self.description = tuple(files), dict(description)
        self.paged = self.description["pages"] > 1
        count = self.description["pages"] if self.paged else len(self.files)
        where = range(count) if places is None else places
        self._planes = dict(zip(where, [self.files[0]] * count if self.paged else self.files, strict=True))
        width, height = self.description["width"], self.description["height"]
        channels = self.description["channels"]
        level = Level(
            key="1_1_1",
            bounds=Bbox((0, 0, min(where)), (width, height, max(where) + 1)),
            chunk=(width, height, 1, channels),
            dtype=np.dtype(self.description["dtype"]),
            channels=channels,
            resolution=(1.0, 1.0, 1.0),
            codec=CodecSpec("raw"),
            fill_missing=places is not None,
            locked="is an image stack",
        )
        self.levels = (level,)

    @classmethod
    def needs(cls, have: Mapping[str, bytes | None]) -> Collection[str]:
        """Ask for listings, then for the headers of the first image."""
        files, listings = _files(have)
        wanted = listings or {name + DESCRIPTION for name in files[:1]}
        return wanted - set(have)

    @classmethod
    def parse(cls, have: Mapping[str, bytes | None]) -> Self:
        """Build the format from the names of the files and the headers of the first.

        Raises
        ------
        WrongFormat
            If the directory holds no image.
        ImageStackError
            If nothing matches the pattern, several files hold several pages each, or two claim the same z.

        Warns
        -----
        UserWarning
            If numbers are missing between the file names, or the pages of a file are not planes of z alone.
        """
        files, _ = _files(have)
        answer = have.get(files[0] + DESCRIPTION) if files else None
        if answer is None:
            kinds = " ".join(SUFFIXES)
            if SELECTOR in have:
                raise ImageStackError(f"no image matches {_pattern(have)!r}; the names of images end in {kinds}")
            raise WrongFormat(f"the folder holds no image ({kinds})")
        description = json.loads(answer)
        if description["pages"] > 1 and len(files) > 1:
            raise ImageStackError(
                f"{files[0]} holds {description['pages']} images, and there are {len(files)} files;"
                " open one multi-page TIFF at a time, or store one image per file",
                key=files[0],
            )
        by_name = have.get(PLACEMENT) == b"name" and description["pages"] == 1
        places = _places(files) if by_name else None
        _warn(files, description, by_name)
        return cls(files, description, places)

    def metadata(self) -> dict[str, bytes]:
        """Return nothing: there are only images."""
        return {}

    def file(self, z: int) -> str | None:
        """Return the file that holds a plane, None if none does."""
        return self._planes.get(z)

    def key(self, level: Level, cell: Cell) -> str:
        """Return the file of a plane; ``file#page`` in a multi-page TIFF, ``#z`` of a plane no file has."""
        z = level.offset[2] + cell[2]
        return f"{self._planes.get(z, '')}#{z}" if self.paged or z not in self._planes else self._planes[z]

    def container(self, level: Level) -> Container | None:
        """Return the kind of container that multi-page TIFFs are."""
        return Container("pages") if self.paged else None

    def decode(self, level: Level, cell: Cell, value: Any) -> NDArray[Any]:
        """Return a plane, a view (x, y, 1, channel) of the image in C order.

        Raises
        ------
        CorruptChunkError, UnsupportedError
            If the image is damaged, or of a kind that cannot be read.
        ImageStackError
            If it is not of the stack's size and type.
        """
        name = self.key(level, cell)
        page: Page
        if "page" in value.attrs:
            page = value.attrs["page"]
            source = Bytes(value.data, spans=value.attrs["spans"])
        else:
            source = Bytes(value.data)
            page = self.page(name, image_pages(source))
        self.check(name, page)
        return page.image(source).swapaxes(0, 1)[:, :, None, :]

    def page(self, name: str, pages: list[Page]) -> Page:
        """Return the page of a file that is to hold one.

        Raises
        ------
        ImageStackError
            If it holds several.
        """
        if len(pages) > 1:
            raise ImageStackError(
                f"{name} holds {len(pages)} images, where one per file was expected; split or remove it",
                key=name,
            )
        return pages[0]

    def check(self, name: str, page: Page) -> None:
        """Raise ImageStackError unless an image has the stack's size and type."""
        level = self.levels[0]
        width, height, _, channels = level.chunk
        if (page.shape, page.dtype) != ((height, width, channels), level.dtype):
            expected = Page.describe(width, height, level.dtype, channels)
            raise ImageStackError(
                f"{name} is {page}, but the stack is {expected}, as its first image {self.files[0]} is;"
                " convert or remove the images that differ",
                key=name,
            )

    def encode(self, level: Level, cell: Cell, chunk: NDArray[Any]) -> bytes | None:
        """Raise ReadOnlyError."""
        raise ReadOnlyError("an image stack cannot be written; convert it to another format", key=level.key)


def _pattern(have: Mapping[str, bytes | None]) -> str:
    return (have.get(SELECTOR) or _ALL.encode()).decode("utf-8", "surrogateescape")


def _files(have: Mapping[str, bytes | None]) -> tuple[list[str], set[str]]:
    """Return the image files in order, and the listings it takes to find them."""
    pattern = _pattern(have)
    name = literal(pattern)
    if name is not None:
        return [name], set()
    match = Match(have, pattern)
    return [name for name in match.files if name.lower().endswith(SUFFIXES)], match.wanted


def _places(files: list[str]) -> list[int]:
    """Return the z of each file by its number."""
    found = numbers(files)
    if found is None:
        raise ImageStackError("not every file name has a number to place it by; leave out z-from-name")
    seen: dict[int, str] = {}
    for name, z in zip(files, found, strict=True):
        if z in seen:
            raise ImageStackError(f"{seen[z]} and {name} both have the number {z}; rename one", key=name)
        seen[z] = name
    if max(found) - min(found) > len(files) + _LONGEST_GAP:
        raise ImageStackError(
            f"the numbers reach from {min(found)} to {max(found)} for {len(files)} images; rename them"
        )
    return found


def _warn(files: list[str], description: Mapping[str, Any], by_name: bool) -> None:
    if description["note"]:
        warnings.warn(f"{files[0]}: {description['note']}", UserWarning, stacklevel=2)
    found = None if description["pages"] > 1 else numbers(files)
    missing = gaps(found) if found else ""
    if missing:
        meaning = "planes there are 0" if by_name else "planes close up, unless they are placed by name"
        warnings.warn(f"no image has the number {missing}; {meaning}", UserWarning, stacklevel=2)
