"""Storing dask arrays."""

import itertools

import dask
import dask.array as da
import distributed
import numpy as np
import pytest
from dask.delayed import Delayed

from tests.volume.sample import CHUNK, OFFSET, SHAPE, empty, files, make, voxels
from volumekit import Bbox, Volume, from_dask
from volumekit.errors import (
    AlignmentError,
    CastError,
    MissingExtraError,
    OptionError,
    OutOfBoundsError,
    ReadOnlyError,
    ShapeError,
)
from volumekit.ops.from_dask import _snapped

LAYOUT = {"chunk_size": CHUNK, "voxel_offset": OFFSET, "resolution": (4, 4, 40)}
FINISHED = {"info", "provenance"}


def lazy(array, chunks):
    return da.from_array(array, chunks=chunks)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("chunks", [(5, 7, 3, 1), (16, 16, 8, 1), -1, (20, 30, 9, 3)], ids=str)
def test_a_new_volume(tmp_path, chunks, channels):
    array = voxels(channels=channels)
    volume = from_dask(lazy(array, chunks), tmp_path / "v", **LAYOUT)
    np.testing.assert_array_equal(volume[:], array)
    again = Volume(tmp_path / "v")
    np.testing.assert_array_equal(again[:], array)
    assert again.bounds == Bbox(OFFSET, np.add(OFFSET, SHAPE))
    assert (again.chunks[:3], list(again.resolution)) == (CHUNK, [4, 4, 40])
    assert again.info == make(tmp_path / "w", array=array)[0].info


def test_options_of_a_new_volume(tmp_path):
    array = voxels(dtype="uint32")
    volume = from_dask(
        lazy(array[..., 0], 8),
        tmp_path / "v",
        **LAYOUT,
        layer_type="segmentation",
        encoding="compressed_segmentation",
        max_mip=1,
        factor=(2, 2, 2),
        compress="gzip",
    )
    np.testing.assert_array_equal(volume[:], array)
    assert (volume.layer_type, volume.encoding, len(volume.levels)) == ("segmentation", "compressed_segmentation", 2)
    assert all(path.suffix == ".gz" for path in (tmp_path / "v" / volume.key).iterdir())
    info = volume.copy_info()
    again = from_dask(lazy(array, 8), tmp_path / "w", info=info)
    np.testing.assert_array_equal(again[:], array)
    assert again.info == info


def test_booleans_become_uint8(tmp_path):
    array = voxels() > 30000
    volume = from_dask(lazy(array, 8), tmp_path / "v")
    assert volume.dtype == np.uint8
    np.testing.assert_array_equal(volume[:], array)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_schedulers(tmp_path, scheduler):
    array = voxels(channels=3)
    with dask.config.set(scheduler=scheduler, num_workers=2):
        volume = from_dask(lazy(array, (9, 11, 5, 2)), tmp_path / "v", **LAYOUT)
        np.testing.assert_array_equal(volume[:], array)
        region = Bbox((11, 7, 100), (27, 37, 119))
        from_dask(lazy(array[:16], 7) // 2, tmp_path / "v", region=region)
    array[16:32] = array[:16] // 2
    np.testing.assert_array_equal(volume[:], array)


def test_distributed(tmp_path):
    array = voxels()
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster),
    ):
        volume = from_dask(lazy(array, 8), tmp_path / "v", **LAYOUT)
        doubled = from_dask(volume.to_dask(chunks=CHUNK)[3:30] // 2, tmp_path / "w", chunk_size=CHUNK)
        read = doubled.to_dask(chunks=CHUNK).compute()
    np.testing.assert_array_equal(volume[:], array)
    np.testing.assert_array_equal(read, array[3:30] // 2)
    assert read.flags.f_contiguous


def test_nothing_is_written_before_it_is_computed(tmp_path):
    array = voxels()
    storing = from_dask(lazy(array, 8), tmp_path / "v", compute=False, **LAYOUT)
    assert isinstance(storing, Delayed)
    assert not (tmp_path / "v").exists()
    volume = storing.compute()
    np.testing.assert_array_equal(volume[:], array)
    np.testing.assert_array_equal(Volume(tmp_path / "v")[:], array)


def test_a_failure_leaves_no_dataset(tmp_path):
    def fail(block):
        if block[0, 0, 0, 0] == 0:
            raise RuntimeError("this block fails")
        return block

    array = voxels()
    array[20, 20, 10] = 0
    broken = lazy(array, 1)[20:21, 20:21, 10:11].map_blocks(fail, dtype=array.dtype)
    blocks = da.concatenate([lazy(array[:20, 20:21, 10:11], 4), broken])
    with pytest.raises(RuntimeError, match="this block fails"):
        from_dask(blocks, tmp_path / "v", chunk_size=(4, 4, 4))
    assert not (tmp_path / "v" / "info").exists()


def test_what_is_there_is_replaced_only_when_asked(tmp_path):
    make(tmp_path / "v", channels=3, offset=(0, 0, 0), chunk=(8, 8, 8))
    array = voxels(shape=(20, 9, 5), dtype="uint8")
    for compute in (True, False):
        with pytest.raises(OptionError, match="overwrite"):
            from_dask(lazy(array, 4), tmp_path / "v", compute=compute)
    storing = from_dask(lazy(array, 4), tmp_path / "v", overwrite=True, compute=False, resolution=(4, 4, 40))
    assert Volume(tmp_path / "v").num_channels == 3
    volume = storing.compute()
    np.testing.assert_array_equal(Volume(tmp_path / "v")[:], array)
    assert volume.exists().total == sum(1 for _ in (tmp_path / "v" / "4_4_40").iterdir())


@pytest.mark.parametrize("given", ["url", "volume"])
def test_regions(tmp_path, given):
    volume, array = make(tmp_path / "v", channels=3)
    place = volume if given == "volume" else str(tmp_path / "v")
    new = voxels(shape=(21, 16, 8), channels=3) + 1
    stored = from_dask(lazy(new, (5, 5, 5, 2)), place, region=np.s_[11:32, 7:23, 108:116])
    array[16:, :16, 8:16] = new
    np.testing.assert_array_equal(volume[:], array)
    assert stored == volume
    assert (stored is volume) == (given == "volume")


def test_a_mip_of_a_volume(tmp_path):
    volume, array = make(tmp_path / "v", max_mip=1, factor=(2, 2, 1))
    volume.mip = 1
    new = voxels(shape=volume.shape[:3])
    storing = from_dask(lazy(new, 8), volume, compute=False)
    volume.mip = 0
    storing.compute()
    np.testing.assert_array_equal(volume[:], array)
    np.testing.assert_array_equal(Volume(tmp_path / "v", mip=1)[:], new)


def test_regions_off_the_grid(tmp_path):
    volume, array = make(tmp_path / "v")
    new = lazy(voxels(shape=(23, 11, 7)), (6, 5, 4, 1))
    region = np.s_[0:23, 9:20, 103:110]
    with pytest.raises(AlignmentError, match="non_aligned_writes"):
        from_dask(new, volume, region=region)
    np.testing.assert_array_equal(volume[:], array)
    with dask.config.set(scheduler="threads", num_workers=4):
        from_dask(new, tmp_path / "v", region=region, non_aligned_writes=True)
    array[5:28, 2:13, 3:10] = new
    np.testing.assert_array_equal(volume[:], array)


def test_smaller_types_are_cast(tmp_path):
    volume, array = make(tmp_path / "v", dtype="uint32")
    from_dask(lazy(voxels(dtype="uint8"), 8), volume)
    np.testing.assert_array_equal(volume[:], voxels(dtype="uint8"))
    with pytest.raises(CastError, match=r"float32.*uint32"):
        from_dask(lazy(array.astype(np.float32), 8), volume)


@pytest.mark.parametrize(
    ("shape", "region", "error"),
    [
        (SHAPE, np.s_[:11], ShapeError),
        (SHAPE[:2], (), ShapeError),
        ((*SHAPE, 2), (), ShapeError),
        (SHAPE, np.s_[-6:31], OutOfBoundsError),
        (SHAPE, np.s_[::2], OptionError),
        (SHAPE, "nonsense", IndexError),
    ],
    ids=str,
)
def test_what_does_not_fit(tmp_path, shape, region, error):
    volume, array = make(tmp_path / "v")
    for compute in (True, False):
        with pytest.raises(error):
            from_dask(da.zeros(shape, dtype=np.uint16), volume, region=region, compute=compute)
    np.testing.assert_array_equal(volume[:], array)


@pytest.mark.parametrize("dtype", ["complex64", "float64", "U3", "datetime64[s]"])
def test_types_that_cannot_be_stored(tmp_path, dtype):
    with pytest.raises(OptionError, match="cannot be stored"):
        from_dask(da.zeros(SHAPE, dtype=dtype), tmp_path / "v")


def test_unknown_shapes(tmp_path):
    array = da.from_array(np.arange(60).reshape(3, 4, 5), 2)
    with pytest.raises(ShapeError, match="compute_chunk_sizes"):
        from_dask(array[array[:, 0, 0] > 3], tmp_path / "v")


def test_locked_levels(tmp_path):
    volume, array = make(tmp_path / "v")
    volume.info["scales"][0]["locked"] = True
    with pytest.raises(ReadOnlyError, match="locked"):
        from_dask(lazy(array, 8), volume)


def test_memory_of_another_process_is_refused():
    array = voxels()
    url = "memory://test_from_dask/v"
    with dask.config.set(scheduler="processes", num_workers=2), pytest.raises(NotImplementedError, match="memory://"):
        from_dask(lazy(array, 8), url)
    np.testing.assert_array_equal(from_dask(lazy(array, 8), url)[:], array)


def test_names_of_what_was_read_before_are_not_used_again(tmp_path):
    volume, array = make(tmp_path / "v")
    before = volume.to_dask().name
    with dask.config.set(scheduler="processes", num_workers=2):
        from_dask(lazy(array, 8), volume)
    assert volume.to_dask().name != before


@pytest.mark.parametrize("chunk", [1, 4, 7, 100])
@pytest.mark.parametrize("first", [0, 3, 11])
@pytest.mark.parametrize("sizes", [(1,) * 20, (5, 5, 5, 5), (2, 17, 1), (20,)], ids=str)
def test_no_two_blocks_share_a_chunk(sizes, first, chunk):
    snapped = _snapped(sizes, first, chunk)
    assert sum(snapped) == sum(sizes)
    assert min(snapped) > 0
    borders = [first + end for end in itertools.accumulate(snapped)][:-1]
    assert all(border % chunk == 0 for border in borders)
    if chunk == 1:
        assert snapped == sizes


def test_large_blocks_stay_as_they_are():
    assert _snapped((130, 126, 128), 0, 64) == (128, 128, 128)


def test_blocks_are_written_once(tmp_path, monkeypatch):
    written = []
    upload = Volume.upload
    monkeypatch.setattr(Volume, "upload", lambda self, box, *a, **k: written.append(box) or upload(self, box, *a, **k))
    from_dask(lazy(voxels(), 5), empty(tmp_path / "v"))
    grids = [{tuple(s.start for s in box) for box in written}, {tuple(s.stop for s in box) for box in written}]
    assert len(written) == len(grids[0]) == 3 * 2 * 3
    assert all((a - o) % c == 0 for low in grids[0] for a, o, c in zip(low, OFFSET, CHUNK, strict=False))


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
@pytest.mark.parametrize("boxes", [True, False], ids=["shards are boxes", "chunks are scattered"])
def test_shards(tmp_path, boxes, scheduler):
    array = voxels(shape=(80, 70, 60))
    sharding = {
        "@type": "neuroglancer_uint64_sharded_v1",
        "hash": "identity" if boxes else "murmurhash3_x86_128",
        "preshift_bits": 3 if boxes else 0,
        "minishard_bits": 3,
        "shard_bits": 5 if boxes else 2,
    }
    storing = from_dask(lazy(array, 11), tmp_path / "v", chunk_size=(8, 8, 8), sharding=sharding, compute=False)
    volume = storing.compute(scheduler=scheduler, num_workers=3)
    shape = volume.levels[0].sharding.shape
    assert shape == ((32, 32, 32) if boxes else None)
    np.testing.assert_array_equal(Volume(tmp_path / "v")[:], array)


def test_blocks_are_whole_shards(tmp_path, monkeypatch):
    written = []
    upload = Volume.upload
    monkeypatch.setattr(Volume, "upload", lambda self, box, *a, **k: written.append(box) or upload(self, box, *a, **k))
    array = voxels(shape=(80, 70, 60))
    volume = from_dask(lazy(array, 11), tmp_path / "v", chunk_size=(8, 8, 8), sharding=True)
    shape = volume.levels[0].sharding.shape
    assert all(part.start % size == 0 for box in written for part, size in zip(box, shape, strict=False))


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
@pytest.mark.parametrize(
    "how", [{}, {"zarr_version": 2, "compressor": "blosc"}, {"shard": (32, 32, 16)}, {"format": "zarr"}], ids=str
)
def test_zarr(tmp_path, how, scheduler):
    array = voxels(channels=2)
    array[:16, :16] = 0
    storing = from_dask(lazy(array, 9), tmp_path / "a.zarr", compute=False, **LAYOUT, **how)
    assert not (tmp_path / "a.zarr").exists()
    storing.compute(scheduler=scheduler, num_workers=2)
    volume, twin = Volume(tmp_path / "a.zarr"), Volume.from_numpy(array, tmp_path / "b.zarr", **LAYOUT, **how)
    np.testing.assert_array_equal(volume[:], array)
    assert volume.levels == twin.levels
    assert files(tmp_path / "a.zarr") == files(tmp_path / "b.zarr")
    with pytest.raises(OptionError, match="overwrite"):
        from_dask(lazy(array, 9), tmp_path / "a.zarr", **LAYOUT, **how)
    smaller = from_dask(lazy(array[:20], 9), tmp_path / "a.zarr", overwrite=True, **LAYOUT, **how)
    np.testing.assert_array_equal(smaller[:], array[:20])
    assert len(files(tmp_path / "a.zarr")) < len(files(tmp_path / "b.zarr"))


def test_types_that_only_zarr_has(tmp_path):
    for array in (voxels() > 30000, voxels().astype(np.float64)):
        volume = from_dask(lazy(array, 9), tmp_path / "a.zarr", overwrite=True)
        assert volume.dtype == array.dtype
        np.testing.assert_array_equal(volume[:], array)


def test_options_of_the_other_format(tmp_path):
    array = lazy(voxels(), 9)
    for url, how in (("v", {"compressor": "zstd"}), ("a.zarr", {"encoding": "png"}), ("a.zarr", {"compress": "gzip"})):
        with pytest.raises(OptionError, match=next(iter(how))):
            from_dask(array, tmp_path / url, **how)


def test_without_dask(tmp_path, monkeypatch):
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "dask"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'volumekit\[dask\]'"):
        from_dask(voxels(), tmp_path / "v")
