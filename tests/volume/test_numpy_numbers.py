"""NumPy's numbers and arrays are as good as Python's in every option, and leave no trace in metadata."""

from __future__ import annotations

import json

import numpy as np
import pytest

from volumekit import Cache, Volume, convert, downsample, recompress, transfer, verify
from volumekit.codecs import numcodecs, zarr3
from volumekit.errors import OptionError
from volumekit.model.plain import plain
from volumekit.storage.retry import Retry

SIZE = (20, 18, 10)
SHARDING = Volume.create_sharding(SIZE, (8, 8, 8), "uint8")
LABELS = {"encoding": "compressed_segmentation", "data_type": "uint32"}
NUMBERS = {"data_type": "float32"}
SCALES = [
    {"resolution": [4, 4, 40], "voxel_offset": [-3, 2, 1], "max_mip": 2, "factor": [2, 2, 1], "num_channels": 3},
    {"resolution": [0.5, 0.25, 1.5]},
    {"encoding": "jpeg", "jpeg_quality": 80},
    {"encoding": "jpeg", "encoding_level": 80},
    {"encoding": "png", "png_level": 3},
    {"encoding": "jxl", "jxl_quality": 90, "jxl_effort": 3, "jxl_decodingspeed": 2},
    {"encoding": "jxl", "encoding_level": 90, "encoding_effort": 3},
    {**LABELS, "compressed_segmentation_block_size": [4, 8, 4]},
    {**NUMBERS, "encoding": "fpzip", "fpzip_precision": 16},
    {**NUMBERS, "encoding": "fpzip", "encoding_level": 16},
    {**NUMBERS, "encoding": "zfpc", "zfpc_rate": 8},
    {**NUMBERS, "encoding": "zfpc", "zfpc_precision": 12.0},
    {**NUMBERS, "encoding": "zfpc", "zfpc_tolerance": 0.5, "zfpc_correlated_dims": [True, True, False, True]},
    {"sharding": SHARDING},
    {"sharding": True, "hidden": True, "mesh": True},
]


def with_numpy(value, whole=np.int64):
    """Return options with NumPy's types in place of Python's, as far as there are any."""
    if isinstance(value, dict):
        return {name: with_numpy(member, whole) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return np.array(value)
    kinds = {bool: np.bool_, int: whole, float: np.float32}
    return kinds[type(value)](value) if type(value) in kinds else value


def describe(more):
    usual = {"num_channels": 1, "data_type": "uint8", "encoding": "raw", "resolution": (1, 1, 1)}
    kind = "segmentation" if more.get("encoding") == "compressed_segmentation" else "image"
    usual |= {"layer_type": kind, "voxel_offset": (0, 0, 0), "volume_size": SIZE, "chunk_size": (8, 8, 8)}
    return Volume.create_new_info(**{**usual, **more})


@pytest.mark.parametrize("whole", [np.int64, np.uint8])
@pytest.mark.parametrize("more", SCALES, ids=str)
def test_an_info(more, whole):
    info = describe(with_numpy(more, whole))
    assert json.dumps(info) == json.dumps(describe(more))


@pytest.mark.parametrize("more", [more for more in SCALES if "mesh" not in more and "max_mip" not in more], ids=str)
def test_a_further_scale(tmp_path, more):
    vol = Volume(tmp_path, info=describe({name: more[name] for name in more if name in ("encoding", "data_type")}))
    given = {name: more[name] for name in more if name not in ("encoding", "data_type", "resolution")}
    given.pop("compressed_segmentation_block_size", None)
    told = vol.add_scale((2, 2, 1), chunk_size=(16, 16, 8), **given)
    assert plain(told) == told
    vol.reset_scales()
    vol.add_scale(np.array([2, 2, 1]), chunk_size=np.array([16, 16, 8]), **with_numpy(given))
    assert json.dumps(vol.info["scales"][1]) == json.dumps(told)
    vol.commit_info()


def test_a_sharding():
    assert Volume.create_sharding(SIZE, (8, 8, 8), "uint8", num_channels=1.0) == SHARDING
    given = {"num_channels": np.uint8(1), "shard_bytes": np.float32(1 << 26)}
    assert json.dumps(Volume.create_sharding(np.array(SIZE), np.array([8, 8, 8]), np.uint8, **given)) == json.dumps(
        SHARDING
    )


@pytest.mark.parametrize("channels", [np.array([3]), np.array([]), 3.5, "x", None], ids=repr)
def test_what_is_no_number_of_channels(channels):
    with pytest.raises(OptionError):
        describe({"num_channels": channels})
    with pytest.raises(OptionError):
        Volume.create_sharding(SIZE, (8, 8, 8), "uint8", num_channels=channels)


def test_arrays_with_a_mask():
    info = describe({"encoding": "jpeg", "jpeg_quality": np.ma.array(80)})
    assert json.dumps(info) == json.dumps(describe({"encoding": "jpeg", "jpeg_quality": 80}))


OPTIONS = {"compress_level": 6, "parallel": 2, "lru_bytes": 1000, "background_color": 7, "cdn_cache": 60}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option(tmp_path, name):
    Volume.from_numpy(np.ones(SIZE, np.uint8), tmp_path, progress=False)
    vol = Volume(tmp_path, np.int64(0), **{name: np.int64(OPTIONS[name])})
    assert type(getattr(vol._options, name)) is int
    if name in ("compress_level", "parallel", "background_color"):
        setattr(vol, name, np.uint8(OPTIONS[name]))
    assert vol._options == Volume(tmp_path, **{name: OPTIONS[name]})._options


@pytest.mark.parametrize("compress", ["gzip", "br", "zstd", "xz", "bz2"])
def test_a_level_of_compression(tmp_path, compress):
    voxels = np.arange(np.prod(SIZE)).reshape(SIZE).astype(np.uint8)
    Volume.from_numpy(voxels, tmp_path, compress=compress, compress_level=np.int32(4), progress=False)
    assert Volume(tmp_path)[:, :, :, 0].tolist() == voxels.tolist()


def test_jobs(tmp_path):
    voxels, one = np.random.default_rng(1).integers(0, 99, SIZE, np.uint8), np.int64(1)
    how = {"jobs": one, "progress": False}
    Volume.from_numpy(voxels, tmp_path / "a", chunk_size=np.array([8, 8, 8]), progress=False)
    size = {"voxel_size": np.array([1, 1, 2.5], np.float32), "offset": np.array([1, 2, 3]), "mips": one}
    grid = {"factor": np.array([2, 2, 1]), "chunk_size": np.array([8, 8, 8]), "box": np.array([0, 0, 0, 16, 16, 8])}
    encoded = {"encoding": "png", "png_level": np.uint8(3), "verify": np.float32(0.5), "memory": np.int64(10**9)}
    convert(tmp_path / "a", tmp_path / "b", **size, **grid, **encoded, **how)
    scale = json.loads((tmp_path / "b/info").read_text())["scales"][0]
    assert (scale["png_level"], scale["resolution"], scale["voxel_offset"]) == (3, [1, 1, 2.5], [1, 2, 3])
    convert(tmp_path / "b", tmp_path / "b", first_new_level=np.int64(2), mips=np.int64(2), **how)
    downsample(tmp_path / "a", mip=np.int64(0), mips=one, factor=np.array([2, 2, 2]), memory=np.int64(10**9), **how)
    transfer(tmp_path / "a", tmp_path / "c", mips=np.array([0, 1]), **how)
    transfer(tmp_path / "a", tmp_path / "d", mips=one, **how)
    recompress(tmp_path / "c", "gzip", compress_level=np.int64(3), mips=np.int64(0), **how)
    assert verify(tmp_path / "a", tmp_path / "c", sample=np.float32(1), seed=one, tolerance=np.uint8(0), **how)
    vol = Volume(tmp_path / "a")
    vol.map(lambda block: block, tmp_path / "e", halo=one, retries=one, channels=one, **how)
    assert (Volume(tmp_path / "e")[:, :, :, 0] == voxels).all()
    more = {"shard": np.array([16, 16, 8]), "chunk_size": np.array([8, 8, 8]), "zarr_version": np.int64(3)}
    convert(tmp_path / "a", tmp_path / "f.zarr", **more, **how)
    zstd = {"name": "zstd", "configuration": {"level": np.int64(3), "checksum": np.False_}}
    Volume.from_numpy(voxels, tmp_path / "g.zarr", compressor=zstd, progress=False)
    assert (Volume(tmp_path / "g.zarr")[:, :, :, 0] == Volume(tmp_path / "f.zarr")[:, :, :, 0]).all()


def test_caches_and_retries(tmp_path):
    assert Cache(tmp_path, np.int64(10**6), np.float32(2.5), np.uint8(3)) == Cache(tmp_path, 10**6, 2.5, 3)
    assert Retry(np.int64(3), np.float32(0.5)).spec() == Retry(3, 0.5).spec()


def test_codecs_of_zarr():
    dims = np.array([True, False, True, True])
    one = numcodecs.Zfpc(shape=(4, 4, 4), dtype="float32", zfpc_rate=np.float32(8), zfpc_correlated_dims=dims)
    assert json.loads(json.dumps(one.get_config()))["zfpc_correlated_dims"] == dims.tolist()
    two = zarr3.Jpeg(jpeg_quality=np.int64(80))
    assert json.loads(json.dumps(two.to_dict())) == zarr3.Jpeg(jpeg_quality=80).to_dict()
