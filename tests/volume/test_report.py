"""Which chunks are stored."""

import numpy as np
import pytest

from tests.volume.sample import empty, make
from volumekit import Bbox, ChunkReport, Volume
from volumekit.engine import objects
from volumekit.errors import AlignmentError, OutOfBoundsError, ScaleUnavailableError

WAYS = [None, "gzip"]
NAMES = [
    f"4_4_40/{x}_{y}_{z}"
    for z in ("100-108", "108-116", "116-119")
    for y in ("7-23", "23-37")
    for x in ("-5-11", "11-27", "27-32")
]


@pytest.fixture(params=[1, 10**9], ids=["listing", "probing"])
def way(request, monkeypatch):
    """Both ways to find out."""
    monkeypatch.setattr(objects, "LIST_FROM", request.param)


@pytest.fixture(params=WAYS, ids=["plain", "gzip"])
def holed(request, tmp_path):
    volume, _ = make(tmp_path / "v", compress=request.param)
    volume.delete(np.s_[-5:11, 7:23, 100:108])
    volume.delete(np.s_[27:32, 23:37, 116:119])
    return volume


def test_a_mapping_of_chunk_names(holed, way):
    report = holed.exists()
    assert isinstance(report, ChunkReport)
    assert dict(report) == {name: name not in (NAMES[0], NAMES[-1]) for name in NAMES}
    assert list(report) == NAMES
    assert (len(report), report.total, report.num_present, report.num_missing) == (18, 18, 16, 2)
    assert report.missing == [NAMES[0], NAMES[-1]]
    assert report.present == NAMES[1:-1]
    assert report[NAMES[1]]
    assert NAMES[0] in report
    assert "no such chunk" not in report
    with pytest.raises(KeyError):
        report["no such chunk"]


def test_the_grid(holed, way):
    report = holed.exists()
    grid = report.to_array()
    assert grid.shape == (3, 2, 3)
    expected = np.ones((3, 2, 3), bool)
    expected[0, 0, 0] = expected[2, 1, 2] = False
    np.testing.assert_array_equal(grid, expected)
    grid[:] = False
    assert report.num_present == 16
    assert report.bounds == holed.bounds
    assert report.bounds_of(report.missing) == [
        Bbox((-5, 7, 100), (11, 23, 108)),
        Bbox((27, 23, 116), (32, 37, 119)),
    ]


@pytest.mark.parametrize(
    "box",
    [
        Bbox((0, 10, 101), (12, 11, 102)),
        np.s_[0:12, 10:11, 101:102],
        [0, 10, 101, 12, 11, 102],
        "0-12_10-11_101-102",
        Bbox((0, 40, 4040), (48, 44, 4080), unit="nm"),
        (slice(0, 12), 10, 101),
    ],
    ids=str,
)
def test_a_box_counts_every_chunk_it_touches(holed, way, box):
    report = holed.exists(box)
    assert dict(report) == {NAMES[0]: False, NAMES[1]: True}
    assert report.bounds == Bbox((-5, 7, 100), (27, 23, 108))
    assert report.to_array().shape == (2, 1, 1)


def test_an_empty_box(holed, way):
    report = holed.exists(np.s_[5:5])
    assert (dict(report), report.num_missing, report.missing) == ({}, 0, [])
    assert report.to_array().size == 0
    assert report.bounds.empty()
    assert "0 of 0" in repr(report)
    report._repr_html_()


def test_outside_is_an_error_even_if_unbounded(holed):
    for volume in (holed, Volume(holed.cloudpath, bounded=False, autocrop=True)):
        with pytest.raises(OutOfBoundsError):
            volume.exists(np.s_[-6:0])
        with pytest.raises(OutOfBoundsError):
            volume.delete(np.s_[-21:11])


def test_another_mip(tmp_path):
    volume = empty(tmp_path / "v", max_mip=1)
    volume.upload((), 1, mip=1)
    assert volume.exists().num_present == 0
    assert volume.exists((), 1).num_missing == 0
    assert (volume.has_data(), volume.has_data(1), volume.has_data((8, 8, 40))) == (False, True, True)
    assert volume.image.has_data(1)
    volume.mip = 1
    assert volume.has_data()
    assert next(iter(volume.exists())).startswith("8_8_40/")
    with pytest.raises(ScaleUnavailableError):
        volume.has_data(2)
    with pytest.raises(ScaleUnavailableError):
        volume.exists((), 7)


def test_deletion_needs_whole_chunks(holed):
    before = holed.exists().num_present
    for box in (np.s_[-5:10], np.s_[0:11], Bbox((-5, 7, 100), (11, 23, 109))):
        with pytest.raises(AlignmentError, match="nearest"):
            holed.delete(box)
    assert holed.exists().num_present == before
    holed.delete(Bbox((11, 7, 100), (32, 37, 108)))
    assert holed.exists().num_present == before - 4


def test_deletion_of_another_mip(tmp_path):
    volume, _ = make(tmp_path / "v", max_mip=1)
    volume.upload((), 1, mip=1)
    volume.delete((), 1)
    assert (volume.has_data(0), volume.has_data(1)) == (True, False)


def test_no_chunk_is_downloaded(holed, way, monkeypatch):
    asked = []
    store = holed.array().objects._base
    read = store.read

    def watched(key, start=None, stop=None):
        asked.append((start, stop))
        return read(key, start, stop)

    monkeypatch.setattr(store, "read", watched)
    holed.exists()
    holed.has_data()
    assert set(asked) <= {(0, 0)}


def test_stray_files_are_no_chunks(tmp_path, way):
    volume = empty(tmp_path / "v")
    folder = tmp_path / "v" / "4_4_40"
    folder.mkdir()
    (folder / "README.txt").write_text("hello")
    (folder / "-5-11_7-23_100-108.__lock").write_text("")
    (folder / "-5-11_7-23_100-108.tmp").write_text("")
    assert volume.exists().num_present == 0


def test_large_reports_are_quick(tmp_path):
    volume = empty(tmp_path / "v", shape=(6400, 6400, 64), offset=(0, 0, 0), chunk=(64, 64, 64))
    volume[:64, :64] = 1
    report = volume.exists()
    assert (report.total, report.num_present) == (10000, 1)


def test_pictures_and_texts(holed, tmp_path):
    report = holed.exists()
    picture = report.plot(tmp_path / "plot.png")
    assert picture.size[0] * 2 == picture.size[1] * 3
    assert (tmp_path / "plot.png").stat().st_size > 50
    pixels = np.asarray(picture)
    assert pixels[1, 1].tolist() != pixels[1, -1].tolist(), "the column with the hole looks different"
    assert "16 of 18" in repr(report)
    assert "<img" in report._repr_html_()
    assert report.to_json()["missing"] == report.missing
