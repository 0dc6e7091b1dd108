"""Pictures by a browser without a window: what goes wrong with it, and what is left of it."""

import threading
import time
from pathlib import Path

import pytest

from volumekit.errors import MissingExtraError, StorageError
from volumekit.view import browser


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


@pytest.mark.parametrize(
    ("on_gpu", "text"),
    [(3, "nothing was drawn within 0.5 s; of 9 visible chunks 4 failed, 2"), (5, "no whole picture; of 9 visible")],
)
def test_a_browser_that_reports_failures(brain, tmp_path, monkeypatch, on_gpu, text):
    """It is waited for as long as any chunk may still come."""
    names = ("Total", "Failed", "GpuMemory", "Downloading")
    counts = dict(zip((f"visibleChunks{name}" for name in names), (9, 4, on_gpu, 2), strict=True))
    fake_browser(tmp_path, monkeypatch, "sleep 100")
    made = brain.view(browser=False)
    page = made._server.app.state.site.viewer

    def report():
        while not page._pictures:
            time.sleep(0.01)
        page.progress[next(iter(page._pictures))] = {**counts}

    reporting = threading.Thread(target=report)
    reporting.start()
    with pytest.raises(StorageError, match=text):
        made.screenshot(timeout=0.5 if on_gpu == 3 else 60)
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
