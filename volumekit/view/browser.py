"""A headless Chromium, if one is installed: it draws pages as people would see them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from volumekit.errors import MissingExtraError, StorageError

NAMES = (
    "chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome", "microsoft-edge",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)  # fmt: skip
VARIABLE = "VOLUMEKIT_BROWSER"
HOW_TO_GET_IT = f"install Chromium (Debian: apt-get install chromium), or name a Chromium in {VARIABLE}"

_FLAGS = (
    "--headless", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-extensions", "--mute-audio", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--disable-dev-shm-usage",  # containers have little of it
)  # fmt: skip

_TRIES = 40


def find_browser() -> str | None:
    """Return the path of a Chromium, None if there is none."""
    named = os.environ.get(VARIABLE)
    return shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A browser with one page, without a window; a context manager. Nothing of it is left behind.

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
        Its folder, new and empty; all that it writes is in there.

    Raises
    ------
    MissingExtraError
        If no Chromium is installed.
    """

    def __init__(self, url: str, *, size: tuple[int, int] = (1000, 700), flags: Sequence[str] = ()) -> None:
        program = find_browser()
        if program is None:
            raise MissingExtraError(f"there is no headless browser; {HOW_TO_GET_IT}")
        self.profile = Path(tempfile.mkdtemp(prefix="vk-"))  # short: the path of a socket in it may have 100 bytes
        self._command = [
            program, *_FLAGS, *_sandbox(), f"--window-size={size[0]},{size[1]}", f"--user-data-dir={self.profile}",
            *flags, url,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        quiet: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        places = dict.fromkeys(("TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), str(self.profile))
        try:
            self._process = subprocess.Popen(
                self._command, start_new_session=True, env={**os.environ, **places}, **quiet
            )
        except OSError as error:
            shutil.rmtree(self.profile, ignore_errors=True)
            raise StorageError(f"the browser {self._command[0]} does not start: {error}") from error
        return self

    def alive(self) -> bool:
        """Tell whether it runs."""
        return self._process is not None and self._process.poll() is None

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            _end(self._process)
        for _attempt in range(_TRIES):
            shutil.rmtree(self.profile, ignore_errors=True)
            if not self.profile.exists():
                break
            time.sleep(0.05)  # its last processes are still writing


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a browser and all that it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _sandbox() -> Sequence[str]:
    """Return the flag without which Chromium does not run as root."""
    return ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
