"""Image files for tests, made by tifffile, Pillow and imagecodecs."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from volumekit.volume.volume import Volume


def planes(n: int = 3, shape: tuple[int, ...] = (25, 37), dtype: Any = np.uint8, seed: int = 1) -> np.ndarray:
    """Smooth planes (z, y, x[, channel]), no two alike."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(0, 4, (n, *shape))
    return np.cumsum(steps, axis=2).astype(dtype)


def write_folder(folder: Path, stack: np.ndarray, name: str = "{:03}.tif", **options: Any) -> Path:
    """Write each plane as a TIFF file."""
    folder.mkdir(parents=True, exist_ok=True)
    for z, plane in enumerate(stack):
        tifffile.imwrite(folder / name.format(z), plane, metadata=None, **options)
    return folder


def read(path: Any, **options: Any) -> np.ndarray:
    """Read a whole stack, (z, y, x, channel)."""
    return np.asarray(Volume(path, **options)[:, :, :]).transpose(2, 1, 0, 3)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *before: bytes) -> bytes:
    """A PNG file of raw rows, filter bytes included."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + body + png_chunk(b"IEND", b"")


def tiff(array: np.ndarray, **options: Any) -> bytes:
    """A TIFF file."""
    file = io.BytesIO()
    tifffile.imwrite(file, array, **{"photometric": "minisblack", "metadata": None, **options})
    return file.getvalue()


def patched(data: bytes, tag: int, value: int, *, kind: int = 4) -> bytes:
    """Change one entry of the first directory of a little-endian TIFF."""
    start = struct.unpack_from("<I", data, 4)[0]
    for n in range(struct.unpack_from("<H", data, start)[0]):
        at = start + 2 + 12 * n
        if struct.unpack_from("<H", data, at)[0] == tag:
            return data[:at] + struct.pack("<HHII", tag, kind, 1, value) + data[at + 12 :]
    raise KeyError(tag)
