"""Chunks behind compression suffixes: whichever variant is there is read, one is written, stale ones go."""

import gzip

import numpy as np
import pytest

from tests.volume.sample import empty, files, make
from volumekit import Volume
from volumekit.codecs.compression import SUFFIXES, compress, decompress
from volumekit.errors import MissingChunkError, OptionError

FIRST = np.s_[-5:11, 7:23, 100:108]
NAME = "4_4_40/-5-11_7-23_100-108"
METHODS = [*SUFFIXES]


def suffixes(folder):
    """Return how many chunks have each suffix."""
    names = [name.rsplit("/", 1)[1] for name in files(folder) if "/" in name]
    found = [("." + name.rsplit(".", 1)[1]) if "." in name else "" for name in names]
    return {suffix: found.count(suffix) for suffix in set(found)}


def recompress(folder, method):
    """Store all chunks with one suffix, behind the library's back."""
    for path in folder.rglob("*-*_*-*_*-*"):
        data, variant = path.read_bytes(), path.suffix
        for name, suffix in SUFFIXES.items():
            if suffix == variant:
                data, plain = decompress(data, name), path.with_suffix("")
                break
        else:
            plain = path
        path.unlink()
        (plain.parent / (plain.name + SUFFIXES.get(method, ""))).write_bytes(compress(data, method) if method else data)


@pytest.mark.parametrize(
    ("value", "suffix"),
    [(None, ""), (False, ""), ("", ""), ("none", ""), (True, ".gz"), *SUFFIXES.items()],
    ids=repr,
)
def test_what_compress_means(tmp_path, value, suffix):
    volume, array = make(tmp_path / "v", compress=value)
    assert suffixes(tmp_path / "v") == {suffix: volume.exists().total}
    np.testing.assert_array_equal(Volume(volume.cloudpath)[:], array)
    raw = (tmp_path / "v" / (NAME + suffix)).read_bytes()
    data = decompress(raw, {v: k for k, v in SUFFIXES.items()}[suffix]) if suffix else raw
    assert data == array[:16, :16, :8].tobytes("F")


def test_gzip_is_gzip(tmp_path):
    _, array = make(tmp_path / "v", compress="gzip")
    assert gzip.decompress((tmp_path / "v" / f"{NAME}.gz").read_bytes()) == array[:16, :16, :8].tobytes("F")


@pytest.mark.parametrize("value", ["zip", "GZIP", 1.5, 7, "deflate", "../gz", ["gzip"], b"gzip", np.zeros(2)], ids=str)
def test_unknown_methods(tmp_path, value):
    volume, _ = make(tmp_path / "v")
    with pytest.raises(OptionError, match="compress"):
        Volume(volume.cloudpath, compress=value)
    with pytest.raises(OptionError, match="compress"):
        volume.compress = value


@pytest.mark.parametrize("before", [None, *METHODS])
@pytest.mark.parametrize("after", [None, False, *METHODS])
def test_changing_the_suffix_leaves_one_variant(tmp_path, before, after):
    volume, array = make(tmp_path / "v")
    recompress(tmp_path / "v", before)
    volume = Volume(volume.cloudpath, compress=after, non_aligned_writes=True)
    volume[-4:30, 8:36, 101:118] = 3
    expected = array.copy()
    expected[1:35, 1:29, 1:18] = 3
    np.testing.assert_array_equal(volume[:], expected)
    np.testing.assert_array_equal(Volume(volume.cloudpath)[:], expected)
    names = {name.split(".")[0] for name in files(tmp_path / "v" / "4_4_40")}
    assert len(names) == len(files(tmp_path / "v" / "4_4_40")), "a stale variant is left"
    wanted = SUFFIXES.get(before if after is None else after or "", "")
    assert suffixes(tmp_path / "v") == {wanted: len(names)}
    volume[FIRST] = 8
    expected[:16, :16, :8] = 8
    np.testing.assert_array_equal(Volume(volume.cloudpath)[:], expected)
    assert len(files(tmp_path / "v" / "4_4_40")) == len(names)


def test_every_suffix_in_one_level(tmp_path, rng):
    volume, array = make(tmp_path / "v", chunk=(8, 8, 8))
    paths = sorted((tmp_path / "v" / "4_4_40").iterdir())
    for n, path in enumerate(paths):
        method = [None, *METHODS][n % 6]
        if method:
            (path.parent / (path.name + SUFFIXES[method])).write_bytes(compress(path.read_bytes(), method))
            path.unlink()
    volume = Volume(volume.cloudpath, non_aligned_writes=True)
    np.testing.assert_array_equal(volume[:], array)
    np.testing.assert_array_equal(volume[::3, ::-1, 105], array[::3, ::-1, 5])
    points = np.stack([rng.integers(-5, 32, 50), rng.integers(7, 37, 50), rng.integers(100, 119, 50)], axis=1)
    np.testing.assert_array_equal(volume.points(points), array[tuple((points - (-5, 7, 100)).T)])
    before = suffixes(tmp_path / "v")
    volume[-3:20, 8:30, 101:111] = 2
    array[2:25, 1:23, 1:11] = 2
    np.testing.assert_array_equal(Volume(volume.cloudpath)[:], array)
    assert suffixes(tmp_path / "v") == before
    assert volume.exists().num_missing == 0


def test_a_missing_chunk_among_suffixes_is_missing(tmp_path):
    volume, array = make(tmp_path / "v", compress="br")
    (tmp_path / "v" / f"{NAME}.br").unlink()
    volume = Volume(volume.cloudpath)
    with pytest.raises(MissingChunkError) as caught:
        volume[:]
    assert caught.value.key == NAME
    volume.fill_missing = True
    array[:16, :16, :8] = 0
    np.testing.assert_array_equal(volume[:], array)


def test_two_open_volumes_that_take_turns(tmp_path):
    plain, _ = make(tmp_path / "v", non_aligned_writes=True)
    packed = Volume(plain.cloudpath, compress="gzip", non_aligned_writes=True)
    for turn, writer in enumerate([plain, packed, plain, packed, packed]):
        value = 10 + turn
        writer[:] = value
        writer[0:3, 10:13, 105] = value + 100
        for reader in (Volume(plain.cloudpath), Volume(plain.cloudpath, compress="gzip"), plain, packed):
            found = reader[:]
            assert found[5, 3, 5, 0] == value + 100, (turn, reader is packed)
            assert found[0, 0, 0, 0] == value, (turn, reader is packed)


def test_a_bridge_writer_removes_variants_that_came_after_it_opened(tmp_path):
    volume = empty(tmp_path / "v", compress="gzip")
    volume[:] = 1
    Volume(volume.cloudpath, compress="br")[:] = 2
    volume[:] = 3
    assert suffixes(tmp_path / "v") == {".gz": volume.exists().total}
    assert (Volume(volume.cloudpath)[:] == 3).all()


def test_deletion_removes_every_variant(tmp_path):
    volume, _ = make(tmp_path / "v")
    data = (tmp_path / "v" / NAME).read_bytes()
    for method, suffix in SUFFIXES.items():
        (tmp_path / "v" / (NAME + suffix)).write_bytes(compress(data, method))
    volume.delete(FIRST)
    assert not [name for name in files(tmp_path / "v") if name.startswith(NAME)]


def test_new_chunks_of_a_compressed_level_are_plain_unless_told(tmp_path):
    volume, array = make(tmp_path / "v", compress="gzip")
    volume.delete(FIRST)
    volume = Volume(volume.cloudpath)
    volume[FIRST] = 4
    assert NAME in files(tmp_path / "v")
    array[:16, :16, :8] = 4
    np.testing.assert_array_equal(Volume(volume.cloudpath)[:], array)


def test_the_default_can_be_assigned(tmp_path):
    volume, _ = make(tmp_path / "v")
    volume.compress = "zstd"
    volume[FIRST] = 4
    assert suffixes(tmp_path / "v")[".zstd"] == 1
    assert (Volume(volume.cloudpath)[FIRST] == 4).all()
