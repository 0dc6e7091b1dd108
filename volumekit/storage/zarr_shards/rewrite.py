"""Changing chunks of a shard: read it, merge, and write all of it, if nobody wrote it in between.

A shard is one object and is replaced as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from volumekit.errors import ConflictError
from volumekit.model.zarr_shard import ShardNames
from volumekit.storage.base import ABSENT, Change, Future, Store, Value, chain, done, gather, then
from volumekit.storage.batches import Job, Stamps
from volumekit.storage.zarr_shards.lookup import Lookup

Outcome = Stamps | Exception
Made = Mapping[str, bytes | None] | Exception


@dataclass(frozen=True)
class Rewriter:
    """Rewrites shards.

    Attributes
    ----------
    base : Store
        Where the shards are.
    lookup : Lookup
        Finds what is in them.
    names : ShardNames
        Tells where a chunk belongs.
    """

    base: Store
    lookup: Lookup
    names: ShardNames

    def work(self, shard: str, jobs: Sequence[Job]) -> Future[Sequence[Outcome]]:
        """Do what several jobs want of one shard, no two of the same key; tell what became of each."""
        if self._replaces_all(shard, jobs):
            return self._change(shard, jobs, None, {}, None)

        def change(value: Value | None) -> Future[Sequence[Outcome]]:
            stored = {} if value is None else self.lookup.chunks(shard, value)
            return self._change(shard, jobs, value, stored, ABSENT if value is None else value.stamp)

        return chain(self.base.read(shard), change)

    def _number(self, key: str) -> int:
        place = self.names.place(key)
        return -1 if place is None else place[1]

    def _replaces_all(self, shard: str, jobs: Sequence[Job]) -> bool:
        """Tell whether nothing that is stored matters."""
        if any(job.if_match is not None or any(map(callable, job.changes.values())) for job in jobs):
            return False
        return sum(len(job.changes) for job in jobs) == len(self.names.names(shard))

    def _change(
        self,
        shard: str,
        jobs: Sequence[Job],
        value: Value | None,
        stored: Mapping[int, memoryview],
        stamp: bytes | None,
    ) -> Future[Sequence[Outcome]]:
        """Make the changes and write the shard; again if somebody else wrote it meanwhile."""
        making = {str(n): self._made(job, value, stored) for n, job in enumerate(jobs)}

        def write(found: Mapping[str, Made]) -> Future[Sequence[Outcome]]:
            made = [found[str(n)] for n in range(len(jobs))]
            return self._write(shard, made, stored, stamp)

        def again(error: Exception) -> Future[Sequence[Outcome]] | None:
            return self.work(shard, jobs) if isinstance(error, ConflictError) else None

        return chain(chain(gather(making), write), done, rescue=again)

    def _made(self, job: Job, value: Value | None, stored: Mapping[int, memoryview]) -> Future[Made]:
        """Return what a job makes of its keys, or why it fails."""
        if job.if_match is not None:
            there = any(self._number(key) in stored for key in job.changes)
            held = not there if job.if_match == ABSENT else value is not None and value.stamp == job.if_match
            if not held:
                return done(self._conflict(next(iter(job.changes))))
        parts: dict[str, Future[Any]] = {
            key: self._called(job, key, change, value, stored) for key, change in job.changes.items()
        }
        failure: Any = done
        return chain(gather(parts), done, rescue=failure)

    def _conflict(self, key: str) -> ConflictError:
        return ConflictError("the shard changed since the chunk was read; read it again", url=self.base.url, key=key)

    def _called(
        self, job: Job, key: str, change: Change, value: Value | None, stored: Mapping[int, memoryview]
    ) -> Future[bytes | None]:
        if not callable(change):
            return done(change)
        function, data = change, stored.get(self._number(key))
        old = None if data is None or value is None else Value(bytes(data), value.stamp)
        return then(done(old), function, executor=job.executor)

    def _write(
        self, shard: str, made: Sequence[Made], stored: Mapping[int, memoryview], stamp: bytes | None
    ) -> Future[Sequence[Outcome]]:
        chunks: dict[int, bytes | memoryview] = dict(stored)
        touched = False
        for changes in made:
            for key, data in changes.items() if isinstance(changes, Mapping) else ():
                old = chunks.pop(self._number(key), None)
                touched = touched or data is not None or old is not None
                if data is not None:
                    chunks[self._number(key)] = data
        if not touched and stamp is not None:
            return done([self._outcome(changes, stamp) for changes in made])
        index = self.lookup.index
        whole = index.assemble([chunks.get(number) for number in range(index.count)])
        self.lookup.indices.drop(shard)
        written = self.base.commit({shard: whole}, stamp)
        return then(written, lambda stamps: [self._outcome(changes, stamps[shard]) for changes in made])

    def _outcome(self, changes: Made, stamp: bytes) -> Outcome:
        if isinstance(changes, Exception):
            return changes
        return {key: ABSENT if data is None else stamp for key, data in changes.items()}
