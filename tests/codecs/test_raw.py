import struct

import numpy as np
import pytest

from volumekit.codecs.raw import Raw
from volumekit.errors import CorruptChunkError
from volumekit.testing.codecs import CodecConformance


class TestRaw(CodecConformance):
    codec = Raw()
    dtypes = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
    channels = (1, 2, 3, 4, 5, 6)

    def reference_bytes(self, chunk):
        letter = chunk.dtype.char
        x, y, z, channels = chunk.shape
        voxels = [
            chunk[i, j, k, c].item() for c in range(channels) for k in range(z) for j in range(y) for i in range(x)
        ]
        return struct.pack(f"<{len(voxels)}{'q' if letter == 'l' else 'Q' if letter == 'L' else letter}", *voxels)


def test_decoding_copies_nothing():
    data = bytes(range(24))
    chunk = Raw().decode(data, (2, 3, 4, 1), np.dtype("u1"))
    assert not chunk.flags.owndata
    assert not chunk.flags.writeable
    assert chunk.__array_interface__["data"][0] == np.frombuffer(data, "u1").__array_interface__["data"][0]


def test_the_message_tells_both_lengths():
    with pytest.raises(CorruptChunkError, match="48 bytes, not 47"):
        Raw().decode(bytes(47), (2, 3, 4, 1), np.dtype("u2"))


def test_objects_are_no_numbers():
    assert "object" in Raw.supports(np.dtype(object), 1)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f8"])
def test_one_voxel_that_stands_for_all(dtype):
    chunk = np.broadcast_to(np.array(7, dtype), (3, 4, 5, 1))
    assert Raw().encode(chunk) == np.full(60, 7, dtype).tobytes()
