"""NRRD files, as ITK, 3D Slicer and ImageJ read them: https://teem.sourceforge.net/nrrd/format.html."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.ops.export_files import Frame, Writer

_TYPES = {"float32": "float", "float64": "double", "bool": "uint8"}
_LEVEL = 1
_GZIP = 16 + zlib.MAX_WBITS


class NrrdFile(Writer):
    """All voxels in one file, x fastest (channels before x), gzip, with the voxel size and the place in nm.

    The origin is where the format wants it: in the centre of the first voxel.
    """

    def __init__(self, path: Path, frame: Frame) -> None:
        super().__init__(path, frame)
        self.along = 2
        self._file = path.open("wb")
        self._file.write(nrrd_header(frame).encode())
        self._stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)

    def add(self, first: int, planes: NDArray[Any]) -> None:
        """See `Writer.add`."""
        little = self.frame.dtype.newbyteorder("<")
        for plane in planes:
            voxels = np.ascontiguousarray(plane.transpose(1, 0, 2), little)
            self._file.write(self._stream.compress(voxels.data))

    def close(self) -> None:
        """See `Writer.close`."""
        self._file.write(self._stream.flush())
        self._file.close()


def nrrd_header(frame: Frame) -> str:
    """Return the header of a file, the empty line at its end included."""
    several = frame.channels > 1
    sizes, steps = [str(n) for n in frame.shape[:3]], ["({:.12g},0,0)", "(0,{:.12g},0)", "(0,0,{:.12g})"]
    directions = [step.format(size) for step, size in zip(steps, frame.resolution, strict=True)]
    origin = ",".join(f"{(a + 0.5) * size:.12g}" for a, size in zip(frame.low, frame.resolution, strict=True))
    fields = {
        "type": _TYPES.get(frame.dtype.name, frame.dtype.name),
        "dimension": str(3 + several),
        "space dimension": "3",
        "sizes": " ".join([str(frame.channels)] * several + sizes),
        "space directions": " ".join(["none"] * several + directions),
        "centers": " ".join(["none"] * several + ["cell"] * 3),
        "kinds": " ".join(["list"] * several + ["domain"] * 3),
        "endian": "little",
        "encoding": "gzip",
        "space units": '"nm" "nm" "nm"',
        "space origin": f"({origin})",
    }
    return "\n".join(["NRRD0005", *(f"{name}: {value}" for name, value in fields.items()), "", ""])
