"""The ways into a level: TensorStore's own driver, Python chunk by chunk, and Python behind TensorStore's face."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, NoReturn

import tensorstore as ts

from volumekit.engine.chunks import same
from volumekit.engine.direct import Direct
from volumekit.engine.drive import Unit, Waitable
from volumekit.engine.open import open_bridge, open_native
from volumekit.engine.options import IOOptions
from volumekit.engine.pieces import Point
from volumekit.engine.pool import pool
from volumekit.engine.watched import Watched
from volumekit.errors import MetadataError, MissingExtraError, UnsupportedError, VolumekitError
from volumekit.formats.base import Format
from volumekit.model.bbox import Bbox
from volumekit.model.grid import cells_touching
from volumekit.model.level import C_ORDER, F_ORDER, Level
from volumekit.storage import CONTAINERS, open_container
from volumekit.storage.base import Store
from volumekit.storage.headed import CONTENT_TYPES, HeadedStore
from volumekit.storage.headers import BYTES, Headers, cache_control
from volumekit.storage.shards import ShardedStore
from volumekit.storage.suffix import SuffixStore
from volumekit.storage.translate import is_better_asked, raise_translated

Domain = tuple[slice, ...]

ORDERS: dict[tuple[int, ...], Literal["C", "F"]] = {C_ORDER: "C", F_ORDER: "F"}

LONG_ROW = 256
"""Bytes from which on TensorStore reads rows of chunks into any array as fast as into its own."""


class Ways:
    """One level of a dataset, and how to get at its chunks.

    Parameters
    ----------
    store : Store
        Where the dataset is.
    fmt : Format
        Its format.
    level : Level
        One of the format's levels.
    options : IOOptions
        How to read and write.

    Raises
    ------
    MetadataError, UnsupportedError
        If this level cannot be read.
    """

    def __init__(self, store: Store, fmt: Format, level: Level, options: IOOptions) -> None:
        if level.error is not None:
            unknown = level.sharding is not None and level.sharding.kind not in CONTAINERS
            kind = UnsupportedError if unknown else MetadataError
            raise kind(level.error, url=store.url, key=level.key)
        self.store, self.fmt, self.level, self.options = store, fmt, level, options
        self._asks = False  # whether a far store is asked first: what TensorStore fails at would be fetched twice

    @functools.cached_property
    def objects(self) -> Store:
        """The store of this level's chunks, containers and compression suffixes resolved."""
        container = self.fmt.container(self.level)
        if container is None:
            return self.files
        below = self.store
        if below.headed and self.fmt.writable:
            age = cache_control(self.options.cdn_cache)
            below = HeadedStore(below, Headers(BYTES, age, required=age is not None))
        return open_container(below, container, executor=pool(self.options.threads))

    @functools.cached_property
    def limits(self) -> tuple[Point, Point]:
        """The lowest voxel of the level, and one past the highest, (x, y, z, channel)."""
        return (*self.level.offset, 0), (*self.level.end, self.level.channels)

    @functools.cached_property
    def shared(self) -> bool:
        """Whether objects hold many chunks of this level."""
        return self.fmt.container(self.level) is not None

    @functools.cached_property
    def files(self) -> Store:
        """The store of this level's objects, compression suffixes resolved."""
        if self.store.headed and self.fmt.writable:
            return HeadedStore(self.store, self._headers())
        if not self.store.suffixed or not self.fmt.writable or not self.fmt.suffixed:
            return self.store
        return SuffixStore(
            self.store,
            compress=self.options.compress,
            level=self.options.compress_level,
            prefix=self.fmt.prefix(self.level) or "",
            executor=pool(self.options.threads),
            limit=self.level.most_bytes,
        )

    def _headers(self) -> Headers:
        """Return what chunks are stored with where objects have headers."""
        compress = self.options.compress or None if self.fmt.suffixed else None
        age = cache_control(self.options.cdn_cache)
        kind = CONTENT_TYPES.get(self.level.codec.name, BYTES)
        required = compress is not None or age is not None
        return Headers(kind, age, compress, self.options.compress_level, required)

    @functools.cached_property
    def _native(self) -> ts.TensorStore | None:
        try:
            described = self.fmt.native(self.level)
            native = None if described is None or described.blind else self._opened()
            if native is None:
                self.fmt.require_codec(self.level)
        except VolumekitError as error:
            raise_translated(error, url=self.store.url, key=self.level.key)
        return native

    def _opened(self) -> ts.TensorStore | None:
        return open_native(self.store, self.fmt, self.level, self.options)

    @functools.cached_property
    def _watched(self) -> Watched | None:
        """TensorStore's own reading where it is only good for chunks that are there, and finding out takes no time."""
        described, objects = self.fmt.native(self.level), self.objects
        if described is None or not described.blind or not isinstance(objects, ShardedStore) or not objects.near:
            return None
        native = self._opened()
        return None if native is None else Watched(native, objects)

    @functools.cached_property
    def _bridge(self) -> ts.TensorStore:
        return open_bridge(self.objects, self.fmt, self.level, self.options)

    @functools.cached_property
    def _decodes(self) -> bool:
        """Whether chunks can be decoded here, without TensorStore."""
        try:
            self.fmt.require_codec(self.level)
        except (MissingExtraError, UnsupportedError):
            return False
        return True

    @functools.cached_property
    def _direct(self) -> Direct:
        return Direct(self.objects, self.fmt, self.level, self.options)

    @functools.cached_property
    def _merging_bridge(self) -> ts.TensorStore:
        """The bridge for writing: a chunk that is written in part for the first time is filled, not missing."""
        return open_bridge(self.objects, self.fmt, self.level, replace(self.options, fill_missing=True))

    @property
    def keeps_names(self) -> bool:
        """Whether chunks are read under their own names, as far as is known, and none is kept in memory."""
        return not (self.options.lru_bytes or self._asks or self._suffixes())

    def _suffixes(self) -> bool:
        return isinstance(self.objects, SuffixStore) and bool(self.objects.seen - {""})

    @property
    def channel_cells(self) -> int:
        """How many chunks lie behind each other along the channel axis."""
        return -(-self.level.channels // self.level.chunk[3])

    def keys(self, box: Bbox) -> Iterator[str]:
        """Iterate over the keys of all chunks that touch a box: channel fastest, then x, y, z."""
        x, y, z = cells_touching(self.level.bounds, self.level.chunk[:3], box)
        return self.fmt.keys(self.level, (x, y, z, range(self.channel_cells)))

    def keys_between(self, low: Point, high: Point) -> Iterator[str]:
        """Iterate over the keys of all chunks that touch a box inside the bounds: channel fastest, then x, y, z."""
        corners = zip(low, high, (*self.level.offset, 0), self.level.chunk, strict=True)
        x, y, z, c = (range((a - o) // n, -(-(b - o) // n)) for a, b, o, n in corners)
        return self.fmt.keys(self.level, (x, y, z, c))

    def _reads_directly(self) -> bool:
        """Tell whether TensorStore is not needed: it neither reads this level nor keeps its chunks in memory."""
        unread = self._asks or (self._native is None and self._watched is None)
        return not self.options.lru_bytes and (unread or self._suffixes())

    def _natively(self, start: Callable[[ts.TensorStore], Waitable], low: Point, high: Point) -> Unit[bool]:
        """Read natively; tell whether all chunks of a box were there."""
        native = self._native
        if self._asks:
            return False
        if native is None and self._watched is not None:
            return (yield from self._watched.read(self.keys_between(low, high), start))
        if native is None:
            return False
        try:
            yield start(native)
        except ValueError as error:
            self._give_up(error)
            return False
        return True

    def _give_up(self, error: ValueError) -> None:
        """Raise an error of TensorStore's, unless reading in Python knows better."""
        if not is_better_asked(error):
            raise error
        self._asks = self._asks or not self.store.near

    def _staged(self, native: ts.TensorStore) -> Literal["C", "F"] | None:
        """Return the memory order in which pieces are read before they are copied to where they belong; None: not so.

        TensorStore puts short rows into arrays of its own much faster than into others: more than a copy takes.
        """
        if not self.store.near or self.level.row_bytes >= LONG_ROW or native.dtype.numpy_dtype != self.level.dtype:
            return None
        return ORDERS.get(self.level.order)

    def _either(self, start: Callable[[ts.TensorStore], Waitable]) -> Unit[Any]:
        """Read natively; where a chunk is missing, or has a suffix, through the bridge."""
        if self._native is not None and not (self._asks or self._suffixes()):
            future = start(self._native)
            try:
                yield future
            except ValueError as error:
                self._give_up(error)
            else:
                return future.result()
        future = start(self._bridge)
        yield future
        return future.result()

    def _writable(self, *, whole: bool) -> ts.TensorStore | None:
        """Choose the way in: natively, or not (None): because of suffixes, or a background not the format's.

        Parameters
        ----------
        whole : bool
            Whether each chunk is replaced as a whole. One that is not is merged with what is stored, which somebody may
            be compressing right now: TensorStore would find nothing, and put the background around what it writes.
        """
        if isinstance(self.objects, HeadedStore) and self.objects.needed:
            return None
        suffixes = self.objects if isinstance(self.objects, SuffixStore) else None
        if suffixes is not None and (self.options.compress or suffixes.variants() - {""}):
            return None
        own = same(self.options.background, self.level.fill)
        if not own and (self.options.delete_black or not whole):
            return None
        return self._native if whole or suffixes is None else None

    def _fail(self, error: Exception, domain: Domain) -> NoReturn:
        explain = self.store.explain
        raise_translated(error, url=self.store.url, key=self.level.key, box=to_box(domain), explain=explain)


def to_domain(low: Sequence[int], high: Sequence[int], step: Sequence[int]) -> Domain:
    """Return the slices of a box with steps."""
    return tuple(slice(a, b, None if s == 1 else s) for a, b, s in zip(low, high, step, strict=True))


def to_box(domain: Domain) -> Bbox:
    """Return the box of slices, steps aside."""
    return Bbox([part.start for part in domain[:3]], [part.stop for part in domain[:3]])


def corners(domain: Domain) -> tuple[Point, Point, Point]:
    """Return low and high corner and steps of slices."""
    x, y, z, c = domain
    low, high = (x.start, y.start, z.start, c.start), (x.stop, y.stop, z.stop, c.stop)
    return low, high, (x.step or 1, y.step or 1, z.step or 1, c.step or 1)
