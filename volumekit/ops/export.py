"""Voxels out of a volume, into images: one plane, a multi-page TIFF, a folder of planes, or a NumPy file."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from volumekit.errors import OptionError, ShapeError, TargetExistsError, VolumekitError
from volumekit.model.url import parse_url
from volumekit.ops.export_files import (
    Frame,
    JpegFile,
    JpegFolder,
    NpyFile,
    PlaneFolder,
    PngFile,
    PngFolder,
    TiffFile,
    Writer,
)
from volumekit.ops.export_nrrd import NrrdFile
from volumekit.storage.kvstore import os_error
from volumekit.volume.index import Selection, select
from volumekit.volume.progress import progress_bar

if TYPE_CHECKING:
    from volumekit.volume.volume import Volume

SLAB_BYTES = 256 << 20
"""Most voxels held at a time, unless one plane is larger."""

_AXES = "xyz"
_PLANE = re.compile(r"[xyz]-?\d+\.(?:tif|png|jpg)")
_WRITERS: dict[str, Callable[[Path, Frame], Writer]] = {
    ".png": PngFile,
    ".jpg": JpegFile,
    ".jpeg": JpegFile,
    ".tif": TiffFile,
    ".tiff": TiffFile,
    ".npy": NpyFile,
    ".nrrd": NrrdFile,
    "": PlaneFolder,
}
_FOLDERS: dict[str, Callable[[Path, Frame], Writer]] = {"tif": PlaneFolder, "png": PngFolder, "jpg": JpegFolder}


def export(
    vol: Volume,
    dst: str | os.PathLike[str],
    *,
    box: Any = None,
    mip: Any = None,
    axis: str = "z",
    planes: str = "tif",
    overwrite: bool = False,
    progress: bool | None = None,
) -> Path:
    """Write a box of a volume to image files; the values stay what they are.

    Parameters
    ----------
    vol : Volume
        Where to read.
    dst : path
        What to write; the ending says how:

        - ``.png``, ``.jpg``: one image of a box that is one plane thick;
        - ``.tif``: one page per plane, deflate, BigTIFF beyond 3.9 GB, voxel size in ImageJ's manner;
        - ``.npy``: the array (x, y, z, channel), in Fortran order;
        - ``.nrrd``: for ITK, 3D Slicer and ImageJ, with voxel size and place in nm;
        - a folder (no ending, or a slash at the end): one image per plane, ``z<coordinate>.tif``.
    box : Bbox or slices, optional
        What to export, half-open, in voxels of the mip or in a unit; default: everything.
    mip : int or sequence of float, optional
        Level by number or voxel size; default: the volume's current one.
    axis : {"x", "y", "z"}
        Planes are perpendicular to it. Of the other two axes the first runs rightwards, the second downwards.
    planes : {"tif", "png", "jpg"}
        What a folder holds.
    overwrite : bool
        Whether to replace a file, or a folder that holds nothing but exported planes.
    progress : bool, optional
        Whether to show a progress bar; None: in interactive sessions.

    Returns
    -------
    pathlib.Path
        What was written. It appears when it is complete; after an error there is nothing, or what was there before.

    Raises
    ------
    OptionError
        If ``dst`` exists and is not to be overwritten, its ending is unknown, or an option is wrong.
    ShapeError
        If the box is empty, or too thick for one image.
    UnsupportedError
        If this kind of file cannot hold the data type; the message names those that can.
    OutOfBoundsError, MissingChunkError, StorageError
        As for `Volume.download`; also if the disk is full.
    """
    if axis not in _AXES or len(axis) != 1:
        raise OptionError(f"axis is {axis!r}; it is x, y or z")
    if planes not in _FOLDERS:
        raise OptionError(f"planes is {planes!r}; it is one of {', '.join(_FOLDERS)}")
    target, kind = _target(dst)
    number = vol.mip if mip is None else vol.to_mip(mip)
    chosen = _chosen(vol, box, number)
    along = _AXES.index(axis)
    if kind in (".png", ".jpg", ".jpeg"):
        along = _thin(chosen, along, target)
    frame = _frame(vol, chosen, along, number)
    with (
        _landing(target, folder=not kind, overwrite=overwrite) as part,
        (_WRITERS[kind] if kind else _FOLDERS[planes])(part, frame) as writer,
        progress_bar(frame.nbytes, "Exporting", progress) as report,
    ):
        for first, slab in _slabs(vol, chosen, writer.along, number):
            writer.add(first, np.moveaxis(slab, writer.along, 0))
            if report is not None:
                report(slab.nbytes)
    return target


def _target(dst: str | os.PathLike[str]) -> tuple[Path, str]:
    """Return the path to write, and the ending that says how; empty for a folder."""
    text = os.fspath(dst)
    url = parse_url(text)
    if url.protocol != "file":
        raise OptionError(f"images are exported to local files, not to {text}; use convert or transfer for volumes")
    path = Path(url.path)
    kind = "" if text.endswith("/") else path.suffix.lower()
    if kind not in _WRITERS:
        endings = ", ".join(ending for ending in _WRITERS if ending)
        raise OptionError(f"{text} ends in {kind}; images end in {endings}, a folder in a slash")
    return path, kind


def _chosen(vol: Volume, box: Any, mip: int) -> Selection:
    """Work out the box."""
    whole = vol.mip_bounds(mip)
    index = whole if box is None else box
    chosen = select(index, whole, vol.num_channels, resolution=tuple(vol.mip_resolution(mip)), bounded=vol.bounded)
    if chosen.step != (1, 1, 1, 1):
        raise OptionError("an exported box has no steps; choose a coarser mip instead")
    if not all(chosen.shape):
        raise ShapeError(f"the box {chosen.box} holds no voxel", box=chosen.box)
    return chosen


def _thin(chosen: Selection, along: int, target: Path) -> int:
    """Return the axis along which the box is one plane thick, ``along`` if possible."""
    thin = [axis for axis in (along, 2, 1, 0) if chosen.shape[axis] == 1]
    if not thin:
        spans = [f"{a}:{b}" for a, b in zip(chosen.low[:3], chosen.high[:3], strict=True)]
        spans[along] = f"{chosen.low[along]}:{chosen.low[along] + 1}"
        size = " x ".join(str(n) for n in chosen.shape[:3])
        raise ShapeError(
            f"{target.name} holds one plane, but the box is {size} voxels; choose one plane, for example"
            f" {','.join(spans)}, or export to a folder or a .tif file",
            box=chosen.box,
        )
    return thin[0]


def _frame(vol: Volume, chosen: Selection, along: int, mip: int) -> Frame:
    x, y, z = (float(n) for n in vol.mip_resolution(mip))
    return Frame(chosen.shape, vol.dtype, along, chosen.low[along], chosen.low[:3], (x, y, z))


def _slabs(vol: Volume, chosen: Selection, along: int, mip: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Read the box slab by slab along an axis, each as thick as a chunk if memory allows."""
    plane = vol.dtype.itemsize * int(np.prod(chosen.shape, dtype=object)) // chosen.shape[along]
    thick = int(vol.mip_chunk_size(mip)[along])
    origin = int(vol.mip_bounds(mip).minpt[along])
    step = max(1, min(thick, SLAB_BYTES // plane))
    start = chosen.low[along]
    while start < chosen.high[along]:
        edge = origin + ((start - origin) // thick + 1) * thick
        stop = min(start + step, edge, chosen.high[along])
        spans = [slice(a, b) for a, b in zip(chosen.low, chosen.high, strict=True)]
        spans[along] = slice(start, stop)
        yield start, np.asarray(vol.download(tuple(spans), mip, progress=False))
        start = stop


@contextmanager
def _landing(target: Path, *, folder: bool, overwrite: bool) -> Iterator[Path]:
    """Give a temporary path beside ``target``, which becomes the target at the end, and vanishes after an error."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        _check_free(target, folder=folder, overwrite=overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
        if folder and target.exists():
            shutil.rmtree(target)
        part.replace(target)
    except VolumekitError:
        raise
    except OSError as error:
        raise os_error(error, key=str(target)) from error
    finally:
        _remove(part)


def _check_free(target: Path, *, folder: bool, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    if target.is_dir() != folder:
        raise TargetExistsError(f"{target} is a {'folder' if target.is_dir() else 'file'}; choose another name")
    if folder and not any(target.iterdir()):
        return
    if not overwrite:
        raise TargetExistsError(f"{target} exists; choose another name, or overwrite it (overwrite=True, --overwrite)")
    strange = [path.name for path in target.iterdir() if not _PLANE.fullmatch(path.name)] if folder else []
    if strange:
        raise TargetExistsError(f"{target} is not overwritten, as it holds more than exported planes: {strange[0]}")


def _remove(part: Path) -> None:
    shutil.rmtree(part, ignore_errors=True)
    with suppress(OSError):
        part.unlink()
