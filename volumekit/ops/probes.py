"""Finding out by trying what a storage does: reading, listing, ranges, writing, conditional writes.

Everything that is written has a name of its own, and is removed again whatever happens.
"""

from __future__ import annotations

import contextlib
import secrets
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from volumekit.errors import ConflictError, PermissionDeniedError, VolumekitError
from volumekit.storage.base import ABSENT, Store
from volumekit.storage.headers import Headed, Headers
from volumekit.storage.http import HttpStore

NAME = ".volumekit-doctor-"
"""How the names of objects begin that are written to try something."""

ASKED = 7
WRITERS = 8
ROUNDS = 4
AMOUNT = 1 << 20

_TOLD = Headers("text/plain", required=False)

Writer = Callable[[bytes], bytes]
"""Makes the value to commit of bytes: with headers or without, which are two ways into an object store."""


@dataclass(frozen=True)
class Finding:
    """One answer.

    Attributes
    ----------
    holds : bool or None
        Whether it is so; None: that was not tried.
    text : str
        How that was found out, or why it is not so.
    """

    holds: bool | None
    text: str = ""


SKIPPED = Finding(None, "not tried")


class Probes:
    """Tries on one store.

    Parameters
    ----------
    store : Store
        The store; it may hold a dataset, which is left alone.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._token = secrets.token_hex(8)
        self._written: set[str] = set()

    def name(self, suffix: str = "") -> str:
        """Return the name of an object of ours."""
        return f"{NAME}{self._token}{suffix}"

    def write(self, key: str, data: bytes, if_match: bytes | None = None) -> bytes:
        """Write an object of ours; return its stamp."""
        self._written.add(key)
        return self.store.commit({key: data}, if_match).result()[key]

    def clean(self) -> list[str]:
        """Remove what was written; return what could not be removed."""
        left = []
        for key in sorted(self._written):
            try:
                self.store.commit({key: None}).result()
            except VolumekitError:
                if self._is_there(key):
                    left.append(key)
        self._written.clear()
        return left

    def _is_there(self, key: str) -> bool:
        try:
            return self.store.read(key, 0, 0).result() is not None
        except VolumekitError:
            return False

    def absent(self) -> Finding:
        """Read what is not there: the storage answers, and says so."""
        try:
            found = self.store.read(self.name("-absent")).result()
        except PermissionDeniedError as error:
            return Finding(False, error.message)
        return Finding(found is None, "" if found is None else "it gives bytes for an object that does not exist")

    def latency(self, key: str) -> float:
        """Return how long one small question takes, in seconds; the first, which may connect, does not count."""
        taken = []
        for _ in range(ASKED + 1):
            start = time.perf_counter()
            self.store.read(key, 0, 0).result()
            taken.append(time.perf_counter() - start)
        return statistics.median(taken[1:])

    def listed(self, key: str | None) -> Finding:
        """List our own objects; ``key`` is one that must be among them."""
        if not self.store.listable:
            return Finding(False, "this kind of storage has no listing")
        try:
            found = list(self.store.list(NAME))
        except VolumekitError as error:
            return Finding(False, error.message)
        return Finding(
            key is None or key in found, "" if key is None or key in found else "it does not list all objects"
        )

    def ranges(self, key: str) -> Finding:
        """Read parts of an object that is there."""
        whole = self.store.read(key).result()
        data = whole.data if whole else b""
        half = len(data) // 2
        for start, stop in ((0, half), (half, len(data)), (-min(5, len(data)), None)):
            try:
                found = self.store.read(key, start, stop).result()
            except VolumekitError as error:
                return Finding(False, error.message)
            if found is None or found.data != data[start:stop]:
                return Finding(False, f"bytes {start}:{stop} of an object are not those that were asked for")
        if isinstance(self.store, HttpStore) and data and not self.store.sends_ranges(key):
            return Finding(False, "the server sends all of an object when a part is asked for")
        return Finding(True)

    def writes(self) -> Finding:
        """Write an object, and read it back."""
        if not self.store.writable:
            return Finding(False, "this kind of storage is read-only")
        data = secrets.token_bytes(1000)
        try:
            self.write(self.name(), data)
            found = self.store.read(self.name()).result()
        except VolumekitError as error:
            return Finding(False, error.message)
        same = found is not None and found.data == data
        return Finding(same, "" if same else "it does not give back what was written")

    def throughput(self) -> tuple[float, float]:
        """Return how many bytes per second are written and read, one object at a time."""
        data, key = secrets.token_bytes(AMOUNT), self.name("-large")
        start = time.perf_counter()
        self.write(key, data)
        middle = time.perf_counter()
        self.store.read(key).result()
        return AMOUNT / (middle - start), AMOUNT / (time.perf_counter() - middle)

    def conditional(self) -> Finding:
        """Write under conditions that do not hold, and let several writers race under one that does."""
        if not self.store.conditional:
            return Finding(False, "this kind of storage has no conditional writes; this process only sees its own")
        try:
            bad = next((found for found in self._conditions() if not found.holds), None)
            return bad or Finding(True, f"of {WRITERS} writers at once one won, again and again")
        except VolumekitError as error:
            return Finding(False, f"a write under a condition that holds failed: {error.message}")

    def _conditions(self) -> Iterator[Finding]:
        for number, way in enumerate(self._ways()):
            key = self.name(f"-condition{number}")
            old = self.write(key, way(b"old"), ABSENT)
            stamp = self.write(key, way(b"newer"), old)
            yield self._refused(key, way, old, "a write that must only replace an older version replaced a newer one")
            yield self._refused(key, way, ABSENT, "a write that must only make a new object replaced one")
            for turn in range(ROUNDS):
                yield self._race(key, way, stamp, turn)
                stamp = self._stamp(key)
            yield self._race(f"{key}-new", way, ABSENT, ROUNDS)

    def _ways(self) -> Sequence[Writer]:
        """Return the ways in: object stores have one for plain bytes, and may have another for bytes with headers."""
        return (bytes, lambda data: Headed(data, _TOLD)) if self.store.headed else (bytes,)

    def _stamp(self, key: str) -> bytes:
        found = self.store.read(key, 0, 0).result()
        return ABSENT if found is None else found.stamp

    def _refused(self, key: str, way: Writer, stamp: bytes, otherwise: str) -> Finding:
        try:
            self.write(key, way(b"wrong"), stamp)
        except ConflictError:
            return Finding(True)
        return Finding(False, otherwise)

    def _race(self, key: str, way: Writer, stamp: bytes, turn: int) -> Finding:
        """Let several write at once under the same condition."""

        def attempt(number: int) -> bool:
            try:
                self.write(key, way(b"writer %d of turn %d" % (number, turn)), stamp)
            except ConflictError:
                return False
            return True

        with ThreadPoolExecutor(WRITERS) as pool:
            won = sum(pool.map(attempt, range(WRITERS)))
        return Finding(won <= 1, "" if won <= 1 else f"of {WRITERS} writers at once under one condition {won} won")


@contextlib.contextmanager
def tidied(probes: Probes) -> Iterator[list[str]]:
    """Remove what was written, however this ends; gives a list that then holds what could not be removed."""
    left: list[str] = []
    try:
        yield left
    finally:
        left.extend(probes.clean())
