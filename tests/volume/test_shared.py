"""Voxels in shared memory and in files."""

import multiprocessing
from multiprocessing.shared_memory import SharedMemory

import numpy as np
import pytest

from tests.volume.sample import SHAPE, empty, make
from volumekit import Bbox, Volume
from volumekit.errors import AlignmentError, MissingChunkError, OptionError, OutOfBoundsError, ShapeError


@pytest.fixture
def sample(tmp_path):
    volume, array = make(tmp_path / "v")
    yield volume, array
    volume.unlink_shared_memory()


def double(url, name):
    """Double the voxels in shared memory, and upload them elsewhere; runs in another process."""
    memory = SharedMemory(name)
    array = np.ndarray((*SHAPE, 1), np.uint16, memory.buf, order="F")
    array //= 2
    del array
    memory.close()
    Volume(url).upload_from_shared_memory(name, ())


def test_download_to_shared_memory(sample):
    volume, array = sample
    cutout = volume.download_to_shared_memory(np.s_[0:20, 10:30])
    np.testing.assert_array_equal(cutout, array[5:25, 3:23])
    assert cutout.bounds == Bbox((0, 10, 100), (20, 30, 119))
    memory = SharedMemory(volume.shared_memory_id)
    seen = np.ndarray(cutout.shape, cutout.dtype, bytes(memory.buf[: cutout.nbytes]), order="F")
    memory.close()
    np.testing.assert_array_equal(seen, cutout)
    assert volume.unlink_shared_memory()
    assert not volume.unlink_shared_memory()
    np.testing.assert_array_equal(cutout, array[5:25, 3:23])


def test_across_a_spawned_process(sample, tmp_path):
    volume, array = sample
    target = empty(tmp_path / "w")
    name = volume.generate_shared_memory_location()
    cutout = volume.download_to_shared_memory((), name)
    try:
        process = multiprocessing.get_context("spawn").Process(target=double, args=(target.cloudpath, name))
        process.start()
        process.join(60)
        assert process.exitcode == 0
        np.testing.assert_array_equal(cutout, array // 2)
        np.testing.assert_array_equal(target[:], array // 2)
    finally:
        assert volume.unlink_shared_memory(name)


def test_names(sample):
    volume, _ = sample
    names = {volume.generate_shared_memory_location() for _ in range(100)}
    assert len(names) == 100
    assert volume.shared_memory_id == volume.shared_memory_id
    volume.shared_memory_id = "volumekit-test-name"
    assert volume.shared_memory_id == "volumekit-test-name"
    volume.download_to_shared_memory(np.s_[0:1])
    assert volume.unlink_shared_memory("volumekit-test-name")


def test_memory_of_the_same_name_is_replaced(sample):
    volume, array = sample
    first = volume.download_to_shared_memory(np.s_[0:5])
    second = volume.download_to_shared_memory(())
    np.testing.assert_array_equal(second, array)
    np.testing.assert_array_equal(first, array[5:10])


def test_a_failed_download_leaves_no_memory(tmp_path):
    volume = empty(tmp_path / "v")
    with pytest.raises(MissingChunkError):
        volume.download_to_shared_memory(())
    assert not volume.unlink_shared_memory()
    with pytest.raises(OutOfBoundsError):
        volume.download_to_shared_memory(np.s_[0:500])
    assert not volume.unlink_shared_memory()


@pytest.mark.parametrize("order", ["F", "C"])
def test_upload_from_shared_memory(sample, order):
    volume, array = sample
    name = volume.generate_shared_memory_location()
    memory = SharedMemory(name, create=True, size=array.nbytes)
    view = np.ndarray(array.shape, array.dtype, memory.buf, order=order)
    view[...] = array + 1
    del view
    try:
        volume.upload_from_shared_memory(name, (), order=order)
        np.testing.assert_array_equal(volume[:], array + 1)
        volume[:] = 0
        part = Bbox((11, 7, 100), (27, 37, 108))
        volume.upload_from_shared_memory(name, volume.bounds, order=order, cutout_bbox=part)
        expected = np.zeros_like(array)
        expected[16:32, :, :8] = array[16:32, :, :8] + 1
        np.testing.assert_array_equal(volume[:], expected)
        with pytest.raises(AlignmentError):
            volume.upload_from_shared_memory(name, (), order=order, cutout_bbox=np.s_[0:3])
    finally:
        memory.close()
        memory.unlink()


def test_what_is_not_there_or_too_small(sample):
    volume, array = sample
    with pytest.raises(OptionError, match="no shared memory"):
        volume.upload_from_shared_memory("volumekit-nothing", ())
    name = volume.generate_shared_memory_location()
    memory = SharedMemory(name, create=True, size=10)
    try:
        with pytest.raises(ShapeError, match="holds"):
            volume.upload_from_shared_memory(name, ())
    finally:
        memory.close()
        memory.unlink()
    np.testing.assert_array_equal(volume[:], array)


def test_files(sample, tmp_path):
    volume, array = sample
    cutout = volume.download_to_file(tmp_path / "raw", np.s_[0:20])
    np.testing.assert_array_equal(cutout, array[5:25])
    assert (tmp_path / "raw").read_bytes() == array[5:25].tobytes("F")
    target = empty(tmp_path / "w", non_aligned_writes=True)
    target.upload_from_file(tmp_path / "raw", np.s_[0:20])
    np.testing.assert_array_equal(target[0:20], array[5:25])
    (tmp_path / "short").write_bytes(b"abc")
    with pytest.raises(ShapeError):
        target.upload_from_file(tmp_path / "short", np.s_[0:20])
