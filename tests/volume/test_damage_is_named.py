"""Whoever finds that stored bytes are damaged, wherever they are: the error names the chunk, or the shard."""

from __future__ import annotations

import numpy as np
import pytest

from volumekit import Volume
from volumekit.errors import CorruptChunkError
from volumekit.storage import open_store
from volumekit.testing.servers import WebServer, fast_s3
from volumekit.volume.source import resolve

SIZE = (40, 40, 20)
ENCODINGS = {"raw": "uint8", "jpeg": "uint8", "png": "uint8", "compressed_segmentation": "uint32", "crackle": "uint32"}
SHARDED = [None, "raw", "gzip"]
UNNOTICED = [("raw", "raw"), ("compressed_segmentation", "raw")]
"""Where zeros are a chunk, too."""


def damaged(folder, encoding, sharded):
    """Return the files of a volume whose chunks are cut short, or whose only shard is, or holds zeros for chunks."""
    voxels = np.random.default_rng(0).integers(0, 200, SIZE).astype(ENCODINGS[encoding])
    sharding = sharded and {**Volume.create_sharding(SIZE, (16, 16, 16), voxels.dtype), "data_encoding": sharded}
    kind = "segmentation" if voxels.dtype == np.uint32 else "image"
    how = {"encoding": encoding, "sharding": sharding or False, "layer_type": kind, "progress": False}
    Volume.from_numpy(voxels, folder, chunk_size=(16, 16, 16), **how)
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name, data in files.items():
        if name.startswith("1_1_1/"):
            zeros = sharded and (encoding, sharded) not in UNNOTICED
            files[name] = data[:16] + bytes(len(data) - 216) + data[-200:] if zeros else data[:9]
            (folder / name).write_bytes(files[name])
    return files


READS = [
    lambda vol: vol[:, :, :],
    lambda vol: vol[17:30, 17:30, 2:5],
    lambda vol: vol[::3, ::3, ::3],
    lambda vol: vol.points(np.array([[20, 20, 3], [21, 20, 3]])),
]


def check(vol, reads):
    names = {"1_1_1/0.shard", *vol.array().keys(vol.bounds)}
    for read in reads:
        with pytest.raises(CorruptChunkError) as caught:
            read(vol)
        assert caught.value.key in names
        assert caught.value.key in str(caught.value)
        assert caught.value.url


@pytest.mark.parametrize("sharded", SHARDED)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_on_a_disk(tmp_path, encoding, sharded):
    damaged(tmp_path / "v", encoding, sharded)
    check(Volume(tmp_path / "v", progress=False), READS)
    check(Volume(tmp_path / "v", progress=False, lru_bytes=1 << 20), READS)
    writing = Volume(tmp_path / "v", progress=False, non_aligned_writes=True)
    check(writing, [lambda vol: vol.upload(np.s_[17:30, 17:30, 2:5], 1)])


@pytest.mark.parametrize("sharded", SHARDED)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_in_memory_and_in_the_web(tmp_path, encoding, sharded):
    files = damaged(tmp_path / "v", encoding, sharded)
    url = f"memory://damaged-{encoding}-{sharded}/v"
    open_store(resolve(url)).commit(files).result()
    check(Volume(url, progress=False), READS)
    with WebServer({f"v/{name}": data for name, data in files.items()}) as web:
        check(Volume(f"{web.url}/v", progress=False), READS)
        check(Volume(f"{web.url}/v", progress=False, cache=tmp_path / "cache"), READS[:1])


def test_on_s3(tmp_path):
    with fast_s3() as s3:
        s3.make_bucket("brains")
        for encoding in ENCODINGS:
            for sharded in SHARDED:
                files = damaged(tmp_path / f"{encoding}-{sharded}", encoding, sharded)
                url = f"s3://{s3.url}/brains/{encoding}-{sharded}/v"
                open_store(resolve(url)).commit(files).result()
                check(Volume(url, progress=False), READS)
