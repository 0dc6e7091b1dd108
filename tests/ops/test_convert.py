"""The main job: the voxels are right whatever the memory, and nothing that failed looks finished."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
import tensorstore as ts
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from volumekit import Bbox, Volume, convert
from volumekit.engine import compiled_files, planes
from volumekit.engine.array import LevelArray
from volumekit.errors import (
    CastError,
    ImageStackError,
    MissingChunkError,
    NoSpaceError,
    OptionError,
    OutOfBoundsError,
    PermissionDeniedError,
    StorageError,
    UnsupportedError,
)
from volumekit.ops import stream
from volumekit.ops.build import plan_levels, plan_reading
from volumekit.ops.inputs import ArrayInput, VolumeInput
from volumekit.ops.kernels import downsample, downsample_gaussian
from volumekit.ops.ladder import PROGRAM_BYTES
from volumekit.ops.pyramid import column_bytes
from volumekit.ops.stream import Stream
from volumekit.storage.kvstore import FileStore
from volumekit.storage.shards import ShardedStore


def image(shape, dtype="uint8", seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape, dtype)
    return rng.integers(0, min(np.iinfo(dtype).max, 1 << 40), shape, dtype)


def labels(shape, dtype="uint32"):
    return np.random.default_rng(1).integers(0, 3, shape).astype(dtype)


def pyramid(array, low, factor, mips, method):
    """The levels of a whole array, each from the one before, by TensorStore."""
    found = [array]
    for _ in range(mips):
        if method == "gaussian":
            coarse = downsample_gaussian(found[-1], factor, origin=low)
        elif array.dtype.kind == "f":  # TensorStore adds in another order
            coarse = downsample(np.asfortranarray(found[-1]), factor, method=method, origin=low)
        else:
            base = ts.array(found[-1]).translate_to[(*low, 0)[: array.ndim]]
            steps = (*factor, 1)[: array.ndim]
            coarse = ts.downsample(base, steps, method=method).read().result()
        low = [a // f for a, f in zip(low, factor, strict=True)]
        found.append(np.asarray(coarse))
    return found


def check(volume, array, low, factor, mips, method="mean"):
    wanted = array if array.ndim == 4 else array[..., np.newaxis]
    assert len(volume.levels) == mips + 1
    for mip, expected in enumerate(pyramid(wanted, low, factor, mips, method)):
        volume.mip = mip
        assert volume.voxel_offset.tolist() == [a // f**mip for a, f in zip(low, factor, strict=True)]
        np.testing.assert_array_equal(np.asarray(volume[:]), expected)


@pytest.fixture
def stack(tmp_path):
    array = image((40, 30, 12))
    (tmp_path / "stack").mkdir()
    for z in range(12):
        tifffile.imwrite(tmp_path / "stack" / f"z{z}.tif", array[:, :, z].T)
    return tmp_path / "stack", array


@pytest.mark.parametrize("method", ["mean", "mode", "median", "min", "max"])
@pytest.mark.parametrize(
    ("low", "factor"), [((0, 0, 0), (2, 2, 2)), ((-7, 5, -1), (2, 2, 1)), ((3, -2, 11), (3, 1, 2))]
)
def test_levels_equal_those_of_the_whole_array(tmp_path, method, low, factor):
    array = image((61, 43, 37)) % 5
    volume = convert(array, tmp_path / "v", offset=low, factor=factor, mips=3, method=method, chunk_size=(8, 16, 8))
    check(volume, array, low, factor, 3, method)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "uint64", "float32"])
def test_data_types_and_channels(tmp_path, dtype):
    array = image((33, 20, 9, 3), dtype)
    volume = convert(array, tmp_path / "v", mips=2, chunk_size=(16, 16, 4))
    assert volume.num_channels == 3
    check(volume, array, (0, 0, 0), (2, 2, 2), 2)


@pytest.mark.parametrize(
    ("low", "chunk", "dtype"),
    [((0, 0, 0), (16, 8, 8), "uint16"), ((-5, 3, 1), (8, 16, 8), "float32"), ((16, -33, 8), (10, 14, 9), "uint8")],
)
@pytest.mark.parametrize("method", ["mean", "gaussian"])
def test_same_voxels_whatever_the_memory(method, low, chunk, dtype):
    array = np.asfortranarray(image((70, 75, 60), dtype))
    filtering = 128 << 20 if method == "gaussian" else 0
    plans = set()
    for buffers in (1 << 30, 2_000_000, 1_200_000, 600_000, 200_000):
        memory = PROGRAM_BYTES + filtering + buffers
        url = f"memory://{method}-{dtype}-{buffers}"
        try:
            volume = convert(array, url, offset=low, chunk_size=chunk, mips=2, method=method, memory=memory, jobs=2)
        except OptionError as error:
            assert "too little" in str(error)  # noqa: PT017 - some limits are enough only for some chunks
            continue
        plans.add(plan_shape(volume, method, memory))
        check(volume, array, low, (2, 2, 2), 2, method)
    assert len(plans) >= 2, "the limits should lead to different plans"


@settings(max_examples=25, deadline=None)
@given(
    low=st.tuples(*[st.sampled_from([0, 0, 8, 3, -4])] * 3),
    size=st.tuples(st.integers(1, 40), st.integers(1, 90), st.integers(1, 40)),
    chunk=st.tuples(*[st.sampled_from([4, 8, 6])] * 3),
    factor=st.tuples(*[st.sampled_from([1, 2, 2, 3])] * 3),
    mips=st.integers(0, 3),
    jobs=st.sampled_from([1, 2, 3]),
    short=st.booleans(),
    channels=st.sampled_from([1, 2]),
    group=st.sampled_from([1, 1000, 1 << 20]),
)
@example(
    low=(0, 0, 0),
    size=(1, 1, 1),
    chunk=(4, 4, 4),
    factor=(1, 1, 2),
    mips=1,
    jobs=1,
    short=False,
    channels=1,
    group=1,
)
def test_any_conversion_is_right(tmp_path_factory, low, size, chunk, factor, mips, jobs, short, channels, group):
    mips = mips if max(factor) > 1 else 0  # such a factor makes no coarser level, and is refused
    array = image((*size, channels))
    how = {"chunk_size": chunk, "factor": factor, "mips": mips, "jobs": jobs}
    memory = PROGRAM_BYTES + (300_000 if short else 64 << 20)
    with mock.patch("volumekit.ops.pyramid.GROUP_BYTES", group):
        made = convert(array, tmp_path_factory.mktemp("any") / "v", offset=low, memory=memory, progress=False, **how)
    check(made, array, low, factor, levels_that_shrink(low, size, factor, mips))


def levels_that_shrink(low, size, factor, mips):
    """Return the number of the last of some levels that is smaller than the one before."""
    last, ends = 0, [(a, a + n) for a, n in zip(low, size, strict=True)]
    for mip in range(1, mips + 1):
        coarser = [(a // f, -(-b // f)) for (a, b), f in zip(ends, factor, strict=True)]
        if any(b - a < q - p for (a, b), (p, q) in zip(coarser, ends, strict=True)):
            last = mip
        ends = coarser
    return last


def test_shards_are_written_whole_and_once(tmp_path, monkeypatch):
    update, filled = ShardedStore.update, []

    def counted(self, changes, **how):
        filled.append({self.group(key) for key in changes})
        return update(self, changes, **how)

    monkeypatch.setattr(ShardedStore, "update", counted)
    array = image((150, 130, 70))
    bits = {"preshift_bits": 6, "minishard_bits": 0, "shard_bits": 8}
    packing = {"hash": "identity", "minishard_index_encoding": "raw", "data_encoding": "raw"}
    sharding = {"@type": "neuroglancer_uint64_sharded_v1", **bits, **packing}
    how = {"chunk_size": 8, "mips": 2, "sharding": sharding, "jobs": 2}
    made = convert(array, tmp_path / "v", offset=(16, 0, 8), memory=PROGRAM_BYTES + (16 << 20), **how)
    shards = {str(path.relative_to(tmp_path / "v")) for path in (tmp_path / "v").rglob("*.shard")}
    assert all(len(groups) == 1 for groups in filled)
    assert sorted(group for groups in filled for group in groups) == sorted(shards)
    assert len(shards) > 30
    check(made, array, (16, 0, 8), (2, 2, 2), 2)


@pytest.mark.parametrize("kind", ["uint8", ">u2", "rgb", "several strips"])
def test_a_stack_by_strips_is_what_the_images_are(tmp_path, monkeypatch, kind):
    """Uncompressed images are read in parts, some planes at a time; the headers of each are read once."""
    monkeypatch.setattr("volumekit.ops.pyramid.GROUP_BYTES", 1000)
    array = image((50, 61, 20, 3 if kind == "rgb" else 1), "uint16" if kind == ">u2" else "uint8")
    (tmp_path / "stack").mkdir()
    how = {"byteorder": ">"} if kind == ">u2" else {"rowsperstrip": 7} if kind == "several strips" else {}
    colour = "rgb" if kind == "rgb" else "minisblack"
    for z in range(20):
        plane = np.ascontiguousarray(array[:, :, z].swapaxes(0, 1)).squeeze()
        tifffile.imwrite(tmp_path / "stack" / f"z{z:02}.tif", plane, photometric=colour, **how)
    read, headers = planes.stored_pages, []
    monkeypatch.setattr(
        planes, "stored_pages", lambda store, name, *known: headers.append(name) or read(store, name, *known)
    )
    made = convert(tmp_path / "stack", tmp_path / "v", chunk_size=8, mips=2, voxel_size=(1, 1, 1), jobs=2)
    check(made, array, (0, 0, 0), (2, 2, 2), 2)
    assert len(headers) == len(set(headers)) == 20


def plan_shape(volume, method, memory):
    factors = [(2, 2, 2)] * 2
    plan = plan_levels(volume, range(3), factors, copies=True, method=method, memory=memory, threads=2)
    return tuple((len(stage.tasks), len(stage.rungs)) for stage in plan.stages)


@pytest.mark.parametrize("offset", [(0, 0, 0), (3, 1, 2)], ids=["strips", "slabs"])
def test_each_voxel_is_read_once_and_each_chunk_written_once(tmp_path, monkeypatch, offset):
    reads, written = np.zeros((64, 64, 64), int), []
    read, put, make = ArrayInput.read, FileStore.put, FileStore.make

    def counted_read(self, box, out, report):
        reads[box.to_slices()] += 1
        read(self, box, out, report)

    def counted_put(self, key, data):
        written.append(key)
        put(self, key, data)

    def counted_make(self, keys, sizes):
        written.extend(keys)
        return make(self, keys, sizes)

    monkeypatch.setattr(ArrayInput, "read", counted_read)
    monkeypatch.setattr(FileStore, "put", counted_put)
    monkeypatch.setattr(FileStore, "make", counted_make)
    monkeypatch.setattr("volumekit.ops.pyramid.GROUP_BYTES", 1)
    array, how = image((64, 64, 64)), {"chunk_size": 8, "offset": offset, "jobs": 2}
    made = convert(array, tmp_path / "v", mips=2, memory=PROGRAM_BYTES + (8 << 20), **how)
    assert (reads == 1).all()
    found = {str(path.relative_to(tmp_path / "v")) for path in (tmp_path / "v").glob("*/*") if "-" in path.name}
    assert sorted(written) == sorted(found)
    check(made, array, offset, (2, 2, 2), 2)


def test_a_stack_of_images(stack, tmp_path):
    folder, array = stack
    volume = convert(folder, tmp_path / "v", voxel_size=(4, 4, 40), mips=1)
    assert volume.resolution.tolist() == [4, 4, 40]
    check(volume, array, (0, 0, 0), (2, 2, 2), 1)
    check(convert(str(folder / "*.tif"), tmp_path / "g"), array, (0, 0, 0), (2, 2, 2), 0)


def test_many_pages_one_thread(stack, tmp_path):
    _, array = stack
    tifffile.imwrite(tmp_path / "x.tif", array.T, photometric="minisblack")
    code = "import sys; from volumekit import convert; convert(sys.argv[1], sys.argv[2], jobs=1, mips=1)"
    command = [sys.executable, "-c", code, str(tmp_path / "x.tif"), str(tmp_path / "v")]
    subprocess.run(command, check=True, timeout=30, capture_output=True)
    check(Volume(tmp_path / "v"), array, (0, 0, 0), (2, 2, 2), 1)


def test_images_placed_by_name(stack, tmp_path):
    folder, array = stack
    for z in (3, 4):
        (folder / f"z{z}.tif").unlink()
    with pytest.warns(UserWarning, match="no image has the number"):
        volume = convert(folder, tmp_path / "v", z_from_name=True)
    array[:, :, 3:5] = 0
    check(volume, array, (0, 0, 0), (2, 2, 2), 0)


def test_box_and_offset(stack, tmp_path):
    folder, array = stack
    part = array[10:35, 3:20, 2:9]
    volume = convert(folder, tmp_path / "a", box=np.s_[10:35, 3:20, 2:9], mips=1, chunk_size=8)
    check(volume, part, (10, 3, 2), (2, 2, 2), 1)
    box = Bbox((10, 3, 2), (35, 20, 9))
    volume = convert(folder, tmp_path / "b", box=box, offset=(-3, 0, 5), mips=1, chunk_size=8)
    check(volume, part, (-3, 0, 5), (2, 2, 2), 1)
    with pytest.raises(OutOfBoundsError):
        convert(folder, tmp_path / "c", box=[0, 0, 0, 41, 30, 12])
    with pytest.raises(OptionError, match="at least one"):
        convert(folder, tmp_path / "c", box=[0, 0, 0, 0, 30, 12])


def test_a_volume_into_another(tmp_path):
    array = labels((50, 40, 30))
    first = convert(array, tmp_path / "a", voxel_size=(4, 4, 40), offset=(5, 6, 7), layer_type="segmentation")
    first.provenance.owners = ["ada@example.org"]
    first.commit_provenance()
    second = convert(first, tmp_path / "b", encoding="compressed_segmentation", chunk_size=(16, 16, 16), mips=2)
    assert second.layer_type == "segmentation"
    assert second.resolution.tolist() == [4, 4, 40]
    assert second.provenance.owners == ["ada@example.org"]
    assert second.provenance.sources == [first.cloudpath]
    assert [entry["method"]["task"] for entry in second.provenance.processing] == ["convert", "convert"]
    check(second, array, (5, 6, 7), (2, 2, 2), 2, "mode")


def test_units(tmp_path):
    volume = convert(image((4, 4, 4)), tmp_path / "v", voxel_size=(0.1, 0.1, 1.3), unit="um")
    assert volume.resolution.tolist() == [100, 100, 1300]


def test_narrow_labels_become_wide_enough(tmp_path):
    array = labels((20, 20, 20), "uint16")
    volume = convert(array, tmp_path / "v", encoding="compressed_segmentation")
    assert volume.dtype == np.uint32
    check(volume, array.astype(np.uint32), (0, 0, 0), (2, 2, 2), 0)
    assert convert(array > 0, tmp_path / "b").dtype == np.uint8


def test_wider_type_of_a_stack(stack, tmp_path):
    folder, array = stack
    volume = convert(folder, tmp_path / "v", data_type="float32", mips=1, chunk_size=16)
    check(volume, array.astype(np.float32), (0, 0, 0), (2, 2, 2), 1)


def test_compressed_chunks(tmp_path):
    array = image((40, 40, 40))
    volume = convert(array, tmp_path / "v", compress="gzip", chunk_size=16, mips=1)
    assert not [p for p in (tmp_path / "v" / "1_1_1").iterdir() if p.suffix != ".gz"]
    check(volume, array, (0, 0, 0), (2, 2, 2), 1)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"data_type": "uint8"}, CastError, "without loss; lossless data types are"),
        ({"data_type": "complex64"}, OptionError, "data_type"),
        ({"encoding": "jpeg"}, OptionError, "jpeg"),
        ({"encoding": "jpegxxl"}, OptionError, "jpegxxl"),
        ({"mips": -1}, OptionError, "mips"),
        ({"mips": 99}, OptionError, "mips"),
        ({"mips": 1, "factor": (1, 1, 1)}, OptionError, "factor"),
        ({"factor": (0, 2, 2)}, OptionError, "factor"),
        ({"factor": "big"}, OptionError, "factor"),
        ({"chunk_size": (0, 1, 1)}, OptionError, "chunk_size"),
        ({"chunk_size": (8, 8)}, OptionError, "chunk_size"),
        ({"voxel_size": (1, -1, 1)}, OptionError, "voxel_size"),
        ({"voxel_size": (1, 1)}, OptionError, "voxel_size"),
        ({"voxel_size": (1, 1, float("nan"))}, OptionError, "voxel_size"),
        ({"voxel_size": (1, 1, 1), "unit": "inch"}, OptionError, "unit"),
        ({"method": "best", "mips": 1}, OptionError, "method"),
        ({"layer_type": "photo"}, OptionError, "layer_type"),
        ({"memory": "a lot"}, OptionError, "memory"),
        ({"memory": "10MB"}, OptionError, "memory of 10 MB is too little"),
        ({"jobs": 0}, OptionError, "jobs"),
        ({"offset": (2**63, 0, 0)}, OptionError, "coordinates .* are beyond"),
        ({"offset": (0.5, 0, 0)}, OptionError, "offset"),
        ({"compress": "rar"}, OptionError, "compress"),
        ({"box": "all"}, OptionError, "chunk name"),
        ({"format": "stack"}, UnsupportedError, "stack"),
    ],
)
def test_impossible_options_leave_nothing_behind(tmp_path, options, error, text):
    with pytest.raises(error, match=text):
        convert(image((9, 9, 9), "uint16"), tmp_path / "v", **options)
    assert not (tmp_path / "v").exists()


def test_float64_is_refused(tmp_path):
    with pytest.raises(CastError, match=r"no data type of precomputed holds its values; those of OME-Zarr do"):
        convert(np.zeros((4, 4, 4)), tmp_path / "v")


def test_names_that_end_in_zarr(tmp_path):
    assert convert(image((4, 4, 4)), tmp_path / "v.zarr").cloudpath.startswith("ome-zarr://")
    made = convert(image((4, 4, 4)), tmp_path / "w.zarr", format="precomputed")
    assert made.cloudpath.startswith("precomputed://")


def test_a_dataset_is_only_replaced_when_asked(tmp_path):
    convert(image((20, 20, 20)), tmp_path / "v", voxel_size=(4, 4, 4), chunk_size=8)
    (tmp_path / "v" / "4_4_4" / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match="overwrite"):
        convert(image((8, 8, 8)), tmp_path / "v")
    volume = convert(image((8, 8, 8)), tmp_path / "v", overwrite=True)
    assert volume.shape == (8, 8, 8, 1)
    assert [p.name for p in (tmp_path / "v" / "4_4_4").iterdir()] == ["notes.txt"]


def test_foreign_chunks_without_an_info_are_not_removed_unasked(tmp_path):
    (tmp_path / "v" / "1_1_1").mkdir(parents=True)
    (tmp_path / "v" / "1_1_1" / "0-8_0-8_0-8").write_bytes(b"precious")
    with pytest.raises(OptionError, match="chunks but no metadata"):
        convert(image((8, 8, 8)), tmp_path / "v")
    assert (tmp_path / "v" / "1_1_1" / "0-8_0-8_0-8").read_bytes() == b"precious"
    convert(image((8, 8, 8)), tmp_path / "v", overwrite=True)


def test_source_and_target_must_differ(tmp_path):
    volume = convert(image((8, 8, 8)), tmp_path / "v")
    with pytest.raises(OptionError, match="same dataset"):
        convert(volume, tmp_path / "v", overwrite=True)
    assert np.asarray(Volume(tmp_path / "v")[:]).any()


@pytest.mark.parametrize("name", ["link", "v/inner", "folder/../v", ".", "link/inner"])
def test_a_source_is_not_destroyed_under_another_name(tmp_path, name):
    array = image((8, 8, 8))
    convert(array, tmp_path / "v")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("v")
    for source, target in (("v", name), ("link", name)):
        with pytest.raises(OptionError, match=r"same dataset|inside the other"):
            convert(tmp_path / source, tmp_path / target, overwrite=True)
    check(Volume(tmp_path / "v"), array, (0, 0, 0), (2, 2, 2), 0)


def test_memory_volumes_are_kept_apart():
    volume = convert(image((8, 8, 8)), "memory://apart/a")
    for target in ("memory://apart/a", "precomputed://memory://apart/a", "memory://apart/a/b", "memory://apart"):
        with pytest.raises(OptionError, match=r"same dataset|inside the other"):
            convert(volume, target, overwrite=True)
    assert convert(volume, "memory://apart/ab").shape == (8, 8, 8, 1)


def test_no_volume_among_its_images(stack, tmp_path):
    folder, array = stack
    (tmp_path / "link").symlink_to(folder)
    for source in (folder, f"stack://{folder}", folder / "*.tif", folder / "z0.tif"):
        for target in (folder, tmp_path / "link"):
            with pytest.raises(OptionError, match="among its own images"):
                convert(source, target, overwrite=True)
    assert not (folder / "info").exists()
    for target in (folder / "volume", tmp_path / "link" / "deep" / "volume"):
        with pytest.raises(OptionError, match=r"inside the folder of the source's images.*\*\.tif"):
            convert(folder, target)
    assert not (folder / "volume").exists()
    check(convert(folder / "*.tif", folder / "volume"), array, (0, 0, 0), (2, 2, 2), 0)


@pytest.fixture
def holed(tmp_path):
    volume = convert(np.ones((20, 20, 20), np.uint8), tmp_path / "holed", chunk_size=10)
    (tmp_path / "holed" / "1_1_1" / "0-10_0-10_0-10").unlink()
    return volume


def test_a_target_is_not_removed_for_a_source_with_holes(holed, tmp_path):
    array = image((8, 8, 8))
    convert(array, tmp_path / "v")
    with pytest.raises(MissingChunkError, match=r"1 of 8 chunks.*fill_missing"):
        convert(holed, tmp_path / "v", overwrite=True)
    check(Volume(tmp_path / "v"), array, (0, 0, 0), (2, 2, 2), 0)
    sound = convert(holed, tmp_path / "v", overwrite=True, box=[10, 0, 0, 20, 20, 20])
    assert np.asarray(sound[:]).all()


def test_missing_chunks_are_filled_when_asked(holed, tmp_path):
    voxels = np.asarray(convert(holed, tmp_path / "v", fill_missing=True)[:])
    assert not voxels[:10, :10, :10].any()
    assert voxels.sum() == 7000
    filling = Volume(tmp_path / "holed", fill_missing=True)
    with pytest.raises(MissingChunkError):
        convert(filling, tmp_path / "w", fill_missing=False)


def test_the_voxel_size_is_asked_for_only_when_all_else_is_well(stack, tmp_path, caplog):
    folder, _ = stack
    with pytest.raises(OptionError):
        convert(folder, tmp_path / "v", chunk_size=(0, 1, 1))
    with pytest.raises(OptionError):
        convert(folder, tmp_path / "v", memory="9MB")
    assert not caplog.records
    convert(folder, tmp_path / "v")
    assert "how large its voxels are" in caplog.text


def test_images_decoded_whole_count_in_the_plan(tmp_path):
    def planned(buffers, scratch, threads=4):
        def plan(reading):
            memory = PROGRAM_BYTES + buffers
            return plan_levels(
                target, [0], [], copies=True, method="mean", memory=memory, threads=threads, reading=reading
            )

        return plan_reading(VolumeInput(target, 0, scratch), threads, plan)

    target = convert(image((512, 512, 8)), "memory://plan", chunk_size=(64, 64, 8))
    whole, source = planned(1 << 30, 1 << 20)
    assert (len(whole.stages[0].tasks), source.readers) == (1, 4)
    assert whole.budget == (1 << 30) - (4 << 20)
    least = whole.stages[0].task_bytes
    few, source = planned(least + (5 << 19), 1 << 20)
    assert (len(few.stages[0].tasks), source.readers) == (1, 2), "whole planes rather than many readers"
    parts, source = planned(least, 1 << 20)
    assert len(parts.stages[0].tasks) > 1
    with pytest.raises(OptionError, match=r"takes 1\d{3} MB.* and 1.1 GB for decoding an image"):
        planned(1 << 30, 1 << 30)


def test_a_plane_that_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((8000, 8000), np.uint8), compression="zlib", rowsperstrip=8000)
    with pytest.raises(OptionError, match="64 MB for decoding an image"):
        convert(tmp_path / "x.tif", tmp_path / "v", memory=PROGRAM_BYTES + (60 << 20))
    assert not (tmp_path / "v").exists()


def test_provenance_says_what_was_done(tmp_path):
    volume = convert(image((8, 8, 8)), tmp_path / "v", mips=1, factor=(2, 2, 1))
    (entry,) = json.loads((tmp_path / "v" / "provenance").read_text())["processing"]
    assert entry["method"]["task"] == "convert"
    assert entry["method"]["factor"] == [2, 2, 1]
    assert entry["started"] <= entry["finished"]
    assert volume.provenance.processing == [entry]


def test_interruption_leaves_no_dataset_and_can_be_started_over(tmp_path, monkeypatch):
    array, read, reads = image((64, 64, 64)), ArrayInput.read, []

    def interrupted(self, box, out, report):
        reads.append(box)
        if len(reads) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            while True:
                report(0)
        read(self, box, out, report)

    with monkeypatch.context() as patch:
        patch.setattr(ArrayInput, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            convert(array, tmp_path / "v", chunk_size=8, mips=2)
    assert len(reads) <= 4, "what other threads had begun"
    assert list((tmp_path / "v" / "1_1_1").iterdir()), "it had begun"
    assert not (tmp_path / "v" / "info").exists()
    volume = convert(array, tmp_path / "v", chunk_size=16, mips=2)
    assert len(list((tmp_path / "v" / "1_1_1").iterdir())) == 64, "nothing is left of the first try"
    check(volume, array, (0, 0, 0), (2, 2, 2), 2)


def test_a_full_disk_is_named_and_nothing_is_claimed(tmp_path, monkeypatch):
    write, calls = os.pwrite, []

    def full(file, data, at):
        calls.append(file)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data, at)

    monkeypatch.setattr(compiled_files, "write_parts", lambda *_: False)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(NoSpaceError, match=str(tmp_path)) as caught:
        convert(image((64, 64, 64)), tmp_path / "v", chunk_size=8, mips=2)
    assert caught.value.box is not None
    assert not (tmp_path / "v" / "info").exists()


def test_reading_ahead_ends_when_writing_fails(tmp_path, monkeypatch):
    ended = []

    def endless(self, box, out, report):
        out.fill(1)
        try:
            while box.minpt[2] > 0:
                report(0)
        finally:
            ended.append(int(box.minpt[2]))

    def full(self, *args, **how):
        raise NoSpaceError("No space left on device", url=self.url)

    monkeypatch.setattr(ArrayInput, "read", endless)
    monkeypatch.setattr(FileStore, "put", full)
    monkeypatch.setattr(FileStore, "make", full)
    with pytest.raises(NoSpaceError):
        convert(image((64, 64, 64)), tmp_path / "v", chunk_size=8, mips=2, offset=(0, 1, 0))
    assert ended == [0, 8]


@pytest.mark.parametrize("mip", [1, 2, 3])
def test_what_fails_while_it_is_passed_on(tmp_path, monkeypatch, mip):
    """Coarser levels are written by a thread of their own: its errors end the job, which goes on afterwards."""
    source, write = image((128, 128, 64)), stream.write_files

    def full(array, *args, **how):
        if array.level.key.startswith(f"{2**mip}_"):
            raise NoSpaceError("No space left on device", url=array.store.url)
        write(array, *args, **how)

    with monkeypatch.context() as patch:
        patch.setattr(stream, "write_files", full)
        with pytest.raises(NoSpaceError, match="No space left"):
            convert(source, tmp_path / "v", chunk_size=16, mips=3, jobs=2)
    assert not (tmp_path / "v" / "info").exists()
    check(convert(source, tmp_path / "v", chunk_size=16, mips=3, jobs=2), source, (0, 0, 0), (2, 2, 2), 3)


def test_memory_of_strips_is_counted(tmp_path, monkeypatch):
    """What a task is said to take for voxels is what it takes, planes that are written meanwhile included."""
    made, stages = [], []
    empty, go = LevelArray.empty, Stream.run
    monkeypatch.setattr(LevelArray, "empty", lambda self, *args: made.append(empty(self, *args)) or made[-1])
    monkeypatch.setattr(Stream, "run", lambda self: stages.append(self.stage) or go(self))
    monkeypatch.setattr("volumekit.ops.pyramid.WRITING_BYTES", 0)
    convert(image((256, 256, 128)), tmp_path / "v", chunk_size=32, mips=3, jobs=2)
    (stage,) = stages
    counted = column_bytes(stage.rungs, 256, 256, halo=0, threads=2, rows=stage.rows)
    taken = sum(array.nbytes for array in made if max(array.shape) > 16)  # smaller ones warm up
    assert stage.rows
    assert 0.9 * counted < taken <= counted


def test_few_files_may_be_open(tmp_path):
    """Sixteen threads, chunks by the thousand, and a limit that leaves each of them few files."""
    code = (
        "import resource, sys, numpy as np\n"
        "from volumekit import convert\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (150, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "voxels = np.random.default_rng(1).integers(0, 255, (256, 256, 24), np.uint8)\n"
        "made = convert(voxels, sys.argv[1], chunk_size=8, mips=2, jobs=16, progress=False)\n"
        "assert (made[:][..., 0] == voxels).all()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "v")], check=True, timeout=120)
    assert len(list((tmp_path / "v").glob("*/*-*"))) == 32 * 32 * 3 + 16 * 16 * 2 + 8 * 8


def test_what_replaces_a_dataset_and_fails_is_no_dataset(tmp_path, monkeypatch):
    convert(image((20, 20, 20)), tmp_path / "v", chunk_size=8)

    def broken(self, box, out, report):
        raise OSError("unplugged")

    monkeypatch.setattr(ArrayInput, "read", broken)
    with pytest.raises(OSError, match="unplugged"):
        convert(image((20, 20, 20)), tmp_path / "v", chunk_size=8, overwrite=True)
    assert not (tmp_path / "v" / "info").exists()
    assert not list((tmp_path / "v" / "1_1_1").iterdir())


@pytest.mark.parametrize("method", ["mean", "gaussian"])
def test_progress_ends_at_exactly_all(tmp_path, method, capsys):
    array = image((64, 40, 100))
    convert(array, tmp_path / "v", chunk_size=16, mips=2, method=method, offset=(1, 2, 3), progress=True)
    assert capsys.readouterr().err.splitlines()[-1].startswith("Converting: 100% of ")


def test_an_unwritable_place_is_told_before_anything_is_read(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(ArrayInput, "read", lambda *args: pytest.fail("read too early"))
    with pytest.raises((StorageError, PermissionDeniedError), match=str(tmp_path / "file")):
        convert(image((8, 8, 8)), tmp_path / "file" / "v")


def test_a_bad_image_is_named_before_anything_is_written(stack, tmp_path):
    folder, _ = stack
    tifffile.imwrite(folder / "z7.tif", image((31, 40)))
    with pytest.raises(ImageStackError, match=r"z7\.tif"):
        convert(folder, tmp_path / "v")
    assert not (tmp_path / "v").exists()


MEASURED = """
import sys
from volumekit import convert
convert(sys.argv[1], sys.argv[2], mips=3, memory=sys.argv[3], jobs=2, progress=False)
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
print(int(peak.split()[1]) * 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_kept(tmp_path):
    """Slabs of whole planes would take 256 MiB, more than the limit leaves beside the program."""
    plane = image((1024, 1024), "uint16")
    (tmp_path / "stack").mkdir()
    for z in range(72):
        tifffile.imwrite(tmp_path / "stack" / f"{z}.tif", plane)
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "stack"), str(tmp_path / "v"), "380MB"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 380_000_000
    volume = Volume(tmp_path / "v")
    np.testing.assert_array_equal(np.asarray(volume[:, :, 71])[..., 0], plane.T)


def test_levels_of_any_encoding(tmp_path):
    array = image((40, 40, 20))
    volume = convert(array, tmp_path / "v", encoding="jxl", encoding_level=100, encoding_effort=3, mips=1)
    assert [(scale["jxl_quality"], scale["jxl_effort"]) for scale in volume.info["scales"]] == [(100, 3)] * 2
    np.testing.assert_array_equal(volume[:][..., 0], array)
    with pytest.raises(OptionError, match="raw has no encoding_level"):
        convert(array, tmp_path / "w", encoding_level=3)
    with pytest.raises(OptionError, match="encoding_level is no option of ome-zarr"):
        convert(array, tmp_path / "w.zarr", encoding_level=3)
