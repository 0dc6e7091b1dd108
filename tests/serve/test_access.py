"""Nobody reads what is not theirs: paths, links, tokens, names, sizes."""

import contextlib
import gzip
import hmac
import http.client
import os
import socket
from urllib.parse import quote, urlsplit

import numpy as np
import pytest

from tests.serve.client import get
from volumekit import Volume, serve
from volumekit.errors import OptionError
from volumekit.serve.app import create_app
from volumekit.serve.settings import Settings

SECRET = b"the secret of another folder"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a dataset, a secret beside it, and links to it inside."""
    place = tmp_path_factory.mktemp("access")
    Volume.from_numpy(np.ones((8, 8, 8), np.uint8), place / "brain", chunk_size=(8, 8, 8))
    Volume.from_numpy(np.ones((8, 8, 8), np.uint8), place / "brains", chunk_size=(8, 8, 8))
    secret = place / "secret"
    secret.mkdir()
    (secret / "file").write_bytes(SECRET)
    (secret / "file.gz").write_bytes(gzip.compress(SECRET))
    (secret / "info").write_bytes((place / "brain/info").read_bytes())
    brain = place / "brain"
    (brain / "link").symlink_to(secret / "file")
    (brain / "linked").symlink_to(secret)
    (brain / "up").symlink_to("..")
    (brain / "packed.gz").symlink_to(secret / "file.gz")
    (brain / "absolute").symlink_to("/")
    (brain / "loop").symlink_to("loop")
    (brain / "inside").symlink_to("1_1_1")
    (brain / ".hidden").write_bytes(SECRET)
    (brain / ".git").mkdir()
    (brain / ".git/config").write_bytes(SECRET)
    os.mkfifo(brain / "pipe")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(brain):  # names of sockets are short
        listener.bind("socket")
    return place


@pytest.fixture(scope="module")
def server(place):
    with serve(place / "brain") as running:
        yield running


WAYS_OUT = [
    "/brain/../secret/file", "/brain/%2e%2e/secret/file", "/brain/..%2fsecret/file", "/brain/%2e%2e%2fsecret%2ffile",
    "/brain/..%5csecret%5cfile", "/brain/..\\secret\\file", "/brain/1_1_1/../../secret/file", "/../secret/file",
    "/brain//etc/passwd", "/brain/%2fetc/passwd", "//etc/passwd", "/brain/./1_1_1/../../secret/file",
    "/brain/%252e%252e/secret/file", "/brain/%c0%ae%c0%ae/secret/file", "/brain/....//secret/file",
    "/brain/..;/secret/file", "/brain/link", "/brain/linked/file", "/brain/linked/info", "/brain/up/secret/file",
    "/brain/packed", "/brain/packed.gz", "/brain/absolute/etc/passwd", "/brain/loop", "/brain/.hidden",
    "/brain/.git/config", "/brain/pipe", "/brain/socket", "/brain/link%00", "/brain/%00",
    "/brain/1_1_1%00/../../secret/file", "/brains/info", "/secret/info", "/brain/info/../../secret/file",
    "/brain.zarr/../secret/file", "/brain.zarr/link", "/brain.zarr/linked/file", "/-/../brain/link",
    "/-/thumbnail/../brain/link.png", "/-/thumbnail/%2e%2e/secret.png", "/brain/1_1_1",
    "/brain/" + "a/" * 1500 + "b", "/brain/" + "x" * 300, "/%ff", "/brain/%ff%fe",
]  # fmt: skip


@pytest.mark.parametrize("path", WAYS_OUT)
def test_ways_out(server, path):
    for method in ("GET", "HEAD"):
        reply = get(server, path, method)
        assert reply.status in (404, 414), reply
        assert SECRET not in reply.body
        assert b"root:" not in reply.body


def test_links_that_stay_inside(server):
    assert get(server, "/brain/inside/0-8_0-8_0-8").body == b"\1" * 512


def test_links_out_of_data_that_are_decoded(place, running):
    """Also chunks that are decoded, and metadata, are read inside the folder only."""
    Volume.from_numpy(np.ones((8, 8, 8), np.float32), place / "decoded", chunk_size=(8, 8, 4), encoding="fpzip")
    Volume.from_numpy(np.ones((8, 8, 8), np.float32), place / "other", chunk_size=(8, 8, 4), encoding="fpzip")
    chunk = place / "decoded/1_1_1/0-8_0-8_0-4"
    chunk.unlink()
    chunk.symlink_to(place / "other/1_1_1/0-8_0-8_0-4")
    server = running(place / "decoded")
    assert get(server, "/decoded/1_1_1/0-8_0-8_4-8").status == 200
    for path in ("/decoded/1_1_1/0-8_0-8_0-4", "/decoded.zarr/0/c/0/0/0"):
        assert get(server, path).status == 404
    (place / "decoded/info").unlink()
    (place / "decoded/info").symlink_to(place / "other/info")
    with pytest.raises(OptionError, match="source 'decoded'"):
        create_app([place / "decoded"])


def test_the_folder_itself_may_be_a_link(place, running, tmp_path):
    (tmp_path / "alias").symlink_to(place / "brain")
    assert get(running(tmp_path / "alias"), "/alias/1_1_1/0-8_0-8_0-8").status == 200


TOKEN = "a-secret.token_1"


def test_tokens(place, running):
    server = running(place / "brain", token=TOKEN)
    assert server.url.endswith(f"/~{TOKEN}")
    assert get(server, "/brain/info").status == 200
    assert np.array_equal(Volume(server.source())[:], np.ones((8, 8, 8, 1)))
    base = server.url.removesuffix(f"/~{TOKEN}")
    assert get(base, "/brain/info", headers={"Authorization": f"Bearer {TOKEN}"}).status == 200
    for path, headers in {
        "/brain/info": {},
        "/": {"Authorization": "Bearer wrong"},
        "/~wrong/brain/info": {},
        "/~/brain/info": {"Authorization": "Bearer"},
        f"/~{TOKEN}x/brain/info": {},
        f"/~{TOKEN[:-1]}/brain/info": {},
        "/~wrong/": {"Authorization": f"Bearer {TOKEN}"},
        "/nothing": {"Authorization": f"Basic {TOKEN}"},
        "/~%C3%A9/brain/info": {"Authorization": "Bearer \xe9"},
        f"/~{quote(TOKEN)}%2fbrain/info": {},
    }.items():
        reply = get(base, path, headers=headers)
        if "%2f" in path:  # the same path, written in another way
            continue
        assert reply.status == 401, path
        assert TOKEN not in reply.body.decode()
        assert reply.headers["www-authenticate"] == "Bearer"
    page = get(server, "/").body.decode()
    assert f"/~{TOKEN}/brain/info" in page
    assert get(server, "/-/thumbnail/brain.png").status == 200


def test_tokens_are_compared_in_constant_time(place, monkeypatch):
    asked, compare = [], hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda *two: asked.append(two) or compare(*two))
    site = create_app([place / "brain"], Settings(token=TOKEN)).state.site
    assert not site._admitted("wrong")
    assert asked == [(b"wrong", TOKEN.encode())]


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("127.0.0.1:80", 200), ("[::1]:9000", 200), ("evil.example", 400), ("", 400)],
)
def test_names_that_point_here(server, host, status):
    """A page of another name that points its name at the loopback interface learns nothing."""
    place = urlsplit(server.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=10)
    connection.putrequest("GET", "/brain/info", skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    assert connection.getresponse().status == status
    connection.close()


def raw(server, data):
    """Send bytes; return what comes back until the connection ends."""
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        with_end = b""
        try:
            connection.sendall(data)
            while part := connection.recv(65536):
                with_end += part
        except ConnectionError:
            pass
        return with_end


def test_paths_and_headers_that_are_too_long(server):
    assert get(server, "/brain/" + "x" * 5000).status == 414
    assert get(server, "/brain/info?" + "x" * 5000).status == 414
    assert get(server, "/brain/info", headers={"X-Much": "x" * 17000}).status == 431
    head = b"GET /brain/info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    for data in (
        head + b"X-Much: " + b"x" * 10_000_000,
        head + b"".join(b"X-%d: x\r\n" % n for n in range(1_000_000)),
        b"GET /" + b"x" * 10_000_000,
        head + b"".join(b"X: %d\r\n" % n for n in range(4000)) + b"\r\n",
    ):
        answer = raw(server, data)
        assert not answer or answer.split(b" ")[1] in (b"400", b"431"), answer[:100]
    assert get(server, "/brain/info").status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 100 + b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /brain/\xff\xfe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET http://127.0.0.1/brain/info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /brain/info HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"GET /brain/info HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ],
)
def test_what_is_no_http(server, data):
    answer = raw(server, data)
    assert b"Traceback" not in answer
    assert not answer.startswith(b"HTTP/1.1 5")
    assert get(server, "/brain/info").status == 200


def test_nothing_is_told_of_errors(place, running, monkeypatch, caplog):
    server = running(place / "brain")

    async def fail(*_, **__):
        raise RuntimeError("at /some/secret/place")

    monkeypatch.setattr("volumekit.serve.dataset.Dataset.answer", fail)
    reply = get(server, "/brain/info")
    assert (reply.status, reply.body) == (500, b"Internal Server Error\n")
    assert "at /some/secret/place" in caplog.text
