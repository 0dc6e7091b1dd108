"""Synthetic brain tissue as an electron microscope sees it, with labels that match it voxel by voxel."""

from __future__ import annotations

import errno
import operator
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import NoSpaceError, OptionError, ReadOnlyError, StorageError, VolumekitError
from volumekit.ops.phantom_tissue import Tissue

_MOST_VOXELS = 2**33
_LONGEST_SIDE = 8192


@dataclass(frozen=True, eq=False)
class Phantom:
    """A piece of synthetic tissue.

    Attributes
    ----------
    image : numpy.ndarray
        uint8, (x, y, z), Fortran order; membranes are dark.
    labels : numpy.ndarray
        uint32, (x, y, z), Fortran order; the cell of each voxel, 0 in extracellular space. A membrane belongs
        to the cell it encloses.
    resolution : tuple of float
        Voxel size in nm, (x, y, z).
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint32]
    resolution: tuple[float, float, float]


def cells(
    shape: tuple[int, int, int] = (256, 256, 128),
    *,
    seed: int = 0,
    resolution: tuple[float, float, float] = (4, 4, 40),
    diameter: float | None = None,
) -> Phantom:
    """Make a piece of tissue: neurites, a few somata, mitochondria, synapses, a myelinated axon, noise.

    Parameters
    ----------
    shape : tuple of int
        Voxels, (x, y, z).
    seed : int
        Another number, another piece; the same number gives the same voxels.
    resolution : tuple of float
        Voxel size in nm, (x, y, z).
    diameter : float, optional
        Typical thickness of a neurite in nm; at least 12 of the smallest and 3 of the largest voxel edges.
        Default: 180, or the least that is allowed.

    Returns
    -------
    Phantom
        Image and labels.

    Raises
    ------
    OptionError
        For an empty shape, sections beyond 8192 x 8192, more than 2**33 voxels, a negative seed, or a
        diameter too fine for the voxels.
    """
    size, edge = _checked_shape(shape), _checked_resolution(resolution)
    spacing = _checked_diameter(diameter, edge)
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise OptionError(f"seed is a whole number from 0 on, not {seed!r}")
    tissue = Tissue(size, edge, spacing, int(seed))
    image = np.empty(size, np.uint8, order="F")
    labels = np.empty(size, np.uint32, order="F")
    for z in range(size[2]):
        image[:, :, z], labels[:, :, z] = tissue.section(z)
    return Phantom(image, labels, edge)


def _checked_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    try:
        x, y, z = (operator.index(n) for n in shape)
    except (TypeError, ValueError):
        raise OptionError(f"shape is three whole numbers (x, y, z), not {shape!r}") from None
    if min(x, y, z) < 1 or max(x, y) > _LONGEST_SIDE or x * y * z > _MOST_VOXELS:
        raise OptionError(f"shape {shape!r}: sections of up to 8192 x 8192, at most 2**33 voxels, none empty")
    return x, y, z


def _checked_resolution(resolution: tuple[float, float, float]) -> tuple[float, float, float]:
    try:
        x, y, z = (float(r) for r in resolution)
    except (TypeError, ValueError):
        raise OptionError(f"resolution is three lengths in nm, not {resolution!r}") from None
    if not all(1e-3 <= r <= 1e9 for r in (x, y, z)):
        raise OptionError(f"resolution {resolution!r}: each edge must be from 0.001 nm to 1e9 nm")
    return x, y, z


def _checked_diameter(diameter: float | None, resolution: tuple[float, float, float]) -> float:
    least = max(12 * min(resolution), 3 * max(resolution))
    if diameter is None:
        return max(180.0, least)
    if not least <= diameter <= 1e12:
        raise OptionError(f"diameter is a length from {least:g} nm on at this resolution, not {diameter!r}")
    return float(diameter)


def write_stack(phantom: Phantom, folder: str | os.PathLike[str], *, overwrite: bool = False) -> tuple[Path, Path]:
    """Write image and labels as one TIFF per section, deflated: ``image/0.tif``, ``labels/0.tif``, ...

    Names have no leading zeros, as many microscopes write them: natural order is the order of the sections.
    Rows of a TIFF run along x.

    Parameters
    ----------
    phantom : Phantom
        What to write.
    folder : path
        Made if it is not there.
    overwrite : bool
        Remove the numbered TIFFs of an earlier stack first.

    Returns
    -------
    tuple of Path
        The two folders, image and labels.

    Raises
    ------
    OptionError
        If numbered TIFFs are there and ``overwrite`` is off.
    ReadOnlyError, NoSpaceError, StorageError
        If the folder cannot be written.
    """
    places = Path(folder) / "image", Path(folder) / "labels"
    try:
        volumes: tuple[NDArray[Any], ...] = (phantom.image, phantom.labels)
        for place, volume in zip(places, volumes, strict=True):
            place.mkdir(parents=True, exist_ok=True)
            _clear(place, overwrite)
            _write_sections(place, volume)
    except OSError as error:
        raise _storage_error(error, Path(folder)) from error
    return places


def _clear(place: Path, overwrite: bool) -> None:
    old = [path for path in place.glob("*.tif") if path.stem.isdecimal()]
    if old and not overwrite:
        raise OptionError(f"{place} holds {len(old)} sections: choose another folder, or overwrite=True")
    for path in old:
        path.unlink()


def _write_sections(place: Path, volume: NDArray[Any]) -> None:
    import tifffile

    for z in range(volume.shape[2]):
        tifffile.imwrite(place / f"{z}.tif", volume[:, :, z].T, compression="zlib", photometric="minisblack")


def _storage_error(error: OSError, folder: Path) -> Exception:
    if isinstance(error, VolumekitError):
        return error
    kind: type[VolumekitError] = StorageError
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        kind = ReadOnlyError
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        kind = NoSpaceError
    return kind(f"cannot write a stack into {folder}: {error.strerror or error}", url=str(folder))
