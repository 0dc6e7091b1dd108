"""Chunks that are cut short, garbled, or of another codec: an error that names the object, never wrong voxels."""

import numpy as np
import pytest

from volumekit import Volume
from volumekit.errors import CorruptChunkError
from volumekit.formats.zarr.create import create_zarr, describe_levels
from volumekit.formats.zarr.layout import COMPRESSORS, Layout
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.testing.datasets import python_only

SHARD = (8, 8, 8)
DATA = np.random.default_rng(1).integers(0, 99, (16, 16, 16, 1)).astype("u2")


def stored(tmp_path, protocol, compressor, version, shard):
    store = open_store(parse_url(f"{protocol}://{tmp_path}"))
    level = describe_levels((16, 16, 16), "u2", chunk_size=(4, 4, 4))[0]
    store.commit(create_zarr(level, Layout(version, shard, compressor)).metadata()).result()
    volume = Volume(store.url, non_aligned_writes=True)
    volume[...] = DATA
    return store, volume


def damages(good):
    yield from (
        b"",
        b"\0",
        good[:-1],
        good[: len(good) // 2],
        b"garbage" * 30,
        b"\x1f\x8b\x08" + good,
        bytes(len(good)),
    )


@pytest.mark.parametrize("way", ["native", "python"])
@pytest.mark.parametrize("protocol", ["file", "memory"])
@pytest.mark.parametrize(("version", "shard"), [(2, None), (3, None), (3, SHARD)], ids=["v2", "v3", "sharded"])
@pytest.mark.parametrize("compressor", ["none", *COMPRESSORS])
def test_damaged_chunks(tmp_path, compressor, version, shard, protocol, way):
    store, volume = stored(tmp_path, protocol, compressor, version, shard)
    if way == "python":
        volume._format = python_only(volume._format)
        volume._forget()
    key = "c/1/1/1" if version == 3 else "1/1/1"
    good = store.read(key).result().data
    low, high = (8, 16) if shard else (4, 8)
    for damage in damages(good):
        if compressor == "none" and damage.endswith(good) | (len(damage) == len(good) and shard is None):
            continue  # nothing tells that these are not voxels
        if shard and damage.endswith(good[-200:]) and compressor in ("none", "lz4"):
            continue  # the index is whole, and the chunks may be anything
        if (way, version) == ("native", 2) and damage == good[:-1] and compressor in ("gzip", "zlib", "bz2"):
            continue  # TensorStore has all voxels before it comes to the checksum, and looks no further
        store.commit({key: damage}).result()
        for box in (np.s_[low:high, low:high, low:high], ...):
            with pytest.raises(CorruptChunkError) as caught:
                volume[box]
            told = str(caught.value)
            assert key in told, told
            assert caught.value.url in told
            assert caught.value.key is not None
        with pytest.raises(CorruptChunkError):
            volume[low + 1, low, low] = 3
        assert store.read(key).result().data == damage, "what is damaged is not written over"
        np.testing.assert_array_equal(volume[:4, :4, :4], DATA[:4, :4, :4])
    volume.delete(np.s_[low:high, low:high, low:high])
    assert not volume[low:high, low:high, low:high].any()
    volume[low:high, low:high, low:high] = DATA[low:high, low:high, low:high]
    np.testing.assert_array_equal(volume[...], DATA)


BOMBS = {
    "blosc": b"\x02\x01\x21\x02"
    + (2**31 - 1).to_bytes(4, "little")
    + bytes(4)
    + (100).to_bytes(4, "little")
    + bytes(84),
    "lz4": (2**31 - 1).to_bytes(4, "little") + b"x" * 50,
}


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_a_decompression_bomb(tmp_path, compressor):
    """A chunk that unpacks to far more than its voxels is damaged, and takes no memory."""
    import bz2
    import gzip
    import lzma
    import tracemalloc
    import zlib

    import imagecodecs

    zeros = bytes(1 << 26)
    packers = {
        "zstd": lambda data: imagecodecs.zstd_encode(data, level=1), "gzip": lambda data: gzip.compress(data, 1),
        "zlib": lambda data: zlib.compress(data, 1), "bz2": lambda data: bz2.compress(data, 1),
        "lzma": lambda data: lzma.compress(data, preset=0),
    }  # fmt: skip
    bomb = BOMBS.get(compressor) or packers[compressor](zeros)
    store, volume = stored(tmp_path, "file", compressor, 3, None)
    volume._format = python_only(volume._format)
    volume._forget()
    store.commit({"c/0/0/0": bomb}).result()
    tracemalloc.start()
    with pytest.raises(CorruptChunkError, match="c/0/0/0"):
        volume[:4, :4, :4]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 24
