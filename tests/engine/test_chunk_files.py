"""Chunk files read by compiled code: the same voxels as ever, or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from volumekit import Bbox, Volume
from volumekit.engine import compiled_files
from volumekit.engine.chunk_files import read_files

LOW, SHAPE = (-3, 5, 8), (37, 30, 21)
WHOLE = Bbox(LOW, [a + n for a, n in zip(LOW, SHAPE, strict=True)])
BOXES = [WHOLE, Bbox((-3, 13, 16), (34, 29, 24)), Bbox((13, 5, 24), (34, 13, 29))]


def made(folder, dtype="uint8", channels=1, encoding="raw", **how):
    info = Volume.create_new_info(channels, "image", dtype, encoding, (4, 4, 40), LOW, SHAPE, chunk_size=(16, 8, 8))
    volume = Volume(folder, info=info, progress=False, **how)
    volume.commit_info()
    volume[:] = np.random.default_rng(1).integers(1, 100, (*SHAPE, channels)).astype(dtype)
    return volume


def read(volume, box=WHOLE):
    """Read a box into memory with a margin; return what was read, None if nothing was."""
    array = volume.array(0)
    size = [int(n) for n in box.size()]
    room = array.empty((size[0] + 2, size[1] + 3, size[2] + 1, array.level.channels))
    out = room[1:-1, 1:-2, :-1]
    room.fill(0)
    found = read_files(array, box, out)
    out = out.copy()
    room[1:-1, 1:-2, :-1] = 0
    assert not room.any(), "nothing is written around it"
    return out if found else None


@pytest.mark.parametrize("box", BOXES, ids=str)
@pytest.mark.parametrize(
    "how", [{}, {"dtype": "uint16", "channels": 3}, {"dtype": "float32"}, {"dtype": "uint64"}], ids=str
)
@pytest.mark.parametrize(("at_once", "part"), [(64, 1 << 20), (2, 1), (64, 1000)])
def test_the_voxels_are_the_same(tmp_path, monkeypatch, how, box, at_once, part):
    monkeypatch.setattr("volumekit.engine.chunk_files.AT_ONCE", at_once)
    monkeypatch.setattr("volumekit.engine.chunk_files._PART", part)
    volume = made(tmp_path, **how)
    np.testing.assert_array_equal(read(volume, box), volume.download(box))


@pytest.mark.parametrize("how", [{"encoding": "png"}, {"compress": "gzip"}, {"lru_bytes": 1 << 20}], ids=str)
def test_what_is_stored_otherwise_is_left_to_others(tmp_path, how):
    assert read(made(tmp_path, **how)) is None


def test_boxes_off_the_grid_are_left_to_others(tmp_path):
    assert read(made(tmp_path), Bbox((-3, 6, 8), (34, 35, 29))) is None


@pytest.mark.parametrize("damage", ["gone", "packed", "shorter", "longer", "folder"])
def test_what_is_not_whole_is_left_to_others(tmp_path, damage):
    volume = made(tmp_path)
    path = tmp_path / "4_4_40/13-29_13-21_16-24"
    content = path.read_bytes()
    path.unlink()
    if damage == "packed":
        Volume(tmp_path, compress="gzip", progress=False)[13:29, 13:21, 16:24] = 7
    elif damage == "folder":
        path.mkdir()
    elif damage != "gone":
        path.write_bytes(content[:-1] if damage == "shorter" else content + b"\0")
    assert read(Volume(tmp_path, progress=False)) is None
    assert read(volume) is None


def test_no_file_stays_open(tmp_path, monkeypatch):
    volume, before, during = made(tmp_path), len(list(Path("/dev/fd").iterdir())), []

    def fails(*_):
        during.append(len(list(Path("/dev/fd").iterdir())))
        return False

    monkeypatch.setattr(compiled_files, "read_parts", fails)
    assert read(volume) is None
    assert during[0] > before
    assert len(list(Path("/dev/fd").iterdir())) == before
