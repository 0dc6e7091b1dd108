"""A headless Chromium, if one is installed: it draws pages as people would see them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from volumekit.errors import MissingExtraError, StorageError

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome", "microsoft-edge")
VARIABLE = "VOLUMEKIT_BROWSER"
HOW_TO_GET_IT = f"install Chromium (Debian: apt-get install chromium), or name a Chromium in {VARIABLE}"

_FLAGS = (
    "--headless", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-extensions", "--mute-audio", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
)  # fmt: skip


def find_browser() -> str | None:
    """Return the path of a Chromium, None if there is none."""
    named = os.environ.get(VARIABLE)
    return shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A browser with one page, without a window; a context manager. Its processes end with it.

    Parameters
    ----------
    url : str
        The page.
    size : tuple of int
        Width and height of the window in pixels.
    flags : sequence of str
        Further flags of Chromium.

    Attributes
    ----------
    profile : pathlib.Path
        Its folder, new and empty.

    Raises
    ------
    MissingExtraError
        If no Chromium is installed.
    """

    def __init__(self, url: str, *, size: tuple[int, int] = (1000, 700), flags: Sequence[str] = ()) -> None:
        program = find_browser()
        if program is None:
            raise MissingExtraError(f"there is no headless browser; {HOW_TO_GET_IT}")
        self.profile = Path(tempfile.mkdtemp(prefix="volumekit-browser-"))
        self._command = [
            program, *_FLAGS, *_sandbox(), f"--window-size={size[0]},{size[1]}", f"--user-data-dir={self.profile}",
            *flags, url,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        quiet: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
        }
        try:
            self._process = subprocess.Popen(self._command, start_new_session=True, **quiet)
        except OSError as error:
            raise StorageError(f"the browser {self._command[0]} does not start: {error}") from error
        return self

    def alive(self) -> bool:
        """Tell whether it runs."""
        return self._process is not None and self._process.poll() is None

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)


def _sandbox() -> Sequence[str]:
    """Return the flag without which Chromium does not run as root."""
    return ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
