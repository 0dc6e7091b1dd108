"""Labels of a box: which there are, where one is, some of them, and small numbers for them. NumPy is the oracle."""

import numpy as np
import pytest

from tests.volume.sample import make
from volumekit import Bbox, Volume
from volumekit.codecs.crackle import Crackle
from volumekit.errors import (
    CorruptChunkError,
    InvalidIndexError,
    MissingChunkError,
    OptionError,
    OutOfBoundsError,
    ShapeError,
)

OFFSET, SHAPE, CHUNK = (-5, 7, 100), (37, 30, 19), (16, 16, 8)
LISTING = ("compressed_segmentation", "crackle", "compresso")
KINDS = [
    ("raw", "uint8", 1), ("raw", "int16", 1), ("raw", "uint64", 2), ("png", "uint16", 1), ("npz", "uint64", 1),
    ("compressed_segmentation", "uint32", 1), ("compressed_segmentation", "uint64", 3),
    ("crackle", "uint64", 1), ("crackle", "uint8", 1), ("compresso", "uint64", 1), ("compresso", "uint16", 1),
]  # fmt: skip
BOXES = [
    np.s_[:],
    np.s_[-5:11, 7:23, 100:108],
    np.s_[0:17, 9:37, 103:119],
    np.s_[3, 10:30],
    np.s_[-4:30:3, ::2, 118:99:-4],
    np.s_[4:4],
]


def blobs(dtype="uint64", channels=1, shape=SHAPE, labels=(0, 3, 7, 90, 200, 255)):
    """Return labels in blocks, of which some lie on the borders of chunks."""
    rng = np.random.default_rng(5)
    coarse = rng.choice(np.array(labels), (*(-(-n // 5) for n in shape), channels))
    fine = coarse.repeat(5, 0).repeat(5, 1).repeat(5, 2)[: shape[0], : shape[1], : shape[2]]
    return np.asfortranarray(fine).astype(dtype)


def segmentation(url, encoding="raw", dtype="uint64", channels=1, **how):
    array = blobs(dtype, channels)
    if dtype == "uint64":
        array[array == 200] = 2**40 + 7
    volume, _ = make(url, array=array, encoding=encoding, layer_type="segmentation", **how)
    return volume


@pytest.fixture(params=KINDS, ids=str)
def volume(request, tmp_path):
    return segmentation(tmp_path / "v", *request.param)


@pytest.mark.parametrize("box", BOXES, ids=str)
def test_all_ways(volume, box):
    plain = np.asarray(volume[box])
    assert volume.unique(box) == set(np.unique(plain).tolist())
    for label in (7, 90, 201):
        label %= 128 if volume.dtype == np.int16 else 256
        cutout = volume.download(box, label=label)
        assert cutout.dtype == bool
        assert cutout.bounds == volume[box].bounds
        np.testing.assert_array_equal(cutout, plain == label)
    for segids in ([], [7], [0, 3, 90], {3, 7, 90, 255}):
        kept = np.isin(plain, np.array(sorted(segids), volume.dtype))
        some = volume.download(box, segids=segids if isinstance(segids, list) else list(segids))
        np.testing.assert_array_equal(some, np.where(kept, plain, 0))
        assert some.dtype == volume.dtype
    kept = np.isin(plain, np.array([0, 7], volume.dtype))
    some = volume.download(box, segids=(7,), preserve_zeros=True)
    np.testing.assert_array_equal(some, np.where(kept, plain, np.iinfo(volume.dtype).max))
    check_numbers(*volume.download(box, renumber=True), plain)
    kept = np.isin(plain, np.array([7, 90], volume.dtype))
    check_numbers(*volume.download(box, renumber=True, segids=[7, 90]), np.where(kept, plain, 0))


def check_numbers(numbers, mapping, plain):
    labels = sorted(set(np.unique(plain).tolist()) - {0})
    assert mapping == {0: 0} | {label: n for n, label in enumerate(labels, 1)}
    assert all(type(n) is int for pair in mapping.items() for n in pair)
    assert numbers.dtype == np.min_scalar_type(len(mapping) - 1)
    back = np.array(list(mapping), plain.dtype)
    np.testing.assert_array_equal(back[np.asarray(numbers)], plain)


@pytest.mark.parametrize("encoding", LISTING)
def test_shards(tmp_path, encoding):
    volume = segmentation(tmp_path / "v", encoding, sharding=True)
    assert volume.is_sharded()
    plain = np.asarray(volume[0:17, 9:37, 103:119])
    assert volume.unique(np.s_[0:17, 9:37, 103:119]) == set(np.unique(plain).tolist())
    np.testing.assert_array_equal(volume.download(np.s_[0:17, 9:37, 103:119], label=7), plain == 7)


@pytest.mark.parametrize("options", [{}, {"zarr_version": 2}, {"shard": (32, 32, 16)}], ids=str)
def test_zarr(tmp_path, options):
    array = blobs("uint32", channels=2)
    volume = Volume.from_numpy(array, tmp_path / "v.zarr", chunk_size=CHUNK, layer_type="segmentation", **options)
    box = np.s_[3:20, 1:30, 2:19]
    assert volume.unique(box) == set(np.unique(array[box]).tolist())
    np.testing.assert_array_equal(volume.download(box, label=90), array[box] == 90)
    np.testing.assert_array_equal(
        volume.download(box, segids=[3, 7]), np.where(np.isin(array[box], [3, 7]), array[box], 0)
    )
    check_numbers(*volume.download(box, renumber=True), array[box])


def test_image_stacks(tmp_path):
    from PIL import Image

    array = blobs("uint8", shape=(20, 15, 6))
    for z in range(6):
        Image.fromarray(array[:, :, z, 0].T).save(tmp_path / f"{z:03}.png")
    volume = Volume(tmp_path)
    assert volume.unique(np.s_[2:9, 3:8, 1:5]) == set(np.unique(array[2:9, 3:8, 1:5]).tolist())
    np.testing.assert_array_equal(volume.download(np.s_[:], label=7), array == 7)


def test_what_only_tensorstore_decodes(tmp_path, monkeypatch):
    volume = segmentation(tmp_path / "v", "raw")
    array = volume.array()
    monkeypatch.setattr(type(array), "_decodes", False)
    monkeypatch.setattr("volumekit.engine.array.READ_BYTES", 16 * 16 * 8 * 8)
    for box in BOXES:
        plain = np.asarray(volume[box])
        assert volume.unique(box) == set(np.unique(plain).tolist())
        np.testing.assert_array_equal(volume.download(box, label=7), plain == 7)
        check_numbers(*volume.download(box, renumber=True), plain)


def test_other_values_than_labels(tmp_path):
    array = blobs("float32")
    array[3, 4] = np.nan
    volume, _ = make(tmp_path / "v", array=array)
    found = volume.unique()
    assert {v for v in found if v == v} == {0, 3, 7, 90, 200, 255}
    assert sum(v != v for v in found) == 1
    for options in ({"label": 3}, {"segids": [3]}, {"renumber": True}):
        with pytest.raises(OptionError, match="float32"):
            volume.download(np.s_[:], **options)


def test_booleans(tmp_path):
    array = blobs("uint8") > 50
    volume = Volume.from_numpy(array, tmp_path / "v.zarr", chunk_size=CHUNK)
    assert volume.dtype == bool
    assert volume.unique() == {False, True}
    np.testing.assert_array_equal(volume.download(np.s_[:], label=True), array)
    np.testing.assert_array_equal(volume.download(np.s_[:], segids=[0]), np.zeros_like(array))
    numbers, mapping = volume.download(np.s_[:], renumber=True)
    np.testing.assert_array_equal(numbers, array)
    assert mapping == {0: 0, 1: 1}


def test_memory_order_stays(tmp_path):
    volume = segmentation(tmp_path / "v", "crackle")
    for cutout in (
        volume.download(np.s_[:], label=7),
        volume.download(np.s_[:], segids=[7]),
        volume.download(np.s_[:], renumber=True)[0],
    ):
        assert cutout.flags.f_contiguous


@pytest.mark.parametrize("count", [255, 256, 65_535, 65_536, 70_000])
def test_numbers_grow(tmp_path, count):
    array = np.zeros((64, 64, 20, 1), np.uint64, order="F")
    array.T.flat[:count] = 10**12 - 3 * np.arange(count, dtype=np.uint64)
    volume, _ = make(tmp_path / "v", array=array, chunk=(32, 32, 16))
    check_numbers(*volume.download(np.s_[:], renumber=True), array)
    assert volume.unique() == {0, *np.unique(array).tolist()}


def test_negative_labels(tmp_path):
    array = np.random.default_rng(0).integers(-3, 3, (20, 20, 20, 1)).astype(np.int8)
    volume, _ = make(tmp_path / "v", array=array)
    check_numbers(*volume.download(np.s_[:], renumber=True), array)
    np.testing.assert_array_equal(volume.download(np.s_[:], label=-2), array == -2)
    np.testing.assert_array_equal(volume.download(np.s_[:], segids=[-2]), np.where(array == -2, array, 0))


def test_memory_of_the_caller(tmp_path):
    volume = segmentation(tmp_path / "v", "crackle")
    plain = np.asarray(volume[:])
    out = np.ones((*SHAPE, 1), bool)
    assert np.shares_memory(volume.download(np.s_[:], label=7, out=out), out)
    np.testing.assert_array_equal(out, plain == 7)
    voxels = np.ones((*SHAPE, 1), np.uint64)
    volume.download(np.s_[:], segids=[3], out=voxels)
    np.testing.assert_array_equal(voxels, np.where(plain == 3, 3, 0))
    with pytest.raises(ShapeError, match="bool"):
        volume.download(np.s_[:], label=7, out=voxels)
    with pytest.raises(ShapeError, match="uint64"):
        volume.download(np.s_[:], segids=[7], out=out)
    with pytest.raises(OptionError, match="out="):
        volume.download(np.s_[:], renumber=True, out=voxels)


# What is not there


def test_missing_chunks(tmp_path):
    volume = segmentation(tmp_path / "v", "crackle")
    plain = np.asarray(volume[:])
    hole = np.s_[-5:11, 7:23, 108:116]
    volume.delete(hole)
    for ask in (
        volume.unique,
        lambda box: volume.download(box, label=7),
        lambda box: volume.download(box, segids=[7]),
        lambda box: volume.download(box, renumber=True),
    ):
        with pytest.raises(MissingChunkError) as caught:
            ask(np.s_[:])
        assert caught.value.box == Bbox.from_slices(hole)
        ask(np.s_[11:])
    plain[:16, :16, 8:16] = 77
    filled = Volume(tmp_path / "v", fill_missing=True, background_color=77)
    assert filled.unique() == set(np.unique(plain).tolist())
    assert filled.unique(hole) == {77}
    for label in (7, 77):
        np.testing.assert_array_equal(filled.download(np.s_[:], label=label), plain == label)
        np.testing.assert_array_equal(filled.download(np.s_[:], segids=[label]), np.where(plain == label, label, 0))
    check_numbers(*filled.download(np.s_[:], renumber=True), plain)
    assert volume.unique(hole, fill_missing=True) == {0}
    assert not volume.download(hole, label=7, fill_missing=True).any()


@pytest.mark.parametrize("background", [0, 7, 70])
@pytest.mark.parametrize(
    "box", [np.s_[-9:40, 0:12, 90:130], np.s_[-90:-80, 7:9, 100:120], np.s_[-11:33:4, ::2]], ids=str
)
def test_outside(tmp_path, box, background):
    segmentation(tmp_path / "v", "crackle")
    volume = Volume(tmp_path / "v", bounded=False, background_color=background)
    plain = np.asarray(volume[box])
    assert background in plain
    assert volume.unique(box) == set(np.unique(plain).tolist())
    np.testing.assert_array_equal(volume.download(box, label=7), plain == 7)
    np.testing.assert_array_equal(volume.download(box, segids=[7, 90]), np.where(np.isin(plain, [7, 90]), plain, 0))
    check_numbers(*volume.download(box, renumber=True), plain)
    some = volume.download(box, renumber=True, segids=[7], preserve_zeros=True)
    check_numbers(*some, np.where(np.isin(plain, [0, 7]), plain, np.iinfo(np.uint64).max))


def test_autocrop(tmp_path):
    segmentation(tmp_path / "v", "crackle")
    volume = Volume(tmp_path / "v", bounded=False, autocrop=True)
    assert volume.download(np.s_[-9:5], label=7).bounds == Bbox((-5, 7, 100), (5, 37, 119))


def test_bounds(tmp_path):
    volume = segmentation(tmp_path / "v", "crackle")
    for options in ({"label": 7}, {"segids": [7]}, {"renumber": True}):
        with pytest.raises(OutOfBoundsError, match="x -6:3"):
            volume.download(np.s_[-6:3], **options)
    with pytest.raises(OutOfBoundsError, match="x -6:3"):
        volume.unique(np.s_[-6:3])
    with pytest.raises(InvalidIndexError, match="box"):
        volume.unique(([1, 2], [8, 9], [101, 102]))


def test_other_mips(tmp_path):
    volume = segmentation(tmp_path / "v", "crackle", max_mip=1)
    volume.mip = 1
    half = blobs()[::2, ::2]
    volume[:] = half[: volume.shape[0], : volume.shape[1]] if half.shape == volume.shape else 90
    volume.mip = 0
    assert volume.unique(mip=1) == set(np.unique(volume.download((), 1)).tolist())
    assert volume.download((), 1, label=90).shape == volume.mip_shape(1)


# Damage


@pytest.mark.parametrize("encoding", ["raw", *LISTING])
def test_damage(tmp_path, encoding):
    volume = segmentation(tmp_path / "v", encoding)
    chunk = tmp_path / "v" / "4_4_40" / "11-27_7-23_100-108"
    chunk.write_bytes(chunk.read_bytes()[:9])
    for ask in (
        lambda: volume.unique(),
        lambda: volume.unique(np.s_[12:14, 8:10, 101:103]),
        lambda: volume.download((), label=7),
        lambda: volume.download((), segids=[7]),
        lambda: volume.download((), renumber=True),
    ):
        with pytest.raises(CorruptChunkError) as caught:
            ask()
        assert caught.value.key == "4_4_40/11-27_7-23_100-108"
        assert caught.value.box == Bbox((11, 7, 100), (27, 23, 108))


@pytest.mark.parametrize("encoding", ["raw", "crackle"])
def test_through_the_cache(tmp_path, encoding):
    segmentation(tmp_path / "v", encoding)
    plain = np.asarray(Volume(tmp_path / "v")[:])
    volume = Volume(tmp_path / "v", cache=tmp_path / "cache")
    for _ in range(2):
        assert volume.unique() == set(np.unique(plain).tolist())
        np.testing.assert_array_equal(volume.download((), label=7), plain == 7)
    kept = [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.name.startswith("11-27_7-23_100-108")]
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:9] if encoding == "raw" else bytes(path.stat().st_size))
    assert volume.unique() == set(np.unique(plain).tolist())
    np.testing.assert_array_equal(volume.download((), label=7), plain == 7)


# Wrong labels and options


@pytest.mark.parametrize("label", [-1, 2**64, 7.0, "7", None.__class__, True, np.float32(7), [7]], ids=str)
def test_no_labels(tmp_path, label):
    volume = segmentation(tmp_path / "v")
    with pytest.raises(OptionError, match="label"):
        volume.download(np.s_[:], label=label)
    with pytest.raises(OptionError, match="label"):
        volume.download(np.s_[:], segids=[3, label] if not isinstance(label, list) else [3, 7.5])


@pytest.mark.parametrize(
    "segids", [[7, 3], (7, 3), np.array([3, 7], np.int8), np.array([7, 3, 3], np.uint64), range(3, 8, 4)]
)
def test_sequences_of_labels(tmp_path, segids):
    volume = segmentation(tmp_path / "v")
    before = list(segids)
    plain = np.asarray(volume[:])
    some = volume.download((), segids=segids, preserve_zeros=True)
    np.testing.assert_array_equal(some, np.where(np.isin(plain, [0, 3, 7]), plain, np.iinfo(np.uint64).max))
    assert list(segids) == before


def test_options_that_do_not_go_together(tmp_path):
    volume = segmentation(tmp_path / "v")
    for options in ({"label": 7, "segids": [7]}, {"label": 7, "renumber": True}, {"preserve_zeros": True}):
        with pytest.raises(OptionError):
            volume.download((), **options)


# Coordinates of another voxel size


@pytest.mark.parametrize(
    ("size", "box", "low", "high"),
    [
        ((4, 4, 40), ((0, 9, 101), (3, 12, 104)), (0, 9, 101), (3, 12, 104)),
        ((2, 2, 20), ((0, 18, 202), (6, 24, 208)), (0, 9, 101), (3, 12, 104)),
        ((2, 2, 20), ((1, 19, 203), (5, 23, 205)), (0, 9, 101), (3, 12, 103)),
        ((8, 8, 40), ((0, 5, 101), (3, 6, 104)), (0, 10, 101), (6, 12, 104)),
        ((3, 5, 7), ((0, 9, 600), (3, 12, 601)), (0, 11, 105), (3, 15, 106)),
    ],
)
def test_other_coordinates(tmp_path, size, box, low, high):
    volume = segmentation(tmp_path / "v", "crackle")
    cutout = volume.download(Bbox(*box), coord_resolution=size)
    assert cutout.bounds == Bbox(low, high)
    np.testing.assert_array_equal(cutout, volume[Bbox(low, high)])
    assert volume.unique(Bbox(*box), coord_resolution=size) == set(np.unique(cutout).tolist())


def test_all_in_other_coordinates(tmp_path):
    volume = segmentation(tmp_path / "v", "compressed_segmentation", channels=3)
    for size in ((4, 4, 40), (8, 8, 80), (3, 3, 3), 7):
        assert volume.download((), coord_resolution=size).bounds == volume.bounds
    assert volume.download(np.s_[:, :, :, 1:2], coord_resolution=(8, 8, 40)).shape == (*SHAPE, 1)
    assert volume.download(np.s_[0:3], coord_resolution=(8, 8, 40)).bounds == Bbox((0, 7, 100), (6, 37, 119))
    with pytest.raises(OutOfBoundsError):
        volume.download(np.s_[-4:3], coord_resolution=(8, 8, 40))
    for index in (np.s_[3], np.s_[::2], Bbox((0, 40, 4000), (9, 99, 4444), unit="nm")):
        with pytest.raises(OptionError):
            volume.download(index, coord_resolution=(8, 8, 40))
    for size in ((8, 8), (0, 8, 8), (-4, 4, 40), (float("nan"), 1, 1), (float("inf"), 1, 1)):
        with pytest.raises(OptionError):
            volume.download((), coord_resolution=size)


@pytest.mark.parametrize("encoding", ["raw", *LISTING])
def test_labels_beyond_the_box_are_not_in_it(tmp_path, encoding):
    array = np.ones((*SHAPE, 1), np.uint64, order="F")
    array[7, 7, 7] = 9
    array[30, 7, 7] = 4
    volume, _ = make(tmp_path / "v", array=array, encoding=encoding, layer_type="segmentation")
    assert volume.unique(np.s_[-5:2, 7:30, 100:119]) == {1}
    assert volume.unique(np.s_[3:30, 7:30, 100:119]) == {1, 4}
    assert volume.unique(np.s_[2, 14, 107]) == {9}
    assert volume.unique(np.s_[-5:32:2]) == {1, 4}
    assert volume.unique(np.s_[-4:32:2]) == {1, 9}
    assert volume.unique() == {1, 4, 9}


# No more is decoded than has to be


def test_decoding_what_must_be(tmp_path, monkeypatch):
    volume = segmentation(tmp_path / "v", "crackle")
    plain = np.asarray(volume[:])
    decoded = []
    whole = Crackle.decode
    monkeypatch.setattr(Crackle, "decode", lambda *args: decoded.append(1) or whole(*args))
    assert volume.unique() == set(np.unique(plain).tolist())
    assert volume.unique(np.s_[-5:27, 7:23, 100:113]) == set(np.unique(plain).tolist())
    np.testing.assert_array_equal(volume.download((), label=7), plain == 7)
    assert not volume.download((), segids=[8]).any()
    assert not decoded
    np.testing.assert_array_equal(volume.download((), segids=[7]), np.where(plain == 7, 7, 0))
    assert decoded


def test_progress(tmp_path, monkeypatch):
    volume = segmentation(tmp_path / "v", "crackle")
    seen = []

    class Bar:
        def __init__(self, total, **_):
            self.total = total

        def __enter__(self):
            return self

        def __exit__(self, *_):
            seen.append(self.total)

        def update(self, n):
            self.total -= n

    monkeypatch.setattr("tqdm.tqdm", Bar)
    monkeypatch.setattr("volumekit.volume.progress.interactive", lambda: True)
    volume.unique(np.s_[0:20], progress=True)
    for options in ({"label": 7}, {"segids": [7]}, {"renumber": True}):
        volume.download(np.s_[0:20], progress=True, **options)
    assert seen == [0, 0, 0, 0]


@pytest.mark.parametrize("kind", [set, frozenset, iter, list, tuple, lambda labels: dict.fromkeys(labels).keys()])
def test_labels_come_in_any_collection(tmp_path, kind):
    array = np.arange(64, dtype=np.uint64).reshape(4, 4, 4)
    volume = Volume.from_numpy(array, tmp_path, layer_type="segmentation", progress=False)
    found = volume.download(volume.bounds, segids=kind([3, 5]))
    np.testing.assert_array_equal(found[..., 0], np.where(np.isin(array, (3, 5)), array, 0))
