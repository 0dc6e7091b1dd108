"""The tests that every store passes.

Subclass `StoreConformance` in a test module and say how to make an empty store::

    class TestMemoryStore(StoreConformance):
        def make_store(self, tmp_path):
            return open_store(parse_url(f"memory://{tmp_path}"))
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from volumekit.errors import ConflictError, ReadOnlyError, StorageError, UnsupportedError, VolumekitError
from volumekit.storage.base import ABSENT, Change, Future, Store, Value
from volumekit.testing.keys import KEYS, ODD_KEYS, RANGES


class StoreConformance:
    """What a store promises; see `volumekit.storage.base.Store`.

    Attributes
    ----------
    writable, listable, conditional, suffixed : bool
        What the store says of itself.
    files : bool
        Whether keys are files of a file system, so that nothing is below a key that holds a value.
    guarded : bool
        Whether a store that is not conditional still refuses writes of this process whose stamp does not hold.
    native : bool
        Whether TensorStore reads the same bytes, by the spec that `Store.native` gives.
    keys : tuple of str
        Keys that it keeps apart; some servers know fewer than all.
    """

    writable: ClassVar[bool] = True
    listable: ClassVar[bool] = True
    conditional: ClassVar[bool] = True
    suffixed: ClassVar[bool] = False
    files: ClassVar[bool] = False
    guarded: ClassVar[bool] = False
    native: ClassVar[bool] = True
    keys: ClassVar[tuple[str, ...]] = KEYS

    def make_store(self, tmp_path: Path) -> Store:
        """Return a store of this kind without any key; ``tmp_path`` is new for each test."""
        raise NotImplementedError("say how to make a store")

    def plant(self, store: Store, key: str, data: bytes | None) -> None:
        """Store bytes, or delete them (None), behind the store's back."""
        _kvstore(store).write(key, data).result()

    def inspect(self, store: Store, key: str) -> bytes | None:
        """Return the bytes of a key, None if there are none, without asking the store."""
        found = _kvstore(store).read(key).result()
        return None if found.state == "missing" else bytes(found.value)

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        """Return the store under test."""
        return self.make_store(tmp_path)

    def fill(self, store: Store, values: Mapping[str, bytes]) -> None:
        """Store values, through the store if it can be written."""
        if self.writable:
            store.commit(values).result()
            return
        for key, data in values.items():
            self.plant(store, key, data)

    def stamp(self, store: Store, key: str) -> bytes:
        """Return the stamp of a key that is there."""
        value = store.read(key).result()
        assert value is not None
        return value.stamp

    def test_facts(self, store: Store) -> None:
        """It says of itself what it is."""
        for fact in ("writable", "listable", "conditional", "suffixed"):
            assert getattr(store, fact) == getattr(self, fact), fact
        assert (store.native() is not None) == self.native
        assert store.join("4_4_40/x").startswith(store.url.rstrip("/"))
        assert store.join("4_4_40/x").endswith("/4_4_40/x")

    def test_absent_is_a_value(self, store: Store) -> None:
        """What is not there is None, also below other keys and in part."""
        self.fill(store, {"there/a": b"1"})
        for key in ("nothing", "no/thing", "there", "there/b", "there/a.b"):
            for part in ((None, None), (0, 0), (3, 9), (-3, None), (5, 2)):
                assert store.read(key, *part).result() is None, (key, part)
            assert store.peek(key) is None, key

    def test_round_trips(self, store: Store) -> None:
        """Every key gives back its own bytes, whoever looks."""
        values = {key: f"{n}: {key}".encode() for n, key in enumerate(self.keys)}
        self.fill(store, values)
        for key, data in values.items():
            assert _data(store.read(key)) == data, key
            peeked = store.peek(key)
            assert peeked is not None
            assert peeked.data == data, key
            assert self.inspect(store, key) == data, key
        if self.listable:
            assert sorted(store.list()) == sorted(values)

    def test_put(self, store: Store) -> None:
        """What is put is as if it had been committed, whatever was there before."""
        for data in (b"0123456789", b"xyz", bytes(1 << 20), None) if self.writable else ():
            store.put(self.keys[0], data)
            assert self.inspect(store, self.keys[0]) == data

    def test_any_bytes(self, store: Store) -> None:
        """Empty, binary and big values come back."""
        big = bytes(4 << 20) + bytes(range(256)) * 100 + b"end"
        values = {"empty": b"", "zero": b"\0", "binary": bytes(range(256)), "big": big}
        self.fill(store, values)
        for key, data in values.items():
            assert _data(store.read(key)) == data, key
            assert _data(store.read(key, 0, 0)) == b"", key
        assert _data(store.read("big", (4 << 20) - 5, (4 << 20) + 900)) == bytes(5) + big[4 << 20 :][:900]
        assert _data(store.read("big", -5)) == big[-5:]

    def test_ranges(self, store: Store) -> None:
        """A range is what Python's slice of the value is; its stamp is the value's."""
        data = b"0123456789"
        self.fill(store, {"a/b": data, "empty": b""})
        stamp = self.stamp(store, "a/b")
        for start, stop in RANGES:
            value = store.read("a/b", start, stop).result()
            assert value is not None, (start, stop)
            assert (value.data, value.stamp) == (data[start:stop], stamp), (start, stop)
            assert _data(store.read("empty", start, stop)) == b"", (start, stop)

    def test_bytes_behind_its_back(self, store: Store) -> None:
        """What others write, change and delete is seen."""
        assert store.read("a/b").result() is None
        for data in (b"one", b"other", b"", None, b"again"):
            self.plant(store, "a/b", data)
            found = store.read("a/b").result()
            assert (None if found is None else found.data) == data
            assert store.find(["a/b"]).result() == (None if data is None else "a/b")
            if self.listable:
                assert list(store.list("a/")) == ([] if data is None else ["a/b"])

    def test_find(self, store: Store) -> None:
        """The first key that exists is found."""
        self.fill(store, {"a/2": b"", "a/3": b"3"})
        for keys, expected in (
            ((), None),
            (("a/1",), None),
            (("a/1", "a", "b/2"), None),
            (("a/1", "a/2", "a/3"), "a/2"),
            (("a/3", "a/2"), "a/3"),
            (("a/1", "a/1", "a/3"), "a/3"),
        ):
            assert store.find(keys).result() == expected, keys

    def test_list(self, store: Store) -> None:
        """A prefix is any beginning of a key; each key comes once."""
        if not self.listable:
            with pytest.raises(UnsupportedError):
                list(store.list())
            return
        assert list(store.list()) == []
        keys = ["info", "lev", "level/0-8", "level/0-80", "level/9/x", "level2/0-8", "höhe/ä", "höhe/ö"]
        self.fill(store, dict.fromkeys(keys, b"x"))
        for prefix in (
            "", "l", "lev", "level", "level/", "level/0-8", "level/0-80", "level/9", "level/9/", "level2", "info",
            "none", "none/", "level/none", "level/0-8/", "info/", "h", "höhe/", "höhe/ö", "höhe/ü", "x" * 5000, "a\0",
        ):  # fmt: skip
            found = list(store.list(prefix))
            assert sorted(found) == sorted(key for key in keys if key.startswith(prefix)), prefix

    def test_group(self, store: Store) -> None:
        """Every key lives in some object, always the same, which tells what is in it."""
        self.fill(store, {"a/b": b"1", "c": b""})
        for key, there in (("a/b", True), ("c", True), ("a/x", False), ("a", False)):
            group = store.group(key)
            assert isinstance(group, str)
            assert store.group(key) == group
            assert (key in store.keys_in(group).result()) == there, key

    def test_read_only(self, store: Store) -> None:
        """A store that cannot be written says so, and changes nothing."""
        if self.writable:
            return
        self.plant(store, "a", b"1")
        for changes in ({"a": b"2"}, {"a": None}, {"b": b"2"}):
            with pytest.raises(ReadOnlyError):
                store.commit(changes).result()
        assert (self.inspect(store, "a"), self.inspect(store, "b")) == (b"1", None)

    def test_commits(self, store: Store) -> None:
        """A commit writes and deletes any number of keys, and gives their new stamps."""
        if not self.writable:
            return
        assert store.commit({}).result() == {}
        store.commit({"a": b"long and old", "b": b"2", "c/d": b"3"}).result()
        stamps = store.commit({"a": b"new", "b": None, "e/f": b"4", "never": None}).result()
        assert set(stamps) == {"a", "b", "e/f", "never"}
        for key, data in {"a": b"new", "b": None, "c/d": b"3", "e/f": b"4", "never": None}.items():
            found = store.read(key).result()
            assert (None if found is None else found.data) == data, key
            assert self.inspect(store, key) == data, key
            if key in stamps:
                assert stamps[key] == (ABSENT if found is None else found.stamp), key
        store.commit({"b": b"back"}).result()
        assert _data(store.read("b")) == b"back"

    def test_conditions(self, store: Store) -> None:
        """A stamp that holds lets a change through; one that does not is a conflict and changes nothing."""
        if not self.writable:
            return
        first = store.commit({"a": b"1"}).result()["a"]
        assert first == self.stamp(store, "a")
        if not (self.conditional or self.guarded):
            store.commit({"a": b"2"}).result()
            store.commit({"a": b"3"}, first).result()
            assert _data(store.read("a")) == b"3"
            return
        second = store.commit({"a": b"22"}, first).result()["a"]
        assert second == self.stamp(store, "a") != first
        for change, stamp in ((b"3", first), (None, first), (b"3", ABSENT), (None, ABSENT)):
            _assert_conflict(store, "a", change, stamp)
            assert _data(store.read("a")) == b"22"
        self.plant(store, "a", None)
        for change in (b"3", None):
            _assert_conflict(store, "a", change, second)
            assert store.read("a").result() is None
        assert store.commit({"a": None}, ABSENT).result() == {"a": ABSENT}
        third = store.commit({"a": b"3"}, ABSENT).result()["a"]
        _assert_conflict(store, "a", b"4", second)
        assert store.commit({"a": None}, third).result() == {"a": ABSENT}
        assert self.inspect(store, "a") is None

    def test_changes_behind_its_back_conflict(self, store: Store) -> None:
        """A change that others made is a conflict as well."""
        if not (self.writable and (self.conditional or self.guarded)):
            return
        self.plant(store, "a", b"1")
        stamp = self.stamp(store, "a")
        self.plant(store, "a", b"other")
        _assert_conflict(store, "a", b"2", stamp)
        assert self.inspect(store, "a") == b"other"

    def test_threads(self, store: Store) -> None:
        """Sixteen threads at once see what one sees."""
        values = {f"{n % 4}/{n}": bytes([n]) * (n * 100) for n in range(64)}

        def work(key: str) -> None:
            if self.writable:
                store.commit({key: b"old"}).result()
                store.commit({key: values[key]}).result()
            assert _data(store.read(key)) == values[key]
            assert store.read(f"{key}!").result() is None
            assert store.find([f"{key}!", key]).result() == key

        if not self.writable:
            self.fill(store, values)
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(work, values))
        assert {key: _data(store.read(key)) for key in values} == values

    def test_no_update_is_lost(self, store: Store) -> None:
        """Threads that read, change and write one value lose nothing."""
        if not (self.writable and (self.conditional or self.guarded)):
            return

        def count(_: int) -> None:
            while True:
                value = store.read("counter").result()
                number = 0 if value is None else int(value.data)
                try:
                    store.commit({"counter": b"%d" % (number + 1)}, value.stamp if value else ABSENT).result()
                except ConflictError:
                    continue
                return

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(count, range(48)))
        assert _data(store.read("counter")) == b"48"

    def test_updates(self, store: Store) -> None:
        """Changes that are made of what is stored build upon each other, whoever makes them."""
        if not (self.writable and (self.conditional or self.guarded)):
            return
        store.commit({"old": b"1", "gone": b"1"}).result()

        def add(value: Value | None) -> bytes:
            return (value.data if value else b"") + b"+"

        def work(n: int) -> None:
            stamps = store.update({"counter": add}).result()
            assert set(stamps) == {"counter"}

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(24)))
            changes: dict[str, Change] = {"old": add, "gone": lambda value: None, "new": add, "plain": b"2"}
            for key, change in changes.items():
                store.update({key: change}, executor=pool).result()
        assert _data(store.read("counter")) == b"+" * 24
        assert store.read("gone").result() is None
        assert [_data(store.read(key)) for key in ("old", "new", "plain")] == [b"1+", b"+", b"2"]

    def test_futures(self, store: Store) -> None:
        """Futures give their value again and again, with a timeout, and to callbacks."""
        self.fill(store, {"a": b"1"})
        for future in (store.read("a"), store.read("a", 0, 1)):
            arrived = threading.Event()
            seen: list[Value] = []

            def tell(done: Any, seen: list[Value] = seen, arrived: threading.Event = arrived) -> None:
                seen.append(done.result())
                arrived.set()

            future.add_done_callback(tell)
            assert arrived.wait(10)
            assert future.result(timeout=10) == future.result() == seen[0]

    def test_odd_keys(self, store: Store) -> None:
        """A key is given back as stored, or refused by a documented error, through the future."""
        for key in ODD_KEYS:
            reading = store.read(key)
            refused = _refused(reading)
            assert refused or reading.result() is None, key
            _refused(store.read(key, 0, 0))
            with contextlib.suppress(VolumekitError):
                assert store.peek(key) is None, key
            if not self.writable:
                continue
            writing = store.commit({key: b"odd"})
            if not _refused(writing) and not refused:
                assert _data(store.read(key)) == b"odd"
            _refused(store.commit({key: None}))
        if self.listable:
            assert list(store.list()) == []

    def test_nothing_is_below_a_file(self, store: Store) -> None:
        """Where keys are files: nothing below a file, no file in the place of a folder, nothing lost by trying."""
        if not self.files:
            return
        self.fill(store, {"file": b"1", "folder/file": b"2"})
        for key in ("file/below", "folder"):
            assert store.read(key).result() is None
            assert store.find([key]).result() is None
            if self.writable:
                with pytest.raises(StorageError) as caught:
                    store.commit({key: b"3"}).result()
                assert caught.value.url is not None
                assert key in str(caught.value)
        assert _data(store.read("file")) == b"1"
        assert _data(store.read("folder/file")) == b"2"

    def test_native(self, store: Store) -> None:
        """TensorStore finds the same bytes by the native spec, below its path."""
        spec = store.native()
        if spec is None:
            return
        assert spec["path"] == "" or spec["path"].endswith("/")
        self.fill(store, {"a/b c%": b"1"})
        assert _kvstore(store).read("a/b c%").result().value == b"1"


def _kvstore(store: Store) -> Any:
    import tensorstore as ts

    from volumekit.storage.context import context

    spec = store.native()
    assert spec is not None, "a store without a native spec needs its own plant() and inspect()"
    return ts.KvStore.open(spec, context=context()).result()


def _data(future: Future[Value | None]) -> bytes:
    value = future.result()
    assert value is not None
    assert type(value.data) is bytes
    return value.data


def _refused(future: Future[Any]) -> bool:
    try:
        future.result()
    except VolumekitError:
        return True
    return False


def _assert_conflict(store: Store, key: str, data: bytes | None, stamp: bytes) -> None:
    with pytest.raises(ConflictError) as caught:
        store.commit({key: data}, stamp).result()
    assert caught.value.key is not None
