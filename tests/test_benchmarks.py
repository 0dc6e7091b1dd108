"""Every benchmark runs, once and tiny, with whatever peers are installed; and the harness says what is true."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import numpy as np
import pytest

import benchmarks.__main__ as command
from benchmarks import cases_kernels, cases_read, cases_write, data, harness, ours, peers
from benchmarks.bars import at_most, at_most_itself, at_most_more, faster, share_of_lead
from benchmarks.data import CSEG, FULL, JPEG, RAW, TINY, Data
from benchmarks.harness import Case, Contest, Result, measure, timed
from benchmarks.ours import CLOUDVOLUME, OURS, TENSORSTORE, VolumekitVolume
from benchmarks.rates import jobs, rates
from benchmarks.table import circumstances, header, rows, to_json
from volumekit.ops.kernels import downsample


@pytest.fixture(scope="module", autouse=True)
def few_objects():
    """Leave out of garbage collections what earlier tests left: each measurement begins with one."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Data(tmp_path_factory.mktemp("benchmarks"), TINY)


@pytest.fixture
def no_peers(monkeypatch):
    monkeypatch.setattr(peers, "_version", lambda distribution: None)
    monkeypatch.setattr(cases_kernels.kernels, "peer", lambda method: None)


@pytest.mark.parametrize("case", command.all_cases(), ids=lambda case: case.name)
def test_it_runs(case, tiny):
    result = measure(case, tiny)
    assert result.samples[OURS]
    assert len({len(taken) for taken in result.samples.values() if taken}) == 1
    lines = list(rows(result))
    assert lines[0].startswith(case.name)
    assert len(lines) == len(result.samples)
    assert json.loads(json.dumps(to_json([result], circumstances())))["results"][0]["name"] == case.name


def test_case_names_are_unique():
    names = [case.name for case in command.all_cases()]
    assert len(set(names)) == len(names) > 30


@pytest.mark.usefixtures("no_peers")
@pytest.mark.parametrize("name", ["read random 64^3, raw 64^3", "write all, raw 64^3", "downsample mean 2x2x1"])
def test_absent_peers_show(name, tiny):
    result = measure(command.chosen([name])[0], tiny)
    assert set(result.medians) == {OURS}
    first, *others = rows(result)
    assert "absent" not in first
    assert others
    assert all("absent" in line for line in others)
    assert any("not measured" in line for line in others)
    assert set(to_json([result], {})["results"][0]["absent"]) == set(result.samples) - {OURS}


@pytest.mark.usefixtures("no_peers")
def test_the_header_tells_how_to_install():
    lines = list(header(circumstances()))
    assert "cloudvolume: not installed, pip install 'volumekit[peers]'" in lines
    assert "tinybrain: not installed, pip install 'volumekit[peers]'" in lines


def test_contestants_take_turns_and_the_first_turn_does_not_count(tiny):
    asked = []

    def contestant(name):
        def sample(number):
            asked.append((name, number))
            return float(len(asked))

        return sample

    contest = Contest({name: contestant(name) for name in "ab"} | {"c": None}, lambda: None, calls=2)
    result = measure(Case("turns", lambda _: contest), tiny)
    assert asked == [(name, number) for name in "abab" for number in (0, 1)]
    assert result.samples == {"a": [[5.0, 6.0]], "b": [[7.0, 8.0]], "c": []}


def test_nobody_always_comes_after_the_same_one():
    orders = ["".join(harness._order("abc", turn)) for turn in range(6)]
    assert len(set(orders)) == 6


def test_only_the_call_is_timed():
    calls = []
    sample = timed(lambda n: calls.append(("call", n)), lambda n: calls.append(("given", n)) or n + 1)
    assert 0 <= sample(4) < 1
    assert calls == [("given", 4), ("call", 5)]


@pytest.mark.parametrize(
    ("bar", "good", "bad"),
    [
        (at_most(1.1, TENSORSTORE), {OURS: 1.1, TENSORSTORE: 1.0}, {OURS: 1.11, TENSORSTORE: 1.0}),
        (at_most_more(0.5, TENSORSTORE), {OURS: 1.5, TENSORSTORE: 1.0}, {OURS: 1.6, TENSORSTORE: 1.0}),
        (at_most_itself(1.15, ""), {OURS: 1.15}, {OURS: 1.2}),
        (faster(3, CLOUDVOLUME), {OURS: 1.0, CLOUDVOLUME: 3.0}, {OURS: 1.0, CLOUDVOLUME: 2.9}),
        (
            share_of_lead(0.5),
            {OURS: 2.0, TENSORSTORE: 1.0, CLOUDVOLUME: 8.0},
            {OURS: 2.1, TENSORSTORE: 1.0, CLOUDVOLUME: 8.0},
        ),
    ],
)
def test_bars(bar, good, bad):
    assert bar.verdict(good) is True
    assert bar.verdict(bad) is False
    assert bar.verdict({OURS: 1.0}) is (None if bar.needs else True)
    assert bar.verdict({}) is None


def test_minima_are_per_call():
    result = Result("x", {OURS: [[1.0, 20.0, 5.0], [2.0, 10.0, 4.0]], TENSORSTORE: []}, (), "ms")
    assert result.minima == {OURS: 4.0}
    assert result.medians == {OURS: 4.5}


def test_rows_tell_ratios_and_verdicts():
    samples = {OURS: [[0.001], [0.002], [0.009]], TENSORSTORE: [[0.001]] * 3}
    _, line = rows(Result("x", samples, (at_most(1.1, TENSORSTORE),), "ms"))
    assert " ".join(line.split()) == "tensorstore 1 ms 1 ms 2.00 0.50 1.00 <= 1.10x NO (by minima yes)"


@pytest.mark.parametrize("layout", [RAW, JPEG, CSEG], ids=lambda layout: layout.name)
def test_other_voxels_are_noticed_when_reading(layout, tiny, monkeypatch):
    read = VolumekitVolume.read
    monkeypatch.setattr(VolumekitVolume, "read", lambda self, box: np.roll(np.asarray(read(self, box)), 5))
    with pytest.raises(AssertionError, match="volumekit read other voxels"):
        measure(Case("", lambda it: cases_read.read_all(layout, it)), tiny)


def test_other_voxels_are_noticed_when_writing(tiny, monkeypatch):
    write = VolumekitVolume.write
    monkeypatch.setattr(VolumekitVolume, "write", lambda self, box, array: write(self, box, np.roll(array, 5)))
    with pytest.raises(AssertionError, match="volumekit wrote other voxels"):
        measure(Case("", lambda it: cases_write.write_all(RAW, it)), tiny)


def test_other_modes_are_noticed():
    array = cases_kernels.kernels.noise(cases_kernels.kernels.TINY)
    mode, least = (downsample(array, (2, 2, 1), method=method) for method in ("mode", "min"))
    cases_kernels.check_alike("mode", array, (2, 2, 1), mode, mode.copy())
    with pytest.raises(AssertionError, match="modes differ"):
        cases_kernels.check_alike("mode", array, (2, 2, 1), mode, least)


def test_data_are_the_same_in_every_run_and_not_trivial():
    for make, shape in ((data.image, TINY.image), (data.labels, TINY.labels)):
        array = make(shape)
        assert array.shape == shape
        assert array.flags.f_contiguous
        assert np.array_equal(array, make(shape))
        assert len(np.unique(array)) >= 8


def test_random_boxes_lie_inside(tiny):
    for number in range(50):
        box = tiny.box(number, FULL.labels, grid=64)
        assert all(b.start in range(0, n - 63, 64) for b, n in zip(box, FULL.labels, strict=True))
        assert tiny.box(number, FULL.labels) == tiny.box(number, FULL.labels)
    assert tiny.box(1, FULL.labels) != tiny.box(2, FULL.labels)


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "QUICK", TINY)
    told = tmp_path / "told.json"
    only = ["--only", "read one voxel, raw"]
    assert command.main(["--quick", *only, "--json", str(told), "--folder", str(tmp_path)]) == 0
    assert "read one voxel, raw 64^3" in capsys.readouterr().out
    assert [result["name"] for result in json.loads(told.read_text())["results"]] == ["read one voxel, raw 64^3"]
    assert list(tmp_path.iterdir()) == [told]


def test_the_command_lists_and_refuses(capsys):
    assert command.main(["--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [case.name for case in command.all_cases()]
    assert command.main(["--only", "nonsense"]) == 2
    assert "no case is called like that" in capsys.readouterr().out


def test_ours_is_always_there():
    assert ours.installed(OURS)
    assert ours.installed(ours.BARE)


def test_rates_of_jobs():
    found = rates(1e-4, 1, side=64)
    assert [*found] == [*jobs(None, Path())]
    assert all(spent > 0 and rate > 0 for spent, rate in found.values())
