"""Jobs on a Dask cluster of processes: the same bytes as threads, also when a worker is killed in the middle."""

from __future__ import annotations

import os
import signal
import threading
import time

import distributed
import numpy as np
import pytest

from benchmarks.campaigns.kill_jobs import objects, tasks_done
from volumekit import Volume, convert, downsample, transfer, verify
from volumekit.cli.main import run
from volumekit.errors import OptionError
from volumekit.ops.ladder import PROGRAM_BYTES
from volumekit.ops.runners import Dask

FEW = PROGRAM_BYTES + (2 << 20)
HOW = {"mips": 1, "chunk_size": 16, "memory": FEW, "progress": False}


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as made:
        yield made


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster) as made:
        made.wait_for_workers(2, timeout=120)
        yield made


@pytest.fixture
def source(tmp_path):
    voxels = np.random.default_rng(3).integers(0, 255, (300, 300, 20), np.uint8)
    return Volume.from_numpy(voxels, tmp_path / "source", chunk_size=(16, 16, 16), voxel_offset=(-5, 3, 8))


def test_every_job_stores_the_same_bytes(source, tmp_path, client):
    for name, how in (("threads", {}), ("dask", {"client": client})):
        convert(source, tmp_path / name / "convert", **HOW, **how)
        transfer(source, tmp_path / name / "transfer", progress=False, **how)
        downsample(tmp_path / name / "transfer", memory=FEW, progress=False, **how)
        source.map(lambda block: 255 - block, tmp_path / name / "map", shape=64, progress=False, **how)
    assert objects(tmp_path / "dask") == objects(tmp_path / "threads")
    assert len(objects(tmp_path / "dask")) > 1000
    found = verify(source, tmp_path / "dask/map", client=client, progress=False)
    assert found.to_json() == verify(source, tmp_path / "dask/map", progress=False).to_json()
    assert not found


def test_results_come_back_in_order(source, client):
    pids = source.map(lambda block: os.getpid(), shape=64, client=client, progress=False)
    assert set(pids) <= set(client.run(os.getpid).values())
    assert source.map(lambda block: block.bounds, shape=64, client=client) == list(source.blocks(64).boxes)
    lock = threading.Lock()
    with pytest.raises(OptionError, match="not picklable"):
        source.map(lambda block: lock, client=client)


def test_a_worker_killed_in_the_middle_loses_nothing(source, tmp_path, client):
    convert(source, tmp_path / "threads/target", **HOW)
    killed = []

    def kill():
        while tasks_done(tmp_path / "dask") < 2:
            time.sleep(0.01)
        killed.append(next(iter(client.run(os.getpid).values())))
        os.kill(killed[0], signal.SIGKILL)

    murderer = threading.Thread(target=kill)
    murderer.start()
    made = convert(source, tmp_path / "dask/target", client=client, **HOW)
    murderer.join(60)
    assert killed
    assert made.exists().num_missing == 0
    assert objects(tmp_path / "dask") == objects(tmp_path / "threads")


def test_a_task_that_kills_its_worker_once_is_done_by_another(source, tmp_path, client):
    mark = tmp_path / "mark"

    def deadly(block):
        if block.bounds.minpt[0] > 100 and not mark.exists():
            mark.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return block

    made = source.map(deadly, tmp_path / "out", shape=64, client=client, progress=False)
    assert mark.exists()
    np.testing.assert_array_equal(made[:], source[:])


def test_workers_that_come_later_get_work(source):
    """Clusters of batch systems start without any."""

    class Slow:
        counts = iter([{}, {"a": 1}, {"a": 2, "b": 4}])

        def get_executor(self, pure):
            return None

        def nthreads(self):
            return next(self.counts)

    class Roomy:
        def parallel(self, stage, jobs):
            return min(jobs, 3)

    runner = Dask(Slow())
    found = []
    for _ in range(3):
        found.append(runner.parallel(Roomy(), None, 1))
        assert runner.parallel(Roomy(), None, 1) == found[-1], "the cluster is not asked for every task"
        runner._asked = -1e9
    assert found == [1, 1, 5]


def test_commands(source, tmp_path, cluster, capsys):
    address = cluster.scheduler_address
    assert run(["transfer", source.cloudpath, str(tmp_path / "a"), "--dask", address]) == 0
    assert run(["verify", source.cloudpath, str(tmp_path / "a"), "--checksums", "--dask", address]) == 0
    assert "equal by their checksums" in capsys.readouterr().out
    assert run(["downsample", str(tmp_path / "a"), "--dask", "local", "--quiet"]) == 0
    assert run(["transfer", source.cloudpath, str(tmp_path / "b"), "--processes", "2", "--dask", address]) == 2
    assert "give processes or client" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
