"""Running a server: in a thread of this process, or as the process itself."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from volumekit.errors import OptionError, StorageError
from volumekit.registry import missing_extra
from volumekit.serve.settings import Settings
from volumekit.serve.sources import ZARR

if TYPE_CHECKING:
    import uvicorn

    from volumekit.serve.app import Application

CONNECTIONS = 2000
"""Connections beyond this are told that the server is busy."""

_PATIENCE = 30.0
_EVERYWHERE = ("", "0.0.0.0", "::")


@dataclass(frozen=True)
class Recipe:
    """Makes the application; unlike an application it can be sent to worker processes."""

    sources: tuple[Any, ...]
    settings: Settings
    file: str | None = None

    def __call__(self) -> Application:
        """Make it."""
        from volumekit.serve.app import create_app

        return create_app(self.sources, self.settings, file=self.file)


class Server:
    """A server in a thread of this process; a context manager. See `serve`.

    Attributes
    ----------
    url : str
        ``http://host:port`` and the prefix, and the token if there is one, without a slash at the end.
    """

    def __init__(self, app: Application, settings: Settings, listener: socket.socket) -> None:
        self.app, self.settings = app, settings
        self._listener = listener
        self.url = address(listener, settings)
        self._server = _uvicorn(app, settings)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="volumekit-serve", daemon=True
        )
        self._thread.start()
        self._wait()

    def _wait(self) -> None:
        """Wait until requests are answered."""
        pause = threading.Event()
        for _ in range(int(_PATIENCE / 0.005)):
            if self._server.started:
                return
            if not self._thread.is_alive():
                break
            pause.wait(0.005)
        self.close()
        raise StorageError(f"the server at {self.url} did not start; --log debug tells more")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the datasets."""
        return tuple(self.app.state.site.catalog.datasets)

    def source(self, name: str | None = None, *, format: str = "precomputed") -> str:  # noqa: A002
        """Return the URL of a dataset, as Neuroglancer and `Volume` take it.

        Parameters
        ----------
        name : str, optional
            Which one; may be left out if there is only one.
        format : {"precomputed", "zarr"}
            How it is shown.
        """
        if name is None:
            (name,) = self.names
        if name not in self.names:
            raise OptionError(f"nothing is served as {name!r}; there is {', '.join(self.names)}")
        if format not in ("precomputed", "zarr"):
            raise OptionError(f"format is {format!r}; it is precomputed or zarr")
        return f"{format}://{self.url}/{quote(name)}{ZARR if format == 'zarr' else ''}"

    def close(self) -> None:
        """Stop the server; requests under way have a second to end."""
        self._server.should_exit = True
        self._thread.join(_PATIENCE)
        self.app.state.site.close()
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(
    *sources: Any,
    port: int = 0,
    bind: str = "127.0.0.1",
    prefix: str = "",
    token: str | None = None,
    cors: str | Iterable[str] = (),
    decodes: int | None = None,
) -> Server:
    """Serve volumes over HTTP from this process, until the context ends.

    Each dataset appears under the last part of its path (without ``.zarr``) as Neuroglancer Precomputed, ``/NAME/…``,
    and as OME-Zarr 0.5, ``/NAME.zarr/…``, whatever it is stored as. Nothing is converted beforehand: chunks are passed
    through as they are stored where Neuroglancer reads that, and decoded and encoded on the way where not. Credentials
    of remote storages stay here.

    Parameters
    ----------
    *sources : str, os.PathLike, Volume or Source
        What to serve.
    port : int
        0: any free one.
    bind : str
        Address to listen at; default: only this machine can connect.
    prefix : str
        What all paths begin with.
    token : str, optional
        What everybody who asks has to know. None: on the loopback interface none, elsewhere one is made up. An empty
        text: none anywhere.
    cors : str or iterable of str
        Origins whose web pages may ask: ``"https://neuroglancer-demo.appspot.com"``, ``"*"`` for all. Pages of the
        server itself always may.
    decodes : int, optional
        How many chunks are decoded at the same time; default: one per core.

    Returns
    -------
    Server
        A context manager; it runs already.

    Raises
    ------
    OptionError
        If two sources have the same name, one cannot be opened, or a setting is impossible.
    StorageError
        If the port cannot be had.
    MissingExtraError
        If the extra ``serve`` is not installed.

    Examples
    --------
    >>> with volumekit.serve("data/brain") as server:  # doctest: +SKIP
    ...     print(server.source())
    precomputed://http://127.0.0.1:40123/brain
    """
    settings = make_settings(bind, prefix=prefix, token=token, cors=cors, decodes=decodes)
    recipe = Recipe(sources, settings)
    listener = listen(bind, port)
    try:
        return Server(make(recipe), settings, listener)
    except BaseException:
        listener.close()
        raise


def make_settings(bind: str, *, decodes: int | None = None, **given: Any) -> Settings:
    """Return settings for a server at an address; see `serve`."""
    import os

    chosen = {"decodes": os.cpu_count() or 1 if decodes is None else decodes, **given}
    return Settings.of(chosen).for_address(bind)


def run(app: Application, recipe: Recipe, listener: socket.socket, *, workers: int = 1) -> None:
    """Serve until the process is told to end, by Ctrl-C for instance.

    Parameters
    ----------
    app : Application
        What the recipe makes.
    recipe : Recipe
        Makes it again in each of several processes.
    listener : socket.socket
        Where to.
    workers : int
        Processes.
    """
    gc.collect()
    gc.freeze()  # what lives as long as the server needs not be looked at again and again
    if workers == 1:
        _uvicorn(app, recipe.settings).run([listener])
        return
    app.state.site.close()
    from uvicorn.supervisors import Multiprocess

    Multiprocess(_uvicorn(recipe, recipe.settings, workers=workers).config, sockets=[listener]).run()


def make(recipe: Recipe) -> Application:
    """Return the application.

    Raises
    ------
    OptionError
        If a source cannot be served.
    MissingExtraError
        If the extra ``serve`` is not installed.
    """
    try:
        return recipe()
    except ModuleNotFoundError as error:
        raise missing_extra("serve", error) from error


def listen(bind: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises
    ------
    StorageError
        If the port is taken, or may not be used.
    """
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    try:
        return socket.create_server((bind.strip("[]"), port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        raise StorageError(f"cannot listen at {bind}:{port}: {error}; choose another --port") from error


def address(listener: socket.socket, settings: Settings) -> str:
    """Return the URL of a server, with its prefix, and its token."""
    host, port = listener.getsockname()[:2]
    host = socket.gethostname() if host in _EVERYWHERE else f"[{host}]" if ":" in host else host
    token = f"/~{settings.token}" if settings.token else ""
    return f"http://{host}:{port}{settings.prefix}{token}"


def _uvicorn(app: Application | Recipe, settings: Settings, **more: Any) -> uvicorn.Server:
    try:
        import uvicorn
    except ImportError as error:
        raise missing_extra("serve", error) from error
    config = uvicorn.Config(
        app,
        factory=isinstance(app, Recipe),
        http=_protocol(),
        h11_max_incomplete_event_size=settings.max_path + settings.max_headers,
        ws="none",
        lifespan="off",
        timeout_graceful_shutdown=1,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        **more,
    )
    return uvicorn.Server(config)


def _protocol() -> Any:
    """Return the parser of requests; h11, which uvicorn has itself, where the faster one is not installed."""
    try:
        from volumekit.serve.protocol import Limited
    except ImportError:
        return "h11"
    return Limited
