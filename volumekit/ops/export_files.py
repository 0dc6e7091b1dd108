"""The files that `export` writes, one plane at a time."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from volumekit.engine.pool import pool
from volumekit.errors import UnsupportedError

if TYPE_CHECKING:
    from types import TracebackType

_BIG = 3_900_000_000
_JPEG_QUALITY = 95
_STRIP_BYTES = 4 << 20
_DEFLATE_LEVEL = 1  # of libdeflate: a slice of an MRI came out 3 % smaller than at level 6, and no later


@dataclass(frozen=True)
class Frame:
    """What is exported.

    Attributes
    ----------
    shape : tuple of int
        (x, y, z, channel) of the box.
    dtype : numpy.dtype
        Data type.
    along : int
        Axis that planes are perpendicular to.
    first : int
        Coordinate of the first plane.
    low : tuple of int
        Lowest voxel, (x, y, z).
    resolution : tuple of float
        Voxel size in nm, (x, y, z).
    """

    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    along: int
    first: int
    low: tuple[int, int, int]
    resolution: tuple[float, float, float]

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape[3]

    @property
    def count(self) -> int:
        """Number of planes."""
        return self.shape[self.along]

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Size of a voxel rightwards and downwards, in nm."""
        u, v = (axis for axis in range(3) if axis != self.along)
        return self.resolution[u], self.resolution[v]

    @property
    def spacing(self) -> float:
        """Distance of the planes in nm."""
        return self.resolution[self.along]

    @property
    def nbytes(self) -> int:
        """Bytes of all voxels."""
        return math.prod(self.shape) * self.dtype.itemsize


class Writer(ABC):
    """Writes planes to a path, which must not exist.

    Parameters
    ----------
    path : Path
        What to write.
    frame : Frame
        What will come.

    Attributes
    ----------
    holds : str
        What this kind of file can hold, for messages.
    along : int
        Axis that the planes it wants are perpendicular to.

    Raises
    ------
    UnsupportedError
        If this kind of file cannot hold it.
    """

    holds: ClassVar[str] = "the file holds every data type"

    def __init__(self, path: Path, frame: Frame) -> None:
        if not self.fits(frame):
            raise UnsupportedError(
                f"{self.holds}, not {frame.dtype} with {frame.channels} channel(s); export to .tif, a folder or"
                " .npy, which hold every data type"
            )
        self.path, self.frame, self.along = path, frame, frame.along

    @classmethod
    def fits(cls, frame: Frame) -> bool:
        """Tell whether this kind of file can hold the planes."""
        return True

    @abstractmethod
    def add(self, first: int, planes: NDArray[Any]) -> None:
        """Write the next planes, (plane, u, v, channel), from coordinate ``first`` on."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        return


def _rows(plane: NDArray[Any]) -> NDArray[Any]:
    """Return a plane as the rows of a picture, (v, u) or (v, u, channel), in C order."""
    picture = plane.swapaxes(0, 1)
    return np.ascontiguousarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)


def png_of(plane: NDArray[Any]) -> bytes:
    """Return a plane, (u, v, channel), as a PNG image."""
    import imagecodecs

    return bytes(imagecodecs.png_encode(_rows(plane)))


def jpeg_of(plane: NDArray[Any]) -> bytes:
    """Return a plane, (u, v, channel), as a JPEG image."""
    import imagecodecs

    subsampling = "444" if plane.shape[2] == 3 else None
    return bytes(imagecodecs.jpeg8_encode(_rows(plane), level=_JPEG_QUALITY, subsampling=subsampling))


class PngFile(Writer):
    """One plane as a PNG image."""

    holds = "png holds uint8 and uint16 with 1 to 4 channels"

    @classmethod
    def fits(cls, frame: Frame) -> bool:
        """See `Writer.fits`."""
        return frame.dtype in (np.uint8, np.uint16) and frame.channels <= 4

    def add(self, first: int, planes: NDArray[Any]) -> None:
        """See `Writer.add`."""
        self.path.write_bytes(png_of(planes[0]))


class JpegFile(Writer):
    """One plane as a JPEG image."""

    holds = "jpg holds uint8 with 1 or 3 channels, up to 65500 pixels a side"

    @classmethod
    def fits(cls, frame: Frame) -> bool:
        """See `Writer.fits`."""
        return frame.dtype == np.uint8 and frame.channels in (1, 3) and max(frame.shape[:3]) <= 65500

    def add(self, first: int, planes: NDArray[Any]) -> None:
        """See `Writer.add`."""
        self.path.write_bytes(jpeg_of(planes[0]))


class TiffFile(Writer):
    """All planes as the pages of a TIFF file."""

    def __init__(self, path: Path, frame: Frame) -> None:
        import tifffile

        super().__init__(path, frame)
        self._file = tifffile.TiffWriter(path, bigtiff=frame.nbytes > _BIG)
        self._pages = 0

    def add(self, first: int, planes: NDArray[Any]) -> None:
        """See `Writer.add`; planes are compressed several at a time, and written in order."""
        for page in pool().map(lambda plane: Page.of(plane, self.frame), planes):
            text = imagej_text(self.frame, self.frame.count) if not self._pages else None
            self._file.write(**page.arguments(), contiguous=False, description=text)
            self._pages += 1

    def close(self) -> None:
        """See `Writer.close`."""
        self._file.close()


class PlaneFolder(Writer):
    """Each plane as a TIFF file, named by axis and coordinate."""

    ending: ClassVar[str] = "tif"

    def __init__(self, path: Path, frame: Frame) -> None:
        super().__init__(path, frame)
        path.mkdir()
        ends = (frame.first, frame.first + frame.count - 1)
        self._digits = max(len(str(abs(end))) for end in ends)

    def add(self, first: int, planes: NDArray[Any]) -> None:
        """See `Writer.add`; several planes at a time."""
        list(pool().map(self._write, range(first, first + len(planes)), planes))

    def _write(self, coordinate: int, plane: NDArray[Any]) -> None:
        sign = "-" if coordinate < 0 else ""
        name = f"{'xyz'[self.frame.along]}{sign}{abs(coordinate):0{self._digits}}.{self.ending}"
        self._store(self.path / name, plane)

    def _store(self, path: Path, plane: NDArray[Any]) -> None:
        import tifffile

        page = Page.of(plane, self.frame)
        tifffile.imwrite(path, **page.arguments(), description=imagej_text(self.frame, 1))


class PngFolder(PlaneFolder):
    """Each plane as a PNG file."""

    ending, holds = "png", PngFile.holds

    @classmethod
    def fits(cls, frame: Frame) -> bool:
        """See `Writer.fits`."""
        return PngFile.fits(frame)

    def _store(self, path: Path, plane: NDArray[Any]) -> None:
        path.write_bytes(png_of(plane))


class JpegFolder(PlaneFolder):
    """Each plane as a JPEG file."""

    ending, holds = "jpg", JpegFile.holds

    @classmethod
    def fits(cls, frame: Frame) -> bool:
        """See `Writer.fits`."""
        return JpegFile.fits(frame)

    def _store(self, path: Path, plane: NDArray[Any]) -> None:
        path.write_bytes(jpeg_of(plane))


class NpyFile(Writer):
    """The voxels as a NumPy file, (x, y, z, channel) in Fortran order."""

    def __init__(self, path: Path, frame: Frame) -> None:
        super().__init__(path, frame)
        self.along = 2
        self._file = path.open("wb")
        header = {"descr": frame.dtype.str, "fortran_order": True, "shape": frame.shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._start = self._file.tell()

    def add(self, first: int, planes: NDArray[Any]) -> None:
        """See `Writer.add`."""
        size = planes[0, :, :, 0].nbytes
        for channel in range(self.frame.channels):
            at = channel * self.frame.shape[2] + first - self.frame.low[2]
            self._file.seek(self._start + at * size)
            for plane in planes:
                self._file.write(plane[:, :, channel].tobytes("F"))

    def close(self) -> None:
        """See `Writer.close`."""
        self._file.close()


def imagej_text(frame: Frame, planes: int) -> str:
    """Return ImageJ's description of a stack: the number of planes and the voxel size, in nm."""
    lines = ["ImageJ=1.54f", f"images={planes}", f"slices={planes}", "unit=nm", f"spacing={frame.spacing:.10g}"]
    return "\n".join([*lines, "loop=false", ""])


@dataclass(frozen=True)
class Page:
    """A TIFF page, compressed; libdeflate takes a third of the time of the zlib that tifffile would use."""

    strips: list[bytes]
    rows: NDArray[Any]
    frame: Frame

    @classmethod
    def of(cls, plane: NDArray[Any], frame: Frame) -> Page:
        """Compress a plane, (u, v, channel)."""
        import imagecodecs

        rows = _rows(plane)
        step = _rows_per_strip(rows)
        strips = (rows[at : at + step] for at in range(0, len(rows), step))
        packed = [bytes(imagecodecs.deflate_encode(_predicted(part, frame), level=_DEFLATE_LEVEL)) for part in strips]
        return cls(packed, rows, frame)

    def arguments(self) -> dict[str, Any]:
        """Return what tifffile is to be told."""
        frame = self.frame
        colour = frame.channels in (3, 4) and frame.dtype.kind == "u" and frame.dtype.itemsize <= 2
        extra = frame.channels - (3 if colour else 1)
        return {
            "data": iter(self.strips),
            "shape": self.rows.shape,
            "dtype": frame.dtype,
            "rowsperstrip": _rows_per_strip(self.rows),
            "compression": "zlib",
            "predictor": _predictor(frame.dtype),
            "photometric": "rgb" if colour else "minisblack",
            "planarconfig": "contig" if frame.channels > 1 else None,
            "extrasamples": (("unassalpha",) if colour else ("unspecified",) * extra) if extra else None,
            "resolution": tuple(1 / size for size in frame.pixel_size),
            "resolutionunit": "none",
            "metadata": None,
            "software": "volumekit",
        }


def _rows_per_strip(rows: NDArray[Any]) -> int:
    row_bytes: int = rows[0].nbytes
    return min(len(rows), max(1, _STRIP_BYTES // row_bytes))


def _predictor(dtype: np.dtype[Any]) -> int:
    """Return TIFF's predictor: 2 for differences, 3 for the bytes of floats, 1 where other programs know none."""
    if dtype == np.float32:
        return 3
    return 2 if dtype.kind in "ui" and dtype.itemsize <= 4 else 1


def _predicted(strip: NDArray[Any], frame: Frame) -> bytes:
    import imagecodecs

    pixels = strip if frame.channels > 1 else strip[:, :, None]
    kind = _predictor(frame.dtype)
    if kind == 1:
        return pixels.tobytes()
    encode = imagecodecs.floatpred_encode if kind == 3 else imagecodecs.delta_encode
    return bytes(encode(pixels, axis=-2).tobytes())
