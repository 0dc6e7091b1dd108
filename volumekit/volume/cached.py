"""What users see of a volume's disk cache: ``vol.cache``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volumekit.cache.mirror import Mirror, Stats
from volumekit.cache.options import Cache, folder_of
from volumekit.cache.repair import exists
from volumekit.cache.store import CachedStore
from volumekit.engine.array import Progress
from volumekit.engine.drive import Unit, overlap, run
from volumekit.engine.mirrored import MirroredArray
from volumekit.errors import OptionError
from volumekit.model.bbox import Bbox
from volumekit.model.level import Level
from volumekit.volume.progress import progress_bar

if TYPE_CHECKING:
    from volumekit.cache.entry import Entry
    from volumekit.volume.volume import Volume

_IN_FLIGHT = 64


class VolumeCache:
    """The disk cache of a volume.

    Parameters
    ----------
    volume : Volume
        The volume.
    """

    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    @property
    def enabled(self) -> bool:
        """Whether what is read is kept on the disk; assign True, False, a directory or a `volumekit.Cache`."""
        return self._volume._options.cache is not None

    @enabled.setter
    def enabled(self, value: Any) -> None:
        volume, chosen = self._volume, self._chosen
        cache = chosen if value is True else Cache.of(value)
        volume._options, volume._last_cache = replace(volume._options, cache=cache), cache or chosen
        volume._forget()

    @property
    def _chosen(self) -> Cache:
        """The cache that is enabled, or was, or would be."""
        return self._volume._options.cache or self._volume._last_cache or Cache()

    @property
    def _folder(self) -> str:
        return folder_of(self._volume._url, self._volume._store.endpoint)

    @property
    def path(self) -> str:
        """The folder of this dataset in the cache directory; it opens as a volume by itself."""
        return str(Path(self._chosen.directory) / self._folder)

    def _mirror(self) -> Mirror | None:
        """Return the mirror, also if it is not enabled, unless there is none."""
        found = self._volume._mirror()
        with contextlib.suppress(OSError):
            if found is None and exists(self._chosen.directory):
                return Mirror(self._chosen, self._folder)
        return found

    def _held(self, mip: Any, *, all_mips: bool) -> list[dict[str, Entry]]:
        """Return what is there, mip by mip, by the name in the level's folder."""
        mirror, volume = self._mirror(), self._volume
        numbers = volume.available_mips if all_mips else [volume.mip if mip is None else volume.to_mip(mip)]
        held: list[dict[str, Entry]] = []
        for number in numbers:
            prefix = volume._format.flat().prefix(volume.levels[number]) or ""
            entries = {} if mirror is None else mirror.entries(prefix)
            held.append({key.removeprefix(prefix): entry for key, entry in entries.items()})
        return held

    def list(self, mip: Any = None, *, all_mips: bool = False) -> list[Any]:
        """Return the names of the chunks in the cache, within the folder of the mip.

        Parameters
        ----------
        mip : int or sequence of float, optional
            Default: the current one.
        all_mips : bool
            Return a list for each mip.

        Returns
        -------
        list of str, or list of list of str
        """
        names = [sorted(held) for held in self._held(mip, all_mips=all_mips)]
        return names if all_mips else names[0]

    def num_files(self, mip: Any = None, *, all_mips: bool = False) -> Any:
        """Return the number of chunks in the cache, an int; with ``all_mips`` a list of them, one for each mip."""
        numbers = [len(held) for held in self._held(mip, all_mips=all_mips)]
        return numbers if all_mips else numbers[0]

    def num_bytes(self, mip: Any = None, *, all_mips: bool = False) -> Any:
        """Return the bytes of the chunks in the cache, an int; with ``all_mips`` a list of them, one for each mip."""
        sizes = [sum(entry.size for entry in held.values()) for held in self._held(mip, all_mips=all_mips)]
        return sizes if all_mips else sizes[0]

    def stats(self) -> Stats:
        """Return how many chunks and bytes came from the cache and from the storage, since the volume was opened."""
        mirror = self._volume._mirror()
        return Stats() if mirror is None else mirror.stats

    def flush(self, preserve: Any = None) -> None:
        """Remove all chunks of this dataset from the cache.

        Parameters
        ----------
        preserve : Bbox or slices, optional
            Chunks that touch this box are kept, at every mip. In voxels of mip 0, or with a unit.
        """
        mirror = self._mirror()
        if mirror is not None:
            kept = set() if preserve is None else set(self._touching(preserve, self._volume.available_mips))
            mirror.forget(key for key in mirror.noted() if key not in kept)

    def flush_region(self, region: Any, mips: Sequence[Any] | None = None) -> None:
        """Remove the chunks that touch a box from the cache.

        Parameters
        ----------
        region : Bbox or slices
            In voxels of mip 0, or with a unit.
        mips : sequence of int or of voxel sizes, optional
            At which mips; default: the current one.
        """
        volume, mirror = self._volume, self._mirror()
        numbers = [volume.mip] if mips is None else [volume.to_mip(mip) for mip in mips]
        if mirror is not None:
            noted = mirror.noted()
            mirror.forget(key for key in self._touching(region, numbers) if key in noted)

    def _touching(self, box: Any, mips: Sequence[int]) -> Iterator[str]:
        volume = self._volume
        whole = Bbox.create(box, context=volume.mip_bounds(0))
        for mip in mips:
            if volume.levels[mip].error is None:
                yield from volume.array(mip).keys(volume.bbox_to_mip(whole, 0, mip))

    def prefetch(self, box: Any = (), mip: Any = None, *, progress: bool | None = None) -> None:
        """Bring the chunks of a box into the cache, without decoding them.

        Parameters
        ----------
        box : Bbox or slices, optional
            In voxels of the mip; default: all of it.
        mip : int or sequence of float, optional
            Default: the current one.
        progress : bool, optional
            Whether to show a progress bar; None: as the volume does.

        Raises
        ------
        OptionError
            If the cache is not enabled, or nothing of this kind of dataset can be kept.
        PermissionDeniedError, StorageError
            If a chunk cannot be fetched.
        """
        volume = self._volume
        number = volume.mip if mip is None else volume.to_mip(mip)
        array = volume.array(number)
        if not self.enabled:
            raise OptionError("the cache is not enabled; open the volume with cache=True", url=volume.cloudpath)
        if not isinstance(array, MirroredArray):
            raise OptionError("the chunks of these data cannot be kept apart from their files", url=volume.cloudpath)
        chosen = volume._grid_box(box, array.level)
        wanted = volume.progress if progress is None else progress
        with progress_bar(_nbytes(chosen, array.level), "Fetching", wanted) as report:
            x, y, z = array.level.chunk[:3]
            share = _nbytes(Bbox((0, 0, 0), (x, y, z)), array.level)
            run(overlap((_bring(array.objects, key, share, report) for key in array.keys(chosen)), depth=_IN_FLIGHT))
        if (mirror := self._mirror()) is not None:
            mirror.settled().result()

    def __repr__(self) -> str:
        if not self.enabled:
            return "VolumeCache(not enabled)"
        count, size = sum(self.num_files(all_mips=True)), sum(self.num_bytes(all_mips=True))
        return f"VolumeCache({count:,} chunks, {size / 1e6:,.1f} MB, {self.path!r})"


def _bring(objects: CachedStore, key: str, nbytes: int, report: Progress | None) -> Unit[None]:
    yield objects.bring(key)
    if report is not None:
        report(nbytes)


def _nbytes(box: Bbox, level: Level) -> int:
    return int(box.volume()) * level.channels * level.dtype.itemsize
