"""Showing volumes in Neuroglancer: in a browser, in a notebook, as a picture."""

from __future__ import annotations

import base64
import functools
import html
import io
import os
import sys
import threading
import time
import webbrowser
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from volumekit.errors import StorageError
from volumekit.serve.running import Server, serve
from volumekit.view.browser import Browser
from volumekit.view.page import Page
from volumekit.view.state import Shown, fragment, viewer_state

if TYPE_CHECKING:
    from PIL.Image import Image

    from volumekit.volume.volume import Volume

PATIENCE = 60.0
"""Seconds within which a picture must be drawn."""

HEIGHT = 600
_LOCK = threading.Lock()


class Viewer:
    """Volumes that are shown in Neuroglancer.

    Attributes
    ----------
    state : dict
        Neuroglancer's state; may be changed before `url` is used.
    """

    def __init__(self, server: Server, names: Sequence[str]) -> None:
        self._server, self.names = server, tuple(names)
        volumes = [server.app.state.site.catalog.datasets[name].volume for name in names]
        shown = [Shown(volume, server.source(name), name) for volume, name in zip(volumes, names, strict=True)]
        self.state: dict[str, Any] = viewer_state(shown)

    @property
    def url(self) -> str:
        """The page with its state; any browser of this machine opens it as long as this process runs."""
        return self._url("1")

    def _url(self, token: str) -> str:
        return f"{self._server.url}/-/v/{token}/{fragment(self.state)}"

    def open(self, *, anyway: bool = False) -> bool:
        """Open the page in the browser of this desktop; tell whether there is one.

        Parameters
        ----------
        anyway : bool
            Try also where there seems to be no desktop, but perhaps a browser for terminals.
        """
        return (anyway or _desktop()) and webbrowser.open(self.url)

    def screenshot(self, path: Any = None, *, size: tuple[int, int] = (1000, 700), timeout: float = PATIENCE) -> Image:
        """Draw the page with a headless Chromium once every visible chunk is there.

        Parameters
        ----------
        path : path, optional
            Where to save the picture.
        size : tuple of int
            Width and height of the window in pixels; the picture is a little smaller.
        timeout : float
            Seconds to wait.

        Returns
        -------
        PIL.Image.Image
            The panels, without the page's other elements.

        Raises
        ------
        MissingExtraError
            If no Chromium is installed.
        StorageError
            If it is not drawn in time.
        """
        from PIL import Image as Pillow

        page: Page = self._server.app.state.site.viewer
        token, future = page.picture()
        try:
            with Browser(self._url(token), size=size) as browser:
                drawn = _wait(future, browser, page, token, timeout)
        finally:
            page.forget(token)
        data = base64.b64decode(drawn["image"])
        if path is not None:
            with open(path, "wb") as file:  # noqa: PTH123
                file.write(data)
        return Pillow.open(io.BytesIO(data))

    def _repr_html_(self) -> str:
        return f"<iframe src='{html.escape(self.url, quote=True)}' width='100%' height='{HEIGHT}'></iframe>"

    def __repr__(self) -> str:
        return f"Viewer({', '.join(self.names)} at {self._server.url}/)"


def _wait(future: Future[dict[str, Any]], browser: Browser, page: Page, token: str, timeout: float) -> dict[str, Any]:
    """Wait for a picture as long as the browser runs."""
    end = time.monotonic() + timeout
    while True:
        try:
            return future.result(0.1)
        except TooLate:
            if not browser.alive():
                raise StorageError("the browser ended before it had drawn anything") from None
            if time.monotonic() > end:
                raise StorageError(f"nothing was drawn within {timeout:g} s{_told(page, token)}") from None


def _told(page: Page, token: str) -> str:
    """Return what the page reported last."""
    seen = page.progress.get(token)
    if not seen:
        return "; the page reported nothing: a source may be unreadable"
    names = {"visibleChunksFailed": "failed", "visibleChunksDownloading": "on their way"}
    counts = ", ".join(f"{seen.get(key, 0)} {word}" for key, word in names.items())
    return f"; of {seen.get('visibleChunksTotal', 0)} visible chunks {counts}"


def _desktop() -> bool:
    """Tell whether somebody would see a window."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@functools.cache
def _server(process: int) -> Server:
    return serve()


def shared_server() -> Server:
    """Return the server of all viewers of this process; it starts with the first one, on the loopback interface."""
    with _LOCK:
        return _server(os.getpid())


def link(volume: Volume) -> str:
    """Return the address of a page that shows a volume, once somebody opens it."""
    server = shared_server()
    return f"{server.url}/-/view/{quote(server.app.state.site.catalog.add(volume))}"


def view(*volumes: Volume) -> Viewer:
    """Show volumes over each other.

    Parameters
    ----------
    *volumes : Volume
        Images first makes for labels that lie over them.

    Returns
    -------
    Viewer
        In a notebook it shows itself; `Viewer.open` opens a browser.

    Raises
    ------
    MissingExtraError
        If the extra ``view`` is not installed.
    """
    server = shared_server()
    return Viewer(server, [server.app.state.site.catalog.add(volume) for volume in volumes])
