"""The application behind servers that speak WSGI, and behind other ASGI servers."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import numpy as np
import pytest
from starlette.responses import StreamingResponse

from tests.serve.client import get
from volumekit import Volume
from volumekit.errors import OptionError
from volumekit.serve import wsgi
from volumekit.serve.objects import PIECE

LARGE = bytes(range(256)) * (5 * PIECE // 256) + b"end"


@pytest.fixture
def sources(tmp_path):
    array = np.arange(512, dtype=np.uint8).reshape(8, 8, 8)
    Volume.from_numpy(array, tmp_path / "brain", chunk_size=(8, 8, 8))
    (tmp_path / "brain/mesh").mkdir()
    (tmp_path / "brain/mesh/large").write_bytes(LARGE)
    content = {"prefix": "/lab", "cors": ["*"], "sources": [{"name": "one", "directory": "brain", "format": "raw"}]}
    (tmp_path / "sources.json").write_text(json.dumps(content))
    return tmp_path / "sources.json"


@pytest.fixture
def ask(sources):
    """Return a function that asks the application, checked by the standard library's validator."""
    application = validator(wsgi.make(sources))

    def ask(path, method="GET", **headers):
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path.encode().decode("latin-1"),
            "QUERY_STRING": "",
            "SCRIPT_NAME": "",
        }
        setup_testing_defaults(environ)
        environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        told = []
        body = application(environ, lambda status, headers, error=None: told.extend([status, dict(headers)]))
        try:
            return int(told[0][:3]), told[1], b"".join(body)
        finally:
            body.close()

    return ask


CHUNK = "/lab/one/1_1_1/0-8_0-8_0-8"


@pytest.mark.filterwarnings("ignore::wsgiref.validate.WSGIWarning")
def test_answers(ask):
    status, headers, body = ask(CHUNK)
    assert (status, len(body), headers["Content-Length"]) == (200, 512, "512")
    assert ask(CHUNK, "HEAD")[::2] == (200, b"")
    assert ask(CHUNK, range="bytes=1-2")[::2] == (206, body[1:3])
    assert ask(CHUNK, if_none_match=headers["Etag"])[::2] == (304, b"")
    assert ask(CHUNK, origin="https://a.example")[1]["Access-Control-Allow-Origin"] == "*"
    assert ask("/lab/one/mesh/large")[2] == LARGE
    assert ask("/lab/one/mesh/large", range="bytes=7-")[2] == LARGE[7:]
    assert ask("/lab/nothing")[0] == 404
    assert ask("/lab/one/é")[0] == 404
    assert ask("/one/info")[0] == 404
    assert ask(CHUNK, "DELETE")[0] == 405


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files in /proc")
def test_a_client_that_goes_away(sources):
    """What was opened for it is closed."""
    application, environ = wsgi.make(sources), {"REQUEST_METHOD": "GET", "PATH_INFO": "/lab/one/mesh/large"}
    list(application(environ, lambda *_: None))
    before = open_files()
    for _ in range(20):
        body = application(environ, lambda *_: None)
        assert len(next(iter(body))) == PIECE
        body.close()
    deadline = time.monotonic() + 10
    own = 1  # waits for the end of the process
    while (open_files() > before or len(asyncio.all_tasks(application._loop)) > own) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert open_files() <= before
    assert len(asyncio.all_tasks(application._loop)) == own


def test_an_application_that_fails():
    async def fail(*_):
        raise ValueError("secret")

    told = []
    application = wsgi.WsgiApplication(fail)
    assert b"".join(application({"REQUEST_METHOD": "GET"}, lambda *start: told.append(start))) == b""
    assert told[0][0].startswith("500")


def test_answers_that_are_streamed():
    """An application may listen for the client going away while it answers: that keeps nobody else waiting."""

    async def stream(scope, receive, send):
        async def parts():
            for _ in range(3):
                await asyncio.sleep(0.01)
                yield b"part"

        await StreamingResponse(parts())(scope, receive, send)

    application = wsgi.WsgiApplication(stream)
    body = application({"REQUEST_METHOD": "GET"}, lambda *_: None)
    assert b"".join(body) == b"part" * 3
    body.close()


@pytest.mark.parametrize("waiting", [False, True])
def test_nothing_is_left_open_when_the_process_ends(sources, waiting):
    """Neither the loop, nor a request that nobody has read to its end."""
    program = f"""
import atexit, gc, os, socket, sys, threading
atexit.register(lambda: print([s for s in gc.get_objects() if isinstance(s, socket.socket) and s.fileno() != -1]))
from volumekit.serve import wsgi
application = wsgi.make({str(sources)!r})
environ = {{"REQUEST_METHOD": "GET", "PATH_INFO": "/lab/one/mesh/large"}}
body = application(environ, lambda status, headers: print(status))
if {waiting}:
    next(iter(body))
else:
    sum(map(len, body))
    body.close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=True)
    assert (done.stdout, done.stderr) == ("200 OK\n[]\n", "")


def test_without_a_file(monkeypatch):
    monkeypatch.delenv("VOLUMEKIT_SOURCES", raising=False)
    with pytest.raises(OptionError, match="VOLUMEKIT_SOURCES"):
        wsgi.application  # noqa: B018
    with pytest.raises(AttributeError):
        wsgi.nothing  # noqa: B018


@pytest.mark.filterwarnings("ignore::wsgiref.validate.WSGIWarning")
def test_the_file_is_read_again(ask, sources, monkeypatch, caplog):
    monkeypatch.setattr("volumekit.serve.catalog.RELOOK", 0.0)
    assert ask("/lab/two/info")[0] == 404
    content = json.loads(sources.read_text())
    content["sources"].append({"name": "two", "directory": "brain"})
    sources.write_text(json.dumps(content))
    assert ask("/lab/two/info")[0] == ask("/lab/one/info")[0] == 200
    sources.write_text("{")
    assert ask("/lab/two/info")[0] == 200
    assert "the sources stay as they were" in caplog.text
    sources.unlink()
    assert ask("/lab/two/info")[0] == 200
    content["sources"].pop(0)
    sources.write_text(json.dumps(content))
    assert (ask("/lab/one/info")[0], ask("/lab/two/info")[0]) == (404, 200)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


SERVERS = {
    "gunicorn": ["gunicorn", "volumekit.serve.wsgi:application", "--workers", "2", "--threads", "4", "--bind"],
    "gunicorn-sync": ["gunicorn", "volumekit.serve.wsgi:application", "--bind"],
    "uvicorn": ["uvicorn", "--factory", "volumekit.serve.app:from_environment", "--log-level", "warning", "--port"],
}


@pytest.fixture(params=SERVERS)
def real(request, sources):
    port = free_port()
    place = str(port) if request.param == "uvicorn" else f"127.0.0.1:{port}"
    module, *arguments = SERVERS[request.param]
    environment = {**os.environ, "VOLUMEKIT_SOURCES": str(sources)}
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments, place], env=environment, stderr=subprocess.PIPE
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                get(url, "/")
                break
            except OSError:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_real_servers(real):
    reply = get(real, CHUNK)
    assert (reply.status, len(reply.body)) == (200, 512)
    assert get(real, CHUNK, "HEAD").headers["content-length"] == "512"
    part = get(real, CHUNK, headers={"Range": "bytes=10-19", "Origin": "https://a.example"})
    assert (part.status, part.body) == (206, reply.body[10:20])
    assert part.headers["content-range"] == "bytes 10-19/512"
    assert part.headers["access-control-allow-origin"] == "*"
    assert get(real, CHUNK, headers={"If-None-Match": reply.headers["etag"]}).status == 304
    assert get(real, "/lab/one/mesh/large").body == LARGE
    assert get(real, "/lab/one/%ff").status == 404
    assert get(real, "/lab/one/../../etc/passwd").status in (400, 404)
    assert np.array_equal(Volume(f"precomputed://{real}/lab/one")[:].ravel("F"), list(reply.body))
    assert Volume(f"zarr://{real}/lab/one.zarr").shape == (8, 8, 8, 1)
