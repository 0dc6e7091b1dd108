import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumekit.errors import ImageStackError
from volumekit.formats.stack.names import Match, gaps, literal, natural_key, numbers

NAMES = st.text("aAbB019._-/ é", min_size=1, max_size=12)


def test_numbers_in_names_count():
    names = ["10.png", "2.png", "1.png", "a10b2.png", "a2b10.png", "a2b9.png", "A2b1.png", "d/10.png", "d/9.png"]
    expected = ["1.png", "2.png", "10.png", "A2b1.png", "a2b9.png", "a2b10.png", "a10b2.png", "d/9.png", "d/10.png"]
    assert sorted(names, key=natural_key) == expected


@given(st.integers(0, 10**30), st.integers(0, 10**30), st.text("ab_-.", max_size=4), st.integers(0, 3))
def test_numbers_of_any_length_and_padding_sort_by_value(a, b, prefix, zeros):
    first, second = f"{prefix}{'0' * zeros}{a}.tif", f"{prefix}{b}.tif"
    if a != b:
        assert (natural_key(first) < natural_key(second)) == (a < b)
    else:
        assert (natural_key(first) == natural_key(second)) == (first == second)


@given(st.lists(NAMES, unique=True, max_size=8), st.randoms())
def test_order_is_total_and_does_not_depend_on_the_listing(names, random):
    shuffled = names.copy()
    random.shuffle(shuffled)
    assert sorted(shuffled, key=natural_key) == sorted(names, key=natural_key)
    assert len({natural_key(name) for name in names}) == len(names)


@given(NAMES, NAMES, NAMES)
def test_order_is_transitive(a, b, c):
    a, b, c = sorted([a, b, c], key=natural_key)
    assert natural_key(a) <= natural_key(b) <= natural_key(c)
    assert natural_key(a) <= natural_key(c)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["z007.tif"], [7]),
        (["s1_z10_c2.tif", "s1_z11_c2.tif"], [10, 11]),
        (["2020-01-05.png", "2020-02-04.png"], [5, 4]),
        (["a1.jp2"], [1]),
        (["a1.tif", "b.tif"], None),
        (["1.tif", "1_7.tif"], [1, 7]),
        ([], None),
    ],
)
def test_the_number_is_the_last_one_that_differs(names, found):
    assert numbers(names) == found


def test_absurd_numbers_are_an_error():
    with pytest.raises(ImageStackError, match="no coordinate"):
        numbers(["1.tif", "9" * 5000 + ".tif"])


@given(st.sets(st.integers(0, 60), min_size=1))
def test_gaps_name_what_is_missing(values):
    missing = set(range(min(values), max(values))) - values
    named: set[int] = set()
    text = gaps(sorted(values))
    for part in text.split(", ") if text and "more" not in text else []:
        start, _, stop = part.partition(" to ")
        named |= set(range(int(start), int(stop or start) + 1))
    assert bool(text) == bool(missing)
    assert "more" in text or named == missing


def test_a_pattern_asks_only_for_the_folders_it_needs():
    top = b"b/\na2/\na10/\nx.tif\n.hidden/"
    match = Match({"/": top}, "a*/*.tif")
    assert match.wanted == {"a2/", "a10/"}
    match = Match({"/": top, "a2/": b"1.tif\n.2.tif\n3.png", "a10/": b"0.tif\nsub/"}, "a*/*.tif")
    assert match.files == ["a2/1.tif", "a10/0.tif"]
    assert not match.wanted


def test_two_stars_reach_any_depth():
    have = {"/": b"a/\n0.tif", "a/": b"b/\n1.tif", "a/b/": b"2.tif"}
    assert Match(have, "**/*.tif").files == ["0.tif", "a/1.tif", "a/b/2.tif"]


@pytest.mark.parametrize(
    ("pattern", "name"), [("a.tif", "a.tif"), ("[[]1].tif", "[1].tif"), ("[*].tif", "*.tif"), ("a[12].tif", None)]
)
def test_escaped_names_are_no_patterns(pattern, name):
    assert literal(pattern) == name
