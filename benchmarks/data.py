"""The data everything is measured on: made up, but hard in the ways real data is, and the same in every run."""

from __future__ import annotations

import functools
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.ours import CLOUDVOLUME, TENSORSTORE, VolumekitVolume
from benchmarks.peers import Box
from volumekit.formats.precomputed import create_sharding

Shape = tuple[int, int, int]

SHARD_BYTES = 16 << 20

CUTOUT = 64
"""Side of a random cutout, voxels."""


@dataclass(frozen=True)
class Layout:
    """One way to store a volume.

    Attributes
    ----------
    name : str
        As the table shows it.
    encoding : str
        The info's word.
    chunk : tuple of int
        (x, y, z) voxels.
    labels : bool
        Whether uint64 labels are stored, else a uint8 image.
    gzip : bool
        Whether chunk files are compressed and named ``.gz``, CloudVolume's default, which TensorStore cannot read.
    tolerance : int
        By how much decoders may differ.
    dtype : str, optional
        Data type stored, if it is not the array's own.
    small : bool
        Whether a smaller part is stored: of encodings that take long.
    unit : bool
        Whether values are from 0 to 1.
    shards : str, optional
        How chunks are compressed inside shards, ``"raw"`` or ``"gzip"``; None: chunks are files.
    """

    name: str
    encoding: str = "raw"
    chunk: Shape = (64, 64, 64)
    labels: bool = False
    gzip: bool = False
    tolerance: float = 0
    dtype: str | None = None
    small: bool = False
    unit: bool = False
    shards: str | None = None

    @property
    def peers(self) -> tuple[str, ...]:
        """The programs that write it."""
        native = self.encoding in ("raw", "jpeg", "png", "compressed_segmentation") and not self.gzip
        return (TENSORSTORE, CLOUDVOLUME) if native else (CLOUDVOLUME,)

    @property
    def readers(self) -> tuple[str, ...]:
        """The programs that read it; CloudVolume does not read all that it writes."""
        return () if self.encoding == "npz_uint8" else self.peers


RAW = Layout("raw 64^3")
RAW_FLAT = Layout("raw 128x128x64", chunk=(128, 128, 64))
JPEG = Layout("jpeg 64^3", "jpeg", tolerance=2)
PNG = Layout("png 64^3", "png")
CSEG = Layout("cseg uint64 64^3", "compressed_segmentation", labels=True)
RAW_GZ = Layout("raw 64^3 .gz", gzip=True)
CSEG_GZ = Layout("cseg uint64 64^3 .gz", "compressed_segmentation", labels=True, gzip=True)
LAYOUTS = (RAW, RAW_FLAT, JPEG, PNG, CSEG, RAW_GZ, CSEG_GZ)


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes
    ----------
    image, labels, large, stack : tuple of int
        Shapes, (x, y, z) voxels; ``large`` is the cutout whose peak memory is taken, ``stack`` are slices in files.
    rounds : int
        How often the contestants take turns, a warm-up apart.
    calls : int
        How many cheap calls, such as random cutouts, make one turn.
    """

    image: Shape
    labels: Shape
    large: Shape
    stack: Shape
    rounds: int
    calls: int


FULL = Extent((512, 512, 256), (512, 512, 128), (512, 512, 512), (2048, 2048, 512), rounds=9, calls=30)
QUICK = Extent((256, 256, 256), (256, 256, 128), (512, 512, 512), (1024, 1024, 256), rounds=7, calls=10)
TINY = Extent((96, 80, 72), (80, 72, 66), (64, 64, 64), (96, 80, 72), rounds=1, calls=2)


@dataclass
class Data:
    """Arrays, and datasets that hold them, made when first asked for.

    Parameters
    ----------
    folder : Path
        Where the datasets go.
    extent : Extent
        How large they are.
    """

    folder: Path
    extent: Extent = FULL
    _made: dict[Layout, Path] = field(default_factory=dict)

    @functools.cached_property
    def image(self) -> NDArray[np.uint8]:
        """An image like electron microscopy, (x, y, z), Fortran order."""
        return image(self.extent.image)

    @functools.cached_property
    def labels(self) -> NDArray[np.uint64]:
        """Cells with 64-bit labels, (x, y, z), Fortran order."""
        return labels(self.extent.labels)

    @functools.cached_property
    def large(self) -> Path:
        """A dataset in raw 64^3 chunks of the large extent: the image, over and over."""
        path = self.empty()
        index = [np.arange(n) % size for n, size in zip(self.extent.large, self.image.shape, strict=True)]
        VolumekitVolume.create(path, np.asfortranarray(self.image[np.ix_(*index)]), chunk=(CUTOUT,) * 3)
        return path

    @functools.cached_property
    def stack(self) -> Path:
        """A folder of uncompressed TIFF slices."""
        from benchmarks.pipelines import make_stack

        x, y, z = self.extent.stack
        folder = self.empty() / "stack"
        make_stack(folder, image((x, y, min(z, 128))), z)
        return folder

    def array(self, layout: Layout) -> NDArray[Any]:
        """Return the voxels a layout holds, (x, y, z)."""
        array: NDArray[Any] = self.labels if layout.labels else self.image
        if layout.small:
            x, y, z = (max(80, n // 2) for n in array.shape)
            array = np.asfortranarray(array[:x, :y, :z])
        array = array if layout.dtype is None else array.astype(layout.dtype)
        return array / array.dtype.type(255) if layout.unit else array

    def dataset(self, layout: Layout) -> Path:
        """Return a dataset in this layout, written by volumekit; what is read from it is checked by all."""
        if layout not in self._made:
            path = self.empty()
            compress = "gzip" if layout.gzip else False
            options: dict[str, Any] = {"encoding": layout.encoding, "sharding": self.sharding(layout)}
            VolumekitVolume.create(path, self.array(layout), chunk=layout.chunk, compress=compress, **options)
            self._made[layout] = path
        return self._made[layout]

    def sharding(self, layout: Layout) -> dict[str, Any] | None:
        """Return how a layout is sharded: some 16 MiB of voxels in a file."""
        if layout.shards is None:
            return None
        array = self.array(layout)
        chosen = {"encoding": layout.encoding, "data_encoding": layout.shards, "shard_bytes": SHARD_BYTES}
        return create_sharding(array.shape, layout.chunk, array.dtype, **chosen)

    def empty(self) -> Path:
        """Return a new, empty folder."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    @staticmethod
    def put_away(folder: Path) -> None:
        """Take the room from the files of a folder, which goes with the others in the end.

        Where files were deleted, some file systems make new ones several times slower, for minutes.
        """
        for path in folder.rglob("*"):
            if path.is_file():
                os.truncate(path, 0)

    def box(self, number: int, shape: Shape, *, side: int = CUTOUT, grid: int = 1) -> Box:
        """Return the n-th random box inside a shape, corners on a grid; the same one for everybody."""
        rng = np.random.default_rng(number)
        low = [int(rng.integers(0, (size - side) // grid + 1)) * grid for size in shape]
        x, y, z = (slice(start, start + side) for start in low)
        return x, y, z


def whole(shape: tuple[int, ...]) -> Box:
    """Return the box of a whole array."""
    x, y, z = (slice(0, size) for size in shape[:3])
    return x, y, z


def image(shape: Shape) -> NDArray[np.uint8]:
    """Make smooth noise at two scales with grain, (x, y, z), as jpeg and png find it in micrographs."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    tile = (min(256, shape[0]), min(256, shape[1]), min(128, shape[2]))
    noise = rng.standard_normal(tile, np.float32)
    smooth = sum(gaussian_filter(noise, s, mode="wrap", truncate=3) * s**1.5 for s in (1.5, 6.0))
    grain = rng.standard_normal(tile, np.float32)
    return _tiled((128 + 60 * smooth + 6 * grain).clip(0, 255).astype(np.uint8), shape)


def labels(shape: Shape) -> NDArray[np.uint64]:
    """Make Voronoi cells, some 40 voxels wide, with random 64-bit labels, (x, y, z)."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(1)
    tile = (min(128, shape[0]), min(128, shape[1]), min(64, shape[2]))
    count = max(8, int(np.prod(tile)) // 40**3)
    voxels = np.stack(np.meshgrid(*map(np.arange, tile), indexing="ij"), axis=-1).reshape(-1, 3)
    cell = cKDTree(rng.random((count, 3)) * tile).query(voxels)[1].reshape(tile)
    return _tiled(rng.integers(1, 2**60, count, np.uint64)[cell], shape)


def _tiled(tile: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Mirror a tile until it fills a shape; mirrored, its faces join without seams."""
    index = []
    for size, period in zip(shape, tile.shape, strict=True):
        at = np.arange(size) % (2 * period)
        index.append(np.minimum(at, 2 * period - 1 - at))
    return np.asfortranarray(tile[np.ix_(*index)])
