"""Functions over a volume: the same result in every kind of worker, resumed, and clear about what does not fit."""

from __future__ import annotations

import functools
import json
import operator
import os

import numpy as np
import pytest
import zarr

from tests.volume.sample import END, OFFSET, SHAPE, empty, make, voxels
from volumekit import Bbox, Volume
from volumekit.errors import CastError, OptionError, ShapeError, StorageError, TargetExistsError, UnsupportedError
from volumekit.model.grid import is_aligned
from volumekit.ops import apply
from volumekit.ops.function import Function, mark_of

BLOCKS = {"shape": (16, 16, 8), "progress": False}


def double(block):
    return np.asarray(block) * 2


def neighbours(block):
    """Return each voxel's sum with those before and after it along x, where there are such."""
    padded = np.pad(np.asarray(block, np.uint32), [(1, 1), (0, 0), (0, 0), (0, 0)])
    return padded[:-2] + padded[1:-1] + padded[2:]


def total(block):
    return int(block.sum(dtype=np.int64))


def process_of(block):
    return os.getpid()


def plus(amount, block):
    return np.asarray(block) + np.uint16(amount)


@pytest.fixture
def made(tmp_path):
    return make(tmp_path / "v", array=np.minimum(voxels(), 30_000))


def test_a_new_volume(made, tmp_path):
    volume, array = made
    out = volume.map(double, tmp_path / "out", **BLOCKS)
    np.testing.assert_array_equal(out[:], 2 * array)
    assert (out.bounds, out.dtype, out.chunks) == (volume.bounds, volume.dtype, volume.chunks)
    assert out.provenance.sources == [volume.cloudpath]
    assert out.provenance.processing[-1]["method"]["function"].endswith("test_mapping.double")
    assert Volume(tmp_path / "out").exists().num_missing == 0


@pytest.mark.parametrize("pad", [None, "constant"])
def test_with_a_halo_blocks_do_not_show(made, tmp_path, pad):
    volume, array = made
    out = volume.map(neighbours, tmp_path / "out", halo=(1, 0, 0), pad=pad, dtype="uint32", **BLOCKS)
    np.testing.assert_array_equal(out[:], neighbours(array))
    assert out.dtype == np.uint32


def test_a_result_without_the_halo_will_do(made, tmp_path):
    volume, array = made
    out = volume.map(lambda block: block[1:-1, :, :, 0], tmp_path / "out", halo=(1, 0, 0), pad="edge", **BLOCKS)
    np.testing.assert_array_equal(out[:], array)


def test_other_channels_and_types(made, tmp_path):
    volume, array = made

    def colours(block):
        return np.concatenate([block, block // 2, block * 0], axis=3).astype(np.float32)

    how = {"dtype": np.float32, "channels": 3, "chunk_size": (8, 8, 8), "layer_type": "image", "compress": "gzip"}
    out = volume.map(colours, tmp_path / "out", progress=False, **how)
    np.testing.assert_array_equal(out[:], colours(array))
    assert (out.num_channels, out.chunks[:3]) == (3, (8, 8, 8))


def test_a_zarr(made, tmp_path):
    volume, array = made
    out = volume.map(double, tmp_path / "out.zarr", progress=False)
    np.testing.assert_array_equal(out[:], 2 * array)
    assert volume.map(double, tmp_path / "out.zarr", progress=False) == out


@pytest.mark.parametrize("how", [{}, {"sharding": True}])
def test_a_volume_that_is_there(made, tmp_path, how, monkeypatch):
    volume, array = made
    target = empty(tmp_path / "out", chunk=(8, 8, 4), **how)
    written = []
    real = Volume.upload
    monkeypatch.setattr(Volume, "upload", lambda self, box, *a, **k: written.append(box) or real(self, box, *a, **k))
    part = Bbox((0, 8, 102), (30, 30, 115))
    unit = target.shard_shape().tolist()
    out = volume.map(double, target, box=part, shape=unit, progress=False)
    assert out is target
    expected = np.zeros_like(array)
    inside = np.s_[5:35, 1:23, 2:15]
    expected[inside] = 2 * array[inside]
    target.fill_missing = True
    np.testing.assert_array_equal(target[:], expected)
    whole = [box.intersection(part) == box and is_aligned(target.bounds, unit, box) for box in written]
    assert any(whole) or how, "what lies inside is written whole"
    cells = [tuple((a - o) // u for a, o, u in zip(box.minpt.tolist(), OFFSET, unit, strict=True)) for box in written]
    assert len(set(cells)) == len(cells)


def test_results_in_order(made):
    volume, array = made
    sums = volume.map(total, **BLOCKS)
    boxes = volume.blocks((16, 16, 8)).boxes
    assert len(sums) == len(boxes)
    assert sums == [int(volume[box].sum(dtype=np.int64)) for box in boxes]
    assert volume.map(total, reduce=operator.add, **BLOCKS) == array.sum(dtype=np.int64)
    named = volume.map(lambda block, box: [box.minpt.tolist()], with_box=True, reduce=operator.add, halo=3, **BLOCKS)
    assert named == [box.minpt.tolist() for box in boxes]


def test_processes(made, tmp_path):
    volume, array = made
    out = volume.map(functools.partial(plus, 7), tmp_path / "out", processes=2, **BLOCKS)
    np.testing.assert_array_equal(out[:], array + 7)
    pids = volume.map(process_of, processes=2, shape=(16, 16, 8), box=np.s_[0:10, 10:20, 100:119], progress=False)
    assert os.getpid() not in pids


def test_what_cannot_be_sent_elsewhere(made, tmp_path):
    volume, _ = made
    with pytest.raises(OptionError, match="not picklable"):
        volume.map(lambda block: block, tmp_path / "out", processes=2)
    assert not (tmp_path / "out").exists()
    lost = Function(None, b"cnowhere\nnothing\n.")
    with pytest.raises(OptionError, match="cannot be loaded in another process"):
        lost(1)
    with pytest.raises(OptionError, match="function is 5"):
        volume.map(5)


@pytest.fixture
def fails_after(monkeypatch):
    def install(count):
        done, real = [], apply.Apply.__call__

        def call(self, task, report):
            if len(done) >= count:
                raise OptionError("stop here")
            real(self, task, report)
            done.append(task.number)

        monkeypatch.setattr(apply.Apply, "__call__", call)
        return done

    return install


@pytest.mark.parametrize("kind", ["new", "volume"])
def test_it_goes_on_where_it_was_cut_off(made, tmp_path, fails_after, kind, monkeypatch):
    volume, array = made
    out = tmp_path / "out" if kind == "new" else empty(tmp_path / "out")
    how = {"jobs": 1, **BLOCKS}
    done = fails_after(5)
    with pytest.raises(OptionError, match="stop here"):
        volume.map(double, out, **how)
    assert json.loads((tmp_path / "out/.volumekit/map.json").read_text())["done"] == [[0, 5]]
    with pytest.raises(TargetExistsError, match="other parameters"):
        volume.map(neighbours, out, **how)
    monkeypatch.undo()
    more = fails_after(1 << 30)
    volume.map(double, out, **{**how, "shape": (32, 32, 32)})
    assert min(more) == len(done) == 5, "the blocks of the journal count"
    np.testing.assert_array_equal(Volume(tmp_path / "out")[:], 2 * array)
    monkeypatch.undo()
    fails_after(0)
    volume.map(double, out, **how)


def test_what_is_there_is_not_replaced(made, tmp_path):
    volume, array = made
    make(tmp_path / "out")
    with pytest.raises(TargetExistsError, match="overwrite"):
        volume.map(double, tmp_path / "out", progress=False)
    out = volume.map(double, tmp_path / "out", overwrite=True, progress=False)
    np.testing.assert_array_equal(out[:], 2 * array)
    with pytest.raises(OptionError, match="same dataset"):
        volume.map(double, volume)


def test_failures_are_tried_again_and_listed(made, tmp_path):
    volume, array = made
    tried = []

    def sometimes(block, box):
        tried.append(box)
        if box.minpt[0] == 11 and tried.count(box) < 3:
            raise StorageError("a hiccup")
        return np.asarray(block)

    with pytest.raises(StorageError) as caught:
        volume.map(sometimes, tmp_path / "out", with_box=True, **BLOCKS)
    assert "6 of 18 tasks failed" in "\n".join(caught.value.__notes__)
    assert not (tmp_path / "out/info").exists()
    tried.clear()
    out = volume.map(sometimes, tmp_path / "out2", with_box=True, retries=2, **BLOCKS)
    np.testing.assert_array_equal(out[:], array)


@pytest.mark.parametrize(
    ("function", "error", "text"),
    [
        (lambda block: block[1:], ShapeError, r"returned \(15, 16, 8, 1\)"),
        (lambda block: 5, ShapeError, r"returned \(\)"),
        (lambda block: np.concatenate([block, block], axis=3), ShapeError, "what can be stored"),
        (lambda block: block.astype(np.float64), CastError, "float64"),
    ],
)
def test_what_does_not_fit_ends_it_at_once(made, tmp_path, function, error, text):
    volume, _ = made
    calls = []

    def counted(block):
        calls.append(1)
        return function(block)

    with pytest.raises(error, match=text) as caught:
        volume.map(counted, tmp_path / "out", jobs=1, **BLOCKS)
    assert len(calls) == 1
    assert caught.value.box is not None


def test_what_cannot_be(made, tmp_path):
    volume, _ = made
    target = empty(tmp_path / "small", shape=(20, 20, 10))
    with pytest.raises(OptionError, match="outside the target"):
        volume.map(double, target)
    same = empty(tmp_path / "same")
    with pytest.raises(OptionError, match=r"multiple of \[16, 16, 8\]"):
        volume.map(double, same, shape=(16, 16, 9))
    for bad in ({"dtype": "uint8"}, {"reduce": operator.add}, {"retries": -1}):
        with pytest.raises(OptionError):
            volume.map(double, same, **bad)
    for bad in ({"journal": tmp_path / "j"}, {"overwrite": True}, {"dtype": "uint8"}):
        with pytest.raises(OptionError):
            volume.map(double, **bad)
    info = Volume.create_new_info(1, "image", "uint16", "raw", (4, 4, 40), OFFSET, SHAPE, chunk_size=(8, 8, 8))
    spec = {"@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": 0, "hash": "murmurhash3_x86_128"}
    info["scales"][0]["sharding"] = {**spec, "minishard_bits": 1, "shard_bits": 1}
    scattered = Volume(str(tmp_path / "scattered"), info=info)
    with pytest.raises(UnsupportedError, match="scattered"):
        volume.map(double, scattered)
    assert tuple(volume.bounds.maxpt.tolist()) == END


def test_marks_tell_functions_apart():
    def made_with(amount):
        return lambda block: block + amount

    assert mark_of(double) == mark_of(double)
    assert mark_of(double) != mark_of(neighbours)
    assert mark_of(made_with(1)) == mark_of(made_with(1))
    assert mark_of(made_with(1)) != mark_of(made_with(2))
    assert mark_of(functools.partial(plus, 1)) != mark_of(functools.partial(plus, 2))
    assert mark_of(np.sqrt) != mark_of(np.abs)


@pytest.mark.parametrize("how", [{}, {"processes": 2}])
@pytest.mark.parametrize("together", [1, 3])
def test_a_position_on_a_further_axis(tmp_path, how, together):
    """Workers open the volume at the position that it was opened at here."""
    film = np.random.default_rng(4).integers(0, 255, (3, 9, 10, 11), np.uint8)
    group = zarr.open_group(tmp_path / "film.zarr", mode="w")
    group.create_array("0", data=film, chunks=(together, 8, 8, 8))
    axes = [{"name": "t", "type": "time"}, *({"name": name, "type": "space"} for name in "zyx")]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 4, 4, 4]}]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    volume = Volume(tmp_path / "film.zarr", at={"t": 2})
    out = volume.map(functools.partial(operator.xor, 255), tmp_path / "out", shape=8, progress=False, **how)
    np.testing.assert_array_equal(out[...][..., 0], 255 - film[2].T)
