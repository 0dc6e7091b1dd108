"""The chunks of a sharded zarr array as keys of a store."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Executor

from volumekit.errors import ReadOnlyError, StorageError
from volumekit.model.zarr_shard import ShardIndex, ShardNames
from volumekit.storage.base import Change, Future, Store, Value, done, failed, gather, then
from volumekit.storage.batches import Batches, Job, Stamps
from volumekit.storage.steps import Reader, begin, run
from volumekit.storage.zarr_shards.lookup import Known, Lookup
from volumekit.storage.zarr_shards.rewrite import Rewriter

IN_FLIGHT = 16
"""Shards whose indices are read at once when all chunks are listed."""


class ZarrShardStore(Store):
    """The chunks inside the shards of an array: a key is the name that the chunk would have without shards.

    Indices are read once. Each read of a chunk tells by its stamp whether the shard is still the one whose index is
    known, so that what others write is seen. Stamps are those of the shard: a chunk that was read has changed if
    anything in its shard has. All changes of one shard, by whatever threads, that come while it is being written are
    made together in the next write; a shard without chunks is deleted.

    Parameters
    ----------
    base : Store
        Where the shards are.
    names : ShardNames
        Which shard a chunk lives in.
    index : ShardIndex
        How the index of a shard is stored.
    limit : int
        Most bytes a chunk may take, encoded; one that holds more is damaged.
    executor : Executor, optional
        Where functions of `update` run, unless told otherwise.
    """

    def __init__(
        self, base: Store, *, names: ShardNames, index: ShardIndex, limit: int, executor: Executor | None = None
    ) -> None:
        self.url, self.writable, self.listable = base.url, base.writable, base.listable
        self.conditional = base.conditional
        self._base, self._names, self._executor = base, names, executor
        self._lookup, self._reader = Lookup(base.url, index, limit), Reader(base)
        self._batches = Batches(Rewriter(base, self._lookup, names).work)

    @property
    def near(self) -> bool:  # type: ignore[override]
        """Whether the store below is."""
        return self._base.near

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read a chunk, or a range of it."""
        place = self._names.place(key)
        if place is None:
            return done(None)
        return begin(self._lookup.read(*place, start, stop), self._reader.read)

    def peek(self, key: str, start: int | None = None, stop: int | None = None) -> Value | None:
        """Read a chunk, or a range of it, in the calling thread."""
        place = self._names.place(key)
        return None if place is None else run(self._lookup.read(*place, start, stop), self._reader.peek)

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
        groups: dict[str, dict[str, Change]] = {}
        for key, change in changes.items():
            place = self._names.place(key)
            if place is None:
                why = f"{key!r} is no chunk of this level; nothing else can be in its shards"
                return failed(StorageError(why, url=self.url, key=key))
            groups.setdefault(place[0], {})[key] = change
        each = {name: self._batches.add(name, Job(part, if_match, executor)) for name, part in groups.items()}
        return then(gather(each), lambda stamps: {key: s for part in stamps.values() for key, s in part.items()})

    def group(self, key: str) -> str:
        """Return the shard a chunk lives in; a key that is no chunk's is a group of its own."""
        place = self._names.place(key)
        return key if place is None else place[0]

    def keys_in(self, group: str) -> Future[Collection[str]]:
        """Return the chunks that are stored in a shard; only its index is read."""
        if not self._names.is_shard(group):
            return done(())
        return then(begin(self._lookup.open(group), self._reader.read), lambda known: self._held(group, known))

    def _held(self, shard: str, known: Known | None) -> list[str]:
        names = self._names.names(shard) if known is not None else {}
        return [name for number, name in names.items() if known is not None and known.span(number) is not None]

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the chunks whose keys start with ``prefix``; only indices are read."""
        shards = [key for key in self._base.list(self._names.keys.lead) if self._names.is_shard(key)]
        waiting: deque[Future[Collection[str]]] = deque()
        for shard in sorted(shards):
            waiting.append(self.keys_in(shard))
            if len(waiting) >= IN_FLIGHT:
                yield from (key for key in waiting.popleft().result() if key.startswith(prefix))
        while waiting:
            yield from (key for key in waiting.popleft().result() if key.startswith(prefix))
