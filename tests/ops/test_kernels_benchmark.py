"""The benchmark of the kernels runs, and what it compares does the same thing."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import kernels
from volumekit.ops.kernels import downsample


def test_it_runs():
    rows = kernels.run(tiny=True)
    assert len(rows) == 10
    assert all(row["ours"] > 0 for row in rows)
    assert all((row["peer"] is None) == (row["ratio"] is None) for row in rows)


def test_without_the_peer(monkeypatch):
    monkeypatch.setattr(kernels, "peer", lambda method: None)
    assert {row["peer"] for row in kernels.run(tiny=True)} == {None}


@pytest.mark.peers
def test_the_peer_does_the_same():
    array = kernels.segmentation(kernels.TINY)
    [theirs] = kernels.peer("mode")(array, factor=(2, 2, 1), num_mips=1)
    ours = downsample(array, (2, 2, 1), method="mode")
    assert theirs.shape == ours.shape
    assert np.mean(theirs == ours) > 0.9  # ties go elsewhere
