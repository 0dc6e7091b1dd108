"""All chunks of a shard, found by reading nothing but its indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from volumekit.model.shard_index import Minishard, Span
from volumekit.storage.base import Value
from volumekit.storage.shards.known import Known
from volumekit.storage.shards.lookup import PER_PAGE, TRIES, Lookup
from volumekit.storage.steps import Steps, run

NEAR = 4096
"""Indices that lie no further apart, in bytes, are read at once."""


class Contents(NamedTuple):
    """All chunks of a shard, as of one generation."""

    known: Known
    minishards: dict[int, Minishard]


def contents(lookup: Lookup, shard: int) -> Steps[Contents | None]:
    """Find all chunks of a shard, as it is now; None if there is no such shard.

    Raises
    ------
    CorruptChunkError
        If an index is damaged; it names the shard.
    """
    known = lookup.cache.get(shard)
    if known is not None and known.complete and (yield from lookup.holds(known)):
        return Contents(known, known.minishards)
    for _ in range(TRIES):
        known = yield from lookup.open(shard, 0)
        if known is None:
            return None
        if (yield from _read_pages(lookup, known)) and (yield from _read_minishards(lookup, known)):
            known.complete = True
            lookup.cache.put(shard, known)
            return Contents(known, known.minishards)
    alone, read = yield from lookup.at_once(shard)
    return run(contents(alone, shard), read)


def learn(lookup: Lookup, shard: int, whole: Value) -> None:
    """Take up the indices of a shard that was just written."""
    alone, read = lookup.apart(shard, whole)
    run(contents(alone, shard), read)
    known = alone.cache.get(shard)
    if known is not None:
        lookup.cache.put(shard, known)


def _read_pages(lookup: Lookup, known: Known) -> Steps[bool]:
    """Read the rest of the shard index; tell whether the shard has not changed meanwhile."""
    pages = range(1, -(-lookup.spec.minishards // PER_PAGE))
    values: Sequence[Value | None] = (yield [lookup.page(known.index, page) for page in pages]) if pages else ()
    for page, value in zip(pages, values, strict=True):
        if value is None or value.stamp != known.stamp:
            return False
        lookup.take_page(known, page, value)
    return True


def _read_minishards(lookup: Lookup, known: Known) -> Steps[bool]:
    """Read all minishards' indices; tell whether the shard has not changed meanwhile."""
    spans = {
        page * PER_PAGE + entry: Span(start, stop)
        for page, entries in known.pages.items()
        for entry, (start, stop) in enumerate(entries.tolist())
        if start < stop
    }
    lookup.check_indices(known, [*spans.values()])
    groups = _neighbours(lookup, known, spans)
    values = (yield [lookup.ask(known, span) for span, _ in groups]) if groups else ()
    found: dict[int, Minishard] = {}
    count = 0
    for (span, numbers), value in zip(groups, values, strict=True):
        if value is None or not known.same_data(value):
            return False
        for number in numbers:
            first, last = (end - span.start for end in spans[number])
            found[number] = lookup.parse(known, spans[number], value.data[first:last])
            count += len(found[number].numbers)
            if count > lookup.most:
                raise lookup.damaged(known.data, f"its indices list more than all {lookup.most} chunks")
    known.minishards = found
    known.nbytes += sum(minishard.nbytes for minishard in found.values())
    return True


def _neighbours(lookup: Lookup, known: Known, spans: dict[int, Span]) -> list[tuple[Span, list[int]]]:
    """Put together what lies close together, in the order of the file."""
    groups: list[tuple[Span, list[int]]] = []
    for number, span in sorted(spans.items(), key=lambda item: item[1]):
        before = groups[-1][0] if groups else None
        if before is not None and span.start < before.stop:
            raise lookup.damaged(known.data, "the indices of minishards overlap")
        if before is not None and span.start - before.stop <= NEAR:
            groups[-1][1].append(number)
            groups[-1] = (Span(before.start, span.stop), groups[-1][1])
        else:
            groups.append((span, [number]))
    return groups
