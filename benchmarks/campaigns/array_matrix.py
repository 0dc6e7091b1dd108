"""Every data type, codec and layout of zarr and N5: others read what volumekit writes, and it reads what they write.

python -m benchmarks.campaigns.array_matrix
python -m benchmarks.campaigns.array_matrix --count 200 --seed 1

zarr-python stands on the other side for zarr, TensorStore for N5. What others wrote is read, written in part, and read
again by them; natively and with TensorStore's drivers left out.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from volumekit import Volume

SHAPE, CHUNK, SHARD = (11, 9, 7), (4, 5, 3), (8, 10, 6)
DTYPES = (
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64",
)  # fmt: skip
BIG = (">i2", ">u2", ">i4", ">u4", ">i8", ">u8", ">f2", ">f4", ">f8")
N5_DTYPES = tuple(name for name in DTYPES if name not in ("bool", "float16"))
OURS = ("none", "zstd", "zstd:19", "blosc", "blosc:zstd:3", "blosc:zlib", "blosc:blosclz:9", "blosc:lz4hc:1", "gzip",
        "zlib", "bz2", "lz4", "lzma")  # fmt: skip
N5_OURS = ("raw", "gzip", "gzip:0", "zlib", "bzip2", "bzip2:1", "xz", "blosc", "blosc:zstd:3", "blosc:zlib", "zstd")
N5_THEIRS: dict[str, dict[str, Any]] = {
    "raw": {"type": "raw"},
    "gzip": {"type": "gzip"},
    "zlib": {"type": "gzip", "useZlib": True, "level": -1},
    "bzip2": {"type": "bzip2", "blockSize": 5},
    "xz": {"type": "xz", "preset": 1},
    "blosc": {"type": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1},
    "bitshuffle": {"type": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 2, "blocksize": 64},
    "zstd": {"type": "zstd", "level": 3},
}
WAYS = ("native", "python")


@dataclass(frozen=True)
class Case:
    """One combination; ``do`` is told where, and raises `AssertionError` unless both sides see the same voxels."""

    name: str
    do: Callable[[Path], None]


def cases() -> Iterator[Case]:
    """Yield every combination."""
    layouts = ((2, None), (3, None), (3, SHARD))
    for (version, shard), codec, dtype, channels, way in itertools.product(layouts, OURS, DTYPES, (1, 3), WAYS):
        where = f"zarr v{version}{' sharded' if shard else ''}"
        name = f"written to {where}, {codec}, {dtype}, {channels} channels, {way}"
        yield Case(name, _bound(_ours, version, shard, codec, dtype, channels, way))
    for codec, dtype, order, separator in itertools.product(v2_codecs(), (*DTYPES, *BIG), "CF", "./"):
        yield Case(f"zarr v2 read, {codec}, {dtype}, {order}, {separator}", _bound(_v2, codec, dtype, order, separator))
    shapes = (None, SHARD)
    v3 = itertools.product(v3_codecs(), DTYPES, shapes, ("little", "big"), ("default", "v2"))
    for codec, dtype, shard, endian, keys in v3:
        name = f"zarr v3 read, {codec}, {dtype}, {'sharded' if shard else 'plain'}, {endian}, {keys}"
        yield Case(name, _bound(_v3, codec, dtype, shard, endian, keys))
    for codec, dtype, channels, way in itertools.product(N5_OURS, N5_DTYPES, (1, 3), WAYS):
        name = f"written to N5, {codec}, {dtype}, {channels} channels, {way}"
        yield Case(name, _bound(_n5_ours, codec, dtype, channels, way))
    for codec, dtype in itertools.product(N5_THEIRS, N5_DTYPES):
        yield Case(f"N5 read, {codec}, {dtype}", _bound(_n5, codec, dtype))


def _bound(function: Callable[..., None], *given: Any) -> Callable[[Path], None]:
    return lambda folder: function(folder, *given)


def voxels(dtype: str, channels: int = 1) -> NDArray[Any]:
    """Return voxels (x, y, z, channel), some chunks of which are all zero."""
    values = np.random.default_rng(len(dtype)).integers(0, 120, (*SHAPE, channels))
    values[:4, :5] = 0
    return values.astype(dtype)


def opened(path: Path, way: str) -> Volume:
    """Open a volume; ``python``: without TensorStore's drivers."""
    from volumekit import Volume
    from volumekit.testing.datasets import python_only

    volume = Volume(path, non_aligned_writes=True, progress=False)
    if way == "python":
        volume._format = python_only(volume._format)
        volume._forget()
    return volume


def same(found: Any, wanted: NDArray[Any], what: str) -> None:
    """Raise unless two arrays are equal."""
    assert np.array_equal(np.asarray(found), wanted), f"{what}: other voxels"


def _plant(path: Path, fmt: Any) -> None:
    from volumekit import Volume

    Volume(path, info=fmt, progress=False).commit_info()


def _fill(volume: Volume, data: NDArray[Any]) -> None:
    """Write all, and a part again."""
    volume[...] = data
    volume[2:9, 3:8, 1:5] = data[2:9, 3:8, 1:5]
    same(volume[...], data, "read again")


def _ours(
    path: Path, version: int, shard: tuple[int, int, int] | None, codec: str, dtype: str, channels: int, way: str
) -> None:
    import zarr

    from volumekit.formats.zarr.create import create_zarr, describe_levels
    from volumekit.formats.zarr.layout import Layout

    data = voxels(dtype, channels)
    (level,) = describe_levels(SHAPE, dtype, channels=channels, chunk_size=CHUNK)
    _plant(path, create_zarr(level, Layout(version, shard, codec)))
    _fill(opened(path, way), data)
    same(zarr.open_array(path, mode="r")[...], data.T if channels > 1 else data[..., 0].T, "zarr-python")


def _theirs(path: Path, data: NDArray[Any], read: Callable[[], Any]) -> None:
    """Read what others wrote, (x, y, z), change it in part and let them read it again, each way."""
    for way in WAYS:
        volume = opened(path, way)
        same(volume[..., 0], data, f"read, {way}")
        same(volume[1:6, 2:7, 1:5, 0], data[1:6, 2:7, 1:5], f"read in part, {way}")
        changed = data.copy()
        changed[1:6, 2:7, 1:5] = 1
        volume[1:6, 2:7, 1:5] = np.ones((), volume.dtype)
        same(read(), changed, f"written in part, {way}")
        volume[1:6, 2:7, 1:5] = data[1:6, 2:7, 1:5].astype(volume.dtype)
        same(read(), data, f"written back, {way}")


def v2_codecs() -> dict[str, Any]:
    """Return compressors of zarr v2."""
    import numcodecs as nc

    return {
        "none": None,
        "blosc": nc.Blosc("lz4", 5, nc.Blosc.SHUFFLE),
        "bitshuffle": nc.Blosc("zstd", 1, nc.Blosc.BITSHUFFLE),
        "autoshuffle": nc.Blosc("zlib", 1, nc.Blosc.AUTOSHUFFLE, 256),
        "zstd": nc.Zstd(3),
        "zstd, checked": nc.Zstd(1, checksum=True),
        "gzip": nc.GZip(1),
        "zlib": nc.Zlib(1),
        "bz2": nc.BZ2(1),
        "lz4": nc.LZ4(),
        "lzma": nc.LZMA(preset=0),
    }


def _v2(path: Path, codec: str, dtype: str, order: str, separator: str) -> None:
    import zarr

    data = voxels(dtype)[..., 0]
    array = zarr.create_array(
        path, shape=SHAPE[::-1], chunks=CHUNK[::-1], dtype=dtype, zarr_format=2, compressors=v2_codecs()[codec],
        order=order, chunk_key_encoding={"name": "v2", "separator": separator}, fill_value=0,
    )  # fmt: skip
    array[...] = data.T
    _theirs(path, data, lambda: array[...].T)


def v3_codecs() -> dict[str, Sequence[Any]]:
    """Return compressors of zarr v3."""
    from zarr import codecs as zc
    from zarr.codecs import numcodecs as extra

    return {
        "none": [],
        "gzip": [zc.GzipCodec(level=1)],
        "zstd": [zc.ZstdCodec(level=3, checksum=True)],
        "blosc": [zc.BloscCodec(cname="lz4", shuffle="shuffle")],
        "bitshuffle": [zc.BloscCodec(cname="zstd", shuffle="bitshuffle")],
        "no shuffle": [zc.BloscCodec(cname="zlib", shuffle="noshuffle", blocksize=64)],
        "crc32c": [zc.Crc32cCodec()],
        "two": [zc.ZstdCodec(), zc.Crc32cCodec()],
        "numcodecs lz4": [extra.LZ4()],
        "numcodecs lzma": [extra.LZMA(preset=0)],
        "numcodecs bz2": [extra.BZ2(level=1)],
        "numcodecs zlib": [extra.Zlib(level=1)],
        "numcodecs zstd": [extra.Zstd(level=1)],
        "numcodecs gzip": [extra.GZip(level=1)],
        "numcodecs blosc": [extra.Blosc(cname="zstd", clevel=1)],
        "numcodecs shuffle": [extra.Shuffle(), extra.Zlib()],
        "numcodecs adler32": [extra.Adler32()],
    }


def _v3(path: Path, codec: str, dtype: str, shard: tuple[int, int, int] | None, endian: str, keys: str) -> None:
    import zarr
    from zarr.codecs import BytesCodec

    data = voxels(dtype)[..., 0]
    array = zarr.create_array(
        path, shape=SHAPE[::-1], chunks=CHUNK[::-1], shards=None if shard is None else shard[::-1], dtype=dtype,
        zarr_format=3, compressors=v3_codecs()[codec], serializer=BytesCodec(endian=endian), filters=[],
        chunk_key_encoding={"name": keys, "separator": "/" if keys == "default" else "."}, fill_value=0,
        dimension_names=["z", "y", "x"],
    )  # fmt: skip
    array[...] = data.T
    _theirs(path, data, lambda: array[...].T)


def _n5_ours(path: Path, codec: str, dtype: str, channels: int, way: str) -> None:
    from volumekit.formats.n5.create import create_n5
    from volumekit.formats.zarr.create import describe_levels

    data = voxels(dtype, channels)
    levels = describe_levels(SHAPE, dtype, channels=channels, chunk_size=CHUNK)
    _plant(path, create_n5(levels, compressor=codec))
    _fill(opened(path, way), data)
    same(_tensorstore(path / "s0").read().result(), data if channels > 1 else data[..., 0], "TensorStore")


def _n5(path: Path, codec: str, dtype: str) -> None:
    data = voxels(dtype)[..., 0]
    described = {"dimensions": SHAPE, "blockSize": CHUNK, "dataType": dtype, "compression": N5_THEIRS[codec]}
    store = _tensorstore(path, create=True, metadata=described)
    store.write(data).result()
    _theirs(path, data, lambda: _tensorstore(path).read().result())


def _tensorstore(path: Path, **how: Any) -> Any:
    import tensorstore as ts

    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/"}, "context": {"file_io_sync": False}}
    return ts.open({**spec, **how}, open=not how).result()


def run(chosen: Sequence[Case], folder: Path) -> list[str]:
    """Run cases; return what is wrong, empty if nothing is."""
    problems = []
    for number, case in enumerate(chosen):
        path = folder / str(number)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=UserWarning, module="zarr")
                case.do(path)
        except Exception as error:  # a campaign tells of every failure
            problems.append(f"{case.name}: {error!r}")
        shutil.rmtree(path, ignore_errors=True)
    return problems


def sample(count: int, seed: int) -> list[Case]:
    """Return some cases, always the same ones for a seed."""
    return random.Random(seed).sample(list(cases()), count)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all cases, or a sample; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help="how many, taken at random; default: all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    chosen = list(cases()) if options.count is None else sample(options.count, options.seed)
    with tempfile.TemporaryDirectory(prefix="volumekit-matrix-") as folder:
        problems = run(chosen, Path(folder))
    print(f"{len(chosen)} combinations, {len(problems)} wrong", *problems[:50], sep="\n", flush=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
