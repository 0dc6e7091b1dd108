"""What a conversion takes of a source, and what it says of the result."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from volumekit.formats.zarr import OmeZarr
from volumekit.ops.apart import check_apart
from volumekit.ops.changed import Change
from volumekit.ops.inputs import Input
from volumekit.ops.opening import open_input
from volumekit.ops.options import box_inside, three_integers, voxel_size_nm
from volumekit.ops.target import started
from volumekit.volume.create import Description
from volumekit.volume.volume import Volume

if TYPE_CHECKING:
    from volumekit.model.bbox import Bbox
    from volumekit.model.url import URL

Source = str | os.PathLike[str] | Volume | NDArray[Any]


@dataclass(frozen=True)
class Selection:
    """A part of a source, and where it goes.

    Attributes
    ----------
    name : str
        The source, for the provenance.
    volume : Volume or None
        The source; None: an array.
    input : Input
        Its voxels, in its own coordinates.
    box : Bbox
        Those that are taken.
    change : Change
        What becomes of their axes and values.
    low : sequence of int
        Where the lowest of them goes, (x, y, z).
    """

    name: str
    volume: Volume | None
    input: Input
    box: Bbox
    change: Change
    low: Sequence[int]

    @classmethod
    def of(cls, src: Source, url: URL, box: Any, change: Change, offset: Sequence[int] | None, **how: Any) -> Selection:
        """Open a source that is to be converted to a place; ``how`` and errors as for `open_input`.

        Raises
        ------
        OptionError
            If source and target are the same place, or box and offset are impossible.
        OutOfBoundsError
            If the box reaches outside.
        """
        volume, source = open_input(src, **how)
        check_apart(volume, url)
        box = box_inside(box, source.bounds)
        low = change.box(box).minpt.tolist() if offset is None else three_integers(offset, "offset")
        return cls(_name(src), volume, source, box, change, low)

    @property
    def part(self) -> Bbox:
        """The voxels that are taken, axes changed."""
        return self.change.box(self.box)

    @property
    def bounds(self) -> Bbox:
        """The voxels of the result."""
        return self.part - self.part.minpt + self.low

    @property
    def shift(self) -> list[int]:
        """What to add to coordinates of `part` for those of the result."""
        return [a - b for a, b in zip(self.low, self.part.minpt.tolist(), strict=True)]

    @property
    def fill(self) -> int | float:
        """What chunks hold that are not stored."""
        if self.volume is None or self.change.rescale is not None:
            return 0
        return self.volume.levels[self.volume.mip].fill

    def layer_type(self, encoding: str) -> str:
        """Return what the voxels mean."""
        if encoding == "compressed_segmentation":
            return "segmentation"
        return "image" if self.volume is None else self.volume.layer_type

    def voxel_size(self, size: Sequence[float] | None, unit: str) -> Sequence[float]:
        """Return the size of a voxel of the result in nm, (x, y, z): as given, or the source's."""
        if size is not None:
            return voxel_size_nm(size, unit)
        return (
            (1.0, 1.0, 1.0) if self.volume is None else self.change.turn(self.volume.levels[self.volume.mip].resolution)
        )

    def describe(self, dtype: str, chunk_size: Sequence[int], ladder: Sequence[Any], **facts: Any) -> Description:
        """Return what the result is."""
        return Description(
            size=self.part.size().tolist(),
            offset=self.low,
            dtype=dtype,
            channels=self.input.channels,
            chunk_size=three_integers(chunk_size, "chunk_size", least=1),
            max_mip=len(ladder),
            factor=ladder or (2, 2, 2),
            omero=self._omero(),
            **facts,
        )

    def entry(self, **arguments: Any) -> dict[str, Any]:
        """Return the entry of the provenance of a conversion that begins now."""
        at, mip = (None, None) if self.volume is None else (self.volume.at, self.volume.mip or None)
        box = [*self.box.minpt.tolist(), *self.box.maxpt.tolist()]
        return started("convert", self.name, at=at, mip=mip, box=box, **self.change.told(), **arguments)

    def taking(self, source: Input) -> Selection:
        """Return the same of the voxels as something else reads them."""
        return replace(self, input=source)

    def made(self, dtype: np.dtype[Any]) -> Input:
        """Return the voxels as those of the result."""
        return self.change.apply(self.input, dtype, self.shift)

    def _omero(self) -> Mapping[str, Any] | None:
        """Return what an OME-Zarr source says of its channels."""
        fmt = None if self.volume is None else self.volume._format
        return fmt.omero if isinstance(fmt, OmeZarr) else None


def _name(src: Source) -> str:
    if isinstance(src, Volume):
        return src.cloudpath
    return f"array {src.shape}" if isinstance(src, np.ndarray) else str(Path(src) if isinstance(src, Path) else src)
