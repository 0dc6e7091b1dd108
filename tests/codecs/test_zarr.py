"""Our codecs in zarr-python: what it writes we decode, what we encode it reads."""

import json
import pickle
from importlib.metadata import entry_points

import numcodecs
import numpy as np
import pytest
import zarr

from volumekit.codecs import CODECS, get_codec, zarr3
from volumekit.codecs.numcodecs import CompressedSegmentation
from volumekit.codecs.zarr_chunks import NAMES
from volumekit.errors import CorruptChunkError, MetadataError, OptionError, ShapeError, UnsupportedError
from volumekit.model.level import CodecSpec

BLOCK = {"compressed_segmentation_block_size": [8, 8, 4]}
CASES = [
    ("jpeg", {"jpeg_quality": 98}, "uint8", (), 8),
    ("jpeg", {"jpeg_quality": 98}, "uint8", (3,), 8),
    ("png", {}, "uint16", (2,), 0),
    ("jxl", {"jxl_quality": 100}, "uint8", (3,), 0),
    ("compressed_segmentation", BLOCK, "uint64", (), 0),
    ("compressed_segmentation", BLOCK, "uint32", (2,), 0),
    ("fpzip", {}, "float32", (3,), 0),
    ("zfpc", {"zfpc_correlated_dims": [True, True, True, False]}, "float64", (2,), 0),
    *([("crackle", {}, "uint64", (), 0), ("compresso", {}, "uint32", (), 0)] if "crackle" in CODECS else []),
]
each_case = pytest.mark.parametrize(
    ("name", "settings", "dtype", "channels", "error"), CASES, ids=[f"{c[0]}{c[3]}" for c in CASES]
)
CHUNK, SHAPE = (6, 10, 12), (11, 20, 17)


def sample(shape, dtype):
    """Return an array (channel, z, y, x) or (z, y, x), different along all axes."""
    grids = np.ogrid[tuple(slice(n) for n in shape)]
    return np.asarray(sum(grid // 3 * (5 + 9 * axis) for axis, grid in enumerate(grids)) % 200).astype(dtype)


def ours(name, settings, array):
    """Return the bytes our codec makes of a chunk, its axes turned by hand."""
    codec = get_codec(CodecSpec(name, {key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()}))
    chunk = np.moveaxis(array if array.ndim == 4 else array[None], (0, 1, 2, 3), (3, 2, 1, 0))
    return codec, chunk, codec.encode(chunk)


def v2(name, settings, dtype, channels):
    return numcodecs.get_codec({"id": f"volumekit.{name}", "shape": [*channels, *CHUNK], "dtype": dtype, **settings})


def v3(name, settings):
    return zarr.registry.get_codec_class(f"volumekit.{name}")(**settings)


def create(store, version, name, settings, dtype, channels, **how):
    if version == 2:
        how["compressors"] = v2(name, settings, dtype, channels)
    else:
        how |= {"serializer": v3(name, settings), "compressors": None}
    return zarr.create_array(
        store, zarr_format=version, shape=channels + SHAPE, chunks=channels + CHUNK, dtype=dtype, fill_value=0, **how
    )


@pytest.mark.parametrize("version", [2, 3])
@each_case
def test_zarr_writes_and_reads(version, name, settings, dtype, channels, error, tmp_path):
    array = sample(channels + SHAPE, dtype)
    create(tmp_path, version, name, settings, dtype, channels)[...] = array
    again = zarr.open_array(tmp_path, mode="r")[...]
    np.testing.assert_allclose(again.astype("f8"), array.astype("f8"), rtol=0, atol=error)
    assert f"volumekit.{name}" in (tmp_path / (".zarray" if version == 2 else "zarr.json")).read_text()


@pytest.mark.parametrize("version", [2, 3])
@each_case
def test_each_reads_the_others_chunks(version, name, settings, dtype, channels, error, tmp_path):
    array = sample(channels + SHAPE, dtype)
    created = create(tmp_path, version, name, settings, dtype, channels)
    codec, chunk, data = ours(name, settings, array[..., :6, :10, :12])
    first = [0] * created.ndim
    key = tmp_path / (".".join(map(str, first)) if version == 2 else "c/" + "/".join(map(str, first)))
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_bytes(data)
    read = zarr.open_array(tmp_path, mode="r")[..., :6, :10, :12]
    np.testing.assert_allclose(read.astype("f8"), array[..., :6, :10, :12].astype("f8"), rtol=0, atol=error)
    key.unlink()
    created[...] = array
    decoded = codec.decode(key.read_bytes(), chunk.shape, chunk.dtype)
    np.testing.assert_allclose(decoded.astype("f8"), chunk.astype("f8"), rtol=0, atol=error)


@each_case
def test_shards(name, settings, dtype, channels, error, tmp_path):
    array = sample(channels + SHAPE, dtype)
    shard = channels + tuple(2 * n for n in CHUNK)
    create(tmp_path, 3, name, settings, dtype, channels, shards=shard)[...] = array
    again = zarr.open_array(tmp_path, mode="r")[...]
    np.testing.assert_allclose(again.astype("f8"), array.astype("f8"), rtol=0, atol=error)


@pytest.mark.parametrize("version", [2, 3])
def test_damaged_chunks_are_errors(version, tmp_path):
    created = create(tmp_path, version, "png", {}, "uint16", (2,))
    created[...] = sample((2, *SHAPE), "uint16")
    key = tmp_path / ("0.0.0.0" if version == 2 else "c/0/0/0/0")
    key.write_bytes(key.read_bytes()[:-20])
    with pytest.raises(CorruptChunkError):
        created[...]


@pytest.mark.parametrize("order", [">u2", "<u2"])
def test_byte_orders(order, tmp_path):
    array = sample((2, *SHAPE), order)
    create(tmp_path, 2, "png", {}, order, (2,))[...] = array
    np.testing.assert_array_equal(zarr.open_array(tmp_path, mode="r")[...], array)


def test_planes_and_leading_axes(tmp_path):
    for shape in ((9, 7), (1, 1, 2, 5, 9, 7)):
        codec = numcodecs.get_codec({"id": "volumekit.png", "shape": shape, "dtype": "u1"})
        array = sample(shape, "u1")
        np.testing.assert_array_equal(codec.decode(codec.encode(array)), array)
        out = np.zeros_like(array)
        codec.decode(codec.encode(array), out)
        np.testing.assert_array_equal(out, array)


def test_numcodecs_configurations_are_json_and_come_back():
    for name, settings, dtype, channels, _ in CASES:
        codec = v2(name, settings, dtype, channels)
        again = numcodecs.get_codec(json.loads(json.dumps(codec.get_config())))
        assert again == codec
        assert repr(again) == repr(codec)
        assert pickle.loads(pickle.dumps(codec)) == codec
        codec = v3(name, settings)
        assert type(codec).from_dict(json.loads(json.dumps(codec.to_dict()))) == codec
        assert pickle.loads(pickle.dumps(codec)) == codec
        assert hash(codec) == hash(v3(name, settings))


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(UnsupportedError, match="jpeg stores uint8"):
        v2("jpeg", {}, "uint16", ())
    with pytest.raises(UnsupportedError, match="jpeg stores uint8"):
        create(tmp_path / "a", 3, "jpeg", {}, "uint8", (2,))
    with pytest.raises(ShapeError, match="channel, z, y, x"):
        numcodecs.get_codec({"id": "volumekit.png", "shape": [2, 2, 2, 2, 2], "dtype": "u1"})
    right = {"shape": [2, 2, 2], "dtype": "u1"}
    wrong = [
        {"shape": 8},
        {"shape": "abc"},
        {"shape": [2.5, 2, 2]},
        {"shape": None},
        {"dtype": None},
        {"dtype": "none"},
    ]
    for chunk in ({}, *({**right, **one} for one in wrong)):
        with pytest.raises(OptionError, match="needs shape and dtype of the chunks"):
            numcodecs.get_codec({"id": "volumekit.png", **chunk})
    with pytest.raises(MetadataError, match="no setting quality"):
        v3("jpeg", {"quality": 9})
    with pytest.raises(MetadataError, match="block_size"):
        v3("compressed_segmentation", {"compressed_segmentation_block_size": [8, 8]})
    codec = v2("png", {}, "uint16", ())
    for wrong in (np.zeros(CHUNK, "u1"), np.zeros(CHUNK[::-1], "u2")):
        with pytest.raises(ShapeError, match="cannot encode"):
            codec.encode(wrong)


@pytest.mark.parametrize("group", ["numcodecs.codecs", "zarr.codecs"])
def test_entry_points(group):
    found = {point.name: point for point in entry_points(group=group) if point.name.startswith("volumekit.")}
    assert set(found) == {f"volumekit.{name}" for name in NAMES}, "reinstall the package: its entry points changed"
    for name, point in found.items():
        kind = point.load()
        assert getattr(kind, "codec_id", getattr(kind, "name", None)) == name


def test_labels_have_usual_blocks(tmp_path):
    array = np.arange(16**3, dtype=np.uint32).reshape(16, 16, 16)
    made = zarr.create_array(
        tmp_path / "a",
        shape=array.shape,
        chunks=(8, 8, 8),
        dtype="uint32",
        serializer=zarr3.CompressedSegmentation(),
        compressors=None,
    )
    made[:] = array
    assert json.loads((tmp_path / "a/zarr.json").read_text())["codecs"][0]["configuration"] == {
        "compressed_segmentation_block_size": [8, 8, 8]
    }
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a")[:], array)
    codec = CompressedSegmentation(shape=(8, 8, 8), dtype="uint32")
    assert codec.get_config()["compressed_segmentation_block_size"] == [8, 8, 8]
