"""Verification: every difference is found, and told where."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from volumekit import Bbox, Volume, convert, transfer, verify
from volumekit.cli.main import run
from volumekit.errors import CorruptChunkError, OptionError
from volumekit.ops import blocks, proof
from volumekit.ops.verification import Verification


@pytest.fixture
def pair(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 3 * 16**3)
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
    assert str(found).startswith("none of ")
    nothing = verify(one, two, box=Bbox((-5, 3, 8), (0, 9, 12)))
    assert str(nothing).startswith("nothing could be compared: 1 box cannot be read\nunreadable: chunk")


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


def test_labels_that_are_no_floats(tmp_path):
    voxels = np.full((8, 8, 8), 2**60, np.uint64)
    one = Volume.from_numpy(voxels, tmp_path / "a", layer_type="segmentation")
    voxels[1, 2, 3] += 1
    two = Volume.from_numpy(voxels, tmp_path / "b", layer_type="segmentation")
    found = verify(one, two)
    assert (found.different, found.largest) == (1, 1)
    assert verify(one, two, tolerance=1)


@pytest.mark.parametrize("how", [{}, {"compress": "gzip"}, {"sharding": True}], ids=str)
def test_checksums(tmp_path, pair, how, monkeypatch):
    one, other = pair
    copy = transfer(one, tmp_path / "copy", progress=False) if not how else None
    copy = copy or convert(one, tmp_path / "copy", chunk_size=16, progress=False, **how)
    monkeypatch.setattr("volumekit.codecs.raw.Raw.decode", lambda *_: 1 / 0)
    found = verify(one, copy.cloudpath, checksums=True)
    assert found
    assert (found.unit, found.chunks, found.voxels) == ("chunks", 4 * 3 * 2, 0)
    assert str(found) == "equal by their checksums: 24 chunks of mip 0"
    monkeypatch.undo()
    copy.non_aligned_writes = True
    copy[0, 10, 10] = 999 % 256 - np.asarray(copy[0, 10, 10])
    found = verify(one, copy.cloudpath, checksums=True)
    assert (found.different, found.boxes) == (1, [Bbox((-5, 3, 8), (11, 19, 24))])
    assert "1 of 24 chunks differ by their checksums" in str(found)
    copy.delete(Bbox((-5, 3, 24), (11, 19, 38)))
    assert verify(one, copy.cloudpath, checksums=True).different == 2
    one.delete(Bbox((-5, 3, 24), (11, 19, 38)))
    assert verify(one, copy.cloudpath, checksums=True).different == 1
    with pytest.raises(OptionError, match="leave out checksums"):
        verify(one, other, checksums=True)


def test_in_processes(pair):
    one, two = pair
    two[0, 10, 10] = 999
    found = verify(one.cloudpath, two.cloudpath, processes=2)
    assert found.to_json() == verify(one, two).to_json()
    assert found.different == 1


@pytest.fixture
def stack(tmp_path):
    folder = tmp_path / "slices"
    folder.mkdir()
    for z in range(20):
        image = np.random.default_rng(z).integers(0, 255, (40, 60), np.uint8)
        tifffile.imwrite(folder / f"{z:02}.tif", image)
    return folder


def test_a_stack_with_what_was_made_of_it(stack, tmp_path):
    made = convert(stack, tmp_path / "made", voxel_size=(4, 4, 40), mips=2, progress=False)
    assert verify(stack, made)
    made.non_aligned_writes = True
    made[1, 2, 3] = 255 - np.asarray(made[1, 2, 3])
    assert verify(stack, made).different == 1


def test_conversions_prove_themselves(stack, tmp_path, capsys):
    how = {"voxel_size": (4, 4, 40), "offset": (100, 0, -7), "box": np.s_[5:55, 3:40, 2:18], "progress": False}
    made = convert(stack, tmp_path / "made", verify=True, **how)
    assert made.provenance.processing[-1]["verified"] == "equal: 29,600 voxels of mip 0"
    command = ["convert", str(stack), str(tmp_path / "again"), "--voxel-size", "4,4,40", "--verify", "--mips", "1"]
    assert run(command) == 0
    told = capsys.readouterr().out
    assert "verified: equal: 48,000 voxels of mip 0; equal: 6,000 voxels of mip 1\n" in told


def test_a_conversion_that_differs_is_not_finished(stack, tmp_path, monkeypatch, capsys):
    real = proof.Compare.run

    def damaging(self, *args, **how):
        self.two.non_aligned_writes = True
        self.two[5, 5, 5] = 255 - np.asarray(self.two[5, 5, 5])
        return real(self, *args, **how)

    monkeypatch.setattr(proof.Compare, "run", damaging)
    with pytest.raises(CorruptChunkError, match="1 of 48,000 voxels differ"):
        convert(stack, tmp_path / "made", voxel_size=(4, 4, 40), verify=True, progress=False)
    assert not (tmp_path / "made/info").exists()
    command = ["convert", str(stack), str(tmp_path / "made"), "--voxel-size", "4,4,40", "--verify"]
    assert run(command) == 1
    monkeypatch.undo()
    assert run(command) == 0, "it was done again"
    np.testing.assert_array_equal(Volume(tmp_path / "made")[..., 0], Volume(stack)[..., 0])


def test_conversions_that_cannot_prove_themselves(stack, tmp_path):
    for bad in ({"encoding": "jpeg", "verify": True}, {"verify": 2}):
        with pytest.raises(OptionError):
            convert(stack, tmp_path / "made", **bad)
    with pytest.raises(OptionError, match="compare an array yourself"):
        convert(np.zeros((4, 4, 4), np.uint8), tmp_path / "made", verify=True)


def test_many_differences_are_counted():
    found = Verification("a", "b", 0, boxes=[Bbox((n, 0, 0), (n + 1, 1, 1)) for n in range(15)], different=15)
    assert str(found).splitlines()[-1] == "... and 5 more"
