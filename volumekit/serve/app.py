"""The ASGI application: `Site` within Starlette's layers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from volumekit.errors import OptionError
from volumekit.serve.catalog import Catalog
from volumekit.serve.settings import Settings
from volumekit.serve.site import Site
from volumekit.serve.sources import read_sources

EXPOSED = ("Content-Range", "Content-Length", "Content-Encoding", "ETag", "Accept-Ranges")
_DAY = 86400
VARIABLE = "VOLUMEKIT_SOURCES"


class Application(Starlette):
    """A site within those of Starlette's layers that it needs; it routes, and answers all errors, itself.

    Parameters
    ----------
    site : Site
        Is its ``state.site``.
    """

    def __init__(self, site: Site) -> None:
        super().__init__(middleware=_layers(site.settings))
        self.state.site = site
        self._stack = self.build_middleware_stack()

    def build_middleware_stack(self) -> ASGIApp:
        """Return the site within the layers."""
        app: ASGIApp = self.state.site
        for layer, arguments, named in reversed(self.user_middleware):
            app = layer(app, *arguments, **named)
        return app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; what servers ask besides, Starlette answers."""
        if scope["type"] == "http":
            await self._stack(scope, receive, send)
        else:
            await self.router(scope, receive, send)


def create_app(
    sources: Iterable[Any], settings: Settings | None = None, *, file: str | os.PathLike[str] | None = None
) -> Application:
    """Return an ASGI application that serves volumes.

    Parameters
    ----------
    sources : iterable
        Paths, URLs, volumes or `serve.sources.Source`.
    settings : Settings, optional
        Prefix, token, origins, limits.
    file : path, optional
        A file of more sources, see `serve.sources.read_sources`; it is read again when it changes. Its settings do not
        count.

    Returns
    -------
    Application
        Its ``state.site`` is the `Site`.

    Raises
    ------
    OptionError
        If two sources have the same name, or one cannot be opened.
    """
    settings = settings or Settings()
    site = Site(Catalog(sources, decodes=settings.decodes, file=file), settings)
    return Application(site)


def app_from_file(path: str | os.PathLike[str], **changes: Any) -> Application:
    """Return the application that a sources file describes.

    Changes of its sources are noticed while it runs; those of its settings are not.

    Parameters
    ----------
    path : path
        See `serve.sources.read_sources`.
    **changes
        Settings that go before those of the file.
    """
    return create_app((), Settings.of({**read_sources(path)[1], **changes}), file=path)


def from_environment() -> Application:
    """Return the application of the sources file that ``VOLUMEKIT_SOURCES`` names.

    ``uvicorn --factory volumekit.serve.app:from_environment`` runs it.

    Raises
    ------
    OptionError
        If the variable is not set, or a source in the file cannot be served.
    """
    path = os.environ.get(VARIABLE)
    if not path:
        raise OptionError(f"set the environment variable {VARIABLE} to a sources file")
    return app_from_file(path)


def _layers(settings: Settings) -> list[Middleware]:
    layers = []
    if settings.cors:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(settings.cors),
                allow_methods=["GET", "HEAD"],
                allow_headers=["Range", "If-None-Match", "If-Range", "Authorization"],
                expose_headers=list(EXPOSED),
                max_age=_DAY,
            )
        )
    return layers
