import numpy as np
import pytest

from volumekit.errors import MetadataError
from volumekit.model.grid import iterate_cells, morton
from volumekit.model.sharding import SHARDED, ShardingSpec, murmurhash

BITS = ("preshift_bits", "minishard_bits", "shard_bits")
GOOD = {"@type": SHARDED, "preshift_bits": 2, "hash": "identity", "minishard_bits": 3, "shard_bits": 5}


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, 0x4772B084E028AE41),
        (1, 0xE8BD67D616D4CE9A),
        (2, 0xD62F9CD21B013F5A),
        (12345, 0x1D31307E3A65E510),
        ((1 << 40) + 5, 0x1F925064F88DB852),
        ((1 << 64) - 1, 0x574F66BD212B5D1A),
    ],
)
def test_murmurhash(number, expected):
    assert murmurhash(number) == expected


def test_defaults_and_round_trip():
    spec = ShardingSpec.parse(GOOD)
    assert spec == ShardingSpec(2, "identity", 3, 5, "raw", "raw")
    assert spec.to_json() == {**GOOD, "minishard_index_encoding": "raw", "data_encoding": "raw"}
    assert ShardingSpec.parse({**GOOD, "colour": "blue", "shard_bits": np.int64(5), "preshift_bits": 2.0}) == spec


@pytest.mark.parametrize(
    "change",
    [
        *(
            {name: bad}
            for name in ("preshift_bits", "minishard_bits", "shard_bits")
            for bad in (-1, 65, 2.5, "3", None)
        ),
        {"minishard_bits": 25},
        {"minishard_bits": True},
        {"shard_bits": float("nan")},
        {"shard_bits": float("inf")},
        {"minishard_bits": 3, "shard_bits": 62},
        {"hash": "sha256"},
        {"hash": None},
        {"hash": ["identity"]},
        {"minishard_index_encoding": "br"},
        {"data_encoding": 7},
    ],
    ids=str,
)
def test_nonsense_is_refused(change):
    with pytest.raises(MetadataError, match=next(iter(change))):
        ShardingSpec.parse({**GOOD, **change})


@pytest.mark.parametrize("value", [[], "x", 5, {}])
def test_no_object_is_refused(value):
    with pytest.raises(MetadataError, match="sharding"):
        ShardingSpec.parse(value)


def test_places():
    spec = ShardingSpec.parse(GOOD)
    assert spec.place(0) == (0, 0)
    assert spec.place(0b10110_101_11) == (0b10110, 0b101)
    assert spec.place(1 << 63 | 0b10110_101_11) == (0b10110, 0b101)
    hashed = ShardingSpec(1, "murmurhash3_x86_128", 4, 60)
    assert hashed.place(3) == (0xE8BD67D616D4CE9, 0xA)
    assert ShardingSpec().place((1 << 64) - 1) == (0, 0)


@pytest.mark.parametrize(
    ("bits", "shard", "file"),
    [
        (0, 0, "0.shard"),
        (1, 1, "1.shard"),
        (4, 15, "f.shard"),
        (5, 15, "0f.shard"),
        (64, 1 << 63, "8000000000000000.shard"),
    ],
)
def test_files(bits, shard, file):
    spec = ShardingSpec(shard_bits=bits)
    assert spec.file(shard) == file
    assert spec.shard(file) == shard
    assert spec.shard(file.replace(".shard", ".index")) == shard
    for other in (f"0{file}", file.upper(), file[:-1], f"a/{file}", file.replace(".shard", ".data"), "info", ""):
        assert spec.shard(other) is None, other


def test_a_file_of_another_sharding_is_no_shard():
    assert ShardingSpec(shard_bits=5).shard("20.shard") is None
    assert ShardingSpec(shard_bits=5).shard("1f.shard") == 31


@pytest.mark.parametrize("grid", [(8, 8, 8), (5, 3, 9), (1, 1, 1), (100, 1, 7), (2, 17, 3)])
@pytest.mark.parametrize(
    ("preshift", "minishard", "shard"), [(0, 0, 12), (1, 2, 20), (3, 0, 9), (9, 9, 0), (2, 1, 1), (0, 0, 0)]
)
def test_shards_are_boxes_where_it_says_so(grid, preshift, minishard, shard):
    spec = ShardingSpec(preshift, "identity", minishard, shard)
    shards: dict[int, list[tuple[int, ...]]] = {}
    for cell in iterate_cells(tuple(map(range, grid))):
        shards.setdefault(spec.place(morton(cell, grid))[0], []).append(cell)
    shape = spec.shape(grid)
    boxes = {n: (np.min(cells, axis=0), np.max(cells, axis=0) + 1) for n, cells in shards.items()}
    tiled = all(np.prod(high - low) == len(shards[n]) for n, (low, high) in boxes.items())
    if shape is None:
        assert not tiled or len(shards) == 1
        return
    assert tiled
    for low, high in boxes.values():
        assert (low % shape == 0).all()
        assert (high == np.minimum(low + shape, grid)).all()


def test_hashed_shards_are_no_boxes():
    assert ShardingSpec(0, "murmurhash3_x86_128", 1, 4).shape((8, 8, 8)) is None
