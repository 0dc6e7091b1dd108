"""Showing volumes in Neuroglancer: in a browser, in a notebook, as a picture."""

from __future__ import annotations

import base64
import html
import os
import sys
import time
import webbrowser
from collections.abc import Container, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from typing import TYPE_CHECKING, Any, Self

from volumekit.errors import OptionError, StorageError
from volumekit.view.browser import Browser
from volumekit.view.page import Opening, Page
from volumekit.view.picture import saving
from volumekit.view.shared import shared
from volumekit.view.state import Shown, fitting_scale, fragment, viewer_state

if TYPE_CHECKING:
    from PIL.Image import Image

    from volumekit.serve.running import Server
    from volumekit.volume.volume import Volume

PATIENCE = 60.0
"""Seconds within which a picture must be drawn."""

HEIGHT = 600
_LABELS = "segmentation"


class Viewer:
    """Volumes that are shown in Neuroglancer, over each other.

    Parameters
    ----------
    server : Server
        Serves them.
    names : iterable of str
        Which datasets of the server: images first makes for labels that lie over them.
    labels : container of str
        Those that are shown as labels, whatever their metadata say.

    Attributes
    ----------
    state : dict
        Neuroglancer's state; may be changed. A page shows it as it is when the page is loaded.
    names : tuple of str
        The datasets.

    Raises
    ------
    OptionError
        If labels are no whole numbers, or have several channels.
    """

    def __init__(self, server: Server, names: Iterable[str], *, labels: Container[str] = ()) -> None:
        self._server, self.names = server, tuple(names)
        self._page: Page = server.app.state.site.viewer
        datasets = server.app.state.site.catalog.datasets
        shown = [Shown(datasets[name].volume, server.source(name), name, name in labels) for name in self.names]
        for item in shown:
            _check_labels(item)
        self._first = shown[0].volume
        self.state: dict[str, Any] = viewer_state(shown)
        self._scale = self.state["crossSectionScale"]
        self._path = self._page.show(self._opening)

    @classmethod
    def of(cls, server: Server, volumes: Iterable[Volume], labels: Iterable[Volume] = ()) -> Self:
        """Return a viewer of volumes, which a server serves from now on, under names that differ.

        Parameters
        ----------
        server : Server
            Serves them.
        volumes : iterable of Volume
            What is shown.
        labels : iterable of Volume
            What is shown as labels; those that are not among the others lie over them.
        """
        add, forced = server.app.state.site.catalog.add, list(labels)
        kinds = [(volume, _LABELS if volume in forced else None) for volume in volumes]
        names = {add(volume, kind=kind): kind for volume, kind in (*kinds, *((volume, _LABELS) for volume in forced))}
        return cls(server, names, labels=[name for name, kind in names.items() if kind is not None])

    @property
    def url(self) -> str:
        """The page; any browser of this machine opens it as long as this process runs."""
        return f"{self._server.url}/-/{self._path}"

    def _opening(self) -> Opening:
        return Opening(self.state, self._server.url, fit=self._is_fitted())

    def _is_fitted(self) -> bool:
        """Tell whether the scale is still the one that was chosen for a page of the usual size."""
        return bool(self.state.get("crossSectionScale") == self._scale)

    def open(self, *, anyway: bool = False) -> bool:
        """Open the page in the browser of this desktop; tell whether there is one.

        Parameters
        ----------
        anyway : bool
            Try also where there seems to be no desktop, but perhaps a browser for terminals.
        """
        return (anyway or _desktop()) and webbrowser.open(self.url)

    def screenshot(self, path: Any = None, *, size: tuple[int, int] = (1000, 600), timeout: float = PATIENCE) -> Image:
        """Draw the panels with a headless Chromium, once every visible chunk is there.

        Parameters
        ----------
        path : path, optional
            Where to save the picture; its ending tells the format, such as ``.png``.
        size : tuple of int
            Width and height in pixels.
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
        OptionError
            If nothing is written under such a name, or there are no pictures of this size.
        StorageError
            If it is not drawn in time, because chunks fail for instance.
        """
        save = saving(path, size)
        token, future = self._page.picture(size)
        try:
            with Browser(self._at_once(token, size)) as browser:
                drawn = _wait(future, browser, self._page, token, timeout)
        finally:
            self._page.forget(token)
        return save(base64.b64decode(drawn["image"]))

    def _at_once(self, token: str, size: tuple[int, int]) -> str:
        """Return a page of a size whose state is in its address: one step less until it is drawn."""
        fitting = {"crossSectionScale": fitting_scale(self._first, size)} if self._is_fitted() else {}
        return f"{self._server.url}/-/v/{token}/{fragment(self.state | fitting)}"

    def _repr_html_(self) -> str:
        return f"<iframe src='{html.escape(self.url, quote=True)}' width='100%' height='{HEIGHT}'></iframe>"

    def __repr__(self) -> str:
        return f"Viewer({', '.join(self.names)} at {self.url})"


def _check_labels(item: Shown) -> None:
    level = item.volume.levels[0]
    if item.labels and (level.dtype.kind not in "iu" or level.channels != 1):
        what = f"{level.channels} channels of {level.dtype}" if level.channels != 1 else str(level.dtype)
        raise OptionError(f"labels are whole numbers in one channel; {item.name} holds {what}: show it as an image")


def _wait(future: Future[dict[str, Any]], browser: Browser, page: Page, token: str, timeout: float) -> dict[str, Any]:
    """Wait for a picture as long as the browser runs and something may still come."""
    end = time.monotonic() + timeout
    while True:
        try:
            return future.result(0.05)
        except TooLate:
            seen = page.progress.get(token, {})
            if not browser.alive():
                raise StorageError("the browser ended before it had drawn anything") from None
            if _in_vain(seen):
                raise StorageError(f"there is no whole picture{_told(seen)}; --log debug tells more") from None
            if time.monotonic() > end:
                raise StorageError(f"nothing was drawn within {timeout:g} s{_told(seen)}") from None


def _in_vain(seen: Mapping[str, int]) -> bool:
    """Tell whether chunks failed, and no other is on its way: then a page never reports a picture."""
    failed = seen.get("visibleChunksFailed", 0)
    return failed > 0 and failed + seen.get("visibleChunksGpuMemory", 0) >= seen.get("visibleChunksTotal", 0)


def _told(seen: Mapping[str, int]) -> str:
    """Return what the page reported last."""
    if not seen:
        return "; the page reported nothing: a source may be unreadable"
    names = {"visibleChunksFailed": "failed", "visibleChunksDownloading": "on their way"}
    counts = ", ".join(f"{seen.get(key, 0)} {word}" for key, word in names.items())
    return f"; of {seen.get('visibleChunksTotal', 0)} visible chunks {counts}"


def _desktop() -> bool:
    """Tell whether somebody would see a window."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def view(*volumes: Volume, labels: Iterable[Volume] = ()) -> Viewer:
    """Show volumes over each other.

    Parameters
    ----------
    *volumes : Volume
        Images first makes for labels that lie over them.
    labels : iterable of Volume
        What is shown as labels, whatever its metadata say.

    Returns
    -------
    Viewer
        In a notebook it shows itself; `Viewer.open` opens a browser.

    Raises
    ------
    MissingExtraError
        If the extra ``view`` is not installed.
    """
    return Viewer.of(shared().server(), volumes, labels)
