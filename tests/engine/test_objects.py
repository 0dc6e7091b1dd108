"""Reports cost what they must: a listing where that is cheap, else one question per chunk, and never a body."""

import numpy as np
import pytest

from volumekit import Volume
from volumekit.engine.array import LevelArray
from volumekit.engine.objects import IN_FLIGHT, SAMPLE, any_present, present
from volumekit.engine.options import IOOptions
from volumekit.errors import PermissionDeniedError, StorageError
from volumekit.formats.precomputed import Precomputed
from volumekit.model.bbox import Bbox
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.storage.wrap import CountedStore, FaultyStore, Wrapper

CHUNK = 8


class Plain(Wrapper):
    """Like a bucket: no suffixes; maybe no listing."""

    def __init__(self, base, *, listable=True):
        super().__init__(base)
        self.suffixed, self.listable = False, listable


def level(store, grid):
    info = Volume.create_new_info(
        1, "image", "uint8", "raw", (4, 4, 4), (0, 0, 0), [n * CHUNK for n in grid], chunk_size=(CHUNK,) * 3
    )
    fmt = Precomputed(info)
    return LevelArray(store, fmt, fmt.levels[0], IOOptions())


def box(grid, first=(0, 0, 0)):
    low = [n * CHUNK for n in first]
    return Bbox(low, [a + n * CHUNK for a, n in zip(low, grid, strict=True)])


@pytest.fixture
def base(tmp_path):
    return open_store(parse_url(f"memory:/{tmp_path}"))


def stored(base, array, cells):
    base.commit({array.fmt.key(array.level, (*cell, 0)): b"x" * 1000 for cell in cells}).result()


@pytest.mark.parametrize(
    ("grid", "part", "listable", "lists", "reads"),
    [
        ((3, 3, 3), (3, 3, 3), True, 0, 27),
        ((20, 20, 5), (20, 20, 5), True, 1, 0),
        ((20, 20, 5), (8, 4, 1), True, 1, 0),
        ((1000, 1000, 1000), (8, 5, 1), True, 0, 40),
        ((100, 100, 10), (1, 1, 1), True, 0, 1),
        ((100, 100, 10), (100, 100, 10), True, 1, 0),
        ((20, 20, 5), (20, 20, 5), False, 0, 2000),
    ],
)
def test_what_a_report_costs(base, grid, part, listable, lists, reads):
    counted = CountedStore(Plain(base, listable=listable))
    array = level(counted, grid)
    there = {(0, 0, 0), (grid[0] - 1, grid[1] - 1, grid[2] - 1), (part[0] - 1, part[1] - 1, part[2] - 1)}
    stored(base, array, there)
    found = present(array, box(part))
    assert {tuple(cell) for cell in np.argwhere(found).tolist()} == {
        cell for cell in there if all(a < n for a, n in zip(cell, part, strict=True))
    }
    counts = counted.counts
    assert (counts.lists, counts.reads, counts.bytes_read) == (lists, reads, 0)


def test_a_small_box_of_a_large_folder_is_not_listed(tmp_path, monkeypatch):
    store = open_store(parse_url(tmp_path))
    array = level(store, (50, 50, 10))
    stored(store, array, [(3, 4, 5), (49, 49, 9)])
    monkeypatch.setattr(type(store), "list", lambda *_: pytest.fail("listed"))
    assert present(array, box((8, 8, 8), first=(0, 0, 2))).sum() == 1


@pytest.mark.parametrize("grid", [(3, 3, 3), (20, 20, 5)], ids=["asking", "listing"])
@pytest.mark.parametrize("error", [PermissionDeniedError("403"), StorageError("500")], ids=["refused", "broken"])
def test_what_cannot_be_found_out_is_not_missing(base, grid, error):
    array = level(FaultyStore(Plain(base), lambda operation, key: error), grid)
    for ask in (lambda: present(array, array.level.bounds), lambda: any_present(array)):
        with pytest.raises(type(error)):
            ask()


def test_whether_there_is_any_data(base):
    counted = CountedStore(Plain(base))
    array = level(counted, (1000, 1000, 1000))
    assert not any_present(array)
    assert (counted.counts.reads, counted.counts.lists) == (SAMPLE, 1)
    stored(base, array, [(7, 7, 7)])
    assert any_present(array)
    stored(base, array, [(0, 0, 0)])
    counted.counts.lists = 0
    assert any_present(array)
    assert counted.counts.lists == 0
    assert counted.counts.bytes_read == 0


def test_only_some_questions_are_under_way_at_once(base):
    class Slow(Plain):
        most = now = 0

        def read(self, key, start=None, stop=None):
            self.now += 1
            self.most = max(self.most, self.now)
            future = super().read(key, start, stop)
            return _Told(self, future)

    class _Told:
        def __init__(self, store, future):
            self.store, self.future = store, future

        def result(self):
            self.store.now -= 1
            return self.future.result()

    slow = Slow(base, listable=False)
    present(level(slow, (20, 20, 5)), box((20, 20, 5)))
    assert slow.most == IN_FLIGHT
