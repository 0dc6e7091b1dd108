"""Planes of an image stack, decoded straight into the caller's memory, several at a time."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from volumekit import compiled
from volumekit.codecs.images import Page
from volumekit.codecs.images.headers import Headers
from volumekit.codecs.images.png import PngPage
from volumekit.codecs.images.tiff_page import TiffPage
from volumekit.engine.array import LevelArray
from volumekit.engine.pool import pool
from volumekit.errors import (
    CorruptChunkError,
    ImageStackError,
    MissingChunkError,
    ShapeError,
    UnsupportedError,
    VolumekitError,
)
from volumekit.formats.stack import Stack
from volumekit.model.bbox import Bbox
from volumekit.storage import forkguard
from volumekit.storage.files import AT_ONCE, READ, opened
from volumekit.storage.pages import PagesStore, open_bytes, stored_pages

T = TypeVar("T")

SOON = 0.001
"""Seconds for a header: what takes less waits for nothing but the processor, and several threads would take longer."""

_known: WeakKeyDictionary[LevelArray, dict[int, TiffPage]] = WeakKeyDictionary()
"""What headers said of planes that are read in parts, by level: of images stored as one block, which is short."""

_MOST = 1 << 14
"""Planes of a level that are known at most."""


def reads_planes(array: LevelArray) -> bool:
    """Tell whether `read_planes` can read a level: it can if it is an image stack."""
    return isinstance(array.fmt, Stack)


Skipped = Callable[[str, VolumekitError], object]
"""Told of an image that is damaged, and of what is wrong with it; background takes its place."""

DAMAGED = (CorruptChunkError, ImageStackError, UnsupportedError)


def read_planes(
    array: LevelArray, box: Bbox, out: NDArray[Any], *, threads: int | None = None, skipped: Skipped | None = None
) -> None:
    """Read a box of an image stack; the voxels are those that `LevelArray.read` gives, sooner.

    Parameters
    ----------
    array : LevelArray
        An image stack, see `reads_planes`.
    box : Bbox
        What to read, within the level's bounds, half-open.
    out : numpy.ndarray
        (z, y, x, channel), or (z, y, x) of one channel; of the level's data type. C order is fastest: uncompressed
        images are then read, and compressed ones decoded, straight into it.
    threads : int, optional
        How many planes are decoded at once, by all calls with this number together; default: the level's threads.
        0: the calling thread does it, one by one.
    skipped : callable, optional
        What to do about damaged images instead of raising.

    Raises
    ------
    ShapeError
        If ``out`` has another shape or type.
    MissingChunkError, CorruptChunkError, UnsupportedError, ImageStackError, StorageError
        As for `LevelArray.read`. ``out`` is then read in part.
    """
    forkguard.check()
    planes = _Planes(array, skipped)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(box.minpt, box.maxpt, strict=True))
    shape = (z.stop - z.start, y.stop - y.start, x.stop - x.start, array.level.channels)
    if out.ndim == 3 and shape[3] == 1:
        out = out[..., None]
    if out.shape != shape or out.dtype != array.level.dtype:
        raise ShapeError(f"the planes of {box} are {shape} {array.level.dtype}, not {out.shape} {out.dtype}")
    low = y.start - array.level.offset[1], x.start - array.level.offset[0]
    work = (functools.partial(planes.read, z.start + n, out[n], low) for n in range(shape[0]))
    if threads == 0:
        if planes.read_blocks(z, out, low):
            return
        for step in work:
            step()
        return
    _run(threads or array.options.threads, work)


def check_planes(array: LevelArray, *, skipped: Skipped | None = None) -> int:
    """Read the headers of every image of a stack, so that a long job does not fail in its middle.

    Parameters
    ----------
    array : LevelArray
        An image stack.
    skipped : callable, optional
        What to do about damaged images instead of raising.

    Returns
    -------
    int
        The most bytes that reading a plane, or a window of one, takes beside the voxels that are asked for. Many
        kinds of images can only be decoded whole.

    Raises
    ------
    ImageStackError
        If an image differs in size or type from the first.
    CorruptChunkError, UnsupportedError
        If one cannot be read.
    """
    forkguard.check()
    _known.pop(array, None)
    planes = _Planes(array, skipped)
    numbers, most, started = iter(range(array.level.offset[2], array.level.end[2])), 0, time.perf_counter()
    for n, z in enumerate(numbers):
        most = max(most, planes.scratch(z))
        if time.perf_counter() - started > (n + 1) * SOON:
            break
    work = (functools.partial(planes.scratch, z) for z in numbers)
    return max([most, *_run(array.options.threads, work)])


class _Planes:
    """Reads single planes of a level."""

    def __init__(self, array: LevelArray, skipped: Skipped | None = None) -> None:
        self._skipped, self._headers = skipped, Headers()
        if not isinstance(array.fmt, Stack):
            raise TypeError(f"{array.fmt.name} data are no image stack")
        self.array, self.fmt, self._known = array, array.fmt, _known.setdefault(array, {})
        native = array.store.native()
        self._folder = native["path"] if native is not None and native["driver"] == "file" else None
        # The index is read in the pool whose threads will wait for it, so it has to be there before they start.
        self._index = array.objects.pages(self.fmt.files[0]).result() if isinstance(array.objects, PagesStore) else None

    def page(self, z: int) -> Page | None:
        """Return the checked page of a plane, None if there is none."""
        known = self._known.get(z)
        if known is not None:
            return known
        page = self._checked(z)
        block = page.block if isinstance(page, TiffPage) and len(self._known) < _MOST else None
        if block is not None:
            self._known[z] = block
        return page

    def _checked(self, z: int) -> Page | None:
        name = self.fmt.file(z)
        if name is None:
            return None
        if self._index is not None:
            page: Page | None = self._index[z] if z < len(self._index) else None
        else:
            found = stored_pages(self.array.store, name, self._headers)
            page = None if found is None else self.fmt.page(name, found)
        if page is not None:
            self.fmt.check(name, page)
        return page

    def scratch(self, z: int) -> int:
        """Return how many bytes reading a plane takes beside its voxels."""
        try:
            page = self.page(z)
        except DAMAGED as error:
            self._skip(z, error)
            return 0
        return 0 if page is None else _scratch(page, in_memory=self._folder is None)

    def read(self, z: int, out: NDArray[Any], low: tuple[int, int]) -> None:
        """Read a window of a plane, (y, x, channel)."""
        try:
            self._read(z, out, low)
        except DAMAGED as error:
            self._skip(z, error)
            out[...] = self.array.options.background

    def _skip(self, z: int, error: VolumekitError) -> None:
        """Tell of a damaged image, or raise if there is nobody to tell."""
        if self._skipped is None:
            raise error
        name = self.fmt.file(z) or ""
        self._skipped(f"{name}#{z}" if self.fmt.paged else name, error)

    def _read(self, z: int, out: NDArray[Any], low: tuple[int, int]) -> None:
        page, name = self.page(z), self.fmt.file(z)
        if page is None or name is None:
            self._fill(z, out)
            return
        try:
            if page is self._known.get(z) and self._read_block(cast(TiffPage, page), name, out, low):
                return
            with open_bytes(self.array.store, name) as source:
                page.read(source, out, low)
        except FileNotFoundError:  # it was there when its header was read
            self._fill(z, out)
        except VolumekitError as error:
            error.url, error.key = error.url or self.array.store.url, error.key or name
            raise

    def _read_block(self, page: TiffPage, name: str, out: NDArray[Any], low: tuple[int, int]) -> bool:
        """Read whole rows of an image that is one block of a file with a single call; tell whether that worked."""
        if self._folder is None or not page.native or out.shape[1] < page.width or not out.flags.c_contiguous:
            return False
        try:
            file = os.open(self._folder + name, READ)
        except OSError:  # which is told apart elsewhere
            return False
        try:
            start = page.offsets[0] + low[0] * page.width * page.channels * page.dtype.itemsize
            return os.preadv(file, [out.reshape(-1).view(np.uint8)], start) == out.nbytes  # type: ignore[list-item]
        except OSError:
            return False
        finally:
            os.close(file)

    def read_blocks(self, z: slice, out: NDArray[Any], low: tuple[int, int]) -> bool:
        """Do `_read_block` for many planes, in compiled code; tell whether that worked."""
        if self._folder is None or not (compiled.files_available() and len(out) and out.flags.writeable):
            return False
        pages = [(n, self._known.get(n)) for n in range(z.start, z.stop)]
        blocks = [(n, page) for n, page in pages if page is not None and page.native and page.width == out.shape[2]]
        if len(blocks) < len(out) or not out[0].flags.c_contiguous:
            return False
        skipped = low[0] * out.shape[2] * out.shape[3] * out.itemsize
        names, starts = zip(
            *((f"{self._folder}{self.fmt.file(n)}", page.offsets[0] + skipped) for n, page in blocks), strict=True
        )
        parts = (slice(n, n + AT_ONCE) for n in range(0, len(out), AT_ONCE))
        return all(_read_files(names[part], starts[part], out[part]) for part in parts)

    def _fill(self, z: int, out: NDArray[Any]) -> None:
        if not self.array.options.fill_missing:
            raise MissingChunkError(
                f"no image is stored for the plane z={z}; open the stack with fill_missing=True to read"
                f" {self.array.options.background} there",
                url=self.array.store.url,
                key=self.fmt.file(z),
            )
        out[...] = self.array.options.background


def _read_files(names: Sequence[str], starts: Sequence[int], out: NDArray[Any]) -> bool:
    """Read a block of each file; tell whether that worked."""
    from volumekit.engine.compiled_files import read_blocks

    try:
        with opened(names) as files:
            return read_blocks(files, np.array(starts, np.int64), out.ctypes.data, out.strides[0], out[0].nbytes)
    except OSError:  # which is told apart elsewhere
        return False


def _scratch(page: Page, *, in_memory: bool) -> int:
    """Return what decoding takes: the stored bytes, and the smallest part of the page that decodes by itself."""
    if isinstance(page, TiffPage):
        if page.contiguous is not None:
            return page.nbytes if in_memory else 0
        rows, columns = page.tile
        return max(page.counts) + min(rows, page.height) * columns * page.channels * page.dtype.itemsize
    # A picture that takes more bytes than its voxels exists, but not among large ones.
    return page.nbytes + (page.size if isinstance(page, PngPage) else page.nbytes)


def _run(threads: int | None, work: Iterable[Callable[[], T]]) -> list[T]:
    """Return the results of all of it; after an error nothing new is started, and nothing runs on."""
    futures = [pool(threads).submit(task) for task in work]
    try:
        wait(futures, return_when=FIRST_EXCEPTION)
    finally:
        for future in futures:
            future.cancel()
        wait(futures)
    # Those that were cancelled come last, so that what is raised is the error because of which they were.
    return [future.result() for future in sorted(futures, key=Future.cancelled)]
