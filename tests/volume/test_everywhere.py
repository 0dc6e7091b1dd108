"""One story of a volume, told on every storage: it goes the same everywhere."""

from __future__ import annotations

import multiprocessing
import pickle
import uuid

import fsspec
import numpy as np
import pytest

from volumekit import Bbox, Volume, convert, downsample, transfer, verify
from volumekit.errors import DatasetNotFoundError, MissingChunkError, ReadOnlyError

SHAPE, LOW = (50, 40, 30), (-5, 3, 8)
QUICK = {"attempts": 3, "delay": 0.02, "longest": 0.05}


@pytest.fixture(params=["file", "memory", "s3", "gs", "fsspec"])
def place(request, tmp_path):
    """Return where a volume may be, and the options with which it is opened."""
    if request.param == "file":
        return str(tmp_path / "a b%20"), {}
    if request.param == "memory":
        return f"memory://{tmp_path}/v", {}
    if request.param == "fsspec":
        fs = fsspec.filesystem("memory")
        return f"memory://{uuid.uuid4().hex}/v", {"storage_options": {"filesystem": fs}}
    bucket = request.getfixturevalue("s3_bucket" if request.param == "s3" else "strict_gcs_bucket")
    return f"{bucket}/a folder/v", {"storage_options": {"retry": QUICK}}


@pytest.fixture
def voxels():
    return np.random.default_rng(4).integers(1, 200, (*SHAPE, 1), np.uint8)


def read_there(volume, queue):
    queue.put(np.asarray(volume[0:3, 5:9, 10]).tolist())


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_the_story(place, voxels, encoding):
    url, how = place
    with pytest.raises(DatasetNotFoundError):
        Volume(url, **how)
    layout = {
        "chunk_size": (16, 16, 16),
        "voxel_offset": LOW,
        "max_mip": 1,
        "factor": (2, 2, 2),
        "resolution": (4, 4, 40),
    }
    made = Volume.from_numpy(voxels, url, encoding=encoding, progress=False, **layout, **how)
    volume = Volume(url, non_aligned_writes=True, progress=False, **how)
    assert volume == made
    assert volume.provenance is not None
    np.testing.assert_array_equal(volume[:], voxels)
    np.testing.assert_array_equal(volume[0:20:3, ::-1, 12, 0], voxels[5:25:3, ::-1, 4, 0])
    np.testing.assert_array_equal(volume.points([[-5, 3, 8], [44, 42, 37]])[:, 0], voxels[[0, -1], [0, -1], [0, -1], 0])

    volume[1:30, 5:20, 9:33] = 7
    volume[[-5, 44], [3, 42], [8, 37]] = 9
    voxels[6:35, 2:17, 1:25] = 7
    voxels[[0, -1], [0, -1], [0, -1]] = 9
    for opened in (volume, Volume(url, **how), pickle.loads(pickle.dumps(volume))):
        np.testing.assert_array_equal(opened[:], voxels)

    assert volume.exists().num_missing == 0
    assert not volume.has_data(1)
    volume.delete(Bbox((-5, 3, 8), (11, 19, 24)))
    assert volume.exists().missing == ["4_4_40/-5-11_3-19_8-24"]
    with pytest.raises(MissingChunkError):
        volume[:]
    filled = Volume(url, fill_missing=True, **how)
    assert not np.asarray(filled[-5:11, 3:19, 8:24]).any()
    voxels[:16, :16, :16] = 0
    np.testing.assert_array_equal(filled[:], voxels)
    assert "bounds" in repr(volume)


def test_other_processes(place, voxels):
    url, how = place
    if url.startswith("memory"):
        pytest.skip("memory belongs to one process")
    volume = Volume.from_numpy(voxels, url, voxel_offset=LOW, chunk_size=(16, 16, 16), progress=False, **how)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=read_there, args=(volume, queue))
    process.start()
    assert queue.get(timeout=60) == voxels[5:8, 2:6, 2].tolist()
    process.join(30)
    assert process.exitcode == 0


def test_jobs(place, voxels, tmp_path):
    url, how = place
    if how.get("storage_options", {}).get("filesystem"):
        pytest.skip("jobs take URLs")
    source = Volume.from_numpy(voxels, tmp_path / "source", voxel_offset=LOW, chunk_size=(16, 16, 16))
    converted = convert(source, url, chunk_size=20, mips=1, progress=False)
    assert verify(source, converted)
    downsample(converted, mip=1, progress=False)
    back = transfer(url, tmp_path / "back", progress=False)
    for mip in (0, 1, 2):
        assert verify(url, back, mip=mip)


def test_from_a_web_server(web, voxels, tmp_path):
    Volume.from_numpy(voxels, tmp_path / "v", voxel_offset=LOW, chunk_size=(16, 16, 16), progress=False)
    for path in (tmp_path / "v").rglob("*"):
        if path.is_file():
            web.objects[f"data/v/{path.relative_to(tmp_path / 'v')}"] = path.read_bytes()
    volume = Volume(f"{web.url}/data/v", storage_options={"retry": QUICK}, progress=False)
    np.testing.assert_array_equal(volume[:], voxels)
    np.testing.assert_array_equal(volume[3, 5:9, ...], voxels[8, 2:6])
    assert volume.exists().num_missing == 0
    assert volume.has_data()
    del web.objects["data/v/1_1_1/-5-11_3-19_8-24"]
    assert volume.exists().missing == ["1_1_1/-5-11_3-19_8-24"]
    with pytest.raises(MissingChunkError):
        volume[:]
    for write in (lambda: volume.__setitem__((), 1), volume.commit_info, lambda: volume.delete(())):
        with pytest.raises(ReadOnlyError):
            write()
    with pytest.raises(DatasetNotFoundError):
        Volume(f"{web.url}/data/nothing", storage_options={"retry": QUICK})
