"""Tables of plug-ins: name -> ``"module:Class[extra]"``; entry points of other packages add rows.

The groups are ``volumekit.formats``, ``volumekit.codecs`` and ``volumekit.stores``. Rows are strings, so that nothing
is imported before it is used.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module, metadata
from typing import Any

from volumekit.errors import MissingExtraError, UnsupportedError

_ROW = re.compile(r"^(?P<module>[\w.]+):(?P<name>\w+)(?:\[(?P<extra>[\w-]+)\])?$")


class Registry(Mapping[str, Any]):
    """A table of plug-ins of one kind; looking up a name imports it.

    Parameters
    ----------
    group : str
        Entry-point group that adds rows.
    rows : Mapping
        Our own rows.
    """

    def __init__(self, group: str, rows: Mapping[str, str]) -> None:
        self.group = group
        self._own = dict(rows)

    def rows(self) -> dict[str, str]:
        """Return all rows, those of installed plug-ins included; ours win."""
        found = {name: point.value for name, point in self._plugins().items()}
        return {**found, **self._own}

    def _plugins(self) -> Mapping[str, metadata.EntryPoint]:
        return _installed(self.group, _search_path())

    def __getitem__(self, name: str) -> Any:
        row = self._own.get(name)
        return load_plugin(self._plugins()[name]) if row is None else load(row)

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows())

    def __len__(self) -> int:
        return len(self.rows())

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self.rows()


@functools.lru_cache(maxsize=16)
def _installed(group: str, path: tuple[tuple[str, int], ...]) -> Mapping[str, metadata.EntryPoint]:
    """Return the entry points of a group; finding them takes 2 ms, so they are kept while ``path`` is the same."""
    return {point.name: point for point in metadata.entry_points(group=group)}


def _search_path() -> tuple[tuple[str, int], ...]:
    """Return where packages are installed, and when that last changed."""
    return tuple((str(place), _changed(place)) for place in sys.path)


def _changed(place: str) -> int:
    try:
        return os.stat(place or ".").st_mtime_ns  # noqa: PTH116
    except OSError:
        return 0


def load_plugin(point: metadata.EntryPoint) -> Any:
    """Import what another package offers.

    Raises
    ------
    UnsupportedError
        If it cannot be imported; the message names the package.
    MissingExtraError
        If it needs a package that is not installed; the message gives the pip command.
    """
    package = _package(point)
    try:
        return load(point.value, package=package)
    except MissingExtraError:
        raise
    except Exception as error:
        raise UnsupportedError(
            f"the plug-in {point.name!r} of the package {package} cannot be loaded ({error}); update or uninstall it"
        ) from error


def _package(point: metadata.EntryPoint) -> str:
    """Return the package an entry point is of, or its module where the package does not say its name."""
    try:
        return point.dist.name if point.dist else point.module
    except Exception:  # `importlib_metadata`, where it has taken over, raises an error of its own
        return point.module


def load(row: str, *, package: str = "volumekit") -> Any:
    """Import what a row names.

    Parameters
    ----------
    row : str
        ``"module:Class[extra]"``.
    package : str
        The package whose extra it is.

    Raises
    ------
    MissingExtraError
        If it needs a package that is not installed; the message gives the pip command.
    """
    match = _ROW.match(row.replace(" ", ""))
    if match is None:
        raise ValueError(f"not a registry row: {row!r}")
    try:
        return getattr(import_module(match["module"]), match["name"])
    except ImportError as error:
        if match["extra"] is None:
            raise
        raise missing_extra(match["extra"], error, package=package) from error


def missing_extra(extra: str, error: ImportError, *, package: str = "volumekit") -> MissingExtraError:
    """Return the error that tells how to install an extra."""
    wanted = error.name or str(error)
    return MissingExtraError(f"{wanted} is not installed; run: pip install '{package}[{extra}]'")
