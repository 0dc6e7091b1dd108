"""The ASGI application: `Site` within Starlette's layers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount

from volumekit.serve.settings import Settings
from volumekit.serve.site import Site
from volumekit.serve.sources import distinct, read_sources

EXPOSED = ("Content-Range", "Content-Length", "Content-Encoding", "ETag", "Accept-Ranges")
_DAY = 86400


def create_app(sources: Iterable[Any], settings: Settings | None = None) -> Starlette:
    """Return an ASGI application that serves volumes.

    Parameters
    ----------
    sources : iterable
        Paths, URLs, volumes or `serve.sources.Source`.
    settings : Settings, optional
        Prefix, token, origins, limits.

    Returns
    -------
    starlette.applications.Starlette
        Its ``state.site`` is the `Site`.

    Raises
    ------
    OptionError
        If two sources have the same name, or one cannot be opened.
    """
    settings = settings or Settings()
    site = Site(distinct(sources), settings)
    app = Starlette(routes=[Mount("/", app=site)], middleware=_layers(settings))
    app.state.site = site
    return app


def app_from_file(path: str | os.PathLike[str], **changes: Any) -> Starlette:
    """Return the application that a sources file describes; ``changes`` go before its settings."""
    sources, given = read_sources(path)
    return create_app(sources, Settings.of({**given, **changes}))


def _layers(settings: Settings) -> list[Middleware]:
    layers = []
    if settings.hosts:
        layers.append(Middleware(TrustedHostMiddleware, allowed_hosts=list(settings.hosts), www_redirect=False))
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
