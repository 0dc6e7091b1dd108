"""What all parts of a `Volume` stand on: its place, its options, and its opened levels."""

from __future__ import annotations

import contextlib
import marshal
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from volumekit.cache.mirror import Mirror
from volumekit.cache.options import Cache, folder_of
from volumekit.engine.array import LevelArray
from volumekit.engine.mirrored import MirroredArray, is_mirrored
from volumekit.engine.options import IOOptions
from volumekit.errors import MetadataError, OptionError, ReadOnlyError, ScaleUnavailableError
from volumekit.formats.base import Format
from volumekit.formats.precomputed import Precomputed
from volumekit.model.level import Level
from volumekit.model.plain import plain
from volumekit.model.url import URL
from volumekit.storage.base import Store
from volumekit.storage.headers import cache_control
from volumekit.volume.cutout import Source


@dataclass(frozen=True)
class Options:
    """How a volume was opened; what `Volume` takes as keywords."""

    bounded: bool = True
    fill_missing: bool | None = None
    autocrop: bool = False
    progress: bool | None = None
    compress: str | bool | None = None
    non_aligned_writes: bool = False
    parallel: int | bool = True
    background_color: int | float | None = None
    delete_black_uploads: bool = False
    lru_bytes: int = 0
    durable: bool = False
    cache: Cache | None = None
    cdn_cache: bool | int | str | None = None
    compress_level: int | None = None
    storage_options: Mapping[str, Any] | None = field(default=None, hash=False)
    at: Mapping[str, int | str] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        for name in ("compress_level", "parallel", "lru_bytes", "background_color", "cdn_cache"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        _check_level(compression(self.compress), self.compress_level)
        threads(self.parallel)
        cache_control(self.cdn_cache)
        _count("lru_bytes", self.lru_bytes)
        if self.at is not None:
            object.__setattr__(self, "at", choices(self.at))


def compression(compress: str | bool | None) -> str | bool | None:
    """Return the compression method of an option's value.

    Raises
    ------
    OptionError
        If there is no such method.
    """
    from volumekit.codecs.compression import SUFFIXES

    if compress is True:
        return "gzip"
    if compress is None or compress is False or (isinstance(compress, str) and compress in SUFFIXES):
        return compress
    if isinstance(compress, str) and compress in ("", "none"):
        return False
    raise OptionError(f"compress is {compress!r}; it is True, False, None or one of {', '.join(SUFFIXES)}")


def _check_level(method: str | bool | None, level: int | None) -> None:
    """Refuse a level that is on no scale where it might be used: the method's, or any if chunks say which."""
    from volumekit.codecs.compression import SUFFIXES, level_of

    if isinstance(method, str):
        level_of(method, level)
    elif level is not None and (type(level) is not int or level not in range(23)):
        raise OptionError(f"compress_level is {level!r}; it is a level of {', '.join(SUFFIXES)}: see compress")


def threads(parallel: int | bool) -> int | None:
    """Return how many threads decode: None for one per core.

    Raises
    ------
    OptionError
        If it is no whole number, or negative.
    """
    if parallel is True:
        return None
    return 1 if parallel is False else _count("parallel", parallel) or None


def choices(at: Any) -> dict[str, int | str]:
    """Return positions on further axes, and parts of a dataset, as plain values.

    Raises
    ------
    OptionError
        If these are none.
    """
    if not isinstance(at, Mapping) or not all(isinstance(name, str) for name in at):
        raise OptionError(f"at is {at!r}; it is a mapping of names to positions, such as {{'t': 3}}")
    found: dict[str, int | str] = {}
    for name, value in at.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer | str):
            raise OptionError(f"at {name} is {value!r}; it is a whole number or a name")
        found[name] = value if isinstance(value, str) else int(value)
    return found


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise OptionError(f"{name} is {value!r}; it is a whole number, not below zero")
    return int(value)


def _option(name: str, text: str) -> Any:
    """Return a property that reads and assigns one of a volume's `Options`."""

    def tell(self: State) -> Any:
        return getattr(self._options, name)

    def assign(self: State, value: Any) -> None:
        change: dict[str, Any] = {name: compression(value) if name == "compress" else value}
        self._options = replace(self._options, **change)
        self._forget()

    return property(tell, assign, doc=text)


class State:
    """Place, options and opened levels of a volume."""

    bounded = _option("bounded", "Whether reading outside the bounds is an error.")
    autocrop = _option("autocrop", "Whether boxes are cut at the bounds, if the volume is not bounded.")
    fill_missing = _option("fill_missing", "Whether missing chunks read as background; None: the format's rule.")
    parallel = _option("parallel", "How many threads decode; True: one per core.")
    progress = _option("progress", "Whether to show progress bars; None: in interactive sessions.")
    compress = _option("compress", "Compression of chunks written; None: as each chunk is already stored.")
    compress_level = _option("compress_level", "Its level, on the method's own scale.")
    non_aligned_writes = _option("non_aligned_writes", "Whether boxes off the chunk grid may be written.")
    delete_black_uploads = _option("delete_black_uploads", "Whether chunks of background are deleted.")

    @property
    def at(self) -> Mapping[str, int | str] | None:
        """What was chosen of further axes and of the dataset's parts."""
        return self._options.at

    @property
    def background_color(self) -> int | float:
        """What missing chunks and the outside hold; None, assigned, is the format's own value."""
        color = self._options.background_color
        return self._level().fill if color is None else color

    @background_color.setter
    def background_color(self, value: int | float | None) -> None:
        self._options = replace(self._options, background_color=value)
        self._forget()

    _url: URL
    _store: Store
    _format: Format
    _options: Options
    _mip: int
    _redirected: bool
    _parsed: Any
    _draft: bool = False
    _copy: Mirror | None = None
    _last_cache: Cache | None = None

    @property
    def levels(self) -> tuple[Level, ...]:
        """All levels, finest first, as this library sees them."""
        self._refresh_levels()
        return self._format.levels

    def _refresh_levels(self) -> None:
        """Notice edits of the live `info`."""
        if not isinstance(self._format, Precomputed):
            return
        now = _fingerprint(self._format.info)
        if now != self._parsed:
            self._format.reparse()
            self._parsed = now
            self._forget()

    def _forget(self) -> None:
        self._arrays: dict[tuple[int, bool | None], LevelArray] = {}
        self._sources: dict[int, Source] = {}

    def _level(self, mip: int | None = None) -> Level:
        """Return a level that is at least known in all but its chunks."""
        number, levels = self._mip if mip is None else mip, self.levels
        if number >= len(levels):
            raise ScaleUnavailableError(f"mip {number} was removed from the info", url=str(self._url))
        level = levels[number]
        if not level.placed:
            raise MetadataError(f"mip {number} cannot be opened: {level.error}", url=str(self._url), key=level.key)
        return level

    def array(self, mip: int | None = None, *, fill_missing: bool | None = None) -> LevelArray:
        """Return one level as the engine sees it.

        Parameters
        ----------
        mip : int, optional
            Default: the current one.
        fill_missing : bool, optional
            Overrides the volume's own setting.
        """
        self._refresh_levels()
        key = (self._mip if mip is None else mip, fill_missing)
        found = self._arrays.get(key)
        if found is None:
            level = self._level(key[0])
            found = LevelArray(self._store, self._format, level, self._io_options(level, fill_missing))
            mirror = self._mirror()
            if mirror is not None and is_mirrored(found):
                found = MirroredArray(found, mirror)
            self._arrays[key] = found
        return found

    def _mirror(self) -> Mirror | None:
        """Return the disk cache of this dataset, if there is to be one; it is made when it is first needed."""
        cache = self._options.cache
        if cache is None:
            return None
        folder = folder_of(self._url, self._store.endpoint)
        if self._copy is None or (self._copy.cache, self._copy.folder) != (cache, folder):
            self._copy = Mirror(cache, folder)
        self._copy.describe(self._format.flat().metadata())
        return self._copy

    def _io_options(self, level: Level, fill_missing: bool | None) -> IOOptions:
        options = self._options
        fill = options.fill_missing if fill_missing is None else fill_missing
        method = compression(options.compress)
        return IOOptions(
            fill_missing=level.fill_missing if fill is None else fill,
            background=_background(
                level.fill if options.background_color is None else options.background_color, level.dtype
            ),
            delete_black=options.delete_black_uploads,
            compress=None if method is None else method or False,  # type: ignore[arg-type]
            compress_level=options.compress_level,
            cdn_cache=options.cdn_cache,
            durable=options.durable,
            threads=threads(options.parallel),
            lru_bytes=int(options.lru_bytes),
        )

    def _check_writable(self, level: Level) -> None:
        """Raise unless this level may be written.

        Raises
        ------
        ReadOnlyError
            For read-only storages and formats, redirected volumes and locked mips.
        """
        if not self._store.writable or not self._format.writable:
            raise ReadOnlyError("this kind of dataset can only be read; convert it first", url=str(self._url))
        if self._redirected:
            raise ReadOnlyError("this volume was reached by a redirect; open its target to write", url=str(self._url))
        if level.locked:
            raise ReadOnlyError(f"mip {level.key} {level.locked}", url=str(self._url), key=level.key)

    def _source(self, mip: int) -> Source:
        found = self._sources.get(mip)
        if found is None:
            url = self._url
            found = Source(
                str(url), url.base.name, url.name, self._layer_type(), mip, self._format.levels[mip].resolution
            )
            self._sources[mip] = found
        return found

    def _layer_type(self) -> str:
        return self._format.layer_type


def _fingerprint(info: Any) -> bytes:
    try:
        return marshal.dumps(info, 2)
    except ValueError:  # NumPy values in it
        return pickle.dumps(info)


def _background(color: float, dtype: np.dtype[Any]) -> int | float:
    """Return the background as a Python number of this data type.

    Raises
    ------
    OptionError
        If the data type cannot hold it.
    """
    same, value = False, np.zeros((), dtype)
    if isinstance(color, int | float | np.integer | np.floating):
        with contextlib.suppress(OverflowError), np.errstate(all="ignore"):
            value = np.array(color).astype(dtype)
            rounded = dtype.kind == "f" and (np.isfinite(value) or not math.isfinite(color))
            same = bool(rounded or value.item() == color)
    if not same:
        raise OptionError(f"background_color {color!r} is no {dtype} value")
    number: int | float = value.item()
    return number
