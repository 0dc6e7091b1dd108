"""Writers that meet while an object moves to another compression suffix, step by step: nothing is lost."""

import itertools

import pytest

from volumekit.errors import ConflictError
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.storage.base import ABSENT, Store
from volumekit.storage.suffix import SuffixStore

NUMBERS = itertools.count()


class Meddled(Store):
    """A store where somebody else acts just before a commit that touches a name."""

    suffixed = True

    def __init__(self, base: Store) -> None:
        self.base, self.url, self.meddle = base, base.url, {}

    def read(self, key, start=None, stop=None):
        return self.base.read(key, start, stop)

    def find(self, keys):
        return self.base.find(keys)

    def list(self, prefix=""):
        return self.base.list(prefix)

    def commit(self, changes, if_match=None):
        for name in changes:
            self.meddle.pop(name, lambda: None)()
        return self.base.commit(changes, if_match)


@pytest.fixture(params=["file", "memory"])
def base(request, tmp_path):
    place = tmp_path if request.param == "file" else f"memory://races/{next(NUMBERS)}"
    return open_store(parse_url(str(place)))


@pytest.fixture
def meddled(base):
    return Meddled(base)


def put(store, data, key="k", stamp=None):
    return store.commit({key: data}, stamp).result()[key]


def get(store, key="k"):
    return store.read(key).result()


def names(base):
    return sorted(base.list())


def test_moving_to_another_suffix(base):
    put(base, b"old")
    packed = SuffixStore(base, compress="gzip")
    put(packed, b"new", stamp=get(packed).stamp)
    assert names(base) == ["k.gz"]
    assert get(packed).data == b"new"


def test_the_old_object_changes_while_the_new_one_is_written(base, meddled):
    put(base, b"old")
    packed = SuffixStore(meddled, compress="gzip")
    stamp = get(packed).stamp
    meddled.meddle["k"] = lambda: put(base, b"theirs")
    with pytest.raises(ConflictError):
        put(packed, b"ours", stamp=stamp)
    again = get(packed)
    assert again.data == b"theirs", "what they wrote counts"
    put(packed, again.data + b"+ours", stamp=again.stamp)
    assert get(SuffixStore(base)).data == b"theirs+ours"
    assert len(names(base)) == 1


def test_two_writers_move_an_object_at_once(base, meddled):
    put(base, b"old")
    ours, theirs = SuffixStore(meddled, compress="gzip"), SuffixStore(base, compress="gzip")
    stamp = get(ours).stamp
    meddled.meddle["k.gz"] = lambda: put(theirs, b"theirs", stamp=get(theirs).stamp)
    with pytest.raises(ConflictError):
        put(ours, b"ours", stamp=stamp)
    assert get(ours).data == b"theirs"
    assert names(base) == ["k.gz"]


def test_the_new_object_is_thrown_away_and_the_old_one_moved_by_others(base, meddled):
    put(base, b"old")
    ours, theirs = SuffixStore(meddled, compress="gzip"), SuffixStore(base, compress="gzip")
    stamp = get(ours).stamp

    def twice():
        put(theirs, b"theirs", stamp=get(theirs).stamp)
        put(theirs, b"theirs again", stamp=get(theirs).stamp)

    meddled.meddle["k"] = twice
    with pytest.raises(ConflictError):
        put(ours, b"ours", stamp=stamp)
    assert get(ours).data == b"theirs again"
    assert names(base) == ["k.gz"]


def test_somebody_builds_upon_the_new_object(base, meddled):
    put(SuffixStore(base, compress="br"), b"old")
    ours, theirs = SuffixStore(meddled, compress="gzip"), SuffixStore(base, compress="gzip")
    meddled.meddle["k.br"] = lambda: put(theirs, get(theirs).data + b"+theirs", stamp=get(theirs).stamp)
    put(ours, b"ours", stamp=get(ours).stamp)
    assert get(ours).data == b"ours+theirs"
    assert names(base) == ["k.gz"]


def test_a_doubled_object_is_written_where_it_is(base):
    put(base, b"right")
    put(SuffixStore(base, compress="gzip"), b"stale", "other")
    put(base, get(base, "other.gz").data, "k.gz")
    put(base, None, "other.gz")
    for method in ("gzip", None, False):
        store = SuffixStore(base, compress=method)
        assert get(store).data == b"right"
    packed = SuffixStore(base, compress="gzip")
    put(packed, b"merged", stamp=get(packed).stamp)
    assert names(base) == ["k"]
    put(packed, b"moved", stamp=get(packed).stamp)
    assert names(base) == ["k.gz"]
    assert get(packed).data == b"moved"


def test_only_the_stale_object_that_was_seen_is_removed(base, meddled):
    """A doubled object is written where it is; meanwhile two others move it: their object is not the stale one."""
    put(base, b"right")
    put(base, b"stale", "k.gz")
    ours, theirs = SuffixStore(meddled, compress="gzip"), SuffixStore(base, compress="gzip")

    def move():
        for data in (b"theirs", b"theirs again"):
            put(theirs, data, stamp=get(theirs).stamp)

    meddled.meddle["k.gz"] = move
    put(ours, b"ours", stamp=get(ours).stamp)
    assert get(ours).data == b"theirs again"


@pytest.mark.parametrize("doubled", [False, True])
@pytest.mark.parametrize("when", ["k", "k.gz"])
def test_overwriting_while_others_write(base, meddled, doubled, when):
    """The object written last is there in the end, once."""
    put(base, b"old")
    if doubled:
        put(base, b"stale", "k.gz")
    ours, theirs = SuffixStore(meddled, compress="gzip"), SuffixStore(base, compress="gzip")
    meddled.meddle[when] = lambda: put(theirs, b"theirs", stamp=get(theirs).stamp)
    put(ours, b"ours")
    assert get(ours).data == b"ours"
    assert names(base) == ["k.gz"]


def test_a_new_object_is_only_made_once(base):
    packed = SuffixStore(base, compress="gzip")
    put(packed, b"first", stamp=ABSENT)
    with pytest.raises(ConflictError):
        put(packed, b"second", stamp=ABSENT)
    assert get(packed).data == b"first"


@pytest.mark.parametrize("variant", [None, "gzip", "zstd"])
def test_deleting_what_was_made_since(base, variant):
    """A chunk that was absent, and is black, stays absent only if nobody stored one."""
    put(SuffixStore(base, compress=variant), b"theirs")
    with pytest.raises(ConflictError):
        put(SuffixStore(base, compress="gzip"), None, stamp=ABSENT)
    assert len(names(base)) == 1
    put(base, None, names(base)[0])
    assert put(SuffixStore(base, compress="gzip"), None, stamp=ABSENT) == ABSENT


def test_deleting_what_has_changed(base):
    packed = SuffixStore(base, compress="gzip")
    put(packed, b"old")
    stamp = get(packed).stamp
    put(packed, b"theirs")
    with pytest.raises(ConflictError):
        put(packed, None, stamp=stamp)
    assert get(packed).data == b"theirs"


def test_what_is_made_after_a_deletion_stays(base, meddled):
    put(base, b"old")
    put(base, b"stale", "k.br")
    packed = SuffixStore(meddled, compress="gzip")
    stamp = get(packed).stamp
    meddled.meddle["k.br"] = lambda: put(base, b"theirs", "k.br")
    assert put(packed, None, stamp=stamp) == ABSENT
    assert get(base, "k.br").data == b"theirs"


def test_deleting_removes_stale_variants_too(base):
    put(base, b"old")
    put(base, b"stale", "k.br")
    packed = SuffixStore(base, compress="gzip")
    put(packed, None, stamp=get(packed).stamp)
    assert names(base) == []
    put(base, b"old")
    put(base, b"stale", "k.br")
    put(packed, None)
    assert names(base) == []
