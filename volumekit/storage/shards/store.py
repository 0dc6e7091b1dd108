"""The chunks of a sharded scale as keys of a store."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import Protocol

from volumekit.codecs.compression import compress, decompress
from volumekit.errors import CorruptChunkError, ReadOnlyError, StorageError
from volumekit.model.sharding import ShardingSpec
from volumekit.storage.base import Change, Future, Store, Value, chain, done, failed, gather, then
from volumekit.storage.batches import Batches, Job, Stamps
from volumekit.storage.shards.contents import Contents, contents
from volumekit.storage.shards.lookup import Lookup, Place
from volumekit.storage.shards.rewrite import Codec, Rewriter
from volumekit.storage.steps import Reader, begin, run

IN_FLIGHT = 16
"""Shards whose indices are read at once when all chunks are listed."""

REMEMBERED = 1 << 14
"""Chunks whose places are not worked out again."""


class Names(Protocol):
    """The chunks there can be, by name and by number; see `model.chunk_names.ChunkNames`."""

    @property
    def count(self) -> int:
        """How many there are."""

    def number(self, name: str) -> int | None:
        """Return a chunk's number, None if there is none of that name."""

    def name_of(self, number: int) -> str | None:
        """Return a chunk's name, None if there is none of that number."""


class ShardedStore(Store):
    """The chunks inside the shards of a folder: a key is the name that the chunk would have without shards.

    Indices are read once. Each read of a chunk tells by its stamp whether the shard is still the one whose index is
    known, so that what others write is seen. Stamps are those of the shard: a chunk that was read has changed if
    anything in its shard has. All changes of one shard, by whatever threads, that come while it is being written are
    made together in the next write; a shard without chunks is deleted.

    Parameters
    ----------
    base : Store
        Where the shards are.
    folder : str
        Folder of the shards.
    sharding : ShardingSpec
        How chunks are spread over shards.
    names : Names
        The chunks there can be.
    limit : int, optional
        Most bytes a chunk may take, encoded; one that holds more is damaged.
    executor : Executor, optional
        Where chunks are compressed and decompressed; default: the threads that finish reads.
    """

    def __init__(
        self,
        base: Store,
        *,
        folder: str,
        sharding: ShardingSpec,
        names: Names,
        limit: int | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.url, self.writable, self.listable = base.url, base.writable, base.listable
        self.conditional = base.conditional
        self._base, self._spec, self._names, self._executor = base, sharding, names, executor
        self._lookup = Lookup(base.url, folder, sharding, most=names.count, limit=limit)
        self._reader = Reader(base)
        rewriter = Rewriter(base, self._reader, self._lookup, self._place, Codec(self._pack, self._unpack), executor)
        self._batches = Batches(rewriter.work)
        self._place_or_none = functools.lru_cache(REMEMBERED)(self._find_place)
        self._group = functools.lru_cache(REMEMBERED)(self._find_group)
        self._seen: dict[str, bytes] = {}  # chunks that were there, and in which generation of their shard

    @property
    def near(self) -> bool:  # type: ignore[override]
        """Whether the store below is."""
        return self._base.near

    @property
    def _packs(self) -> bool:
        return self._spec.data_encoding != "raw"

    def _find_place(self, key: str) -> Place | None:
        number = self._names.number(key)
        return None if number is None else Place(*self._spec.place(number), number)

    def _place(self, key: str) -> Place:
        found = self._place_or_none(key)
        if found is None:
            raise StorageError(
                f"{key!r} is no chunk of this level; nothing else can be in its shards", url=self.url, key=key
            )
        return found

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read a chunk, or a range of it."""
        place = self._place_or_none(key)
        if place is None:
            return done(None)
        found = begin(self._lookup.read(place, *self._stored_part(start, stop)), self._reader.read)
        if not self._packs or (start, stop) == (0, 0):
            return found
        unpack = functools.partial(self._unpacked, key, slice(start, stop))
        return then(found, unpack, executor=self._executor)

    def peek(self, key: str, start: int | None = None, stop: int | None = None) -> Value | None:
        """Read a chunk, or a range of it, in the calling thread."""
        place = self._place_or_none(key)
        if place is None:
            return None
        value = run(self._lookup.read(place, *self._stored_part(start, stop)), self._reader.peek)
        return value if not self._packs or (start, stop) == (0, 0) else self._unpacked(key, slice(start, stop), value)

    def generations(self, shards: Iterable[str]) -> Mapping[str, bytes] | None:
        """Return the stamps of shards, in the calling thread; None if any does not exist."""
        found = {}
        for shard in shards:
            value = self._base.peek(shard, 0, 0)
            if value is None:
                return None
            found[shard] = value.stamp
        return found

    def seen(self, keys: Iterable[str]) -> list[bytes | None]:
        """Return in which generations of their shards chunks were last seen; None: never."""
        return list(map(self._seen.get, keys))

    def holds(self, keys: Sequence[str], generations: Mapping[str, bytes]) -> bool:
        """Tell whether chunks are all there in certain generations of their shards, in the calling thread.

        Raises
        ------
        CorruptChunkError
            If a shard is damaged; it names the shard.
        """
        wanted = [generations[shard] for shard in map(self.group, keys)]
        seen = list(map(self._seen.get, keys))
        if seen == wanted:
            return True
        for key, stamp in zip(keys, wanted, strict=True):
            if not run(self._lookup.is_there(self._place(key), stamp), self._reader.peek):
                return False
        if len(self._seen) > REMEMBERED:
            self._seen.clear()
        self._seen.update(zip(keys, wanted, strict=True))
        return True

    def _stored_part(self, start: int | None, stop: int | None) -> tuple[int | None, int | None]:
        """Return what to read for a range of a chunk: all of one that is compressed."""
        return (start, stop) if not self._packs or (start, stop) == (0, 0) else (None, None)

    def _unpacked(self, key: str, part: slice, value: Value | None) -> Value | None:
        return value and value._replace(data=self._unpack(key, value.data)[part])

    def _unpack(self, key: str, data: bytes) -> bytes:
        if not self._packs:
            return data
        try:
            return decompress(data, self._spec.data_encoding, limit=self._lookup.limit)
        except CorruptChunkError as error:
            raise CorruptChunkError(f"in shard {self.group(key)}: {error.message}", url=self.url, key=key) from error

    def _pack(self, key: str, data: bytes) -> bytes:
        return compress(data, self._spec.data_encoding) if self._packs else data

    def commit(self, changes: Mapping[str, bytes | None], if_match: bytes | None = None) -> Future[Stamps]:
        """Write or delete chunks, all of one shard in one write of the shard."""
        return self._commit(changes, if_match, self._executor)

    def update(self, changes: Mapping[str, Change], *, executor: Executor | None = None) -> Future[Stamps]:
        """Write, delete or change chunks, all of one shard in one write of the shard."""
        return self._commit(changes, None, executor or self._executor)

    def _commit(
        self, changes: Mapping[str, Change], if_match: bytes | None, executor: Executor | None
    ) -> Future[Stamps]:
        if not self.writable:
            return failed(ReadOnlyError("this storage cannot be written", url=self.url))
        try:
            groups = self._grouped(changes)
        except StorageError as error:
            return failed(error)
        each = {name: self._packed(name, Job(part, if_match, executor)) for name, part in groups.items()}
        return then(gather(each), lambda stamps: {key: s for part in stamps.values() for key, s in part.items()})

    def _grouped(self, changes: Mapping[str, Change]) -> dict[str, dict[str, Change]]:
        groups: dict[str, dict[str, Change]] = {}
        for key, change in changes.items():
            groups.setdefault(self._lookup.file(self._place(key).shard), {})[key] = change
        return groups

    def _packed(self, name: str, job: Job) -> Future[Stamps]:
        """Compress what is to be stored, and have it done."""

        def add(packed: Mapping[str, bytes]) -> Future[Stamps]:
            return self._batches.add(name, job._replace(changes={**job.changes, **packed}))

        if not self._packs:
            return add({})
        plain = {key: data for key, data in job.changes.items() if isinstance(data, bytes)}
        packing = {
            key: then(done(data), functools.partial(self._pack, key), executor=job.executor)
            for key, data in plain.items()
        }
        return chain(gather(packing), add)

    def group(self, key: str) -> str:
        """Return the shard a chunk lives in; a key that is no chunk's is a group of its own."""
        return self._group(key)

    def _find_group(self, key: str) -> str:
        place = self._place_or_none(key)
        return key if place is None else self._lookup.file(place.shard)

    def keys_in(self, group: str) -> Future[Collection[str]]:
        """Return the chunks that are stored in a shard; only indices are read."""
        shard = self._lookup.shard(group)
        if shard is None:
            return done(())
        return then(begin(contents(self._lookup, shard), self._reader.read), self._keys)

    def _keys(self, there: Contents | None) -> list[str]:
        numbers = [] if there is None else [n for part in there.minishards.values() for n in part.numbers]
        return [name for name in map(self._names.name_of, numbers) if name is not None]

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the chunks whose keys start with ``prefix``; only indices are read."""
        folder = f"{self._lookup.folder}/"
        shards = {shard for key in self._base.list(folder) if (shard := self._lookup.shard(key)) is not None}
        waiting: deque[Future[Collection[str]]] = deque()
        for shard in sorted(shards):
            waiting.append(self.keys_in(self._lookup.file(shard)))
            if len(waiting) >= IN_FLIGHT:
                yield from (key for key in waiting.popleft().result() if key.startswith(prefix))
        while waiting:
            yield from (key for key in waiting.popleft().result() if key.startswith(prefix))
