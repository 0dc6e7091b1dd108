"""Data behind a password, and work that is not done: no more at once than is allowed, none for what cannot be."""

import base64
import http.server
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from tests.serve.client import get
from volumekit import Volume
from volumekit.errors import OptionError
from volumekit.serve.chunks import Transcoder
from volumekit.serve.sources import Source

WANTED = "Basic " + base64.b64encode(b"reader:open sesame").decode()


class Protected(http.server.SimpleHTTPRequestHandler):
    """Files for those who know the password."""

    def do_GET(self):
        if self.headers["Authorization"] == WANTED:
            super().do_GET()
        else:
            self.send_error(401)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def array(rng):
    return rng.integers(1, 250, (40, 33, 21), np.uint8)


@pytest.fixture
def protected(tmp_path, array):
    Volume.from_numpy(array, tmp_path / "brain", chunk_size=(16, 16, 8), compress=False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Protected, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/brain"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_web_server_that_wants_a_password(running, protected, array):
    retry = {"attempts": 1}
    with pytest.raises(OptionError, match="source 'brain': the storage refused access"):
        running(Source("brain", protected, storage_options={"retry": retry}))
    wrong = {"user": "reader", "password": "wrong", "retry": retry}
    with pytest.raises(OptionError, match="source 'brain': the storage refused access"):
        running(Source("brain", protected, storage_options=wrong))
    login = {"user": "reader", "password": "open sesame"}
    server = running(Source("brain", f"precomputed://{protected}", storage_options=login))
    for shown in ("precomputed", "zarr"):
        assert np.array_equal(Volume(server.source(format=shown))[:][..., 0], array)
    told = get(server, "/").body + get(server, "/brain/info").body + get(server, "/brain.zarr/zarr.json").body
    assert b"sesame" not in told
    assert WANTED.split()[1].encode() not in told


@pytest.fixture
def made(tmp_path, array):
    Volume.from_numpy(array.astype(np.float32), tmp_path / "made.zarr", chunk_size=(8, 8, 8))
    return tmp_path / "made.zarr"


def test_no_more_chunks_at_once_than_allowed(running, made, monkeypatch):
    """In threads; what is quick is done where requests are taken, one after the other."""
    lock, now, most, near = threading.Lock(), set(), [0], Transcoder._near

    def counted(self, *given):
        thread = threading.current_thread()
        if not thread.name.startswith("volumekit-serve_"):
            return near(self, *given)
        with lock:
            now.add(thread)
            most[0] = max(most[0], len(now))
        time.sleep(0.05)  # time for all that are allowed, and for one more
        try:
            return near(self, *given)
        finally:
            with lock:
                now.remove(thread)

    monkeypatch.setattr(Transcoder, "_near", counted)
    server = running(made, decodes=3)
    paths = [f"/made/0/{x}-{x + 8}_{y}-{y + 8}_0-8" for x in range(0, 40, 8) for y in range(0, 32, 8)]
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(partial(get, server), paths))
    assert {reply.status for reply in replies} == {200}
    assert most == [3]


def test_what_cannot_be_is_not_decoded_nor_looked_for(running, made, monkeypatch):
    server = running(made)

    def fail(*_, **__):
        raise AssertionError("work was done for nothing")

    monkeypatch.setattr(Transcoder, "answer", fail)
    monkeypatch.setattr("volumekit.serve.objects.Objects.answer", fail)
    for box in ("0-999999999_0-999999999_0-999999999", "0-9_0-8_0-8", "4-12_0-8_0-8", f"{10**18}-{10**18 + 8}_0-8_0-8"):
        assert get(server, f"/made/0/{box}").status == 404
    monkeypatch.undo()
    assert get(server, "/made/0/0-8_0-8_0-8").status == 200


def test_n5(running, golden, array):
    """N5 is served like everything else."""
    place = golden / "n5" / "zarr_python"
    stored = next(path for path in sorted(place.rglob("attributes.json")) if b"dimensions" in path.read_bytes()).parent
    volume = Volume(stored)
    server = running(Source("n5", str(stored)))
    for shown in ("precomputed", "zarr"):
        seen = Volume(server.source("n5", format=shown))
        assert seen.bounds == volume.bounds
        assert list(seen.chunk_size) == list(volume.chunk_size)
        assert np.array_equal(seen.download((), 0, fill_missing=True), volume.download((), 0, fill_missing=True))
