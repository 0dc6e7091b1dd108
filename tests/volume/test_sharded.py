"""Volumes whose chunks live in shards."""

import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorstore as ts

from tests.volume.sample import empty, files, make, voxels
from volumekit import Bbox, Volume
from volumekit.codecs import CODECS
from volumekit.engine.array import LevelArray
from volumekit.engine.watched import Watched
from volumekit.errors import (
    CorruptChunkError,
    MissingChunkError,
    NoSpaceError,
    OptionError,
    OutOfBoundsError,
    UnsupportedError,
)
from volumekit.model.sharding import SHARDED
from volumekit.storage.wrap import CountedStore, FaultyStore

SHAPE, CHUNK, OFFSET = (70, 50, 30), (16, 16, 8), (-5, 7, 100)
PLAIN = {"preshift_bits": 1, "hash": "identity", "minishard_bits": 2, "shard_bits": 5}
GZIPPED = {**PLAIN, "minishard_index_encoding": "gzip", "data_encoding": "gzip"}
HASHED = {**PLAIN, "hash": "murmurhash3_x86_128", "shard_bits": 2}
SHARDINGS = {"plain": PLAIN, "gzip": GZIPPED, "murmur": HASHED, "one": {**PLAIN, "preshift_bits": 9, "shard_bits": 0}}
KINDS = [("raw", "uint16"), ("compressed_segmentation", "uint32"), ("png", "uint8")]


def sharded(path, sharding=PLAIN, **how):
    array = voxels(SHAPE, dtype=how.pop("dtype", "uint16"))
    return make(path, array=array, chunk=CHUNK, offset=OFFSET, sharding=sharding, **how)


def through(volume, wrap):
    """Let a volume use its store through a wrapper; return that."""
    volume._store = wrap(volume._store)
    volume._forget()
    return volume._store


def theirs(path):
    return ts.open({"driver": "neuroglancer_precomputed", "kvstore": f"file://{path}/"}).result()


@pytest.mark.parametrize("sharding", SHARDINGS)
@pytest.mark.parametrize(("encoding", "dtype"), KINDS)
def test_tensorstore_and_we_read_each_other(tmp_path, sharding, encoding, dtype, rng):
    volume, array = sharded(tmp_path / "v", SHARDINGS[sharding], encoding=encoding, dtype=dtype)
    assert all(name.endswith((".shard", "info", "provenance")) for name in files(tmp_path / "v"))
    np.testing.assert_array_equal(theirs(tmp_path / "v").read().result(), array)
    volume.non_aligned_writes = True
    for turn in range(4):
        low = rng.integers(0, np.array(SHAPE) - 20)
        box = Bbox(low + OFFSET, low + OFFSET + rng.integers(1, 20, 3))
        part = rng.integers(0, 200, (*box.size3(), 1)).astype(dtype)
        array[tuple(slice(a - o, b - o) for a, b, o in zip(box.minpt, box.maxpt, OFFSET, strict=True))] = part
        if turn % 2:
            volume[box] = part
        else:
            theirs(tmp_path / "v")[tuple(box.to_slices())].write(part).result()
        np.testing.assert_array_equal(volume[:], array)
        np.testing.assert_array_equal(theirs(tmp_path / "v").read().result(), array)


@pytest.mark.parametrize("sharding", SHARDINGS)
@pytest.mark.parametrize("encoding", ["raw", "png", "jpeg"])
def test_missing_chunks_are_no_zeros(tmp_path, sharding, encoding):
    """TensorStore's driver would read zeros there, whatever it is told."""
    volume, array = sharded(tmp_path / "v", SHARDINGS[sharding], encoding=encoding, dtype="uint8")
    hole, rest = np.s_[11:27, 23:39, 100:108], np.s_[27:59, 7:57, 100:130]
    volume.delete(hole)
    for box in (hole, np.s_[:, :, :], np.s_[26:28, 30:31, 107:110], np.s_[20, 30, 101]):
        with pytest.raises(MissingChunkError, match="11-27_23-39_100-108"):
            Volume(volume.cloudpath)[box]
    with pytest.raises(MissingChunkError):
        volume.points([[11, 23, 100], [30, 30, 110]])
    filled = Volume(volume.cloudpath, fill_missing=True, background_color=9)
    assert (filled[hole] == 9).all()
    assert (filled[:][16:32, 16:32, :8] == 9).all()
    if encoding != "jpeg":
        np.testing.assert_array_equal(volume[rest], array[32:64, :, :])


@pytest.mark.parametrize("way", ["read", "read_now"])
def test_a_shard_that_disappears_while_it_is_read(tmp_path, monkeypatch, way):
    """What TensorStore reads counts only if the shard is the one whose index said that all is there."""
    volume, array = sharded(tmp_path / "v")
    volume[:]
    read, hole = getattr(Watched, way), np.s_[11:27, 23:39, 100:108]

    def delete_first(self, keys, start):
        def late(native):
            monkeypatch.undo()
            Volume(volume.cloudpath).delete(hole)
            return start(native)

        return read(self, keys, late)

    def disturb():
        monkeypatch.setattr(Watched, way, delete_first)
        if way == "read":
            monkeypatch.setattr(LevelArray, "read_now", lambda *_: None)

    disturb()
    with pytest.raises(MissingChunkError):
        volume[hole]
    volume[hole] = array[16:32, 16:32, :8]
    disturb()
    assert (Volume(volume.cloudpath, fill_missing=True, background_color=5)[hole] == 5).all()


def test_tensorstore_is_used_where_it_is_right(tmp_path):
    """Which way was taken shows in nothing but time; so look inside."""
    used = {}
    for name, (sharding, encoding) in {
        "raw": (PLAIN, "raw"), "raw, gzip": (GZIPPED, "raw"), "png, gzip": (GZIPPED, "png"),
    }.items():  # fmt: skip
        volume, _ = sharded(tmp_path / name, sharding, encoding=encoding, dtype="uint8")
        used[name] = volume.array()._watched is not None
    assert used == {"raw": True, "raw, gzip": False, "png, gzip": True}


def test_reports_and_deletion_read_indices_only(tmp_path):
    volume, _ = sharded(tmp_path / "v")
    counted = through(volume, CountedStore)
    assert volume.exists().num_missing == 0
    assert counted.counts.bytes_read < 100 * 100
    assert counted.counts.lists == 0
    before = counted.counts.reads
    assert volume.exists(np.s_[0:20, 10:30, 100:110]).total == 8
    assert counted.counts.reads <= before + 1, "all of it is in one shard, whose index is known"
    volume.delete(np.s_[-5:27, 7:39, 100:116])
    report = volume.exists()
    assert report.num_missing == 8
    assert report.bounds_of(report.missing)[0] == Bbox((-5, 7, 100), (11, 23, 108))
    assert counted.counts.writes + counted.counts.deletes == 1


def test_deleting_all(tmp_path):
    volume, array = sharded(tmp_path / "v", GZIPPED)
    assert volume.has_data()
    volume.delete(())
    assert not volume.has_data()
    assert files(tmp_path / "v") == {"info", "provenance"}
    volume[:] = array
    np.testing.assert_array_equal(volume[:], array)


def test_a_whole_shard_is_written_once(tmp_path):
    volume = empty(tmp_path / "v", shape=SHAPE, chunk=CHUNK, offset=OFFSET, sharding=PLAIN)
    counted = through(volume, CountedStore)
    volume[:] = voxels(SHAPE)
    assert counted.counts.writes == len(list(volume.shard_boxes()))


def test_boxes_of_shards(tmp_path):
    volume, _ = sharded(tmp_path / "v", max_mip=1)
    assert volume.is_sharded()
    assert volume.shard_shape().tolist() == [32, 32, 16]
    boxes = list(volume.shard_boxes())
    assert len(boxes) == len([name for name in files(tmp_path / "v") if name.endswith(".shard")]) == 12
    marked = np.zeros(SHAPE, int)
    for box in boxes:
        marked[tuple(slice(int(a) - o, int(b) - o) for a, b, o in zip(box.minpt, box.maxpt, OFFSET, strict=True))] += 1
    assert (marked == 1).all()
    assert list(volume.shard_boxes(np.s_[26:28, 39, 129])) == [
        Bbox((-5, 39, 116), (27, 57, 130)),
        Bbox((27, 39, 116), (59, 57, 130)),
    ]
    assert len(list(volume.shard_boxes(mip=1))) == 4
    with pytest.raises(OutOfBoundsError):
        volume.shard_boxes(np.s_[0:500, :, :])


def test_boxes_of_other_volumes(tmp_path):
    plain, _ = make(tmp_path / "plain")
    assert not plain.is_sharded()
    assert plain.shard_shape().tolist() == list(plain.chunk_size)
    assert len(list(plain.shard_boxes())) == plain.exists().total
    hashed, _ = sharded(tmp_path / "hashed", HASHED)
    for ask in (hashed.shard_shape, hashed.shard_boxes):
        with pytest.raises(UnsupportedError, match="scattered"):
            ask()


def test_writers_side_by_side_write_each_file_once(tmp_path):
    volume = empty(tmp_path / "v", shape=SHAPE, chunk=CHUNK, offset=OFFSET, sharding=GZIPPED)
    array = voxels(SHAPE)

    def write(box):
        at = tuple(slice(int(a) - o, int(b) - o) for a, b, o in zip(box.minpt, box.maxpt, OFFSET, strict=True))
        Volume(volume.cloudpath)[box] = array[at]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, volume.shard_boxes()))
    np.testing.assert_array_equal(volume[:], array)


@pytest.mark.parametrize("shared", [True, False])
def test_threads_write_chunks_of_the_same_shards(tmp_path, shared):
    volume = empty(tmp_path / "v", shape=SHAPE, chunk=CHUNK, offset=OFFSET, sharding=SHARDINGS["one"])
    array, names = voxels(SHAPE), list(volume.exists())
    boxes = volume.exists().bounds_of(names)

    def write(box):
        at = tuple(slice(int(a) - o, int(b) - o) for a, b, o in zip(box.minpt, box.maxpt, OFFSET, strict=True))
        (volume if shared else Volume(volume.cloudpath))[box] = array[at]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, boxes[:: 1 if shared else 3]))
    for box in boxes[:: 1 if shared else 3]:
        at = tuple(slice(int(a) - o, int(b) - o) for a, b, o in zip(box.minpt, box.maxpt, OFFSET, strict=True))
        np.testing.assert_array_equal(volume[box], array[at])


def test_points(tmp_path, rng):
    volume, array = sharded(tmp_path / "v", GZIPPED, non_aligned_writes=True)
    points = rng.integers(0, SHAPE, (200, 3))
    volume[tuple((points + OFFSET).T)] = np.arange(200, dtype=np.uint16)[:, None]
    for point, n in zip(points, range(200), strict=True):
        array[tuple(point)] = n
    np.testing.assert_array_equal(volume[:], array)
    np.testing.assert_array_equal(volume.points(points + OFFSET), array[tuple(points.T)])
    np.testing.assert_array_equal(theirs(tmp_path / "v").read().result(), array)


@pytest.mark.parametrize("lru_bytes", [0, 10**7])
def test_a_memory_cache_changes_nothing(tmp_path, lru_bytes):
    volume, array = sharded(tmp_path / "v", lru_bytes=lru_bytes)
    other = Volume(volume.cloudpath)
    for n in range(3):
        np.testing.assert_array_equal(volume[:], array)
        array[:16, :16, :8] = n
        other[-5:11, 7:23, 100:108] = n
    volume.delete(np.s_[-5:11, 7:23, 100:108])
    with pytest.raises(MissingChunkError):
        volume[:]


def test_a_new_dataset_in_the_place_of_another(tmp_path):
    """Neither shards nor chunks of the old one show through, however differently it was stored."""
    path, array = tmp_path / "v", voxels(SHAPE)
    for n, (old, new) in enumerate(itertools.permutations([False, PLAIN, HASHED, {**PLAIN, "shard_bits": 9}], 2)):
        layout = {"chunk_size": CHUNK, "overwrite": True}
        Volume.from_numpy(array, path, sharding=old, **layout)
        volume = Volume.from_numpy(array[:20, :20, :20] + n, path, sharding=new, **layout)
        np.testing.assert_array_equal(volume[:], array[:20, :20, :20] + n)
        names = {name for name in files(path) if "/" in name}
        assert all(name.endswith(".shard") == bool(new) for name in names)
        assert volume.exists().num_missing == 0


def test_creation(tmp_path):
    info = Volume.create_new_info(
        1, "image", "uint8", "raw", (4, 4, 40), (0, 0, 0), (1000, 1000, 500), chunk_size=(64, 64, 64), max_mip=3,
        sharding=True,
    )  # fmt: skip
    names = ("preshift_bits", "minishard_bits", "shard_bits")
    bits = [[scale["sharding"][name] for name in names] for scale in info["scales"]]
    assert bits == [[8, 0, 3], [8, 0, 1], [8, 0, 0], [8, 0, 0]]
    volume = Volume(tmp_path / "v", info=info)
    assert [volume.shard_shape(mip).tolist() for mip in (0, 3)] == [[512, 512, 256], [128, 128, 512]]
    plain = volume.add_scale((16, 16, 1), sharding=False)
    assert "sharding" not in plain
    given = volume.add_scale((32, 32, 1), sharding={k: v for k, v in PLAIN.items() if k != "@type"})
    assert given["sharding"] == {"@type": SHARDED, **PLAIN}
    assert "sharding" in volume.add_scale((64, 64, 1))
    assert volume.add_scale((2, 2, 2), sharding=True)["sharding"]["data_encoding"] == "gzip"
    volume.commit_info()
    assert Volume(tmp_path / "v").info == volume.info


@pytest.mark.parametrize(
    "sharding", [{"hash": "identity"}, {**PLAIN, "shard_bits": 99}, {**PLAIN, "@type": "other"}, 7, "yes", [1]]
)
def test_impossible_shardings_are_refused(tmp_path, sharding):
    with pytest.raises(OptionError, match="shard"):
        empty(tmp_path / "v", sharding=sharding)
    volume = empty(tmp_path / "w")
    with pytest.raises(OptionError, match="shard"):
        volume.add_scale((2, 2, 2), sharding=sharding)


def test_unknown_and_damaged_shardings_spoil_only_their_scale(tmp_path):
    volume, array = sharded(tmp_path / "v", max_mip=2)
    info = volume.info
    info["scales"][1]["sharding"] = {"@type": "neuroglancer_uint128_sharded_v2", "bits": 5}
    info["scales"][2]["sharding"]["minishard_bits"] = 99
    (tmp_path / "v" / "info").write_text(__import__("json").dumps(info))
    again = Volume(volume.cloudpath)
    np.testing.assert_array_equal(again[:], array)
    with pytest.raises(UnsupportedError, match="uint128"):
        again.download((), 1)
    with pytest.raises(ValueError, match="minishard_bits"):
        again.download((), 2)


def test_pickles(tmp_path):
    volume, array = sharded(tmp_path / "v")
    again = pickle.loads(pickle.dumps(volume))
    np.testing.assert_array_equal(again[:], array)


def test_errors_name_shard_url_and_box(tmp_path):
    volume, _ = sharded(tmp_path / "v", encoding="png", dtype="uint8")
    shard = tmp_path / "v" / "4_4_40" / volume.array().objects.group("4_4_40/-5-11_7-23_100-108").rpartition("/")[2]
    shard.write_bytes(b"no shard")
    for look in (lambda: volume[0:2, 8:10, 101], volume.exists, volume.has_data):
        with pytest.raises(CorruptChunkError, match=shard.name) as caught:
            look()
        assert caught.value.key == f"4_4_40/{shard.name}"
        assert caught.value.url is not None
    with pytest.raises(CorruptChunkError) as caught:
        volume[0:2, 8:10, 101]
    assert caught.value.box == Bbox((0, 8, 101), (2, 10, 102))


def test_failed_writes_tell_what_landed(tmp_path):
    volume = empty(tmp_path / "v", shape=SHAPE, chunk=CHUNK, offset=OFFSET, sharding=PLAIN)
    seen = itertools.count()

    def fault(operation, key):
        return NoSpaceError("full", url="here") if operation == "write" and next(seen) == 5 else None

    through(volume, lambda store: FaultyStore(store, fault))
    with pytest.raises(NoSpaceError) as caught:
        volume[:] = 7
    landed, unknown = caught.value.landed, caught.value.unknown
    assert landed
    assert unknown
    for box in landed:
        assert (volume[box] == 7).all()
    assert any(volume.exists(box).num_missing for box in unknown)


@pytest.mark.parametrize("sharding", ["plain", "gzip", "murmur"])
def test_over_http(tmp_path, web, sharding):
    _, array = sharded(tmp_path / "v", SHARDINGS[sharding])
    for path in (tmp_path / "v").rglob("*"):
        if path.is_file():
            web.objects[f"v/{path.relative_to(tmp_path / 'v')}"] = path.read_bytes()
    far = Volume(f"precomputed://{web.url}/v")
    np.testing.assert_array_equal(far[:], array)
    np.testing.assert_array_equal(far[0:20, 10:30, 105:120], array[5:25, 3:23, 5:20])
    assert far.exists().num_missing == 0
    assert far.has_data()
    del web.objects[next(name for name in sorted(web.objects) if name.endswith(".shard"))]
    assert far.exists().num_missing > 0
    with pytest.raises(MissingChunkError):
        far[:]
    filled = Volume(f"precomputed://{web.url}/v", fill_missing=True)[:]
    assert (filled == 0).any()
    assert ((filled == 0) | (filled == array)).all()


def test_on_s3(quick_bucket):
    """Conditional writes and ranges of a real protocol; writers that interleave planes lose none."""
    volume, array = sharded(f"{quick_bucket}/v", GZIPPED, non_aligned_writes=True)
    np.testing.assert_array_equal(volume[:], array)

    def write(z):
        Volume(volume.cloudpath, non_aligned_writes=True)[:, :, z] = z

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(100, 112)))
    array[:, :, :12] = np.arange(100, 112)[:, None]
    np.testing.assert_array_equal(volume[:], array)
    volume.delete(np.s_[-5:27, 7:39, 100:116])
    assert volume.exists().num_missing == 8


def test_behind_a_disk_cache(tmp_path, web):
    """Chunks are kept one by one, whatever the far volume packs them into."""
    _, array = sharded(tmp_path / "v", GZIPPED)
    for path in (tmp_path / "v").rglob("*"):
        if path.is_file():
            web.objects[f"v/{path.relative_to(tmp_path / 'v')}"] = path.read_bytes()
    far = Volume(f"precomputed://{web.url}/v", cache=str(tmp_path / "cache"))
    np.testing.assert_array_equal(far[:], array)
    before = len(web.requests)
    np.testing.assert_array_equal(far[:], array)
    assert len(web.requests) == before
    assert far.exists().num_missing == 0
    assert not [name for name in files(tmp_path / "cache") if name.endswith(".shard")]


def test_transfers(tmp_path):
    """Chunks move between shards and files, and between shards of different kinds, as they are."""
    volume, array = sharded(tmp_path / "v", GZIPPED, encoding="png", dtype="uint8")
    for name, sharding in {"files": False, "shards": HASHED}.items():
        info = volume.copy_info()
        info["scales"][0].pop("sharding")
        if sharding:
            info["scales"][0]["sharding"] = {"@type": SHARDED, **sharding}
        Volume(tmp_path / name, info=info).commit_info()
        volume.transfer_to(tmp_path / name, volume.bounds)
        np.testing.assert_array_equal(Volume(tmp_path / name)[:], array)
        assert Volume(tmp_path / name).is_sharded() == bool(sharding)


FITTING = {
    "uint8": ("raw", "jpeg", "png", "jxl", "npz"),
    "uint32": ("compressed_segmentation", "compresso", "crackle"),
    "float32": ("fpzip", "kempressed", "zfpc", "npz_uint8"),
}
"""Data types, and encodings that hold them."""


@pytest.mark.parametrize("encoding", list(CODECS))
@pytest.mark.parametrize("sharding", ["plain", "gzip"])
def test_every_encoding(tmp_path, encoding, sharding):
    """Chunks in shards are the very chunks that files hold, and merge as those do."""
    (dtype,) = [dtype for dtype, encodings in FITTING.items() if encoding in encodings]
    array = (np.indices(SHAPE).sum(axis=0)[..., None] % 200).astype(dtype)
    if encoding == "npz_uint8":
        array /= 255
    both = []
    for name, how in {"files": False, "shards": SHARDINGS[sharding]}.items():
        volume, _ = make(
            tmp_path / name, array=array, chunk=CHUNK, offset=OFFSET, sharding=how, encoding=encoding,
            non_aligned_writes=True,
        )  # fmt: skip
        volume[3:20, 10:40, 107:109] = array.dtype.type(1)
        both.append(volume)
    files, shards = both
    np.testing.assert_allclose(shards[:], files[:], atol=24 if encoding == "jpeg" else 0)
    keys = list(shards.exists())
    assert keys == list(files.exists())
    for key in keys if files.array()._native is None else ():  # TensorStore encodes differently
        assert shards.array().objects.peek(key).data == files.array().objects.peek(key).data
    shards.delete(np.s_[11:27, 23:39, 100:108])
    with pytest.raises(MissingChunkError):
        shards[12, 25, 103]
