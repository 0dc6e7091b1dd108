"""Fixtures that all tests share."""

from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture
def golden() -> Path:
    """Datasets that other programs wrote."""
    return GOLDEN
