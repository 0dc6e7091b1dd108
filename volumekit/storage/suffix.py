"""Compressed objects behind plain keys: ``key`` may be stored as ``key.gz``, ``key.br`` and so on.

CloudVolume's layout on local disk. Of several variants of an object the first of `VARIANTS` counts, for every reader
alike. A write stores one variant and removes the others, the new one first, so that a reader always finds one and stale
data never comes back.

No update is lost while several writers move an object to another variant: the new variant is only written where there
is none, and the old one only removed as it was read; whoever fails at either reads and merges again. An object that is
doubled (another program left a stale variant where the new one should go) is written where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Literal

from volumekit.codecs.compression import SUFFIXES, compress, decompress
from volumekit.errors import ConflictError, CorruptChunkError
from volumekit.storage.base import ABSENT, Future, Store, Value, chain, done, gather, then

Compression = str | Literal[False] | None
"""A method of `codecs.compression.SUFFIXES`, False for none, None for whatever an object already has."""

PLAIN = ""
VARIANTS: tuple[str, ...] = (PLAIN, *SUFFIXES)
"""Methods in the order in which they are looked for; their position ends a stamp."""

_ENDINGS = tuple(SUFFIXES.values())
_TO_AND_FRO = (PLAIN, *_ENDINGS, *_ENDINGS[-2::-1], PLAIN)
"""An object that moves to an earlier variant while they are gone through is met on the way back."""

_DOUBLED = 0x80
"""Added to that position if the variant to write is there too, and stale."""


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
    limit : int, optional
        Most bytes an object may hold once decompressed; one that holds more is damaged.
    """

    def __init__(
        self,
        base: Store,
        *,
        compress: Compression = None,
        level: int | None = None,
        prefix: str = "",
        executor: Executor | None = None,
        limit: int | None = None,
    ) -> None:
        self.url, self.writable, self.listable = base.url, base.writable, base.listable
        self.conditional = base.conditional
        self._base, self._compress, self._level = base, compress, level
        self._prefix, self._executor, self._limit = prefix, executor, limit
        self.seen: set[str] = set()  # only ever grows, and in steps that no other thread can undo
        self._listed = False

    @property
    def near(self) -> bool:  # type: ignore[override]
        """Whether the store below is."""
        return self._base.near

    @property
    def target(self) -> str | None:
        """The variant to write, None for "as it is"."""
        return PLAIN if self._compress is False else self._compress

    def variants(self) -> frozenset[str]:
        """Return the variants there are: those listed once before the first write, and those met since."""
        if not self._listed:
            self.seen.update({_variant(key)[1] for key in self._base.list(self._prefix)})
            self._listed = True
        return frozenset(self.seen)

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> Future[Value | None]:
        """Read whichever variant is there, decompressed; a range of a compressed one reads all of it."""
        return self._read(key, start, stop, PLAIN)

    def peek(self, key: str, start: int | None = None, stop: int | None = None) -> Value | None:
        """Read whichever variant is there, decompressed, in the calling thread."""
        if start is not None or stop is not None:
            return self.read(key, start, stop).result()
        for _ in range(1 + len(self.seen)):  # a writer may move it meanwhile
            name = self._base.find([key + ending for ending in _TO_AND_FRO]).result()
            if name is None and self.seen <= {PLAIN}:
                return None
            if name is None:  # it may have moved several times meanwhile
                break
            value, variant = self._base.peek(name), _variant(name)[1] if name != key else PLAIN
            if value is not None:
                self.seen.add(variant)
                return value if variant == PLAIN else value._replace(data=self._decompress(name, value.data, variant))
        return self.read(key).result()

    def _read(self, key: str, start: int | None, stop: int | None, variant: str) -> Future[Value | None]:
        ask = (start, stop) if variant == PLAIN or (start, stop) == (0, 0) else (None, None)

        def step(value: Value | None) -> Future[Value | None]:
            if value is not None:
                return self._plain(key, value, variant, start, stop)
            sweep = VARIANTS[1:] + VARIANTS[::-1]  # to and fro, as a writer may move it meanwhile
            return chain(self._locate(key, sweep * max(1, len(self.seen))), again)

        def again(found: str | None) -> Future[Value | None]:
            return done(None) if found is None else self._read(key, start, stop, found)

        return chain(self._base.read(_stored(key, variant), *ask), step)

    def _locate(self, key: str, order: Sequence[str]) -> Future[str | None]:
        """Find the variant an object has."""
        found = self._base.find([_stored(key, variant) for variant in order])
        return then(found, lambda stored: None if stored is None else _variant(stored)[1])

    def _plain(self, key: str, value: Value, variant: str, start: int | None, stop: int | None) -> Future[Value | None]:
        self.seen.add(variant)

        def unpack(doubled: str | None) -> Value:
            place = VARIANTS.index(variant) | (0 if doubled is None else _DOUBLED)
            data = value.data
            if variant != PLAIN and (start, stop) != (0, 0):
                data = self._decompress(_stored(key, variant), data, variant)[slice(start, stop)]
            return value._replace(data=data, stamp=value.stamp + bytes([place]))

        target = self.target
        moves = target is not None and VARIANTS.index(target) > VARIANTS.index(variant)
        stale = self._base.find([_stored(key, target)]) if moves and target else done(None)
        return then(stale, unpack, executor=None if variant == PLAIN else self._executor)

    def _decompress(self, name: str, data: bytes, method: str) -> bytes:
        try:
            return decompress(data, method, limit=self._limit)
        except CorruptChunkError as error:
            error.url, error.key = self.url, name
            raise

    def stored(self, key: str) -> Future[tuple[str, bytes] | None]:
        """Return the variant that an object has and its bytes as they are stored; None if there is none."""

        def fetch(found: str | None) -> Future[tuple[str, bytes] | None]:
            if found is None:
                return done(None)
            variant = PLAIN if found == key else _variant(found)[1]
            return then(self._base.read(found), lambda value: None if value is None else (variant, value.data))

        return chain(self._base.find([_stored(key, variant) for variant in VARIANTS]), fetch)

    def adopt(self, key: str, variant: str, packed: bytes) -> Future[bytes]:
        """Store an object as it is stored elsewhere, and remove its other variants."""
        return self._put(key, b"", variant, None, packed=packed)

    def recompress(self, key: str) -> Future[bool]:
        """Store an object, if there is one, as the variant that is to be written, and only so; tell whether it was not.

        Readers find one of the two at any time, and what others write meanwhile is kept. One that is there twice, as
        after a writer that was killed, is first written where it is.
        """
        wanted = PLAIN if self.target is None else self.target

        def look(value: Value | None) -> Future[bool]:
            if value is None:
                return done(False)
            had = _unstamp(value.stamp)[0]
            others = self._base.find(_others(key, wanted)) if had == wanted else done(key)
            return chain(others, move)

        def move(other: str | None) -> Future[bool]:
            if other is None:
                return done(False)
            moved = self.update({key: lambda now: None if now is None else now.data}, executor=self._executor)
            return chain(chain(moved, lambda _: self.read(key, 0, 0)), lambda value: then(look(value), lambda _: True))

        return chain(self.read(key, 0, 0), look)

    def put(self, key: str, data: bytes | memoryview | None) -> None:
        """Write or delete a key that nobody reads yet, and of which there are no other variants."""
        variant = self.target or PLAIN
        if data is None or not self._base.near:
            super().put(key, data)
            return
        self.seen.add(variant)
        self._base.put(_stored(key, variant), compress(bytes(data), variant, self._level) if variant else data)

    def commit(self, changes: Mapping[str, bytes | None], if_match: bytes | None = None) -> Future[Mapping[str, bytes]]:
        """Write or delete whatever variants of the keys there are."""
        self.variants()
        return gather({key: self._change(key, data, if_match) for key, data in changes.items()})

    def _change(self, key: str, data: bytes | None, if_match: bytes | None) -> Future[bytes]:
        had, doubled, stamp = _unstamp(if_match)
        if data is None:
            return self._delete(key, had, stamp)
        if if_match is None:
            return self._overwrite(key, data)
        variant = had or PLAIN if self.target is None or doubled else self.target
        if had in (None, variant):
            return self._put(key, data, variant, stamp)
        return self._put(key, data, variant, ABSENT, old=(had, stamp))

    def _overwrite(self, key: str, data: bytes) -> Future[bytes]:
        """Store an object, whatever was there."""
        usual = PLAIN if self.target is None else self.target

        def move(value: Value | None) -> Future[bytes]:
            had, _, stamp = _unstamp(value.stamp if value else None)
            variant = usual if self.target is not None else had or PLAIN
            old = None if had in (None, variant) else (had, stamp)
            return chain(self._put(key, data, variant, None, old), done, rescue=again)

        def again(error: Exception) -> Future[bytes] | None:
            return self._overwrite(key, data) if isinstance(error, ConflictError) else None

        def choose(other: str | None) -> Future[bytes]:
            return self._put(key, data, usual, None) if other is None else chain(self.read(key, 0, 0), move)

        return chain(self._base.find(_others(key, usual)), choose)

    def _put(
        self,
        key: str,
        data: bytes,
        variant: str,
        condition: bytes | None,
        old: tuple[str, bytes | None] | None = None,
        *,
        packed: bytes | None = None,
    ) -> Future[bytes]:
        """Store one variant, then remove the others.

        Those others are removed that were there before, as they were; ``old``, the one that was read, must still be so.
        ``packed`` is the object as it is to be stored, where that is known.
        """
        if packed is None:
            packed = compress(data, variant, self._level) if variant else data
        name = _stored(key, variant)
        self.seen.add(variant)

        def store(stale: Mapping[str, bytes]) -> Future[bytes]:
            return chain(self._base.commit({name: packed}, condition), lambda stamps: clean(stamps, stale))

        def clean(stamps: Mapping[str, bytes], stale: Mapping[str, bytes]) -> Future[bytes]:
            left: Future[Any] = done(None)
            if old is not None:
                hidden = VARIANTS.index(variant) < VARIANTS.index(old[0])
                left = self._leave(_stored(key, old[0]), old[1], hidden=hidden)
            gone = chain(left, lambda _: self._expire(stale))
            return then(gone, lambda _: stamps[name] + bytes([VARIANTS.index(variant)]))

        return chain(self._stamps(_others(key, variant, old[0] if old else variant)), store)

    def _leave(self, old: str, stamp: bytes | None, *, hidden: bool) -> Future[Any]:
        """Delete the object that was read, as it was read.

        If it is gone already and the new one hides it, somebody built upon the new one; else somebody threw that away.
        """

        def gone(found: str | None) -> None:
            if found is not None or not hidden:
                raise ConflictError("the object changed since it was read", url=self.url, key=old)

        def changed(error: Exception) -> Future[Any] | None:
            return then(self._base.find([old]), gone) if isinstance(error, ConflictError) else None

        return chain(self._base.commit({old: None}, stamp), done, rescue=changed)

    def _stamps(self, names: Sequence[str]) -> Future[Mapping[str, bytes]]:
        """Return the stamps of those of the objects that exist; usually that is none."""

        def read(found: str | None) -> Future[Mapping[str, bytes]]:
            if found is None:
                return done({})
            return then(gather({name: self._base.read(name, 0, 0) for name in names}), stamped)

        def stamped(values: Mapping[str, Value | None]) -> Mapping[str, bytes]:
            return {name: value.stamp for name, value in values.items() if value}

        return chain(self._base.find(names), read)

    def _expire(self, stamps: Mapping[str, bytes]) -> Future[Any]:
        """Delete objects that are still as they were."""

        def changed(error: Exception) -> Future[Any] | None:
            return done(None) if isinstance(error, ConflictError) else None

        gone = {name: self._base.commit({name: None}, stamp) for name, stamp in stamps.items()}
        return gather({name: chain(future, done, rescue=changed) for name, future in gone.items()})

    def _delete(self, key: str, had: str | None, stamp: bytes | None) -> Future[bytes]:
        """Remove all variants; what is not as it was read (``had``) is a conflict, and what came since stays."""
        names = [_stored(key, variant) for variant in VARIANTS]
        if stamp is None:
            return then(self._remove(names), lambda _: ABSENT)
        if had is None:
            return then(self._base.find(names), self._still_absent)

        def remove(stale: Mapping[str, bytes]) -> Future[bytes]:
            first = self._base.commit({_stored(key, had): None}, stamp)
            return chain(first, lambda _: then(self._expire(stale), lambda _: ABSENT))

        return chain(self._stamps(_others(key, had)), remove)

    def _remove(self, names: Sequence[str]) -> Future[None]:
        """Delete those of the objects that exist: asking is far cheaper than deleting what is not there."""

        def next_one(found: str | None) -> Future[None]:
            if found is None:
                return done(None)
            return chain(self._base.commit({found: None}), lambda _: self._remove(names))

        return chain(self._base.find(names), next_one)

    def _still_absent(self, found: str | None) -> bytes:
        if found is not None:
            raise ConflictError("the object was made since it was looked for", url=self.url, key=found)
        return ABSENT

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield plain keys, each once, whatever variants it has."""
        seen: set[str] = set()
        for stored in self._base.list(prefix):
            key = _variant(stored)[0] if stored.endswith(_ENDINGS) else stored
            if key not in seen:
                seen.add(key)
                yield key


def _stored(key: str, variant: str) -> str:
    return key + SUFFIXES[variant] if variant else key


def _others(key: str, *variants: str) -> list[str]:
    """Return the names of all variants but these."""
    return [_stored(key, variant) for variant in VARIANTS if variant not in variants]


def _variant(stored: str) -> tuple[str, str]:
    """Split a stored key into the plain key and its variant."""
    for method, suffix in SUFFIXES.items():
        if stored.endswith(suffix):
            return stored.removesuffix(suffix), method
    return stored, PLAIN


def _unstamp(stamp: bytes | None) -> tuple[str | None, bool, bytes | None]:
    """Split a stamp: the variant that was read, whether it was doubled, and the base store's stamp."""
    if not stamp or stamp == ABSENT:
        return None, False, stamp
    return VARIANTS[stamp[-1] & ~_DOUBLED], bool(stamp[-1] & _DOUBLED), stamp[:-1]
