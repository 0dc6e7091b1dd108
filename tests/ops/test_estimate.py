"""Estimates of conversions: what they say, and that they write nothing."""

import json

import numpy as np
import pytest
import tifffile

from tests.volume.sample import empty, files, make
from volumekit import Volume, convert
from volumekit.cli.main import run
from volumekit.errors import MissingChunkError, TargetExistsError
from volumekit.ops import sample
from volumekit.ops.estimate import Estimate, LevelEstimate, format_seconds
from volumekit.ops.ladder import PROGRAM_BYTES
from volumekit.storage import open_store


def noisy(shape, dtype=np.uint8):
    """Return voxels that compress to about half, everywhere alike."""
    return np.asfortranarray(np.random.default_rng(3).integers(0, 16, shape).astype(dtype))


def stored(folder, key):
    return sum(path.stat().st_size for path in (folder / key).iterdir())


@pytest.fixture
def stack(tmp_path):
    folder = tmp_path / "stack"
    folder.mkdir()
    voxels = noisy((200, 150, 70))
    for z in range(70):
        tifffile.imwrite(folder / f"{z:03}.tif", voxels[:, :, z].T, compression="zlib")
    return folder


SOURCES = {
    "array": lambda folder: noisy((200, 150, 70)),
    "volume": lambda folder: make(folder / "src", array=noisy((200, 150, 70, 1)), chunk=(32, 32, 32))[0],
    "channels": lambda folder: noisy((130, 70, 70, 3)),
    "large chunks": lambda folder: make(folder / "src", array=noisy((200, 150, 70, 1)), chunk=(256, 256, 70))[0],
}


@pytest.mark.parametrize("source", [*SOURCES, "stack"])
@pytest.mark.parametrize("how", [{}, {"compress": "gzip"}, {"encoding": "png"}, {"method": "gaussian"}], ids=str)
def test_room_is_what_it_then_takes(tmp_path, source, how, stack):
    src = stack if source == "stack" else SOURCES[source](tmp_path)
    how = {**how, "voxel_size": (4, 4, 4), "mips": 2, "chunk_size": (32, 32, 32)}
    told = convert(src, tmp_path / "dst", dry_run=True, **how)
    assert isinstance(told, Estimate)
    assert not (tmp_path / "dst").exists()
    volume = convert(src, tmp_path / "dst", **how)
    assert [level.key for level in told.levels] == [level.key for level in volume.levels]
    for mip, level in enumerate(told.levels):
        actual = stored(tmp_path / "dst", level.key)
        assert level.shape == volume.mip_shape(mip)
        assert level.chunks == volume.exists(mip=mip).total
        assert level.voxel_bytes == np.prod(level.shape)
        likely = 1.05 if mip == 0 else 2  # coarser levels have other voxels, and few
        assert actual / likely <= level.stored_bytes <= actual * likely
    assert told.read_bytes >= told.levels[0].voxel_bytes
    assert told.seconds > 0
    assert told.memory_bytes > PROGRAM_BYTES
    assert told.free_bytes > 0


def test_times_are_those_of_the_sample_per_byte(tmp_path, monkeypatch):
    """Each thing that is timed takes a second: then seconds are bytes over the bytes of the samples."""
    ticks = iter(range(10**6))
    monkeypatch.setattr(sample.time, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(sample, "SECONDS", 10**9)
    monkeypatch.setattr(sample, "SAMPLE_BYTES", 32**3 * 8)
    array = noisy((256, 256, 64))
    told = convert(array, tmp_path / "dst", dry_run=True, voxel_size=(4, 4, 4), mips=1, chunk_size=(32, 32, 32))
    read = array.nbytes / 64**3
    written = array.nbytes / 64**3 + array.nbytes / 8 / 32**3
    reduced = array.nbytes / 64**3
    assert told.seconds == pytest.approx(read + written + reduced)


def test_the_memory_of_the_sample_is_freed(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(sample, "open_store", lambda url: opened.append(open_store(url)) or opened[-1])
    convert(noisy((100, 100, 50)), tmp_path / "dst", dry_run=True, voxel_size=(4, 4, 4), mips=2)
    assert [list(store.list()) for store in opened] == [[]]


def test_what_is_there_stays(tmp_path):
    make(tmp_path / "dst")
    before = {name: (tmp_path / "dst" / name).read_bytes() for name in files(tmp_path / "dst")}
    with pytest.raises(TargetExistsError, match="--overwrite"):
        convert(noisy((50, 40, 30)), tmp_path / "dst", dry_run=True, voxel_size=(4, 4, 4))
    convert(noisy((50, 40, 30)), tmp_path / "dst", dry_run=True, overwrite=True, voxel_size=(4, 4, 4))
    assert {name: (tmp_path / "dst" / name).read_bytes() for name in files(tmp_path / "dst")} == before


def test_a_large_volume_takes_no_longer(tmp_path):
    source = empty(tmp_path / "src", shape=(40_000, 30_000, 20_000), chunk=(64, 64, 64), fill_missing=True)
    told = convert(source, tmp_path / "dst", dry_run=True, mips=5, memory="16GB")
    assert told.levels[0].voxel_bytes == 40_000 * 30_000 * 20_000 * 2
    assert told.levels[0].chunks == 625 * 469 * 313
    assert "NOT ENOUGH" in str(told)


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 1, 300), (65, 64, 3)], ids=str)
def test_small_and_odd_shapes(tmp_path, shape):
    told = convert(noisy(shape), tmp_path / "dst", dry_run=True, voxel_size=(4, 4, 4), mips=2)
    assert told.levels[0].shape == (*shape, 1)
    assert told.levels[0].stored_bytes == np.prod(shape)


def test_missing_chunks_are_told(tmp_path):
    source = empty(tmp_path / "src")
    with pytest.raises(MissingChunkError):
        convert(source, tmp_path / "dst", dry_run=True)


def test_the_command(tmp_path, stack, capsys):
    command = ["convert", str(stack), str(tmp_path / "dst"), "--voxel-size", "4,4,40", "--mips", "1", "--dry-run"]
    assert run(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["4_4_40", "200", "x", "150", "x", "70", "24", "2.1", "MB", "2.1", "MB"]
    assert [line.partition(":")[0] for line in lines[-4:]] == ["work", "time", "memory", "room"]
    assert run([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert run([*command[:-1], "--json"]) == 2
    assert "give both" in capsys.readouterr().err
    assert (told["tasks"], told["levels"][0]["chunks"], told["read_bytes"]) == (1, 24, 200 * 150 * 70)
    assert not (tmp_path / "dst").exists()
    Volume(stack)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.4, "9.4 s"), (9.6, "10 s"), (119, "119 s"), (120, "2 min"), (7300, "2 h"), (10**6, "12 d")],
)
def test_seconds(seconds, text):
    assert format_seconds(seconds) == text


def test_the_text():
    level = LevelEstimate("8_8_8", (100, 50, 20, 3), 1234, 300_000, 150_000)
    text = str(Estimate("file:///x", (level,), 1, 200, 5 * 10**8, 7, None))
    assert "100 x 50 x 20 x 3" in text
    assert "1,234" in text
    assert "about 3 min" in text
    assert "work: 7 tasks; 1 B of voxels in, 150 kB out as stored" in text
    assert "at most 500 MB" in text
    assert "room" not in text
