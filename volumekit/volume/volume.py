"""`Volume`: one NumPy-sliceable object for every dataset."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from volumekit.cache.options import Cache
from volumekit.codecs import get_codec
from volumekit.engine.objects import clear
from volumekit.errors import OptionError, ShapeError, UnsupportedError, without_passwords
from volumekit.formats.base import Format
from volumekit.formats.precomputed import Precomputed
from volumekit.model.provenance import Provenance
from volumekit.model.url import URL
from volumekit.storage import open_store
from volumekit.storage.base import Store
from volumekit.volume.arrays import Arrays
from volumekit.volume.cached import VolumeCache
from volumekit.volume.create import Description, describe, new_format, refuse, storable
from volumekit.volume.download import Download
from volumekit.volume.metadata import Metadata
from volumekit.volume.pipelines import Pipelines
from volumekit.volume.places import place_of
from volumekit.volume.showing import Showing
from volumekit.volume.source import open_source, resolve
from volumekit.volume.state import Options, compression
from volumekit.volume.stored import Stored


class Volume(Stored, Metadata, Arrays, Download, Showing, Pipelines):
    """A volumetric dataset that is read and written like a NumPy array.

    Parameters
    ----------
    url : str or os.PathLike
        Where it is: a path, or a URL of any storage; a format may stand in front (``precomputed://…``) or behind
        (``…|neuroglancer-precomputed:``), else the data itself tells.
    mip : int or sequence of float
        Level, by number or by voxel size in nm.
    bounded : bool
        Whether reading outside the bounds is an error; else the outside is ``background_color``.
    fill_missing : bool, optional
        Whether chunks that are not stored read as ``background_color``. None: the format's own rule, which for
        precomputed is an error.
    autocrop : bool
        With ``bounded=False``: cut boxes at the bounds.
    cache : bool, path or Cache
        Whether to keep what is read on the disk: True for the usual place, a directory, or a `volumekit.Cache`.
    cache_revalidate : {"open", "always", "never"} or float, optional
        When what is in the cache is compared with the storage; see `volumekit.Cache`.
    cdn_cache : bool, int or str
        How long browsers and networks may keep copies of what is written to an object store: True: an hour; seconds;
        or a Cache-Control header. False: chunks say nothing of it, and metadata that it is to be asked for each time.
    progress : bool, optional
        Whether to show progress bars. None: in interactive sessions, for what takes a while.
    info : dict or Format, optional
        Info of a new dataset, as from `create_new_info`, or its format, as from `create_ome_zarr`; nothing is read.
        `commit_info` stores it.
    provenance : dict or str, optional
        Provenance of a new dataset.
    compress : str or bool, optional
        Compression of chunks written: ``"gzip"`` (or True), ``"br"``, ``"zstd"``, ``"xz"``, ``"bz2"``, False for
        none. None: as a chunk is already stored; new chunks are not compressed, so that any web server and viewer
        reads the files. Writers that work on one level at the same time must use the same setting. Local files get a
        suffix (``.gz``); objects of S3 and Google Storage a Content-Encoding, of gzip, br or zstd.
    compress_level : int, optional
        Its level, on the method's own scale.
    non_aligned_writes : bool
        Whether boxes off the chunk grid may be written; the voxels around them are kept, also across processes.
    parallel : int or bool
        How many threads decode; True: one per core. No processes are started.
    at : dict, optional
        Positions on axes beyond x, y, z and channel, such as ``{"t": 3}``, 0 by default; and parts of a dataset, such
        as ``{"label": "cells"}``. See `axes`.
    format : str, optional
        Name of the format; overrides the URL's.
    background_color : int or float, optional
        What missing chunks and the outside hold. None: what the format says, which for precomputed is 0.
    delete_black_uploads : bool
        Whether chunks that are all background are deleted instead of stored.
    lru_bytes : int
        Size of a memory cache of decoded chunks; they are checked against the storage when used again.
    durable : bool
        Whether writes count as done only once they are on the disk.
    secrets : dict, str or os.PathLike, optional
        Credentials for s3, gs or http: a dictionary, the path of a JSON file, or a token. None: those of the
        environment, of secrets files and of the account, then without. They travel with a pickled volume.
    storage_options : dict, optional
        Settings of the storage: ``docs/storage.md`` lists them.

    Raises
    ------
    InvalidURLError, UnknownProtocolError, MissingExtraError, DatasetNotFoundError, PermissionDeniedError
        If it cannot be opened; each says what to do.
    MetadataError
        If its metadata is damaged, or that of the ``mip`` asked for; where mip 0 is, the others can be opened.
    ScaleUnavailableError
        If there is no such mip.

    Examples
    --------
    >>> vol = Volume("data/brain")  # doctest: +SKIP
    >>> vol[100:200, 50:150, 7].shape  # doctest: +SKIP
    (100, 100, 1)
    """

    def __init__(
        self,
        url: Any,
        mip: Any = 0,
        *,
        bounded: bool = True,
        fill_missing: bool | None = None,
        autocrop: bool = False,
        cache: Any = False,
        cache_revalidate: str | float | None = None,
        cdn_cache: Any = False,
        progress: bool | None = None,
        info: Mapping[str, Any] | Format | None = None,
        provenance: Any = None,
        compress: str | bool | None = None,
        compress_level: int | None = None,
        non_aligned_writes: bool = False,
        parallel: int | bool = True,
        at: Mapping[str, int | str] | None = None,
        format: str | None = None,  # noqa: A002 - the field's word
        background_color: int | float | None = None,
        delete_black_uploads: bool = False,
        lru_bytes: int = 0,
        durable: bool = False,
        secrets: Any = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._options = Options(
            bounded=bounded,
            fill_missing=fill_missing,
            autocrop=autocrop,
            progress=progress,
            compress=compression(compress),
            compress_level=compress_level,
            cdn_cache=None if cdn_cache is False else cdn_cache,
            non_aligned_writes=non_aligned_writes,
            parallel=parallel,
            background_color=background_color,
            delete_black_uploads=delete_black_uploads,
            lru_bytes=lru_bytes,
            durable=durable,
            cache=Cache.of(cache, revalidate=cache_revalidate),
            storage_options=storage_options if secrets is None else {**(storage_options or {}), "secrets": secrets},
            at=at,
        )
        asked = resolve(url, format)
        self._open(asked, copy.deepcopy(dict(info)) if isinstance(info, Mapping) else info)
        self._mip = self.to_mip(mip)
        if self._mip:
            self._level()
        if provenance is not None:
            self._provenance = Provenance.from_json(provenance)

    def _open(self, url: URL, info: dict[str, Any] | Format | None) -> None:
        durable, options = self._options.durable, self._options.storage_options
        if info is None:
            how = self._options
            found, store, fmt = open_source(url, durable=durable, options=options, cache=how.cache, at=how.at)
            self._take(found, store, fmt, redirected=found.kvpath != url.kvpath)
            return
        if isinstance(info, Format):
            self._take(replace(url, format=info.name), open_store(url, durable=durable, options=options), info)
            self._draft = True
            return
        if url.format not in (None, "precomputed"):
            raise UnsupportedError(f"{url.format} data cannot be created from an info", url=str(url))
        if self._options.at:
            raise OptionError("a new precomputed volume has no parts and no further axes; leave out at=", url=str(url))
        store = open_store(url, durable=durable, options=options)
        self._take(replace(url, format="precomputed"), store, Precomputed(info))

    def _take(self, url: URL, store: Store, fmt: Format, *, redirected: bool = False) -> None:
        self._url, self._store, self._format, self._redirected = url, store, fmt, redirected
        self._parsed = None
        self._forget()

    @classmethod
    def from_numpy(
        cls,
        array: ArrayLike,
        url: Any,
        *,
        resolution: Sequence[float] = (1, 1, 1),
        voxel_offset: Sequence[int] = (0, 0, 0),
        chunk_size: Sequence[int] = (128, 128, 64),
        layer_type: str = "image",
        encoding: str = "raw",
        max_mip: int = 0,
        factor: Sequence[int] = (2, 2, 1),
        sharding: bool | Mapping[str, Any] = False,
        encoding_level: int | None = None,
        encoding_effort: int | None = None,
        format: str | None = None,  # noqa: A002 - the field's word
        zarr_version: int | None = None,
        shard: Sequence[int] | None = None,
        compressor: str | Mapping[str, Any] | None = None,
        compress: str | bool | None = None,
        progress: bool | None = None,
        info: Mapping[str, Any] | Format | None = None,
        overwrite: bool = False,
        **how: Any,
    ) -> Self:
        """Store an array as a new dataset.

        Parameters
        ----------
        array : array-like
            (x, y, z) or (x, y, z, channel). Booleans are stored as uint8, except in zarr.
        url : str or os.PathLike
            Where to. OME-Zarr if its name ends in ``.zarr``, N5 if in ``.n5``, else Neuroglancer Precomputed.
        resolution : sequence of float
            Voxel size in nm, (x, y, z).
        voxel_offset : sequence of int
            Coordinates of the first voxel.
        chunk_size, encoding, max_mip, factor, sharding, encoding_level, encoding_effort
            As for `create_new_info`. Coarser levels are described but hold nothing yet.
        layer_type : {"image", "segmentation"}
            What the voxels mean.
        format : {"precomputed", "ome-zarr", "zarr", "n5"}, optional
            Format, whatever the name says; ``zarr`` is an array by itself, without levels.
        zarr_version, shard, compressor
            Of data in zarr and N5, as for `volumekit.convert`. Chunks of nothing but zeros are not stored there.
        compress, progress
            As for `Volume`.
        info : dict or Format, optional
            Use this info, or format, instead.
        overwrite : bool
            Whether a dataset that is there may be replaced; its chunks are removed.
        **how
            Further options of `Volume`.

        Returns
        -------
        Volume
            The new volume, info and provenance committed.

        Raises
        ------
        OptionError
            If there is a dataset already and ``overwrite`` is off, or the options describe none.
        MissingExtraError
            If the encoding needs a package that is not installed; nothing is removed then.
        """
        place = resolve(url, format)
        kind = info.name if isinstance(info, Format) else "precomputed" if info is not None else new_format(place)
        voxels = _as_voxels(array, storable(kind, described=info is not None))
        if info is None:
            described = Description(
                size=voxels.shape[:3],
                offset=voxel_offset,
                dtype=voxels.dtype.name,
                channels=voxels.shape[3],
                resolution=resolution,
                chunk_size=chunk_size,
                layer_type=layer_type,
                max_mip=max_mip,
                factor=factor,
            )
            info = describe(
                place,
                described,
                precomputed={
                    "encoding": encoding,
                    "sharding": sharding,
                    "encoding_level": encoding_level,
                    "encoding_effort": encoding_effort,
                },
                zarr={"zarr_version": zarr_version, "shard": shard, "compressor": compressor},
            )
        if kind != "precomputed":
            refuse(kind, compress=compress)
            how.setdefault("delete_black_uploads", True)
        volume = cls(str(place), info=info, compress=compress, progress=progress, **how)
        volume._make_room(overwrite=overwrite)
        volume.upload((), voxels)
        volume.commit_info()
        if kind == "precomputed":
            volume.commit_provenance()
        return volume

    def _check_room(self, *, overwrite: bool) -> None:
        """Raise unless a new dataset can be stored here, before anything is removed for it."""
        if isinstance(self._format, Precomputed):
            for level in self.levels:
                get_codec(level.codec)
        if not overwrite and place_of(self._format).present(self._store):
            raise OptionError("there is a dataset already; overwrite=True replaces it", url=str(self._url))

    def _make_room(self, *, overwrite: bool) -> None:
        """Remove an earlier dataset at the same place, so that none of its chunks shows through at any mip."""
        self._check_room(overwrite=overwrite)
        place = place_of(self._format)
        if place.closed:
            folders = [*place.folders(self._store), *(level.key for level in self.levels)]
            place.unlist(self._store)
            for folder in folders:
                place.remove(self._store, folder)
            return
        for mip in self.available_mips:
            clear(self.array(mip))
        if self.cache.enabled:
            self.cache.flush()

    @property
    def cache(self) -> VolumeCache:
        """The disk cache of this volume: what is in it, filling and emptying it."""
        return VolumeCache(self)

    @property
    def image(self) -> Self:
        """The volume itself: CloudVolume keeps ``has_data`` and others here."""
        return self

    def __repr__(self) -> str:
        level, head = self.levels[self._mip], f"Volume({without_passwords(str(self._url))!r}, mip={self._mip}, "
        if not level.placed:
            return f"{head}dtype={level.dtype}, cannot be opened: {level.error})"
        return (
            f"{head}shape={level.shape}, dtype={level.dtype}, "
            f"bounds={level.bounds!r}, resolution={list(level.resolution)} nm, encoding={level.codec.name})"
        )

    def _repr_html_(self) -> str:
        from volumekit.volume.card import card

        return card(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Volume) and str(self._url) == str(other._url)

    def __hash__(self) -> int:
        return hash(str(self._url))

    def __reduce__(self) -> Any:
        fmt = self._format
        info = fmt.info if isinstance(fmt, Precomputed) else fmt if fmt.writable else None
        place = replace(self._url)
        process = os.getpid() if place.protocol == "memory" else None
        return _reopen, (type(self), place, self._mip, self._options, info, self._redirected, process, self._draft)


def _reopen(
    cls: type[Volume],
    url: URL,
    mip: int,
    options: Options,
    info: dict[str, Any] | Format | None,
    redirected: bool,
    process: int | None,
    draft: bool,
) -> Volume:
    """Open a pickled volume again; the info travels along, so that uncommitted volumes arrive as well."""
    if process not in (None, os.getpid()):
        raise UnsupportedError("memory:// belongs to one process; store what others shall use elsewhere", url=str(url))
    volume = cls.__new__(cls)
    volume._options = options
    volume._open(url, info)
    volume._redirected, volume._draft = redirected, draft
    volume._mip = mip
    return volume


def _as_voxels(array: ArrayLike, storable: Sequence[str]) -> Any:
    voxels = np.asarray(array)
    if voxels.ndim not in (3, 4):
        raise ShapeError(f"an array (x, y, z) or (x, y, z, channel) is needed, not {voxels.shape}")
    if voxels.dtype == bool and "bool" not in storable:
        voxels = voxels.astype(np.uint8)
    if voxels.dtype.name not in storable:
        raise OptionError(f"{voxels.dtype} cannot be stored; convert to one of {', '.join(storable)}")
    return voxels if voxels.ndim == 4 else voxels[..., np.newaxis]
