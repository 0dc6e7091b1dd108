"""What users see of a volume's disk cache: ``vol.cache``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volumekit.cache.mirror import Mirror, Stats
from volumekit.cache.options import Cache, folder_of
from volumekit.engine.array import Progress
from volumekit.engine.drive import Unit, overlap, run
from volumekit.engine.mirrored import MirroredArray
from volumekit.errors import OptionError
from volumekit.model.bbox import Bbox
from volumekit.model.level import Level
from volumekit.storage.base import then
from volumekit.volume.progress import progress_bar

if TYPE_CHECKING:
    from volumekit.cache.index import Entry
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
        volume = self._volume
        old = volume._options.cache
        cache = old if value is True and old is not None else Cache.of(value)
        volume._options = replace(volume._options, cache=cache)
        volume._forget()

    @property
    def path(self) -> str:
        """The folder of this dataset in the cache directory; it opens as a volume by itself."""
        cache = self._volume._options.cache or Cache()
        return str(Path(cache.directory) / folder_of(self._volume._url, self._volume._store))

    def _mirror(self) -> Mirror:
        volume = self._volume
        found = volume._mirror()
        if found is None:
            found = Mirror(Cache(), folder_of(volume._url, volume._store))
        return found

    def _entries(self, mip: Any, *, all_mips: bool) -> dict[str, Entry]:
        mirror, volume = self._mirror(), self._volume
        mips = volume.available_mips if all_mips else [volume.mip if mip is None else volume.to_mip(mip)]
        found: dict[str, Entry] = {}
        for number in mips:
            level = volume.levels[number]
            prefix = volume._format.flat().prefix(level)
            found.update(mirror.entries("" if prefix is None else prefix))
        return found

    def list(self, mip: Any = None, *, all_mips: bool = False) -> list[str]:
        """Return the keys of the chunks in the cache.

        Parameters
        ----------
        mip : int or sequence of float, optional
            Default: the current one.
        all_mips : bool
            Of all mips.
        """
        return sorted(self._entries(mip, all_mips=all_mips))

    def num_files(self, mip: Any = None, *, all_mips: bool = False) -> int:
        """Return the number of chunks in the cache; parameters as for `list`."""
        return len(self._entries(mip, all_mips=all_mips))

    def num_bytes(self, mip: Any = None, *, all_mips: bool = False) -> int:
        """Return the bytes of the chunks in the cache; parameters as for `list`."""
        return sum(entry.size for entry in self._entries(mip, all_mips=all_mips).values())

    def stats(self) -> Stats:
        """Return how many chunks and bytes came from the cache and from the storage, since the volume was opened."""
        return self._mirror().stats

    def flush(self, preserve: Any = None) -> None:
        """Remove all chunks of this dataset from the cache.

        Parameters
        ----------
        preserve : Bbox or slices, optional
            Chunks that touch this box are kept, at every mip. In voxels of mip 0, or with a unit.
        """
        kept = set() if preserve is None else set(self._touching(preserve, self._volume.available_mips))
        mirror = self._mirror()
        mirror.forget(key for key in mirror.entries() if key not in kept)

    def flush_region(self, region: Any, mips: Sequence[Any] | None = None) -> None:
        """Remove the chunks that touch a box from the cache.

        Parameters
        ----------
        region : Bbox or slices
            In voxels of mip 0, or with a unit.
        mips : sequence of int or of voxel sizes, optional
            At which mips; default: all.
        """
        volume = self._volume
        numbers = volume.available_mips if mips is None else [volume.to_mip(mip) for mip in mips]
        mirror = self._mirror()
        mirror.settle()
        mirror.forget(self._touching(region, numbers))

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
            If the cache is not enabled.
        PermissionDeniedError, StorageError
            If a chunk cannot be fetched.
        """
        volume = self._volume
        number = volume.mip if mip is None else volume.to_mip(mip)
        array = volume.array(number)
        if not isinstance(array, MirroredArray):
            raise OptionError("the cache is not enabled; open the volume with cache=True", url=volume.cloudpath)
        chosen = volume._grid_box(box, array.level)
        wanted = volume.progress if progress is None else progress
        with progress_bar(_nbytes(chosen, array.level), "Fetching", wanted) as report:
            x, y, z = array.level.chunk[:3]
            share = _nbytes(Bbox((0, 0, 0), (x, y, z)), array.level)
            run(overlap((_fetch(array, key, share, report) for key in array.keys(chosen)), depth=_IN_FLIGHT))
        self._mirror().settle()

    def __repr__(self) -> str:
        if not self.enabled:
            return "VolumeCache(not enabled)"
        count, size = self.num_files(all_mips=True), self.num_bytes(all_mips=True)
        return f"VolumeCache({count:,} chunks, {size / 1e6:,.1f} MB, {self.path!r})"


def _fetch(array: MirroredArray, key: str, nbytes: int, report: Progress | None) -> Unit[None]:
    yield then(array.objects.read(key), lambda value: None)
    if report is not None:
        report(nbytes)


def _nbytes(box: Bbox, level: Level) -> int:
    return int(box.volume()) * level.channels * level.dtype.itemsize
