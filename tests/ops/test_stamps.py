"""Volumes whose voxels change while a job reads them, or between its runs, are noticed."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

from benchmarks.campaigns import kill_jobs
from volumekit import Bbox, Volume, convert, downsample, transfer
from volumekit.errors import StorageError, TargetExistsError
from volumekit.ops import ladder, run, stamps, watch
from volumekit.ops import transfer as transferring
from volumekit.ops.runners import Stopped
from volumekit.storage import filesystem
from volumekit.storage.kvstore import FileStore
from volumekit.testing.servers import moto_s3

SHAPE = (64, 64, 256)
LAYOUTS = ["files", "gz", "shards", "s3", "s3 shards", "zarr", "zarr shards"]
JOBS = ["convert", "downsample", "transfer", "map"]
LAST = np.s_[32:, 32:, 224:]


@pytest.fixture(scope="module")
def server():
    with moto_s3() as found:
        yield found


@pytest.fixture(params=LAYOUTS)
def source(request, tmp_path, monkeypatch):
    """A volume of 32 chunks, in one of several layouts."""
    place, layout = tmp_path / "source", request.param
    if layout.startswith("s3"):
        for name, value in kill_jobs.CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        bucket = f"bucket-{abs(hash(tmp_path))}"
        place = f"{request.getfixturevalue('server').make_bucket(bucket)}/source"
    how = {"chunk_size": 32, "progress": False}
    if layout == "zarr shards":
        how["shard"] = (64, 64, 64)
    elif "shards" in layout:
        how["sharding"] = kill_jobs.shards(1)
    how |= {"format": "ome-zarr"} if "zarr" in layout else {"compress": "gzip" if layout == "gz" else None}
    return convert(np.random.default_rng(3).integers(1, 255, SHAPE, np.uint8), place, **how)


def change(source):
    """Write other voxels to one chunk, as another program would."""
    other = Volume(source.cloudpath)
    other[LAST] = 255 - other[LAST]


def inverted(block):
    return 255 - block


class Jobs:
    """The jobs, each with many tasks, one at a time."""

    def __init__(self, source, folder):
        self.source, self.folder = source, folder
        self.zarr = source._format.name != "precomputed"

    def place(self, job):
        """Return where the result goes; what zarr is transferred to has to be there, and to be ours."""
        place = self.folder / f"{job} target"
        if job == "transfer" and self.zarr and not place.exists():
            convert(np.zeros(SHAPE, np.uint8), place, format="ome-zarr", chunk_size=32, progress=False)
        return place

    def do(self, job, **how):
        source, how = Volume(self.source.cloudpath), {"jobs": 1, "progress": False, **how}
        if job == "downsample":
            return downsample(source, mip=0, **how)
        place = self.place(job)
        if job == "convert":
            return convert(source, place, chunk_size=16, mips=1, **how)
        if job == "map":
            return source.map(inverted, place, shape=64, chunk_size=32, **how)
        return transfer(source, place, **how)

    def do_again(self, job):
        """Do it from the beginning, and check what is made."""
        made = self.do(job, overwrite=True)
        if job != "downsample":
            np.testing.assert_array_equal(made[:], self.expected(job))
        return made

    def expected(self, job):
        voxels = np.asarray(Volume(self.source.cloudpath)[:])
        return 255 - voxels if job == "map" else voxels


@pytest.fixture
def jobs(source, tmp_path, monkeypatch):
    monkeypatch.setattr(transferring, "TASK_BYTES", 64**3)
    monkeypatch.setattr(ladder, "SLABS", 1)
    return Jobs(source, tmp_path)


@pytest.fixture
def after(monkeypatch):
    """Let something happen after a task that a journal notes; return the numbers of these tasks."""
    real, seen, acts = run._StageRun._settle, [], {}

    def settle(self, task, future):
        real(self, task, future)
        if self._journal is not None:
            seen.append(task.number)
            acts.pop(len(seen), lambda: None)()

    monkeypatch.setattr(run._StageRun, "_settle", settle)

    def install(count, act):
        acts[len(seen) + count] = act
        return seen

    return install


def stop():
    raise Stopped


def cut_off(jobs, job, after):
    """Let a job end after its first task."""
    seen = after(1, stop)
    with pytest.raises(Stopped):
        jobs.do(job, **({"overwrite": True} if job == "transfer" and jobs.zarr else {}))
    return seen


@pytest.mark.parametrize("job", JOBS)
def test_what_changes_under_way_is_noticed(job, jobs, after):
    seen = after(1, lambda: change(jobs.source))
    with pytest.raises(StorageError, match=r"the source changed while it was read: .* not as before"):
        jobs.do(job, **({"overwrite": True} if job == "transfer" and jobs.zarr else {}))
    assert len(seen) > 1
    if job == "downsample":
        assert len(Volume(jobs.source.cloudpath).levels) == 1


@pytest.mark.parametrize("job", JOBS)
def test_what_does_not_change_is_not_complained_of(job, jobs, after, monkeypatch):
    monkeypatch.setattr(watch, "SECONDS", 0)
    seen = cut_off(jobs, job, after)
    made = jobs.do(job)
    assert len(seen) > 1
    assert len(seen) - len(set(seen)) <= 1, "the task under way"
    if job != "downsample":
        np.testing.assert_array_equal(made[:], jobs.expected(job))
    done = len(seen)
    jobs.do(job)
    assert len(seen) == done, "nothing is left to do"


@pytest.mark.parametrize("job", ["convert", "downsample", "map"])
def test_one_that_was_cut_off_does_not_go_on_with_another_source(job, jobs, after):
    cut_off(jobs, job, after)
    change(jobs.source)
    with pytest.raises(TargetExistsError, match=r"this very command, but the source has changed since: .*Put the"):
        jobs.do(job)
    jobs.do_again(job)


@pytest.mark.parametrize("job", ["convert", "downsample", "map"])
def test_a_finished_result_is_not_taken_for_that_of_another_source(job, jobs):
    jobs.do(job)
    change(jobs.source)
    with pytest.raises(TargetExistsError, match=r"finished result of this very command, but the source has changed"):
        jobs.do(job)
    made = jobs.do_again(job)
    twin = convert(np.asarray(Volume(jobs.source.cloudpath)[:]), jobs.folder / "twin", mips=1, progress=False)
    if job == "downsample":
        np.testing.assert_array_equal(Volume(made.cloudpath, 1)[:], Volume(twin.cloudpath, 1)[:])


def test_transfers_follow_their_source(jobs, after):
    seen = cut_off(jobs, "transfer", after)
    change(jobs.source)
    for more in (lambda: None, lambda: change(jobs.source)):
        more()
        before = len(seen)
        made = jobs.do("transfer")
        assert len(set(seen[before:])) == max(seen) + 1, "every chunk is compared"
        np.testing.assert_array_equal(made[:], jobs.expected("transfer"))
    before = len(seen)
    jobs.do("transfer")
    assert len(seen) == before


def volume(place, shape=(64, 64, 64), **how):
    voxels = np.random.default_rng(5).integers(1, 255, shape, np.uint8)
    return Volume.from_numpy(voxels, place, chunk_size=(8, 8, 8), progress=False, **how)


def test_some_of_many_chunks_all_over_are_looked_at(tmp_path):
    source = volume(tmp_path / "a")
    levels = [(source.array(0), source.bounds)]
    found = stamps.stamps_of(levels, "ab12")
    assert len(found) == stamps.MOST
    assert found == stamps.stamps_of(levels, "ab12")
    assert found.keys() != stamps.stamps_of(levels, "ab13").keys()
    for axis in range(3):
        starts = {int(name.split("/")[1].split("_")[axis].split("-")[0]) for name in found}
        assert len(starts) == 8
    part = Bbox((0, 0, 0), (8, 8, 16))
    assert set(stamps.stamps_of([(source.array(0), part)], "0")) == {"1_1_1/0-8_0-8_0-8", "1_1_1/0-8_0-8_8-16"}
    assert len(stamps.stamps_of([*levels, (source.array(0), part)], "0")) <= stamps.MOST


def test_what_is_missing_is_looked_at_too(tmp_path):
    source = volume(tmp_path / "a", (16, 16, 8))
    source.delete(Bbox((0, 0, 0), (8, 8, 8)))
    before = stamps.stamps_of([(source.array(0), source.bounds)], "0")
    assert len(before) == 4
    assert stamps.changes(source, before) == []
    source[:8, :8, :8] = 1
    assert stamps.changes(source, before) == ["1_1_1/0-8_0-8_0-8"]


def test_a_disk_that_is_mounted_anew_has_not_changed(tmp_path):
    """Devices and inodes have other numbers then; times are the same."""
    source = volume(tmp_path / "a", (16, 16, 8))
    before = stamps.stamps_of([(source.array(0), source.bounds)], "0")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "b").rename(tmp_path / "a")
    assert stamps.changes(Volume(tmp_path / "a"), before) == []
    os.utime(tmp_path / "a/1_1_1/0-8_0-8_0-8", ns=(1, 1))
    assert stamps.changes(Volume(tmp_path / "a"), before) == ["1_1_1/0-8_0-8_0-8"]


@pytest.mark.parametrize("traits", [["size", "mtime"], ["size"], ["ETag"]], ids=str)
def test_filesystems_tell_what_lasts(tmp_path, traits, monkeypatch):
    """Not the writes that this process knows of; and a size alone tells nothing."""
    place = f"memory-files://{tmp_path}/a"
    from fsspec.implementations.memory import MemoryFileSystem

    class Plain(MemoryFileSystem):
        def info(self, path, **how):
            told = {**super().info(path, **how), "mtime": 5.0, "ETag": "one"}
            return {name: told[name] for name in ("name", "type", "size", *traits) if name in told}

    how = {"storage_options": {"filesystem": Plain(skip_instance_cache=True)}}
    source = volume(place, (16, 16, 8), **how)
    before = stamps.stamps_of([(source.array(0), source.bounds)], "0")
    assert len(before) == (0 if traits == ["size"] else 4)
    monkeypatch.setattr(filesystem, "_WRITES", type(filesystem._WRITES)())
    assert stamps.changes(source, before) == []


def test_old_journals_go_on(tmp_path, after, monkeypatch):
    monkeypatch.setattr(ladder, "SLABS", 1)
    source = volume(tmp_path / "a", (16, 16, 256))
    how = {"chunk_size": 16, "mips": 1, "jobs": 1, "progress": False}
    seen = after(1, stop)
    with pytest.raises(Stopped):
        convert(source, tmp_path / "b", **how)
    place = tmp_path / "b/.volumekit/convert.json"
    journal = json.loads(place.read_text())
    assert len(journal.pop("stamps")) == stamps.MOST
    place.write_text(json.dumps(journal))
    np.testing.assert_array_equal(convert(source, tmp_path / "b", **how)[:], source[:])
    assert len(seen) > 2
    assert len(json.loads(place.read_text())["stamps"]) == stamps.MOST


def test_metadata_that_change_are_noticed_if_they_are_of_the_level(tmp_path, after):
    def add_mesh():
        other = Volume(source.cloudpath)
        other.info["mesh"] = "mesh"
        other.add_scale((2, 2, 2))
        other.commit_info()

    def move():
        other = Volume(source.cloudpath)
        other.info["scales"][0]["voxel_offset"] = [1, 1, 1]
        other.commit_info()

    source = volume(tmp_path / "a", (16, 16, 8))
    after(1, add_mesh)
    assert convert(source, tmp_path / "b", progress=False).shape == source.shape
    after(1, move)
    with pytest.raises(StorageError, match="its metadata say something else of the levels that are read"):
        convert(source, tmp_path / "c", progress=False)


def test_results_that_are_only_returned_are_of_one_source(tmp_path, monkeypatch):
    source = volume(tmp_path / "a", (16, 16, 8))

    def changing(block):
        source[8:, 8:] = 3
        return 0

    with pytest.raises(StorageError, match=r"1_1_1/8-16_8-16_0-8 is not as before"):
        source.map(changing, progress=False)


def test_a_storage_that_does_not_tell_is_always_compared(tmp_path, after, monkeypatch):
    monkeypatch.setattr(FileStore, "lasting", slice(0, 0))
    source = volume(tmp_path / "a", (16, 16, 8))
    seen = after(0, stop)
    transfer(source, tmp_path / "b", progress=False)
    assert seen == [0]
    transfer(source, tmp_path / "b", progress=False)
    assert seen == [0, 0]


def test_a_transfer_notices_one_changed_chunk_among_many(tmp_path, after):
    source = volume(tmp_path / "a", (96, 96, 96))
    seen = after(0, stop)
    transfer(source, tmp_path / "b", progress=False)
    transfer(source, tmp_path / "b", progress=False)
    assert seen == [0]
    source[88:, 88:, 88:] = 7
    np.testing.assert_array_equal(transfer(source, tmp_path / "b", progress=False)[:], source[:])
    assert seen == [0, 0]


def test_a_journal_of_one_target_is_not_that_of_another(tmp_path, after):
    source, journal = volume(tmp_path / "a", (16, 16, 8)), tmp_path / "journal.json"
    for name in ("b", "c"):
        volume(tmp_path / name, (16, 16, 8))[:] = 0
        transfer(source, tmp_path / name, overwrite=True, progress=False)
    before = len(seen := after(0, stop))
    for name in ("b", "c", "c"):
        transfer(source, tmp_path / name, overwrite=name == "b", journal=journal, progress=False)
    assert len(seen) - before == 2
