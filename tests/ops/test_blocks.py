"""Blocks: every voxel once, halos as asked for, no more memory than allowed."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest

from tests.volume.sample import CHUNK, END, OFFSET, SHAPE, make, voxels
from volumekit import Bbox, Volume
from volumekit.errors import MissingChunkError, OptionError, OutOfBoundsError, ShapeError
from volumekit.model.boxes import Boxes
from volumekit.ops import blocks as module


@pytest.fixture
def made(tmp_path):
    return make(tmp_path / "v")


def inside(array, box):
    return array[
        tuple(slice(a - o, b - o) for a, b, o in zip(box.minpt.tolist(), box.maxpt.tolist(), OFFSET, strict=True))
    ]


@pytest.mark.parametrize("shape", [None, 7, (16, 16, 8), (100, 1, 5)])
def test_every_voxel_comes_once(made, shape):
    volume, array = made
    seen = np.zeros(SHAPE, int)
    for box, block in volume.blocks(shape):
        inside(seen, box)[...] += 1
        np.testing.assert_array_equal(block, inside(array, box))
        assert block.bounds == box
    assert (seen == 1).all()


def test_blocks_are_whole_chunks_unless_told_otherwise(made, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 4 * 16 * 16 * 8 * 2)
    blocks = made[0].blocks()
    assert blocks.boxes.shape == (32, 16, 16)
    assert len(blocks) == 2 * 2 * 2
    assert all((a - o) % c == 0 for box in blocks.boxes for a, o, c in zip(box.minpt, OFFSET, CHUNK, strict=True))


def test_blocks_are_whole_shards(tmp_path, monkeypatch):
    volume, _ = make(tmp_path / "v", array=voxels((64, 64, 64)), chunk=(8, 8, 8), sharding=True)
    monkeypatch.setattr(module, "BLOCK_BYTES", 0)
    assert volume.blocks().boxes.shape == tuple(volume.shard_shape())
    assert list(volume.blocks().boxes) == list(volume.shard_boxes())


def test_a_halo_is_clipped_at_the_bounds(made):
    volume, array = made
    blocks = volume.blocks((16, 16, 8), halo=(3, 2, 1))
    for box, block in blocks:
        low = [max(a - h, o) for a, h, o in zip(box.minpt.tolist(), (3, 2, 1), OFFSET, strict=True)]
        high = [min(b + h, e) for b, h, e in zip(box.maxpt.tolist(), (3, 2, 1), END, strict=True)]
        assert block.bounds == Bbox(low, high)
        np.testing.assert_array_equal(block, inside(array, block.bounds))
        np.testing.assert_array_equal(blocks.core(box, block), inside(array, box))


@pytest.mark.parametrize("pad", ["constant", "edge", "reflect", "symmetric"])
def test_a_halo_is_padded_as_numpy_does(made, pad):
    volume, array = made
    volume.background_color = 9
    how = {"constant_values": 9} if pad == "constant" else {}
    whole = np.pad(array, [(5, 5), (4, 4), (3, 3), (0, 0)], pad, **how)
    blocks = volume.blocks((16, 16, 8), halo=(5, 4, 3), pad=pad)
    for box, block in blocks:
        start = [a - o for a, o in zip(box.minpt.tolist(), OFFSET, strict=True)]
        size = [n + 2 * h for n, h in zip(box.size().tolist(), (5, 4, 3), strict=True)]
        if pad == "constant" or pad == "edge":
            expected = whole[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))]
            np.testing.assert_array_equal(block, expected)
        assert block.shape[:3] == tuple(size)
        assert block.bounds == box.grow((5, 4, 3))
        np.testing.assert_array_equal(blocks.core(box, block), inside(array, box))


def test_what_is_reflected_is_what_lies_inside(made):
    volume, array = made
    _, block = volume.blocks((16, 16, 8), halo=(2, 0, 0), pad="reflect")[0]
    np.testing.assert_array_equal(block[:2], array[2:0:-1, :16, :8])
    _, block = volume.blocks((16, 16, 8), halo=(2, 0, 0), pad="symmetric")[0]
    np.testing.assert_array_equal(block[:2], array[1::-1, :16, :8])


def test_a_part_is_cut_along_the_same_grid(made):
    volume, array = made
    part = np.s_[0:20, 10:30, 101:110]
    blocks = volume.blocks((16, 16, 8), box=part)
    assert len(blocks) == 2 * 2 * 2
    assert sum(box.volume() for box in blocks.boxes) == 20 * 20 * 9
    assert blocks.boxes[0] == Bbox((0, 10, 101), (11, 23, 108))
    for box, block in blocks:
        np.testing.assert_array_equal(block, inside(array, box))


def test_shares_of_tasks_are_all_of_it(made):
    blocks = made[0].blocks(8)
    shares = [blocks[task::5] for task in range(5)]
    assert sum(map(len, shares)) == len(blocks)
    boxes = [box for share in shares for box, _ in share]
    assert set(boxes) == set(blocks.boxes)
    box, block = blocks[-1]
    assert box == blocks.boxes[len(blocks) - 1]
    np.testing.assert_array_equal(block, pickle.loads(pickle.dumps(blocks))[-1][1])
    with pytest.raises(IndexError):
        blocks[len(blocks)]


def test_boxes_take_no_room():
    boxes = Boxes(Bbox((0, 0, 0), (1 << 20, 1 << 20, 1 << 20)), (64, 64, 64))
    assert len(boxes) == 1 << 42
    assert boxes[(1 << 42) - 1].maxpt.tolist() == [1 << 20] * 3
    assert boxes[1].minpt.tolist() == [64, 0, 0]
    assert boxes[1 << 14].minpt.tolist() == [0, 64, 0]


@pytest.mark.parametrize(("room", "ahead"), [(1, 0), (2.5, 1), (4, 3)])
def test_no_more_is_read_ahead_than_there_is_memory_for(made, monkeypatch, room, ahead):
    volume, _ = made
    started, gate = [], threading.Semaphore(0)
    real = module.Blocks.read

    def read(self, box):
        started.append(box)
        gate.release()
        return real(self, box)

    monkeypatch.setattr(module.Blocks, "read", read)
    blocks = iter(volume.blocks((16, 16, 8), memory=int(room * 16 * 16 * 8 * 2)))
    for given in range(1, 5):
        next(blocks)
        for _ in range(given + ahead - len(started)):
            assert gate.acquire(timeout=5)
        assert len(started) <= given + ahead
    blocks.close()
    assert len(started) <= 4 + ahead


def test_an_error_comes_with_its_block(made):
    volume, _ = made
    volume.delete(Bbox((11, 7, 100), (27, 23, 108)))
    blocks = iter(volume.blocks((16, 16, 8)))
    next(blocks)
    with pytest.raises(MissingChunkError):
        next(blocks)
    filled = [block for _, block in volume.blocks((16, 16, 8), fill_missing=True)]
    assert not filled[1].any()


def test_what_cannot_be(made):
    volume, _ = made
    for bad in ({"shape": 0}, {"shape": (1, 2)}, {"halo": -1}, {"pad": "mean"}, {"memory": "much"}):
        with pytest.raises(OptionError):
            volume.blocks(**bad)
    with pytest.raises(OutOfBoundsError):
        volume.blocks(box=np.s_[0:5, 0:5, 0:5])
    blocks = volume.blocks((16, 16, 8), halo=1)
    with pytest.raises(ShapeError, match="block of"):
        blocks.core(blocks.boxes[0], np.zeros((1, 2, 3)))


def test_of_any_mip_and_without_disturbing_the_volume(tmp_path):
    volume, _ = make(tmp_path / "v", max_mip=1, factor=(2, 2, 1))
    coarse = np.arange(volume.mip_shape(1)[0], dtype=np.uint16)[:, None, None, None]
    volume.mip = 1
    volume[:] = np.broadcast_to(coarse, volume.shape)
    volume.mip = 0
    for box, block in volume.blocks((16, 16, 8), mip=1):
        volume.mip = 0
        assert block.mip == 1
        np.testing.assert_array_equal(block[:, 0, 0, 0], np.arange(box.minpt[0], box.maxpt[0]) + 3)
    assert Volume(volume.cloudpath).mip == 0
