"""Neuroglancer's page beside the data, without a browser."""

import json
import re
import socket
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from tests.serve.client import get
from volumekit import Volume
from volumekit.errors import MissingExtraError, StorageError
from volumekit.view import browser, viewer
from volumekit.view.page import MOST_BODY
from volumekit.view.viewer import Viewer


@pytest.fixture
def brain(tmp_path, rng):
    return Volume.from_numpy(rng.integers(0, 255, (40, 40, 20), np.uint8), tmp_path / "brain", chunk_size=(32, 32, 16))


@pytest.fixture(autouse=True)
def new_server():
    """Let every test have a server of viewers of its own."""
    viewer._server.cache_clear()
    yield
    if viewer._server.cache_info().currsize:
        viewer.shared_server().close()
    viewer._server.cache_clear()


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
    for path in ("/-/v/1/", "/-/view/brain", "/-/events/1"):
        assert get(server, path, "POST").status == 405, path
    assert get(server, "/-/action/1").status == 405


def test_the_page_of_a_dataset(running, brain, tmp_path):
    server = running(brain, prefix="/lab", token="secret")
    page = get(server, "/-/view/brain").body.decode()
    state = json.loads(re.search(r"JSON.stringify\((.*)\)\.replace", page)[1])
    assert state["layers"][0]["source"] == "precomputed://{here}/brain"
    assert "/lab/~secret/-/view/brain" in get(server, "/").body.decode()
    Volume.from_numpy(np.zeros((4, 4, 4), np.uint8), tmp_path / "a<b>", chunk_size=(4, 4, 4))
    page = get(running(tmp_path / "a<b>"), "/-/view/a%3Cb%3E").body.decode()
    assert "a<b>" not in page
    assert "a\\u003cb\\u003e" in page


def test_events_stay_open(running, brain):
    server = running(brain)
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        connection.sendall(b"GET /-/events/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        told = b""
        while b": alive" not in told:
            told += connection.recv(4096)
        assert b"text/event-stream" in told
        assert b"screenshot" not in told
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(4096)


def test_pictures_that_were_asked_for(running, brain):
    server = running(brain)
    page = server.app.state.site.viewer
    token, future = page.picture()

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
    page.forget(token)
    assert post({"action": "screenshot", "state": {"screenshot": {"image": "x"}}}) == 404
    assert page._pictures == page.progress == {}


def test_a_body_that_never_ends(running, brain):
    server = running(brain)
    token, _ = server.app.state.site.viewer.picture()
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
        head = f"POST /-/action/{token} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10**12}\r\n\r\n"
        connection.sendall(head.encode())
        sent, piece = 0, b"x" * (1 << 20)
        with pytest.raises(ConnectionError):  # noqa: PT012
            while sent < 4 * MOST_BODY:
                connection.sendall(piece)
                sent += len(piece)
    assert get(server, "/brain/info").status == 200


def test_views_share_a_server(brain, tmp_path):
    one, two = brain.view(browser=False), Volume(brain.cloudpath).view(browser=False)
    assert one.url == two.url
    assert (one.names, two.names) == (("brain",), ("brain",))
    (tmp_path / "other").mkdir()
    other = Volume.from_numpy(np.ones((8, 8, 8), np.uint8), tmp_path / "other/brain", chunk_size=(8, 8, 8))
    third = other.view(brain, browser=False)
    assert third.names == ("brain-2", "brain")
    assert np.array_equal(Volume(third.state["layers"][0]["source"])[:], np.ones((8, 8, 8, 1)))
    brain.add_scale((2, 2, 1))
    brain.commit_info()
    again = brain.view(browser=False)
    assert again.names == ("brain",)
    assert len(Volume(again.state["layers"][0]["source"]).scales) == 2


def test_what_a_viewer_shows_of_itself(brain):
    made = brain.view(browser=False)
    assert repr(made).startswith("Viewer(brain at http://127.0.0.1:")
    assert f"<iframe src='{made.url.replace('&', '&amp;')}'" in made._repr_html_().replace("&#x27;", "'")
    state = json.loads(unquote(made.url.partition("#!")[2]))
    made.state["layout"] = "xy"
    assert json.loads(unquote(made.url.partition("#!")[2])) == {**state, "layout": "xy"}


@pytest.mark.parametrize(
    ("desktop", "asked", "opened"), [(True, None, 1), (False, None, 0), (False, True, 1), (True, False, 0)]
)
def test_when_a_browser_opens(brain, monkeypatch, desktop, asked, opened):
    urls = []
    monkeypatch.setattr(viewer.webbrowser, "open", lambda url: urls.append(url) or True)
    monkeypatch.setattr(viewer, "_desktop", lambda: desktop)
    made = brain.view(browser=asked)
    assert urls == [made.url] * opened


def test_not_in_notebooks(brain, monkeypatch):
    urls = []
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(viewer.webbrowser, "open", urls.append)
    monkeypatch.setattr(viewer, "_desktop", lambda: True)
    brain.view()
    assert urls == []
    (link,) = re.findall(r"href='([^']+)'", brain._repr_html_())
    assert link.endswith("/-/view/brain")
    server = link.removesuffix("/-/view/brain")
    assert get(server, "/-/view/brain").status == 200


def test_the_card_elsewhere(brain):
    card = brain._repr_html_()
    assert "href" not in card
    assert "2 × 2 × 2 = 8 chunks" in card


def test_without_the_extra(brain, running, monkeypatch):
    monkeypatch.setitem(sys.modules, "neuroglancer", None)
    monkeypatch.setitem(sys.modules, "neuroglancer.static", None)
    monkeypatch.delitem(sys.modules, "volumekit.view.page", raising=False)
    monkeypatch.delitem(sys.modules, "volumekit.view.viewer", raising=False)
    reply = get(running(brain), "/-/v/1/")
    assert reply.status == 404
    assert b"pip install 'volumekit[view]'" in reply.body
    with pytest.raises(MissingExtraError, match=r"volumekit\[view\]"):
        brain.view(browser=False)


def test_without_a_browser(brain, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(browser.VARIABLE, raising=False)
    assert browser.find_browser() is None
    with pytest.raises(MissingExtraError, match="install Chromium"):
        brain.view(browser=False).screenshot()


def fake_browser(tmp_path, monkeypatch, script):
    program = tmp_path / "chromium"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv(browser.VARIABLE, str(program))


def test_a_browser_that_draws_nothing(brain, tmp_path, monkeypatch):
    fake_browser(tmp_path, monkeypatch, "sleep 100 & sleep 100")
    with pytest.raises(StorageError, match=r"nothing was drawn within 0\.3 s; the page reported nothing"):
        brain.view(browser=False).screenshot(timeout=0.3)
    fake_browser(tmp_path, monkeypatch, "exit 3")
    with pytest.raises(StorageError, match="the browser ended"):
        brain.view(browser=False).screenshot()


def test_a_browser_that_reports_failures(brain, tmp_path, monkeypatch):
    fake_browser(tmp_path, monkeypatch, "sleep 100")
    made = brain.view(browser=False)
    page = made._server.app.state.site.viewer

    def report():
        while not page._pictures:
            time.sleep(0.01)
        page.progress[next(iter(page._pictures))] = {"visibleChunksTotal": 9, "visibleChunksFailed": 4}

    reporting = threading.Thread(target=report)
    reporting.start()
    with pytest.raises(StorageError, match="of 9 visible chunks 4 failed, 0 on their way"):
        made.screenshot(timeout=0.5)
    reporting.join()


def test_its_processes_end_with_it(tmp_path, monkeypatch):
    fake_browser(tmp_path, monkeypatch, f"sleep 97 & echo $! > {tmp_path}/child; wait")
    with browser.Browser("about:blank") as running:
        while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
            time.sleep(0.01)
        profile, child = running.profile, int((tmp_path / "child").read_text())
        assert running.alive()
    assert not profile.exists()
    assert not running.alive()
    assert ended(child)


def ended(process):
    for _ in range(200):
        status = Path(f"/proc/{process}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.01)
    return False


def test_one_viewer_of_several_datasets(running, brain, tmp_path):
    labels = Volume.from_numpy(np.ones((8, 8, 8), np.uint8), tmp_path / "labels", layer_type="segmentation")
    server = running(brain, labels)
    made = Viewer(server, server.names)
    assert [layer["type"] for layer in made.state["layers"]] == ["image", "segmentation"]
