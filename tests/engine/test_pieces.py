"""Boxes cut into pieces of whole chunks, and units that run them."""

from dataclasses import replace

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given, settings
from hypothesis import strategies as st

from volumekit.engine.drive import overlap, run
from volumekit.engine.pieces import pieces
from volumekit.model.bbox import Bbox
from volumekit.model.level import C_ORDER, F_ORDER, CodecSpec, Level, Sharding


def level(shape, offset, chunk, order):
    low = np.array(offset)
    return Level(
        key="k",
        bounds=Bbox(low, low + shape),
        chunk=(*chunk, 2),
        dtype=np.dtype("uint16"),
        channels=2,
        resolution=(1.0, 1.0, 1.0),
        codec=CodecSpec("raw"),
        order=order,
    )


threes = st.tuples(*[st.integers(1, 20)] * 3)


@pytest.mark.parametrize("size", [1, 200, 10_000])
def test_pieces_of_whole_shards(size):
    made = replace(level((37, 25, 11), (-5, 3, 0), (4, 3, 2), F_ORDER), sharding=Sharding("kind", {}, (8, 9, 4)))
    low, high = (*made.offset, 0), (*made.end, 2)
    owner = {}
    for number, (a, b) in enumerate(pieces(made, low, high, size=size, shards=True)):
        first = [(p - o) // s for p, o, s in zip(a[:3], made.offset, (8, 9, 4), strict=True)]
        last = [-(-(p - o) // s) for p, o, s in zip(b[:3], made.offset, (8, 9, 4), strict=True)]
        assert (a[3], b[3]) == (0, 2)
        for shard in np.ndindex(*(m - n for n, m in zip(first, last, strict=True))):
            at = tuple(n + i for n, i in zip(first, shard, strict=True))
            assert owner.setdefault(at, number) == number
    assert len(owner) == 5 * 3 * 3


@given(threes, st.tuples(*[st.integers(-30, 30)] * 3), threes, st.data(), st.sampled_from([F_ORDER, C_ORDER]))
@settings(max_examples=150, deadline=None)
def test_pieces_are_the_box_and_share_no_chunk(shape, offset, chunk, data, order):
    made = level(shape, offset, chunk, order)
    low = tuple(data.draw(st.integers(o, o + n - 1)) for o, n in zip((*offset, 0), made.shape, strict=True))
    high = tuple(data.draw(st.integers(a + 1, o + n)) for a, o, n in zip(low, (*offset, 0), made.shape, strict=True))
    size = data.draw(st.integers(1, 5000))
    seen, owner = np.zeros(made.shape, int), {}
    for number, (a, b) in enumerate(pieces(made, low, high, size=size)):
        seen[tuple(slice(p - o, q - o) for p, q, o in zip(a, b, (*offset, 0), strict=True))] += 1
        first = [(p - o) // c for p, o, c in zip(a, offset, chunk, strict=False)]
        last = [(q - 1 - o) // c + 1 for q, o, c in zip(b, offset, chunk, strict=False)]
        for cell in np.ndindex(*[m - n for n, m in zip(first, last, strict=True)]):
            place = tuple(n + c for n, c in zip(first, cell, strict=True))
            assert owner.setdefault(place, number) == number, "two pieces share a chunk"
    expected = np.zeros(made.shape, int)
    expected[tuple(slice(p - o, q - o) for p, q, o in zip(low, high, (*offset, 0), strict=True))] = 1
    np.testing.assert_array_equal(seen, expected)


def test_pieces_have_about_the_size_asked_for():
    made = level((512, 512, 512), (0, 0, 0), (64, 64, 64), F_ORDER)
    sizes = [
        int(np.prod(np.subtract(b, a))) * 2 for a, b in pieces(made, (0, 0, 0, 0), (512, 512, 512, 2), size=8 << 20)
    ]
    assert max(sizes) <= 8 << 20
    assert min(sizes) >= 4 << 20


class Failed(Exception):
    """What went wrong in a unit."""


def unit(log, name, *, fail=False):
    promise, future = ts.Promise.new()
    log.append(f"start {name}")
    promise.set_exception(Failed(name)) if fail else promise.set_result(None)
    yield future
    log.append(f"end {name}")


def test_units_overlap_up_to_the_depth():
    log = []
    run(overlap((unit(log, n) for n in "abc"), depth=2))
    assert log == ["start a", "start b", "end a", "start c", "end b", "end c"]


@pytest.mark.parametrize("finish", [True, False])
def test_nothing_new_starts_after_an_error(finish):
    log = []
    with pytest.raises(Failed, match="b"):
        run(overlap((unit(log, n, fail=n == "b") for n in "abcdef"), depth=2, finish=finish))
    assert "start d" not in log
    assert ("end c" in log) == finish
