"""Whether compiled kernels (numba, the extra ``fast``) may be used.

Every compiled kernel has a NumPy twin that gives identical bits; ``VOLUMEKIT_NUMBA=0`` forces the twin.
"""

from __future__ import annotations

import functools
import importlib.util
import os


@functools.cache
def available() -> bool:
    """Tell whether numba is installed and not switched off by ``VOLUMEKIT_NUMBA=0``."""
    if os.environ.get("VOLUMEKIT_NUMBA", "1") == "0":
        return False
    return importlib.util.find_spec("numba") is not None
