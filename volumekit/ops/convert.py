"""The main job: anything that can be read becomes a chunked volume with a pyramid."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from volumekit.errors import OptionError
from volumekit.ops.build import choose_method
from volumekit.ops.changed import Change
from volumekit.ops.conversion import Conversion
from volumekit.ops.estimate import Estimate
from volumekit.ops.factors import check_factor, shrinking, steps
from volumekit.ops.levels import build_levels, check_unused
from volumekit.ops.memory import parse_amount
from volumekit.ops.new import new_target
from volumekit.ops.opening import tell_assumed
from volumekit.ops.options import data_type_of, mip_count, three_integers
from volumekit.ops.proof import Levels, Proof, check_share
from volumekit.ops.run import thread_count
from volumekit.ops.runners import choose_runner
from volumekit.ops.selection import Selection
from volumekit.volume.create import new_format, storable
from volumekit.volume.source import resolve
from volumekit.volume.volume import Volume

if TYPE_CHECKING:
    from volumekit.model.bbox import Bbox


def convert(
    src: str | os.PathLike[str] | Volume | NDArray[Any],
    dst: str | os.PathLike[str],
    *,
    voxel_size: Sequence[float] | None = None,
    unit: str = "nm",
    offset: Sequence[int] | None = None,
    chunk_size: Sequence[int] = (64, 64, 64),
    encoding: str = "raw",
    data_type: Any = None,
    rescale: Sequence[float] | None = None,
    axes: str = "xyz",
    mips: int = 0,
    factor: str | Sequence[Any] = (2, 2, 2),
    method: str | None = None,
    sparse: bool = False,
    box: Bbox | Sequence[Any] | None = None,
    layer_type: str | None = None,
    sharding: bool | Mapping[str, Any] = False,
    compress: str | bool | None = None,
    block_size: Sequence[int] = (8, 8, 8),
    jpeg_quality: int | None = None,
    png_level: int | None = None,
    encoding_level: int | None = None,
    encoding_effort: int | None = None,
    zarr_version: int | None = None,
    shard: Sequence[int] | None = None,
    compressor: str | Mapping[str, Any] | None = None,
    empty_chunks: bool | None = None,
    on_error: str = "fail",
    verify: bool | float = False,
    z_from_name: bool = False,
    memory: str | int = "1GB",
    jobs: int | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    first_new_level: int | None = None,
    fill_missing: bool | None = None,
    format: str | None = None,  # noqa: A002 - the field's word
    progress: bool | None = None,
    processes: int | None = None,
    client: Any = None,
    journal: str | os.PathLike[str] | None = None,
) -> Volume | Any:
    """Convert images, an array or a volume to a volume with a pyramid of coarser levels.

    Every voxel of the source is read once and every chunk is written once, whole; memory stays within ``memory``
    however large the source is. The info file is written last: what is interrupted is no dataset. A journal beside the
    data tells what is done: the same call goes on where it was cut off, and after a finished one does nothing.

    Parameters
    ----------
    src : str, os.PathLike, Volume or numpy.ndarray
        A folder of images, a glob, a multi-page TIFF, any volume's URL, a `Volume` (its current mip), or an array
        (x, y, z) or (x, y, z, channel).
    dst : str or os.PathLike
        Where to. It becomes OME-Zarr if its name ends in ``.zarr``, N5 if in ``.n5``, else Neuroglancer Precomputed.
    voxel_size : sequence of float, optional
        (x, y, z), in ``unit``. Default: the source's, or 1 nm if it has none.
    unit : {"nm", "um", "mm", "m"}
        Unit of ``voxel_size``.
    offset : sequence of int, optional
        Where the lowest voxel converted goes, (x, y, z). Default: where it is in the source.
    chunk_size : sequence of int
        (x, y, z). The default suits viewers and small cutouts; larger chunks, such as 128, 128, 64, make fewer files
        and are written somewhat faster.
    encoding : str
        ``raw``, ``jpeg``, ``png``, ``jxl``, ``compressed_segmentation``, ``compresso``, ``crackle``, ``fpzip``,
        ``kempressed``, ``zfpc``, ``npz`` or ``npz_uint8``; for other formats ``compressor`` says how.
    data_type : dtype-like, optional
        Must hold all values of the source's type. Default: the source's, or the smallest type that holds its values
        where the target cannot store it.
    rescale : sequence of float, optional
        Two values of the source: they become the lowest and the highest of ``data_type`` (of floating point: 0 and 1),
        those between are stretched linearly and rounded, those beyond are cut off. Default: nothing is changed.
    axes : str
        Which axes of the source become x, y and z, such as ``"zyx"``; ``voxel_size``, ``offset`` and all other options
        but ``box`` are about the result. The source is read in slabs across the new z: of an image stack that may
        take every image for each of them.
    mips : int
        How many levels below the full one; fewer are made where levels do not become smaller any more.
    factor : sequence of int, sequence of those, or str
        From each level to the next, (x, y, z), or how to choose that from the voxel size; see `downsample`.
    method : {"mean", "mode", "median", "nearest", "min", "max", "gaussian", "sparse_mean", "sparse_mode"}, optional
        How to reduce; see `volumekit.ops.kernels.downsample`. Default: mean for images, mode for segmentations. Each
        level is computed from the rounded values of the one before.
    sparse : bool
        Whether zero is no value but the lack of one: of images the mean of the other voxels is taken, of segmentations
        the most frequent of the other labels; zero only where there is nothing else.
    box : Bbox, slices or six numbers, optional
        Half-open part to convert, in voxels of the source.
    layer_type : {"image", "segmentation"}, optional
        Default: the source's; segmentation if the encoding is for those.
    sharding : bool or dict
        As for `Volume.create_new_info`: whether chunks are packed into larger files.
    compress : str or bool, optional
        As for `Volume`.
    block_size : sequence of int
        Blocks of ``compressed_segmentation``, (x, y, z).
    jpeg_quality, png_level : int, optional
        Settings of those encodings.
    encoding_level, encoding_effort : int, optional
        As for `Volume.create_new_info`: quality, level or precision of any encoding that has one; effort of jxl.
    zarr_version : {3, 2}, optional
        Of data in zarr: 3, which is OME-Zarr 0.5 (the default), or 2, which is OME-Zarr 0.4.
    shard : sequence of int, optional
        Extent of a shard, (x, y, z) voxels, of data in zarr v3: a multiple of the chunk's. Default: a chunk an object.
    compressor : str or Mapping, optional
        Of data in zarr: ``"zstd"`` (the default), ``"blosc"``, ``"gzip"``, ``"zlib"``, ``"bz2"``, ``"lz4"``, or
        ``"lzma"``, with a level as in ``"zstd:5"`` and ``"blosc:zstd:5"``; or ``"none"``. Of N5 the same, usually gzip.
    empty_chunks : bool, optional
        Whether chunks of nothing but the fill value are stored in zarr; default: no.
    on_error : {"fail", "skip"}
        What becomes of damaged images of a stack: "skip" leaves the fill value in their place, at every level computed
        from them as well, names them in the log, the journal and the provenance (``damaged``), and goes on. "fail" does
        the rest, too, but then raises and leaves the conversion unfinished; the same call with "skip" finishes it.
        What was left out is done again by a call with "fail". Either goes on once those images are replaced by sound
        ones, as long as the other images are the same. The first image tells the size and type of all, so its headers
        have to be sound.
    verify : bool or float
        Whether to read what was stored and compare it before it counts as finished: the full level with the source,
        each coarser one with what the next finer one gives. A number below 1: a sample of so large a share of each. The
        provenance keeps the report (``verified``). Not for lossy encodings.
    z_from_name : bool
        Whether the numbers in their names say where images lie along z, rather than their order.
    memory : str or int
        What the whole process may use, such as ``"1GB"`` or a number of bytes.
    jobs : int, optional
        How many threads work; default: one per core.
    overwrite : bool
        Whether a dataset at ``dst`` may be replaced; it is removed first.
    dry_run : bool
        Whether to write nothing, and return an estimate of the time and the room it takes.
    first_new_level : int, optional
        Keep what is at ``dst`` up to the level before this one, and build this one and the following, to ``mips``, from
        that; ``src`` is not read. New levels are laid out as those that are there.
    fill_missing : bool, optional
        Whether missing chunks or images of the source count as background; default: as it was opened, or its rule.
    format : {"precomputed", "ome-zarr", "zarr", "n5"}, optional
        Format of the target, whatever its name says; ``zarr`` is an array by itself, without levels.
    progress : bool, optional
        Whether to show a progress bar; None: in interactive sessions.
    processes : int, optional
        Do the tasks in so many spawned processes instead of threads.
    client : dask.distributed.Client, optional
        Do the tasks on a Dask cluster.
    journal : str or os.PathLike, optional
        Where to keep the journal; default: ``.volumekit/convert.json`` in the target. Arrays have none.

    Returns
    -------
    Volume or Estimate
        The new volume; with ``dry_run`` a `volumekit.ops.estimate.Estimate`, to be printed.

    Raises
    ------
    OptionError
        If an option is impossible, source and target are the same place, or ``memory`` is too little.
    TargetExistsError
        If the target exists, and is not the result of this very job, or of a job that was cut off with other
        parameters, or the source has changed since; and ``overwrite`` is off.
    CorruptChunkError
        If ``verify`` finds that what was stored differs from the source.
    CastError
        If values would be lost; nothing is rescaled or rounded to fit without ``rescale``.
    OutOfBoundsError
        If ``box`` reaches outside the source.
    ImageStackError, DatasetNotFoundError, MissingChunkError, CorruptChunkError
        If the source cannot be read.
    PermissionDeniedError, NoSpaceError, StorageError
        If the target cannot be written, or the source changes meanwhile.
    UnsupportedError
        If the target's format or encoding cannot be written.
    """
    if first_new_level is not None:
        check_unused(
            voxel_size=(voxel_size, None), offset=(offset, None), box=(box, None), data_type=(data_type, None),
            layer_type=(layer_type, None), rescale=(rescale, None),
            axes=(axes, "xyz"), format=(format, None), zarr_version=(zarr_version, None),
            shard=(shard, None), compressor=(compressor, None), empty_chunks=(empty_chunks, None),
            jpeg_quality=(jpeg_quality, None), png_level=(png_level, None), encoding=(encoding, "raw"),
            encoding_level=(encoding_level, None), encoding_effort=(encoding_effort, None),
            sharding=(sharding, False), chunk_size=(chunk_size, (64, 64, 64)), block_size=(block_size, (8, 8, 8)),
        )  # fmt: skip
        return build_levels(
            dst, first_new_level, mip_count(mips), overwrite=overwrite, dry_run=dry_run, factor=factor, method=method,
            sparse=sparse, fill_missing=fill_missing, compress=compress, memory=memory, jobs=jobs, progress=progress,
            processes=processes, client=client, journal=journal, verify=verify,
        )  # fmt: skip
    url = resolve(dst, format)
    kind = new_format(url)
    threads, budget, count = thread_count(jobs), parse_amount(memory), mip_count(mips)
    factor, change = check_factor(factor, count), Change.of(axes, rescale)
    opening: dict[str, Any] = {"z_from_name": z_from_name, "fill_missing": fill_missing, "on_error": on_error}
    chosen = Selection.of(src, url, box, change, offset, threads=threads, **opening)
    layer_type = layer_type or chosen.layer_type(encoding)
    change.check(layer_type)
    share = check_share(verify)
    if share and chosen.volume is None:
        raise OptionError("verify is for images and volumes; compare an array yourself")
    method = choose_method(method, layer_type, sparse=sparse)
    size = chosen.voxel_size(voxel_size, unit)
    ladder = shrinking(steps(factor, count, size), chosen.bounds)
    count, types = len(ladder), storable(kind)
    dtype = data_type_of(data_type, chosen.input.dtype, encoding, types, rescaled=rescale is not None)
    facts: dict[str, Any] = {"resolution": size, "layer_type": layer_type, "method": method}
    target = new_target(
        url,
        chosen.describe(dtype.name, chunk_size, ladder, **facts),
        kind,
        threads=threads,
        fill=chosen.fill,
        precomputed={
            "encoding": encoding,
            "sharding": sharding,
            "block_size": three_integers(block_size, "block_size", least=1),
            "jpeg_quality": jpeg_quality,
            "png_level": png_level,
            "encoding_level": encoding_level,
            "encoding_effort": encoding_effort,
            "compress": compress,
        },
        zarr={"zarr_version": zarr_version, "shard": shard, "compressor": compressor, "empty_chunks": empty_chunks},
    )
    comparing = {"jobs": threads, "memory": budget, "progress": progress}
    job = Conversion(
        chosen,
        target,
        ladder,
        method,
        chosen.entry(
            encoding=encoding if kind == "precomputed" else None,
            mips=count,
            factor=factor,
            downsampling=method if count else None,
        ),
        {"memory": budget, "threads": threads},
        Proof(chosen, Levels(target, range(count + 1), ladder, method, share, comparing)),
        functools.partial(choose_runner, processes, client),
        overwrite,
        progress,
    )
    record, done = job.find(path=journal, z_from_name=z_from_name, mends=on_error == "fail")
    if done:
        return Estimate.nothing(target.cloudpath) if dry_run else job.look_again()
    build = job.plan(record)
    tell_assumed(chosen.volume, voxel_size)
    return job.estimate(build, record) if dry_run else job.run(build, record)
