"""Serving volumes over HTTP, as Neuroglancer Precomputed and as OME-Zarr.

The package can be called: ``volumekit.serve("data/brain")`` is `volumekit.serve.running.serve`.
"""

from __future__ import annotations

import sys
import types
from importlib import import_module
from typing import Any


class _Callable(types.ModuleType):
    """A package that serves when it is called, so that ``volumekit.serve`` is a function and a place to import from."""

    def __call__(self, *sources: Any, **how: Any) -> Any:
        return import_module("volumekit.serve.running").serve(*sources, **how)


sys.modules[__name__].__class__ = _Callable
