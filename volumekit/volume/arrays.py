"""A volume as the array of other libraries: dask, xarray, zarr."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from volumekit.engine import changes
from volumekit.formats.precomputed import Precomputed
from volumekit.registry import load
from volumekit.volume.reading import Reading
from volumekit.volume.zero_based import ZeroBased

if TYPE_CHECKING:
    import dask.array
    import xarray
    import zarr.abc.store

    from volumekit.volume.volume import Volume


class Arrays(Reading):
    """How other array libraries get at a volume."""

    def to_dask(self, *, chunks: Any = "auto") -> dask.array.Array:
        """Return the current mip as a dask array that reads when it is computed.

        Parameters
        ----------
        chunks : "auto", int, str or tuple
            Size of dask's blocks, (x, y, z) or (x, y, z, channel), in any way that `dask.array` understands. "auto"
            and sizes in bytes give whole chunks of the volume, so that none is read twice; blocks that cut through
            chunks read them more than once. "auto" stays within dask's ``array.chunk-size``.

        Returns
        -------
        dask.array.Array
            (x, y, z, channel), indexed from 0: position 0 is the lowest voxel of the bounds. Its name is the same
            whenever the same data are asked for in the same way, and another one after this process has written
            to the volume. It keeps the volume's memory order through slicing and computing.

        Raises
        ------
        MissingExtraError
            If dask is not installed.
        OptionError
            If ``chunks`` are impossible.

        Notes
        -----
        Works with threads, with processes that were spawned, and with `distributed`. Later changes of this volume's mip
        or options do not reach the array.

        Examples
        --------
        >>> array = Volume("data/brain").to_dask()  # doctest: +SKIP
        >>> array[:100].mean().compute()  # doctest: +SKIP
        """
        made: dask.array.Array = load("volumekit.volume.dask:as_dask[dask]")(ZeroBased(self._snapshot()), chunks)
        return made

    def to_xarray(self, *, chunks: Any = "auto", unit: str = "nm") -> xarray.DataArray:
        """Return the current mip as a labelled array that reads when its values are asked for.

        Parameters
        ----------
        chunks : "auto", int, str, tuple or None
            Blocks as for `to_dask`. None: without dask. "auto" does without where dask is not installed.
        unit : {"nm", "um", "mm", "m", "vx"}
            Unit of the coordinates; "vx": the numbers of the global voxels.

        Returns
        -------
        xarray.DataArray
            Dimensions x, y, z and channel. The coordinates along x, y and z are the centres of the voxels: global voxel
            n lies at (n + 0.5) times the voxel size. Each has an attribute ``units``.

        Raises
        ------
        MissingExtraError
            If xarray is not installed.
        OptionError
            If an option is impossible.
        """
        made: xarray.DataArray = load("volumekit.volume.xarray:as_xarray[dask]")(
            ZeroBased(self._snapshot()), chunks, unit
        )
        return made

    def to_zarr_store(self, *, multiscale: bool = False) -> zarr.abc.store.Store:
        """Return a read-only zarr v3 store that holds this volume, so that whatever reads zarr stores reads it.

        Nothing is converted: each zarr chunk is one chunk of the volume, decoded when it is asked for.

        Parameters
        ----------
        multiscale : bool
            Whether the store is an OME-Zarr 0.5 group with the mips as ``0``, ``1``, …; else it is one array at the
            root, the current mip.

        Returns
        -------
        zarr.abc.store.Store
            Arrays are (z, y, x), or (channel, z, y, x) where there are several channels, and start at the lowest
            voxel of the bounds; attributes tell where that is. Chunks that are not stored are what they are for the
            volume, by its ``fill_missing``: errors, or absent, which zarr reads as ``background_color``.

        Raises
        ------
        MissingExtraError
            If zarr is not installed.

        Examples
        --------
        >>> zarr.open(Volume("data/brain").to_zarr_store())[10:20, :100, :100]  # doctest: +SKIP
        """
        made: zarr.abc.store.Store = load("volumekit.volume.zarrstore:VolumeStore[zarr]")(
            self._snapshot(), multiscale=multiscale
        )
        return made

    def __dask_tokenize__(self) -> Any:
        """Tell what the voxels of the current mip depend on, as far as this process knows."""
        options = self._options
        chosen = sorted((options.at or {}).items())
        how = (options.fill_missing, options.background_color, options.bounded, options.autocrop, chosen)
        return type(self).__name__, str(self._url), repr(self._level()), how, changes.last(self._store.url)

    def _snapshot(self) -> Volume:
        """Return this volume as it is now, bounded and quiet; nothing is read."""
        twin: Any = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        if isinstance(self._format, Precomputed):
            twin._format = Precomputed(copy.deepcopy(self._format.info))
        twin._options = replace(self._options, bounded=True, autocrop=False, progress=False)
        twin._parsed = None
        twin._forget()
        whole: Volume = twin
        return whole
