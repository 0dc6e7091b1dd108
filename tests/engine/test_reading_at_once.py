"""Small boxes that TensorStore reads in one go, and those that it is better not asked for."""

import numpy as np
import pytest

from volumekit import Volume
from volumekit.engine import array as engine
from volumekit.errors import CorruptChunkError, MissingChunkError, OutOfBoundsError

DATA = np.random.default_rng(0).integers(1, 200, (20, 18, 16, 2)).astype("u2")
LOW, HIGH = (10, 0, 0, 0), (30, 18, 16, 2)
SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", "preshift_bits": 1, "minishard_bits": 1,
    "shard_bits": 0, "minishard_index_encoding": "gzip", "data_encoding": "raw",
}  # fmt: skip


def volume(path, **how):
    how = {"chunk_size": (8, 8, 8), "voxel_offset": (10, 0, 0), **how}
    return Volume.from_numpy(DATA, path, compress=None, **how)


LAYOUTS = [{}, {"format": "zarr"}, {"format": "n5"}, {"format": "zarr", "shard": (16, 16, 16)}, {"sharding": SHARDING}]


@pytest.mark.parametrize("how", LAYOUTS, ids=str)
def test_what_is_read_at_once_is_what_is_read(tmp_path, how):
    array = volume(tmp_path, **how).array()
    for low, high in ((LOW, HIGH), ((11, 2, 3, 1), (29, 3, 9, 2))):
        inside = tuple(slice(a - o, b - o) for a, b, o in zip(low, high, LOW, strict=True))
        now, twin = array.read_now(low, high), array.empty(tuple(b - a for a, b in zip(low, high, strict=True)))
        np.testing.assert_array_equal(now, DATA[inside])
        assert (now.dtype, now.flags.f_contiguous) == (twin.dtype, twin.flags.f_contiguous)
        now[...] = 1


def test_one_channel(tmp_path):
    array = Volume.from_numpy(DATA[..., :1], tmp_path, chunk_size=(8, 8, 8), voxel_offset=(10, 0, 0)).array()
    np.testing.assert_array_equal(array.read_now(LOW, (*HIGH[:3], 1)), DATA[..., :1])
    for low, high in ((LOW, HIGH), ((*LOW[:3], 1), HIGH), ((*LOW[:3], -1), (*HIGH[:3], 1))):
        assert array.read_now(low, high) is None


def test_what_is_not_read_at_once(tmp_path, monkeypatch):
    array = volume(tmp_path).array()
    assert array.read_now(LOW, HIGH, (1, 2, 1, 1)) is None
    assert array.read_now(LOW, (31, 18, 16, 2)) is None
    assert array.read_now((9, 0, 0, 0), HIGH) is None
    assert array.read_now(LOW, (10, 18, 16, 2)) is None
    assert array.read_now(LOW, (9, 18, 16, 2)) is None
    assert array.read_now(LOW, HIGH) is not None
    for chosen, name in ((volume(tmp_path / "far").array(), "near"), (volume(tmp_path / "big").array(), "size")):
        if name == "near":
            chosen.store.near = False
        else:
            monkeypatch.setattr(engine, "QUICK_BYTES", DATA.nbytes - 1)
        assert chosen.read_now(LOW, HIGH) is None


def test_compressed_chunks_come_another_way(tmp_path):
    one = volume(tmp_path)
    assert one.array().read_now(LOW, HIGH) is not None
    Volume(tmp_path, compress="gzip")[...] = DATA + 1
    assert one.array().read_now(LOW, HIGH) is None
    np.testing.assert_array_equal(one[...], DATA + 1)
    np.testing.assert_array_equal(one[10:20, 0:5, 0:5], DATA[:10, :5, :5] + 1)


def test_missing_and_damaged_chunks_are_told_of(tmp_path):
    one = volume(tmp_path)
    (chunk,) = tmp_path.rglob("18-26_0-8_0-8")
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:9])
    with pytest.raises(CorruptChunkError, match="18-26_0-8_0-8"):
        one[19:21, 1:3, 1:3]
    chunk.unlink()
    with pytest.raises(MissingChunkError):
        one[19:21, 1:3, 1:3]
    assert not Volume(tmp_path, fill_missing=True)[19:21, 1:3, 1:3].any()
    chunk.write_bytes(whole)
    np.testing.assert_array_equal(one[19:21, 1:3, 1:3], DATA[9:11, 1:3, 1:3])
    assert one.array().read_now(LOW, HIGH) is None, "what failed once is not tried again"


def test_shards_are_watched(tmp_path):
    """What TensorStore takes for zeros is never returned, and another writer's changes are seen."""
    one = volume(tmp_path, sharding=SHARDING)
    assert one.array().read_now(LOW, HIGH) is not None
    other = Volume(tmp_path)
    other[10:18, 0:8, 0:8] = 9
    assert (one[10:18, 0:8, 0:8] == 9).all()
    other.delete(np.s_[10:18, 0:8, 0:8])
    assert one.array().read_now(LOW, HIGH) is None
    with pytest.raises(MissingChunkError):
        one[17:19, 1:3, 1:3]
    assert not Volume(tmp_path, fill_missing=True)[10:18, 0:8, 0:8].any()
    np.testing.assert_array_equal(one[18:30, 0:8, 0:8], DATA[8:, :8, :8])
    assert one.array().read_now((18, 0, 0, 0), HIGH) is not None
    (shard,) = tmp_path.rglob("*.shard")
    shard.write_bytes(shard.read_bytes()[:9])
    assert one.array().read_now((18, 0, 0, 0), HIGH) is None
    with pytest.raises(CorruptChunkError, match="shard"):
        one[18:30, 0:8, 0:8]
    assert Volume(tmp_path, lru_bytes=1000).array().read_now(LOW, HIGH) is None


def test_a_shard_that_changes_while_it_is_read(tmp_path):
    array, other = volume(tmp_path, sharding=SHARDING).array(), Volume(tmp_path)
    keys, watched = list(array.keys_between(LOW, HIGH)), array._watched

    def read(store):
        other[10:18, 0:8, 0:8] = 9
        return store[...].read()

    assert watched.read_now(keys, read) is None
    assert (watched.read_now(keys, lambda store: store[10:18, :8, :8].read()) == 9).all()
    assert None not in array.objects.seen(keys)
    assert watched.read_now(keys, read) is None, "nor when all its chunks were seen before"


def test_boxes_outside(tmp_path):
    volume(tmp_path)
    with pytest.raises(OutOfBoundsError):
        Volume(tmp_path)[9:12, 0:2, 0:2]
    out = Volume(tmp_path, bounded=False, background_color=7)[8:12, 0:2, 0:2]
    np.testing.assert_array_equal(out[:2], np.full((2, 2, 2, 2), 7))
    np.testing.assert_array_equal(out[2:], DATA[:2, :2, :2])
