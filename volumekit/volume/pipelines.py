"""Work on a whole volume, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from volumekit.volume.reading import Reading

if TYPE_CHECKING:
    import os

    from volumekit.ops.blocks import Blocks
    from volumekit.volume.volume import Volume


class Pipelines(Reading):
    """Blocks of a volume, functions of them, and copies. Jobs stand upon volumes, so they are found by name."""

    def blocks(
        self,
        shape: Sequence[int] | int | None = None,
        *,
        halo: Sequence[int] | int = 0,
        pad: str | None = None,
        mip: Any = None,
        box: Any = None,
        memory: str | int = "256MB",
        fill_missing: bool | None = None,
    ) -> Blocks:
        """Go through the volume block by block: ``for box, block in vol.blocks(): ...``.

        Parameters
        ----------
        shape : sequence of int or int, optional
            Extent of a block without its halo, (x, y, z) voxels; blocks at the far ends are smaller. Default: whole
            chunks, or shards, some 16 MiB of them, so that none is read twice. Blocks start at the lowest voxel of
            the bounds.
        halo : sequence of int or int
            Voxels to read on each side around a block, (x, y, z).
        pad : {"constant", "edge", "reflect", "symmetric"}, optional
            How to make up what of the halo lies outside the bounds, as `numpy.pad` does; "constant" is the background.
            None: the halo is clipped at the bounds.
        mip : int or sequence of float, optional
            Level by number or voxel size; default: the current one.
        box : Bbox or slices, optional
            Half-open part to go through; blocks are cut at it. Default: all.
        memory : str or int
            What the block under way and those read ahead may take together. Where there is room for one only, nothing
            is read ahead.
        fill_missing : bool, optional
            Overrides the volume's own setting.

        Returns
        -------
        Blocks
            Iterating gives pairs: the `Bbox` of the block without halo, half-open, in voxels of the mip; and a
            `VolumeCutout` (x, y, z, channel) with the halo, whose ``bounds`` tell which voxels it holds. Also a
            sequence, of which numbers and slices can be taken: see `volumekit.ops.blocks.Blocks`.

        Raises
        ------
        OptionError
            If an option is impossible.
        OutOfBoundsError
            If ``box`` reaches outside.

        Examples
        --------
        >>> blocks = vol.blocks(halo=8)  # doctest: +SKIP
        >>> for box, block in blocks:  # doctest: +SKIP
        ...     other[box] = blocks.core(box, smooth(block))
        """
        how: dict[str, Any] = {"halo": halo, "pad": pad, "mip": mip, "box": box, "fill_missing": fill_missing}
        made: Blocks = import_module("volumekit.ops.blocks").blocks(self, shape, memory=memory, **how)
        return made

    def map(self, function: Callable[..., Any], out: Volume | str | os.PathLike[str] | None = None, **how: Any) -> Any:
        """Call a function with every block of the volume, and store or return what it returns.

        Parameters
        ----------
        function : callable
            Called with a `VolumeCutout` (x, y, z, channel), the block with its halo.
        out : Volume, str or os.PathLike, optional
            Where results go: a volume that holds these voxels at its current mip, or the place of a new one. The
            function then returns an array of the block's shape, of which the halo is cut off, or of the shape without
            halo; (x, y, z) will do for one channel. None: results of any kind are returned.
        shape, halo, pad, mip, box, fill_missing
            As for `blocks`. With ``out`` blocks lie along its chunks or shards, and ``shape`` is a multiple of those,
            so that no two tasks write the same object.
        with_box : bool
            Whether the function is also called with the `Bbox` of the block without halo, as a second argument.
        reduce : callable, optional
            Without ``out``: makes one result of two, ``reduce(earlier, later)``, in the order of the boxes, as soon as
            they are there.
        dtype, channels, layer_type, chunk_size, encoding, compress
            Of a new volume; default: the source's type, channels, layer type and chunks, raw, not compressed. Values
            are cast only where nothing can be lost.
        memory : str or int
            What the process may use for blocks and results, 1 GB by default; what the function itself needs is up to
            you.
        jobs : int, optional
            How many threads work; default: one per core.
        processes, client : int; dask.distributed.Client
            Do the tasks in so many spawned processes, or on a Dask cluster. The function must be picklable; Dask sends
            lambdas and functions of notebooks as well.
        retries : int
            How often a block that failed is tried again, once by default; the others are done in the meantime.
        journal : str or os.PathLike, optional
            Where to note what is done; default: ``.volumekit/map.json`` in ``out``. The same call goes on where it
            was cut off, and after a finished one does nothing. A function counts as the same while its own code,
            defaults and closure are; what it calls is not looked at.
        overwrite : bool
            Whether a dataset at the place of a new one may be replaced, and a finished job done again.
        progress : bool, optional
            Whether to show a progress bar; None: in interactive sessions.

        Returns
        -------
        Volume, list or object
            ``out`` as a volume; without it the results in the order of ``vol.blocks(...).boxes``, or what they were
            reduced to.

        Raises
        ------
        OptionError
            If an option is impossible, or the function cannot be sent to other processes.
        TargetExistsError
            If there is a dataset already at the place of a new one, or an unfinished job of other parameters.
        ShapeError, CastError
            If the function returns an array that does not fit ``out``; nothing more is started then.
        Exception
            Whatever the function raises, with the blocks that failed in its notes.
        """
        return import_module("volumekit.ops.mapping").map_blocks(self, function, out, **how)

    def transfer_to(self, cloudpath: Any, bbox: Any = None, mip: Any = None, **how: Any) -> Volume:
        """Copy this volume, or a box of it, to another place; see `volumekit.transfer`.

        Parameters
        ----------
        cloudpath : Volume, str or os.PathLike
            Where to.
        bbox : Bbox or slices, optional
            In voxels of the mip; default: all of it.
        mip : int or sequence of float, optional
            Default: the current one.
        **how
            Further options of `volumekit.transfer`.

        Returns
        -------
        Volume
            The target.
        """
        number = self._mip if mip is None else self.to_mip(mip)
        target: Volume = import_module("volumekit.ops.transfer").transfer(self, cloudpath, box=bbox, mips=number, **how)
        return target
