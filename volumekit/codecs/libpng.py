"""PNG pixels by way of imagecodecs, mended."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import CorruptChunkError


def decode_png(data: bytes) -> NDArray[Any]:
    """Return the pixels of a PNG image, (height, width) or (height, width, channel).

    Parameters
    ----------
    data : bytes
        The file; palettes, low bit depths and transparent colours are expanded.

    Raises
    ------
    CorruptChunkError
        If it does not decode.
    """
    import imagecodecs

    try:
        return np.asarray(imagecodecs.png_decode(data))
    except Exception as error:  # the binding raises whatever it likes, UnicodeDecodeError too
        # imagecodecs 2026.3.6 gives back a reference to None that it does not own whenever libpng fails. Before
        # Python 3.12 a few thousand damaged images would abort the interpreter; a reference too many does no harm.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(None))
        raise CorruptChunkError(f"the PNG image does not decode: {error}") from error
