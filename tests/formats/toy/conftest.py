"""Installs the toy format for the tests of this folder: its package is a folder on the search path."""

import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "package"


@pytest.fixture(autouse=True)
def toy_package(monkeypatch):
    """What `pip install toy` would do; undone after the test."""
    monkeypatch.syspath_prepend(PACKAGE)
    yield
    sys.modules.pop("toy", None)
