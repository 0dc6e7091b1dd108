"""Chunks that are not what the metadata beside them say: folders of precomputed-tif."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from volumekit.errors import UnsupportedError, VolumekitError
from volumekit.formats.precomputed import Precomputed
from volumekit.formats.precomputed.lookalikes import lookalikes
from volumekit.storage.base import Store

if TYPE_CHECKING:
    from volumekit.volume.volume import Volume


def check_own(volume: Volume) -> None:
    """Refuse a volume whose info file says that chunks are raw and whose chunks are files of another format.

    All of its chunks would be missing; where missing chunks are filled it would be empty. It takes four requests.

    Raises
    ------
    UnsupportedError
        Names the format.
    """
    if not isinstance(volume._format, Precomputed):
        return
    chunk, names = lookalikes(volume._format)
    there = _present(volume._store, [chunk, *names]) if names else set()
    for key in () if chunk in there else there:
        raise UnsupportedError(
            f"the info file of {volume.cloudpath} says that chunks are raw, but {key} is precomputed-tif's format "
            f"{names[key]!r}, which this version cannot read; convert the images it was made from",
            url=volume.cloudpath,
            key=key,
        )


def _present(store: Store, keys: Iterable[str]) -> set[str]:
    """Return those of some keys that are there, none where that is not told: some storages refuse what they lack."""
    asked = {key: store.read(key, 0, 0) for key in keys}
    try:
        return {key for key, found in asked.items() if found.result() is not None}
    except VolumekitError:
        return set()
