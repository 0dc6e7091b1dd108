"""A volume as a zarr store."""

import asyncio
import json
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import dask.array as da
import numpy as np
import ome_zarr_models
import pytest
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

import volumekit
from tests.volume.sample import CHUNK, OFFSET, empty, make
from volumekit import Volume
from volumekit.errors import CorruptChunkError, MissingChunkError, ReadOnlyError

DTYPES = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "float32"]


def zyx(array):
    """Return voxels (x, y, z, channel) as zarr shows them."""
    return array.T if array.shape[3] > 1 else array.T[0]


def get(store, key, part=None):
    buffer = sync(store.get(key, default_buffer_prototype(), part))
    return None if buffer is None else buffer.to_bytes()


def keys(names):
    async def gather():
        return [name async for name in names]

    return sync(gather())


@pytest.fixture(params=[1, 3], ids=["one channel", "three channels"])
def made(request, tmp_path):
    return make(tmp_path / "v", channels=request.param)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_data_type(tmp_path, dtype):
    volume, array = make(tmp_path / "v", dtype=dtype)
    shown = zarr.open(volume.to_zarr_store())
    assert shown.dtype == dtype
    np.testing.assert_array_equal(shown[:], zyx(array))


def test_it_is_one_array(made):
    volume, array = made
    shown = zarr.open(volume.to_zarr_store())
    assert isinstance(shown, zarr.Array)
    assert shown.read_only
    assert shown.shape == zyx(array).shape
    assert shown.chunks[-3:] == CHUNK[::-1]
    assert shown.metadata.dimension_names == ("c", "z", "y", "x")[4 - shown.ndim :]
    for index in (np.s_[:], np.s_[..., 3:9, ::2], np.s_[-1], np.s_[..., 18:, 17, 5]):
        np.testing.assert_array_equal(shown[index], zyx(array)[index])
    np.testing.assert_array_equal(shown.oindex[..., [3, 30, 1]], zyx(array)[..., [3, 30, 1]])


def test_where_it_lies(made):
    volume, _ = made
    told = zarr.open(volume.to_zarr_store()).attrs["volumekit"]
    assert told["url"] == volume.cloudpath
    assert told["voxel_offset"][-3:] == list(OFFSET)[::-1]
    assert told["scale"][-3:] == [40.0, 4.0, 4.0]
    assert told["translation"][-3:] == [4020.0, 30.0, -18.0]


def test_the_mip_it_was_made_of(tmp_path):
    make(tmp_path / "v", dtype="uint8")
    volumekit.downsample(tmp_path / "v", mips=2)
    volume = Volume(tmp_path / "v", mip=2)
    store = volume.to_zarr_store()
    volume.mip, volume.fill_missing = 0, False
    np.testing.assert_array_equal(zarr.open(store)[:], zyx(np.asarray(Volume(tmp_path / "v", mip=2))))


@pytest.mark.parametrize("encoding", ["jpeg", "png", "compressed_segmentation"])
def test_encoded_chunks(tmp_path, encoding):
    dtype = "uint32" if encoding == "compressed_segmentation" else "uint8"
    volume, _ = make(tmp_path / "v", dtype=dtype, encoding=encoding, compress="gzip")
    np.testing.assert_array_equal(zarr.open(volume.to_zarr_store())[:], zyx(np.asarray(volume)))


def test_chunks_are_full_size(made):
    volume, array = made
    store = volume.to_zarr_store()
    last = "c/0/2/1/2" if array.shape[3] > 1 else "c/2/1/2"
    chunk = np.frombuffer(get(store, last), "<u2").reshape(*array.shape[3:], *CHUNK[::-1])
    np.testing.assert_array_equal(chunk[:, :3, :14, :5], array.T[:, 16:, 16:, 32:])
    assert not chunk[:, 3:].any()
    assert not chunk[:, :, 14:].any()
    assert not chunk[..., 5:].any()


def test_missing_chunks(tmp_path):
    volume, array = make(tmp_path / "v")
    volume.delete(np.s_[11:27, 7:23, 100:108])
    array[16:32, :16, :8] = 9
    store = Volume(volume.cloudpath, fill_missing=True, background_color=9).to_zarr_store()
    shown = zarr.open(store)
    assert shown.fill_value == 9
    np.testing.assert_array_equal(shown[:], zyx(array))
    assert get(store, "c/0/0/1") is None
    assert not sync(store.exists("c/0/0/1"))
    assert sync(store.exists("c/0/0/0"))
    assert shown.nchunks_initialized == shown.nchunks - 1


@pytest.mark.parametrize("fill_missing", [None, False, True])
@pytest.mark.parametrize("multiscale", [False, True])
@pytest.mark.parametrize("name", ["v", "v.zarr", "v.n5"])
def test_missing_chunks_are_what_they_are_for_the_volume(tmp_path, name, multiscale, fill_missing):
    """An error of precomputed and the fill value of zarr and N5, unless the volume was told otherwise."""
    volumekit.convert(np.ones((16, 16, 16), np.uint8), tmp_path / name, chunk_size=8, mips=1)
    Volume(tmp_path / name).delete(np.s_[:8, :8, :8])
    volume = Volume(tmp_path / name, fill_missing=fill_missing)
    opened = zarr.open(volume.to_zarr_store(multiscale=multiscale))
    shown = opened["0"] if multiscale else opened
    if fill_missing or (fill_missing is None and name != "v"):
        np.testing.assert_array_equal(shown[:], zyx(np.asarray(volume)))
        assert not shown[:8, :8, :8].any()
    else:
        for read in (lambda: shown[:], lambda: np.asarray(volume)):
            with pytest.raises(MissingChunkError, match="fill_missing=True"):
                read()
    assert (shown[8:] == 1).all()


@pytest.mark.parametrize("background", [float("nan"), float("inf"), -float("inf"), 2.5])
def test_fill_values_of_floats(tmp_path, background):
    volume = empty(tmp_path / "v", dtype="float32", background_color=background, fill_missing=True)
    np.testing.assert_array_equal(zarr.open(volume.to_zarr_store())[:2], np.float32(background))


def test_damaged_chunks_are_errors(tmp_path):
    volume, _ = make(tmp_path / "v", encoding="png", dtype="uint8")
    chunk = next((tmp_path / "v" / "4_4_40").iterdir())
    chunk.write_bytes(chunk.read_bytes()[:40])
    with pytest.raises(CorruptChunkError, match=chunk.name):
        zarr.open(volume.to_zarr_store())[:]


@pytest.mark.parametrize("multiscale", [False, True])
def test_keys(tmp_path, multiscale):
    make(tmp_path / "v", channels=3, dtype="uint8")
    volumekit.downsample(tmp_path / "v", mips=1)
    (tmp_path / "v" / "4_4_40" / "note.txt").write_text("no chunk")
    store = Volume(tmp_path / "v").to_zarr_store(multiscale=multiscale)
    listed = keys(store.list())
    assert len(set(listed)) == len(listed) == (1 + 3 * 2 * 3 + (1 + 1 + 2 * 1 * 2 if multiscale else 0))
    for key in listed:
        assert sync(store.exists(key))
        assert get(store, key) is not None
    for prefix in {key[:n] for key in listed for n in range(0, len(key), 3)}:
        assert sorted(keys(store.list_prefix(prefix))) == sorted(k for k in listed if k.startswith(prefix))
        if prefix == "" or prefix.endswith("/"):
            below = {key[len(prefix) :].partition("/")[0] for key in listed if key.startswith(prefix)}
            assert set(keys(store.list_dir(prefix))) == set(keys(store.list_dir(prefix.rstrip("/")))) == below


@pytest.mark.parametrize(
    "key", ["", "c", "c/", "c/0", "c/0/0", "c/0/0/0/0", "c/3/0/0", "c/0/-1/0", "c/00/0/0", "c/0/0/0/", "0/zarr.json",
            ".zarray", ".zgroup", "zarr.json/", "c/9999999999999999999999/0/0", "c/0/0/٣"]
)  # fmt: skip
@pytest.mark.parametrize("multiscale", [False, True])
def test_what_is_no_key(tmp_path, key, multiscale):
    volume, _ = make(tmp_path / "v")
    store = volume.to_zarr_store(multiscale=multiscale)
    key = f"7/{key}" if multiscale else key
    assert get(store, key) is None
    assert not sync(store.exists(key))


@pytest.mark.parametrize("key", ["zarr.json", "c/0/0/0", "c/2/1/2"])
def test_parts_of_values(tmp_path, key):
    store = make(tmp_path / "v")[0].to_zarr_store()
    whole = get(store, key)
    assert get(store, key, RangeByteRequest(3, 11)) == whole[3:11]
    assert get(store, key, RangeByteRequest(3, 10**9)) == whole[3:]
    assert get(store, key, OffsetByteRequest(5)) == whole[5:]
    assert get(store, key, SuffixByteRequest(7)) == whole[-7:]
    assert get(store, key, SuffixByteRequest(10**9)) == whole
    requests = [(key, RangeByteRequest(1, 2)), ("c/9/9/9", None)]
    part, absent = sync(store.get_partial_values(default_buffer_prototype(), requests))
    assert (part.to_bytes(), absent) == (whole[1:2], None)


def test_it_is_read_only(tmp_path):
    volume, array = make(tmp_path / "v")
    store = volume.to_zarr_store()
    shown = zarr.open(store)
    with pytest.raises(ValueError, match="read-only"):
        shown[:] = 0
    with pytest.raises(ReadOnlyError):
        store.with_read_only(False)
    assert store.with_read_only(True) is store
    for attempt in (store.set("c/0/0/0", None), store.delete("c/0/0/0"), store.set_partial_values([])):
        with pytest.raises(ValueError, match="read-only"):
            sync(attempt)
    np.testing.assert_array_equal(volume[:], array)


def test_equality(tmp_path):
    volume, _ = make(tmp_path / "v")
    other, _ = make(tmp_path / "w")
    store = volume.to_zarr_store()
    assert store == Volume(volume.cloudpath).to_zarr_store() == pickle.loads(pickle.dumps(store))
    assert store not in (other.to_zarr_store(), volume.to_zarr_store(multiscale=True), volume)
    assert "v" in repr(store)


def test_dask_reads_it(made):
    volume, array = made
    lazy = da.from_zarr(volume.to_zarr_store())
    assert lazy.name == da.from_zarr(volume.to_zarr_store()).name
    np.testing.assert_array_equal(lazy.compute(scheduler="threads"), zyx(array))
    np.testing.assert_array_equal(lazy.compute(scheduler="processes", num_workers=2), zyx(array))


def _total(shown):
    return int(shown[:].sum())


def test_threads_and_spawned_processes(made):
    volume, array = made
    shown = zarr.open(volume.to_zarr_store())
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        assert list(processes.map(_total, [shown] * 3)) == [int(array.sum(dtype=np.uint64))] * 3
    results = []
    threads = [threading.Thread(target=lambda: results.append(_total(shown))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [int(array.sum(dtype=np.uint64))] * 4


def test_in_an_event_loop_of_ones_own(made):
    volume, array = made

    async def read():
        shown = await zarr.api.asynchronous.open(store=volume.to_zarr_store())
        return await asyncio.gather(*(shown.getitem(np.s_[..., x : x + 1]) for x in range(37)))

    np.testing.assert_array_equal(np.concatenate(asyncio.run(read()), axis=-1), zyx(array))


@pytest.mark.parametrize("layer_type", ["image", "segmentation"])
@pytest.mark.parametrize("channels", [1, 3])
def test_ome_zarr(tmp_path, layer_type, channels):
    make(tmp_path / "v", channels=channels, layer_type=layer_type)
    volumekit.downsample(tmp_path / "v", factor=(2, 2, 1), mips=2)
    volume = Volume(tmp_path / "v", mip=1)
    group = zarr.open(volume.to_zarr_store(multiscale=True))
    assert list(group.array_keys()) == ["0", "1", "2"]
    for mip in range(3):
        expected = zyx(np.asarray(Volume(volume.cloudpath, mip=mip)))
        np.testing.assert_array_equal(group[str(mip)][:], expected)
    valid = ome_zarr_models.open_ome_zarr(group, version="0.5")
    assert type(valid).__name__ == ("Image" if layer_type == "image" else "ImageLabel")
    (multiscale,) = valid.ome_attributes.multiscales
    assert [axis.name for axis in multiscale.axes] == ["c", "z", "y", "x"][4 - group["0"].ndim :]
    assert {axis.unit for axis in multiscale.axes if axis.type == "space"} == {"nanometer"}
    scale, translation = multiscale.datasets[2].coordinateTransformations
    low = Volume(volume.cloudpath).mip_voxel_offset(2)
    assert scale.scale[-3:] == [40, 16, 16]
    assert translation.translation[-3:] == [(low[2] + 0.5) * 40, (low[1] + 0.5) * 16, (low[0] + 0.5) * 16]


def test_ome_zarr_leaves_out_what_cannot_be_read(tmp_path):
    volume, array = make(tmp_path / "v", max_mip=2)
    volume.info["scales"][1]["encoding"] = 7
    (tmp_path / "v" / "info").write_text(json.dumps(volume.info))
    group = zarr.open(Volume(tmp_path / "v").to_zarr_store(multiscale=True))
    assert list(group.array_keys()) == ["0", "2"]
    np.testing.assert_array_equal(group["0"][:], zyx(array))
    assert ome_zarr_models.open_ome_zarr(group, version="0.5")
