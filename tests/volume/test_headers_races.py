"""Writers with headers, which go through s3fs and gcsfs, and writers without lose nothing of each other's."""

import multiprocessing

import numpy as np
import pytest

from tests.storage.remotes import FAST
from volumekit import Volume

OPTIONS = {"retry": FAST}
PLANES = 12


def write_planes(url, compress, first, started, go):
    volume = Volume(url, compress=compress, non_aligned_writes=True, progress=False, storage_options=OPTIONS)
    volume[:, :, first : first + 1]  # everything is imported and connected
    started.release()
    assert go.wait(60)
    for z in range(first, PLANES, 2):
        volume[:, :, z] = z + 1


@pytest.mark.parametrize(("one", "other"), [("gzip", "gzip"), ("gzip", None), ("zstd", "br")])
@pytest.mark.parametrize("kind", ["s3", "strict_gcs"])
def test_interleaved_planes_of_two_processes(kind, one, other, request):
    url = f"{request.getfixturevalue(f'{kind}_bucket')}/v"
    shape = (16, 16, PLANES)
    how = {"chunk_size": (16, 16, PLANES), "storage_options": OPTIONS, "progress": False}
    Volume.from_numpy(np.full(shape, 99, np.uint8), url, **how)
    context = multiprocessing.get_context("spawn")
    started, go = context.Semaphore(0), context.Event()
    writers = [
        context.Process(target=write_planes, args=(url, compress, n, started, go))
        for n, compress in enumerate((one, other))
    ]
    for writer in writers:
        writer.start()
    for _ in writers:
        assert started.acquire(timeout=60)
    go.set()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    found = np.asarray(Volume(url, storage_options=OPTIONS)[:])
    assert found[0, 0, :, 0].tolist() == [z + 1 for z in range(PLANES)]
    assert (found == found[:1, :1]).all()
