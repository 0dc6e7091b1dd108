"""What leaves a server: in order, whole, and never more than a file holds."""

import asyncio
import os
import socket
import time

import numpy as np
import pytest

from tests.serve.client import get
from volumekit import Volume, serve
from volumekit.serve.answer import FilePart
from volumekit.serve.objects import PIECE
from volumekit.serve.transport import Together

SIZES = (0, 1, 5000, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7)


def content(size):
    return np.random.default_rng(size).bytes(size)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sent") / "data"
    Volume.from_numpy(np.ones((8, 8, 8), np.uint8), folder, chunk_size=(8, 8, 8), compress=False)
    for size in SIZES:
        (folder / f"file{size}").write_bytes(content(size))
    with serve(folder) as running:
        yield running


def test_files_of_all_sizes(server):
    for size in SIZES:
        assert get(server, f"/data/file{size}").body == content(size)


def ask_at_once(server, sizes, *, pause):
    """Ask for several files in one breath, read slowly; return everything that comes."""
    request = "".join(f"GET /data/file{size} HTTP/1.1\r\nHost: localhost\r\n\r\n" for size in sizes[:-1])
    request += f"GET /data/file{sizes[-1]} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        host, _, port = server.url.removeprefix("http://").partition(":")
        client.connect((host, int(port)))
        client.sendall(request.encode())
        told = b""
        while part := client.recv(1 << 18):
            told += part
            time.sleep(pause)
        return told


def bodies(told):
    """Cut what came into the bodies of the answers."""
    while told:
        head, _, told = told.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        length = int(next(line for line in head.split(b"\r\n") if line.startswith(b"content-length")).split()[1])
        yield told[:length]
        told = told[length:]


def test_clients_that_read_slowly_and_ask_ahead(server):
    sizes = (PIECE, 1, 3 * PIECE + 7, 0, PIECE, 5000)
    assert list(bodies(ask_at_once(server, sizes, pause=0.0005))) == [content(size) for size in sizes]


class Recorder:
    """A connection whose one end is a socket; what is written to the transport is noted."""

    def __init__(self, waiting=0):
        self.socket, self.other = socket.socketpair()
        self.socket.setblocking(False)
        self.written, self.ended, self.waiting = [], [], waiting

    def get_extra_info(self, name):
        return self.socket if name == "socket" else None

    def get_write_buffer_size(self):
        return self.waiting

    def is_closing(self):
        return False

    def write(self, data):
        if not self.ended:  # else it is lost
            self.written.append(bytes(data))

    def writelines(self, parts):
        self.written.append(b"".join(parts))

    def abort(self):
        self.ended.append("abort")

    def close(self):
        self.ended.append("close")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.other.close()

    def arrived(self):
        self.other.settimeout(5)
        return self.other.recv(1 << 20)


@pytest.fixture
def file(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    opened = os.open(tmp_path / "file", os.O_RDONLY)
    yield opened
    os.close(opened)


def within_loop(body):
    async def run():
        body(asyncio.get_running_loop())
        await asyncio.sleep(0)

    asyncio.run(run())


def test_head_and_body_leave_together():
    with Recorder() as recorder:

        def body(loop):
            together = Together(recorder, loop)
            together.write(b"head")
            together.write(b"body")
            together.write(b"alone")

        within_loop(body)
        assert recorder.written == [b"headbody", b"alone"]


def test_what_waits_is_sent_before_the_end():
    with Recorder() as recorder:

        def body(loop):
            together = Together(recorder, loop)
            together.write(b"head")
            together.close()

        within_loop(body)
        assert (recorder.written, recorder.ended) == ([b"head"], ["close"])


@pytest.mark.skipif(not hasattr(socket, "MSG_MORE"), reason="files are sent like that on Linux only")
def test_a_file_goes_straight_to_the_connection(file):
    with Recorder() as recorder:

        def body(loop):
            together = Together(recorder, loop)
            together.write(b"head")
            together.write(FilePart(file, 2, 6))

        within_loop(body)
        assert recorder.written == recorder.ended == []
        assert recorder.arrived() == b"head2345"


def test_a_file_waits_for_what_was_written_before(file):
    with Recorder(waiting=1) as recorder:

        def body(loop):
            together = Together(recorder, loop)
            together.write(b"head")
            together.write(FilePart(file, 2, 6))

        within_loop(body)
        assert b"".join(recorder.written) == b"head2345"


@pytest.mark.parametrize("waiting", [0, 1])
def test_a_file_that_became_shorter_ends_the_connection(file, waiting):
    with Recorder(waiting) as recorder:
        within_loop(lambda loop: Together(recorder, loop).write(FilePart(file, 2, 99)))
        assert recorder.ended == ["abort"]
