import pytest

from volumekit.model.chunk_names import ChunkNames
from volumekit.model.grid import iterate_cells, morton

NAMES = ChunkNames("a/b", (-9, 5, 1000), (28, 35, 1019), (16, 16, 8))


def test_names_and_numbers():
    assert NAMES.grid == (3, 2, 3)
    assert NAMES.count == 18
    seen = set()
    for cell in iterate_cells(tuple(map(range, NAMES.grid))):
        name, number = NAMES.name(cell), morton(cell, NAMES.grid)
        assert NAMES.number(name) == number
        assert NAMES.name_of(number) == name
        seen.add(name)
    assert len(seen) == 18
    assert NAMES.name((0, 0, 0)) == "a/b/-9-7_5-21_1000-1008"
    assert NAMES.name((2, 1, 2)) == "a/b/23-28_21-35_1016-1019"


@pytest.mark.parametrize(
    "name",
    [
        "", "a/b/", "a/b", "-9-7_5-21_1000-1008", "a/-9-7_5-21_1000-1008", "a/b/-9-7_5-21_1000-1008.gz",
        "a/b/-9-7_5-21_1000-1007", "a/b/-9-7_05-21_1000-1008", "a/b/-8-8_5-21_1000-1008", "a/b/39-55_5-21_1000-1008",
        "a/b/-25--9_5-21_1000-1008", "a/b/23-39_21-35_1016-1019", "a/b/-9-7_5-21", "a/b/٣-7_5-21_1000-1008",
        "a/b/-9-7_5-2١_1000-1008",
        "a/b/-9-7_5-21_1000-1008\n", "a/b/" + "9" * 5000 + "-1_5-21_1000-1008",
    ],
)  # fmt: skip
def test_other_names_are_no_chunks(name):
    assert NAMES.number(name) is None


def test_numbers_that_no_chunk_has():
    assert [NAMES.name_of(n) for n in (-1, 18 + 32, 1 << 63, (1 << 64) - 1)] == [None] * 4
    held = {morton(cell, NAMES.grid) for cell in iterate_cells(tuple(map(range, NAMES.grid)))}
    assert all((NAMES.name_of(n) is None) == (n not in held) for n in range(64))


def test_huge_grids():
    huge = ChunkNames("k", (0, 0, 0), (1 << 40, 1 << 20, 5), (1, 1, 1))
    cell = ((1 << 40) - 1, 3, 4)
    assert huge.name_of(huge.number(huge.name(cell))) == huge.name(cell)
