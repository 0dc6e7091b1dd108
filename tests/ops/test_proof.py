"""Levels that were stored are compared with what the finer ones give, in every layout and by every method."""

from __future__ import annotations

import numpy as np
import pytest

from volumekit import Volume, convert, downsample
from volumekit.cli.main import run
from volumekit.errors import CorruptChunkError, OptionError
from volumekit.ops import blocks, proof
from volumekit.ops.kernels import METHODS
from volumekit.ops.stream import Stream

SHAPE = (45, 38, 21)
LOW = (-5, 3, 8)


def made(place, dtype=np.uint8, channels=1, **how):
    voxels = np.random.default_rng(4).integers(0, 90, (*SHAPE, channels)).astype(dtype)
    voxels[:16, :16] = 0
    how = {"chunk_size": (8, 8, 8), "voxel_offset": LOW, "progress": False, **how}
    return Volume.from_numpy(voxels, place, **how)


@pytest.fixture
def wrong(monkeypatch):
    """Store one voxel of a level wrongly."""

    def install(level):
        real, damaged = Stream._save, []

        def save(self, n, low, high, voxels):
            if self.stage.rungs[n].mip == level and not damaged:
                damaged.append(level)
                voxels = voxels.copy(order="K")
                voxels[0, 0, 0] += 1
            real(self, n, low, high, voxels)

        monkeypatch.setattr(Stream, "_save", save)
        return damaged

    return install


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_every_method(tmp_path, method, dtype, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1 << 12)
    source = made(tmp_path / "a", dtype, 2)
    how = {"mips": 3, "factor": [(2, 2, 1), (3, 2, 2), (2, 2, 2)], "method": method, "chunk_size": 8, "progress": False}
    found = convert(source, tmp_path / "b", verify=True, **how).provenance.processing[-1]["verified"].split("; ")
    assert [one.rpartition(" ")[2] for one in found] == ["0", "1", "2", "3"]
    assert all(one.startswith("equal") for one in found)


@pytest.mark.parametrize("kind", ["ome-zarr", "n5", "precomputed"])
@pytest.mark.parametrize("how", [{}, {"box": np.s_[0:33, 7:40, 10:27], "offset": (3, 5, 7)}, {"axes": "zyx"}], ids=str)
def test_formats_boxes_and_axes(tmp_path, kind, how, monkeypatch):
    monkeypatch.setattr(proof, "BLOCK_BYTES", 1 << 10)
    how = {**how, "chunk_size": 8, "mips": 2, "processes": 1 if kind == "n5" and not how else None, "progress": False}
    result = convert(made(tmp_path / "a"), tmp_path / "b", format=kind, verify=True, **how)
    assert result.provenance.processing[-1]["verified"].count("equal") == 3


def test_a_share_of_every_level(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1 << 12)
    found = convert(made(tmp_path / "a"), tmp_path / "b", mips=1, chunk_size=8, verify=0.3, progress=False)
    assert found.provenance.processing[-1]["verified"].count(" boxes) of mip") == 2


@pytest.mark.parametrize("level", [0, 1, 2])
def test_what_is_wrong_at_a_level_is_found(tmp_path, wrong, level):
    damaged = wrong(level)
    how = {"mips": 2, "chunk_size": 8, "verify": True, "progress": False}
    what = "what the source holds" if level == 0 else f"mip {level} is not what the next finer level gives: 1 of"
    with pytest.raises(CorruptChunkError, match=what):
        convert(made(tmp_path / "a"), tmp_path / "b", **how)
    assert damaged
    assert not (tmp_path / "b/info").exists()
    result = convert(Volume(tmp_path / "a"), tmp_path / "b", **how)
    np.testing.assert_array_equal(result[:], Volume(tmp_path / "a")[:])


@pytest.mark.parametrize("place", ["a", "a.zarr"])
def test_levels_that_are_added(tmp_path, wrong, place):
    source = convert(made(tmp_path / "source"), tmp_path / place, chunk_size=8, progress=False)
    damaged = wrong(2)
    with pytest.raises(CorruptChunkError, match="mip 2 is not what"):
        downsample(source, mips=2, verify=True, progress=False)
    assert damaged
    assert len(Volume(source.cloudpath).levels) == 1
    found = downsample(source, mips=2, verify=True, progress=False).provenance.processing[-1]["verified"]
    assert [one.rpartition(" ")[2] for one in found.split("; ")] == ["1", "2"]


def test_the_command(tmp_path, capsys):
    made(tmp_path / "a")
    assert run(["downsample", str(tmp_path / "a"), "--verify", "--quiet"]) == 0
    assert "verified: equal: 5,060 voxels of mip 1\n" in capsys.readouterr().out
    command = ["convert", "unread", str(tmp_path / "a"), "--first-new-level", "1", "--mips", "2", "--overwrite"]
    assert run([*command, "--verify", "--quiet"]) == 0
    assert "voxels of mip 2" in capsys.readouterr().out


def test_what_cannot_be(tmp_path):
    source = made(tmp_path / "a", encoding="jpeg")
    with pytest.raises(OptionError, match="jpeg may give back other values"):
        downsample(source, verify=True, progress=False)
    with pytest.raises(OptionError, match="verify is 2"):
        downsample(source, verify=2, progress=False)
    assert len(Volume(source.cloudpath).levels) == 1
