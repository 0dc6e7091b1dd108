"""A sample of benchmarks/campaigns/array_matrix.py."""

import pytest

from benchmarks.campaigns import array_matrix

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")


def test_a_sample_is_right(tmp_path):
    assert array_matrix.run(array_matrix.sample(60, 3), tmp_path) == []


def test_combinations_have_names():
    names = [case.name for case in array_matrix.cases()]
    assert len(set(names)) == len(names) > 4000


def test_other_voxels_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(array_matrix, "_fill", lambda volume, data: volume.upload((), data[::-1]))
    written = [case for case in array_matrix.sample(60, 3) if case.name.startswith("written")][:4]
    assert len(array_matrix.run(written, tmp_path)) == 4
