"""Chunks and voxels: which chunks a box touches, what is in them, and what their absence means."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from volumekit.engine.options import IOOptions
from volumekit.engine.pieces import Point
from volumekit.errors import CorruptChunkError, MissingChunkError, VolumekitError
from volumekit.formats.base import Cell, Format
from volumekit.model.level import C_ORDER, F_ORDER, Level
from volumekit.storage.base import Value

_ALL = (slice(None),) * 4


class Part(NamedTuple):
    """What a box and a chunk have in common.

    Attributes
    ----------
    cell : tuple of int
        The chunk.
    shape : tuple of int
        Shape of the chunk, (x, y, z, channel), cut where the level ends.
    inside : tuple
        Which voxels of the chunk: slices, or index arrays of points.
    at : tuple
        Where they are in the box's array.
    whole : bool
        Whether that is all of the chunk.
    """

    cell: Cell
    shape: tuple[int, int, int, int]
    inside: tuple[Any, ...]
    at: tuple[Any, ...]
    whole: bool


class _Span(NamedTuple):
    """What a box and a chunk have in common along one axis."""

    cell: int
    extent: int
    inside: slice
    at: slice
    whole: bool


def parts(level: Level, low: Point, high: Point, step: Point, order: Sequence[int] = ()) -> Iterator[Part]:
    """Yield the chunks that hold voxels of a box.

    Parameters
    ----------
    level : Level
        The level.
    low, high, step : tuple of int
        (x, y, z, channel); half-open, inside the bounds, every ``step``-th voxel from ``low`` on.
    order : sequence of int, optional
        Axes from the slowest to the fastest; default: the level's memory order.
    """
    order = order or level.order
    origin, end = (*level.offset, 0), (*level.end, level.channels)
    axes = [list(_spans(low[a], high[a], step[a], (origin[a], level.chunk[a], end[a]))) for a in order]
    back = [order.index(a) for a in range(4)]
    for chosen in itertools.product(*axes):
        x, y, z, c = (chosen[place] for place in back)
        yield Part(
            (x.cell, y.cell, z.cell, c.cell),
            (x.extent, y.extent, z.extent, c.extent),
            (x.inside, y.inside, z.inside, c.inside),
            (x.at, y.at, z.at, c.at),
            x.whole and y.whole and z.whole and c.whole,
        )


def _spans(low: int, high: int, step: int, grid: tuple[int, int, int]) -> Iterator[_Span]:
    origin, chunk, end = grid
    for cell in range((low - origin) // chunk, -(-(high - origin) // chunk)):
        start = origin + cell * chunk
        stop = min(start + chunk, end)
        first = max(0, -(-(start - low) // step))
        last = -(-(min(stop, high) - low) // step)
        if first < last:
            inside = slice(low + first * step - start, min(stop, high) - start, step)
            yield _Span(cell, stop - start, inside, slice(first, last), step == 1 and low <= start and stop <= high)


def point_parts(level: Level, points: NDArray[np.int64]) -> Iterator[Part]:
    """Yield the chunks that hold points; ``inside`` and ``at`` of each part are index arrays.

    Parameters
    ----------
    level : Level
        The level.
    points : numpy.ndarray
        (n, 4): x, y, z and channel, inside the bounds.
    """
    offset, chunk = np.array((*level.offset, 0)), np.array(level.chunk)
    cells, where = np.unique((points - offset) // chunk, axis=0, return_inverse=True)
    order = np.argsort(where.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(where.ravel(), minlength=len(cells)))
    for (x, y, z, c), rows in zip(cells.tolist(), np.split(order, ends[:-1]), strict=True):
        corner = offset + (x, y, z, c) * chunk
        shape = np.minimum(chunk, offset + level.shape - corner).tolist()
        inside = tuple((points[rows] - corner).T)
        yield Part((x, y, z, c), (shape[0], shape[1], shape[2], shape[3]), inside, (rows,), whole=False)


class Look(Protocol):
    """What a box and a chunk have in common, decoded no further than it is asked for."""

    def labels(self) -> NDArray[Any] | None:
        """Return the distinct values of the whole chunk, sorted, if it need not be decoded for that."""

    def voxels(self) -> NDArray[Any]:
        """Return the voxels in common, (x, y, z, channel)."""

    def mask(self, label: int) -> NDArray[np.bool_]:
        """Return where they have a label."""


class Decoded(NamedTuple):
    """A `Look` at voxels that are in memory."""

    array: NDArray[Any]

    def labels(self) -> NDArray[Any] | None:
        """See `Look`."""
        return None

    def voxels(self) -> NDArray[Any]:
        """See `Look`."""
        return self.array

    def mask(self, label: int) -> NDArray[np.bool_]:
        """See `Look`."""
        same: NDArray[np.bool_] = self.array == label
        return same


class Stored(NamedTuple):
    """A `Look` at a chunk's bytes, or at the absence of any; its methods raise what `Chunks.fill` raises."""

    chunks: Chunks
    part: Part
    value: Value | None

    def labels(self) -> NDArray[Any] | None:
        """See `Look`."""
        return self.chunks.labels(self.part.cell, self.value)

    def voxels(self) -> NDArray[Any]:
        """See `Look`."""
        if self.value is None:
            voxels: NDArray[Any] = np.broadcast_to(self.chunks.background(self.part.cell), self.part.shape)
        else:
            voxels = self.chunks.decode(self.part.cell, self.value)
        cut: NDArray[Any] = voxels[self.part.inside]
        return cut

    def mask(self, label: int) -> NDArray[np.bool_]:
        """See `Look`."""
        if self.value is None:
            return Decoded(self.voxels()).mask(label)
        cut: NDArray[np.bool_] = self.chunks.mask(self.part.cell, self.value, label)[self.part.inside]
        return cut


class Chunks:
    """The chunks of one level, decoded and encoded in Python.

    Parameters
    ----------
    url : str
        Where the dataset is, for messages.
    fmt : Format
        Names, decodes and encodes them.
    level : Level
        The level.
    options : IOOptions
        What missing chunks mean, and which chunks not to store.
    """

    def __init__(self, url: str, fmt: Format, level: Level, options: IOOptions) -> None:
        self._url, self._format, self._level, self._options = url, fmt, level, options

    def key(self, cell: Cell) -> str:
        """Return the key of a chunk."""
        return self._format.key(self._level, cell)

    def fill(self, cell: Cell, out: NDArray[Any], value: Value | None, inside: tuple[slice, ...] = ()) -> None:
        """Put voxels of a chunk into an array.

        Parameters
        ----------
        cell : tuple of int
            The chunk.
        out : numpy.ndarray
            Where to.
        value : Value or None
            What is stored.
        inside : tuple of slice
            Which voxels; default: all.

        Raises
        ------
        MissingChunkError
            If it is not stored, and missing chunks are not filled.
        CorruptChunkError
            If it does not decode.
        """
        if value is None:
            out[...] = self.background(cell)
        elif not self._fill(cell, out, value, inside):
            out[...] = self.decode(cell, value)[inside]

    def _fill(self, cell: Cell, out: NDArray[Any], value: Value, inside: tuple[slice, ...]) -> bool:
        """Decode straight into the array, where that can be."""
        if out.dtype != self._level.dtype:
            return False
        with self._named(cell):
            return self._format.fill(self._level, cell, value, out, inside or _ALL)

    def background(self, cell: Cell) -> NDArray[Any]:
        """Return what a chunk that is not stored holds, or raise if it is an error that it is not."""
        if not self._options.fill_missing:
            raise self._missing(cell)
        return np.array(self._options.background, self._level.dtype)

    def labels(self, cell: Cell, value: Value | None) -> NDArray[Any] | None:
        """Return the distinct values of a chunk, sorted, if it need not be decoded for that; see `fill`."""
        if value is None:
            return self.background(cell).reshape(1)
        with self._named(cell):
            return self._format.labels(self._level, cell, value)

    def mask(self, cell: Cell, value: Value, label: int) -> NDArray[np.bool_]:
        """Return where a chunk has a label; see `fill`."""
        with self._named(cell):
            return self._format.mask(self._level, cell, value, label)

    def _missing(self, cell: Cell) -> MissingChunkError:
        key = self.key(cell)
        return MissingChunkError(
            f"chunk {key} is not stored; open with fill_missing=True to read {self._options.background} there",
            url=self._url,
            key=key,
            box=self._format.box(self._level, cell),
        )

    def decode(self, cell: Cell, value: Value) -> NDArray[Any]:
        """Decode a chunk, or say which one is damaged."""
        with self._named(cell):
            chunk = self._format.decode(self._level, cell, value)
            expected = self.shape(cell)
            if chunk.shape != expected:
                raise CorruptChunkError(f"a chunk of shape {chunk.shape} where {expected} was expected")
        return chunk

    def raw(self, cell: Cell, value: Value) -> bytes | memoryview | None:
        """Return a chunk as raw bytes where that takes no array; see `Format.raw` and `decode`."""
        with self._named(cell):
            return self._format.raw(self._level, cell, value)

    @contextlib.contextmanager
    def _named(self, cell: Cell) -> Iterator[None]:
        """Let errors say which chunk they are about."""
        try:
            yield
        except VolumekitError as error:
            error.url = error.url or self._url
            error.key = error.key or self.key(cell)
            error.box = error.box or self._format.box(self._level, cell)
            raise

    def shape(self, cell: Cell) -> tuple[int, int, int, int]:
        """Return the shape of a chunk, (x, y, z, channel), cut where the level ends."""
        level = self._level
        x, y, z, c = (min(c, n - at * c) for at, c, n in zip(cell, level.chunk, level.shape, strict=True))
        return x, y, z, c

    def encode(self, cell: Cell, chunk: NDArray[Any], value: Value | None = None) -> bytes | None:
        """Return what to store for a chunk; None: nothing.

        Parameters
        ----------
        cell : tuple of int
            The chunk.
        chunk : numpy.ndarray
            Its voxels.
        value : Value or None
            What is stored; it counts where chunks hold further positions of fixed axes.
        """
        black = self._options.delete_black and is_constant(chunk, self._options.background)
        if self._level.spans:
            with self._named(cell):
                return self._format.merge(self._level, cell, chunk, value, needed=not black)
        return None if black else self._format.encode(self._level, cell, chunk)

    def emptied(self, cell: Cell, value: Value | None) -> bytes | None:
        """Return what to store instead of a chunk that is deleted, because of further positions of fixed axes in it."""
        if value is None:
            return None
        chunk = np.full(self.shape(cell), self._level.fill, self._level.dtype)
        with self._named(cell):
            return self._format.merge(self._level, cell, chunk, value, needed=False)

    def merge(self, part: Part, voxels: NDArray[Any], value: Value | None) -> bytes | None:
        """Return what to store for a chunk of which some voxels change.

        A chunk that is not stored yet holds background elsewhere; the fill value, at further positions of fixed axes.
        """
        if part.whole:
            return self.encode(part.cell, voxels, value)
        chunk = empty(part.shape, self._level)
        chunk[...] = self._options.background if value is None else self.decode(part.cell, value)
        chunk[part.inside] = voxels
        return self.encode(part.cell, chunk, value)


def empty(shape: tuple[int, ...], level: Level) -> NDArray[Any]:
    """Return an uninitialised array, (x, y, z, channel), in a level's memory order."""
    if level.order in (C_ORDER, F_ORDER):
        return np.empty(shape, level.dtype, order="C" if level.order == C_ORDER else "F")
    return np.empty([shape[axis] for axis in level.order], level.dtype).transpose(np.argsort(level.order))


def same(value: float, other: float) -> bool:
    """Tell whether two values are equal; NaN equals NaN."""
    return value == other or (value != value and other != other)  # noqa: PLR0124


def is_constant(chunk: NDArray[Any], value: float) -> bool:
    """Tell whether every voxel is ``value``; NaN equals NaN."""
    if isinstance(value, float) and np.isnan(value):
        return bool(np.isnan(chunk).all())
    return bool((chunk == value).all())
