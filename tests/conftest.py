"""Fixtures that all tests share."""

import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from volumekit.testing.fixtures import *  # noqa: F403

settings.register_profile("untimed", deadline=None)  # machines are shared: no test is timed
settings.load_profile("untimed")

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture
def golden() -> Path:
    """Datasets that other programs wrote."""
    return GOLDEN


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_works() -> None:
    """Make Ctrl-C interrupt, also where pytest runs in the background of a shell, which ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def credentials_of_tests_only(no_credentials: pytest.MonkeyPatch) -> None:
    """No test finds, or depends on, the credentials of whoever runs it."""
