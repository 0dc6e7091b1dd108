"""Several processes at one volume: a quick sample of the campaigns under ``benchmarks/``."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import volumekit
from benchmarks.campaigns import interleaved_writers, kill_writers
from benchmarks.campaigns.side_by_side import WRITERS
from tests.volume.sample import empty
from volumekit import Volume
from volumekit.storage.base import Store, then

ROOT = Path(volumekit.__file__).parent.parent


@pytest.mark.parametrize(
    "name",
    [
        "native raw",
        "bridge raw to .gz",
        "native compressed_segmentation",
        "sharded raw, gzip, hashed",
        "encoding crackle",
    ],
)
def test_interleaved_writers_lose_nothing(tmp_path, name):
    way = interleaved_writers.WAYS[name]
    interleaved_writers.create(str(tmp_path), way)
    assert interleaved_writers.lost_planes(str(tmp_path), way) == 0


@pytest.mark.parametrize("name", [name for name in interleaved_writers.WAYS if name.startswith("encoding")])
def test_interleaved_threads_lose_nothing_in_any_encoding(tmp_path, name, monkeypatch):
    monkeypatch.setattr(interleaved_writers, "SHAPE", (33, 32, 8))
    way, start = interleaved_writers.WAYS[name], threading.Barrier(WRITERS)
    interleaved_writers.create(str(tmp_path), way)
    with ThreadPoolExecutor() as pool:
        jobs = range(WRITERS)
        done = [pool.submit(interleaved_writers.write_planes, str(tmp_path), way, n, start) for n in jobs]
    assert [job.exception() for job in done] == [None] * len(done)
    assert interleaved_writers.wrong_planes(str(tmp_path), way) == 0


def test_planes_that_are_lost_are_counted(tmp_path):
    way = interleaved_writers.WAYS["encoding jpeg"]
    interleaved_writers.create(str(tmp_path), replace(way, before=None))
    assert interleaved_writers.wrong_planes(str(tmp_path), way) == 32
    for n in range(WRITERS):
        interleaved_writers.write_planes(str(tmp_path), way, n, threading.Barrier(1))
    assert interleaved_writers.wrong_planes(str(tmp_path), way) == 0
    Volume(tmp_path, non_aligned_writes=True)[:, :, 9] = 0
    assert interleaved_writers.wrong_planes(str(tmp_path), way) == 1


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("way", ["native raw", "bridge raw.gz", "sharded raw"])
def test_killed_writers_tear_nothing(tmp_path, way):
    kill_writers.create(str(tmp_path), way)
    assert kill_writers.torn_chunks(str(tmp_path), way, 0.1) == 0
    assert kill_writers.writable_after(str(tmp_path), way)


@pytest.mark.parametrize("compress", [None, "gzip"])
def test_threads_with_one_volume_and_with_many(tmp_path, compress):
    volume = empty(tmp_path / "v", compress=compress, non_aligned_writes=True)
    others = [Volume(volume.cloudpath, compress=compress, non_aligned_writes=True) for _ in range(2)]
    errors = []

    def write(writer, planes):
        try:
            for z in planes:
                writer[:, :, z] = z
        except Exception as error:
            errors.append(error)

    writers = [volume, volume, *others]
    threads = [threading.Thread(target=write, args=(w, range(100 + n, 119, 4))) for n, w in enumerate(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    expected = np.broadcast_to(np.arange(100, 119)[:, None], volume.shape)
    np.testing.assert_array_equal(Volume(volume.cloudpath)[:], expected)


def test_deleting_background_loses_no_other_writer(tmp_path):
    """A writer that finds its chunk black deletes it only if nobody else has written to it."""
    volume = empty(tmp_path / "v", shape=(16, 16, 16), chunk=(16, 16, 16), fill_missing=True, compress="gzip")
    how = {"compress": "gzip", "non_aligned_writes": True, "delete_black_uploads": True}
    low = volume.voxel_offset

    def write(value, x):
        writer = Volume(volume.cloudpath, **how)
        for y in range(16):
            writer[int(low[0]) + x, int(low[1]) + y] = value

    for _ in range(3):
        threads = [threading.Thread(target=write, args=(value, x)) for x, value in ((0, 0), (1, 5), (2, 0))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (volume[:][1] == 5).all()
        assert volume[:].sum() == 5 * 256
        volume.delete(())


INTERRUPTED = """
    import sys, time
    from tests.engine.test_processes import Slow
    from volumekit import Volume

    volume = Volume(sys.argv[1], fill_missing=True, compress="gzip")
    array = volume.array()
    slow = Slow(array.objects._base)
    array.objects._base = slow
    try:
        if sys.argv[2] == "read":
            volume[:]
        else:
            volume[:] = 3
    except KeyboardInterrupt:
        seen = slow.asked
        time.sleep(0.5)
        print("interrupted", seen, slow.asked, flush=True)
        sys.exit(0)
    print("finished", flush=True)
"""


class Slow(Store):
    """A store that takes its time over every object."""

    suffixed = True

    def __init__(self, base: Store) -> None:
        self._base, self.url, self.asked = base, base.url, 0

    def read(self, key, start=None, stop=None):
        return self._late(self._base.read(key, start, stop))

    def commit(self, changes, if_match=None):
        return self._late(self._base.commit(changes, if_match))

    def find(self, keys):
        return self._base.find(keys)

    def list(self, prefix=""):
        return self._base.list(prefix)

    def _late(self, future):
        from volumekit.engine.pool import pool

        self.asked += 1
        if self.asked == 1:
            sys.stdout.write("ready\n")
            sys.stdout.flush()

        def wait(value):
            time.sleep(0.05)
            return value

        return then(future, wait, executor=pool(4))


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
@pytest.mark.parametrize("what", ["read", "write"])
def test_ctrl_c_stops_issuing_work(tmp_path, what):
    volume = empty(tmp_path / "v", shape=(1024, 1024, 256), offset=(0, 0, 0), chunk=(128, 128, 64), dtype="uint8")
    command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), volume.cloudpath, what]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        word, seen, after = process.stdout.readline().split()
        assert time.monotonic() - started < 10
        assert process.wait(30) == 0
    assert word == "interrupted"
    assert 0 < int(seen) < 256
    assert int(after) - int(seen) <= 24, "pieces that were not under way are still being asked for"
