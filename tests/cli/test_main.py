"""The command line: what is printed, and the exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from volumekit import Volume, __version__, convert
from volumekit.cli.main import COMMANDS, program, run

COMMAND = [sys.executable, "-c", "from volumekit.cli.main import main; main()"]


@pytest.fixture
def stack(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (40, 30, 12), np.uint8)
    (tmp_path / "stack").mkdir()
    for z in range(12):
        tifffile.imwrite(tmp_path / "stack" / f"z{z}.tif", array[:, :, z].T)
    return tmp_path / "stack", array


def call(*args):
    return run([str(arg) for arg in args])


def test_it_is_a_module_too():
    done = subprocess.run([sys.executable, "-m", "volumekit", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"volumekit {__version__}\n"


def test_a_dry_run_of_what_is_finished(stack, tmp_path, capsys):
    commands = (
        ["convert", stack[0], tmp_path / "v", "--voxel-size", "4,4,40", "--chunk-size", 16, "--quiet"],
        ["downsample", tmp_path / "v", "--quiet"],
    )
    for command in commands:
        assert call(*command) == 0
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        capsys.readouterr()
        assert call(*command, "--dry-run") == 0
        assert "v is finished: nothing is left to do" in capsys.readouterr().out
        assert call(*command, "--dry-run", "--json") == 0
        assert json.loads(capsys.readouterr().out)["tasks"] == 0
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_convert_info_exists_export(stack, tmp_path, capsys):
    folder, array = stack
    out = tmp_path / "v"
    assert call("convert", folder, out, "--voxel-size", "4,4,40", "--mips", 2, "--chunk-size", 16) == 0
    assert "levels 40x30x12, 20x15x6, 10x8x3" in capsys.readouterr().out
    volume = Volume(out)
    np.testing.assert_array_equal(np.asarray(volume[:])[..., 0], array)

    assert call("info", out) == 0
    shown = capsys.readouterr().out
    assert "image, uint8" in shown
    assert "1    8_8_80" in shown
    assert "0:20, 0:15, 0:6" in shown

    assert call("info", out, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [level["size"] for level in told["levels"]] == [[40, 30, 12], [20, 15, 6], [10, 8, 3]]

    (out / "4_4_40" / "0-16_0-16_0-12").unlink()
    assert call("exists", out, "--box", "0:17,:,0:12", "--plot", tmp_path / "map.png") == 0
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.size == (512, 512)
    shown = capsys.readouterr().out
    assert "3 of 4 chunks stored" in shown
    assert "missing: 4_4_40/0-16_0-16_0-12" in shown
    assert call("exists", out, "--mip", 1, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["total"], told["present"], told["missing"]) == (2, 2, [])

    assert call("export", out, tmp_path / "slice.png", "--box", "16:40,16:30,3:4") == 0
    assert (tmp_path / "slice.png").stat().st_size > 0


def test_options_of_convert(stack, tmp_path):
    folder, array = stack
    out = tmp_path / "v"
    code = call(
        "convert", folder, out, "--voxel-size", "0.1,0.1,0.5", "--unit", "um", "--offset", "-10,20,-3",
        "--box", "4:40,:,2:10", "--factor", "2,2,1", "--mips", "1", "--method", "max", "--data-type", "uint16",
        "--layer-type", "segmentation", "--compress", "gzip", "--chunk-size", "16,16,8", "--jobs", "2",
        "--memory", "500MB", "--quiet", "--log", "error", "--encoding", "raw",
    )  # fmt: skip
    assert code == 0
    volume = Volume(out)
    assert volume.resolution.tolist() == [100, 100, 500]
    assert volume.voxel_offset.tolist() == [-10, 20, -3]
    assert (volume.layer_type, volume.dtype) == ("segmentation", np.uint16)
    np.testing.assert_array_equal(np.asarray(volume[:])[..., 0], array[4:, :, 2:10])
    assert all(path.suffix == ".gz" for path in (out / "100_100_500").iterdir())


def test_negative_coordinates_in_a_box(tmp_path, capsys):
    convert(np.ones((20, 20, 20), np.uint8), tmp_path / "v", offset=(-10, -10, -10), chunk_size=10)
    assert call("exists", tmp_path / "v", "--box", "-10:5,-10:0,0:10") == 0
    assert "2 of 2 chunks stored" in capsys.readouterr().out


def test_downsample(tmp_path, capsys):
    convert(np.ones((20, 20, 20), np.uint8), tmp_path / "v")
    assert call("downsample", tmp_path / "v", "--mips", 2, "--factor", "2,2,1") == 0
    assert "levels 20x20x20, 10x10x20, 5x5x20" in capsys.readouterr().out


def test_sparse_downsampling(tmp_path):
    array = np.zeros((20, 20, 20), np.uint8)
    array[::2] = 100
    convert(array, tmp_path / "v")
    assert call("downsample", tmp_path / "v", "--sparse") == 0
    assert call("convert", tmp_path / "v", tmp_path / "w", "--mips", 1, "--sparse", "--quiet") == 0
    for name in "vw":
        assert (Volume(tmp_path / name, mip=1)[:] == 100).all()


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["convert"],
        ["convert", "a"],
        ["bake", "a"],
        ["convert", "a", "b", "--voxel-size", "1,2"],
        ["convert", "a", "b", "--voxel-size", "big"],
        ["convert", "a", "b", "--factor", "2,2,0.5"],
        ["convert", "a", "b", "--mips", "-1"],
        ["convert", "a", "b", "--box", "1:2"],
        ["convert", "a", "b", "--box", "5:2,0:1,0:1"],
        ["convert", "a", "b", "--method", "best"],
        ["convert", "a", "b", "--unit", "inch"],
        ["convert", "a", "b", "--jobs", "0"],
        ["convert", "a", "b", "--memory", "lots"],
        ["convert", "a", "b", "--log", "loud"],
        ["info", "a", "--xml"],
        ["convert", "a", "b", "--voxel-size", "0,4,4"],
        ["convert", "a", "b", "--voxel-size", "nan"],
        ["convert", "a", "b", "--voxel-size", "inf"],
        ["convert", "a", "b", "--encoding", "gif"],
        ["convert", "a", "b", "--data-type", "float99"],
        ["convert", "a", "b", "--compress", "rar"],
        ["convert", "a", "b", "--factor", "0,1,1"],
        ["convert", "a", "b", "--chunk-size", "0,1,1"],
        ["convert", "a", "b", "--block-size", "-8"],
        ["convert", "a", "b", "--format", "dicom"],
        ["downsample", "a", "--compress", "rar"],
        ["downsample", "a", "--factor", "0"],
        ["demo", "--voxel-size", "0"],
    ],
)
def test_wrong_commands_exit_with_2(args, capsys):
    assert run(args) == 2
    told = capsys.readouterr()
    assert "Usage:" in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["info", "{tmp}/nothing"], "no dataset"),
        (["convert", "{tmp}/nothing", "{tmp}/v"], "no dataset"),
        (["convert", "{tmp}/empty", "{tmp}/v"], "no image"),
        (["convert", "{tmp}/stack", "{tmp}/v", "--data-type", "int8"], "without loss"),
        (["convert", "{tmp}/stack", "{tmp}/file/v"], "file/v"),
        (["convert", "s3x://bucket/a", "{tmp}/v"], "s3x"),
        (["downsample", "{tmp}/stack"], "convert it first"),
        (["convert", "{tmp}/stack", "{tmp}/empty/old"], "--overwrite"),
        (["export", "{tmp}/stack", "{tmp}/file", "--box", ":,:,0:1"], "choose another name"),
        (["downsample", "{tmp}/empty/old", "--mip", "0"], "--overwrite"),
    ],
)
def test_failures_are_one_line_and_exit_with_1(stack, tmp_path, args, text, capsys):
    (tmp_path / "empty").mkdir()
    if any(arg.endswith("/old") for arg in args):
        convert(np.ones((4, 4, 4), np.uint8), tmp_path / "empty" / "old", mips=1)
    check_failure(1, tmp_path, args, text, capsys)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["convert", "{tmp}/stack", "{tmp}/v", "--memory", "9MB"], "memory of 9 MB is too little"),
        (["convert", "{tmp}/stack", "{tmp}/v", "--box", "0:99,:,:"], "outside"),
        (["convert", "{tmp}/stack", "{tmp}/v", "--factor", "1,1,1", "--mips", "1"], "no coarser level"),
        (["convert", "{tmp}/stack", "{tmp}/stack", "--overwrite"], "among its own images"),
        (["exists", "{tmp}/stack", "--mip", "7"], "mip"),
        (["exists", "{tmp}/stack", "--box", "0:99,:,:"], "outside"),
        (["export", "{tmp}/stack", "{tmp}/a.bmp"], "bmp"),
        (["info", ""], "not a URL"),
    ],
)
def test_impossible_wishes_are_one_line_and_exit_with_2(stack, tmp_path, args, text, capsys):
    check_failure(2, tmp_path, args, text, capsys)


def check_failure(code, tmp_path, args, text, capsys):
    (tmp_path / "file").write_text("")
    assert run([arg.format(tmp=tmp_path) for arg in args]) == code
    told = capsys.readouterr()
    assert told.out == ""
    lines = [line for line in told.err.splitlines() if not line.startswith("WARNING")]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert text in lines[0]
    assert not (tmp_path / "v").exists()


def test_what_nobody_thought_of_is_one_line_too(stack, tmp_path, monkeypatch, capsys):
    def broken(*_, **__):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("volumekit.volume.volume.Volume.__init__", broken)
    assert call("info", tmp_path) == 1
    told = capsys.readouterr().err
    assert told == "error: unexpected ZeroDivisionError: division by zero; --log debug shows where\n"


def test_missing_chunks_can_be_filled(tmp_path, capsys):
    convert(np.ones((20, 20, 20), np.uint8), tmp_path / "a", chunk_size=10)
    (tmp_path / "a" / "1_1_1" / "0-10_0-10_0-10").unlink()
    assert call("convert", tmp_path / "a", tmp_path / "b") == 1
    assert call("convert", tmp_path / "a", tmp_path / "b", "--fill-missing") == 0
    voxels = np.asarray(Volume(tmp_path / "b")[:])
    assert not voxels[:10, :10, :10].any()
    assert voxels.sum() == 7000


def test_help_names_every_command(capsys):
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)
    for name in COMMANDS:
        assert run([name, "--help"]) == 0
        assert "Usage: volumekit" in capsys.readouterr().out
        assert program.get_command(None, name).name == name  # type: ignore[arg-type]


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"volumekit {__version__}\n"


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from volumekit.cli.main import run; run(['--help']);"
        "heavy = {'numpy', 'tensorstore', 'tqdm', 'tifffile'} & set(sys.modules); sys.exit(bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_real_process(stack, tmp_path):
    folder, _ = stack
    done = subprocess.run(
        [*COMMAND, "convert", str(folder), str(tmp_path / "v"), "--progress", "--voxel-size", "4,4,40"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Converting: 100%" in done.stderr
    again = subprocess.run(
        [*COMMAND, "convert", str(folder), str(tmp_path / "v")], capture_output=True, text=True, check=False
    )
    assert again.returncode == 1
    assert again.stderr.splitlines()[-1].startswith("error: there is a dataset at")
    assert "Traceback" not in again.stderr


def test_debug_shows_where_it_failed(tmp_path):
    command = [*COMMAND, "info", str(tmp_path / "nothing"), "--log", "debug"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: no dataset")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_exits_with_130_and_leaves_no_dataset(tmp_path):
    (tmp_path / "stack").mkdir()
    plane = np.random.default_rng(0).integers(0, 255, (512, 512), np.uint8)
    for z in range(256):
        tifffile.imwrite(tmp_path / "stack" / f"{z}.tif", plane)
    out = tmp_path / "v"
    options = ["--mips", "2", "--chunk-size", "16", "--compress", "xz"]
    process = subprocess.Popen(
        [*COMMAND, "convert", str(tmp_path / "stack"), str(out), *options], stderr=subprocess.PIPE, text=True
    )
    while not (out / "1_1_1").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert told.endswith("interrupted\n")
    assert not (out / "info").exists()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="Linux tells the children of a process")
@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3])
def test_ctrl_c_while_processes_start(tmp_path, delay):
    """A terminal interrupts all of them; only the first one says so."""
    (tmp_path / "stack").mkdir()
    for z in range(8):
        tifffile.imwrite(tmp_path / "stack" / f"{z}.tif", np.zeros((64, 64), np.uint8))
    command = [*COMMAND, "convert", str(tmp_path / "stack"), str(tmp_path / "v"), "--processes", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    threads = Path(f"/proc/{process.pid}/task")
    while sum(len(path.read_text().split()) for path in threads.glob("*/children")) < 2:  # one is multiprocessing's own
        assert process.poll() is None
        time.sleep(0.001)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert "Traceback" not in told
    assert told.endswith("interrupted\n")
    assert process.returncode == 130


def alive(group):
    """Tell whether there are processes of a group."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("delay", [0.02, 0.2])
def test_ctrl_c_twice(tmp_path, delay):
    """Who interrupts again does not want to wait for tasks under way; no process is waited for then, nor left."""
    (tmp_path / "stack").mkdir()
    plane = np.random.default_rng(0).integers(0, 255, (512, 512), np.uint8)
    for z in range(256):
        tifffile.imwrite(tmp_path / "stack" / f"{z}.tif", plane)
    options = ["--mips", "2", "--chunk-size", "32", "--compress", "xz", "--processes", "2"]
    command = [*COMMAND, "convert", str(tmp_path / "stack"), str(tmp_path / "v"), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (tmp_path / "v" / "1_1_1").exists():
        assert process.poll() is None
        time.sleep(0.01)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(delay)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in told
    ends = time.monotonic() + 20
    while alive(process.pid) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not alive(process.pid)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
def test_nobody_reads_the_output(tmp_path):
    convert(np.ones((4, 4, 4), np.uint8), tmp_path / "v")
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [*COMMAND, "info", str(tmp_path / "v")], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert process.stderr == ""
    assert process.returncode == 1


def test_sharded(stack, tmp_path, capsys):
    folder, array = stack
    out = tmp_path / "v"
    assert call("convert", folder, out, "--voxel-size", "4,4,40", "--mips", 1, "--chunk-size", 8, "--sharded") == 0
    np.testing.assert_array_equal(np.asarray(Volume(out)[:])[..., 0], array)
    assert {path.suffix for path in (out / "4_4_40").iterdir()} == {".shard"}
    capsys.readouterr()
    assert call("info", out) == 0
    assert "8 x 8 x 8 in shards of 64 x 32 x 16" in capsys.readouterr().out
    assert call("info", out, "--json") == 0
    level = json.loads(capsys.readouterr().out)["levels"][1]
    assert (level["sharded"], level["shard_size"]) == (True, [32, 16, 8])
    assert call("exists", out) == 0
