"""Compiled kernels (numba, the extra ``fast``): whether they may be used, and how they are compiled.

A compiled kernel that works without optional packages has a NumPy twin that gives identical bits;
``VOLUMEKIT_NUMBA=0`` forces the twin. Decoders of the extra ``codecs``, which needs numba, have none.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


@functools.cache
def available() -> bool:
    """Tell whether numba is installed and not switched off by ``VOLUMEKIT_NUMBA=0``."""
    if os.environ.get("VOLUMEKIT_NUMBA", "1") == "0":
        return False
    return importlib.util.find_spec("numba") is not None


@functools.cache
def files_available() -> bool:
    """Tell whether compiled code may read and write open files itself, as POSIX has it, on 64 bits."""
    return available() and hasattr(os, "pwrite") and sys.maxsize > 2**32


def kernel(function: F) -> F:
    """Compile a function with numba when it is first called; it runs without the GIL.

    Raises
    ------
    ImportError
        If numba is not installed or switched off.
    """
    return _compile(function)


def inlined(function: F) -> F:
    """Compile a small part of a kernel into each of its callers; a call costs as much as some twenty operations."""
    return _compile(function, inline="always")


def _compile(function: F, **how: Any) -> F:
    if not available():
        raise ImportError("numba is needed, and not switched off by VOLUMEKIT_NUMBA=0", name="numba")
    import numba

    try:
        return cast(F, numba.njit(nogil=True, cache=True, **how)(function))
    except RuntimeError:  # nowhere to keep compiled code: compile once per process
        return cast(F, numba.njit(nogil=True, **how)(function))
