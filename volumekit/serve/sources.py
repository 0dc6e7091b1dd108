"""What is served: datasets by name, from a command line or from a file."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from volumekit.errors import OptionError, VolumekitError
from volumekit.formats import ALIASES, FORMATS
from volumekit.volume.source import resolve

if TYPE_CHECKING:
    from volumekit.volume.volume import Volume

ZARR = ".zarr"
RESERVED = ("-",)
"""Names of the server's own pages."""

SPELLINGS = {"raw": "precomputed", "ngff": "ome-zarr"}
"""Names that precomputed-tif's ``sources.json`` has for formats."""

_NAME = re.compile(r"[^\x00-\x1f\x7f/\\~?#%][^\x00-\x1f\x7f/\\?#%]*(/[^\x00-\x1f\x7f/\\?#%]+)*")
_MEMBERS = ("name", "url", "directory", "format", "at", "storage_options")


@dataclass(frozen=True)
class Source:
    """A dataset under a name.

    Attributes
    ----------
    name : str
        What its paths begin with; may have slashes inside.
    place : str
        Path or URL; of a volume, for messages only.
    format : str, optional
        Name of the format; None: look at what is there.
    at, storage_options : Mapping, optional
        As for `Volume`.
    volume : Volume, optional
        The volume itself, if it is open already.
    kind : {"image", "segmentation"}, optional
        What it is shown as; None: what its metadata say.
    """

    name: str
    place: str
    format: str | None = None
    at: Mapping[str, Any] | None = None
    storage_options: Mapping[str, Any] | None = None
    volume: Volume | None = field(default=None, compare=False)
    kind: str | None = None

    def __post_init__(self) -> None:
        parts = self.name.split("/")
        if not _NAME.fullmatch(self.name) or {".", ".."} & set(parts) or parts[0] in RESERVED:
            raise OptionError(f"{self.name!r} cannot be the name of a source; give it another one in a sources file")

    @classmethod
    def of(cls, thing: Any) -> Self:
        """Return a path, a URL, a volume or a source as a source, under the last part of its path.

        ``.zarr`` at the end is left out of the name: the same dataset is served as OME-Zarr with it.
        """
        if isinstance(thing, cls):
            return thing
        url = getattr(thing, "_url", None)
        if url is not None:
            return cls(_named(url.name or "volume"), str(url), volume=thing)
        url = resolve(thing)
        return cls(_named(url.name), str(url))

    def open(self) -> Volume:
        """Open the dataset.

        Raises
        ------
        OptionError
            If it cannot be opened; says which source it is and why.
        """
        from volumekit.volume.volume import Volume

        if self.volume is not None:
            return self.volume
        name = None if self.format is None else SPELLINGS.get(self.format, self.format)
        if name is not None and name not in FORMATS and name not in ALIASES:
            raise OptionError(
                f"source {self.name!r}: this version cannot read the format {self.format!r};"
                f" known: {', '.join(sorted({*FORMATS, *ALIASES, *SPELLINGS}))}"
            )
        try:
            volume = Volume(self.place, format=name, at=self.at, storage_options=self.storage_options, progress=False)
        except (VolumekitError, OSError) as error:
            raise OptionError(f"source {self.name!r}: {error}") from error
        if volume._redirected:
            raise OptionError(f"source {self.name!r}: {self.place} redirects to {volume.cloudpath}; name that instead")
        return volume


def _named(name: str) -> str:
    return name.removesuffix(ZARR) or name


def distinct(sources: Iterable[Any]) -> tuple[Source, ...]:
    """Return things to serve as sources; see `Source.of`.

    Raises
    ------
    OptionError
        If two have the same name.
    """
    found: dict[str, Source] = {}
    for source in map(Source.of, sources):
        for name in (source.name, source.name + ZARR, source.name.removesuffix(ZARR)):
            other = found.get(name)
            if other is not None:
                raise OptionError(
                    f"{other.place} and {source.place} would both be served as {name!r}; name them in a sources file"
                )
        found[source.name] = source
    return tuple(found.values())


def read_sources(path: str | os.PathLike[str]) -> tuple[tuple[Source, ...], dict[str, Any]]:
    """Read a sources file, JSON or TOML.

    JSON is a list of sources, or an object with the members ``sources`` and any settings; TOML has the settings at its
    top and a table ``[[source]]`` for each. A source has ``name``, ``directory`` or ``url``, and if wanted ``format``,
    ``at`` and ``storage_options``. Directories are relative to the file.

    Returns
    -------
    tuple
        The sources, and the settings as `Settings.of` takes them.

    Raises
    ------
    OptionError
        If it cannot be read, or something in it is wrong.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
        content: Any = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise OptionError(f"the sources file {file} cannot be read: {error}") from error
    settings = {} if isinstance(content, list) else dict(content) if isinstance(content, dict) else None
    if settings is None:
        raise OptionError(f"the sources file {file} holds neither a list nor an object")
    rows = content if isinstance(content, list) else settings.pop("source", settings.pop("sources", []))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise OptionError(f"the sources in {file} are no list of objects")
    return distinct(_source(row, file) for row in rows), settings


def _source(row: Mapping[str, Any], file: Path) -> Source:
    name = row.get("name")
    where = f"source {name!r} in {file}"
    unknown = sorted(set(row) - set(_MEMBERS))
    if unknown:
        raise OptionError(f"{where}: there is no member {unknown[0]!r}; known: {', '.join(_MEMBERS)}")
    places = [row[key] for key in ("directory", "url") if row.get(key) is not None]
    if not isinstance(name, str) or len(places) != 1 or not isinstance(places[0], str):
        raise OptionError(f"{where} needs a name, and either a directory or a url")
    for key in ("at", "storage_options"):
        if not isinstance(row.get(key, {}), dict):
            raise OptionError(f"{where}: {key} is no object")
    if not isinstance(row.get("format"), str | None):
        raise OptionError(f"{where}: format is no text")
    place = str(file.parent.resolve() / places[0]) if row.get("directory") is not None else places[0]
    return Source(name, place, row.get("format"), row.get("at"), row.get("storage_options"))
