"""The tour of the main job: a stack of images becomes a volume, which is read, reported on and drawn."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from volumekit.errors import TargetExistsError
from volumekit.model.bbox import Bbox
from volumekit.ops.convert import convert
from volumekit.picture.sheet import View, across, depths, ladder, sheet_of
from volumekit.volume.volume import Volume

SHAPE = (320, 320, 64)
RESOLUTION = (6, 6, 30)
MIPS = 3
WINDOW = 512
"""Voxels along an axis that a picture shows at most; a larger volume is shown at a coarser mip."""

Say = Callable[[str], object]


def run_demo(
    *,
    source: str | Path | None = None,
    out: str | Path = "volumekit-demo",
    voxel_size: tuple[float, float, float] | None = None,
    mips: int = MIPS,
    memory: str | int = "1GB",
    overwrite: bool = False,
    progress: bool | None = None,
    say: Say = print,
) -> Path:
    """Convert a stack of images, read it back in several ways and draw a contact sheet.

    Parameters
    ----------
    source : path, optional
        A folder, glob or multi-page TIFF of one's own; default: a synthetic piece of tissue with its labels.
    out : path
        Folder for everything that is written.
    voxel_size : tuple of float, optional
        In nm, (x, y, z); default 1, 1, 1 for one's own images.
    mips : int
        Levels below the full one.
    memory : str or int
        Limit of the conversion.
    overwrite : bool
        Whether an earlier demo in ``out`` may be replaced.
    progress : bool, optional
        Whether to show progress bars.
    say : callable
        Is told each line of the tour.

    Returns
    -------
    pathlib.Path
        The contact sheet, a PNG.

    Raises
    ------
    VolumekitError
        As `convert` does.
    """
    folder = Path(out)
    sheet = folder / "contact-sheet.png"
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise TargetExistsError(f"{folder} is not empty; choose another folder with --out, or give --overwrite")
    how = {"mips": mips, "memory": memory, "overwrite": overwrite, "progress": progress}
    if source is None:
        image, labels = _tissue(folder, how, say)
    else:
        image, labels = _own(Path(source), folder, voxel_size or (1, 1, 1), how, say), None
    _tour(image, say)
    say(f"\n{image.exists()!r}")
    _draw(image, labels, sheet)
    say(f"\nA picture of it all: {sheet}")
    return sheet


def _tissue(folder: Path, how: dict[str, Any], say: Say) -> tuple[Volume, Volume]:
    from volumekit.ops.phantom import cells, write_stack

    say(f"Growing a synthetic piece of tissue, {' x '.join(map(str, SHAPE))} voxels of {RESOLUTION} nm ...")
    images, masks = write_stack(cells(SHAPE, resolution=RESOLUTION), folder / "stack", overwrite=True)
    image = _converted(images, folder / "image", RESOLUTION, how, say)
    segmentation = {**how, "layer_type": "segmentation", "encoding": "compressed_segmentation"}
    return image, _converted(masks, folder / "labels", RESOLUTION, segmentation, say)


def _own(source: Path, folder: Path, voxel_size: Any, how: dict[str, Any], say: Say) -> Volume:
    return _converted(source, folder / "image", voxel_size, how, say)


def _converted(source: Path, target: Path, voxel_size: Any, how: dict[str, Any], say: Say) -> Volume:
    started = time.perf_counter()
    volume: Volume = convert(source, target, voxel_size=voxel_size, **how)
    seconds = time.perf_counter() - started
    say(f"\n{source} -> {target}: {volume.nbytes / 2**20:.1f} MiB in {seconds:.1f} s, {len(volume.levels)} levels")
    for mip in volume.available_mips:
        size, voxel = volume.mip_volume_size(mip).tolist(), volume.mip_resolution(mip).tolist()
        say(f"  mip {mip}: {' x '.join(map(str, size))} voxels of {' x '.join(f'{n:g}' for n in voxel)} nm")
    return volume


def _tour(volume: Volume, say: Say) -> None:
    """Read a cutout, a plane and a voxel, as a user would."""
    low, size = volume.voxel_offset, volume.volume_size
    mid = [int(n) for n in low + size // 2]
    half = [int(min(32, n // 2)) for n in size]
    box = Bbox([m - h for m, h in zip(mid, half, strict=True)], [m + h + 1 for m, h in zip(mid, half, strict=True)])
    box = Bbox.intersection(box, volume.bounds)
    spans = ", ".join(f"{a}:{b}" for a, b in zip(box.minpt.tolist(), box.maxpt.tolist(), strict=True))
    started = time.perf_counter()
    cutout = volume[box]
    took = 1e3 * (time.perf_counter() - started)
    say(f"\nvol = Volume({volume.cloudpath!r})")
    say(f"vol[{spans}]  ->  {cutout.shape} {cutout.dtype}, mean {cutout.mean():.1f}, {took:.1f} ms")
    say(f"vol[:, :, {mid[2]}]  ->  {volume[:, :, mid[2]].shape}")
    say(f"vol[{mid[0]}, {mid[1]}, {mid[2]}]  ->  {volume[mid[0], mid[1], mid[2]].tolist()}")


def _draw(image: Volume, labels: Volume | None, path: Path) -> None:
    views = [*_sections(image, None), *_reslices(image, labels), *_mips(image)]
    if labels is not None:
        views[3:3] = _sections(image, labels)
    title = f"{image.layer}: {' x '.join(map(str, image.mip_volume_size(0).tolist()))} voxels, {image.dtype}"
    footer = f"{image.cloudpath}   {image.encoding}, chunks of {' x '.join(map(str, image.chunk_size.tolist()))}"
    picture = sheet_of(views, columns=3, title=title, footer=footer)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def _shown(volume: Volume) -> int:
    """Return the finest mip whose planes are small enough for a picture."""
    for mip in volume.available_mips:
        if max(volume.mip_volume_size(mip)) <= 2 * WINDOW:
            return mip
    return volume.available_mips[-1]


def _plane(volume: Volume, axis: str, position: int, mip: int) -> Any:
    index: list[Any] = [slice(None)] * 4
    index["xyz".index(axis)] = slice(position, position + 1)
    index[3] = slice(0, 3) if volume.num_channels >= 3 else slice(0, 1)
    return volume.download(tuple(index), mip, progress=False)


def _view(image: Volume, labels: Volume | None, axis: str, position: int, mip: int) -> View:
    x, y, z = image.mip_resolution(mip).tolist()
    return across(
        axis,  # type: ignore[arg-type]
        position,
        image=_plane(image, axis, position, mip),
        labels=None if labels is None else _plane(labels, axis, position, mip),
        resolution=(x, y, z),
    )


def _sections(image: Volume, labels: Volume | None) -> list[View]:
    mip = _shown(image)
    bounds = image.mip_bounds(mip)
    return [_view(image, labels, "z", z, mip) for z in depths(int(bounds.minpt[2]), int(bounds.maxpt[2]), 3)]


def _reslices(image: Volume, labels: Volume | None) -> list[View]:
    """Return two reslices, and a third with the labels, or elsewhere where there are none."""
    mip = _shown(image)
    bounds = image.mip_bounds(mip)
    x, y, _ = (int(n) for n in bounds.center())
    third = y if labels is not None else depths(int(bounds.minpt[1]), int(bounds.maxpt[1]), 3)[0]
    return [_view(image, None, "y", y, mip), _view(image, None, "x", x, mip), _view(image, labels, "y", third, mip)]


def _mips(image: Volume) -> list[View]:
    """Return the same part of the middle plane at each mip."""
    views = []
    for mip in list(image.available_mips)[:3]:
        bounds = image.mip_bounds(mip)
        z = int(bounds.center()[2])
        views.append(_view(image, None, "z", z, mip))
    return ladder(views)
