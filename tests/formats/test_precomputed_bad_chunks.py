"""Damaged chunks: an error that names the chunk, whichever way it is read; never zeros."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.volume.sample import make, voxels
from volumekit import Bbox, Volume
from volumekit.codecs.compression import SUFFIXES, compress
from volumekit.errors import CorruptChunkError

KEY = "4_4_40/11-27_7-23_100-108"
BOX = Bbox((11, 7, 100), (27, 23, 108))
ENCODINGS = {"raw": "uint16", "jpeg": "uint8", "png": "uint16", "compressed_segmentation": "uint64"}
VARIANTS = ["", ".gz", ".br", ".zstd"]


def stored(tmp_path, encoding, *, suffix="", channels=1):
    method = {s: m for m, s in SUFFIXES.items()}.get(suffix)
    volume, _ = make(tmp_path / "v", encoding=encoding, dtype=ENCODINGS[encoding], compress=method, channels=channels)
    return volume, tmp_path / "v" / (KEY + suffix)


def damage(path: Path, kind: str, encoding: str) -> None:
    """Damage a chunk; inside its compression, if it is compressed."""
    from volumekit.codecs.compression import decompress

    method = {s: m for m, s in SUFFIXES.items()}.get(path.suffix)
    data = path.read_bytes() if method is None else decompress(path.read_bytes(), method)
    damaged = {
        "empty": b"",
        "one byte": data[:1],
        "half": data[: len(data) // 2],
        "short by one": data[:-1],
        "garbage": np.random.default_rng(1).bytes(len(data)),
        "zeros": bytes(len(data) - 4),
        "text": b"<html><body>404 Not Found</body></html>",
        "another size": smaller(encoding),
    }[kind]
    path.write_bytes(damaged if method is None else compress(damaged, method))


def smaller(encoding: str) -> bytes:
    """Return a good chunk of half the size."""
    from volumekit.codecs import get_codec
    from volumekit.model.level import CodecSpec

    settings = {"compressed_segmentation_block_size": (8, 8, 8)} if encoding == "compressed_segmentation" else {}
    return get_codec(CodecSpec(encoding, settings)).encode(voxels((8, 16, 8), dtype=ENCODINGS[encoding]))


KINDS = ["empty", "one byte", "half", "short by one", "garbage", "zeros", "text", "another size"]


def check(volume, read):
    with pytest.raises(CorruptChunkError) as caught:
        read()
    error = caught.value
    assert isinstance(error, ValueError)
    assert KEY in f"{error.key}"
    assert "/v" in f"{error.url}"
    assert KEY in str(error)
    assert error.__cause__ is not error, "other programs that follow causes would never end"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


UNNOTICED = {("raw", "garbage"), ("compressed_segmentation", "zeros"), ("png", "short by one")}
"""Damage that leaves a chunk of this encoding valid, or all its voxels readable."""


@pytest.mark.parametrize(("encoding", "kind"), [(e, k) for e in ENCODINGS for k in KINDS if (e, k) not in UNNOTICED])
@pytest.mark.parametrize("suffix", VARIANTS)
def test_damaged_chunks(tmp_path, encoding, suffix, kind):
    volume, path = stored(tmp_path, encoding, suffix=suffix)
    good = volume[27:]
    damage(path, kind, encoding)
    for how in ({}, {"fill_missing": True}, {"fill_missing": True, "compress": "gzip"}):
        opened = Volume(volume.cloudpath, **how)
        check(opened, lambda opened=opened: opened[:])
        check(opened, lambda opened=opened: opened[BOX])
        check(opened, lambda opened=opened: opened[20, 10, 105])
        check(opened, lambda opened=opened: opened.points([[20, 10, 105], [20, 11, 106]]))
        np.testing.assert_array_equal(opened[27:], good)


@pytest.mark.parametrize("suffix", [s for s in VARIANTS if s])
@pytest.mark.parametrize("kind", ["empty", "half", "garbage", "text", "short by one"])
def test_damaged_compression(tmp_path, suffix, kind):
    volume, path = stored(tmp_path, "raw", suffix=suffix)
    data = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "half": data[: len(data) // 2],
            "garbage": b"\x00" * 99,
            "text": b"<html>",
            "short by one": data[:-1],
        }[kind]
    )
    for how in ({}, {"fill_missing": True}):
        opened = Volume(volume.cloudpath, **how)
        check(opened, lambda opened=opened: opened[BOX])


@pytest.mark.parametrize("suffix", [".gz", ".br", ".zstd", ".xz", ".bz2"])
def test_a_decompression_bomb(tmp_path, suffix):
    import tracemalloc

    volume, path = stored(tmp_path, "raw", suffix=suffix)
    method = {s: m for m, s in SUFFIXES.items()}[suffix]
    path.write_bytes(compress(bytes(1 << 26), method))
    opened = Volume(volume.cloudpath)
    tracemalloc.start()
    try:
        check(opened, lambda: opened[BOX])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_partial_write_never_hides_damage(tmp_path, encoding, suffix):
    volume, path = stored(tmp_path, encoding, suffix=suffix)
    damage(path, "half", encoding)
    before = path.read_bytes()
    opened = Volume(volume.cloudpath, non_aligned_writes=True, fill_missing=True)
    check(opened, lambda: opened.__setitem__((20, 10, 105), 1))
    check(opened, lambda: opened.__setitem__(([20], [10], [105]), 1))
    assert path.read_bytes() == before
    opened[BOX] = 1
    assert (opened[BOX] == 1).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("encoding", ["jpeg", "png"])
def test_pictures_of_another_kind(tmp_path, encoding, channels):
    """As many voxels, but not these: other channels, other depth."""
    import io

    from PIL import Image

    volume, path = stored(tmp_path, encoding, channels=channels)
    picture = np.zeros((128, 16, 4 - channels), np.uint8).squeeze()
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format=encoding.upper())
    path.write_bytes(stream.getvalue())
    for how in ({}, {"compress": "gzip"}):
        opened = Volume(volume.cloudpath, **how)
        check(opened, lambda opened=opened: opened[BOX])
