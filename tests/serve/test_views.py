"""Everything that can be opened is served as Precomputed and as OME-Zarr, voxel by voxel the same."""

import json
from pathlib import Path
from urllib.parse import quote

import imagecodecs
import numpy as np
import pytest
import tensorstore as ts
import zarr

from tests.serve.client import get
from volumekit import Bbox, Volume, serve
from volumekit.errors import MissingChunkError, VolumekitError
from volumekit.serve.precomputed import READABLE
from volumekit.serve.sources import Source

GOLDEN = Path(__file__).parent.parent / "golden" / "precomputed"
NAMES = sorted(path.parts[-3] for path in GOLDEN.glob("*/data/info"))
OPENED = [name for name in NAMES if name != "ts_unknown_encoding"]
WIDE = ["cv_raw_int64", "cv_fpzip_float64"]
"""Of data types that no viewer knows."""

FRAMED = "cv_jxl_3ch_u8"
"""Whose colours are frames of an animation, which no viewer shows."""

PASSED = [name for name in OPENED if name not in WIDE]


@pytest.fixture(scope="module")
def server():
    with serve(*(Source(name, str(GOLDEN / name / "data")) for name in OPENED)) as running:
        yield running


def there(volume, mip):
    """Return the voxels of a mip, missing ones as background."""
    return volume.download((), mip, fill_missing=True)


@pytest.mark.parametrize("name", PASSED)
def test_golden_as_precomputed(server, name):
    stored, seen = Volume(GOLDEN / name / "data"), Volume(server.source(name))
    assert seen.info == stored.info
    for mip in stored.available_mips:
        assert np.array_equal(there(seen, mip), there(stored, mip), equal_nan=stored.dtype.kind == "f")


@pytest.mark.parametrize("name", WIDE)
def test_data_types_that_no_viewer_knows(server, name):
    stored, seen = Volume(GOLDEN / name / "data"), Volume(server.source(name))
    assert seen.dtype == "float32"
    with np.errstate(over="ignore"):
        assert np.array_equal(seen[:], stored[:].astype("float32"))


@pytest.mark.parametrize("name", OPENED)
def test_golden_as_zarr(server, name):
    stored, seen = Volume(GOLDEN / name / "data"), Volume(server.source(name, format="zarr"))
    assert seen.layer_type == stored.layer_type
    for mip in stored.available_mips:
        assert seen.mip_bounds(mip) == stored.mip_bounds(mip)
        assert np.allclose(seen.mip_resolution(mip), stored.mip_resolution(mip))
        assert np.array_equal(there(seen, mip), there(stored, mip), equal_nan=stored.dtype.kind == "f")


@pytest.mark.parametrize("name", ["cv_raw_offset_negative", "ts_png_3ch_u16", "cv_cseg_u64_gzip", "cv_jpeg_u8"])
def test_other_readers_agree(server, name):
    stored = Volume(GOLDEN / name / "data")
    store = {"driver": "http", "base_url": f"{server.url}/{name}/"}
    seen = ts.open({"driver": "neuroglancer_precomputed", "kvstore": store}).result()
    assert np.array_equal(seen.read().result(), there(stored, 0))
    group = zarr.open(f"{server.url}/{name}.zarr", mode="r", storage_options={"asynchronous": True})
    array = group["0"][:]
    assert np.array_equal(array.T if array.ndim == 4 else array.T[..., None], there(stored, 0))


def chunk_files(folder, key):
    return [path for path in (folder / key).iterdir() if "." not in path.name]


@pytest.mark.parametrize("name", [name for name in PASSED if name != FRAMED])
def test_stored_chunks_are_passed_through(server, name):
    info = json.loads((GOLDEN / name / "data" / "info").read_bytes())
    scale = info["scales"][0]
    assert scale["encoding"] in READABLE
    for path in chunk_files(GOLDEN / name / "data", scale["key"])[:3]:
        reply = get(server, f"/{name}/{scale['key']}/{path.name}")
        assert (reply.status, reply.body) == (200, path.read_bytes())
        assert reply.headers["content-type"] == "application/octet-stream"


COMPRESSED = {"cv_raw_gzip_u8_scales": "gzip", "cv_raw_br_u8": "br", "cv_raw_zstd_u8": "zstd"}


@pytest.mark.parametrize("name", [*COMPRESSED, "cv_raw_bz2_u8", "cv_raw_xz_u8"])
def test_compressed_chunk_files(server, name):
    key = json.loads((GOLDEN / name / "data" / "info").read_bytes())["scales"][0]["key"]
    files = sorted((GOLDEN / name / "data" / key).iterdir())
    path = next(path for path in files if path.suffix in (".gz", ".br", ".zstd", ".bz2", ".xz"))
    at = f"/{name}/{key}/{path.stem}"
    plain = get(server, at)
    assert plain.status == 200
    assert "content-encoding" not in plain.headers
    x, y, z = (np.diff([int(n) for n in part.split("-")])[0] for part in path.stem.split("_"))
    assert len(plain.body) == x * y * z
    packed = get(server, at, headers={"Accept-Encoding": "gzip, deflate, br, zstd"})
    if name in COMPRESSED:
        assert packed.headers["content-encoding"] == COMPRESSED[name]
        assert packed.body == path.read_bytes()
        assert packed.headers["vary"] == "accept-encoding"
        assert packed.headers["etag"] != plain.headers["etag"]
    else:
        assert packed.body == plain.body
    part = get(server, at, headers={"Accept-Encoding": "gzip, br, zstd", "Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, plain.body[10:20])
    refused = get(server, at, headers={"Accept-Encoding": "gzip;q=0, br; q=0.0, zstd;q=0"})
    assert refused.body == plain.body


@pytest.fixture
def array(rng):
    return rng.integers(1, 250, (40, 33, 21), np.uint8)


def as_precomputed(path, array, **how):
    how = {"resolution": (4, 4, 40), "voxel_offset": (-3, 7, 100), "chunk_size": (16, 16, 8), **how}
    return Volume.from_numpy(array, path, **how)


def check_pixels(data, voxels):
    """Raise unless a picture is no animation, and its pixels are the voxels, x fastest, with their channels."""
    pixels = np.asarray(imagecodecs.jpegxl_decode(data))
    assert (pixels.ndim, pixels.shape[-1]) == (3, 3)
    np.testing.assert_array_equal(pixels.reshape(-1, 3), voxels.reshape(-1, 3, order="F"))


def box_of(name):
    return tuple(slice(*(int(n) for n in part.split("-"))) for part in name.rpartition("/")[2].split("_"))


def test_colours_in_frames_are_made_pixels(server):
    stored = Volume(GOLDEN / FRAMED / "data")
    for name in stored.exists():
        reply = get(server, f"/{FRAMED}/{name}")
        check_pixels(reply.body, np.asarray(stored[box_of(name)]))
        again = get(server, f"/{FRAMED}/{name}", headers={"If-None-Match": reply.headers["etag"]})
        assert (reply.status, again.status) == (200, 304)
    assert get(server, f"/{FRAMED}/{stored.key}/0-16_0-16_800-808").status == 404


@pytest.mark.parametrize("sharding", [False, True])
def test_colours_in_frames_beside_pixels(running, tmp_path, array, sharding):
    colours = np.stack([array, array[::-1], array[:, ::-1]], axis=3)[:32, :32]
    how = {"encoding": "jxl", "encoding_level": 100, "sharding": sharding, "voxel_offset": (0, 0, 0)}
    stored = as_precomputed(tmp_path / "v", colours, **how)
    objects, first, *others = stored.array().objects, *stored.exists()
    planes = colours[box_of(first)].transpose(3, 2, 1, 0).reshape(3, -1, 16)
    framed = bytes(imagecodecs.jpegxl_encode(planes, lossless=True, photometric="GRAY"))
    objects.commit({first: framed, others[0]: framed[: len(framed) // 2]}).result()
    seen = Volume((server := running(tmp_path / "v")).source())
    assert "sharding" not in seen.scale
    assert {name: stored.scale[name] for name in seen.scale} == seen.scale
    check_pixels(get(server, f"/v/{first}").body, colours[box_of(first)])
    assert get(server, f"/v/{others[0]}").status >= 500
    for name in others[1:]:
        assert get(server, f"/v/{name}").body == objects.peek(name).data
        assert np.array_equal(seen[box_of(name)], colours[box_of(name)])


@pytest.mark.parametrize("encoding", ["fpzip", "kempressed", "zfpc", "npz"])
def test_encodings_that_no_viewer_reads(running, tmp_path, array, encoding):
    floats = array.astype(np.float32)
    try:
        stored = as_precomputed(tmp_path / "floats", np.stack([floats] * 2, axis=3), encoding=encoding, sharding=True)
    except VolumekitError:
        stored = as_precomputed(tmp_path / "floats", floats, encoding=encoding)
    seen = Volume(running(tmp_path / "floats").source())
    assert [scale["encoding"] for scale in seen.scales] == ["raw"]
    assert "sharding" not in seen.scale
    assert (seen.key, seen.bounds, list(seen.chunk_size)) == (stored.key, stored.bounds, list(stored.chunk_size))
    assert np.array_equal(seen[:], stored[:])


def test_labels_are_encoded_as_labels(running, tmp_path, array):
    labels = array.astype(np.uint64) << 40
    (tmp_path / "labels.zarr").mkdir()
    zarr.save_array(str(tmp_path / "labels.zarr"), labels.T)
    stored = Volume(tmp_path / "labels.zarr")
    server = running(stored)
    assert server.names == ("labels",)
    seen = Volume(server.source())
    assert stored.layer_type == "image"
    assert np.array_equal(seen[:], labels[..., None])


@pytest.mark.parametrize("dtype", ["bool", "float16", "float64", "int64", "uint64", "int8", ">u2"])
@pytest.mark.parametrize("channels", [1, 2])
def test_zarr_arrays(running, tmp_path, array, dtype, channels):
    values = (array % 100).astype(dtype)
    if channels == 2:
        values = np.stack([values, values[::-1]], axis=3)
    shape, chunks = values.T.shape, (1,) * (channels - 1) + (8, 16, 16)
    stored = zarr.create_array(
        str(tmp_path / "data"),
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        zarr_format=2 if dtype == ">u2" else 3,
        fill_value=1,
    )
    if channels == 2:
        stored.attrs["_ARRAY_DIMENSIONS"] = ["c", "z", "y", "x"]
    stored[..., :16, :16] = values.T[..., :16, :16]
    expected = Volume(tmp_path / "data")
    assert expected.shape == (40, 33, 21, channels)
    server = running(expected)
    seen = Volume(server.source())
    shown = {"bool": "uint8", "float16": "float32", "float64": "float32", "int64": "float32", ">u2": "uint16"}
    assert seen.dtype == shown.get(dtype, dtype)
    assert np.array_equal(seen[:], expected[:].astype(seen.dtype))
    again = Volume(server.source(format="zarr"))
    assert again.dtype == expected.dtype
    assert np.array_equal(again[:], expected[:])


def test_numbers_beyond_float32(running, tmp_path):
    stored = zarr.create_array(str(tmp_path / "huge"), shape=(8, 8, 8), chunks=(8, 8, 8), dtype="f8")
    stored[...] = 1e300
    server = running(tmp_path / "huge")
    assert np.isposinf(Volume(server.source())[:]).all()
    assert (Volume(server.source(format="zarr"))[:] == 1e300).all()


def test_chunks_that_are_not_stored(running, tmp_path, array):
    """Precomputed has nothing but zeros for them, so others are made up."""
    stored = as_precomputed(tmp_path / "sparse", array)
    stored.delete(stored.bounds)
    server = running(tmp_path / "sparse")
    name = "4_4_40/-3-13_7-23_100-108"
    assert get(server, f"/sparse/{name}").status == 404
    assert get(server, "/sparse.zarr/0/c/0/0/0").status == 404
    with pytest.raises(MissingChunkError):
        Volume(server.source())[:]
    ones = zarr.create_array(str(tmp_path / "ones"), shape=(8, 8, 8), chunks=(4, 4, 4), dtype="u1", fill_value=7)
    assert ones.nchunks_initialized == 0
    server = running(tmp_path / "ones")
    assert np.array_equal(Volume(server.source())[:], np.full((8, 8, 8, 1), 7))


def write_ome_zarr(path, array, version, shards):
    """Write an image as zarr-python does, its lowest voxel at (-3, 7, 100) of 4, 4 and 40 nm."""
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    names = (
        {"dimension_names": ["z", "y", "x"]}
        if version == 3
        else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    )
    stored = group.create_array("0", shape=array.T.shape, chunks=(8, 16, 16), shards=shards, dtype="u1", **names)
    stored[:] = array.T
    places = [{"type": "scale", "scale": [40, 4, 4]}, {"type": "translation", "translation": [4020, 30, -10]}]
    image = {
        "axes": [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"],
        "datasets": [{"path": "0", "coordinateTransformations": places}],
    }
    if version == 3:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    else:
        group.attrs["multiscales"] = [{**image, "version": "0.4"}]


@pytest.mark.parametrize(("version", "sharded"), [(2, False), (3, False), (3, True)])
def test_ome_zarr(running, tmp_path, array, version, sharded):
    write_ome_zarr(tmp_path / "image.zarr", array, version, (16, 32, 32) if sharded else None)
    expected = Volume(tmp_path / "image.zarr")
    server = running(tmp_path / "image.zarr")
    for shown in ("precomputed", "zarr"):
        seen = Volume(server.source(format=shown))
        assert seen.bounds == expected.bounds == Bbox((-3, 7, 100), (37, 40, 121))
        assert seen.resolution.tolist() == [4, 4, 40]
        assert np.array_equal(seen[:], array[..., None])
    if version == 3:
        stored = (tmp_path / "image.zarr" / "zarr.json").read_bytes()
        assert get(server, "/image.zarr/zarr.json").body == stored


def test_stacks_of_images(running, tmp_path, array):
    from PIL import Image

    (tmp_path / "slices").mkdir()
    for z in range(21):
        Image.fromarray(array[:, :, z].T).save(tmp_path / "slices" / f"{z:03}.png")
    server = running(tmp_path / "slices")
    assert np.array_equal(Volume(server.source())[:][..., 0], array)
    assert np.array_equal(Volume(server.source(format="zarr"))[:][..., 0], array)


def test_boxes_off_the_grid_are_not_there(running, tmp_path, array):
    as_precomputed(tmp_path / "floats", array.astype(np.float32), encoding="fpzip")
    server = running(tmp_path / "floats")
    good = "/floats/4_4_40/-3-13_7-23_100-108"
    assert get(server, good).status == 200
    for bad in (
        "-3-14_7-23_100-108", "-2-13_7-23_100-108", "-19--3_7-23_100-108", "37-53_7-23_100-108", "-3-29_7-23_100-108",
        "0-9999999999999999999_0-1_0-1", "-3-13_7-23", "-3-13_7-23_100-108_0-1", "x", "-3-13_7-23_100-108.gz",
        "13--3_7-23_100-108", "-3-13_7-23_100-100", "-٣-13_7-23_100-108",
    ):  # fmt: skip
        assert get(server, f"/floats/4_4_40/{quote(bad)}").status == 404, bad
    for bad in ("0/c/0/0", "0/c/0/0/0/0", "0/c/99/0/0", "1/c/0/0/0", "0/c/00/0/0", "0/c/-1/0/0", f"0/c/0/0/{10**17}"):
        assert get(server, f"/floats.zarr/{bad}").status == 404, bad


def test_scales_keep_their_keys_and_unknown_members(running, tmp_path, array):
    volume = as_precomputed(tmp_path / "named", array)
    volume.info["scales"][0]["key"] = "deep/er/1_1_1"
    volume.info["scales"][0]["x-unknown"] = {"a": 1}
    volume.info["x-other"] = [1]
    volume[:] = array
    volume.commit_info()
    info = json.loads(get(running(tmp_path / "named"), "/named/info").body)
    assert info == volume.info


def test_scales_that_lie_outside_are_not_shown(running, tmp_path, array):
    volume = as_precomputed(tmp_path / "inside", array)
    as_precomputed(tmp_path / "outside", array)
    scale = dict(volume.info["scales"][0], key="../outside/4_4_40", resolution=[8, 8, 80])
    volume.info["scales"].append(scale)
    (tmp_path / "inside" / "info").write_text(json.dumps(volume.info))
    server = running(tmp_path / "inside")
    assert [scale["key"] for scale in json.loads(get(server, "/inside/info").body)["scales"]] == ["4_4_40"]
    assert get(server, "/inside/4_4_40/-3-13_7-23_100-108").status == 200
    assert get(server, "/inside/../outside/4_4_40/-3-13_7-23_100-108").status == 404
    assert get(server, "/inside.zarr/1/c/0/0/0").status in (403, 404)


def test_the_metadata_are_read_again(running, tmp_path, array, monkeypatch):
    monkeypatch.setattr("volumekit.serve.dataset.RECHECK", 0.0)
    volume = as_precomputed(tmp_path / "grows", array)
    server = running(tmp_path / "grows")
    assert len(Volume(server.source()).scales) == 1
    volume.add_scale((2, 2, 1))
    volume.commit_info()
    assert len(Volume(server.source()).scales) == 2
    assert len(Volume(server.source(format="zarr")).scales) == 2
