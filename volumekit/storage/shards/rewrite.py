"""Changing chunks of a shard: read what stays, merge, and write the whole shard, if nobody wrote it in between.

A shard is one object and is replaced as a whole, so it is in memory twice while it is rewritten: what stays as it was
read, and the new one. Chunks that are replaced are not read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import NamedTuple

from volumekit.codecs.compression import compress
from volumekit.errors import ConflictError, UnsupportedError
from volumekit.model.shard_index import Span, dump_minishard, dump_shard_index
from volumekit.model.sharding import ShardingSpec
from volumekit.storage.base import ABSENT, Future, Store, Value, chain, done, gather, then, until
from volumekit.storage.batches import Job, Stamps
from volumekit.storage.shards.contents import Contents, contents, learn
from volumekit.storage.shards.lookup import Lookup, Place
from volumekit.storage.steps import Ask, Reader, begin

TRIES = 1000
"""How often a write is tried again because others were faster."""

Bytes = bytes | memoryview
Outcomes = Sequence[Stamps | Exception]


class Stored(NamedTuple):
    """A chunk that is in a shard."""

    minishard: int
    span: Span


class Codec(NamedTuple):
    """How chunks become what is stored of them, and back; both are given the chunk's key first."""

    pack: Callable[[str, bytes], bytes]
    unpack: Callable[[str, bytes], bytes]


@dataclass(frozen=True)
class Rewriter:
    """Rewrites shards.

    Parameters
    ----------
    base : Store
        Where the shards are.
    reader : Reader
        Reads there.
    lookup : Lookup
        Finds what is in them.
    place : callable
        Tells where a chunk belongs, by its key.
    codec : Codec
        Compression of chunks.
    executor : Executor or None
        Where shards are put together.
    """

    base: Store
    reader: Reader
    lookup: Lookup
    place: Callable[[str], Place]
    codec: Codec
    executor: Executor | None

    def work(self, name: str, jobs: Sequence[Job]) -> Future[Outcomes]:
        """Do what several jobs want of one shard, no two of the same key; tell what became of each.

        Bytes are stored as they are given, so they have to be packed already; functions deal in chunks.
        """
        shard = self.lookup.shard(name) or 0

        left = iter(range(TRIES))

        def merge(there: Contents | None) -> Future[Outcomes | None]:
            return Attempt(self, name, jobs, there).outcomes()

        def attempt() -> Future[Outcomes | None]:
            if next(left, None) is None:
                raise self._restless(name)
            return chain(begin(contents(self.lookup, shard), self.reader.read), merge)

        return until(attempt)

    def _restless(self, name: str) -> ConflictError:
        return ConflictError(
            f"others changed the shard each of {TRIES} times it was to be written; try again when they are done",
            url=self.base.url,
            key=name,
        )


@dataclass
class Attempt:
    """One attempt to rewrite a shard; it comes to nothing (None) if somebody else writes the shard meanwhile."""

    rewriter: Rewriter
    name: str
    jobs: Sequence[Job]
    there: Contents | None
    stored: dict[int, Stored] = field(default_factory=dict)

    def outcomes(self) -> Future[Outcomes | None]:
        """Rewrite the shard; tell what became of each job."""
        if self.there is not None:
            self._check_form(self.there)
            for minishard, index in self.there.minishards.items():
                self.stored.update((number, Stored(minishard, span)) for number, span in index.items())
        refusals = [self._refusal(job) for job in self.jobs]
        if all(refusals):
            return done([error for error in refusals if error])
        return chain(self._read(refusals), lambda old: done(None) if old is None else self._change(refusals, old))

    def _check_form(self, there: Contents) -> None:
        if there.known.data != there.known.index:
            raise UnsupportedError(
                "shards in the old form, .index and .data files, are only read; copy the volume to change it",
                url=self.rewriter.base.url,
                key=there.known.index,
            )

    def _refusal(self, job: Job) -> Exception | None:
        """Return the error of a job whose condition does not hold."""
        if job.if_match is None:
            return None
        if job.if_match == ABSENT:
            held = not any(self.rewriter.place(key).number in self.stored for key in job.changes)
        else:
            held = self.there is not None and self.there.known.stamp == job.if_match
        if held:
            return None
        return ConflictError(
            "the shard changed since the chunk was read; read it again",
            url=self.rewriter.base.url,
            key=next(iter(job.changes)),
        )

    def _read(self, refusals: Sequence[Exception | None]) -> Future[dict[int, memoryview] | None]:
        """Read the stored chunks that stay, or that functions want to see, all in one go."""
        replaced = {
            self.rewriter.place(key).number
            for job, refusal in zip(self.jobs, refusals, strict=True)
            if refusal is None and not any(callable(change) for change in job.changes.values())
            for key in job.changes
        }
        wanted = {number: at.span for number, at in self.stored.items() if number not in replaced}
        if not wanted or self.there is None:
            return done({})
        lookup, known = self.rewriter.lookup, self.there.known
        whole = Span(min(span.start for span in wanted.values()), max(span.stop for span in wanted.values()))
        if sum(span.stop - span.start for span in wanted.values()) > whole.stop - whole.start:
            raise lookup.damaged(self.name, "its chunks overlap")

        def cut(value: Value | None) -> dict[int, memoryview] | None:
            if value is None or value.stamp != known.stamp:
                return None
            if len(value.data) != whole.stop - whole.start:
                raise lookup.damaged(self.name, "it ends before a chunk does")
            view = memoryview(value.data)
            return {n: view[span.start - whole.start : span.stop - whole.start] for n, span in wanted.items()}

        return then(self._fetch(lookup.ask(known, whole), known.stamp), cut)

    def _fetch(self, ask: Ask, stamp: bytes) -> Future[Value | None]:
        """Read much of a shard; a local file without TensorStore's copies, if it is still of this generation."""
        reader = self.rewriter.reader
        if not self.rewriter.base.near:
            return reader.read(ask)
        looked = then(done(ask), reader.peek, executor=self.rewriter.executor)
        return chain(looked, lambda value: done(value) if value and value.stamp == stamp else reader.read(ask))

    def _change(self, refusals: Sequence[Exception | None], old: Mapping[int, memoryview]) -> Future[Outcomes | None]:
        """Make the changes, and write the shard."""
        made = {
            str(n): self._made(job, old)
            for n, (job, refusal) in enumerate(zip(self.jobs, refusals, strict=True))
            if refusal is None
        }

        def finish(all_made: Mapping[str, Mapping[str, bytes | None] | Exception]) -> Future[Outcomes | None]:
            results = [all_made.get(str(n), refusal) for n, refusal in enumerate(refusals)]
            return self._store(results, old)

        return chain(gather(made), finish)

    def _made(self, job: Job, old: Mapping[int, memoryview]) -> Future[Mapping[str, bytes | None] | Exception]:
        """Make the changes of a job, or return why that failed."""
        parts: dict[str, Future[bytes | None]] = {
            key: self._called(job, key, change, old) if callable(change) else done(change)
            for key, change in job.changes.items()
        }
        failure: Callable[[Exception], Future[Mapping[str, bytes | None] | Exception]] = done
        return chain(gather(parts), done, rescue=failure)

    def _called(
        self, job: Job, key: str, change: Callable[[Value | None], bytes | None], old: Mapping[int, memoryview]
    ) -> Future[bytes | None]:
        codec, number = self.rewriter.codec, self.rewriter.place(key).number

        def call(stored: memoryview | None) -> bytes | None:
            stamp = self.there.known.stamp if self.there else ABSENT
            new = change(None if stored is None else Value(codec.unpack(key, bytes(stored)), stamp))
            return None if new is None else codec.pack(key, new)

        return then(done(old.get(number)), call, executor=job.executor)

    def _store(
        self, results: Sequence[Mapping[str, bytes | None] | Exception | None], old: Mapping[int, memoryview]
    ) -> Future[Outcomes | None]:
        """Put the new shard together and write it."""
        chunks: dict[int, tuple[int, Bytes]] = {n: (self.stored[n].minishard, data) for n, data in old.items()}
        touched = set()
        for key, data in _changes(results):
            at = self.rewriter.place(key)
            chunks.pop(at.number, None)
            if data is not None:
                chunks[at.number] = (at.minishard, data)
            if data is not None or at.number in self.stored:
                touched.add(key)
        before = self.there.known.stamp if self.there else ABSENT
        if not touched:
            return done(_outcomes(results, before))
        lookup = self.rewriter.lookup
        new = then(
            done(chunks), lambda kept: assemble(lookup.spec, kept) if kept else None, executor=self.rewriter.executor
        )

        def write(shard: bytes | None) -> Future[Outcomes | None]:
            def finish(stamps: Stamps) -> Outcomes:
                if shard is not None:
                    learn(lookup, lookup.shard(self.name) or 0, Value(shard, stamps[self.name]))
                return _outcomes(results, stamps[self.name])

            return then(self.rewriter.base.commit({self.name: shard}, before), finish)

        def changed(error: Exception) -> Future[Outcomes | None] | None:
            return done(None) if isinstance(error, ConflictError) else None

        return chain(chain(new, write), done, rescue=changed)


def _changes(
    results: Sequence[Mapping[str, bytes | None] | Exception | None],
) -> list[tuple[str, bytes | None]]:
    """Return what becomes of each key, by the jobs that succeed."""
    return [item for made in results if isinstance(made, Mapping) for item in made.items()]


def _outcomes(results: Sequence[Mapping[str, bytes | None] | Exception | None], stamp: bytes) -> Outcomes:
    """Return new stamps, or errors, in the order of the jobs."""
    return [
        {key: ABSENT if data is None else stamp for key, data in made.items()} if isinstance(made, Mapping) else made
        for made in results
        if made is not None
    ]


def assemble(spec: ShardingSpec, chunks: Mapping[int, tuple[int, Bytes]]) -> bytes:
    """Return the bytes of a shard: its index, all chunks, then the indices of the minishards.

    Parameters
    ----------
    spec : ShardingSpec
        How chunks are spread over shards.
    chunks : Mapping
        By number: minishard, and bytes as they are to be stored.
    """
    numbers: dict[int, list[int]] = {}
    for number, (minishard, _) in sorted(chunks.items()):
        numbers.setdefault(minishard, []).append(number)
    parts: list[Bytes] = []
    tables: dict[int, bytes] = {}
    at = 0
    for minishard in sorted(numbers):
        held = [chunks[number][1] for number in numbers[minishard]]
        sizes = [len(data) for data in held]
        tables[minishard] = dump_minishard(numbers[minishard], at, sizes)
        parts += held
        at += sum(sizes)
    spans: dict[int, Span] = {}
    for minishard, table in tables.items():
        packed = table if spec.minishard_index_encoding == "raw" else compress(table, spec.minishard_index_encoding)
        parts.append(packed)
        spans[minishard] = Span(at, at + len(packed))
        at += len(packed)
    return b"".join(
        [dump_shard_index((spans.get(m, Span(0, 0)) for m in range(spec.minishards)), spec.minishards), *parts]
    )
