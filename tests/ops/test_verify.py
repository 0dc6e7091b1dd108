"""Verification: every difference is found, and told where."""

from __future__ import annotations

import json

import numpy as np
import pytest

from volumekit import Bbox, Volume, verify
from volumekit.cli.main import run
from volumekit.errors import OptionError
from volumekit.ops import verify as module


@pytest.fixture
def pair(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 16**3)
    voxels = np.random.default_rng(1).integers(1, 200, (50, 40, 30), np.uint8)
    how = {"voxel_offset": (-5, 3, 8), "progress": False}
    one = Volume.from_numpy(voxels, tmp_path / "a", chunk_size=(16, 16, 16), **how)
    two = Volume.from_numpy(voxels.astype(np.uint16), tmp_path / "b", chunk_size=(20, 10, 30), encoding="png", **how)
    two.non_aligned_writes = True
    return one, two


def test_equal_volumes(pair):
    found = verify(*pair)
    assert found
    assert (found.voxels, found.compared, found.different) == (50 * 40 * 30, found.blocks, 0)
    assert str(found).startswith("equal: 60,000 voxels")


def test_every_voxel_counts(pair):
    one, two = pair
    for place in ((-5, 3, 8), (44, 42, 37), (10, 20, 30)):
        before = np.asarray(two[place])
        two[place] = before + 3
        found = verify(one, two.cloudpath)
        assert not found
        assert (found.different, found.largest) == (1, 3.0)
        assert len(found.boxes) == 1
        assert found.boxes[0].contains(place)
        assert "1 of 60,000 voxels differ" in str(found)
        assert verify(one, two, tolerance=3)
        assert not verify(one, two, tolerance=2)
        two[place] = before


def test_a_sample_is_the_same_every_time_and_all_of_it_in_the_end(pair):
    one, two = pair
    two[-5, 3, 8] = 999
    seen = [bool(verify(one, two, sample=0.2, seed=seed)) for seed in range(12)]
    assert seen == [bool(verify(one, two, sample=0.2, seed=seed)) for seed in range(12)]
    assert len(set(seen)) == 2
    found = verify(one, two, sample=0.2)
    assert 0 < found.compared < found.blocks
    assert verify(one, two, box=np.s_[0:40, 10:40, 10:30])


def test_not_a_number_equals_itself(tmp_path):
    voxels = np.full((8, 8, 8), np.nan, np.float32)
    one = Volume.from_numpy(voxels, tmp_path / "a")
    two = Volume.from_numpy(voxels, tmp_path / "b")
    assert verify(one, two)
    two.non_aligned_writes = True
    two[0, 0, 0] = 1
    assert verify(one, two).different == 1


def test_what_cannot_be_read_is_told(pair):
    one, two = pair
    two.delete(Bbox((-5, 3, 8), (15, 13, 38)))
    found = verify(one, two)
    assert not found
    assert "unreadable: chunk" in str(found)
    assert found.compared == found.blocks


def test_what_cannot_be_compared(pair, tmp_path):
    one, two = pair
    with pytest.raises(OptionError, match="sample"):
        verify(one, two, sample=0)
    rgb = Volume.from_numpy(np.zeros((50, 40, 30, 3), np.uint8), tmp_path / "c", voxel_offset=(-5, 3, 8))
    with pytest.raises(OptionError, match="channels"):
        verify(one, rgb)
    small = Volume.from_numpy(np.zeros((5, 4, 3), np.uint8), tmp_path / "d")
    with pytest.raises(OptionError, match="outside"):
        verify(one, small)


def test_command(pair, capsys):
    one, two = pair
    assert run(["verify", one.cloudpath, two.cloudpath]) == 0
    assert "equal" in capsys.readouterr().out
    two[0, 10, 10] = 999
    assert run(["verify", one.cloudpath, two.cloudpath, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["different"], told["equal"], len(told["boxes"])) == (1, False, 1)
