"""Opening what a conversion reads: an array, images or a volume, checked before anything is written."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from volumekit.engine.planes import check_planes, reads_planes
from volumekit.errors import MissingChunkError, OptionError, VolumekitError
from volumekit.ops.inputs import ArrayInput, Input, VolumeInput
from volumekit.ops.positions import tell_first
from volumekit.ops.survey import name_all
from volumekit.volume.foreign import check_own
from volumekit.volume.volume import Volume

if TYPE_CHECKING:
    from volumekit.model.bbox import Bbox

log = logging.getLogger(__name__)


def open_input(
    src: Any, *, threads: int, z_from_name: bool, fill_missing: bool | None = None, on_error: str = "fail"
) -> tuple[Volume | None, Input]:
    """Open what is to be converted.

    Returns
    -------
    tuple
        The volume, if it is one, and the voxels.
    """
    if on_error not in ("fail", "skip"):
        raise OptionError(f"on_error is {on_error!r}; it is fail or skip")
    if isinstance(src, np.ndarray):
        return None, ArrayInput.of(src)
    if not isinstance(src, Volume):
        options = {"z_from_name": True} if z_from_name else None
        src = Volume(src, parallel=threads, storage_options=options)
    check_own(src)
    damaged: dict[str, str] | None = {} if on_error == "skip" else None
    if not reads_planes(src.array()):
        if damaged is not None:
            raise OptionError('on_error="skip" is for image stacks; missing chunks are left out by fill_missing=True')
        return src, VolumeInput(src, src.mip, fill_missing=fill_missing)
    found: dict[str, VolumekitError] = {}
    scratch = check_planes(src.array(), skipped=found.setdefault)
    if found and damaged is None:
        first = found[min(found)]
        name_all(first, {name: error.message for name, error in found.items()})
        raise first
    return src, VolumeInput(src, src.mip, scratch, fill_missing=fill_missing, damaged=damaged)


def check_whole(source: Input, part: Bbox) -> None:
    """Refuse a source with chunks missing before anything is removed for it."""
    if not isinstance(source, VolumeInput) or source.array().options.fill_missing:
        return
    report = source.volume.exists(part, source.mip)
    if report.num_missing:
        raise MissingChunkError(
            f"{report.num_missing} of {report.total} chunks of the source are not stored; fill_missing=True "
            "(--fill-missing) converts background there",
            url=source.volume.cloudpath,
            key=report.missing[0],
            box=part,
        )


def tell_assumed(volume: Volume | None, voxel_size: Any) -> None:
    """Warn of what is assumed because neither the source nor the caller says it."""
    if voxel_size is None and (volume is None or volume.cloudpath.startswith("stack:")):
        log.warning("the source does not say how large its voxels are: 1 x 1 x 1 nm is assumed; give voxel_size")
    if volume is not None:
        tell_first(volume, "converted")
