"""Neuroglancer's page beside the data, without a browser."""

import json
import re
import socket
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.serve.client import get
from volumekit import Volume
from volumekit.view.page import BYTES_A_PIXEL


def test_the_client_and_nothing_else(running, brain):
    server = running(brain)
    page = get(server, "/-/v/1/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    scripts = re.findall(rb'src="([^"]+\.js)"', page.body)
    assert scripts
    for name in scripts:
        reply = get(server, f"/-/v/1/{name.decode()}")
        assert reply.status == 200
        assert "javascript" in reply.headers["content-type"]
        assert "immutable" in reply.headers["cache-control"]
    for path in (
        "/-/v/1/../../brain/info", "/-/v/1/%2e%2e/__init__.py", "/-/v/1/__init__.py", "/-/v/1/nothing.js", "/-/v/1",
        "/-/v", "/-/", "/-/x", "/-/events/", "/-/view/nothing", "/-/view/", "/-/v/1/.js", "/-/v/1/a%00.js",
    ):  # fmt: skip
        assert get(server, path).status == 404, path
    for path in ("/-/v/1/", "/-/view/brain"):
        assert get(server, path, "POST").status == 405, path
    assert get(server, "/-/action/1").status == 405


def told(page):
    """Return what a page that leads to Neuroglancer's tells it."""
    (line,) = re.findall(r"const (state = .*);", page)
    return {name: json.loads(value) for name, value in re.findall(r"(\w+) = (.*?)(?=, \w+ = |$)", line)}


def test_the_page_of_a_dataset(running, brain, tmp_path):
    server = running(brain, prefix="/lab", token="secret")
    page = get(server, "/-/view/brain").body.decode()
    assert told(page)["state"]["layers"][0]["source"] == "precomputed://{here}/brain"
    assert told(page)["base"] == "{here}"
    assert "/lab/~secret/-/view/brain" in get(server, "/").body.decode()
    Volume.from_numpy(np.zeros((4, 4, 4), np.uint8), tmp_path / "a<b>", chunk_size=(4, 4, 4))
    page = get(running(tmp_path / "a<b>"), "/-/view/a%3Cb%3E").body.decode()
    assert "a<b>" not in page
    assert "a\\u003cb\\u003e" in page


def test_nothing_stays_open(running, brain):
    """The page hears all it must know as it is loaded; for a picture, what to draw."""
    server = running(brain)
    token, _ = server.app.state.site.viewer.picture((100, 80))

    def heard(page):
        first = page.index("<script")
        assert page.startswith("<script>\nwindow.EventSource = class", first)
        assert ("volumekit-gone" in page) == ("screenshot" not in page[first : page.index("</script>")])
        (events,) = re.findall(r"of (\[.*?\])\) this", page)
        return [json.loads(event) for event in json.loads(events)]

    assert heard(get(server, "/-/v/1/").body.decode()) == []
    (event,) = heard(get(server, f"/-/v/{token}/").body.decode())
    assert (event["k"], event["s"]["screenshot"], event["s"]["viewerSize"]) == ("c", token, [100, 80])
    assert get(server, "/-/events/1").status == 404


def test_pictures_that_were_asked_for(running, brain):
    server = running(brain)
    page = server.app.state.site.viewer
    token, future = page.picture((1000, 600))

    def post(told, token=token):
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        return get(server, f"/-/action/{token}", "POST", {"Content-Length": len(body)}, body).status

    for bad in (b"", b"{", b"[]", b"3", {"action": "screenshot"}, {"action": "screenshot", "state": {"screenshot": 3}},
                {"action": "screenshotStatistics", "state": {}}):  # fmt: skip
        assert post(bad) == 400
    assert not future.done()
    assert post({"action": "screenshot", "state": {}}, "another") == 404
    statistics = {"total": {"visibleChunksTotal": 5, "visibleChunksFailed": 2}}
    assert post({"action": "screenshotStatistics", "state": {"screenshotStatistics": statistics}}) == 200
    assert page.progress[token]["visibleChunksFailed"] == 2
    assert post({"action": "screenshot", "state": {"screenshot": {"image": "x"}}}) == 200
    assert future.result(1) == {"image": "x"}
    shot = json.dumps({"action": "screenshot", "state": {"screenshot": {}}}).encode()
    most = (1 << 20) + BYTES_A_PIXEL * 1000 * 600
    assert post(shot.ljust(most)) == 200
    assert post(shot.ljust(most + 1)) == 400
    page.forget(token)
    assert post({"action": "screenshot", "state": {"screenshot": {"image": "x"}}}) == 404
    assert page._pictures == page._sizes == page.progress == {}


def test_a_body_that_never_ends(running, brain):
    server = running(brain)
    token, _ = server.app.state.site.viewer.picture((100, 100))
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
        head = f"POST /-/action/{token} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10**12}\r\n\r\n"
        connection.sendall(head.encode())
        sent, piece = 0, b"x" * (1 << 18)
        with pytest.raises(ConnectionError):  # noqa: PT012
            while sent < 64 << 20:
                connection.sendall(piece)
                sent += len(piece)
    assert get(server, "/brain/info").status == 200
