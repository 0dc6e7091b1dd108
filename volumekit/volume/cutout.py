"""What a read returns: an array that knows where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from volumekit.model.bbox import Bbox
from volumekit.model.vec import Vec


@dataclass(frozen=True)
class Source:
    """Where a cutout comes from; shared by all cutouts of a volume's mip."""

    cloudpath: str
    dataset_name: str
    layer: str
    layer_type: str
    mip: int
    resolution: tuple[float, float, float]


@dataclass(frozen=True)
class Place:
    """Which voxels an array holds.

    Attributes
    ----------
    axes : tuple
        For each axis of the array the volume's axis (0 to 3), or None for a new one.
    first, step, count : tuple of int
        Per volume axis: coordinate of the first element, step, and number of elements.
    """

    axes: tuple[int | None, ...]
    first: tuple[int, int, int, int]
    step: tuple[int, int, int, int]
    count: tuple[int, int, int, int]

    def bounds(self) -> Bbox:
        """Return the hull of the voxels, (x, y, z)."""
        low, high = [], []
        for first, step, count in zip(self.first[:3], self.step[:3], self.count[:3], strict=True):
            ends = (first, first + step * max(0, count - 1))
            low.append(min(ends))
            high.append(max(ends) + (1 if count else 0))
        return Bbox(low, high)

    def index(self, index: Any, shape: tuple[int, ...]) -> Place | None:
        """Return the place after basic indexing, None where that cannot be said."""
        parts = index if isinstance(index, tuple) else (index,)
        if any(part is Ellipsis for part in parts):
            at = next(n for n, part in enumerate(parts) if part is Ellipsis)
            rest = len(shape) - sum(part is not None for part in parts) + 1
            parts = (*parts[:at], *[slice(None)] * rest, *parts[at + 1 :])
        axes: list[int | None] = []
        first, step, count = list(self.first), list(self.step), list(self.count)
        dims = iter(range(len(shape)))
        for part in parts:
            if part is None:
                axes.append(None)
                continue
            dim = next(dims)
            axis = self.axes[dim]
            if isinstance(part, slice):
                taken = range(shape[dim])[part]
                axes.append(axis)
            elif isinstance(part, int | np.integer) and not isinstance(part, bool):
                taken = range(int(part) % shape[dim], int(part) % shape[dim] + 1)
            else:
                return None
            if axis is not None:
                first[axis] += taken.start * step[axis]
                step[axis] *= taken.step
                count[axis] = len(taken)
        axes.extend(self.axes[dim] for dim in dims)
        return Place(tuple(axes), _four(first), _four(step), _four(count))


def _four(values: list[int]) -> tuple[int, int, int, int]:
    return values[0], values[1], values[2], values[3]


def _same_memory(array: NDArray[Any], other: Any) -> bool:
    """Tell whether two arrays are the same elements in the same arrangement."""
    if not isinstance(other, VolumeCutout) or array.shape != other.shape or array.strides != other.strides:
        return False
    start: int = array.__array_interface__["data"][0]
    return bool(start == other.__array_interface__["data"][0])


class VolumeCutout(np.ndarray[Any, Any]):
    """Voxels read from a volume: an array, axes (x, y, z, channel), that knows where they are.

    Slicing, transposing, copying and pickling keep `bounds` right; after anything that loses track of the voxels
    (reshaping, fancy indexing, reductions) `bounds` is None.

    Attributes
    ----------
    bounds : Bbox or None
        Hull of the voxels held, global voxels of the mip, half-open.
    mip : int
        Level they were read from.
    resolution : Vec
        Voxel size in nm, (x, y, z).
    cloudpath, dataset_name, layer, layer_type : str
        The volume.
    num_channels : int
        Number of channels held.
    """

    _source: Source | None
    _place: Place | None

    @classmethod
    def wrap(cls, array: NDArray[Any], source: Source, place: Place | None) -> Self:
        """Return ``array`` as a cutout; nothing is copied. Points have no ``place``."""
        cutout = array.view(cls)
        cutout._source, cutout._place = source, place
        return cutout

    def __array_finalize__(self, obj: Any) -> None:
        self._source = getattr(obj, "_source", None)
        self._place = getattr(obj, "_place", None) if _same_memory(self, obj) else None

    def __array_wrap__(self, array: NDArray[Any], context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else self._placed(super().__array_wrap__(array, context))

    def _placed(self, other: Any) -> Any:
        """Say that another array holds the same voxels, element by element."""
        if isinstance(other, VolumeCutout) and other.shape == self.shape:
            other._place = self._place
        return other

    def copy(self, order: Any = "C") -> Any:
        """Return a copy; `bounds` stays right."""
        return self._placed(super().copy(order))

    def astype(self, *args: Any, **how: Any) -> Any:
        """Return the values as another data type; `bounds` stays right."""
        return self._placed(super().astype(*args, **how))

    def __copy__(self) -> Any:
        return self._placed(super().__copy__())

    def __deepcopy__(self, memo: Any) -> Any:
        return self._placed(super().__deepcopy__(memo))

    def __getitem__(self, index: Any) -> Any:
        out = super().__getitem__(index)
        if isinstance(out, VolumeCutout):
            out._place = self._place.index(index, self.shape) if self._place is not None else None
        return out

    def transpose(self, *axes: Any) -> Any:
        """Return the array with its axes permuted; `bounds` stays right."""
        out = super().transpose(*axes)
        if isinstance(out, VolumeCutout) and self._place is not None:
            order = axes[0] if len(axes) == 1 else axes
            order = range(self.ndim)[::-1] if not axes or order is None else order
            out._place = replace(self._place, axes=tuple(self._place.axes[a] for a in order))
        return out

    def swapaxes(self, axis1: Any, axis2: Any) -> Any:
        """Return the array with two axes exchanged; `bounds` stays right."""
        order = list(range(self.ndim))
        order[axis1], order[axis2] = order[axis2], order[axis1]
        return self.transpose(order)

    @property
    def T(self) -> Any:  # noqa: N802 - NumPy's name
        """The array with its axes reversed."""
        return self.transpose()

    def __reduce__(self) -> Any:
        reduced: tuple[Any, ...] = tuple(super().__reduce__())
        return reduced[0], reduced[1], (reduced[2], self._source, self._place)

    def __setstate__(self, state: Any) -> None:
        inner, self._source, self._place = state
        super().__setstate__(inner)

    @property
    def bounds(self) -> Bbox | None:
        """Hull of the voxels held, half-open, in global voxels of the mip; None once track of them is lost."""
        return self._place.bounds() if self._place is not None else None

    @property
    def num_channels(self) -> int:
        """Number of channels held."""
        if self._place is not None:
            return self._place.count[3]
        return self.shape[3] if self.ndim > 3 else 1

    @property
    def resolution(self) -> Vec | None:
        """Voxel size in nm, (x, y, z)."""
        return Vec(*self._source.resolution) if self._source else None

    @property
    def mip(self) -> int | None:
        """Level the voxels were read from."""
        return self._source.mip if self._source else None

    @property
    def cloudpath(self) -> str | None:
        """The volume's URL."""
        return self._source.cloudpath if self._source else None

    @property
    def dataset_name(self) -> str | None:
        """Name of the folder that holds the volume."""
        return self._source.dataset_name if self._source else None

    @property
    def layer(self) -> str | None:
        """Name of the volume's own folder."""
        return self._source.layer if self._source else None

    @property
    def layer_type(self) -> str | None:
        """``"image"`` or ``"segmentation"``."""
        return self._source.layer_type if self._source else None

    def save_images(
        self,
        directory: str | Path | None = None,
        *,
        axis: str = "z",
        channel: int | None = None,
        image_format: str = "PNG",
    ) -> Path:
        """Save the slices along an axis as images; labels are coloured, images stretched over all slices alike.

        Parameters
        ----------
        directory : path, optional
            Folder to write to; default ``./saved_images/<dataset>/<layer>/<bounds>``.
        axis : {"x", "y", "z"}
            Axis to slice along.
        channel : int, optional
            Only this channel.
        image_format : str
            Any format Pillow writes.

        Returns
        -------
        pathlib.Path
            The folder.
        """
        from volumekit.volume.pictures import save_images

        return save_images(self, directory, axis=axis, channel=channel, image_format=image_format)

    def show(self, *, x: int | None = None, y: int | None = None, z: int | None = None, **how: Any) -> list[Any]:
        """Draw slices with matplotlib, in true proportions and with a scale bar.

        Parameters
        ----------
        x, y, z : int, optional
            Where to cut, in global voxels; one panel for each. None of them: a cutout that is one voxel thick as it is,
            any other one across all three axes through the middle.
        **how
            ``channel``, ``range``, ``ax``: as for `Volume.plot`.

        Returns
        -------
        list of matplotlib.axes.Axes
            One for each panel.
        """
        from volumekit.volume.plotting import plot_cutout

        return plot_cutout(self, {"x": x, "y": y, "z": z}, **how)
