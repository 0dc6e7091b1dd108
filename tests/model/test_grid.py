import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumekit.errors import OptionError, OutOfBoundsError
from volumekit.model.bbox import Bbox
from volumekit.model.grid import (
    cell_box,
    cells_touching,
    coarser_bounds,
    grid_shape,
    is_aligned,
    iterate_cells,
    morton,
    morton_array,
    nearest_aligned,
    unmorton,
    unmorton_array,
)

BOUNDS = Bbox((3, 5, 7), (103, 95, 47))
CHUNK = (64, 64, 32)
BIG = 2**62


@st.composite
def grids(draw):
    """A small level anywhere in the allowed range, a chunk size, and a box around it (in voxels)."""
    origin = [draw(st.sampled_from([0, -7, 3, 2**53 + 1, BIG - 100, 100 - BIG])) for _ in range(2)]
    sizes = [draw(st.integers(1, 9)) for _ in range(2)]
    bounds = Bbox.from_delta(origin, sizes)
    corners = [[o + draw(st.integers(-3, 12)) for o in origin] for _ in range(2)]
    return bounds, tuple(draw(st.integers(1, 5)) for _ in range(2)), Bbox(*corners)


def voxels(box):
    return set(itertools.product(*(range(s.start, s.stop) for s in box.to_slices())))


def all_cells(bounds, chunk):
    return itertools.product(*map(range, grid_shape(bounds, chunk)))


def test_shape_and_boxes_of_an_offset_grid():
    assert grid_shape(BOUNDS, CHUNK) == (2, 2, 2)
    assert cell_box(BOUNDS, CHUNK, (0, 0, 0)).to_filename() == "3-67_5-69_7-39"
    assert cell_box(BOUNDS, CHUNK, (1, 1, 1)).to_filename() == "67-103_69-95_39-47"
    assert grid_shape(Bbox((0, 0, 0), (128, 129, 0)), CHUNK) == (2, 3, 0)


def test_numpy_numbers_are_fine():
    assert cell_box(BOUNDS, np.array(CHUNK), np.array((1, 0, 0), np.uint8)).minpt.tolist() == [67, 5, 7]


@given(grids())
def test_cells_tile_the_bounds(grid):
    bounds, chunk, _ = grid
    boxes = [cell_box(bounds, chunk, cell) for cell in all_cells(bounds, chunk)]
    assert sum(box.volume() for box in boxes) == bounds.volume()
    assert set().union(*map(voxels, boxes)) == voxels(bounds)
    assert all(np.all(box.size() <= chunk) for box in boxes)


@given(grids())
def test_touching_cells_share_voxels(grid):
    bounds, chunk, box = grid
    touching = list(iterate_cells(cells_touching(bounds, chunk, box)))
    expected = [c for c in all_cells(bounds, chunk) if voxels(cell_box(bounds, chunk, c)) & voxels(box)]
    assert touching == sorted(expected, key=lambda cell: cell[::-1])


def made_of_cells(bounds, chunk, box):
    inside = voxels(box)
    cells = [voxels(cell_box(bounds, chunk, c)) for c in all_cells(bounds, chunk)]
    return inside <= voxels(bounds) and all(c <= inside or not c & inside for c in cells)


@given(grids())
def test_alignment(grid):
    bounds, chunk, box = grid
    if not box.empty():
        assert is_aligned(bounds, chunk, box) == made_of_cells(bounds, chunk, box)


@given(grids())
def test_nearest_aligned(grid):
    bounds, chunk, box = grid
    inner, outer = nearest_aligned(bounds, chunk, box)
    cells = {c: voxels(cell_box(bounds, chunk, c)) for c in all_cells(bounds, chunk)}
    inside = voxels(box)
    assert voxels(outer) == set().union(*(c for c in cells.values() if c & inside))
    assert (voxels(inner) if inner else set()) == set().union(*(c for c in cells.values() if c <= inside))
    assert inner is None or is_aligned(bounds, chunk, inner)


def test_alignment_examples():
    assert is_aligned(BOUNDS, CHUNK, Bbox((3, 5, 7), (67, 95, 39)))
    assert is_aligned(BOUNDS, CHUNK, BOUNDS)
    assert not is_aligned(BOUNDS, CHUNK, Bbox((0, 0, 0), (64, 64, 32)))
    assert not is_aligned(BOUNDS, CHUNK, BOUNDS.grow(1))
    assert not is_aligned(BOUNDS, CHUNK, Bbox((3, 5, 7), (131, 133, 71)))
    assert is_aligned(BOUNDS, CHUNK, Bbox((9, 9, 9), (9, 9, 9)))
    assert nearest_aligned(BOUNDS, CHUNK, Bbox((4, 5, 7), (103, 95, 47))) == (
        Bbox((67, 5, 7), (103, 95, 47)),
        BOUNDS,
    )
    inner, outer = nearest_aligned(BOUNDS, CHUNK, BOUNDS + 1000)
    assert inner is None
    assert outer.empty()


@pytest.mark.timeout(20)
def test_order_is_x_fastest_and_lazy():
    assert list(iterate_cells((range(2), range(5, 7)))) == [(0, 5), (1, 5), (0, 6), (1, 6)]
    cells = iterate_cells((range(2**60), range(2**60), range(2**60)))
    assert [next(cells) for _ in range(2)] == [(0, 0, 0), (1, 0, 0)]
    assert list(iterate_cells((range(0), range(2**60)))) == []
    assert list(iterate_cells(())) == [()]


@given(st.integers(-BIG // 2, BIG // 2), st.integers(0, 10**6), st.integers(1, 1000))
def test_coarser_bounds_cover_exactly(lo, size, factor):
    coarse = coarser_bounds(Bbox((lo,), (lo + size,)), (factor,))
    a, b = coarse.to_list()
    assert a * factor <= lo < (a + 1) * factor
    assert (b - 1) * factor < lo + size <= b * factor


def test_coarser_bounds_of_odd_offsets():
    assert coarser_bounds(Bbox((3, 5, -7), (103, 95, 47)), (2, 2, 1)) == Bbox((1, 2, -7), (52, 48, 47))


@pytest.mark.parametrize("chunk", [(0, 1, 1), (64, 64), (-1, 1, 1), (1.5, 1, 1), (2**70, 1, 1)])
def test_impossible_chunks(chunk):
    for function in (grid_shape, coarser_bounds):
        with pytest.raises(OptionError):
            function(BOUNDS, chunk)


def test_only_whole_voxels_have_a_grid():
    for bad in (BOUNDS / 2, Bbox((0, 0, 0), (9, 9, 9), unit="nm")):
        with pytest.raises(OptionError):
            grid_shape(bad, CHUNK)
        for function in (cells_touching, is_aligned, nearest_aligned):
            with pytest.raises(OptionError):
                function(BOUNDS, CHUNK, bad)


@pytest.mark.parametrize("cell", [(2, 0, 0), (0, 0, -1), (0, 0), (0, 0, 0, 0), (2**70, 0, 0)])
def test_no_such_cell(cell):
    with pytest.raises(OutOfBoundsError):
        cell_box(BOUNDS, CHUNK, cell)
    with pytest.raises(OutOfBoundsError):
        morton(cell, (2, 2, 2))


def test_cells_are_integers():
    with pytest.raises(TypeError):
        cell_box(BOUNDS, CHUNK, (0.5, 0, 0))
    with pytest.raises(TypeError):
        morton((0.5, 0, 0), (2, 2, 2))


# Morton codes: vectors from the specification of the format

VECTORS = [
    ((1, 1, 1), (3, 4, 3), 7),
    ((2, 3, 1), (3, 4, 3), 30),
    ((5, 1, 0), (6, 2, 1), 11),
    ((7, 6, 5), (8, 8, 8), 477),
    ((1, 0, 9), (2, 1, 10), 19),
    ((4, 0, 3), (5, 1, 7), 26),
]


@pytest.mark.parametrize(("cell", "grid", "code"), VECTORS)
def test_morton_vectors(cell, grid, code):
    assert morton(cell, grid) == code
    assert unmorton(code, grid) == cell
    assert morton_array(np.array([cell, (0, 0, 0)]), grid).tolist() == [code, 0]
    assert unmorton_array(np.array([code]), grid).tolist() == [list(cell)]


@given(st.lists(st.integers(1, 2**21), min_size=1, max_size=3), st.data())
def test_morton_round_trip(grid, data):
    cells = [tuple(data.draw(st.integers(0, n - 1)) for n in grid) for _ in range(3)]
    codes = [morton(cell, grid) for cell in cells]
    assert [unmorton(code, grid) for code in codes] == cells
    assert morton_array(np.array(cells), grid).tolist() == codes
    assert unmorton_array(np.array(codes, np.uint64), grid).tolist() == [list(cell) for cell in cells]


def test_morton_codes_of_a_grid_are_distinct_and_compact():
    grid = (4, 2, 8)
    codes = {morton(cell, grid) for cell in itertools.product(*map(range, grid))}
    assert codes == set(range(64))


def test_morton_fills_64_bits():
    grid = (2**22, 2**21, 2**21)
    last = tuple(n - 1 for n in grid)
    assert morton(last, grid) == 2**64 - 1
    assert morton_array(np.array([last]), grid).tolist() == [2**64 - 1]
    assert unmorton_array(np.array([2**64 - 1], np.uint64), grid).tolist() == [list(last)]
    for too_large in ((2**22, 2**22, 2**21), (2**64,), (2**63 + 1,)):
        with pytest.raises(OptionError):
            morton((0,) * len(too_large), too_large)
        with pytest.raises(OptionError):
            morton_array(np.zeros((1, len(too_large)), int), too_large)


def test_morton_arrays_may_be_empty():
    assert morton_array(np.zeros((0, 3)), (3, 4, 3)).shape == (0,)
    assert unmorton_array(np.zeros(0), (3, 4, 3)).shape == (0, 3)


@pytest.mark.parametrize("code", [-1, 64, 2**70, 3 + 4 + 32])
def test_no_cell_of_that_code(code):
    grid = (3, 4, 3)
    with pytest.raises(OutOfBoundsError):
        unmorton(code, grid)
    if code < 2**63:
        with pytest.raises(OutOfBoundsError):
            unmorton_array(np.array([code]), grid)


@pytest.mark.parametrize("cells", [[1, 2, 3], [[1, 2]], [[0.5, 0, 0]]])
def test_bad_cell_arrays(cells):
    with pytest.raises(OptionError):
        morton_array(np.array(cells), (3, 4, 3))
    with pytest.raises(OptionError):
        unmorton_array(np.array([[0.5]]), (3, 4, 3))


def test_cell_arrays_outside_the_grid():
    for cell in ((3, 0, 0), (0, -1, 0)):
        with pytest.raises(OutOfBoundsError):
            morton_array(np.array([cell]), (3, 4, 3))


@pytest.mark.parametrize("grid", [(0, 1, 1), (-1, 1, 1), (1.5, 1, 1)])
def test_impossible_grids(grid):
    with pytest.raises(OptionError):
        morton((0, 0, 0), grid)
