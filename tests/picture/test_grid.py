"""Drawings of chunk grids."""

import re
from xml.etree import ElementTree

import pytest

from volumekit.picture.grid import LONGEST, MOST_LINES, grid_svg


def lines(drawing):
    """Return the ends of the lines between chunks."""
    (path,) = re.findall(r'<path d="([^"]*)" stroke-opacity', drawing)
    return [tuple(map(float, ends)) for ends in re.findall(r"M(\S+),(\S+) L(\S+),(\S+)", path)]


def test_one_line_on_two_sides_for_each_border():
    drawing = grid_svg((100, 50, 25), (4, 2, 1))
    assert len(lines(drawing)) == 2 * (3 + 1 + 0)
    depth = LONGEST / 4 / 2
    front = [ends for ends in lines(drawing) if ends[1] >= depth and ends[3] >= depth]
    assert [ends for ends in front if ends[0] == ends[2]] == [
        (x, depth, x, depth + LONGEST / 2) for x in (LONGEST / 4, LONGEST / 2, LONGEST * 3 / 4)
    ]
    assert (0, depth + LONGEST / 4, LONGEST, depth + LONGEST / 4) in front


@pytest.mark.parametrize(
    ("lengths", "counts"),
    [((1e9, 1, 1e-9), (10**9, 1, 1)), ((0, 0, 0), (0, 0, 0)), ((5, 5, 5), (1000, 999, 25)), ((1, 1, 1), (1, 1, 1))],
)
def test_no_grid_is_too_large(lengths, counts):
    drawing = grid_svg(lengths, counts)
    assert len(lines(drawing)) <= 6 * MOST_LINES
    assert len(drawing) < 10_000
    root = ElementTree.fromstring(drawing)
    assert root.tag == "svg"
    assert "nan" not in drawing
    assert float(root.attrib["width"]) <= 2 * LONGEST
