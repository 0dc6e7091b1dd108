"""What a new volume is described by: the info of a precomputed volume, or the format of one in zarr or N5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from volumekit.errors import OptionError, UnsupportedError
from volumekit.formats.base import Format
from volumekit.formats.n5.array import DATA_TYPES as N5_DATA_TYPES
from volumekit.formats.n5.create import create_n5
from volumekit.formats.precomputed import DATA_TYPES, READ_TYPES, create_info
from volumekit.formats.zarr.create import create_ome_zarr, create_zarr, describe_levels
from volumekit.formats.zarr.layout import Layout
from volumekit.formats.zarr.values import NAMES
from volumekit.model.plain import each_axis, plain
from volumekit.model.url import URL

ZARR = ("zarr", "ome-zarr")
ARRAYS = (*ZARR, "n5")
MADE = ("precomputed", *ARRAYS)
"""Formats of which new data are made."""


@dataclass(frozen=True)
class ZarrOptions:
    """How new data in zarr are laid out.

    Attributes
    ----------
    zarr_version : int
        2 or 3; of OME-Zarr these are 0.4 and 0.5.
    shard : sequence of int, optional
        Extent of a shard, (x, y, z) voxels, a multiple of the chunk's; zarr v3 only. Default: a chunk an object.
    compressor : str or Mapping or None
        ``"zstd"``, ``"blosc"``, ``"gzip"``, ``"zlib"``, ``"bz2"``, ``"lz4"``, ``"lzma"``, with a level as in
        ``"zstd:5"`` and ``"blosc:zstd:5"``; ``"none"``; or a configuration as the metadata have it. Of N5 usually gzip.
    fill : int or float
        What chunks that are not stored hold.
    """

    zarr_version: int = 3
    shard: Sequence[int] | None = None
    compressor: str | Mapping[str, Any] | None = "zstd"
    fill: int | float = 0

    def layout(self) -> Layout:
        """Return the layout of arrays.

        Raises
        ------
        OptionError
            If an option is impossible.
        """
        if self.zarr_version not in (2, 3) or isinstance(self.zarr_version, bool):
            raise OptionError(f"zarr_version is {self.zarr_version!r}; it is 2 or 3")
        shard = None
        if self.shard is not None:
            try:
                x, y, z = (int(n) for n in each_axis(self.shard))
            except (TypeError, ValueError):
                raise OptionError(f"shard is {self.shard!r}; it is three integers (x, y, z)") from None
            shard = x, y, z
        return Layout(self.zarr_version, shard, self.compressor, self.fill)

    def in_n5(self) -> str | Mapping[str, Any] | None:
        """Return the compressor of blocks of N5.

        Raises
        ------
        OptionError
            If an option is given that N5 does not have.
        """
        if self.shard is not None:
            raise OptionError("N5 has no shards; leave out shard, or choose zarr")
        if self.fill != 0:
            raise OptionError(f"blocks of N5 that are not stored hold zeros, not {self.fill}; choose zarr")
        return self.compressor


@dataclass(frozen=True)
class Description:
    """A volume to be made.

    Attributes
    ----------
    size, offset : sequence of int
        Extent and lowest voxel, (x, y, z).
    dtype : str
        Name of the data type.
    channels : int
        Number of channels.
    resolution : sequence of float
        Voxel size in nm, (x, y, z).
    chunk_size : sequence of int
        (x, y, z).
    layer_type : str
        ``"image"`` or ``"segmentation"``.
    max_mip : int
        How many coarser levels there are.
    factor : sequence of int, or sequence of those
        From one level to the next, (x, y, z); or one for each of them.
    method : str or None
        How coarser levels are made, if that is known.
    omero : Mapping or None
        Names, colours and windows of the channels, for OME-Zarr and as that has them.
    """

    size: Sequence[int]
    offset: Sequence[int]
    dtype: str
    channels: int
    resolution: Sequence[float]
    chunk_size: Sequence[int]
    layer_type: str = "image"
    max_mip: int = 0
    factor: Sequence[Any] = (2, 2, 2)
    method: str | None = None
    omero: Mapping[str, Any] | None = None

    def info(self, encoding: str, **more: Any) -> dict[str, Any]:
        """Return the info of a precomputed volume; ``more`` as `create_info` takes it."""
        return create_info(
            self.channels,
            self.layer_type,
            self.dtype,
            encoding,
            self.resolution,
            self.offset,
            self.size,
            chunk_size=self.chunk_size,
            max_mip=self.max_mip,
            factor=self.factor,
            **more,
        )

    def in_arrays(self, kind: str, options: ZarrOptions, name: str = "") -> Format:
        """Return the format of a volume in zarr or N5.

        Parameters
        ----------
        kind : {"zarr", "ome-zarr", "n5"}
            An array by itself, or an image with its levels, or a group of N5.
        options : ZarrOptions
            How it is laid out.
        name : str
            What the image is called.

        Raises
        ------
        OptionError
            If that cannot be.
        """
        levels = describe_levels(
            self.size,
            self.dtype,
            channels=self.channels,
            resolution=self.resolution,
            offset=self.offset,
            chunk_size=self.chunk_size,
            max_mip=self.max_mip,
            factor=self.factor,
        )
        method = self.method if self.max_mip else None
        if kind == "n5":
            return create_n5(levels, compressor=options.in_n5(), layer_type=self.layer_type, name=name, method=method)
        if kind == "ome-zarr":
            how: dict[str, Any] = {"layer_type": self.layer_type, "name": name, "method": method, "omero": self.omero}
            return create_ome_zarr(levels, options.layout(), **how)
        if len(levels) > 1:
            raise OptionError("a zarr array has one level; choose the format ome-zarr for a pyramid")
        return create_zarr(levels[0], options.layout(), layer_type=self.layer_type)


def describe(url: URL, described: Description, *, precomputed: Mapping[str, Any], zarr: Mapping[str, Any]) -> Any:
    """Return the info, or the format, of new data at a URL.

    Parameters
    ----------
    url : URL
        Where; see `new_format`.
    described : Description
        What.
    precomputed : Mapping
        Options of precomputed data, ``encoding`` among them; see `Description.info`.
    zarr : Mapping
        Options of data in zarr, None where they are as usual; see `ZarrOptions`.

    Raises
    ------
    OptionError
        If that cannot be, or an option is of the other format.
    """
    kind, precomputed, zarr = new_format(url), plain(precomputed), plain(zarr)
    if kind == "precomputed":
        refuse(kind, **zarr)
        return described.info(**precomputed)
    usual = {"encoding": "raw", "sharding": False}
    refuse(kind, **{name: value for name, value in precomputed.items() if value != usual.get(name)})
    options = options_of(kind, **zarr)
    return described.in_arrays(kind, options, url.name.removesuffix(".zarr").removesuffix(".n5"))


def options_of(kind: str, **given: Any) -> ZarrOptions:
    """Return the options of data in zarr or N5; None where they are as usual.

    Raises
    ------
    OptionError
        If N5 has no such option.
    """
    if kind == "n5":
        refuse(kind, zarr_version=given.get("zarr_version"), shard=given.get("shard"))
    usual = {"compressor": "gzip"} if kind == "n5" else {}
    return ZarrOptions(**{**usual, **{name: value for name, value in given.items() if value is not None}})


def new_format(url: URL) -> str:
    """Return the format that new data at a URL get: what it says, or ``ome-zarr`` and ``n5`` by how a name in it ends.

    Raises
    ------
    UnsupportedError
        If nothing here makes data of that format.
    """
    endings = {".zarr": "ome-zarr", ".n5": "n5"}
    parts = reversed(url.path.lower().split("/"))
    inner = (f for part in parts for e, f in endings.items() if part.endswith(e))
    name = url.format or next(inner, "precomputed")
    if name not in MADE:
        raise UnsupportedError(f"{name} data cannot be made here; choose one of {', '.join(MADE)}", url=str(url))
    return name


def storable(kind: str, *, described: bool = False) -> tuple[str, ...]:
    """Return the data types that a format stores; those that few programs read only where an info asks for them."""
    if kind == "n5":
        return N5_DATA_TYPES
    if kind in ZARR:
        return NAMES
    return READ_TYPES if described else DATA_TYPES


def refuse(kind: str, **given: Any) -> None:
    """Refuse options of another format, rather than ignoring them; those that are as usual are ``None``.

    Raises
    ------
    OptionError
        Naming the option.
    """
    for name, value in given.items():
        if value is not None:
            raise OptionError(f"{name} is no option of {kind} data; leave it out")
