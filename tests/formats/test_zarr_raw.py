"""Chunks of zarr whose bytes are raw chunks already are told from others, and are the same bytes."""

import numpy as np
import pytest
import zarr

from volumekit import Volume
from volumekit.codecs.raw import Raw
from volumekit.errors import CorruptChunkError
from volumekit.storage.base import Value

DATA = np.random.default_rng(3).integers(0, 999, (2, 8, 12, 16)).astype("u2")
AXES = "czyx"


def opened(tmp_path, data=DATA, *, names=AXES, version=3, **how):
    chunks = tuple(n if name == "c" else 4 for n, name in zip(data.shape, names, strict=True))
    said = {"dimension_names": list(names)} if version == 3 else {}
    array = zarr.create_array(str(tmp_path), shape=data.shape, dtype=data.dtype, chunks=chunks, zarr_format=version,
                              **said, **how)  # fmt: skip
    if version == 2:
        array.attrs["_ARRAY_DIMENSIONS"] = list(names)
    array[...] = data
    return Volume(tmp_path)


def raw_and_decoded(volume, cell):
    fmt, level = volume._format, volume.levels[0]
    value = volume.array(0).objects.peek(fmt.key(level, cell))
    return fmt.raw(level, cell, value), fmt.decode(level, cell, value)


@pytest.mark.parametrize("how", [
    {},
    {"version": 2},
    {"compressors": None},
    {"compressors": zarr.codecs.BloscCodec()},
    {"compressors": [zarr.codecs.GzipCodec(), zarr.codecs.ZstdCodec()]},
    {"data": DATA[0], "names": "zyx"},
    {"data": DATA.astype("f4")},
])  # fmt: skip
def test_raw(tmp_path, how):
    raw, decoded = raw_and_decoded(opened(tmp_path, **how), (3, 2, 1, 0))
    assert raw == Raw().encode(decoded)


@pytest.mark.parametrize("how", [
    {"version": 2, "data": DATA.astype(">u2")},
    {"version": 2, "order": "F"},
    {"serializer": zarr.codecs.BytesCodec(endian="big")},
    {"filters": [zarr.codecs.TransposeCodec(order=(0, 1, 3, 2))]},
    {"names": "cxyz"},
    {"names": "zyxc", "data": np.moveaxis(DATA, 0, 3)},
    {"names": "tzyx"},
])  # fmt: skip
def test_not_raw(tmp_path, how):
    raw, _ = raw_and_decoded(opened(tmp_path, **how), (1, 1, 1, 0))
    assert raw is None


def test_chunks_that_are_cut(tmp_path):
    volume = opened(tmp_path, DATA[..., :15])
    assert raw_and_decoded(volume, (3, 0, 0, 0))[0] is None
    assert raw_and_decoded(volume, (2, 0, 0, 0))[0] is not None


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("damage", [b"", b"garbage", b"\x28\xb5\x2f\xfd\x20\x02\x11\x00\x00ab"])
def test_damage(tmp_path, version, damage):
    volume = opened(tmp_path, version=version)
    with pytest.raises(CorruptChunkError):
        volume._format.raw(volume.levels[0], (0, 0, 0, 0), Value(damage, b""))
