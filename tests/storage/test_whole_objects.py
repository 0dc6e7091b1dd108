"""Web servers that send whole objects, whatever part of them is asked for, as Python's own does."""

import http.server
import threading

import numpy as np
import pytest

from volumekit import Volume

VOXELS = np.random.default_rng(0).integers(1, 9, (60, 50, 40)).astype("u2")
VOXELS[:16, :16, :16] = 0


@pytest.fixture
def server(tmp_path):
    """The URL of a folder."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *arguments):
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("name", "how"), [("a.zarr", {"shard": (32, 32, 32)}), ("a", {"sharding": True}), ("b.zarr", {})], ids=str
)
def test_shards_are_read(tmp_path, server, name, how):
    Volume.from_numpy(VOXELS, tmp_path / name, chunk_size=(16, 16, 16), **how)
    volume = Volume(f"{server}/{name}")
    np.testing.assert_array_equal(volume[...][..., 0], VOXELS)
    np.testing.assert_array_equal(volume[20:40, 3:9, 30:35][..., 0], VOXELS[20:40, 3:9, 30:35])
