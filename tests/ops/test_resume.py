"""Jobs that were cut off go on; the result is the same wherever and however often they run."""

from __future__ import annotations

import json
import random
from contextlib import nullcontext

import distributed
import numpy as np
import pytest
import tifffile

from benchmarks.campaigns import kill_jobs
from volumekit import Volume, convert, downsample
from volumekit.cli.main import run
from volumekit.errors import StorageError, TargetExistsError
from volumekit.ops import build
from volumekit.ops.ladder import PROGRAM_BYTES
from volumekit.ops.runners import Stopped
from volumekit.ops.stream import Stream
from volumekit.testing.servers import moto_s3

FEW = PROGRAM_BYTES + (2 << 20)
HOW = {"mips": 1, "chunk_size": 16, "memory": FEW, "progress": False}


@pytest.fixture
def source(tmp_path):
    voxels = np.random.default_rng(3).integers(0, 255, (300, 300, 20), np.uint8)
    return Volume.from_numpy(voxels, tmp_path / "source", chunk_size=(16, 16, 16), voxel_offset=(-5, 3, 8))


@pytest.fixture
def fails_after(monkeypatch):
    """Make every task after some fail."""

    def install(count, error=Stopped):
        done = []

        class Failing(Stream):
            def run(self):
                if len(done) >= count:
                    raise error
                super().run()
                done.append(self.task.number)

        monkeypatch.setattr(build, "Stream", Failing)
        return done

    return install


def stored(folder):
    return kill_jobs.objects(folder)


@pytest.mark.parametrize(
    "name",
    [
        "convert",
        "convert a stack",
        "convert in processes",
        "convert to shards",
        "convert to S3",
        "downsample",
        "transfer",
        "recompress .gz",
    ],
)
def test_killed_jobs_end_as_undisturbed_ones(name, monkeypatch):
    for variable, value in kill_jobs.CREDENTIALS.items():
        monkeypatch.setenv(variable, value)
    way, rng = kill_jobs.WAYS[name], random.Random(5)
    with moto_s3() if way.remote else nullcontext() as server:
        expected = kill_jobs.outcome(way, server=server)
        assert expected.tasks >= 4
        assert (expected.starts, expected.kills) == (expected.tasks, 0)
        assert expected.objects
        found = kill_jobs.outcome(way, kill_jobs.moments(rng, expected.tasks)[1:], server=server)
    assert found.kills
    assert kill_jobs.flawless(found, expected)


def test_only_what_is_not_done_is_done(source, tmp_path, fails_after):
    done = fails_after(3)
    with pytest.raises(Stopped):
        convert(source, tmp_path / "target", jobs=1, **HOW)
    assert len(done) == 3
    journal = json.loads((tmp_path / "target/.volumekit/convert.json").read_text())
    assert journal["done"] == [[0, 3]]
    assert not (tmp_path / "target/info").exists(), "what is not finished is no dataset"
    more = fails_after(1 << 30)
    made = convert(source, tmp_path / "target", jobs=1, **HOW)
    assert min(more) == 3
    np.testing.assert_array_equal(made[:], source[:])
    nothing = fails_after(0)
    again = convert(source, tmp_path / "target", jobs=1, **HOW)
    assert again == made
    assert nothing == []


def test_another_job_is_not_mixed_up_with_it(source, tmp_path, fails_after):
    fails_after(3)
    with pytest.raises(Stopped):
        convert(source, tmp_path / "target", jobs=1, **HOW)
    with pytest.raises(TargetExistsError, match=r"mips was 1, now 2"):
        convert(source, tmp_path / "target", jobs=1, **{**HOW, "mips": 2})
    fails_after(1 << 30)
    made = convert(source, tmp_path / "target", jobs=1, overwrite=True, **{**HOW, "mips": 2})
    assert len(made.levels) == 3
    with pytest.raises(TargetExistsError, match="already"):
        convert(source, tmp_path / "target", **HOW)


def test_the_plan_of_the_journal_counts(source, tmp_path, fails_after):
    """Another machine has other cores and memory; the tasks stay what they were."""
    fails_after(3)
    with pytest.raises(Stopped):
        convert(source, tmp_path / "target", jobs=1, **HOW)
    more = fails_after(1 << 30)
    made = convert(source, tmp_path / "target", jobs=2, **{**HOW, "memory": "4GB"})
    assert min(more) == 3
    np.testing.assert_array_equal(made[:], source[:])


def test_a_place_that_was_not_cleared_yet_is_cleared(source, tmp_path, monkeypatch, fails_after):
    convert(source, tmp_path / "target", **{**HOW, "mips": 2})
    with monkeypatch.context() as patched:
        patched.setattr("volumekit.volume.places.Place.remove", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            convert(source, tmp_path / "target", overwrite=True, **HOW)
    convert(source, tmp_path / "target", **HOW)
    assert not list((tmp_path / "target/4_4_4").glob("*"))
    assert len(Volume(tmp_path / "target").levels) == 2


def test_levels_go_on_too(source, tmp_path, fails_after):
    how = {"mips": 1, "memory": FEW, "progress": False}
    twin = convert(source, tmp_path / "twin", chunk_size=16, progress=False)
    downsample(twin, **how)
    fails_after(1)
    with pytest.raises(Stopped):
        downsample(source, jobs=1, **how)
    assert len(Volume(source.cloudpath).levels) == 1
    fails_after(1 << 30)
    made = downsample(source.cloudpath, jobs=1, **how)
    for mip in (0, 1):
        np.testing.assert_array_equal(Volume(made.cloudpath, mip)[:], Volume(twin.cloudpath, mip)[:])
    fails_after(0)
    assert len(downsample(source.cloudpath, **how).levels) == 2


def test_a_journal_somewhere_else(source, tmp_path):
    convert(source, tmp_path / "target", journal=tmp_path / "notes.json", **HOW)
    assert json.loads((tmp_path / "notes.json").read_text())["finished"]
    assert not (tmp_path / "target/.volumekit").exists()


def test_a_source_that_changes_is_noticed(tmp_path, monkeypatch):
    folder = tmp_path / "images"
    folder.mkdir()
    for z in range(4):
        tifffile.imwrite(folder / f"{z}.tif", np.full((10, 10), z, np.uint8))

    class Changing(Stream):
        def run(self):
            super().run()
            tifffile.imwrite(folder / "2.tif", np.full((10, 10), 9, np.uint8), description="changed")

    monkeypatch.setattr(build, "Stream", Changing)
    with pytest.raises(StorageError, match="changed while it was read"):
        convert(folder, tmp_path / "target", voxel_size=(1, 1, 1), progress=False)
    assert not (tmp_path / "target/info").exists()


def test_a_dask_cluster_stores_the_same_bytes(source, tmp_path):
    convert(source, tmp_path / "threads", **HOW)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        convert(source, tmp_path / "dask", client=client, **HOW)
    assert stored(tmp_path / "dask") == stored(tmp_path / "threads")


def test_a_dead_cluster_is_an_error(source, tmp_path, capsys, monkeypatch):
    assert run(["convert", str(tmp_path / "source"), str(tmp_path / "t"), "--dask", "nowhere"]) == 1
    assert "no Dask cluster at nowhere" in capsys.readouterr().err
