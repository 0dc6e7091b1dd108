"""What tests of jobs share."""

import pytest

from tests.ops.levels import HOW, sample
from volumekit import convert


@pytest.fixture(params=[1, 3])
def twin(request, tmp_path):
    """A volume with levels, precomputed: what all others must equal."""
    return convert(sample(request.param), tmp_path / "twin", offset=(5, -3, 7), **HOW)
