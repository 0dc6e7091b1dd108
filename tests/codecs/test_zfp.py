"""zfp streams that are cut; they do not tell where they end."""

import numpy as np
import pytest

from volumekit.codecs.zfp import TYPES, zfp_decode, zfp_encode
from volumekit.errors import CorruptChunkError

MODES = {"FIXED_ACCURACY": 1e-6, "FIXED_RATE": 8.0, "FIXED_PRECISION": 12, "REVERSIBLE": None}


KINDS = [(dtype, mode) for dtype in TYPES for mode in MODES if dtype.kind == "f" or mode != "FIXED_ACCURACY"]


@pytest.mark.parametrize("shape", [(333,), (33, 29), (12, 14, 12), (5, 9, 5, 3)], ids=str)
@pytest.mark.parametrize(("dtype", "mode"), KINDS, ids=str)
def test_a_stream_that_is_cut_never_gives_other_values(shape, dtype, mode):
    """But inside of its last block."""
    values = (np.random.default_rng(0).random(shape) * 1000 - 300).astype(dtype)
    last = 2 * dtype.itemsize * 4 ** len(shape)  # bytes
    for array in (
        values,
        np.where(values > values.mean(), 0, values),
        np.full(shape, 7, dtype),
        np.zeros(shape, dtype),
    ):
        whole = zfp_encode(array, mode, MODES[mode])
        expected = zfp_decode(whole, shape, dtype)
        cuts = [n for n in range(0, len(whole), 7 if len(whole) < 4000 else 61) if n < len(whole) - last]
        for cut in cuts:
            try:
                found = zfp_decode(whole[:cut], shape, dtype)
            except CorruptChunkError:
                continue
            np.testing.assert_array_equal(found, expected, err_msg=f"cut at {cut} of {len(whole)}")


def test_a_stream_that_is_cut_says_so():
    whole = zfp_encode(np.random.default_rng(0).random((16, 16, 16)), "REVERSIBLE", None)
    for cut in (len(whole) // 2 // 8 * 8, len(whole) // 3 | 1):
        with pytest.raises(CorruptChunkError, match="cut short"):
            zfp_decode(whole[:cut], (16, 16, 16), np.dtype("f8"))


def test_zeros_at_the_end_are_no_cut():
    array = np.zeros((16, 16, 16), "f4")
    array[:5] = 3
    assert (zfp_decode(zfp_encode(array, "REVERSIBLE", None), array.shape, array.dtype) == array).all()
