"""What the wrappers add."""

import gc
import threading
import time

import pytest

from volumekit.errors import PermissionDeniedError, ReadOnlyError
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.storage.wrap import CountedStore, Counts, FaultyStore, PrefixStore, ReadOnlyStore, SlowStore


@pytest.fixture
def base(tmp_path):
    store = open_store(parse_url(f"memory:/{tmp_path}/data"))
    store.commit({"a": b"123", "b/c": b"45"}).result()
    return store


def test_counts(base):
    store = CountedStore(base)
    store.read("a").result()
    store.read("a", 1, 2).result()
    store.read("none").result()
    store.find(["none", "none too", "a", "b/c"]).result()
    store.commit({"d": b"1234567", "e": b"1", "a": None}).result()
    list(store.list())
    list(store.list("b/"))
    assert store.counts == Counts(reads=6, writes=2, deletes=1, lists=2, bytes_read=4, bytes_written=8)
    store.counts = Counts()
    store.read("b/c").result()
    assert store.counts == Counts(reads=1, bytes_read=2)


def test_counting_loses_nothing_between_threads(base):
    store = CountedStore(base)
    threads = [threading.Thread(target=lambda: [store._add(reads=1, lists=2) for _ in range(2000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (store.counts.reads, store.counts.lists) == (16000, 32000)


def test_counted_requests_that_fail_count(base):
    store = CountedStore(ReadOnlyStore(base))
    with pytest.raises(ReadOnlyError):
        store.commit({"a": b"1"}).result()
    assert store.counts == Counts(writes=1, bytes_written=1)


def test_slow_requests_wait_together(base):
    store, start = SlowStore(base, 0.05), time.monotonic()
    futures = [store.read("a") for _ in range(50)] + [store.commit({f"n{n}": b"x"}) for n in range(50)]
    assert time.monotonic() - start < 0.05
    for future in futures:
        future.result()
    assert time.monotonic() - start >= 0.05
    # One after the other they would take 5 s.
    assert time.monotonic() - start < 2.5
    assert base.read("n49").result().data == b"x"


def test_slow_listing_waits(base):
    start = time.monotonic()
    assert sorted(SlowStore(base, 0.02).list()) == ["a", "b/c"]
    assert time.monotonic() - start >= 0.02


def test_a_slow_store_leaves_no_thread_behind(base):
    before = set(threading.enumerate())
    store = SlowStore(base, 0)
    store.read("a").result()
    (thread,) = set(threading.enumerate()) - before
    del store
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()


def test_faults(base):
    asked = []

    def fault(operation, key):
        asked.append((operation, key))
        return PermissionDeniedError("no", key=key) if key.startswith("b") else None

    store = FaultyStore(base, fault)
    assert store.read("a").result().data == b"123"
    for ask in (
        lambda: store.read("b/c").result(),
        lambda: store.find(["none", "b/c"]).result(),
        lambda: store.commit({"new": b"1", "b/c": None}).result(),
        lambda: list(store.list("b/")),
    ):
        with pytest.raises(PermissionDeniedError):
            ask()
    assert sorted(base.list()) == ["a", "b/c"]
    assert asked[:4] == [("read", "a"), ("read", "b/c"), ("read", "none"), ("read", "b/c")]
    assert asked[4:] == [("write", "new"), ("delete", "b/c"), ("list", "b/")]


def test_a_prefix_has_its_own_url_and_native_spec(tmp_path):
    base = open_store(parse_url(tmp_path))
    store = PrefixStore(base, "level")
    assert store.url == f"file://{tmp_path}/level"
    assert store.native() == {"driver": "file", "path": f"{tmp_path}/level/"}
    assert store.join("x") == f"file://{tmp_path}/level/x"


def test_a_volume_of_wrapped_stores_is_told_that_it_cannot_be_written(base):
    assert not PrefixStore(ReadOnlyStore(base), "b").writable
    with pytest.raises(ReadOnlyError) as caught:
        PrefixStore(ReadOnlyStore(base), "b").commit({"c": b"1"}).result()
    assert caught.value.url == base.url
