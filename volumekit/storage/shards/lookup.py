"""Finding chunks in shards by their indices.

An answer is always that of one generation of a shard: what is read carries the shard's stamp, and where that differs
from the one its index was read with, the index is read again. So a chunk whose index is known costs one request, which
also tells whether the index still holds; so does a chunk that is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from volumekit.codecs.compression import decompress
from volumekit.errors import CorruptChunkError
from volumekit.model.shard_index import CHUNK_ENTRY, ENTRY, MOST_INDEX, Minishard, Span, parse_shard_index
from volumekit.model.sharding import ShardingSpec
from volumekit.storage.base import Value
from volumekit.storage.shards.known import Cache, Known
from volumekit.storage.steps import Ask, Steps, run

PER_PAGE = 4096
"""Entries of a shard index that are read at once."""

TRIES = 8
"""How often a shard may change while it is read, before all of it is read at once."""


class Place(NamedTuple):
    """Where a chunk belongs."""

    shard: int
    minishard: int
    number: int


class Lookup:
    """Finds chunks in the shards of one folder.

    Parameters
    ----------
    url : str
        The store, for messages.
    folder : str
        What precedes the names of shards.
    spec : ShardingSpec
        How chunks are spread over shards.
    most : int
        More chunks than this are in no shard.
    limit : int, optional
        More bytes than this are in no chunk, compressed or not.
    """

    def __init__(self, url: str, folder: str, spec: ShardingSpec, *, most: int, limit: int | None = None) -> None:
        self.url, self.folder, self.spec, self.most, self.limit = url, folder, spec, most, limit
        self.cache = Cache()
        self._old: bool | None = None  # whether there are .index and .data instead of .shard; None: not known yet

    def file(self, shard: int) -> str:
        """Return the key of a shard."""
        return f"{self.folder}/{self.spec.file(shard)}"

    def shard(self, key: str) -> int | None:
        """Return the shard that a key is of, None if it is none's."""
        folder, _, name = key.rpartition("/")
        return self.spec.shard(name) if folder == self.folder else None

    def read(self, place: Place, start: int | None, stop: int | None) -> Steps[Value | None]:
        """Read a chunk as it is stored, or a range of it; None if it is not there.

        Raises
        ------
        CorruptChunkError
            If the shard is damaged; it names the shard.
        """
        for _ in range(TRIES):
            known = self.cache.get(place.shard) or (yield from self.open(place.shard, place.minishard // PER_PAGE))
            if known is None:
                return None
            minishard = yield from self._minishard(place, known)
            if minishard is not None:
                span = minishard.find(place.number)
                if span is None and (yield from self.holds(known)):
                    return None
                value = None if span is None else (yield from self._data(known, span, start, stop))
                if value is not None:
                    return value
            self.cache.drop(place.shard, known)
        alone, read = yield from self.at_once(place.shard)
        return run(alone.read(place, start, stop), read)

    def is_there(self, place: Place, stamp: bytes) -> Steps[bool]:
        """Tell whether a chunk is in a certain generation of its shard.

        Raises
        ------
        CorruptChunkError
            If the shard is damaged; it names the shard.
        """
        known = self.cache.get(place.shard)
        if known is None or known.stamp != stamp:
            known = yield from self.open(place.shard, place.minishard // PER_PAGE)
        if known is None or known.stamp != stamp:
            return False
        minishard = yield from self._minishard(place, known)
        span = None if minishard is None else minishard.find(place.number)
        if span is None:
            return False
        self._check_size(known, span)
        return True

    def at_once(self, shard: int) -> Steps[tuple[Lookup, Callable[[Ask], Value | None]]]:
        """Read all of a shard that never holds still; return how to look things up in what was read."""
        (whole,) = yield [Ask(self.file(shard))]
        return self.apart(shard, whole)

    def apart(self, shard: int, whole: Value | None) -> tuple[Lookup, Callable[[Ask], Value | None]]:
        """Return how to look things up in a shard that is in memory."""
        file = self.file(shard)

        def read(ask: Ask) -> Value | None:
            return whole._replace(data=whole.data[ask.start : ask.stop]) if whole and ask.key == file else None

        return Lookup(self.url, self.folder, self.spec, most=self.most, limit=self.limit), read

    def open(self, shard: int, page: int) -> Steps[Known | None]:
        """Read a page of the shard index; None if there is no such shard."""
        file = self.file(shard)
        stem = file.removesuffix(".shard")
        forms = {None: (False, True), False: (False,), True: (True, False)}
        for old in forms[self._old]:
            index, data = (f"{stem}.index", f"{stem}.data") if old else (file, file)
            (value,) = yield [self.page(index, page)]
            if value is not None:
                self._old = old
                base = 0 if old else ENTRY * self.spec.minishards
                known = Known(index, data, base, value.stamp, None if old else value.stamp)
                self.take_page(known, page, value)
                self.cache.put(shard, known)
                return known
        return None

    def page(self, index: str, page: int) -> Ask:
        """Return what to ask for a page of a shard index."""
        size = ENTRY * min(PER_PAGE, self.spec.minishards)
        return Ask(index, page * size, (page + 1) * size, shared=True)

    def take_page(self, known: Known, page: int, value: Value) -> None:
        """Learn a page of a shard index, or find it damaged."""
        if len(value.data) != ENTRY * min(PER_PAGE, self.spec.minishards):
            raise self.damaged(known.index, f"its index of {self.spec.minishards:,} minishards is cut short")
        try:
            known.pages[page] = parse_shard_index(value.data)
        except CorruptChunkError as error:
            raise self.damaged(known.index, error.message) from error
        known.nbytes += len(value.data)

    def damaged(self, key: str, message: str) -> CorruptChunkError:
        """Return the error for a shard."""
        return CorruptChunkError(
            f"shard {key} is damaged: {message}; delete this file, and write its chunks again", url=self.url, key=key
        )

    def _minishard(self, place: Place, known: Known) -> Steps[Minishard | None]:
        """Return the index of a minishard, None if the shard has changed meanwhile."""
        found = known.minishards.get(place.minishard)
        if found is not None:
            return found
        page, entry = divmod(place.minishard, PER_PAGE)
        if page not in known.pages:
            (value,) = yield [self.page(known.index, page)]
            if value is None or value.stamp != known.stamp:
                return None
            self.take_page(known, page, value)
        span = Span(*known.pages[page][entry].tolist())
        if span.start == span.stop:
            return Minishard.empty()
        self.check_indices(known, [span])
        (value,) = yield [self.ask(known, span, shared=True)]
        if value is None or not known.same_data(value):
            return None
        # Of many that waited for the same answer, the first one parses it.
        found = known.minishards.get(place.minishard) or self.parse(known, span, value.data)
        if place.minishard not in known.minishards:
            known.minishards[place.minishard] = found
            known.nbytes += found.nbytes
            self.cache.put(place.shard, known)
        return found

    def ask(self, known: Known, span: Span, *, shared: bool = False) -> Ask:
        """Return what to ask for some bytes of a shard."""
        return Ask(known.data, known.base + span.start, known.base + span.stop, shared)

    def check_indices(self, known: Known, spans: Sequence[Span]) -> None:
        """Refuse to read indices that are larger, together, than those of all the chunks there can be."""
        most = CHUNK_ENTRY * self.most + 64 * len(spans)  # gzip may make them a little larger
        if sum(span.stop - span.start for span in spans) > min(MOST_INDEX, most):
            raise self.damaged(known.data, f"its indices are larger than those of all {self.most:,} chunks")

    def parse(self, known: Known, span: Span, data: bytes) -> Minishard:
        """Parse the index of a minishard, or find it damaged."""
        if len(data) != span.stop - span.start:
            raise self.damaged(known.data, "it ends before the index of a minishard does")
        try:
            if self.spec.minishard_index_encoding != "raw":
                most = min(MOST_INDEX, CHUNK_ENTRY * self.most)
                data = decompress(data, self.spec.minishard_index_encoding, limit=most)
            return Minishard.parse(data)
        except CorruptChunkError as error:
            raise self.damaged(known.data, error.message) from error

    def holds(self, known: Known) -> Steps[bool]:
        """Tell whether a shard is still as it was."""
        (value,) = yield [Ask(known.index, 0, 0)]
        return value is not None and value.stamp == known.stamp

    def _data(self, known: Known, span: Span, start: int | None, stop: int | None) -> Steps[Value | None]:
        """Read a chunk, or a range of what is stored; None if the shard has changed meanwhile."""
        self._check_size(known, span)
        first, last, _ = slice(start, stop).indices(span.stop - span.start)
        part = Span(span.start + first, span.start + max(first, last))
        (value,) = yield [self.ask(known, part) if first < last else Ask(known.data, 0, 0)]
        if value is None or not known.same_data(value):
            return None
        if len(value.data) != part.stop - part.start:
            raise self.damaged(known.data, "it ends before a chunk does")
        return value

    def _check_size(self, known: Known, span: Span) -> None:
        size = span.stop - span.start
        if self.limit is not None and size > self.limit:
            raise self.damaged(known.data, f"a chunk of {size:,} bytes is more than any encoding takes")
