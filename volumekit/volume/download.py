"""Downloads: boxes with more to say than an index, and what is in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from volumekit.engine.array import ONE
from volumekit.errors import InvalidIndexError, OptionError
from volumekit.model.bbox import Bbox
from volumekit.model.units import step
from volumekit.volume.cutout import VolumeCutout
from volumekit.volume.index import Selection, is_advanced, select
from volumekit.volume.labels import Labels
from volumekit.volume.reading import Reading


class Download(Reading):
    """Reading by a box."""

    @overload
    def download(
        self,
        bbox: Any,
        mip: Any = None,
        *,
        out: None = None,
        fill_missing: bool | None = None,
        progress: bool | None = None,
        label: None = None,
        segids: ArrayLike | None = None,
        preserve_zeros: bool = False,
        renumber: Literal[True],
        coord_resolution: Sequence[float] | None = None,
    ) -> tuple[VolumeCutout, dict[int, int]]: ...

    @overload
    def download(
        self,
        bbox: Any,
        mip: Any = None,
        *,
        out: NDArray[Any] | None = None,
        fill_missing: bool | None = None,
        progress: bool | None = None,
        label: int | None = None,
        segids: ArrayLike | None = None,
        preserve_zeros: bool = False,
        renumber: Literal[False] = False,
        coord_resolution: Sequence[float] | None = None,
    ) -> VolumeCutout: ...

    def download(
        self,
        bbox: Any,
        mip: Any = None,
        *,
        out: NDArray[Any] | None = None,
        fill_missing: bool | None = None,
        progress: bool | None = None,
        label: int | None = None,
        segids: ArrayLike | None = None,
        preserve_zeros: bool = False,
        renumber: bool = False,
        coord_resolution: Sequence[float] | None = None,
    ) -> VolumeCutout | tuple[VolumeCutout, dict[int, int]]:
        """Read a box; the method behind slicing.

        Parameters
        ----------
        bbox : Bbox, slices, list of six int or str
            Half-open box in voxels of the mip, or in a unit; a chunk name such as ``"0-64_0-64_0-32"``.
        mip : int or sequence of float, optional
            Level by number or voxel size; default: the current one.
        out : numpy.ndarray, optional
            Array to read into, of the box's shape (x, y, z, channel) and the volume's data type (bool with ``label``),
            any strides. Not with ``renumber``.
        fill_missing : bool, optional
            Overrides the volume's own setting.
        progress : bool, optional
            Whether to show a progress bar.
        label : int, optional
            Return where this label is, as booleans. Labels and numbers are for volumes of whole numbers.
        segids : array-like of int, optional
            Return only these labels; all others become 0.
        preserve_zeros : bool
            With ``segids``: keep 0, and let all others become the largest number of the data type.
        renumber : bool
            Return labels as small numbers: 0 stays 0, the others count from 1 in ascending order; and a mapping of
            labels to numbers.
        coord_resolution : sequence of float, optional
            Voxel size in nm, (x, y, z), that the coordinates of ``bbox`` count in, as those of another layer. What the
            box touches is read.

        Returns
        -------
        VolumeCutout
            (x, y, z, channel); a view of ``out`` if that is given. With ``renumber`` a pair: the cutout, of the
            smallest unsigned type that its numbers fit, and a dictionary with 0 and every label of it.

        Raises
        ------
        OutOfBoundsError
            If the volume is bounded and the box reaches outside.
        MissingChunkError
            If a chunk is missing and the volume does not fill.
        CorruptChunkError, PermissionDeniedError, StorageError
            If a chunk cannot be read.
        ShapeError
            If ``out`` does not fit.
        OptionError
            If a label is none that the data type can hold, or options do not go together.

        Notes
        -----
        Chunks of crackle, compresso and compressed_segmentation are decoded only as far as they must be to tell where
        labels are.
        """
        number = self._mip if mip is None else self.to_mip(mip)
        chosen = self._chosen(bbox, number, coord_resolution)
        if preserve_zeros and segids is None:
            raise OptionError("preserve_zeros says what becomes of labels that are not in segids; give segids")
        if label is not None and (segids is not None or renumber):
            raise OptionError("label= returns booleans; it goes with neither segids= nor renumber=")
        if renumber and out is not None:
            raise OptionError("renumber= finds out what data type it takes; it does not go with out=")
        if out is not None:
            self._check_out(out, chosen, self._level(number).dtype if label is None else np.dtype(bool))
        if label is None and segids is None and not renumber:
            return self._read_chosen(chosen, number, out, fill_missing, progress)
        labels = Labels(self.array(number, fill_missing=fill_missing), chosen)
        wanted = None if segids is None else labels.wanted(segids, preserve_zeros=preserve_zeros)
        with self._progress(chosen, "Reading", progress) as report:
            if label is not None:
                return self._cutout(labels.mask(label, out, report), chosen, number)
            if wanted is not None and not renumber:
                return self._cutout(labels.keep(wanted, out, report), chosen, number)
            voxels, mapping = labels.renumber(wanted, report)
            return self._cutout(voxels, chosen, number), mapping

    def download_point(self, point: Any, size: Any = 256, mip: Any = None, **how: Any) -> VolumeCutout:
        """Read a box around a point.

        Parameters
        ----------
        point : sequence of float
            (x, y, z) in voxels of mip 0.
        size : int or sequence of int
            Extent in voxels of ``mip``; ``floor(size / 2)`` to each side.
        mip : int or sequence of float, optional
            Default: the current one.
        **how
            As `download` takes.
        """
        number = self._mip if mip is None else self.to_mip(mip)
        centre = self.point_to_mip(point, 0, number)
        half = np.maximum(np.broadcast_to(np.asarray(size), 3) // 2, 0)
        low, high = centre - half, centre + np.maximum(half, 1)
        cutout: VolumeCutout = self.download(Bbox(low, high), number, **how)
        return cutout

    def unique(
        self,
        bbox: Any = (),
        mip: Any = None,
        *,
        fill_missing: bool | None = None,
        progress: bool | None = None,
        coord_resolution: Sequence[float] | None = None,
    ) -> set[Any]:
        """Return the labels, or other values, that occur in a box; no array of the box is made.

        Parameters
        ----------
        bbox, mip, fill_missing, progress, coord_resolution
            As for `download`; the default is the whole mip.

        Returns
        -------
        set
            Of Python numbers: the values of ``download(bbox)``, background included where that is read.

        Raises
        ------
        OutOfBoundsError, MissingChunkError, CorruptChunkError, PermissionDeniedError, StorageError
            As for `download`.

        Notes
        -----
        Chunks of crackle and compresso that lie in the box are not decoded at all, and those of compressed_segmentation
        in part; of the others, one at a time per thread is in memory.
        """
        number = self._mip if mip is None else self.to_mip(mip)
        chosen = self._chosen(bbox, number, coord_resolution)
        labels = Labels(self.array(number, fill_missing=fill_missing), chosen)
        with self._progress(chosen, "Reading", progress) as report:
            return labels.unique(report)

    def _chosen(self, bbox: Any, mip: int, coord_resolution: Sequence[float] | None) -> Selection:
        index = self._as_index(bbox)
        if is_advanced(index):
            raise InvalidIndexError("a box is wanted, not points; vol[…] and vol.points read those")
        if coord_resolution is not None:
            index = self._converted_to(index, mip, coord_resolution)
        return self._select(index, mip)

    def _converted_to(self, index: Any, mip: int, coord_resolution: Any) -> tuple[slice, ...]:
        """Convert a box in voxels of another size to slices of a mip, rounding outward.

        What lies in the bounds, rounded outward to the other voxels, stays in them.
        """
        level = self._level(mip)
        if any(isinstance(p, Bbox) and p.unit != "vx" for p in (index if isinstance(index, tuple) else (index,))):
            raise OptionError("the box has a unit of its own; leave out coord_resolution=")
        theirs = _convert(level.bounds, level.resolution, coord_resolution)
        chosen = select(index, theirs, level.channels, bounded=False)
        if not chosen.plain or chosen.step != ONE:
            raise OptionError("coord_resolution= converts boxes: give slices without steps, or a Bbox")
        box = _convert(chosen.box, coord_resolution, level.resolution)
        axes = zip(*map(_spans, (box, level.bounds, chosen.box, theirs)), strict=True)
        spans = [
            slice(max(a, low) if c >= o else a, min(b, high) if d <= e else b)
            for (a, b), (low, high), (c, d), (o, e) in axes
        ]
        return (*spans, slice(chosen.low[3], chosen.high[3]))


def _convert(box: Bbox, sizes: Any, into: Any) -> Bbox:
    """Convert a box from voxels of one size to those of another, rounding outward."""
    ratios = [a / b for a, b in zip(step("vx", sizes, 3), step("vx", into, 3), strict=True)]
    low, high = ([n * r for n, r in zip(p.tolist(), ratios, strict=True)] for p in (box.minpt, box.maxpt))
    return Bbox([math.floor(n) for n in low], [math.ceil(n) for n in high])


def _spans(box: Bbox) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in zip(box.minpt, box.maxpt, strict=True)]
