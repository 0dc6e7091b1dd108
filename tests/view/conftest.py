import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tests.serve.conftest import running
from volumekit import Volume
from volumekit.view import shared

__all__ = ["running"]


@pytest.fixture
def brain(tmp_path, rng):
    return Volume.from_numpy(rng.integers(0, 255, (40, 40, 20), np.uint8), tmp_path / "brain", chunk_size=(32, 32, 16))


@pytest.fixture(autouse=True)
def new_server():
    """Let every test have a server of viewers of its own; cards in other tests may have made one, too."""
    end_shared()
    yield
    end_shared()


def end_shared():
    if shared._of.cache_info().currsize:
        shared.shared().close()
    shared._of.cache_clear()


@pytest.fixture
def notebook(monkeypatch):
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
