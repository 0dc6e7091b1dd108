"""What N5 data say of themselves, in every way in which the field's programs say it; and what is wrong with some."""

import contextlib
import json
import struct

import numpy as np
import pytest

from tests.formats.n5_pyramids import COARSE, PYRAMIDS, dataset, plant, transform
from volumekit import Volume
from volumekit.errors import (
    CorruptChunkError,
    DatasetNotFoundError,
    MetadataError,
    OptionError,
    UnsupportedError,
)
from volumekit.formats.n5.compression import compression_of
from volumekit.formats.n5.lz4 import lz4_compress, lz4_decompress, xxh32
from volumekit.testing.datasets import python_only


def levels(volume):
    return [(level.resolution, level.offset, level.shape[:3]) for level in volume.levels]


TWO = [((4, 4, 40), (0, 0, 0), (12, 10, 8)), ((8, 8, 40), (0, 0, 0), (6, 5, 8))]


@pytest.mark.parametrize("name", PYRAMIDS)
def test_pyramids(tmp_path, name):
    volume = Volume(plant(tmp_path / "a.n5", PYRAMIDS[name]))
    assert volume.cloudpath.startswith("n5://")
    assert levels(volume) == TWO
    assert volume.layer_type == "image"


def test_a_translation_is_an_offset(tmp_path):
    root = plant(
        tmp_path,
        {
            "s0": dataset(**transform([40, 4, 4], [120, -8, 4])),
            "s1": dataset(COARSE, **transform([40, 8, 8], [120, -6, 2])),
        },
    )
    assert [level.offset for level in Volume(root).levels] == [(1, -2, 3), (0, -1, 3)]
    root = plant(tmp_path / "b", {"data": {"resolution": [4, 4, 40], "offset": [8, 16, 80]}, "data/s0": dataset()})
    assert levels(Volume(root)) == [((4, 4, 40), (2, 4, 2), (12, 10, 8))]


SINGLE = {
    "nothing": ({}, (1, 1, 1)),
    "pixels": ({"pixelResolution": [4, 5, 40]}, (4, 5, 40)),
    "pixels with a unit": ({"pixelResolution": {"dimensions": [4, 5, 40], "unit": "um"}}, (4000, 5000, 40000)),
    "pixels of the finest level": ({"pixelResolution": [4, 5, 40], "downsamplingFactors": [2, 2, 1]}, (8, 10, 40)),
    "a resolution of its own": ({"resolution": [8, 10, 40], "downsamplingFactors": [2, 2, 1]}, (8, 10, 40)),
    "units": ({"resolution": [1, 2, 3], "units": ["um", "um", "nm"]}, (1000, 2000, 3)),
    "one unit": ({"resolution": [1, 2, 3], "units": "um"}, (1000, 2000, 3000)),
    "axes": ({"resolution": [1, 2, 3], "axes": ["z", "y", "x"]}, (3, 2, 1)),
    "a transform wins": ({"resolution": [1, 2, 3], **transform([40, 5, 4], [0, 0, 0])}, (4, 5, 40)),
    "an order that is named": (transform([4, 5, 40], [0, 0, 0], "xyz", order="C"), (4, 5, 40)),
    "another order that is named": (transform([4, 5, 40], [0, 0, 0], "zyx", order="F"), (40, 5, 4)),
    "xarray": ({"_ARRAY_DIMENSIONS": ["z", "y", "x"], "resolution": [4, 5, 40]}, (4, 5, 40)),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_dataset_by_itself(tmp_path, name):
    more, expected = SINGLE[name]
    volume = Volume(plant(tmp_path, {"": dataset(**more)}))
    assert volume.resolution.tolist() == [*expected]
    turned = ("axes", "an order that is named", "another order that is named")
    assert volume.shape == ((8, 10, 12, 1) if name in turned else (12, 10, 8, 1))


def test_further_axes_are_fixed(tmp_path):
    import tensorstore as ts

    attributes = dataset((12, 10, 3, 8, 2), axes=["x", "y", "c", "z", "t"])
    attributes["blockSize"] = [5, 5, 1, 5, 1]
    plant(tmp_path, {"": attributes})
    store = ts.open({"driver": "n5", "kvstore": f"file://{tmp_path}/"}, open=True).result()
    data = np.random.default_rng(0).integers(0, 256, (12, 10, 3, 8, 2)).astype("uint8")
    store.write(data).result()
    for time in (0, 1):
        volume = Volume(tmp_path, at={"t": time})
        np.testing.assert_array_equal(volume[...], data[..., time].transpose(0, 1, 3, 2))
    assert [(axis.name, axis.position) for axis in volume.axes][4:] == [("t", 1)]
    volume[0:5, 0:5, 0:5, 0] = 7
    assert (store[:5, :5, 0, :5, 1].read().result() == 7).all()
    np.testing.assert_array_equal(store[..., 0].read().result(), data[..., 0])
    with pytest.raises(OptionError, match="positions of t are 0 to 1"):
        Volume(tmp_path, at={"t": 2})
    attributes["blockSize"] = [5, 5, 1, 5, 2]
    shared = Volume(plant(tmp_path / "shared", {"": attributes}), at={"t": 1})
    shared[0:5, 0:5, 0:5] = 1
    other = Volume(tmp_path / "shared", at={"t": 0})
    other[0:5, 0:5, 0:5] = 2
    assert (shared[0:5, 0:5, 0:5] == 1).all()
    assert (other[0:5, 0:5, 0:5] == 2).all()


def test_setups_and_timepoints(tmp_path):
    root = plant(
        tmp_path,
        {
            "": {"n5": "2.5.0"},
            **{f"setup{s}": {"downsamplingFactors": [[1, 1, 1]]} for s in (0, 3)},
            **{f"setup{s}/timepoint{t}": {"resolution": [s + 1, 1, 1]} for s in (0, 3) for t in (0, 2)},
            **{f"setup{s}/timepoint{t}/s0": dataset((5, 4, 3 + s + t)) for s in (0, 3) for t in (0, 2)},
        },
    )
    assert Volume(root).shape == (5, 4, 3, 1)
    chosen = Volume(root, at={"setup": 3, "timepoint": 2})
    assert (chosen.shape, chosen.resolution.tolist()) == ((5, 4, 8, 1), [4, 1, 1])
    assert Volume(root / "setup3", at={"timepoint": 2}).shape == (5, 4, 8, 1)
    for at, message in (({"setup": 1}, "no setup1 .*setup0, setup3"), ({"timepoint": 1}, "no timepoint1 in setup0/")):
        with pytest.raises(OptionError, match=message):
            Volume(root, at=at)
    for at in ({"setup": "a"}, {"setup": -1}, {"timepoint": True}, {"wing": 1}):
        with pytest.raises(OptionError):
            Volume(root, at=at)


def test_labels(tmp_path):
    for name, more in (("maxId", {"maxId": 7}), ("paintera", {"painteraData": {"type": "label"}})):
        root = plant(tmp_path / name, {"": more, "data/s0": dataset(dataType="uint64")})
        assert Volume(root).layer_type == "segmentation"
    root = plant(tmp_path / "multiset", {"": {}, "s0": dataset(isLabelMultiset=True)})
    with pytest.raises(UnsupportedError, match="label multisets"):
        Volume(root)


def header(shape, mode=0, count=None):
    rest = b"" if count is None else struct.pack(">I", count)
    return struct.pack(f">HH{len(shape)}I", mode, len(shape), *shape) + rest


BODY = bytes(range(125))
GOOD = {
    "usual": header((5, 5, 5)) + BODY,
    "of variable length": header((5, 5, 5), 1, 125) + BODY,
    "cut": header((4, 3, 2)) + BODY[:24],
    "nothing in it": header((0, 5, 5)),
}
BAD = {
    "empty": b"",
    "half a header": header((5, 5, 5))[:10],
    "no values": header((5, 5, 5)),
    "too few": header((5, 5, 5)) + BODY[:-1],
    "too many": header((5, 5, 5)) + BODY + b"\0",
    "another rank": header((5, 5)) + BODY,
    "larger": header((6, 5, 5)) + bytes(150),
    "huge": header((2**32 - 1,) * 3) + BODY,
    "mode 7": header((5, 5, 5), 7) + BODY,
    "object": struct.pack(">HI", 2, 125) + BODY + bytes(9),
    "other values": header((5, 5, 5), 1, 60) + BODY[:60],
    "variable, cut": header((5, 5, 5), 1),
}


@pytest.mark.parametrize("name", [*GOOD, *BAD])
@pytest.mark.parametrize("native", [True, False])
def test_blocks(tmp_path, name, native):
    root = plant(tmp_path, {"": dataset((5, 5, 5))})
    (root / "0" / "0").mkdir(parents=True)
    (root / "0" / "0" / "0").write_bytes(GOOD.get(name) or BAD.get(name) or b"")
    volume = Volume(root)
    if not native:
        volume._format = python_only(volume._format)
        volume._forget()
    if name in BAD:
        with pytest.raises(CorruptChunkError) as caught:
            volume[...]
        assert "0/0/0" in str(caught.value)
        return
    expected = np.zeros((5, 5, 5, 1), "uint8")
    shape = {"cut": (4, 3, 2), "nothing in it": (0, 5, 5)}.get(name, (5, 5, 5))
    inside = np.frombuffer(BODY[: np.prod(shape)], "uint8").reshape(shape, order="F")
    expected[tuple(map(slice, shape))] = inside[..., None]
    np.testing.assert_array_equal(volume[...], expected)


def test_blocks_of_variable_length_are_written_in_part(tmp_path):
    root = plant(tmp_path, {"": dataset((10, 5, 5))})
    (root / "0" / "0").mkdir(parents=True)
    (root / "0" / "0" / "0").write_bytes(GOOD["of variable length"])
    expected = np.zeros((10, 5, 5), "uint8")
    expected[:5] = np.frombuffer(BODY, "uint8").reshape(5, 5, 5, order="F")
    volume = Volume(root, non_aligned_writes=True)
    volume[3:8:2, 1:3, 2:4] = 9
    expected[3:8:2, 1:3, 2:4] = 9
    np.testing.assert_array_equal(Volume(root)[..., 0], expected)


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "lz4", "blosc", "zstd"])
def test_a_block_that_unpacks_to_more_is_refused(tmp_path, kind):
    made = Volume.from_numpy(
        np.ones((64, 64, 64), "uint8"), tmp_path / "a.n5", chunk_size=(64, 64, 64), compressor=kind
    )
    (path,) = (p for p in (tmp_path / "a.n5" / "s0" / "0" / "0").iterdir())
    data = path.read_bytes()
    attributes = json.loads((tmp_path / "a.n5/s0/attributes.json").read_text())
    small = plant(tmp_path / "small", {"": {**attributes, "dimensions": [4, 4, 4], "blockSize": [4, 4, 4]}})
    (small / "0" / "0").mkdir(parents=True)
    (small / "0" / "0" / "0").write_bytes(header((4, 4, 4)) + data[16:])
    with pytest.raises(CorruptChunkError):
        Volume(small)[...]
    assert (made[...] == 1).all()


WRONG = {
    "no blocks": ({"blockSize": None}, MetadataError),
    "another rank": ({"blockSize": [5, 5]}, MetadataError),
    "blocks of nothing": ({"blockSize": [5, 5, 0]}, MetadataError),
    "no type": ({"dataType": "bool"}, MetadataError),
    "strings": ({"dataType": "string"}, UnsupportedError),
    "no compression": ({"compression": None}, MetadataError),
    "a compression without a type": ({"compression": {"level": 1}}, MetadataError),
    "an absurd level": ({"compression": {"type": "gzip", "level": 99}}, MetadataError),
    "a strange compression": ({"compression": {"type": "jpeg"}}, UnsupportedError),
    "no voxels": ({"dimensions": [12, 0, 8]}, MetadataError),
    "negative": ({"dimensions": [12, -1, 8]}, MetadataError),
    "a resolution of zero": ({"resolution": [4, 0, 4]}, MetadataError),
    "too many": ({"resolution": [1] * 4}, MetadataError),
    "a useZlib that is none": ({"compression": {"type": "gzip", "useZlib": 3}}, MetadataError),
    "a cname nobody knows": ({"compression": {"type": "blosc", "cname": "x"}}, MetadataError),
    "axes that are no words": ({"axes": "xyz"}, MetadataError),
    "a transform of a word": ({"transform": "x"}, MetadataError),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_attributes(tmp_path, name):
    more, error = WRONG[name]
    attributes = {key: value for key, value in dataset(**more).items() if value is not None}
    with pytest.raises(error, match=r"attributes\.json|blockSize|compression"):
        Volume(plant(tmp_path, {"": attributes}))[...]


def test_wrong_groups(tmp_path):
    listing = {"multiscales": [{"datasets": [{"path": "s0"}, {"path": "s1"}]}]}
    root = plant(tmp_path / "missing", {"": listing, "s0": dataset()})
    assert len(Volume(root).levels) == 2
    with pytest.raises(MetadataError, match=r"s1/attributes\.json is missing"):
        Volume(root, mip=1)[...]
    for name, datasets in (("none", []), ("up", [{"path": "../s0"}]), ("self", [{"path": "."}]), ("word", ["s0"])):
        bad = plant(tmp_path / name, {"": {"multiscales": [{"datasets": datasets}]}, "s0": dataset()})
        with pytest.raises(MetadataError):
            Volume(bad)
    with pytest.raises(OptionError, match="no multiscale 'b'"):
        Volume(root, at={"multiscale": "b"})
    with pytest.raises(MetadataError, match="container without a volume"):
        Volume(plant(tmp_path / "empty", {"": {"n5": "2.0.0"}}))
    with pytest.raises(DatasetNotFoundError, match=r"n5: there is no attributes\.json"):
        Volume(plant(tmp_path / "other", {"": {"some": "thing"}}))
    mixed = plant(tmp_path / "mixed", {"s0": dataset(), "s1": dataset(COARSE, dataType="uint16")})
    with pytest.raises(MetadataError, match="says uint16"):
        Volume(mixed, mip=1)[...]


def test_very_old_datasets_name_the_compression_alone(tmp_path):
    old = {k: v for k, v in dataset().items() if k != "compression"}
    volume = Volume(plant(tmp_path, {"": {**old, "compressionType": "gzip"}}), non_aligned_writes=True)
    volume[1:3, 1:3, 1:3] = 5
    assert int(Volume(tmp_path)[...].sum()) == 40


def test_hashes_are_those_of_lz4_frames():
    import imagecodecs

    random = np.random.default_rng(1)
    for length in (1, 3, 4, 15, 16, 17, 63, 1000, 4096, 70001):
        rows = random.integers(0, 256, (3, length)).astype("uint8")
        for row, found in zip(rows, xxh32(rows, 0).tolist(), strict=True):
            frame = bytes(imagecodecs.lz4f_encode(row.tobytes(), contentchecksum=True))
            assert int.from_bytes(frame[-4:], "little") == found


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000, 4097])
def test_lz4_streams(size):
    for data in (bytes(size), np.random.default_rng(size).bytes(size)):
        packed = lz4_compress(data, 64)
        assert lz4_decompress(packed, size) == data
        with pytest.raises(CorruptChunkError):
            lz4_decompress(packed, size + 1)
        random = np.random.default_rng(2)
        for _ in range(50):
            broken = bytearray(packed)
            broken[random.integers(len(packed))] ^= 1 << int(random.integers(8))
            with contextlib.suppress(CorruptChunkError):
                assert len(lz4_decompress(bytes(broken), size)) == size


@pytest.mark.parametrize(("packed", "plain"), [(10, 2**32 - 1), (2**32 - 1, 10), (10, 101)])
def test_lz4_headers_that_promise_too_much(packed, plain):
    """They are refused before anything is allocated."""
    stream = struct.pack("<8sBIII", b"LZ4Block", 0x26, packed, plain, 0) + bytes(10)
    with pytest.raises(CorruptChunkError, match="promises too much"):
        lz4_decompress(stream, 100)


def test_compressions_by_name():
    assert compression_of("zstd:5") == {"type": "zstd", "level": 5}
    assert compression_of("blosc:zstd:5") == {
        "type": "blosc",
        "cname": "zstd",
        "clevel": 5,
        "shuffle": 1,
        "blocksize": 0,
    }
    assert compression_of(None) == compression_of("none") == {"type": "raw"}
    assert compression_of("zlib") == {"type": "gzip", "level": -1, "useZlib": True}
    assert compression_of({"type": "xz"}) == {"type": "xz", "preset": 6}
    for wrong in ("jpeg", "gzip:x", "gzip:99", "raw:1", "blosc:a:1:2", {"type": "none"}, {"level": 1}):
        with pytest.raises(OptionError):
            compression_of(wrong)


@pytest.mark.parametrize(("version", "read"), [("2.5.1", True), ("4.0.0", True), ("5.0.0", False), ("new", False)])
def test_newer_versions_are_refused(tmp_path, version, read):
    Volume.from_numpy(np.ones((4, 4, 4), np.uint8), f"n5://file://{tmp_path}", progress=False)
    path = tmp_path / "attributes.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "n5": version}))
    if read:
        assert Volume(tmp_path)[:].all()
        return
    with pytest.raises(UnsupportedError, match="of N5"):
        Volume(tmp_path)
