import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumekit.errors import OptionError, OutOfBoundsError
from volumekit.model.bbox import Bbox
from volumekit.model.vec import Vec

BIG = 2**62
COORDINATE = st.one_of(st.integers(-50, 50), st.integers(-BIG // 2, BIG // 2))
POINT = st.tuples(COORDINATE, COORDINATE, COORDINATE)
BOX = st.builds(Bbox, POINT, POINT)
SMALL = st.integers(-4, 4)
SMALL_BOX = st.builds(Bbox, st.tuples(SMALL, SMALL), st.tuples(SMALL, SMALL))
FRACTION = st.floats(-1e6, 1e6)
FLOAT_BOX = st.builds(Bbox, st.tuples(FRACTION, FRACTION), st.tuples(FRACTION, FRACTION))
B = Bbox((3, -5, 7), (100, 90, 39))


def voxels(box):
    (x0, y0), (x1, y1) = box.minpt.tolist(), box.maxpt.tolist()
    return {(x, y) for x in range(x0, x1) for y in range(y0, y1)}


# Making boxes


def test_corners_are_put_in_order():
    assert Bbox((10, 0, 5), (0, 5, 5)) == Bbox((0, 0, 5), (10, 5, 5))


def test_integers_are_exact_int64():
    box = Bbox((-BIG, 2**53 + 1, 0), (0, 2**62, 1))
    assert box.dtype == box.minpt.dtype == np.int64
    assert box.to_list() == [-BIG, 2**53 + 1, 0, 0, 2**62, 1]
    assert Bbox(np.array([2**53 + 1], np.uint64), [2**53 + 3]).minpt.tolist() == [2**53 + 1]


def test_one_fraction_makes_the_box_float64():
    assert Bbox((0, 0), (1, 1.5)).dtype == np.float64
    assert Bbox((0, 0), (1, 2), dtype="float32").dtype == np.float64


def test_integers_round_outward():
    assert Bbox((0.5, -1.5), (2.5, 1.0), dtype=np.int32) == Bbox((0, -2), (3, 1))
    assert Bbox((0.5, -1.5), (2.5, 1.0)).astype(int).dtype == np.int64


@given(FLOAT_BOX)
def test_rounding_outward_is_the_smallest_box_around(box):
    whole = box.astype(int)
    assert whole.contains_bbox(box)
    assert all(box.minpt < whole.minpt + 1)
    assert all(box.maxpt > whole.maxpt - 1)


@pytest.mark.parametrize(
    ("corners", "options"),
    [
        (((0, 0), (1, 1, 1)), {}),
        (((0,), (math.nan,)), {}),
        (((0,), (math.inf,)), {}),
        (((0,), (1,)), {"unit": "furlong"}),
        (((0,), (1,)), {"dtype": bool}),
        (((0,), (BIG + 1,)), {}),
        (((-BIG,), (BIG,)), {}),
        (((0.0,), (1e300,)), {"dtype": int}),
        (((0.0,), (10**400,)), {}),
    ],
)
def test_impossible_boxes(corners, options):
    with pytest.raises(OptionError):
        Bbox(*corners, **options)


@pytest.mark.parametrize("corner", [None, 5, "12", [None], [[1]], ["1"], [1j]])
def test_corners_that_are_no_numbers(corner):
    with pytest.raises(TypeError):
        Bbox(corner, corner)


def test_boxes_do_not_change():
    for change in ("minpt", "maxpt", "unit", "other"):
        with pytest.raises(AttributeError):
            setattr(B, change, (0, 0, 0))
    with pytest.raises(ValueError, match="read-only"):
        B.minpt[0] = 5
    B.grow(1)
    assert B.to_list() == [3, -5, 7, 100, 90, 39]


# Value


@given(BOX)
def test_equality_hash_and_copies(box):
    for again in (box.clone(), copy.copy(box), copy.deepcopy(box), pickle.loads(pickle.dumps(box))):
        assert again == box
        assert hash(again) == hash(box)
        assert type(again) is Bbox
    assert box != box + 1


def test_equality_looks_at_unit_and_type():
    nm = Bbox((0,), (1,), unit="nm")
    assert nm != Bbox((0,), (1,))
    assert pickle.loads(pickle.dumps(nm)) == nm.clone() == nm
    assert Bbox((0,), (1,)) != ((0,), (1,))
    assert Bbox((0,), (1,)) == Bbox((0.0,), (1.0,))
    assert hash(Bbox((0,), (1,))) == hash(Bbox((0.0,), (1.0,)))


@given(st.one_of(BOX, FLOAT_BOX), st.sampled_from(["vx", "nm", "m"]))
def test_repr_is_the_box(box, unit):
    box = Bbox.from_dict({**box.to_dict(), "unit": unit})
    again = eval(repr(box))
    assert again == box
    assert (again.unit, again.dtype) == (unit, box.dtype)


def test_boxes_are_not_iterable():
    with pytest.raises(TypeError):
        iter(B)


# Notation


@given(st.one_of(BOX, FLOAT_BOX), st.sampled_from(["", ".gz", ".br", ".bz2"]))
def test_filename_round_trip(box, suffix):
    assert Bbox.from_filename(f"4_4_40/{box.to_filename()}{suffix}") == box


@pytest.mark.parametrize(
    ("name", "corners"),
    [
        ("0-64_-3-13_7-39", [0, -3, 7, 64, 13, 39]),
        ("a/b-1/0-64_-32--16_7-39.gz", [0, -32, 7, 64, -16, 39]),
        ("77:0:-1-0_-1-0_-1-0", [-1, -1, -1, 0, 0, 0]),
        ("0-64_0-64", [0, 0, 64, 64]),
        ("9007199254740993-9007199254740995", [2**53 + 1, 2**53 + 3]),
    ],
)
def test_from_filename(name, corners):
    assert Bbox.from_filename(name).to_list() == corners


NOT_NAMES = [
    "",
    "info",
    "0-64_0-64_",
    "0-64_0_0-64",
    "0-64_0-64_0-64x",
    "\u0660-\u0666\u0664",
    "64-0",
    "0-64/",
]
TOO_LONG = ["0-" + "9" * 5000, "0-" + "9" * 300, "_".join(["0-1"] * 1000)]


@pytest.mark.parametrize("name", NOT_NAMES + TOO_LONG)
def test_from_filename_refuses(name):
    with pytest.raises(OptionError):
        Bbox.from_filename(name)


@given(st.one_of(BOX, FLOAT_BOX))
def test_list_and_dict_round_trips(box):
    assert Bbox.from_list(box.to_list()) == box
    again = Bbox.from_dict(box.to_dict())
    assert again == box
    assert again.dtype == box.dtype


def test_bad_lists_and_dicts():
    with pytest.raises(OptionError):
        Bbox.from_list([1, 2, 3])
    with pytest.raises(OptionError):
        Bbox.from_dict({"minpt": [1]})


def test_lists_hold_python_numbers():
    assert {type(v) for v in B.to_list()} == {int}
    assert B.to_dict() == {"minpt": [3, -5, 7], "maxpt": [100, 90, 39], "dtype": "int64"}


@given(BOX)
def test_slices_round_trip(box):
    assert Bbox.from_slices(box.to_slices()) == box


def test_fractional_slices_round_outward():
    assert Bbox((0.5, 1.0), (2.5, 3.0)).to_slices() == (slice(0, 3), slice(1, 3))


def test_open_slices_take_the_context():
    assert Bbox.from_slices(np.s_[:, 3:4], B).to_list() == [3, 3, 7, 100, 4, 39]
    assert Bbox.from_slices(np.s_[..., 8], B).to_list() == [3, -5, 8, 100, 90, 9]
    assert Bbox.from_slices(np.s_[5, ..., 8:], B).to_list() == [5, -5, 8, 6, 90, 39]
    assert Bbox.from_slices(np.s_[:20], B).to_list() == [3, -5, 7, 20, 90, 39]
    assert Bbox.from_slices(np.s_[-2:-1], Bbox((-5,), (5,))).to_list() == [-2, -1]


def test_a_stop_before_the_start_is_empty():
    box = Bbox.from_slices(np.s_[9:2, 0:5])
    assert box.empty()
    assert box.minpt.tolist() == [9, 0]


@pytest.mark.parametrize(
    ("slices", "context"),
    [
        (np.s_[0:4:2], None),
        (np.s_[0:4:-1], B),
        (np.s_[1:], None),
        (np.s_[...], None),
        (np.s_[0:1, 0:1, 0:1, 0:1], B),
        (np.s_[..., 5, ...], B),
    ],
)
def test_impossible_slices(slices, context):
    with pytest.raises(OptionError):
        Bbox.from_slices(slices if isinstance(slices, tuple) else (slices,), context)


def test_bounded_and_autocrop():
    inside, partly, outside = np.s_[3:100, 0:5], np.s_[0:10, 0:5], np.s_[200:201]
    assert Bbox.from_slices(inside, B, bounded=True).dx == 97
    with pytest.raises(OutOfBoundsError) as caught:
        Bbox.from_slices(partly, B, bounded=True, autocrop=True)
    assert caught.value.box == Bbox.from_slices(partly, B)
    assert Bbox.from_slices(partly, B, autocrop=True).to_list() == [3, 0, 7, 10, 5, 39]
    assert Bbox.from_slices(partly, B).minpt.x == 0
    assert Bbox.create(outside, B, autocrop=True).empty()
    with pytest.raises(OutOfBoundsError):
        Bbox.create(B + 1, B, bounded=True)


@pytest.mark.parametrize(
    ("obj", "context"),
    [
        (Bbox((1, 3, 0), (2, 4, 9)), None),
        (np.s_[1:2, 3:4, 0:9], None),
        ([1, 3, 0, 2, 4, 9], None),
        (np.array([1, 3, 0, 2, 4, 9]), B),
        ("1-2_3-4_0-9.gz", None),
        (np.s_[1, 3, 0:9], None),
        (1, Bbox((0, 3, 0), (5, 4, 9))),
        (slice(1, 2), Bbox((0, 3, 0), (5, 4, 9))),
    ],
)
def test_create(obj, context):
    assert Bbox.create(obj, context) == Bbox((1, 3, 0), (2, 4, 9))


def test_create_reads_numbers_by_the_rank_of_the_context():
    assert Bbox.create((1, 2, 3)) == Bbox((1, 2, 3), (2, 3, 4))
    assert Bbox.create((1, 2, 3, 4), Bbox((0, 0), (9, 9))) == Bbox((1, 2), (3, 4))
    assert Bbox.create(Vec(3, 4, 5)) == Bbox((0, 0, 0), (3, 4, 5)) == Bbox.from_vec((3, 4, 5))
    assert Bbox.create(..., B) == B
    assert Bbox.create(Bbox((0,), (1,), unit="nm")).unit == "nm"


@pytest.mark.parametrize("obj", [None, 1.5, {1, 2}, object()])
def test_create_refuses(obj):
    with pytest.raises(TypeError):
        Bbox.create(obj, B)


def test_from_delta():
    assert Bbox.from_delta((1, 2, 3), (4, 5, 6)) == Bbox.from_delta((1, 2, 3), Vec(4, 5, 6))
    assert Bbox.from_delta((1, 2, 3), 4) == Bbox((1, 2, 3), (5, 6, 7))


def test_from_points():
    assert Bbox.from_points([[1, 2, 3], [4, 0, 9]]) == Bbox((1, 0, 3), (5, 3, 10))
    assert Bbox.from_points([[-0.5, 2.0], [1.5, 3.0]]) == Bbox((-1, 2), (2, 4))
    for bad in ([], [1, 2, 3], [["a"]], [[math.nan]], np.zeros((0, 3))):
        with pytest.raises(OptionError):
            Bbox.from_points(bad)


# Looking


def test_sizes():
    assert B.size().tolist() == B.size3().tolist() == [97, 95, 32]
    assert B.size2().tolist() == [97, 95]
    assert (B.dx, B.dy, B.dz) == (97, 95, 32)
    assert B.volume() == 97 * 95 * 32
    assert B.center().tolist() == [51.5, 42.5, 23.0]
    assert B.ndim == 3


def test_volume_is_exact_beyond_int64():
    assert Bbox((-BIG // 2,) * 3, (BIG // 2,) * 3).volume() == 2**186


def test_empty_and_subvoxel():
    flat, thin = Bbox((1, 1), (1, 4)), Bbox((0, 0), (0.5, 1))
    assert flat.empty()
    assert flat.subvoxel()
    assert thin.subvoxel()
    assert not thin.empty()
    assert not Bbox((0, 0), (0.5, 10)).subvoxel()


@given(SMALL_BOX, st.tuples(SMALL, SMALL))
def test_contains_is_half_open(box, point):
    assert box.contains(point) == (point in box) == (point in voxels(box))


@given(SMALL_BOX, SMALL_BOX)
def test_contains_intersects_and_intersection_agree_with_voxels(a, b):
    assert voxels(a.intersection(b)) == voxels(a) & voxels(b)
    assert a.intersects(b) == b.intersects(a) == bool(voxels(a) & voxels(b))
    if not b.empty():
        assert (b in a) == (voxels(b) <= voxels(a))
    assert voxels(a) | voxels(b) <= voxels(a.expand(b))
    assert a.expand(b) == Bbox.expand(b, a)


def test_clamp_moves_corners():
    inner = Bbox((0, 0, 0), (10, 10, 10))
    assert Bbox.clamp(B, inner) == Bbox((3, 0, 7), (10, 10, 10))
    assert Bbox.clamp(B, inner.translate((1000, 0, 0))) == Bbox((1000, 0, 7), (1000, 10, 10))


def test_different_units_or_ranks_do_not_mix():
    for other in (Bbox((0, 0, 0), (1, 1, 1), unit="nm"), Bbox((0, 0), (1, 1))):
        for operation in (B.intersects, B.intersection, B.clamp, B.expand, B.contains_bbox):
            with pytest.raises(OptionError):
                operation(other)


# Grids


CHUNK = st.integers(1, 2**20)


@given(BOX, CHUNK, COORDINATE)
def test_expand_and_shrink_to_chunk_size(box, chunk, offset):
    outer, inner = box.expand_to_chunk_size(chunk, offset), box.shrink_to_chunk_size(chunk, offset)
    for corner in outer.to_list() + inner.to_list():
        assert (corner - offset) % chunk == 0
    assert outer.contains_bbox(box)
    grown = [a - b for a, b in zip(box.to_list(), outer.to_list(), strict=True)]
    assert all(0 <= g < chunk for g in grown[:3])
    assert all(-chunk < g <= 0 for g in grown[3:])
    if not inner.empty():
        assert box.contains_bbox(inner)
    assert outer.is_chunk_aligned(chunk, offset)
    assert box.is_chunk_aligned(chunk, offset) == (box == outer == inner)


@given(BOX, CHUNK, COORDINATE)
def test_round_to_chunk_size_is_nearest(box, chunk, offset):
    near = box.round_to_chunk_size(chunk, offset)
    for a, b in zip(box.to_list(), near.to_list(), strict=True):
        assert (b - offset) % chunk == 0
        assert 2 * abs(a - b) <= chunk


def test_chunk_size_examples():
    chunk = (64, 64, 32)
    assert B.expand_to_chunk_size(chunk) == Bbox((0, -64, 0), (128, 128, 64))
    assert B.expand_to_chunk_size(chunk, (3, 5, 7)) == Bbox((3, -59, 7), (131, 133, 39))
    assert B.shrink_to_chunk_size(chunk, Vec(3, 5, 7)) == Bbox((3, 5, 7), (67, 69, 39))
    assert B.round_to_chunk_size(chunk) == Bbox((0, 0, 0), (128, 64, 32))
    assert Bbox((32, 96), (33, 97)).round_to_chunk_size(64) == Bbox((0, 128), (64, 128))
    assert Bbox((1, 1), (5, 5)).shrink_to_chunk_size(64).empty()
    assert Bbox((0.5, 1), (3, 4.5)).expand_to_chunk_size(2) == Bbox((0, 0), (4, 6))


def test_impossible_chunk_sizes():
    for chunk in (0, -1, (64, 0, 32), (64, 64)):
        with pytest.raises(OptionError):
            B.expand_to_chunk_size(chunk)


# Arithmetic


@given(BOX, POINT)
def test_translation(box, step):
    try:
        moved = box + step
    except OptionError:
        assert max(map(abs, np.add(box.to_list(), [*step, *step], dtype=object))) > BIG
        return
    assert moved - step == box
    assert moved == step + box == np.array(step) + box == box + Vec(*step) == box.translate(step)
    assert moved.size().tolist() == box.size().tolist()


def test_scaling():
    assert {B * 2, 2 * B} == {Bbox((6, -10, 14), (200, 180, 78))}
    assert (B * (1, 2, 3)).to_list() == [3, -10, 21, 100, 180, 117]
    assert (B * -1).to_list() == [-100, -90, -39, -3, 5, -7]
    assert (B / 2).to_list() == [1.5, -2.5, 3.5, 50, 45, 19.5]
    assert (B / 2).dtype == np.float64
    assert (B * 1.5).minpt.tolist() == [4.5, -7.5, 10.5]
    assert (B // 2).to_list() == [1, -3, 3, 50, 45, 20]


@given(BOX, st.integers(1, 1000))
def test_floor_division_covers(box, factor):
    coarse = box // factor
    assert all(0 <= a - b * factor < factor for a, b in zip(box.minpt, coarse.minpt, strict=True))
    assert all(0 <= b * factor - a < factor for a, b in zip(box.maxpt, coarse.maxpt, strict=True))


IMPOSSIBLE = [
    lambda: B / 0,
    lambda: B / (1, 0, 1),
    lambda: B // 0,
    lambda: B // -2,
    lambda: B * 10**400,
    lambda: B * (1, 2),
    lambda: B + math.inf,
]


@pytest.mark.parametrize("calculate", IMPOSSIBLE)
def test_impossible_arithmetic(calculate):
    with pytest.raises(OptionError):
        calculate()


def test_boxes_are_not_added():
    with pytest.raises(TypeError):
        B + B


def test_grow_and_shrink():
    assert B.grow(2) == Bbox((1, -7, 5), (102, 92, 41)) == B.shrink(-2)
    assert B.grow((1, 2, 3)).shrink((1, 2, 3)) == B
    assert B.shrink(16).dz == 0
    with pytest.raises(OptionError):
        B.shrink(17)


# Units


def test_units_are_exact():
    nm = B.convert_units("nm", (4, 4, 40))
    assert nm == Bbox((12, -20, 280), (400, 360, 1560), unit="nm")
    assert nm.dtype == np.int64
    assert nm.convert_units("um").to_list() == [0.012, -0.02, 0.28, 0.4, 0.36, 1.56]
    tenth = Bbox((0, 1), (3, 7)).convert_units("nm", 0.1)
    assert tenth.to_list() == [0.0, 0.1, 0.3, 0.7]
    assert tenth.convert_units("vx", 0.1).astype(int) == Bbox((0, 1), (3, 7))


@given(BOX, st.tuples(*[st.sampled_from([1, 4, 40, 4.5, 0.25])] * 3))
def test_units_round_trip_exactly(box, resolution):
    try:
        nm = (box // 2**20).convert_units("nm", resolution)
    except OptionError:
        pytest.fail("within range")
    assert nm.convert_units("vx", resolution).astype(int) == box // 2**20
    if nm.dtype == np.int64:
        assert nm.convert_units("vx", resolution).dtype == np.int64


def test_units_round_outward_to_voxels():
    box = Bbox((1, 1), (9, 8), unit="nm").convert_units("vx", (4, 4)).astype(int)
    assert box == Bbox((0, 0), (3, 2))


def test_impossible_units():
    for arguments in (
        ("nm",),
        ("nm", (4, 4)),
        ("nm", (4, 4, 0)),
        ("nm", -1),
        ("km", (4, 4, 40)),
        ("nm", math.nan),
    ):
        with pytest.raises(OptionError):
            B.convert_units(*arguments)
    with pytest.raises(OptionError):
        Bbox((0.0,), (1e308,), unit="m").convert_units("nm")
    with pytest.raises(OptionError):
        Bbox((0,), (2**60,)).convert_units("nm", 40)
