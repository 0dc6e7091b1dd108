"""Storage that fails: a documented error that says what is stored."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import volumekit
from tests.volume.sample import empty, files, make
from volumekit import Bbox, Volume
from volumekit.engine import array as engine_array
from volumekit.engine import direct
from volumekit.errors import NoSpaceError, PermissionDeniedError, StorageError, VolumekitError

ROOT = Path(volumekit.__file__).parent.parent
WAYS = [None, "gzip"]


def run(script, *arguments):
    """Run a script in a process of its own; return its output."""
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


FULL = """
    import os, resource, signal, sys
    import numpy as np
    from volumekit import Volume, Bbox, errors
    from volumekit.engine import array

    array.WRITE_BYTES = 1 << 20
    url, compress = sys.argv[1], sys.argv[2] or None
    volume = Volume(url, compress=compress)
    noise = np.random.default_rng(1).integers(0, 255, volume.shape, dtype=np.uint8)
    noise[:, :, :64] = 3
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    volume[:, :, :64] = noise[:, :, :64]
    limit = 200_000 if compress else 300_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        if volume.chunk_size[2] == 64:
            volume[:] = noise
    except errors.StorageError as error:
        print(type(error).__name__)
        assert error.landed or error.unknown, "nothing is said of what is stored"
        for box in error.landed:
            assert (volume[box] == noise[box.to_slices()]).all(), box
        for box in error.unknown:
            assert isinstance(box, Bbox)
        print(len(error.landed), len(error.unknown))
"""


@pytest.mark.parametrize("compress", ["", "gzip"])
def test_files_that_may_not_grow(tmp_path, compress):
    """The limit of file sizes stands for a full disk: chunks of noise do not fit, chunks of one value do if packed."""
    volume = empty(tmp_path / "v", shape=(256, 128, 256), offset=(0, 0, 0), chunk=(128, 128, 64), dtype="uint8")
    out = run(FULL, volume.cloudpath, compress).split()
    assert out[0] in {"StorageError", "NoSpaceError"}
    assert int(out[2]) > 0
    assert not [name for name in files(tmp_path) if "tmp" in name]


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of one MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=False)


@pytest.mark.parametrize("compress", WAYS)
def test_a_full_disk(tiny_disk, monkeypatch, compress, rng):
    monkeypatch.setattr(engine_array, "WRITE_BYTES", 1 << 18)
    shape = (128, 128, 128)
    volume = empty(tiny_disk / "v", shape=shape, offset=(0, 0, 0), chunk=(64, 64, 32), dtype="uint8", compress=compress)
    noise = rng.integers(0, 255, (*shape, 1), dtype=np.uint8)
    with pytest.raises(NoSpaceError, match="free some space") as caught:
        volume[:] = noise
    error = caught.value
    assert error.landed
    assert error.unknown
    for box in error.landed:
        np.testing.assert_array_equal(volume[box], noise[box.to_slices()])
    volume.fill_missing = True
    found = volume[:]
    assert ((found == noise) | (found == 0)).all(), "a chunk is torn"
    volume.delete(())
    volume[0:64, 0:64] = noise[0:64, 0:64] // 255
    np.testing.assert_array_equal(volume[0:64, 0:64], noise[0:64, 0:64] // 255)


@pytest.mark.parametrize("compress", WAYS)
def test_a_read_only_folder(tmp_path, compress):
    """A path below a regular file cannot be written by anyone."""
    (tmp_path / "file").write_text("no folder")
    info = Volume.create_new_info(
        1, "image", "uint8", "raw", (1, 1, 1), (0, 0, 0), (64, 64, 64), chunk_size=(32, 32, 32)
    )
    volume = Volume(tmp_path / "file" / "v", info=info, compress=compress, non_aligned_writes=True)
    for write in (
        lambda: volume.__setitem__((), 1),
        lambda: volume.__setitem__(3, 1),
        lambda: volume.__setitem__(([1], [2], [3]), 1),
        volume.commit_info,
        volume.commit_provenance,
    ):
        with pytest.raises((StorageError, PermissionDeniedError)) as caught:
            write()
        assert str(tmp_path) in str(caught.value)
    assert not volume.has_data()


@pytest.mark.parametrize("compress", WAYS)
def test_a_failed_write_says_what_landed(tmp_path, monkeypatch, compress):
    monkeypatch.setattr(engine_array, "WRITE_BYTES", 1)
    monkeypatch.setattr(direct, "LEAST", 2)
    monkeypatch.setattr(direct, "MOST", 2)
    volume = empty(tmp_path / "v", compress=compress)
    name = "27-32_7-23_100-108" + (".gz" if compress else "")
    (tmp_path / "v" / "4_4_40" / name).mkdir(parents=True)
    (tmp_path / "v" / "4_4_40" / name / "occupied").write_text("")
    with pytest.raises(VolumekitError) as caught:
        volume[:] = 5
    error = caught.value
    assert Bbox((27, 7, 100), (32, 23, 108)) in error.unknown
    assert error.landed
    volume.fill_missing = True
    for box in error.landed:
        assert (volume[box] == 5).all()
    stored = {box.to_filename() for box in volume.exists().bounds_of(volume.exists().present)}
    known = {box.to_filename() for box in (*error.landed, *error.unknown)}
    assert stored <= known | {name}, "something is stored that the error does not tell of"
    assert len(error.landed) + len(error.unknown) < 18, "nothing new may start after an error"


def test_errors_of_points_say_where(tmp_path):
    volume, _ = make(tmp_path / "v", non_aligned_writes=True)
    key = tmp_path / "v" / "4_4_40" / "27-32_7-23_100-108"
    key.write_bytes(b"damaged")
    with pytest.raises(VolumekitError) as caught:
        volume[[0, 30], [10, 10], [105, 105]] = 1
    assert caught.value.unknown == (Bbox((0, 10, 105), (31, 11, 106)),)
    assert caught.value.landed == ()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("compress", ["", "gzip"])
def test_a_forked_child_gets_an_error(tmp_path, compress):
    volume, _ = make(tmp_path / "v", compress=compress or None)
    script = """
        import os, sys
        from volumekit import Volume, errors
        volume = Volume(sys.argv[1], non_aligned_writes=True)
        volume[:]
        for use in (
            lambda: volume[:], lambda: volume[0, 10, 105], lambda: volume.points([[0, 10, 105]]),
            lambda: volume.__setitem__((), 1), lambda: volume.__setitem__(([0], [10], [105]), 1), volume.exists,
            lambda: volume.delete(()), volume.commit_info, volume.refresh_info,
            lambda: Volume(sys.argv[1]), lambda: Volume("memory://x", info=volume.info),
        ):
            child = os.fork()
            if child == 0:
                try:
                    use()
                except errors.ForkError as error:
                    assert isinstance(error, RuntimeError) and "spawn" in str(error)
                    os._exit(7)
                os._exit(1)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        assert volume[:].any()
    """
    assert run(script, volume.cloudpath).split() == ["7"] * 11


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_forked_before_any_use_works(tmp_path):
    volume, _ = make(tmp_path / "v")
    script = """
        import os, sys
        import volumekit.volume.volume
        child = os.fork()
        if child == 0:
            os._exit(int(volumekit.Volume(sys.argv[1])[:].any()) + 10)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert run(script, volume.cloudpath).split() == ["11"]


SPAWN = """
    import multiprocessing, sys
    import numpy as np
    from volumekit import Volume

    def total(volume):
        return int(volume[:].sum())

    if __name__ == "__main__":
        volume = Volume(sys.argv[1])
        expected = total(volume)
        with multiprocessing.get_context(sys.argv[2]).Pool(2) as pool:
            print(pool.map(total, [volume] * 4) == [expected] * 4)
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_pools_of_other_methods_work(tmp_path, method):
    volume, _ = make(tmp_path / "v", compress="gzip")
    (tmp_path / "script.py").write_text(textwrap.dedent(SPAWN))
    command = [sys.executable, str(tmp_path / "script.py"), volume.cloudpath, method]
    where = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=where)
    assert done.stdout.split() == ["True"], done.stderr


LATE = """
    import sys, threading
    import numpy as np
    from volumekit import Volume
    from volumekit.engine import array

    array.QUICK_BYTES = 0
    volume = Volume(sys.argv[1])

    def late():
        main.join()
        volume[:, :, :16] = np.full((32, 32, 16), 9, "u1")
        array.READ_BYTES = 1 << 12
        print(*np.unique(volume[:, :, :16]), *np.unique(volume[:, :, 16:]))

    main = threading.main_thread()
    threading.Thread(target=late).start()
"""


@pytest.mark.parametrize("how", [{"compress": "gzip"}, {"compress": None}, {"format": "zarr"}], ids=str)
def test_threads_read_and_write_after_the_main_thread_has_ended(tmp_path, how):
    volumekit.Volume.from_numpy(np.full((32, 32, 32), 5, "u1"), tmp_path / "v", chunk_size=(16, 16, 16), **how)
    assert run(LATE, tmp_path / "v").split() == ["9", "5"]
