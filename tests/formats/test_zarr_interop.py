"""zarr-python reads what we write, and we read what zarr-python writes: data types x codecs x shards."""

import warnings

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec, ZstdCodec
from zarr.codecs import numcodecs as extra

from volumekit import Volume
from volumekit.formats.zarr.create import create_ome_zarr, create_zarr, describe_levels
from volumekit.formats.zarr.layout import COMPRESSORS, Layout
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.testing.datasets import python_only

DTYPES = (
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64",
)  # fmt: skip
SHAPE, CHUNK = (11, 9, 7), (4, 5, 3)
COMPRESSED = (
    "none",
    *COMPRESSORS,
    "blosc:zstd:3",
    "blosc:zlib",
    "blosc:blosclz:9",
    "blosc:lz4hc:1",
    "zstd:19",
    "gzip:1",
)
SHARD = (8, 10, 6)


pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")


def voxels(dtype, shape=SHAPE, channels=1):
    values = np.random.default_rng(len(dtype)).integers(0, 200, (*shape, channels))
    values[:4, :5] = 0
    return values.astype(dtype)


def in_python(volume):
    """Return the same volume without TensorStore's own drivers."""
    volume._format = python_only(volume._format)
    volume._forget()
    return volume


def create(path, fmt):
    open_store(parse_url(path)).commit(fmt.metadata()).result()
    return Volume(path, non_aligned_writes=True)


@pytest.mark.parametrize(("version", "shard"), [(2, None), (3, None), (3, SHARD)], ids=["v2", "v3", "sharded"])
@pytest.mark.parametrize("compressor", COMPRESSED)
def test_zarr_python_reads_what_we_write(tmp_path, compressor, version, shard):
    for dtype, channels in [*((dtype, 1) for dtype in DTYPES), ("uint16", 3)]:
        path, data = tmp_path / f"{dtype}{channels}", voxels(dtype, channels=channels)
        level = describe_levels(SHAPE, dtype, channels=channels, chunk_size=CHUNK)[0]
        volume = create(path, create_zarr(level, Layout(version, shard, compressor)))
        array = zarr.open_array(path, mode="r")
        assert array.dtype == data.dtype
        assert array.fill_value == 0
        for way in (lambda v: v, in_python)[: 2 if dtype in ("uint16", "float64") else 1]:
            volume = way(volume)
            volume[...] = data
            volume[2:9, 3:8, 1:5] = data[2:9, 3:8, 1:5]
            np.testing.assert_array_equal(array[...], data.T if channels > 1 else data[..., 0].T, err_msg=dtype)
        np.testing.assert_array_equal(Volume(path)[...], data)


@pytest.mark.parametrize("version", [2, 3])
def test_empty_chunks_need_not_be_stored(tmp_path, version):
    data = voxels("uint16")
    level = describe_levels(SHAPE, "uint16", chunk_size=CHUNK)[0]
    fmt = create_zarr(level, Layout(version, fill=7))
    open_store(parse_url(tmp_path)).commit(fmt.metadata()).result()
    assert (Volume(tmp_path)[...] == 7).all()
    assert Volume(tmp_path).background_color == 7
    assert (zarr.open_array(tmp_path, mode="r")[...] == 7).all()
    data[:8, :5] = 7
    for way in (lambda v: v, in_python):
        volume = way(Volume(tmp_path, delete_black_uploads=True, non_aligned_writes=True))
        volume[...] = data
        assert volume.exists().num_missing == 2 * 3
        np.testing.assert_array_equal(zarr.open_array(tmp_path, mode="r")[...], data[..., 0].T)
        volume[0, 0, 0] = 1
        assert volume.exists().num_missing == 5
        volume[0, 0, 0] = 7
        assert volume.exists().num_missing == 6
        volume.delete_black_uploads = False
        volume[...] = data
        assert volume.exists().num_missing == 0


def test_an_image_is_read_by_zarr_python(tmp_path):
    for version, shard in ((2, None), (3, None), (3, SHARD)):
        path = tmp_path / f"{version}{shard}"
        levels = describe_levels(SHAPE, "uint16", chunk_size=CHUNK, max_mip=2)
        volume = create(path, create_ome_zarr(levels, Layout(version, shard)))
        for mip in volume.available_mips:
            volume.mip = mip
            volume[...] = voxels("uint16", volume.shape[:3])
        group = zarr.open_group(path, mode="r")
        assert sorted(group.array_keys()) == ["0", "1", "2"]
        for mip in volume.available_mips:
            np.testing.assert_array_equal(
                group[str(mip)][...], voxels("uint16", volume.levels[mip].shape[:3])[..., 0].T
            )


def check(path, array, data, names):
    """Read an array that zarr-python wrote, and write to it, natively and in Python."""
    order = [names.index(axis) for axis in "xyzc" if axis in names]
    expected = data.transpose(order)
    for way in (lambda v: v, in_python):
        volume = way(Volume(path, non_aligned_writes=True))
        expected_4d = expected.reshape(volume.shape)
        found = volume[...]
        assert found.dtype == data.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, expected_4d)
        np.testing.assert_array_equal(volume[1:6, 2:7, 1:5], expected_4d[1:6, 2:7, 1:5])
        part = expected_4d[1:6, 2:7, 1:5].copy()
        volume[1:6, 2:7, 1:5] = np.zeros_like(part)
        assert not array[...].transpose(order).reshape(volume.shape)[1:6, 2:7, 1:5].any()
        volume[1:6, 2:7, 1:5] = part
        np.testing.assert_array_equal(array[...], data)


V2 = {
    "none": None,
    "blosc": numcodecs.Blosc("lz4", 5, numcodecs.Blosc.SHUFFLE),
    "bitshuffle": numcodecs.Blosc("zstd", 1, numcodecs.Blosc.BITSHUFFLE),
    "autoshuffle": numcodecs.Blosc("zlib", 1, numcodecs.Blosc.AUTOSHUFFLE, 256),
    "zstd": numcodecs.Zstd(3),
    "zstd with checksum": numcodecs.Zstd(1, checksum=True),
    "gzip": numcodecs.GZip(1),
    "zlib": numcodecs.Zlib(1),
    "bz2": numcodecs.BZ2(1),
    "lz4": numcodecs.LZ4(),
    "lzma": numcodecs.LZMA(preset=0),
}


@pytest.mark.parametrize("compressor", V2)
def test_zarr_v2_of_zarr_python(tmp_path, compressor):
    for number, dtype in enumerate([*DTYPES, ">u2", ">i8", ">f4", ">f2", "<u2", "<f4"]):
        names = "zyx" if number % 2 else "cyzx"
        order, separator = "CF"[number // 2 % 2], "./"[number // 4 % 2]
        data = voxels(dtype, SHAPE, 2).transpose(
            ["xyzc".index(name) for name in names] if number % 2 == 0 else [2, 1, 0, 3]
        )
        data = data[..., 0] if number % 2 else data
        chunks = tuple(dict(zip("xyzc", (*CHUNK, 1), strict=True))[name] for name in names)
        path = tmp_path / str(number)
        array = zarr.create_array(
            path, shape=data.shape, chunks=chunks, dtype=dtype, zarr_format=2, order=order, compressors=V2[compressor],
            chunk_key_encoding={"name": "v2", "separator": separator}, fill_value=0,
            attributes={"_ARRAY_DIMENSIONS": list(names)},
        )  # fmt: skip
        array[...] = data
        check(path, array, data, names)


FILTERS = {
    "delta": ("uint16", [numcodecs.Delta("u2")]),
    "delta of another type": ("int32", [numcodecs.Delta("i4", astype="i2")]),
    "fixedscaleoffset": ("float64", [numcodecs.FixedScaleOffset(0, 4, "f8", "i2")]),
    "quantize": ("float32", [numcodecs.Quantize(3, "f4", "f4")]),
    "bitround": ("float32", [numcodecs.BitRound(12)]),
    "packbits": ("bool", [numcodecs.PackBits()]),
    "astype": ("int64", [numcodecs.AsType("i2", "i8")]),
    "shuffle": ("uint32", [numcodecs.Shuffle(4)]),
    "crc32": ("uint16", [numcodecs.CRC32()]),
    "crc32c": ("uint16", [numcodecs.checksum32.CRC32C()]),
    "adler32": ("uint16", [numcodecs.Adler32()]),
    "fletcher32": ("uint16", [numcodecs.Fletcher32()]),
    "jenkins": ("uint16", [numcodecs.JenkinsLookup3()]),
    "two": ("int32", [numcodecs.Delta("i4"), numcodecs.Shuffle(4)]),
    "none": ("uint8", []),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters_of_zarr_v2(tmp_path, name):
    dtype, filters = FILTERS[name]
    data = voxels(dtype)[..., 0].T
    for order, compressor in (("C", "none"), ("C", "lz4"), ("F", "zlib")):
        if (name, order) == ("bitround", "F"):
            continue  # zarr-python scrambles its own data: the codec returns C order
        array = zarr.create_array(
            tmp_path / compressor, shape=data.shape, chunks=CHUNK[::-1], dtype=dtype, zarr_format=2, filters=filters,
            compressors=V2[compressor], fill_value=0, order=order,
        )  # fmt: skip
        array[...] = data
        check(tmp_path / compressor, array, data, "zyx")


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("codec", ["zfpy", "pcodec"])
def test_packers_of_zarr_v2(tmp_path, codec, order):
    made = numcodecs.get_codec({"id": codec, **({"mode": 4, "tolerance": -1} if codec == "zfpy" else {})})
    for dtype in ("float32", "float64", "int32"):
        data = voxels(dtype)[..., 0].T
        if codec == "zfpy" and order == "F":
            continue  # zarr-python cannot write it: numcodecs refuses arrays in F order
        array = zarr.create_array(
            tmp_path / dtype, shape=data.shape, chunks=CHUNK[::-1], dtype=dtype, zarr_format=2, compressors=made,
            fill_value=0, order=order,
        )  # fmt: skip
        array[...] = data
        check(tmp_path / dtype, array, data, "zyx")


V3 = {
    "none": lambda: (None, None),
    "gzip": lambda: (GzipCodec(level=1), None),
    "zstd": lambda: (ZstdCodec(level=3, checksum=True), None),
    "blosc": lambda: (BloscCodec(cname="lz4", shuffle="shuffle"), None),
    "bitshuffle": lambda: (BloscCodec(cname="zstd", shuffle="bitshuffle"), None),
    "noshuffle": lambda: (BloscCodec(cname="zlib", shuffle="noshuffle", blocksize=64), None),
    "crc32c": lambda: (Crc32cCodec(), None),
    "two": lambda: ([ZstdCodec(), Crc32cCodec()], None),
    "lz4": lambda: (extra.LZ4(), None),
    "lzma": lambda: (extra.LZMA(preset=0), None),
    "bz2": lambda: (extra.BZ2(level=1), None),
    "zlib": lambda: (extra.Zlib(level=1), None),
    "numcodecs zstd": lambda: (extra.Zstd(level=1), None),
    "numcodecs gzip": lambda: (extra.GZip(level=1), None),
    "numcodecs blosc": lambda: (extra.Blosc(cname="zstd", clevel=1), None),
    "shuffle": lambda: ([extra.Shuffle(), extra.Zlib()], None),
    "crc32": lambda: (extra.CRC32(), None),
    "adler32": lambda: (extra.Adler32(), None),
    "fletcher32": lambda: (extra.Fletcher32(), None),
    "jenkins": lambda: (extra.JenkinsLookup3(), None),
    "transpose": lambda: (ZstdCodec(), TransposeCodec(order=(1, 2, 0))),
}


@pytest.mark.parametrize("shards", [None, SHARD[::-1]], ids=["plain", "sharded"])
@pytest.mark.parametrize("codec", V3)
def test_zarr_v3_of_zarr_python(tmp_path, codec, shards):
    compressors, filters = V3[codec]()
    for number, dtype in enumerate(DTYPES if shards is None else DTYPES[1::3]):
        data = voxels(dtype)[..., 0].T
        encoding = {"name": ("default", "v2")[number % 2], "separator": "./"[number // 2 % 2]}
        serializer = BytesCodec(endian=("little", "big")[number // 4 % 2])
        array = zarr.create_array(
            tmp_path / dtype, shape=data.shape, chunks=CHUNK[::-1], shards=shards, dtype=dtype, zarr_format=3,
            compressors=compressors, filters=filters or [], serializer=serializer, chunk_key_encoding=encoding,
            fill_value=0, dimension_names=["z", "y", "x"],
        )  # fmt: skip
        array[...] = data
        check(tmp_path / dtype, array, data, "zyx")


FILTERS_V3 = {
    "delta": ("uint16", lambda: extra.Delta(dtype="uint16")),
    "delta of another type": ("int32", lambda: extra.Delta(dtype="int32", astype="int16")),
    "bitround": ("float32", lambda: extra.BitRound(keepbits=12)),
    "fixedscaleoffset": ("float64", lambda: extra.FixedScaleOffset(offset=0, scale=4, dtype="float64", astype="int16")),
    "quantize": ("float32", lambda: extra.Quantize(digits=3, dtype="float32")),
    "astype": ("int64", lambda: extra.AsType(encode_dtype="int16", decode_dtype="int64")),
}


@pytest.mark.parametrize("shards", [None, SHARD[::-1]], ids=["plain", "sharded"])
@pytest.mark.parametrize("name", FILTERS_V3)
def test_filters_of_zarr_v3(tmp_path, name, shards):
    dtype, codec = FILTERS_V3[name]
    data = voxels(dtype)[..., 0].T
    array = zarr.create_array(
        tmp_path, shape=data.shape, chunks=CHUNK[::-1], shards=shards, dtype=dtype, filters=[codec()], fill_value=0
    )
    array[...] = data
    check(tmp_path, array, data, "zyx")


@pytest.mark.parametrize("name", FILTERS_V3)
def test_filters_before_bytes_in_the_other_order(tmp_path, name):
    """zarr-python writes it right, but takes swapped bytes for values when it reads."""
    dtype, codec = FILTERS_V3[name]
    data = voxels(dtype)[..., 0].T
    array = zarr.create_array(
        tmp_path, shape=data.shape, chunks=CHUNK[::-1], dtype=dtype, filters=[codec()], fill_value=0,
        serializer=BytesCodec(endian="big"),
    )  # fmt: skip
    array[...] = data
    for _ in range(2):
        np.testing.assert_array_equal(Volume(tmp_path)[..., 0], data.T)
        Volume(tmp_path)[...] = data.T


@pytest.mark.parametrize("shards", [None, SHARD[::-1]], ids=["plain", "sharded"])
@pytest.mark.parametrize("name", ["zfpy", "pcodec"])
def test_packers_of_zarr_v3(tmp_path, name, shards):
    serializer = extra.ZFPY(mode=4, tolerance=-1) if name == "zfpy" else extra.PCodec(level=1)
    for dtype in ("float32", "float64", "int32"):
        data = voxels(dtype)[..., 0].T
        array = zarr.create_array(
            tmp_path / dtype, shape=data.shape, chunks=CHUNK[::-1], shards=shards, dtype=dtype, serializer=serializer,
            compressors=[], fill_value=0,
        )  # fmt: skip
        array[...] = data
        check(tmp_path / dtype, array, data, "zyx")


@pytest.mark.parametrize("location", ["start", "end"])
def test_shards_of_all_kinds(tmp_path, location):
    """Nested, behind a transposition, and compressed as a whole."""
    inner = ShardingCodec(chunk_shape=(1, 5, 2), codecs=[BytesCodec(), GzipCodec()], index_location=location)
    kinds = {
        "nested": {"serializer": ShardingCodec(chunk_shape=(3, 5, 4), codecs=[inner], index_location=location)},
        "transposed": {"serializer": inner, "filters": [TransposeCodec(order=(0, 1, 2))]},
        "compressed": {"serializer": inner, "compressors": [GzipCodec()]},
        "unchecked": {
            "serializer": ShardingCodec(chunk_shape=(3, 5, 4), index_codecs=[BytesCodec()], index_location=location)
        },
        "big": {
            "serializer": ShardingCodec(
                chunk_shape=(3, 5, 4), index_codecs=[BytesCodec(endian="big"), Crc32cCodec()], index_location=location
            )
        },
    }
    data = voxels("uint16")[..., 0].T
    for kind, how in kinds.items():
        how = {"compressors": [], **how}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = zarr.create_array(
                tmp_path / kind, shape=data.shape, chunks=SHARD[::-1], dtype="uint16", fill_value=0, **how
            )
        array[...] = data
        check(tmp_path / kind, array, data, "zyx")


FILLS = {
    "uint8": [0, 1, 255], "int16": [-32768, 5], "uint64": [2**64 - 1], "int64": [-(2**63)], "bool": [True, False],
    "float16": [1.5, float("nan")], "float32": [float("nan"), float("inf"), -1.5, 1e-30],
    "float64": [float("-inf"), 1e300, 0.1],
}  # fmt: skip


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", FILLS)
def test_fill_values(tmp_path, dtype, version):
    for number, fill in enumerate(FILLS[dtype]):
        path = tmp_path / str(number)
        array = zarr.create_array(
            path, shape=(6, 7, 8), chunks=(3, 4, 5), dtype=dtype, zarr_format=version, fill_value=fill
        )
        array[:3, :4, :5] = 0 if fill else 1
        expected = array[...].T[..., np.newaxis]
        for way in (lambda v: v, in_python):
            volume = way(Volume(path, non_aligned_writes=True))
            np.testing.assert_array_equal(volume[...], expected)
            np.testing.assert_array_equal(volume.background_color, np.array(fill, dtype).item())
            assert volume.exists().num_present == 1
            volume[6:, 5:, 4:] = np.zeros((), dtype)
            assert (array[4:, 5:, 6:] == 0).all()
            np.testing.assert_array_equal(array[3:4, 4:, 5:], np.full((1, 3, 3), fill, dtype))
            volume.delete(np.s_[5:, 4:, 3:])
            np.testing.assert_array_equal(volume[...], expected)


def test_fill_value_null_is_zero(tmp_path):
    array = zarr.create_array(tmp_path, shape=(4, 4, 4), chunks=(2, 2, 2), dtype="u2", zarr_format=2, fill_value=None)
    array[:2] = 3
    volume = Volume(tmp_path)
    np.testing.assert_array_equal(volume[...][..., 0].T, array[...])
    assert (volume.background_color, volume.levels[0].fill) == (0, 0)
    volume[:, :, :2] = 0
    assert volume.exists().num_present == 4
