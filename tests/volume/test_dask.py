"""A volume as a dask array."""

import pickle
import sys
import threading
from dataclasses import replace

import dask
import dask.array as da
import numpy as np
import pytest
from PIL import Image

from tests.volume.sample import CHUNK, OFFSET, make
from volumekit import Volume
from volumekit.errors import InvalidIndexError, MissingChunkError, MissingExtraError, OptionError, OutOfBoundsError
from volumekit.model.level import C_ORDER
from volumekit.volume.dask import COPY_BYTES, MOST_BLOCKS, _collect
from volumekit.volume.zero_based import ZeroBased

INDICES = [
    np.s_[:],
    np.s_[3:9, ::-1, ::4],
    np.s_[-5:, 2, 3:],
    np.s_[..., 0],
    np.s_[30:2:-3, -1, :, 1:],
    np.s_[5:5],
]
FANCY = [
    np.s_[[0, -1, 0]],
    np.s_[:, [2, 1], ::-1, 0],
    np.s_[1:, np.array([], int)],
    np.s_[[0, 0], [1, -1]],
    np.s_[..., [0]],
]


@pytest.fixture(params=[1, 3], ids=["one channel", "three channels"])
def made(request, tmp_path):
    return make(tmp_path / "v", channels=request.param)


@pytest.fixture
def stack(tmp_path):
    """Return a volume whose memory order is C, and its voxels."""
    planes = np.random.default_rng(1).integers(0, 255, (5, 20, 30), np.uint8)
    for z, plane in enumerate(planes):
        Image.fromarray(plane).save(tmp_path / f"{z}.png")
    volume = Volume(tmp_path)
    volume._format.levels = (replace(volume.levels[0], order=C_ORDER),)
    return volume, planes.T[..., None]


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("chunks", ["auto", (16, 16, 8), (10, 7, 19, 1)], ids=str)
def test_it_is_the_voxels_indexed_from_0(made, index, chunks):
    volume, array = made
    lazy = volume.to_dask(chunks=chunks)
    assert (lazy.shape, lazy.dtype) == (array.shape, array.dtype)
    for read in (lazy[index].compute(), lazy[index].compute(scheduler="sync"), *dask.compute(lazy[index])):
        np.testing.assert_array_equal(read, array[index])
        assert type(read) is np.ndarray


def test_slices_of_slices(made):
    volume, array = made
    lazy = volume.to_dask(chunks=(16, 16, 8))
    for steps in (
        [np.s_[3:30, ::-1], np.s_[::-2, 4:9, 2], np.s_[1:, -1]],
        [np.s_[..., 0], np.s_[5], np.s_[::3, ::-3], np.s_[1, 2]],
        [np.s_[::-3], np.s_[::-2], np.s_[1:1]],
        [np.s_[4:20], np.s_[[3, 1, 1]], np.s_[:, 2]],
        [np.s_[4:20], np.s_[:, None], np.s_[..., 3:1:-1, :]],
        [np.s_[np.int64(3)], np.s_[np.int64(-2) :]],
    ):
        part, expected = lazy, array
        for step in steps:
            part, expected = part[step], expected[step]
            np.testing.assert_array_equal(part.compute(), expected)
            np.testing.assert_array_equal(part.compute(scheduler="sync", optimize_graph=False), expected)


@pytest.mark.parametrize("mip", [0, 1])
def test_it_is_the_mip_it_was_made_of(tmp_path, mip):
    volume, _ = make(tmp_path / "v", max_mip=1, fill_missing=True)
    volume.mip = 1
    volume[:] = 7
    volume.mip = mip
    lazy, voxels = volume.to_dask(), np.asarray(volume)
    volume.mip, volume.fill_missing, volume.background_color = 1 - mip, False, 9
    volume.info["scales"].reverse()
    np.testing.assert_array_equal(lazy.compute(), voxels)


def test_memory_order_stays(made, stack):
    for (volume, array), flag in ((made, "F_CONTIGUOUS"), (stack, "C_CONTIGUOUS")):
        lazy = volume.to_dask(chunks=(11, 8, 3))
        for derived in (
            lazy,
            lazy[3:20],
            lazy[:, :, 2],
            lazy[2:, 3, ::2],
            lazy.persist(),
            pickle.loads(pickle.dumps(lazy)),
        ):
            for computed in (derived.compute(), *dask.compute(derived)):
                assert computed.flags[flag], derived
                assert computed.flags.owndata
        np.testing.assert_array_equal(lazy.compute(), array)
        np.testing.assert_array_equal(lazy.T.compute(), array.T)
        np.testing.assert_array_equal((lazy + 1).compute(), array + 1)


def test_what_was_computed_is_the_callers_own(made):
    volume, array = made
    for lazy in (volume.to_dask(), volume.to_dask().persist()):
        for scheduler in ("threads", "sync"):
            lazy.compute(scheduler=scheduler)[:] = 0
            dask.compute(lazy, scheduler=scheduler)[0][:] = 0
        np.testing.assert_array_equal(lazy.compute(), array)


def test_reading_into_place_uses_dasks_threads(made):
    volume, _ = made
    told = []
    with dask.callbacks.Callback(posttask=lambda key, *rest: told.append(key)):
        volume.to_dask(chunks=(16, 16, 8)).compute()
    assert len(told) >= 3 * 2 * 3


def test_unknown_shapes_still_work(made):
    volume, array = made
    lazy = volume.to_dask(chunks=(16, 16, 8))
    np.testing.assert_array_equal(lazy[lazy > 30000].compute(), array[array > 30000])
    np.testing.assert_array_equal(lazy[[5, 1, 9]].compute(), array[[5, 1, 9]])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(), (5,), (1, 300, 1), (260, 300, 300, 1)], ids=str)
def test_blocks_are_put_together(order, shape):
    array = np.arange(np.prod(shape, dtype=int), dtype=np.uint32).reshape(shape)
    out = _collect([[array]], tuple((n,) for n in shape), order)
    np.testing.assert_array_equal(out, array)
    assert not np.shares_memory(out, array)
    assert out.flags[f"{order}_CONTIGUOUS"]
    assert array.size < 10**6 or array.nbytes > 4 * COPY_BYTES


def test_blocks_are_whole_chunks(tmp_path):
    volume, _ = make(tmp_path / "v")
    with dask.config.set({"array.chunk-size": "16KiB"}):
        for sizes, chunk, extent in zip(volume.to_dask().chunks, volume.chunks, volume.shape, strict=True):
            assert len(sizes) > 1 or extent <= 2 * chunk
            assert all(size % chunk == 0 for size in sizes[:-1])
        assert np.prod(volume.to_dask().chunksize) * 2 <= 2**14
    assert volume.to_dask(chunks="1 kB").chunksize == (*CHUNK, 1)
    assert volume.to_dask(chunks=(*CHUNK,)).chunksize == (*CHUNK, 1)
    assert volume.to_dask(chunks=-1).numblocks == (1, 1, 1, 1)
    assert volume.to_dask(chunks={0: 16}).chunksize[:2] == (16, volume.shape[1])


def test_a_slice_reads_only_its_chunks(tmp_path):
    volume, array = make(tmp_path / "v", dtype="uint8")
    volume.delete(np.s_[OFFSET[0] + 16 : OFFSET[0] + 32])
    lazy = volume.to_dask()
    np.testing.assert_array_equal(lazy[:16].compute(), array[:16])
    with pytest.raises(MissingChunkError):
        lazy[:17].compute()


@pytest.mark.parametrize(
    "chunks", [0, -3, (0, 1, 1), "much", "", (1, 2), (16, 16, 8, 1, 1), {"x"}, ((3, 4), -1, -1), 1.5], ids=str
)
def test_impossible_chunks(made, chunks):
    with pytest.raises(OptionError, match="chunks"):
        made[0].to_dask(chunks=chunks)


@pytest.mark.parametrize("chunks", [0, -2, np.int64(0), (16, 0, 8), [16, 16, -5], {0: 0}], ids=str)
def test_sizes_that_no_block_has(made, chunks):
    with pytest.raises(OptionError, match=r'above 0.*-1 for all of an axis, "auto", or bytes such as "64 MB"'):
        made[0].to_dask(chunks=chunks)


def test_more_blocks_than_dask_can_hold(tmp_path):
    info = Volume.create_new_info(1, "image", "uint8", "raw", (1, 1, 1), (0, 0, 0), (2**60, 64, 64))
    volume = Volume(tmp_path / "v", info=info)
    with pytest.raises(OptionError, match="larger chunks"):
        volume.to_dask()
    with pytest.raises(OptionError, match="larger chunks"):
        volume.to_dask(chunks=(2**60 // MOST_BLOCKS // 2, 64, 64))


def test_names_tell_the_data_apart(tmp_path):
    volume, _ = make(tmp_path / "v", max_mip=1)
    other, _ = make(tmp_path / "w")
    name = volume.to_dask().name
    assert name.startswith("volumekit-")
    assert volume.to_dask().name == name
    assert pickle.loads(pickle.dumps(volume)).to_dask().name == name
    again = Volume(volume.cloudpath, progress=False, parallel=1, non_aligned_writes=True)
    assert again.to_dask().name == name
    different = [
        other,
        Volume(volume.cloudpath, mip=1),
        Volume(volume.cloudpath, fill_missing=True),
        Volume(volume.cloudpath, background_color=1),
    ]
    names = {name, volume.to_dask(chunks=16).name, *(v.to_dask().name for v in different)}
    assert len(names) == 6
    assert dask.base.tokenize(volume) == dask.base.tokenize(again) != dask.base.tokenize(other)


def test_names_change_when_the_volume_does(tmp_path):
    volume, _ = make(tmp_path / "v", non_aligned_writes=True)
    reader = Volume(volume.cloudpath)
    names = [reader.to_dask().name]

    def names_new():
        names.append(reader.to_dask().name)
        return len(set(names)) == len(names)

    volume[:] = 3
    assert names_new()
    volume[[0, 1], [10, 11], [104, 105]] = 5
    assert names_new()
    volume.delete(())
    assert names_new()
    assert reader.to_dask().name == names[-1]


def test_names_are_the_same_in_every_process(tmp_path):
    import subprocess

    volume, _ = make(tmp_path / "v")
    code = "import sys; from volumekit import Volume; print(Volume(sys.argv[1]).to_dask().name)"
    told = {subprocess.check_output([sys.executable, "-c", code, volume.cloudpath], text=True) for _ in range(2)}
    assert len(told) == 1


def test_threads_share_one_array(made):
    volume, array = made
    lazy = volume.to_dask(chunks=(16, 16, 8))
    results = {}

    def compute(number):
        results[number] = lazy.compute(scheduler="threads", num_workers=3)

    threads = [threading.Thread(target=compute, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for read in results.values():
        np.testing.assert_array_equal(read, array)


def test_spawned_processes(made):
    volume, array = made
    read = volume.to_dask(chunks=(32, 32, 32)).compute(scheduler="processes", num_workers=2)
    np.testing.assert_array_equal(read, array)
    assert read.flags.f_contiguous


def test_errors_reach_the_caller(tmp_path):
    volume, _ = make(tmp_path / "v")
    volume.delete(())
    for scheduler in ("synchronous", "threads", "processes"):
        with pytest.raises(MissingChunkError, match=r"not stored|missing"):
            volume.to_dask().compute(scheduler=scheduler)


def test_memory_of_another_process_is_refused():
    volume, array = make("memory://test_dask/v", fill_missing=True)
    np.testing.assert_array_equal(volume.to_dask().compute(), array)
    with pytest.raises(NotImplementedError, match="memory://"):
        volume.to_dask().compute(scheduler="processes")


@pytest.mark.parametrize("axes", ["xyzc", "czyx", "zyx"])
def test_indexed_from_zero(made, axes):
    volume, array = made
    if axes == "zyx":
        volume, array = Volume.from_numpy(array[..., :1], "memory://test_dask/zyx", overwrite=True), array[..., :1]
    lazy = ZeroBased(volume, axes)
    array = array if axes == "xyzc" else array.T if axes == "czyx" else array.T[0]
    assert (lazy.shape, lazy.dtype, len(lazy), lazy.ndim) == (array.shape, array.dtype, len(array), array.ndim)
    np.testing.assert_array_equal(np.asarray(lazy), array)
    for index in (*INDICES, np.s_[0], np.s_[0, -1, 2, 0], np.s_[::-2], np.s_[100:, 1:], np.s_[()], *FANCY):
        if not isinstance(index, tuple) or len(index) <= lazy.ndim:
            np.testing.assert_array_equal(lazy[index], array[index])
    assert lazy[:].flags["F_CONTIGUOUS" if axes == "xyzc" else "C_CONTIGUOUS"]


@pytest.mark.parametrize(
    "index", [None, "x", 1.5, [1.5], np.ones((2, 2), int), np.s_[1.5:], np.s_[::0], (0,) * 5, True, [True]], ids=str
)
def test_what_is_no_index_from_zero(made, index):
    with pytest.raises(InvalidIndexError):
        ZeroBased(made[0])[index]


@pytest.mark.parametrize("at", [1000, -1000, 37, -38, [0, 37], [-38]], ids=str)
def test_out_of_bounds_from_zero(made, at):
    with pytest.raises(OutOfBoundsError):
        ZeroBased(made[0])[at]


def test_dask_makes_arrays_of_a_volume_itself(made):
    volume, array = made
    assert da.asarray(volume).shape == array.shape


@pytest.mark.parametrize(("module", "call"), [("dask", "to_dask"), ("xarray", "to_xarray"), ("zarr", "to_zarr_store")])
def test_without_the_extra(made, module, call, monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == module or n.startswith("volumekit.volume.")]:
        if name.partition(".")[0] == module or name in (
            f"volumekit.volume.{n}" for n in ("dask", "xarray", "zarrstore")
        ):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'volumekit\[(dask|zarr)\]'"):
        getattr(made[0], call)()
