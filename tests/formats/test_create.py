"""New precomputed volumes that would lose what is put into them."""

import dask.array as da
import numpy as np
import pytest

import volumekit
from volumekit import Volume
from volumekit.codecs import CODECS, get_codec
from volumekit.errors import MissingExtraError, OptionError

LAYOUT = ((4, 4, 40), (0, 0, 0), (32, 32, 16))


def labels_in(encoding, dtype="uint8", **settings):
    return Volume.create_new_info(1, "segmentation", dtype, encoding, *LAYOUT, chunk_size=(16, 16, 16), **settings)


def test_labels_are_not_stored_lossily(tmp_path):
    with pytest.raises(OptionError, match="labels"):
        Volume.from_numpy(np.zeros((8, 8, 8), np.uint8), tmp_path / "v", layer_type="segmentation", encoding="jpeg")
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize(
    ("encoding", "dtype", "settings"),
    [
        ("jpeg", "uint8", {}),
        ("jxl", "uint8", {}),
        ("jxl", "uint8", {"jxl_quality": 99}),
        ("jxl", "uint8", {"encoding_level": 85}),
        ("zfpc", "int32", {"zfpc_precision": 20}),
        ("zfpc", "int32", {"zfpc_rate": 8}),
        ("fpzip", "float32", {}),
        ("kempressed", "float32", {}),
        ("raw", "float32", {}),
    ],
)
def test_labels_that_would_change(tmp_path, encoding, dtype, settings):
    with pytest.raises(OptionError, match=r"labels|whole numbers"):
        labels_in(encoding, dtype, **settings)
    volume = Volume(tmp_path / "v", info=labels_in("raw", dtype)) if dtype != "float32" else None
    if volume is not None:
        with pytest.raises(OptionError, match="labels"):
            volume.add_scale((2, 2, 1), encoding=encoding, **settings)
        assert len(volume.scales) == 1


def test_labels_that_stay():
    assert labels_in("jxl", jxl_quality=100)["scales"][0]["jxl_quality"] == 100
    assert labels_in("jxl", encoding_level=100.0)["scales"][0]["jxl_quality"] == 100
    assert labels_in("zfpc", "int32")["scales"][0]["encoding"] == "zfpc"


def test_settings_of_new_volumes(tmp_path):
    labels = np.random.default_rng(0).integers(0, 9, (32, 32, 16, 1)).astype(np.uint8)
    how = {"layer_type": "segmentation", "encoding": "jxl"}
    for level in (None, 90):
        with pytest.raises(OptionError, match="jxl_quality 100"):
            Volume.from_numpy(labels, tmp_path / "v", encoding_level=level, **how)
    exact = Volume.from_numpy(labels, tmp_path / "v", encoding_level=100, encoding_effort=3, **how)
    assert np.array_equal(exact[:], labels)
    assert (exact.scale["jxl_quality"], exact.scale["jxl_effort"]) == (100, 3)
    with pytest.raises(OptionError, match="jxl_quality 100"):
        volumekit.convert(exact, tmp_path / "w", encoding="jxl")
    with pytest.raises(OptionError, match="encoding_level"):
        Volume.from_numpy(labels, tmp_path / "w.zarr", encoding_level=100)
    assert not (tmp_path / "w").exists()
    assert not (tmp_path / "w.zarr").exists()


@pytest.mark.parametrize(
    ("encoding", "members", "said"),
    [
        ("jpg2000", {}, r"no encoding 'jpg2000'.*'jpeg'"),
        ("compressed_segmentaton", {}, "'compressed_segmentation'"),
        ("", {}, "no encoding"),
        (None, {}, "no encoding"),
        ("jpeg", {"jpeg_qualty": 90}, "'jpeg_quality'"),
        ("jxl", {"jxl_decoding_speed": 1}, "'jxl_decodingspeed'"),
        ("raw", {"chunksize": (8, 8, 8)}, "'chunk_size'"),
        ("raw", {"zxcvb": 1}, "no 'zxcvb'. Settings of raw: none"),
        ("png", {"jpeg_quality": 90}, "png has no jpeg_quality; its settings: png_level"),
        ("png", {"encoding_effort": 3}, "png has no encoding_effort"),
        ("png", {"encoding_level": "high"}, "png_level"),
    ],
)
def test_slips_of_the_pen(tmp_path, encoding, members, said):
    with pytest.raises(OptionError, match=said):
        Volume.create_new_info(1, "image", "uint8", encoding, *LAYOUT, **members)
    volume = Volume.from_numpy(np.zeros((32, 32, 16), np.uint8), tmp_path / "v")
    if encoding:
        with pytest.raises(OptionError, match=said):  # noqa: PT012 - values are looked at last
            volume.add_scale((2, 2, 1), encoding=encoding, **members)
            volume.commit_info()
        assert len(Volume(tmp_path / "v").scales) == 1


def test_what_others_wrote_may_say_anything(tmp_path):
    volume = Volume.from_numpy(np.ones((32, 32, 16), np.uint8), tmp_path / "v", encoding="jpeg")
    volume.scale["jpeg_qualty"] = 3
    volume.info["type"] = "segmentation"
    volume.commit_info()
    assert (Volume(tmp_path / "v")[:] == 1).all()
    assert Volume(tmp_path / "v").scale["jpeg_qualty"] == 3


def test_members_that_are_no_settings():
    info = Volume.create_new_info(1, "image", "uint8", "raw", *LAYOUT, key="a/b", hidden=True)
    assert info["scales"][0]["key"] == "a/b"
    assert info["scales"][0]["hidden"] is True


@pytest.mark.parametrize("lazy", [False, True])
def test_a_codec_that_is_not_installed_costs_no_data(tmp_path, monkeypatch, lazy):
    labels = np.ones((16, 16, 16), np.uint32)
    volume = Volume.from_numpy(labels, tmp_path / "v", encoding="npz")
    get_codec.cache_clear()
    monkeypatch.setitem(CODECS._own, "crackle", "no_such_package:Crackle[codecs]")
    store, array = (volumekit.from_dask, da.from_array(labels)) if lazy else (Volume.from_numpy, labels)
    with pytest.raises(MissingExtraError, match="pip install"):
        store(array, tmp_path / "v", encoding="crackle", overwrite=True)
    assert (volume[:] == 1).all()
    with pytest.raises(MissingExtraError, match="pip install"):
        store(array, tmp_path / "w", encoding="crackle")
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_data_types_of_cloudvolume_alone(tmp_path, dtype):
    voxels = np.full((32, 32, 16, 1), 2**40 + 1, dtype)
    with pytest.raises(OptionError, match="only CloudVolume"):
        Volume.create_new_info(1, "image", dtype, "raw", *LAYOUT)
    with pytest.raises(OptionError, match="cannot be stored"):
        Volume.from_numpy(voxels, tmp_path / "v")
    info = {**Volume.create_new_info(1, "image", "uint8", "raw", *LAYOUT), "data_type": dtype}
    volume = Volume.from_numpy(voxels, tmp_path / "v", info=info, non_aligned_writes=True)
    volume[3:5, 3, 3] = -7
    voxels[3:5, 3, 3] = -7
    again = Volume(tmp_path / "v")
    assert again.dtype == dtype
    assert np.array_equal(again[:], voxels)
    assert again.add_scale((2, 2, 1))["key"] == "8_8_40"
    again.commit_info()
    again.upload((), -3, mip=1)
    assert (Volume(tmp_path / "v", mip=1)[:] == -3).all()


@pytest.mark.parametrize(
    ("encoding", "level", "exact"),
    [("jpeg", 90, False), ("jxl", 90, False), ("jxl", 100, True), ("fpzip", 12, False), ("fpzip", None, True),
     ("npz_uint8", None, False), ("kempressed", None, False), ("zfpc", None, True)],
)  # fmt: skip
def test_conversions_are_verified_where_nothing_is_lost(tmp_path, encoding, level, exact):
    dtype = "uint8" if encoding in ("jpeg", "jxl") else "float32"
    source = Volume.from_numpy(np.random.default_rng(1).random((16, 16, 16)).astype(dtype), tmp_path / "v")
    if exact:
        volumekit.convert(source, tmp_path / "w", encoding=encoding, encoding_level=level, verify=True)
        return
    with pytest.raises(OptionError, match="compare afterwards"):
        volumekit.convert(source, tmp_path / "w", encoding=encoding, encoding_level=level, verify=True)
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("encoding", "dtype", "chunk", "said"),
    [
        ("jpeg", "uint8", (65501, 1, 1), "65500 pixels"),
        ("jxl", "uint8", (2**18 + 1, 1, 1), "smaller chunks"),
        ("png", "uint16", (1_000_001, 1, 1), "smaller chunks"),
        ("compresso", "uint8", (65536, 1, 1), "65535 voxels"),
        ("zfpc", "float32", (1, 4097, 1), "4096 voxels"),
    ],
)
def test_chunks_that_an_encoding_cannot_hold(encoding, dtype, chunk, said):
    arguments = (1, "image", dtype, encoding, (1, 1, 1), (0, 0, 0), (2**21, 2**21, 2**21))
    with pytest.raises(OptionError, match=said):
        Volume.create_new_info(*arguments, chunk_size=chunk)
    fits = tuple(n - 1 if n > 1 else n for n in chunk)
    assert Volume.create_new_info(*arguments, chunk_size=fits)
    small = Volume.create_new_info(*arguments[:6], (8, 8, 8), chunk_size=chunk)  # chunks are cut at the bounds
    assert small["scales"][0]["chunk_sizes"] == [list(chunk)]


def test_one_number_stands_for_all_axes(tmp_path):
    info = Volume.create_new_info(1, "image", "uint8", "raw", 4, (0, 0, 0), (64, 64, 64), chunk_size=32)
    assert (info["scales"][0]["chunk_sizes"], info["scales"][0]["resolution"]) == ([[32, 32, 32]], [4, 4, 4])
    volume = Volume.from_numpy(
        np.zeros((8, 8, 8), np.uint8), f"zarr://file://{tmp_path}/v", chunk_size=4, shard=8, progress=False
    )
    assert tuple(volume.chunk_size) == (4, 4, 4)


def test_what_says_the_same_twice_is_refused():
    with pytest.raises(OptionError, match="jpeg_quality and encoding_level"):
        Volume.create_new_info(
            1, "image", "uint8", "jpeg", (4, 4, 4), (0, 0, 0), (64, 64, 64), jpeg_quality=30, encoding_level=40
        )


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"shard_bytes": 0}, "shard_bytes is 0"),
        ({"shard_bytes": "64MB"}, "shard_bytes is '64MB'"),
        ({"chunk_size": (0, 64, 64)}, "three positive numbers"),
        ({"volume_size": (64, 64)}, "three positive numbers"),
        ({"encoding": "nosuch"}, "encoding is 'nosuch'"),
    ],
    ids=str,
)
def test_shards_that_cannot_be(how, told):
    how = {"volume_size": (64, 64, 64), "chunk_size": (64, 64, 64), "data_type": "uint8", **how}
    with pytest.raises(OptionError, match=told):
        Volume.create_sharding(**how)
