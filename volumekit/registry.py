"""Tables of plug-ins: name -> ``"module:Class[extra]"``; entry points of other packages add rows.

The groups are ``volumekit.formats``, ``volumekit.codecs`` and ``volumekit.stores``. Rows are strings, so that nothing
is imported before it is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module, metadata
from typing import Any

from volumekit.errors import MissingExtraError

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
        found = {point.name: point.value for point in metadata.entry_points(group=self.group)}
        return {**found, **self._own}

    def __getitem__(self, name: str) -> Any:
        row = self._own.get(name)
        return load(self.rows()[name] if row is None else row)

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows())

    def __len__(self) -> int:
        return len(self.rows())

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self.rows()


def load(row: str) -> Any:
    """Import what a row names.

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
        raise missing_extra(match["extra"], error) from error


def missing_extra(extra: str, error: ImportError) -> MissingExtraError:
    """Return the error that tells how to install an extra."""
    wanted = error.name or str(error)
    return MissingExtraError(f"{wanted} is not installed; run: pip install 'volumekit[{extra}]'")
