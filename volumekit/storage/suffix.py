"""Compressed objects behind plain keys: ``key`` may be stored as ``key.gz``, ``key.br`` and so on.

CloudVolume's layout on local disk. Whichever variant is there is read; a write stores one variant and removes the
others, the new one first, so that a reader always finds one and stale data never comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from typing import Literal

from volumekit.codecs.compression import SUFFIXES, compress, decompress
from volumekit.storage.base import ABSENT, Future, Store, Value, chain, done, gather, then

Compression = str | Literal[False] | None
"""A method of `codecs.compression.SUFFIXES`, False for none, None for whatever an object already has."""

PLAIN = ""
VARIANTS: tuple[str, ...] = (PLAIN, *SUFFIXES)
"""Methods in the order in which they are looked for; their position ends a stamp."""


class SuffixStore(Store):
    """A store whose objects may be compressed behind a suffix.

    Parameters
    ----------
    base : Store
        The store with the suffixed keys.
    compress : str or False or None
        How to store: a method, False for plain objects, None to keep what an object has (new ones are plain).
    level : int, optional
        Compression level.
    prefix : str
        All keys start with this; it is listed once, before the first write, to learn which variants there are.
    executor : Executor, optional
        Where to decompress; default: the thread that finishes the read.
    """

    def __init__(
        self,
        base: Store,
        *,
        compress: Compression = None,
        level: int | None = None,
        prefix: str = "",
        executor: Executor | None = None,
    ) -> None:
        self.url, self.writable, self.listable = base.url, base.writable, base.listable
        self.conditional = base.conditional
        self._base, self._compress, self._level = base, compress, level
        self._prefix, self._executor = prefix, executor
        self.seen: frozenset[str] = frozenset()
        self._listed = False

    @property
    def target(self) -> str | None:
        """The variant to write, None for "as it is"."""
        return PLAIN if self._compress is False else self._compress

    def variants(self) -> frozenset[str]:
        """Return the variants there are: those listed once before the first write, and those met since."""
        if not self._listed:
            self.seen |= {_variant(key)[1] for key in self._base.list(self._prefix)}
            self._listed = True
        return self.seen

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read whichever variant is there, decompressed; a range of a compressed one reads all of it."""
        return self._read(key, start, stop, self._order())

    def _order(self) -> list[str]:
        return sorted(VARIANTS, key=lambda v: (v != self.target, v not in self.seen, VARIANTS.index(v)))

    def _read(
        self, key: str, start: int | None, stop: int | None, order: list[str]
    ) -> Future[Value | None]:
        variant, *others = order
        ask = (start, stop) if variant == PLAIN or (start, stop) == (0, 0) else (None, None)

        def step(value: Value | None) -> Future[Value | None]:
            if value is not None:
                return self._plain(value, variant, start, stop)
            return chain(self._locate(key, others * 2), again) if others else done(None)

        def again(found: str | None) -> Future[Value | None]:
            return done(None) if found is None else self._read(key, start, stop, [found, *others])

        return chain(self._base.read(_stored(key, variant), *ask), step)

    def _locate(self, key: str, order: list[str]) -> Future[str | None]:
        """Find the variant an object has; callers look twice, as a writer may move it to one already tried."""
        found = self._base.find([_stored(key, variant) for variant in order])
        return then(found, lambda stored: None if stored is None else _variant(stored)[1])

    def _plain(self, value: Value, variant: str, start: int | None, stop: int | None) -> Future[Value | None]:
        self.seen |= {variant}
        value = value._replace(stamp=value.stamp + bytes([VARIANTS.index(variant)]))
        if variant == PLAIN or (start, stop) == (0, 0):
            return done(value)

        def unpack(value: Value) -> Value | None:
            return value._replace(data=decompress(value.data, variant)[slice(start, stop)])

        return then(done(value), unpack, executor=self._executor)

    def commit(
        self, changes: Mapping[str, bytes | None], if_match: bytes | None = None
    ) -> Future[Mapping[str, bytes]]:
        """Write or delete whatever variants of the keys there are."""
        self.variants()
        return gather({key: self._change(key, data, if_match) for key, data in changes.items()})

    def _change(self, key: str, data: bytes | None, if_match: bytes | None) -> Future[bytes]:
        had = VARIANTS[if_match[-1]] if if_match and if_match != ABSENT else None
        stamp = if_match[:-1] if if_match and had is not None else if_match
        if data is None:
            return self._delete(key, had, stamp)
        if if_match is None and self.target is None:
            found = self._locate(key, list(VARIANTS))
            return chain(found, lambda variant: self._put(key, data, variant or PLAIN, None))
        variant = self.target if self.target is not None else had or PLAIN
        return self._put(key, data, variant, ABSENT if had not in (None, variant) else stamp)

    def _put(self, key: str, data: bytes, variant: str, condition: bytes | None) -> Future[bytes]:
        """Store one variant, then remove the others."""
        packed = compress(data, variant, self._level) if variant else data
        name = _stored(key, variant)
        others = [_stored(key, other) for other in self.seen - {variant}]
        self.seen |= {variant}

        def clean(stamps: Mapping[str, bytes]) -> Future[bytes]:
            gone = self._base.commit(dict.fromkeys(others))
            return then(gone, lambda _: stamps[name] + bytes([VARIANTS.index(variant)]))

        return chain(self._base.commit({name: packed}, condition), clean)

    def _delete(self, key: str, had: str | None, stamp: bytes | None) -> Future[bytes]:
        """Remove all variants, the one that was read (``had``) first and only if it is unchanged."""
        rest = {_stored(key, variant): None for variant in VARIANTS if variant != had}
        if had is None:
            return then(self._base.commit(rest), lambda _: ABSENT)
        first = self._base.commit({_stored(key, had): None}, stamp)
        return chain(first, lambda _: then(self._base.commit(rest), lambda _: ABSENT))

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield plain keys, each once, whatever variants it has."""
        seen = set()
        for stored in self._base.list(prefix):
            key, _ = _variant(stored)
            if key not in seen:
                seen.add(key)
                yield key


def _stored(key: str, variant: str) -> str:
    return key + SUFFIXES[variant] if variant else key


def _variant(stored: str) -> tuple[str, str]:
    """Split a stored key into the plain key and its variant."""
    for method, suffix in SUFFIXES.items():
        if stored.endswith(suffix):
            return stored.removesuffix(suffix), method
    return stored, PLAIN

