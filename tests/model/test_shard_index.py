import numpy as np
import pytest

from volumekit.errors import CorruptChunkError
from volumekit.model.shard_index import Minishard, Span, dump_minishard, dump_shard_index, parse_shard_index


def words(*rows):
    return np.array(rows, "<u8").tobytes()


def test_a_shard_index_as_specified():
    data = dump_shard_index([Span(0, 0), Span(100, 148), Span(7, 31)], 3)
    assert data == words([0, 0], [100, 148], [7, 31])
    assert parse_shard_index(data).tolist() == [[0, 0], [100, 148], [7, 31]]


@pytest.mark.parametrize("entry", [(2, 1), (0, 1 << 63), (1 << 63, 1 << 63), (5, 0)])
def test_damaged_shard_indices(entry):
    with pytest.raises(CorruptChunkError, match="minishard"):
        parse_shard_index(words([0, 0], entry))


def test_a_minishard_index_as_specified():
    """Numbers and starts are delta coded; a start counts from the end of the chunk before."""
    found = Minishard.parse(words([5, 2, 1000], [10, 0, 3], [4, 6, 1]))
    assert dict(found.items()) == {5: Span(10, 14), 7: Span(14, 20), 1007: Span(23, 24)}
    assert found.find(7) == Span(14, 20)
    assert [found.find(n) for n in (0, 6, 8, 1006, 1008, (1 << 64) - 1)] == [None] * 6


def test_chunks_may_lie_anywhere_and_in_any_order():
    """Sums are modulo 2**64, so that a chunk may come before the one that is listed before it."""
    back = (1 << 64) - 50
    found = Minishard.parse(words([9, (1 << 64) - 4, 10], [100, back, 0], [4, 6, 1]))
    assert list(found.items()) == [(5, Span(54, 60)), (9, Span(100, 104)), (15, Span(60, 61))]


def test_of_chunks_listed_twice_the_first_counts():
    found = Minishard.parse(words([3, 0, 1], [0, 0, 0], [1, 2, 3]))
    assert dict(found.items()) == {3: Span(0, 1), 4: Span(3, 6)}


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 23,
        b"\0" * 25,
        words([1], [1 << 63], [1]),
        words([1], [0], [1 << 63]),
        words([1], [(1 << 64) - 1], [0]),
        words([1, 1], [1 << 61, 1 << 61], [1 << 61, 1 << 61]),
    ],
)
def test_damaged_minishard_indices(data):
    with pytest.raises(CorruptChunkError):
        Minishard.parse(data)


def test_round_trip():
    data = dump_minishard([3, 4, 1 << 63], 17, [5, 0, 9])
    assert data == words([3, 1, (1 << 63) - 4], [17, 0, 0], [5, 0, 9])
    assert dict(Minishard.parse(data).items()) == {3: Span(17, 22), 4: Span(22, 22), 1 << 63: Span(22, 31)}
    assert dump_minishard([], 0, []) == b""
    assert dict(Minishard.empty().items()) == {}
    assert Minishard.empty().find(0) is None
