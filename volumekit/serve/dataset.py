"""A dataset that is served: opened, confined to its place, shown in two formats, and noticed when it changes."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from volumekit.errors import OptionError, UnsupportedError, VolumekitError
from volumekit.serve.answer import PNG, Answer, Document, Headers, not_found
from volumekit.serve.objects import Objects
from volumekit.serve.precomputed import PrecomputedView
from volumekit.serve.sources import Source
from volumekit.serve.zarr import METADATA, ZarrView
from volumekit.storage.confined import ConfinedStore
from volumekit.storage.kvstore import FileStore
from volumekit.volume.foreign import check_own

if TYPE_CHECKING:
    from volumekit.volume.volume import Volume

RECHECK = 5.0
"""Seconds after which the metadata are looked at again when somebody asks for them."""


class Dataset:
    """A dataset under its name.

    Parameters
    ----------
    source : Source
        What to serve.
    executor : Executor
        Threads that decode.

    Raises
    ------
    OptionError
        If it cannot be opened; names the source.
    """

    def __init__(self, source: Source, executor: Executor) -> None:
        self.source, self.name, self._executor = source, source.name, executor
        self._lock = asyncio.Lock()
        self._show(_opened(source))

    def _show(self, volume: Volume) -> None:
        self.volume = volume
        objects = Objects(volume._store, self._executor)
        self.precomputed = PrecomputedView(volume, objects, self._executor, kind=self.source.kind)
        self.zarr = ZarrView(volume, objects, self._executor)
        self._thumbnail: Document | None = None
        self._checked = time.monotonic()

    def take(self, volume: Volume) -> bool:
        """Show an open volume as it is now, if it is the one that is shown here; tell whether it is."""
        shown = self.source.volume
        if shown is None or shown != volume or shown._options != volume._options:
            return False
        self._show(confined(volume))
        return True

    async def answer(self, key: str, headers: Headers, *, head: bool = False) -> Answer:
        """Return what is at a path below ``/NAME/``."""
        if key == "info":
            await self.refresh()
        return await self.precomputed.answer(key, headers, head=head)

    async def zarr_answer(self, key: str, headers: Headers, *, head: bool = False) -> Answer:
        """Return what is at a path below ``/NAME.zarr/``."""
        if key == METADATA:
            await self.refresh()
        return await self.zarr.answer(key, headers, head=head)

    async def refresh(self) -> None:
        """Read the metadata again if that was not done lately; volumes that were given open stay as they are."""
        if self.source.volume is not None or time.monotonic() - self._checked < RECHECK:
            return
        async with self._lock:
            if time.monotonic() - self._checked >= RECHECK:
                await asyncio.get_running_loop().run_in_executor(self._executor, self._reread)

    def _reread(self) -> None:
        before = self.volume._format.metadata()
        twin = self.volume._snapshot()
        twin.refresh_info()
        if twin._format.metadata() == before:
            self._checked = time.monotonic()
        else:
            self._show(twin)

    async def thumbnail(self, headers: Headers) -> Answer:
        """Return a small picture; "not found" where none is to be had cheaply."""
        if self._thumbnail is None:
            self._thumbnail = await asyncio.get_running_loop().run_in_executor(self._executor, _picture, self.volume)
        return self._thumbnail.answer(headers) if self._thumbnail.body else not_found()


def _opened(source: Source) -> Volume:
    volume = confined(source.open())
    if source.volume is None and isinstance(volume._store, ConfinedStore):
        try:
            volume.refresh_info()
        except (VolumekitError, OSError) as error:
            raise OptionError(f"source {source.name!r}: {error}; links that lead out of it are not followed") from error
    try:
        check_own(volume)
    except UnsupportedError as error:
        raise OptionError(f"source {source.name!r}: {error}") from error
    return volume


def confined(volume: Volume) -> Volume:
    """Return a volume that reads nothing outside its directory, and is left alone by changes to the one given."""
    twin = volume._snapshot()
    store = twin._store
    if isinstance(store, FileStore):
        twin._store = ConfinedStore(store)
        twin._forget()
    return twin


def _picture(volume: Volume) -> Document:
    from volumekit.picture.image import png_bytes
    from volumekit.volume.card import thumbnail

    picture = thumbnail(volume)
    return Document(b"" if picture is None else png_bytes(picture), PNG)
