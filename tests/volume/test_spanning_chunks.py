"""Arrays whose chunks hold several positions of a fixed axis: one position is written, the others stay."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numcodecs
import numpy as np
import pytest
import zarr

from benchmarks.campaigns import interleaved_positions
from benchmarks.campaigns.side_by_side import WRITERS
from volumekit import Volume
from volumekit.errors import AlignmentError, CorruptChunkError
from volumekit.formats.arrays import ArrayFormat

pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")

SHAPE, CHUNKS = (6, 5, 9, 10), (4, 3, 4, 4)
"""t, z, y, x: the last chunk of each axis is cut."""


def v2(path, **how):
    how = {"compressor": None, "fill_value": 7, **how}
    array = zarr.create(SHAPE, chunks=CHUNKS, dtype="u2", store=path, zarr_format=2, **how)
    array.attrs["_ARRAY_DIMENSIONS"] = list("tzyx")


def v3(path, **how):
    how = {"chunks": CHUNKS, "fill_value": 7, **how}
    zarr.create_array(path, shape=SHAPE, dtype="u2", dimension_names=list("tzyx"), **how)


def n5(path, **compression):
    path.mkdir()
    attributes = {"dimensions": SHAPE[::-1], "blockSize": CHUNKS[::-1], "dataType": "uint16", "axes": list("xyzt")}
    (path / "attributes.json").write_text(json.dumps({**attributes, "compression": compression}))


def by_python(path):
    """Make an array of codecs that TensorStore lacks."""
    v3(path)
    file = path / "zarr.json"
    described = json.loads(file.read_text())
    described["codecs"] = [{"name": "bytes", "configuration": {"endian": "big"}}]
    described["codecs"].append({"name": "numcodecs.lzma", "configuration": {}})
    file.write_text(json.dumps(described))


KINDS = {
    "v2": v2,
    "v2, order F, blosc": lambda path: v2(path, order="F", compressor=numcodecs.Blosc()),
    "v2, filters": lambda path: v2(path, filters=[numcodecs.Delta("u2")], compressor=numcodecs.LZMA()),
    "v3": v3,
    "v3, lzma": by_python,
    "v3, shards": lambda path: v3(path, chunks=(2, 3, 4, 2), shards=(4, 3, 8, 4)),
    "n5": lambda path: n5(path, type="gzip"),
    "n5, lz4": lambda path: n5(path, type="lz4", blockSize=65536),
}


NATIVE = [kind for kind in KINDS if kind not in ("v2, filters", "v3, lzma", "n5, lz4")]


@pytest.fixture(params=[*((kind, "native") for kind in NATIVE), *((kind, "python") for kind in KINDS)], ids="-".join)
def place(request, tmp_path, monkeypatch):
    """Return an empty dataset, to be written by TensorStore, or by Python."""
    kind, way = request.param
    KINDS[kind](tmp_path / "a")
    if way == "python":
        monkeypatch.setattr(ArrayFormat, "native", lambda self, level: None)
    return tmp_path / "a"


def at(path, t, **how):
    return Volume(path, at={"t": t}, **how)


def voxels(seed=0):
    return np.random.default_rng(seed).integers(1, 999, SHAPE).astype("u2")


def stored(path):
    """Return all positions as others read them, (t, z, y, x)."""
    if (path / "attributes.json").exists():
        return np.stack([at(path, t)[..., 0].T for t in range(SHAPE[0])])
    return zarr.open_array(path)[...]


def fill_of(path):
    return 0 if (path / "attributes.json").exists() else 7


def test_positions_are_written_one_by_one(place):
    data, expected = voxels(), np.full(SHAPE, fill_of(place))
    for t in (3, 0, 5, 1, 4, 2):
        at(place, t)[..., 0] = data[t].T
        expected[t] = data[t]
        np.testing.assert_array_equal(stored(place), expected)


def test_parts_of_a_position_are_written(place):
    data, expected = voxels(), np.full(SHAPE, fill_of(place))
    at(place, 1)[...] = expected[1] = 5
    with pytest.raises(AlignmentError):
        at(place, 2)[1:3, :, :] = 1
    volume = at(place, 2, non_aligned_writes=True)
    volume[3:9, 2:7, 1:5, 0] = data[2].T[3:9, 2:7, 1:5]
    expected[2, 1:5, 2:7, 3:9] = data[2, 1:5, 2:7, 3:9]
    volume[[0, 9, 9], [0, 8, 0], [4, 0, 0], [0, 0, 0]] = [11, 12, 13]
    expected[2, [4, 0, 0], [0, 8, 0], [0, 9, 9]] = [11, 12, 13]
    volume[0:8:3, 0, 0, 0] = 3
    expected[2, 0, 0, 0:8:3] = 3
    np.testing.assert_array_equal(stored(place), expected)


def test_deleting_a_position_leaves_the_others(place):
    data, empty = voxels(), sorted(place.rglob("*"))
    at(place, 0)[..., 0], at(place, 2)[..., 0] = data[0].T, data[2].T
    full = sorted(place.rglob("*"))
    assert at(place, 2).exists(at(place, 2).bounds).missing == []
    at(place, 1).delete(at(place, 1).bounds)
    at(place, 2).delete(np.s_[4:8, :, 0:3])
    data[2, 0:3, :, 4:8] = fill_of(place)
    expected = np.full(SHAPE, fill_of(place))
    expected[[0, 2]] = data[[0, 2]]
    np.testing.assert_array_equal(stored(place), expected)
    assert sorted(place.rglob("*")) == full
    at(place, 2).delete(at(place, 2).bounds)
    expected[2] = fill_of(place)
    np.testing.assert_array_equal(stored(place), expected)
    at(place, 0).delete(at(place, 0).bounds)
    assert [path for path in sorted(place.rglob("*")) if path.is_file()] == [p for p in empty if p.is_file()]
    at(place, 0).delete(at(place, 0).bounds)
    assert not any(at(place, 0).exists(at(place, 0).bounds).values())


def test_black_positions_are_not_stored_alone(place):
    fill = fill_of(place)
    volume = at(place, 1, delete_black_uploads=True, background_color=fill)
    volume[...] = fill
    assert not volume.has_data(0)
    at(place, 0)[...] = 3
    volume[...] = fill
    assert (at(place, 0)[...] == 3).all(), "what else is in the chunk stays"
    other = at(place, 0, delete_black_uploads=True, background_color=fill)
    other[...] = fill
    assert not other.has_data(0)


def test_a_background_of_ones_own_is_not_that_of_others(place):
    volume = at(place, 1, background_color=9, non_aligned_writes=True, delete_black_uploads=True)
    volume[0:2, 0:2, 0:2] = 5
    expected = np.full(SHAPE, fill_of(place))
    x, y, z, _ = volume.levels[0].chunk
    expected[1, 0:z, 0:y, 0:x] = 9
    expected[1, 0:2, 0:2, 0:2] = 5
    np.testing.assert_array_equal(stored(place), expected)
    volume[0:2, 0:2, 0:2] = 9
    assert (volume[...] == 9).all()


def test_positions_of_an_axis_of_one_are_whole_chunks(tmp_path):
    zarr.create_array(tmp_path, shape=(5, 4, 4, 4), chunks=(4, 4, 4, 4), dtype="u1", dimension_names=list("tzyx"))
    assert [at(tmp_path, t).levels[0].spans for t in (3, 4)] == [("t",), ()]
    at(tmp_path, 4)[...] = 8
    assert (zarr.open_array(tmp_path)[4] == 8).all()


def test_damaged_chunks_are_not_written_over(place):
    at(place, 0)[...] = 3
    (chunk, *_) = (path for path in place.rglob("*") if path.is_file() and path.name[0] not in ".az")
    for data in (chunk.read_bytes()[:5], b""):
        chunk.write_bytes(data)
        with pytest.raises(CorruptChunkError):
            at(place, 1)[...] = 4
        assert chunk.read_bytes() == data


@pytest.mark.parametrize("way", interleaved_positions.WAYS)
def test_threads_lose_nothing(tmp_path, way):
    interleaved_positions.create(str(tmp_path / "a"), way)
    start = threading.Barrier(WRITERS)
    with ThreadPoolExecutor() as pool:
        jobs = [
            pool.submit(interleaved_positions.write_positions, str(tmp_path / "a"), n, start) for n in range(WRITERS)
        ]
    assert [job.exception() for job in jobs] == [None] * len(jobs)
    assert interleaved_positions.wrong_positions(str(tmp_path / "a")) == 0


@pytest.mark.parametrize("way", ["zarr v3", "zarr v2, lzma"])
def test_processes_lose_nothing(tmp_path, way):
    interleaved_positions.create(str(tmp_path / "a"), way)
    assert interleaved_positions.lost_positions(str(tmp_path / "a")) == 0


def test_positions_in_a_disk_cache(tmp_path, monkeypatch):
    v3(tmp_path / "a")
    data = voxels()
    cached = at(tmp_path / "a", 2, cache=str(tmp_path / "cache"))
    assert (cached[...] == 7).all()
    at(tmp_path / "a", 1)[..., 0] = data[1].T
    cached[..., 0] = data[2].T
    np.testing.assert_array_equal(stored(tmp_path / "a")[1:3], data[1:3])
    np.testing.assert_array_equal(cached[..., 0], data[2].T)
